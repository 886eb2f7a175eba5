"""The Containerfile, as far as it can be told without an engine: what it copies exists, and it does not run as root."""

import re
import shlex
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "Containerfile").read_text()
STEPS = [
    (line.split(None, 1)[0], line.split(None, 1)[1])
    for line in re.sub(r"\\\n", " ", TEXT).splitlines()
    if line and not line.startswith("#")
]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
SETUPTOOLS = PROJECT["tool"]["setuptools"]


def arguments(instruction: str) -> list[str]:
    return [text for name, text in STEPS if name == instruction]


def copied() -> set[str]:
    return {source for text in arguments("COPY") for source in shlex.split(text)[:-1]}


def test_what_is_copied_exists_and_is_what_the_package_is_built_of():
    assert {name for name in copied() if not (ROOT / name).exists()} == set()
    packages = {pattern.rstrip("*") for pattern in SETUPTOOLS["packages"]["find"]["include"]}
    at_the_top = {name for name in PROJECT["project"]["license-files"] if "/" not in name}
    data = {pattern.partition("/")[0] for ones in SETUPTOOLS["data-files"].values() for pattern in ones}
    needed = {"pyproject.toml", "constraints.txt", PROJECT["project"]["readme"], *packages, *at_the_top, *data}
    assert needed <= copied()


def test_the_process_is_an_account_of_its_own_and_not_root():
    (user,) = arguments("USER")
    (made,) = [text for text in arguments("RUN") if "useradd" in text]
    assert user in shlex.split(made)
    assert int(re.findall(r"--uid (\d+)", made)[0]) >= 1000
    assert [name for name, _ in STEPS].index("USER") > max(n for n, (name, _) in enumerate(STEPS) if name == "RUN")


def test_it_serves_by_default_and_installs_what_the_tests_ran_with():
    assert arguments("ENTRYPOINT") == ['["veil"]']
    assert arguments("CMD") == ['["serve"]']
    assert any("-c constraints.txt ." in text for text in arguments("RUN"))


def test_the_python_of_the_image_is_one_that_veil_runs_on():
    minor = int(re.findall(r"^python:3\.(\d+)-slim\b", arguments("FROM")[0])[0])
    low, high = re.findall(r"3\.(\d+)", PROJECT["project"]["requires-python"])
    assert int(low) <= minor < int(high)
