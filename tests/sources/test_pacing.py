"""Live streams: the newest frame counts, and recordings can be played at their own pace."""

import re
import threading
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from streamer.cli import main as cli
from streamer.errors import SourceError
from streamer.sources.pacing import KeepsNewest, Mailbox, Paced, newest
from streamer.types import Frame, VideoInfo
from tests.clips import encode_clip
from tests.end_to_end.patience import PATIENCE_SECONDS


def frame(index: int) -> Frame:
    return Frame(np.zeros((2, 2, 3), np.uint8), index, index, Fraction(1, 50))


class Listed:
    """A source of given frames, which may fail at the end."""

    def __init__(self, count: int, error: Exception | None = None) -> None:
        self.info = VideoInfo(2, 2, Fraction(50), Fraction(1, 50), count)
        self._count, self._error, self.entered = count, error, 0

    def __enter__(self) -> "Listed":
        self.entered += 1
        return self

    def __exit__(self, *_: object) -> None:
        self.entered -= 1

    def __iter__(self) -> Iterator[Frame]:
        yield from map(frame, range(self._count))
        if self._error:
            raise self._error


def test_a_newer_frame_takes_the_place_of_one_that_nobody_took():
    mailbox = Mailbox()
    for index in range(5):
        mailbox.put(frame(index))
    mailbox.close()
    assert [got.index for got in mailbox] == [4]


def test_nothing_comes_after_the_end():
    mailbox = Mailbox[int]()
    mailbox.put(1)
    mailbox.close()
    mailbox.put(2)
    assert list(mailbox) == [1]


def test_the_end_reaches_everybody_who_waits():
    mailbox = Mailbox[int]()
    waiting = [threading.Thread(target=list, args=(mailbox,), daemon=True) for _ in range(3)]
    for thread in waiting:
        thread.start()
    time.sleep(0.1)
    mailbox.close()
    for thread in waiting:
        thread.join(PATIENCE_SECONDS)
    assert not any(thread.is_alive() for thread in waiting)


def test_a_source_that_drops_frames_itself_needs_no_thread():
    class Dropping(KeepsNewest):
        def __iter__(self) -> Iterator[int]:
            return iter([1, 2, 3])

    before = threading.active_count()
    assert list(newest(Dropping(), threading.Event())) == [1, 2, 3]
    assert threading.active_count() == before


def test_what_ended_a_source_is_raised_after_its_last_frame():
    frames = newest(Listed(1, SourceError("cable")), threading.Event())
    assert next(frames).index == 0
    with pytest.raises(SourceError, match="cable"):
        next(frames)


def test_a_slow_consumer_gets_the_newest_frame_not_the_next():
    source = Paced(Listed(15))
    got = []
    for received in newest(source, threading.Event()):
        got.append(received.index)
        time.sleep(0.05)  # two and a half frames
    assert got == sorted(set(got))
    assert len(got) < 12
    assert got[-1] == 14


def test_a_recording_is_played_at_its_own_pace_and_counts_as_live():
    listed = Listed(6)
    with Paced(listed) as source:
        assert listed.entered == 1
        assert source.info.is_live
        start = time.monotonic()
        assert [got.index for got in source] == list(range(6))
    assert time.monotonic() - start >= 5 / 50 - 1e-3
    assert listed.entered == 0


def test_a_stop_ends_the_receiving_thread():
    stop = threading.Event()
    before = threading.active_count()
    frames = newest(Paced(Listed(10_000)), stop)
    next(frames)
    stop.set()
    deadline = time.monotonic() + PATIENCE_SECONDS
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threading.active_count() <= before


def test_a_recording_of_which_most_is_lost_is_an_error_at_its_own_pace_too(tmp_path: Path):
    path = encode_clip(tmp_path / "a.avi", codec="mjpeg", pix_fmt="yuvj420p")
    data = bytearray(path.read_bytes())
    for picture in list(re.finditer(b"\xff\xd8.*?\xff\xd9", data, re.DOTALL))[3:]:
        data[picture.start() : picture.end()] = bytes(picture.end() - picture.start())
    path.write_bytes(data)
    result = CliRunner().invoke(cli.app, ["run", str(path), str(tmp_path / "b.mp4"), "--realtime", "--mode", "cover"])
    assert result.exit_code == 1, result.output
    assert "only 3 frames of 12 packets could be decoded" in result.stderr
    assert [file.name for file in tmp_path.iterdir()] == ["a.avi"]


def test_what_is_wrong_with_the_consent_list_of_a_live_run_is_said_in_one_line(tmp_path: Path):
    (tmp_path / "key").write_bytes(bytes(32))
    options = ["--mode", "cover", "--realtime", "--keep", str(tmp_path / "none"), "--keep-key", str(tmp_path / "key")]
    result = CliRunner().invoke(
        cli.app, ["run", str(encode_clip(tmp_path / "a.mp4")), str(tmp_path / "b.mp4"), *options]
    )
    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == 1
    assert "none" in result.stderr
