"""What is installed is what is used: every import is declared, and every message names what can be installed."""

import ast
import re
import sys
import tomllib
from collections.abc import Mapping
from functools import cache
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
SHIPPED, OTHERS = ("streamer", "models"), ("benchmarks", "examples", "tests")
SOURCES = [path for package in SHIPPED for path in sorted((ROOT / package).rglob("*.py"))]
OURS = {*SHIPPED, *OTHERS, "clips", "webrtc_track"}  # the last two by the path of whoever runs them
NEVER_INSTALLED = {"_typeshed", "gi"}  # for type checkers alone; of the Python of the system
WHEELS = {"dlib": "dlib-bin", "c2pa": "c2pa-python"}  # what is imported, by a distribution of another name


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", re.split(r"[<>=!\[ ]", name)[0]).lower()


@cache
def imported(*packages: str) -> set[str]:
    names = set()
    files = (path for package in packages for path in (ROOT / package).rglob("*.py"))
    for node in (node for path in files for node in ast.walk(ast.parse(path.read_text()))):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add((node.module or "").partition(".")[0])
    return names - OURS - NEVER_INSTALLED - set(sys.stdlib_module_names)


@cache
def installed() -> Mapping[str, list[str]]:
    """The distributions of each package that can be imported; to look takes a while."""
    return metadata.packages_distributions()


def test_every_package_that_is_imported_is_declared():
    declared = {normal(one) for ones in (PROJECT["dependencies"], *EXTRAS.values()) for one in ones}
    for name in imported(*SHIPPED, *OTHERS):
        distributions = installed().get(name, [WHEELS.get(name, name)])
        assert declared & set(map(normal, distributions)), f"{name} is not declared in pyproject.toml"


def test_every_package_that_is_declared_is_imported():
    used = {normal(one) for name in imported(*SHIPPED) for one in installed().get(name, [name])}
    assert {normal(one) for one in PROJECT["dependencies"]} - used == set()


def test_messages_name_no_package_index_where_we_are_not():
    for path in [*SOURCES, *ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]:
        assert "veil-stream[" not in path.read_text(), path


def test_extras_that_messages_and_documents_name_exist():
    for path in [*SOURCES, *ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]:
        for names in re.findall(r"'\.\[([a-z,]+)\]'", path.read_text()):
            assert set(names.split(",")) <= set(EXTRAS), path
