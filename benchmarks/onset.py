"""Let a rendered person enter again and again, and count the frames in which the face shows.

    python benchmarks/onset.py [--entries 50] [--delay-ms 100] [--mode cover|generate] [--policy balanced|strict]

The person slides in over one of the four borders, near or far, slowly or fast, and leaves with a cut to the empty
scene. Where the face is in each frame follows from where it is in the last one. A frame counts as soon as `IN_VIEW` of
the face is in the picture.
"""

from __future__ import annotations

import argparse
import random
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from streamer.cli.demo import HEIGHT, RATE, WIDTH, Pose, Shot, render_clip
from streamer.evaluate.measures.coverage import UNCOVERED, detail_kept
from streamer.evaluate.video.frame_pairs import OwnPairs
from streamer.faces.detect import FaceDetector
from streamer.pipeline.anonymizer import Anonymizer
from streamer.sources.file_source import open_source
from streamer.types import Floats

IN_VIEW = 0.5  # of the face's box
EMPTY = Shot(0.4)  # between two entries
ROOM = WIDTH / HEIGHT  # width of the scene in its heights
BORDERS = (0, 1), (0, -1), (1, 0), (-1, 0)


@dataclass(frozen=True)
class Scene:
    """A clip of entries, and of each of its frames the entry and `(4,)` where the face is; None while it is empty."""

    clip: Path
    boxes: list[tuple[int, Floats | None]]


@dataclass(frozen=True)
class Onset:
    """One frame in which someone is entering: which entry, the how many-th frame that counts, and what is kept."""

    entry: int
    step: int
    kept: float


def entries(count: int, seed: int = 0) -> list[Shot]:
    """Return that many entries."""
    chance = random.Random(seed)
    shots = []
    for n in range(count):
        height = chance.uniform(0.5, 1.3)
        stands = Pose(chance.uniform(0.5, ROOM - 0.5), chance.uniform(0.4, 0.6), height)
        x, y = BORDERS[n % len(BORDERS)]
        half = height / 2
        outside = {-1: -half, 0: stands.x, 1: ROOM + half}[x], {-1: -half, 0: stands.y, 1: 1 + half}[y]
        shots.append(Shot(chance.uniform(0.5, 2.0), (Pose(*outside, height),), (stands,)))
    return shots


def rendered(shots: list[Shot], clip: Path) -> Scene:
    """Write the clip of some entries."""
    render_clip(clip, tuple(part for shot in shots for part in (EMPTY, shot)))
    return Scene(clip, list(face_boxes(clip, shots)))


def onsets(scene: Scene, anonymizer: Anonymizer) -> list[Onset]:
    """Return every frame that counts, of a clip that no codec touches after the anonymizer."""
    found: list[Onset] = []
    for pair in OwnPairs(scene.clip, anonymizer):
        entry, box = scene.boxes[pair.before.index]
        if box is not None and share_in_view(box) >= IN_VIEW:
            assert pair.after is not None
            step = sum(onset.entry == entry for onset in found)
            found.append(Onset(entry, step, detail_kept(pair.before.image, pair.after, box)))
    return found


def face_boxes(clip: Path, shots: list[Shot]) -> Iterator[tuple[int, Floats | None]]:
    """Yield for each frame its entry and `(4,)` where the face is, in pixels; None in the empty scene."""
    counts = [round(shot.seconds * RATE) for shot in shots]
    empty = round(EMPTY.seconds * RATE)
    lasts = np.cumsum([empty + count for count in counts]) - 1
    with FaceDetector() as detector, open_source(clip) as source:
        ends = [max(detector(frame.image), key=lambda f: f.size).box for frame in source if frame.index in lasts]
    for entry, (shot, count, end) in enumerate(zip(shots, counts, ends, strict=True)):
        yield from [(entry, None)] * empty
        (comes,), (stands,) = shot.start, shot.end
        step = np.array([stands.x - comes.x, stands.y - comes.y]) * HEIGHT / count
        for n in range(count):
            yield entry, end - np.tile(step * (count - 1 - n), 2)


def share_in_view(box: Floats) -> float:
    """Return how much of `box` is in the picture, 0 to 1."""
    inside = np.minimum(box[2:], (WIDTH, HEIGHT)) - np.maximum(box[:2], 0)
    return float(np.maximum(inside, 0).prod() / (box[2:] - box[:2]).prod())


def main() -> None:
    """Print how many frames count, how many entries they are of, and each in which the face shows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--entries", type=int, default=50)
    parser.add_argument("--delay-ms", type=float, default=100.0)
    parser.add_argument("--mode", choices=("cover", "generate"), default="generate")
    parser.add_argument("--policy", choices=("balanced", "strict"), default="balanced")
    options = parser.parse_args()
    anonymizer = Anonymizer.load(
        mode=options.mode, policy=options.policy, delay_seconds=options.delay_ms / 1000, device="cpu"
    )
    with tempfile.TemporaryDirectory() as folder:
        found = onsets(rendered(entries(options.entries), Path(folder) / "entries.mp4"), anonymizer)
    shown = [onset for onset in found if onset.kept > UNCOVERED]
    print(f"{options.entries} entries, {len(found)} frames with {IN_VIEW:.0%} of the face, {len(shown)} show it")
    for onset in shown:
        print(f"  entry {onset.entry}, frame {onset.step}: {onset.kept:.2f}")


if __name__ == "__main__":
    main()
