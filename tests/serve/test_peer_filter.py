"""What a peer sends keeps our time, whatever its clock says, and belongs to the one who sent it."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import pytest
from av.video.frame import VideoFrame

from streamer.serve.peer_filter import TICKS, Received
from streamer.types import Frame

PAUSE = 0.15  # seconds from one arrival to the next
RATE = 90_000  # ticks of RTP a second


def taken(ticks: Sequence[int], *, new_sender_at: int | None = None) -> list[Frame]:
    """The frames that arrive with these timestamps, `PAUSE` apart."""
    source, frames = Received(), []
    incoming = iter(source)
    for n, pts in enumerate(ticks):
        if n == new_sender_at:
            source.begin()
        frame = VideoFrame.from_ndarray(np.zeros((16, 16, 3), np.uint8), "rgb24")
        frame.pts, frame.time_base = pts % TICKS, Fraction(1, RATE)
        source.put(frame, 100 + n * PAUSE, 0.0)
        frames.append(next(incoming))
    return frames


@pytest.mark.parametrize("step", [3 * RATE, 1, -RATE, RATE // 2])
def test_a_clock_that_does_not_keep_time_is_not_believed(step: int) -> None:
    frames = taken([n * step for n in range(40)])
    assert all(later.pts > earlier.pts for earlier, later in itertools.pairwise(frames))
    assert all(abs(frame.seconds - n * PAUSE) <= 0.5 + 1e-3 for n, frame in enumerate(frames))


def test_a_clock_that_keeps_time_counts_and_may_begin_anew() -> None:
    frames = taken([TICKS - 5 * RATE // 10 + n * RATE // 10 for n in range(11)])  # a tenth of a second each
    assert [frame.seconds for frame in frames] == pytest.approx([n / 10 for n in range(11)])


def test_the_first_frame_of_a_new_sender_is_said_to_be_that() -> None:
    frames = taken([n * RATE // 7 for n in range(6)], new_sender_at=3)
    assert [frame.is_first for frame in frames] == [n == 3 for n in range(6)]
