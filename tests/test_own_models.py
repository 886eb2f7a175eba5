"""Whatever lies in the working directory, it is our own code that runs."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from streamer.sinks import rtsp as publish

BARE = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    """A folder with packages of our names that leave a trace when they are imported."""
    for name in ("models", "streamer"):
        (tmp_path / name).mkdir()
        for module in ("__init__", "remux"):
            (tmp_path / name / f"{module}.py").write_text("import pathlib; pathlib.Path('imported').touch()\n")
    return tmp_path


def python(*arguments: object, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, env=BARE | environment, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_the_command_started_beside_a_foreign_models_uses_its_own(foreign: Path):
    (foreign / "streamer" / "__init__.py").unlink()
    (foreign / "streamer" / "remux.py").unlink()
    (foreign / "streamer").rmdir()
    done = python("-m", "streamer", "models", "list", cwd=foreign)
    assert (done.returncode, done.stderr) == (0, "")
    assert not (foreign / "imported").exists()


@pytest.mark.parametrize("is_package", [True, False])
def test_beside_a_foreign_streamer_one_line_says_how_to_start(foreign: Path, is_package: bool):
    if not is_package:
        for file in (foreign / "streamer").iterdir():
            file.unlink()
    done = python("-m", "streamer", "--version", cwd=foreign)
    assert done.returncode == 1
    assert done.stderr.startswith(f"veil: `-m streamer` finds {foreign / 'streamer'}, not ")
    assert done.stderr.count("\n") == 1
    assert "python -P -m streamer" in done.stderr
    assert python("-P", "-m", "streamer", "--version", cwd=foreign).stdout.startswith("veil ")


def test_where_another_models_is_found_one_line_says_which(foreign: Path):
    (foreign / "x").mkdir()
    (foreign / "models").rename(foreign / "x" / "models")
    done = python("-P", "-m", "streamer", "models", "list", cwd=foreign, PYTHONPATH=str(foreign / "x"))
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert str(foreign / "x" / "models") in done.stderr
    assert "rename it" in done.stderr
    used = python("-P", "-c", "from streamer import Anonymizer", cwd=foreign, PYTHONPATH=str(foreign / "x"))
    assert used.stderr.splitlines()[-1].startswith("ImportError: `import models` finds")


def test_the_process_that_publishes_imports_nothing_of_the_working_directory(
    foreign: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(foreign)
    order = json.dumps({"url": "udp://127.0.0.1:9", "format": "mpegts", "options": {}})
    done = subprocess.run(publish.REMUX, input=order.encode() + b"\n", capture_output=True, check=False)
    assert done.returncode == 1  # there was no video; but it was ours that said so
    assert done.stderr.count(b"\n") == 1
    assert not (foreign / "imported").exists()
