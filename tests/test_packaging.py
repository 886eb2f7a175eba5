"""What is installed is what is used: every import is declared, and every message names what can be installed."""

import ast
import re
import sys
import tomllib
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
SOURCES = [path for package in ("streamer", "models") for path in sorted((ROOT / package).rglob("*.py"))]
WHEELS = {"dlib": "dlib-bin", "c2pa": "c2pa-python"}  # what is imported, by a distribution of another name


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", re.split(r"[<>=!\[ ]", name)[0]).lower()


def imported() -> set[str]:
    names = set()
    for node in (node for path in SOURCES for node in ast.walk(ast.parse(path.read_text()))):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add((node.module or "").partition(".")[0])
    return names - {"streamer", "models", "_typeshed"} - set(sys.stdlib_module_names)


def test_every_package_that_is_imported_is_declared():
    declared = {normal(one) for ones in (PROJECT["dependencies"], *EXTRAS.values()) for one in ones}
    installed = metadata.packages_distributions()
    for name in imported():
        distributions = installed.get(name, [WHEELS.get(name, name)])
        assert declared & set(map(normal, distributions)), f"{name} is not declared in pyproject.toml"


def test_every_package_that_is_declared_is_imported():
    installed = metadata.packages_distributions()
    used = {normal(one) for name in imported() for one in installed.get(name, [name])}
    assert {normal(one) for one in PROJECT["dependencies"]} - used == set()


def test_messages_name_no_package_index_where_we_are_not():
    for path in [*SOURCES, *ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]:
        assert "veil-stream[" not in path.read_text(), path


def test_extras_that_messages_and_documents_name_exist():
    for path in [*SOURCES, *ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]:
        for names in re.findall(r"'\.\[([a-z,]+)\]'", path.read_text()):
            assert set(names.split(",")) <= set(EXTRAS), path
