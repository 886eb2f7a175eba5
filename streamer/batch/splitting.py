"""Where a long video can be taken apart: at key frames, so that each part is read by itself and all join exactly."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from typing import Any

import av
from av.container.input import InputContainer

from streamer.errors import SourceError
from streamer.sources.clock import LEAP_SECONDS, common_start
from streamer.sources.decoding import video_stream

SEEKABLE = frozenset({"mov", "matroska"})  # formats with an index: a key frame is found without reading all before it
REACH = Fraction(1, 4)  # of a part's length: how far from its usual end it may end, for a scene cut


def cuts(file: Any, part_seconds: float, *, name: str) -> list[Fraction]:  # noqa: ANN401 - as av.open takes it
    """Return the seconds, since the start of the file, at which to take a video apart; none if that is not safe.

    Only a video whose times are all there and increase steadily is taken apart: then every part tells its own exactly.

    Args:
        file: A path, or an open file.
        part_seconds: Length of a part; a video of less than one and a half is left whole.
        name: What `file` is called.
    """
    try:
        with av.open(file, "r", metadata_errors="replace") as container:
            assert isinstance(container, InputContainer)
            long_enough = (container.duration or 0) / av.time_base >= 1.5 * part_seconds
            if not long_enough or SEEKABLE.isdisjoint(container.format.name.split(",")):
                return []
            return _cuts(container, part_seconds, name=name)
    except (av.FFmpegError, SourceError, OSError):  # what is wrong with it is said when it is read
        return []


def _cuts(container: InputContainer, part_seconds: float, *, name: str) -> list[Fraction]:
    stream = video_stream(container, name)
    time_base = stream.time_base
    assert time_base is not None
    start = round(common_start(container) / time_base)
    times, keys = [], []
    for packet in container.demux(stream):
        if not packet.size:
            continue
        if packet.pts is None or packet.is_discard or packet.is_corrupt:
            return []
        seconds = (packet.pts - start) * time_base
        times.append(seconds)
        if packet.is_keyframe:
            keys.append(seconds)
    times.sort()
    if any(not 0 < after - before < LEAP_SECONDS for before, after in pairwise(times)):
        return []
    return chosen(keys, times[-1], Fraction(part_seconds))


def chosen(keys: Sequence[Fraction], end: Fraction, length: Fraction) -> list[Fraction]:
    """Return the key frames at which parts begin, but for the first part.

    An encoder sets a key frame early where the scene changes: of those near the usual end of a part, the one that comes
    soonest after the one before is taken.

    Args:
        keys: Times of all key frames, increasing.
        end: Time of the last frame.
        length: Of a part.
    """
    gaps = {key: key - before for before, key in pairwise(keys)}
    found: list[Fraction] = []
    last = Fraction(0)
    while end - last >= length * (1 + 2 * REACH):
        wished = last + length
        later = [key for key in gaps if key >= wished - length * REACH and key > last]
        near = [key for key in later if key <= wished + length * REACH] or later[:1]
        if not near or end - near[0] < length * REACH:
            break
        last = min(near, key=lambda key: (gaps[key], abs(key - wished)))
        found.append(last)
    return found
