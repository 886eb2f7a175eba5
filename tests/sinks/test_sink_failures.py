"""An output is there when all of it is written, and not before: whatever fails, nothing stays."""

from __future__ import annotations

import os
import subprocess
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from streamer.errors import SinkError
from streamer.sinks.file_sink import VideoSink, open_sink
from streamer.types import Frame, SafeFrame, VideoInfo
from tests.clips import picture
from tests.sinks.written import INFO, Clip, frame_at, left_in, write_all


def write_noise(target: Path) -> None:
    """Write two seconds of what no codec can compress."""
    info = VideoInfo(256, 256, Fraction(10), Fraction(1, 10), None)
    noise = np.random.default_rng(0).integers(0, 255, (256, 256, 3), np.uint8)
    with open_sink(target, info, overwrite=True) as sink:
        for index in range(20):
            sink.write(SafeFrame(np.roll(noise, index * 7, 1), index, index, Fraction(1, 10)))


def test_only_a_safe_frame_is_written(tmp_path: Path) -> None:
    raw = Frame(picture(0), 0, 0, Fraction(1, 10))
    for name in ("out.mp4", "out.png", "out"):
        with (
            pytest.raises(TypeError, match="only a SafeFrame may be written, got Frame"),
            open_sink(tmp_path / name, INFO) as sink,
        ):
            sink.write(raw)
    assert left_in(tmp_path) == []


@pytest.mark.parametrize("name", ["out.mp4", "out.mkv", "out.webm", "out.png", "out"])
@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_exception_leaves_nothing(tmp_path: Path, name: str, error: type[BaseException]) -> None:
    def be_interrupted() -> None:
        with open_sink(tmp_path / name, INFO) as sink:
            sink.write(frame_at(0))
            raise error

    with pytest.raises(error):
        be_interrupted()
    assert left_in(tmp_path) == []


@pytest.mark.parametrize("name", ["out.mp4", "out.webm", "out.png", "out"])
def test_the_final_name_appears_only_when_all_is_written(tmp_path: Path, name: str) -> None:
    with open_sink(tmp_path / name, INFO) as sink:
        sink.write(frame_at(0))
        assert name not in left_in(tmp_path)
    assert left_in(tmp_path) == [name]


@pytest.mark.parametrize("name", ["out.mp4", "out.png", "out"])
def test_a_sink_that_is_not_entered_leaves_nothing_and_takes_nothing(tmp_path: Path, name: str) -> None:
    sink = open_sink(tmp_path / name, INFO)
    with pytest.raises(SinkError, match="it is closed"):
        sink.write(frame_at(0))
    assert left_in(tmp_path) == []


@pytest.mark.parametrize("name", ["out.mp4", "out.png", "out"])
def test_a_signal_while_a_sink_opens_leaves_nothing(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    sink = open_sink(tmp_path / name, INFO)
    opened = type(sink)._open

    def interrupted(self: VideoSink) -> None:
        opened(self)
        assert left_in(tmp_path) != []
        raise KeyboardInterrupt

    monkeypatch.setattr(type(sink), "_open", interrupted)
    with pytest.raises(KeyboardInterrupt), sink:
        pytest.fail("entered")
    assert left_in(tmp_path) == []


@pytest.mark.parametrize("name", ["out.mp4", "out.png", "out"])
def test_no_frame_at_all_is_an_error_and_leaves_nothing(tmp_path: Path, name: str) -> None:
    with pytest.raises(SinkError, match="no frame"), open_sink(tmp_path / name, INFO):
        pass
    assert left_in(tmp_path) == []


@pytest.mark.parametrize("name", ["out.mp4", "out.png", "out"])
def test_an_existing_output_is_kept_unless_told_otherwise(tmp_path: Path, name: str) -> None:
    info = VideoInfo(64, 48, Fraction(10), Fraction(1, 10), 1)
    write_all(tmp_path / name, 1, info)
    with pytest.raises(SinkError, match="exists; remove it, or pass overwrite=True"):
        open_sink(tmp_path / name, info)
    with open_sink(tmp_path / name, info, overwrite=True) as sink:
        sink.write(frame_at(0))
    assert left_in(tmp_path) == [name]


def test_the_input_is_never_overwritten(clip: Clip, tmp_path: Path) -> None:
    source = clip("a.mp4")
    before = source.read_bytes()
    (tmp_path / "hard.mp4").hardlink_to(source)
    (tmp_path / "soft.mp4").symlink_to(source)
    for target in (source, tmp_path / "hard.mp4", tmp_path / "soft.mp4", tmp_path):
        with pytest.raises(SinkError, match="would overwrite the input"):
            open_sink(target, INFO, source_path=source, overwrite=True)
    assert source.read_bytes() == before


def test_an_output_inside_the_input_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SinkError, match="would overwrite the input"):
        open_sink(tmp_path / "out", INFO, source_path=tmp_path)


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SinkError, match="there is no folder"):
        open_sink(tmp_path / "none" / "out.mp4", INFO)


@pytest.mark.parametrize("name", ["out.mp4", "out.png", "out"])
def test_a_folder_that_cannot_be_written_is_refused_before_the_first_frame(name: str) -> None:
    with (
        pytest.raises(SinkError, match=f"cannot write /proc/{name}: "),  # not even root may
        open_sink(Path("/proc") / name, INFO),
    ):
        pytest.fail("entered")


def test_an_unknown_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SinkError, match=r"unknown kind \.xyz; expected \.mp4"):
        open_sink(tmp_path / "out.xyz", INFO)


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "webm"])
def test_a_full_disk_is_one_clear_error(tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamer.sinks.part_sink.token_hex", lambda _: "0")
    (tmp_path / f"out.0.part.{suffix}").symlink_to("/dev/full")  # the kernel's own full disk
    with pytest.raises(SinkError, match="the disk is full"):
        write_noise(tmp_path / f"out.{suffix}")
    assert left_in(tmp_path) == []


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Path:
    """Return a mounted file system of 256 kB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if (
        os.geteuid()
        or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", folder], check=False).returncode
    ):
        pytest.skip("only a user who may mount can make a tiny disk")
    yield folder
    subprocess.run(["umount", folder], check=True)


@pytest.mark.parametrize("name", ["out.mp4", "out.mkv", "out.webm", "out"])
def test_a_disk_that_fills_up_midway_ends_empty(tiny_disk: Path, name: str) -> None:
    with pytest.raises(SinkError, match="the disk is full"):
        write_noise(tiny_disk / name)
    assert left_in(tiny_disk) == []


def test_a_sink_that_failed_takes_no_more_and_publishes_nothing(tmp_path: Path) -> None:
    with open_sink(tmp_path / "out.mp4", INFO) as sink:
        sink.write(frame_at(3))
        with pytest.raises(SinkError, match="frame 2 goes back in time"):
            sink.write(frame_at(2))
        assert left_in(tmp_path) == []
        with pytest.raises(SinkError, match="it is closed"):
            sink.write(frame_at(4))
    assert left_in(tmp_path) == []
