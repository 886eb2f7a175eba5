"""The architecture, held by the source text: imports go down, and only the pipeline turns a frame into a safe one."""

import ast
import sys
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
STREAMER = sorted((ROOT / "streamer").rglob("*.py"))
MODELS = sorted((ROOT / "models").rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))

# In the order of a frame's way: what each folder of `streamer` may import of the others, besides the files beside them.
# Whoever adds a name here adds a dependency.
MAY_IMPORT = {
    "": "",
    "sources": "",
    "faces": "",
    "render": "faces",
    "render/textures": "faces render",
    "consent": "sources faces render",
    "pipeline": "sources faces render render/textures consent",
    "sinks/marks": "",
    "sound": "",
    "sinks": "sources sinks/marks sound",
    "audit": "",
    "batch": "sources pipeline sinks audit sinks/marks sound",
    "api": "sources pipeline sinks sinks/marks sound",
    "bench": "sources pipeline sinks",
    "training": "sources faces render render/textures",
    "serve/sdp": "sinks",
    "serve": "sources pipeline sinks sound serve/sdp",
    "evaluate": "",
    "evaluate/measures": "faces render evaluate",
    "evaluate/report": "pipeline evaluate",
    "evaluate/images": "faces render pipeline evaluate evaluate/measures evaluate/report",
    "evaluate/export": "evaluate evaluate/measures evaluate/images",
    "evaluate/video": "sources faces pipeline evaluate evaluate/measures evaluate/report",
    "evaluate/paper": "render pipeline evaluate evaluate/measures evaluate/report evaluate/images",
    "evaluate/covered": "faces render pipeline evaluate evaluate/measures evaluate/images",
    "evaluate/attack": "sources faces render pipeline evaluate evaluate/measures evaluate/report evaluate/images "
    "evaluate/covered",
}
MAY_IMPORT["cli/jobs"] = " ".join(MAY_IMPORT)
MAY_IMPORT["cli"] = " ".join(MAY_IMPORT)
MODELS_MAY_IMPORT = {
    "unets": "",
    "": "unets",
    "private_encoder": " pretrained",
    "identity": " private_encoder",
    "pretrained": " private_encoder identity",
    "attributes": " identity pretrained",
    "textures": "unets",
    "training": " unets private_encoder identity pretrained attributes training/inputs training/losses training/fits",
    "training/inputs": " unets training",
    "training/losses": " unets private_encoder identity pretrained training training/inputs",
    "training/fits": " private_encoder identity training training/inputs",
}


