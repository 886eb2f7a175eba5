"""How often what replaces a face changes in a live call, on a machine that has time for it and on one that has not.

    python -m benchmarks.live_tiers [--seconds 120] [--busy 0 2]

One person leans from side to side before a camera of 640x480 at 30 frames a second, whose frames go to what
`veil serve` does with them. `--busy` loops take the processor meanwhile.
"""

from __future__ import annotations

import argparse
import itertools
import multiprocessing
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import cv2
import numpy as np
from av.video.frame import VideoFrame

from streamer.cores import share_cores
from streamer.pipeline.anonymizer import Anonymizer
from streamer.serve.peer_filter import FaceFilter
from streamer.types import Image, SafeFrame
from tests.end_to_end.serve.test_serve_browser import scene

RATE, WIDTH, HEIGHT = 30, 640, 480
LEAN, LEAN_SECONDS = 40, 4  # pixels to each side; there and back
WARM_UP_SECONDS = 10.0


@dataclass
class Seen:
    """What came out.

    Attributes:
        frames: When each left, what was seen in the place of its faces, and its longer side.
    """

    frames: list[tuple[float, tuple[str, ...], int]] = field(default_factory=list)

    def add(self, frame: SafeFrame, *_: float) -> None:
        """Take one frame."""
        tiers = tuple(sorted(face.tier for face in frame.faces))
        self.frames.append((time.monotonic(), tiers or (f"frame {frame.failed}",), max(frame.image.shape[:2])))

    def row(self, seconds: float) -> str:
        """Return the cells of the table."""
        spells = [(tiers, next(times)) for tiers, times in itertools.groupby(self.frames, key=lambda one: one[1])]
        starts = [at for _, (at, _, _) in spells]
        lengths = np.diff([*starts, self.frames[-1][0]])
        drawn = np.mean([tiers == ("generated",) for _, tiers, _ in self.frames])
        shortest = f"{lengths[1:-1].min():.1f} s" if len(lengths) > 2 else "-"
        sides = sorted({side for _, _, side in self.frames})
        changes, rate = 60 * (len(spells) - 1) / seconds, len(self.frames) / seconds
        return f"{changes:.1f} | {shortest} | {100 * drawn:.0f} % | {rate:.1f} | {', '.join(map(str, sides))}"


def leaning(still: Image, n: int) -> VideoFrame:
    """Return a frame of the camera."""
    shift = LEAN * np.sin(2 * np.pi * n / RATE / LEAN_SECONDS)
    moved = cv2.warpAffine(still, np.array([[1, 0, shift], [0, 1, 0]]), (WIDTH, HEIGHT), borderMode=1)
    frame = VideoFrame.from_ndarray(moved, "rgb24").reformat(format="yuv420p")
    frame.pts = n * 90_000 // RATE
    return frame


@contextmanager
def busy(count: int) -> Iterator[None]:
    """Let so many processes take what they get of the processor."""
    loops = [multiprocessing.Process(target=_spin, daemon=True) for _ in range(count)]
    for loop in loops:
        loop.start()
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()


def _spin() -> None:
    while True:
        pass


def measured(anonymizer: Anonymizer, seconds: float) -> Seen:
    """Return what came out in so many seconds."""
    seen = Seen()
    faces = FaceFilter(anonymizer, seen.add, stream=None)
    still, n, start = scene(WIDTH, HEIGHT), 0, time.monotonic()
    while n < RATE * (WARM_UP_SECONDS + seconds):
        frame = leaning(still, n)
        time.sleep(max(0.0, start + n / RATE - time.monotonic()))
        now = time.monotonic()
        faces.source.put(frame, now, now)
        n = max(n + 1, int((now - start) * RATE))  # a camera waits for nobody
    faces.close()
    seen.frames = [one for one in seen.frames if one[0] > start + WARM_UP_SECONDS]
    return seen


def main() -> None:
    """Print a table."""
    share_cores()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--busy", type=int, nargs="*", default=[0, 2])
    options = parser.parse_args()
    print(f"| busy loops | changes a minute | shortest spell | drawn | frames a second | sides |\n{'|---' * 6}|")
    with Anonymizer.load(device="cpu") as anonymizer:
        for count in options.busy:
            with busy(count):
                print(f"| {count} | {measured(anonymizer, options.seconds).row(options.seconds)} |", flush=True)


if __name__ == "__main__":
    main()
