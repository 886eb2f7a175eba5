"""Write the pictures of the README: the demo's portrait, covered, replaced by default, and with `--model textures`.

    python benchmarks/demo_pictures.py docs

`demo.jpg` has two poses side by side, each with strangers of another key. In `demo.webp`, which loops, the
portrait waits until every stream knows the face, then leans from one side to the other and back. The portrait is in the
public domain (US Navy); the clips stay in a temporary folder.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import PIL.Image

from streamer import Anonymizer, open_source, protect
from streamer.cli.demo import HEIGHT, RATE, Pose, Shot, render_clip
from streamer.types import Image

WAIT_SECONDS = 0.5
LEFT, RIGHT = Pose(0.80, 0.58, 1.05, -14), Pose(0.98, 0.56, 1.05, 14)
LOOP = (Shot(WAIT_SECONDS, (LEFT,), (LEFT,)), Shot(1.2, (LEFT,), (RIGHT,)), Shot(1.2, (RIGHT,), (LEFT,)))
POSES = (Pose(0.89, 0.56, 1.1), Pose(0.92, 0.57, 1.1, 14))
CENTRE = round((LEFT.x + RIGHT.x) / 2 * HEIGHT)  # of the square that is shown, pixels from the left
SIDE, STILL_SIDE = 300, 315  # pixels of a square
EVERY = 3  # frames
GAP = 6  # white pixels between two poses
KEYS = tuple(bytes([number]) * 32 for number in range(len(POSES)))  # the same strangers whenever they are made


def main() -> None:
    """Parse the command line and write both pictures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="where to; older pictures of the same name are replaced")
    folder = parser.parse_args().folder
    ways = (
        Anonymizer.load(mode="cover", key=KEYS[0]),
        Anonymizer.load(key=KEYS[0]),
        Anonymizer.load(model="textures", key=KEYS[0]),
    )
    loop = rows(LOOP, ways, side=SIDE)[round(WAIT_SECONDS * RATE) :: EVERY]
    first, *later = map(PIL.Image.fromarray, loop)
    duration_ms = round(1000 * EVERY / RATE)
    first.save(
        folder / "demo.webp", save_all=True, append_images=later, duration=duration_ms, loop=0, quality=70, method=6
    )
    stills = [
        rows((Shot(WAIT_SECONDS, (pose,), (pose,)),), under(key, ways), side=STILL_SIDE)[-1]
        for key, pose in zip(KEYS, POSES, strict=True)
    ]
    gap = np.full((STILL_SIDE, GAP, 3), 255, np.uint8)
    PIL.Image.fromarray(np.concatenate([stills[0], gap, stills[1]], axis=1)).save(folder / "demo.jpg", quality=90)


def under(key: bytes, ways: Sequence[Anonymizer]) -> list[Anonymizer]:
    """Return the same with another key."""
    return [each.with_settings(replace(each.settings, key=key)) for each in ways]


def rows(shots: tuple[Shot, ...], ways: Sequence[Anonymizer], *, side: int) -> list[Image]:
    """Return the frames of a clip, `(side, 3 * side, 3)` RGB each: one square beside the other for each way."""
    with tempfile.TemporaryDirectory() as folder:
        clip = Path(folder) / "clip.mp4"
        render_clip(clip, shots)
        columns = [squares(clip, anonymizer, side=side) for anonymizer in ways]
    return [np.concatenate(row, axis=1) for row in zip(*columns, strict=True)]


def squares(clip: Path, anonymizer: Anonymizer, *, side: int) -> list[Image]:
    """Return what is shown of each frame, `(side, side, 3)` RGB."""
    with open_source(clip) as source:
        frames = list(protect(source, anonymizer, stream="demo"))
    cut = np.s_[:, CENTRE - HEIGHT // 2 : CENTRE + HEIGHT // 2]
    return [cv2.resize(frame.image[cut], (side, side), interpolation=cv2.INTER_AREA) for frame in frames]


if __name__ == "__main__":
    main()
