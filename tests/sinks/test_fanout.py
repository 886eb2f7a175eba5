"""Several outputs at once: what becomes of one is no matter of the others."""

from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

from streamer.sinks.fanout import Fanout, LostOutputError
from streamer.sinks.file_sink import open_sink
from streamer.types import SafeFrame, VideoInfo
from tests.clips import picture

INFO = VideoInfo(64, 48, Fraction(10), Fraction(1, 10), None)


class FailsAtTheEnd:
    """A sink of somebody else's, with an error of its own."""

    audio_packets, audio_failures = 0, ()

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        raise self.error

    def write(self, frame: SafeFrame) -> None:
        pass


def write(fanout: Fanout) -> None:
    with fanout:
        for index in range(3):
            fanout.write(SafeFrame(picture(index), index, index, INFO.time_base))


def test_an_output_that_fails_at_the_end_leaves_the_others_whole_and_quotes_no_data(tmp_path: Path) -> None:
    sinks = [("bad", FailsAtTheEnd(ValueError("secret"))), ("good", open_sink(tmp_path / "a.mp4", INFO))]
    fanout = Fanout(sinks, is_live=False)
    with pytest.raises(LostOutputError, match=r"^bad: ValueError$"):
        write(fanout)
    assert [file.name for file in tmp_path.iterdir()] == ["a.mp4"]
    assert [(each.state, each.frames) for each in fanout.deliveries] == [("failed", 0), ("done", 3)]


@pytest.mark.parametrize("window_fails", [True, False])
def test_an_interruption_or_a_window_that_does_not_close_leaves_the_outputs_whole(
    window_fails: bool, tmp_path: Path
) -> None:
    failing = FailsAtTheEnd(RuntimeError() if window_fails else KeyboardInterrupt())
    file = ("good", open_sink(tmp_path / "a.mp4", INFO))
    sinks, windows = ([file], [failing]) if window_fails else ([("bad", failing), file], [])
    fanout = Fanout(sinks, windows=windows, is_live=True)
    with pytest.raises(type(failing.error)):
        write(fanout)
    assert [file.name for file in tmp_path.iterdir()] == ["a.mp4"]
