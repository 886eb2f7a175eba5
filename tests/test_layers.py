"""The architecture, held by the source text: imports go down, and only the pipeline turns a frame into a safe one."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
EVALUATE = sorted((ROOT / "streamer" / "evaluate").glob("*.py"))
STREAMER = sorted((ROOT / "streamer").glob("*.py")) + EVALUATE
MODELS = sorted((ROOT / "models").glob("*.py")) + sorted((ROOT / "models" / "textures").glob("*.py"))

# A module may import those of a lower rank only; one that is not named here is a stage.
STAGE = 1
RANK = {
    "types": 0,
    "errors": 0,
    "masking": 0,
    "batch": 6,
    "batch_report": 4,
    "run_audit": 19,
    "delivery": 0,
    "own_models": -1,
    "blend": 2,
    "copied": 2,
    "sinks": 4,
    "special_files": 1,
    "part_sink": 2,
    "picture_sinks": 3,
    "picture_file": 3,
    "pseudonym": 2,
    "eyes": 2,
    "fine_mesh": 2,
    "stranger": 3,
    "paint": 4,
    "drawer": 3,
    "draw": 4,
    "texture_draw": 5,
    "progress": 3,
    "lookahead": 2,
    "guard": 2,
    "traits": 2,
    "settings": 1,
    "keep": 4,
    "assembly": 6,
    "detect": 2,
    "center_face": 3,
    "small_faces": 4,
    "render": 7,
    "pipeline": 8,
    "protection": 9,
    "demo": 9,
    "doctor": 9,
    "extract": 9,
    "donors": 3,
    "train_textures": 9,
    "audit": 2,
    "audit_check": 3,
    "crowd": 2,
    "sighting": 2,
    "consent_judge": 3,
    "enroll": 6,
    "address": 1,
    "clock": 1,
    "deinterlace": 1,
    "margins": 1,
    "recordings": 2,
    "decoding": 2,
    "pictures": 4,
    "live_source": 3,
    "fanout": 2,
    "publish": 3,
    "shown": 2,
    "whip": 4,
    "outputs": 5,
    "remux": 2,
    "sources": 5,
    "cli_errors": 1,
    "cores": 1,
    "cli_train": 21,
    "cli_models": 21,
    "cli_evaluate": 21,
    "cli_audit": 21,
    "cli_consent": 21,
    "cli_run": 21,
    "cli_serve": 21,
    "cli": 22,
}
RANK |= {"__init__": 0, "__main__": 23}

# `streamer.evaluate`, from the pipeline up; one that is not named here is of the second row.
EVALUATE_LAYERS = (
    "figures coverage gaze labels recognizers truth utility published inception provenance",
    "baselines chance charts distances elsewhere frame_pairs glossary leaks photos publish steadiness thresholds union",
    "judge report summary video",
    "measurements worst",
    "identity_figures pairing workers",
    "scores",
    "image_tables images study",
    "covers paper_charts paper_tables",
    "evidence tables",
    "averaging linear_map",
    "inversion linking parrot",
    "attack",
)
EVALUATE_RANK = {"__init__": 0} | {
    name: rank for rank, names in enumerate(EVALUATE_LAYERS, RANK["pipeline"] + 1) for name in names.split()
}


# `streamer.serve`, from what runs a stream up.
SERVE_LAYERS = ("certificate ice metrics offers", "access filter", "peers", "app")
SERVE_RANK = {"__init__": 0, "tracks": RANK["whip"] - 1} | {
    name: rank for rank, names in enumerate(SERVE_LAYERS, RANK["protection"] + 1) for name in names.split()
}


def module_of(path: Path) -> str:
    """The name of a module within `streamer`: "images", or "evaluate.images"."""
    return ".".join(path.relative_to(ROOT / "streamer").with_suffix("").parts)


def rank_of(module: str) -> int:
    package, _, name = module.rpartition(".")
    if package == "evaluate":
        return EVALUATE_RANK.get(name, EVALUATE_RANK["charts"])
    if package == "serve":
        return SERVE_RANK[name]
    return RANK.get(module or "__init__", STAGE)


def imported(path: Path) -> Iterator[str]:
    """The absolute name of every module that `path` imports, wherever in the file, but for type checkers only."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield "." * node.level + (node.module or "")


@pytest.mark.parametrize("path", STREAMER, ids=module_of)
def test_streamer_imports_only_lower_layers(path: Path):
    rank = rank_of(module_of(path))
    for name in imported(path):
        package, _, module = name.partition(".")
        if package == "streamer":
            assert rank_of(module) < rank, f"{module_of(path)} imports {name}"


@pytest.mark.parametrize("path", MODELS, ids=lambda path: path.stem)
def test_models_import_only_torch_numpy_safetensors_and_themselves(path: Path):
    allowed = {"torch", "numpy", "safetensors", "models", *sys.stdlib_module_names}
    allowed |= {"PIL"} if path.stem == "dataset" else set()  # pictures are read for training only
    allowed |= {"cv2"} if path.parent.name == "textures" else set()  # textures are pictures
    assert {name.partition(".")[0] for name in imported(path)} <= allowed


@pytest.mark.parametrize("path", STREAMER + MODELS, ids=lambda path: path.stem)
def test_imports_are_absolute(path: Path):
    assert not [name for name in imported(path) if name.startswith(".")]


def test_only_the_pipeline_makes_a_safe_frame():
    nodes = [(module_of(path), node) for path in STREAMER for node in ast.walk(ast.parse(path.read_text()))]
    makers = {module for module, node in nodes if makes_safe(node)}
    assert makers == {"pipeline"}


def makes_safe(node: ast.AST) -> bool:
    called = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
    copied = called.endswith("replace") and "SafeFrame" in ast.unparse(node)
    return called.endswith(("SafeFrame", "SafeFrame.__new__")) or copied


def test_only_named_modules_look_at_pictures():
    """A preview or a log that reads `frame.image` would be a way around the pipeline.

    The source makes frames, the look-ahead asks how large they are, the pipeline and its renderer take them, the sink
    and its encoder get safe ones; the demo shows both, `extract` makes training data, `enroll` reads who may stay
    visible, and all of `evaluate` compares before and after, on purpose.
    """
    lookers = {
        module_of(path)
        for path in set(STREAMER) - set(EVALUATE)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and node.attr == "image" and ast.unparse(node.value) != "anonymizer"
    }
    assert lookers <= {
            "sources", "pictures", "live_source", "lookahead", "pipeline", "render", "sinks", "picture_sinks", "shown",
            "video_codec", "demo", "extract", "enroll", "serve.filter", "serve.tracks",
        }  # fmt: skip


@pytest.mark.parametrize("path", STREAMER + MODELS, ids=lambda path: path.stem)
def test_no_module_is_longer_than_one_sitting(path: Path):
    assert len(path.read_text().splitlines()) <= 400