def module_of(path: Path) -> str:
    """The dotted name of a module: "streamer.faces.detect"; that of a package for its `__init__`."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


PATHS = {module_of(path): path for path in STREAMER + MODELS}


def folder_of(module: str) -> str:
    """The folder of a module within `streamer` or `models`: "render/textures", or "" for the top."""
    return "/".join(PATHS[module].relative_to(ROOT).parts[1:-1])


@cache
def nodes_of(path: Path) -> list[ast.AST]:
    """Everything in a file; parsed once for all tests."""
    return list(ast.walk(ast.parse(path.read_text())))


@cache
def imported(path: Path) -> frozenset[str]:
    """The absolute name of every module that `path` imports, wherever in the file, but for type checkers only."""
    return frozenset(_imported(path))


def _imported(path: Path) -> Iterator[str]:
    nodes = nodes_of(path)
    checks = [node for node in nodes if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
    for_checkers = {id(inner) for node in checks for child in node.body for inner in ast.walk(child)}
    for node in (node for node in nodes if id(node) not in for_checkers):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            package = "." * node.level + (node.module or "")
            for alias in node.names:
                within = f"{package}.{alias.name}"
                yield within if within in PATHS else package


IMPORTS = {module: {name for name in imported(path) if name in PATHS} for module, path in PATHS.items()}


def test_every_folder_has_its_place_in_the_order():
    assert set(MAY_IMPORT) == {folder_of(module_of(path)) for path in STREAMER}
    assert set(MODELS_MAY_IMPORT) == {folder_of(module_of(path)) for path in MODELS} - {""} | {""}


@pytest.mark.parametrize("path", STREAMER, ids=module_of)
def test_streamer_imports_only_what_its_folder_may(path: Path):
    module = module_of(path)
    allowed = {"", folder_of(module), *MAY_IMPORT[folder_of(module)].split()}
    for name in IMPORTS[module]:
        if name.startswith("streamer") and module != "streamer.__main__":  # which is the command
            assert folder_of(name) in allowed, f"{module} imports {name}"


@pytest.mark.parametrize("path", MODELS, ids=module_of)
def test_models_import_only_what_their_folder_may(path: Path):
    module = module_of(path)
    allowed = {"", folder_of(module), *MODELS_MAY_IMPORT[folder_of(module)].split()}
    for name in IMPORTS[module] if module != "models.registry" else ():  # which knows every kind
        assert folder_of(name) in allowed, f"{module} imports {name}"


def test_no_folder_of_streamer_may_import_a_later_one():
    earlier: set[str] = set()
    for folder, names in MAY_IMPORT.items():
        assert set(names.split()) <= earlier, folder
        earlier.add(folder)


def test_no_module_imports_one_that_imports_it():
    waiting = {module: names - {module} for module, names in IMPORTS.items()}
    while free := {module for module, names in waiting.items() if not names & waiting.keys()}:
        waiting = {module: names for module, names in waiting.items() if module not in free}
    assert not waiting


@pytest.mark.parametrize("path", MODELS, ids=module_of)
def test_models_import_only_torch_numpy_safetensors_and_themselves(path: Path):
    allowed = {"torch", "numpy", "safetensors", "models", *sys.stdlib_module_names}
    allowed |= {"PIL"} if path.stem == "dataset" else set()  # pictures are read for training only
    allowed |= {"cv2"} if path.parent.name == "textures" else set()  # textures are pictures
    allowed |= {"cv2"} if path.stem == "cpu_network" else set()  # it runs the network
    assert {name.partition(".")[0] for name in imported(path)} <= allowed


@pytest.mark.parametrize("path", STREAMER + MODELS, ids=module_of)
def test_imports_are_absolute(path: Path):
    assert not [name for name in imported(path) if name.startswith(".")]


def test_only_the_pipeline_makes_a_safe_frame():
    named = [path for path in STREAMER if "SafeFrame" in path.read_text()]
    makers = {module_of(path) for path in named if any(map(makes_safe, nodes_of(path)))}
    assert makers == {"streamer.pipeline.stream"}


def makes_safe(node: ast.AST) -> bool:
    called = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
    copied = called.endswith("replace") and "SafeFrame" in ast.unparse(node)
    return called.endswith(("SafeFrame", "SafeFrame.__new__")) or copied


LOOKERS = """
    types sources.file_source sources.pictures sources.live cli.demo training.extract training.pairs
    consent.enroll serve.peer_filter
    pipeline.identification pipeline.lookahead pipeline.always pipeline.anonymizer pipeline.stream pipeline.renderer
    sinks.file_sink sinks.picture_sinks sinks.display sinks.encoding sinks.webrtc
    api.program api.frame_stream
"""


def test_only_named_modules_look_at_pictures():
    """A preview or a log that reads `frame.image` would be a way around the pipeline.

    The values hold them, the source makes frames, the look-ahead and the regions ask how large they are, the pipeline
    and its renderer take them, the sink and its encoder get safe ones; programs and the demo show both, `extract` and
    `pairs` make training data, `enroll` reads who may stay visible, and all of `evaluate` compares before and after, on
    purpose.
    """
    lookers = {
        module_of(path)
        for path in STREAMER
        if not folder_of(module_of(path)).startswith("evaluate")
        for node in nodes_of(path)
        if isinstance(node, ast.Attribute) and node.attr == "image" and ast.unparse(node.value) != "anonymizer"
    }
    assert lookers <= {f"streamer.{name}" for name in LOOKERS.split()}


@pytest.mark.parametrize("path", STREAMER + MODELS + TESTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_file_is_longer_than_one_sitting(path: Path):
    assert len(path.read_text().splitlines()) <= 400


def test_a_folder_can_be_taken_in_at_a_glance():
    files = Counter(path.parent.relative_to(ROOT) for path in STREAMER + MODELS + TESTS)
    assert max(files.values()) < 15, files.most_common(3)


def test_a_file_name_occurs_once():
    names = Counter(path.name for path in STREAMER + MODELS + TESTS if path.stem not in {"__init__", "__main__"})
    assert {name for name, count in names.items() if count > 1} == set()


def test_a_public_class_has_a_name_of_its_own():
    classes = Counter(
        node.name
        for path in STREAMER + MODELS
        for node in nodes_of(path)
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    )
    del classes["Anonymizer"]  # what programs import is the pipeline's, with methods that save them a loop
    assert {name for name, count in classes.items() if count > 1} == set()
