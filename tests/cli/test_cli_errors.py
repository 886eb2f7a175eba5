"""Whatever ends a run is one line, an exit code, and no output."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

from models.checkpoint import DEFAULT_WEIGHTS, WEIGHTS, weights_path
from streamer.pipeline import anonymizer as pipeline
from streamer.pipeline import runner as protection
from streamer.types import SafeFrame
from tests.cli.running import COVER, veil
from tests.end_to_end.patience import PATIENCE_SECONDS


@pytest.fixture
def places(portrait_clip: Path, tmp_path: Path) -> dict[str, Path]:
    """Good and bad files by name."""
    (tmp_path / "text.mp4").write_text("this is no video\n" * 100)
    (tmp_path / "there.mp4").write_text("do not overwrite me")
    (tmp_path / "garbage.safetensors").write_bytes(b"\0garbage" * 100)
    with av.open(str(tmp_path / "sound.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=48000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        frame.sample_rate = 48000
        container.mux([*stream.encode(frame), *stream.encode()])
    names = (
        "gone.mp4",
        "text.mp4",
        "there.mp4",
        "garbage.safetensors",
        "sound.mp4",
        "safe.mp4",
        "safe.webm",
        "no/folder/safe.mp4",
    )
    places = {name: tmp_path / name for name in names}
    return {**places, "clip": portrait_clip, "under a file": tmp_path / "text.mp4" / "safe.mp4"}


ERRORS = {
    "missing file": ("gone.mp4", "safe.mp4", [], 1, ["gone.mp4", "No such file", "check the path"]),
    "text as video": ("text.mp4", "safe.mp4", [], 1, ["text.mp4", "is it a video?"]),
    "audio only": ("sound.mp4", "safe.mp4", [], 1, ["sound.mp4", "no video stream", "audio only?"]),
    "existing output": ("clip", "there.mp4", [], 1, ["there.mp4", "exists", "overwrit"]),
    "no folder": ("clip", "no/folder/safe.mp4", [], 1, ["no/folder", "create it"]),
    "under a file": ("clip", "under a file", [], 1, ["text.mp4/safe.mp4", "cannot write"]),
    "input as output": ("clip", "clip", ["--overwrite"], 1, ["overwrite the input", "another name"]),
    "unknown model": ("clip", "safe.mp4", ["--model", "nobody"], 1, ["nobody", "no such file"]),
    "corrupt weights": ("clip", "safe.mp4", ["--model", "garbage.safetensors"], 1, ["garbage.safetensors", "damaged"]),
    "weights gone": ("clip", "safe.mp4", ["--model", "gone.safetensors"], 1, ["gone.safetensors", "no such file"]),
    "no cuda": ("clip", "safe.mp4", ["--device", "cuda"], 1, ["cuda", "--device auto"]),
    "beta too large": ("clip", "safe.mp4", ["--beta", "1.5"], 2, ["--beta"]),
    "beta no number": ("clip", "safe.mp4", ["--beta", "nan"], 2, ["beta"]),
    "no such codec there": ("clip", "safe.webm", ["--codec", "h264"], 1, ["safe.webm", ".webm cannot hold h264"]),
    "unknown codec": ("clip", "safe.mp4", ["--codec", "mpeg2"], 2, ["--codec"]),
    "unknown cover": ("clip", "safe.mp4", ["--cover", "blur"], 2, ["--cover"]),
    "unknown option": ("clip", "safe.mp4", ["--fast"], 2, ["--fast"]),
}


@pytest.mark.parametrize("case", ERRORS)
def test_an_error_is_said_once_and_leaves_nothing(
    case: str, places: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    source, sink, options, code, parts = ERRORS[case]
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    result = veil("run", places[source], places[sink], *(str(places.get(option, option)) for option in options))
    assert result.exit_code == code, result.output
    assert result.stdout == ""
    for part in parts:
        assert part in " ".join(result.stderr.split())
    assert "Traceback" not in result.stderr
    if code == 1:
        assert len(result.stderr.splitlines()) == 1
        assert result.stderr.startswith("veil: ")
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("name", [DEFAULT_WEIGHTS, "identity", "attributes"])
@pytest.mark.parametrize("is_missing", [False, True])
def test_weights_of_ours_that_are_damaged_or_missing_end_a_run_before_a_frame_is_written(
    name: str, is_missing: bool, portrait_clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    folder = tmp_path / "weights"
    folder.mkdir()
    for path in WEIGHTS.iterdir():
        (folder / path.name).symlink_to(path)
    broken = folder / f"{name}.safetensors"
    broken.unlink()
    if not is_missing:
        broken.write_bytes(WEIGHTS.joinpath(broken.name).read_bytes()[:-1] + b"?")
    monkeypatch.setitem(weights_path.__kwdefaults__, "folder", folder)
    result = veil("run", portrait_clip, tmp_path / "safe.mp4")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == f"veil: {broken}: sha256 does not match; reinstall veil-stream\n"
    assert list(tmp_path.iterdir()) == [folder]


def raising(error: BaseException) -> Any:  # noqa: ANN401
    def protect(source: Any, anonymizer: pipeline.Anonymizer, *, stream: str | None) -> Iterator[SafeFrame]:  # noqa: ANN401
        yield from anonymizer.frames([next(iter(source))])
        raise error

    return protect


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (KeyboardInterrupt(), 130, "interrupted; nothing was written"),
        (MemoryError(), 1, "out of memory"),
        (ZeroDivisionError("array([[17, 18, 19]])"), 1, "unexpected ZeroDivisionError at test_cli_errors.py:"),
    ],
)
def test_whatever_ends_a_run_is_one_line_without_data_and_no_output(
    error: BaseException, code: int, says: str, portrait_clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(protection, "protect", raising(error))
    monkeypatch.delenv("VEIL_DEBUG", raising=False)
    result = veil("run", portrait_clip, tmp_path / "safe.mp4", *COVER)
    assert (result.exit_code, result.stdout) == (code, "")
    assert says in result.stderr
    assert "17, 18, 19" not in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_the_traceback_is_shown_on_request(portrait_clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(protection, "protect", raising(ZeroDivisionError("why")))
    monkeypatch.setenv("VEIL_DEBUG", "1")
    result = veil("run", portrait_clip, tmp_path / "safe.mp4", *COVER)
    assert "Traceback" in result.stderr
    assert "ZeroDivisionError: why" in result.stderr


@pytest.mark.slow
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_real_signal_ends_a_real_run_with_130_and_no_output(name: str, portrait_clip: Path, tmp_path: Path):
    slow = tmp_path / "slow.py"  # the clip is over too soon to hit: every frame of it takes a while
    slow.write_text(
        "import pathlib, time\n"
        "from streamer.cli import main as cli\nfrom streamer.pipeline.stream import FaceAnonymizer\n"
        "real = FaceAnonymizer.render\n"
        "def call(*arguments):\n"
        f"    pathlib.Path({str(tmp_path / 'working')!r}).touch()\n"
        "    time.sleep(1)\n    return real(*arguments)\n"
        "FaceAnonymizer.render = call\ncli.main()\n"
    )
    command = [sys.executable, slow, "run", portrait_clip, tmp_path / "safe.mp4", *COVER]
    root = {"PYTHONPATH": str(Path(__file__).parents[2])}
    heard = partial(signal.signal, getattr(signal, name), signal.SIG_DFL)  # these tests may run under `nohup`
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, env={**os.environ, **root}, preexec_fn=heard
    ) as process:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not (tmp_path / "working").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(getattr(signal, name))
        _, said = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 130, said
    assert said == "veil: interrupted; nothing was written\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["slow.py", "working"]


@pytest.mark.slow
def test_a_run_whose_summary_nobody_reads_is_done_all_the_same(tmp_path: Path):
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((16, 16, 3), np.uint8))
    unread, written = os.pipe()
    os.close(unread)
    command = [sys.executable, "-m", "streamer", "run", tmp_path / "a.png", tmp_path / "b.png", *COVER]
    done = subprocess.run(command, stdout=written, stderr=subprocess.PIPE, check=False)
    os.close(written)
    assert (done.returncode, done.stderr) == (0, b"")
    assert (tmp_path / "b.png").exists()


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_a_name_that_the_console_cannot_show_does_not_fail_the_work(encoding: str, tmp_path: Path):
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((16, 16, 3), np.uint8))
    target = tmp_path / os.fsdecode("\u65e5\u00e9".encode() + b"\xe9.png")
    command = [sys.executable, "-m", "streamer", "run", tmp_path / "a.png", os.fsencode(target), *COVER]
    done = subprocess.run(command, capture_output=True, env=os.environ | {"PYTHONIOENCODING": encoding}, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.startswith(b"written")
    assert target.exists()
