"""The wheel, built of what the Containerfile copies: installed in a fresh environment, used from another folder."""

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from tests.clips import encode_clip
from tests.test_container import ROOT, copied

PIP = ("-m", "pip", "--disable-pip-version-check", "-q")


def ask(python: Path | str, *words: object, folder: Path) -> str:
    """What a Python prints that knows nothing of the checkout; it must succeed."""
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VEIL_MODELS")}
    command = [str(python), *map(str, words)]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of an environment that has the wheel, and what it needs from the one that runs the tests."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for name in copied():
        there = ROOT / name
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(there, source / name, ignore=ignored) if there.is_dir() else shutil.copy(there, source)
    ask(sys.executable, *PIP, "wheel", "--no-deps", "--no-build-isolation", "-w", folder, source, folder=folder)
    (wheel,) = folder.glob("veil_stream-*.whl")
    fresh = folder / "fresh"
    venv.create(fresh, symlinks=True, with_pip=False)
    ask(sys.executable, "-m", "pip", "--python", fresh, *PIP[2:], "install", "--no-deps", wheel, folder=folder)
    shutil.rmtree(source)
    (site,) = (fresh / "lib").glob("python3.*/site-packages")
    (site / "needed.pth").write_text(sysconfig.get_path("purelib"))  # whose own .pth, of the checkout, is not read
    return fresh


def test_the_wheel_finds_its_weights_and_covers_a_face_from_any_folder(installed: Path, tmp_path: Path):
    encode_clip(tmp_path / "clip.mp4")
    python = installed / "bin" / "python"
    assert str(installed) in ask(python, "-c", "import streamer; print(streamer.__file__)", folder=tmp_path)
    assert "linear-refined  verified" in ask(installed / "bin" / "veil", "doctor", folder=tmp_path)
    ask(installed / "bin" / "veil", "run", "clip.mp4", "safe.mp4", folder=tmp_path)
    assert (tmp_path / "safe.mp4").stat().st_size > 0


def test_the_wheel_holds_types_pages_notices_and_examples(installed: Path):
    (site,) = (installed / "lib").glob("python3.*/site-packages")
    for name in ("models/py.typed", "streamer/py.typed", "streamer/serve/web/index.html", "models/weights"):
        assert (site / name).exists(), name
    assert list((site / "streamer/evaluate/report").glob("*.html"))
    assert list(site.glob("veil_stream-*.dist-info/licenses/NOTICE"))
    examples = installed / "share/veil/examples"
    assert {each.name for each in examples.iterdir()} >= {"thresholds.toml", "video.py", "nginx.conf"}
