"""The frames of a clip, each beside what became of it. Knows no face.

Frames pair by index where both videos have as many. A tool that writes another frame rate, or loses frames, has another
count: then they pair by time, and every frame without a partner is named.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from streamer.evaluate.figures import Problem
from streamer.pipeline.anonymizer import Anonymizer
from streamer.sources.file_source import VideoSource, open_file
from streamer.sources.pictures import PictureSource
from streamer.types import Frame, Image

Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class FramePair:
    """One frame before and after.

    Attributes:
        before: The original's; it shows real faces.
        after: `(H, W, 3)` uint8 RGB of the same size, or None where the output has no such frame.
    """

    before: Frame
    after: Image | None


class OwnPairs:
    """The frames of a clip beside what an anonymizer makes of them, which no codec has touched.

    Raises:
        SourceError, AnonymizerError: While iterating, whatever ended either.
    """

    problems: tuple[Problem, ...] = ()

    def __init__(self, original: Path, anonymizer: Anonymizer) -> None:
        self._original, self._anonymizer = original, anonymizer

    def __iter__(self) -> Iterator[FramePair]:
        with open_file(self._original) as source:
            # The anonymizer may read ahead of what it yields; tee keeps what lies between.
            befores, frames = itertools.tee(source)
            for before, safe in zip(befores, self._anonymizer.frames(frames), strict=True):
                yield FramePair(before, safe.image)


class OutputPairs:
    """The frames of a clip beside those of a video that some tool made of it.

    Attributes:
        problems: Frames without a partner, and sizes that differ; complete once the iteration has ended.

    Raises:
        SourceError: If either cannot be read.
    """

    def __init__(self, original: Path, output: Path) -> None:
        self._original, self._output = original, output
        before, after = frame_seconds(original), frame_seconds(output)
        self._partners = partners(before, after)
        self.problems = _mismatches(output.name, self._partners, len(after))

    def __iter__(self) -> Iterator[FramePair]:
        with open_file(self._original) as source, open_file(self._output) as made:
            self.problems += _size_mismatch(source, made)
            size, outputs = (source.info.width, source.info.height), enumerate(made)
            for before, partner in zip(source, self._partners, strict=False):
                found = next((frame for n, frame in outputs if n == partner), None) if partner is not None else None
                yield FramePair(before, None if found is None else _sized(found.image, size))


def frame_seconds(video: Path) -> Doubles:
    """Return the presentation time of every frame that can be decoded, in seconds by the clock of the file.

    An output without the first frames starts later than the original.

    Raises:
        SourceError: If the video cannot be read.
    """
    with open_file(video) as source:
        start = float(source.start) if isinstance(source, VideoSource) else 0.0
        return np.array([start + frame.seconds for frame in source], np.float64)


def partners(before: Doubles, after: Doubles) -> list[int | None]:
    """Return for each frame of the original the number of its frame in the output, or None; they increase.

    By index where both have as many. Else an output frame belongs to the original's frame nearest in time, and of
    several that belong to one frame the nearest is taken. An output that does not lie within the time of the original
    is taken to start with it.

    Args:
        before: `(N,)` seconds, increasing.
        after: `(M,)` seconds, increasing.
    """
    if len(before) == len(after):
        return list(range(len(before)))
    if not len(before) or not len(after):
        return [None] * len(before)
    step = float(np.median(np.diff(before))) if len(before) > 1 else 0.0
    within = before[0] - step / 2 <= after[0] and after[-1] <= before[-1] + 1.5 * step
    shifted = after if within else after - after[0] + before[0]
    nearest = np.searchsorted((before[1:] + before[:-1]) / 2, shifted)  # (M,) which frame of the original
    distance = np.abs(shifted - before[nearest])
    found: list[int | None] = [None] * len(before)
    for n in np.argsort(-distance, kind="stable").tolist():  # the nearest is written last
        found[nearest[n]] = n
    return found


def _mismatches(name: str, found: Sequence[int | None], count: int) -> tuple[Problem, ...]:
    if len(found) == count:
        return ()
    lost = tuple(f"frame {index}" for index, partner in enumerate(found) if partner is None)
    used = {partner for partner in found if partner is not None}
    left = tuple(f"frame {n}" for n in range(count) if n not in used)
    counts = Problem(f"{len(found)} frames in the original, {count} in the output: matched by time", (name,))
    extra = [Problem("no frame in the output for a frame of the original", lost)] if lost else []
    extra += [Problem("a frame of the output that is not compared with any", left)] if left else []
    return (counts, *extra)


def _size_mismatch(source: VideoSource | PictureSource, made: VideoSource | PictureSource) -> tuple[Problem, ...]:
    ours, theirs = source.info, made.info
    if (ours.width, ours.height) == (theirs.width, theirs.height):
        return ()
    sizes = f"{ours.width}x{ours.height} in the original, {theirs.width}x{theirs.height} in the output: scaled"
    return (Problem(f"frames of another size: {sizes}", ("every frame",)),)


def _sized(image: Image, size: tuple[int, int]) -> Image:
    if image.shape[1::-1] == size:
        return image
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
