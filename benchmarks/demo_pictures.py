"""Write the looping picture of the README: the demo's portrait, covered, replaced by default, and with `textures`.

    python benchmarks/demo_loop.py docs/demo.webp

The portrait (US Navy, public domain) waits until every stream knows the face, then leans from one side to the other and
back. The input stays in a temporary folder.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import cv2
import numpy as np
import PIL.Image

from streamer import Anonymizer, open_source, protect
from streamer.cli.demo import HEIGHT, RATE, Pose, Shot, render_clip
from streamer.types import Image

LEFT, RIGHT = Pose(0.80, 0.58, 1.05, -14), Pose(0.98, 0.56, 1.05, 14)
WAIT_SECONDS = 0.5
SHOTS = (Shot(WAIT_SECONDS, (LEFT,), (LEFT,)), Shot(1.2, (LEFT,), (RIGHT,)), Shot(1.2, (RIGHT,), (LEFT,)))
CENTRE = round((LEFT.x + RIGHT.x) / 2 * HEIGHT)  # of the square that is shown, pixels from the left
SIDE = 300  # pixels of a square
EVERY = 3  # frames
KEY = bytes(32)  # the same strangers whenever it is made


def main() -> None:
    """Parse the command line and write the picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, help="a .webp or a .gif")
    out = parser.parse_args().out
    with tempfile.TemporaryDirectory() as folder:
        clip = Path(folder) / "clip.mp4"
        render_clip(clip, SHOTS)
        ways = (
            Anonymizer.load(mode="cover", key=KEY),
            Anonymizer.load(key=KEY),
            Anonymizer.load(model="textures", key=KEY),
        )
        columns = [list(squares(clip, anonymizer)) for anonymizer in ways]
    rows = [PIL.Image.fromarray(np.concatenate(row, axis=1)) for row in zip(*columns, strict=True)]
    duration_ms = round(1000 * EVERY / RATE)
    rows[0].save(out, save_all=True, append_images=rows[1:], duration=duration_ms, loop=0, quality=70, method=6)


def squares(clip: Path, anonymizer: Anonymizer) -> list[Image]:
    """Return what is shown, each square `(SIDE, SIDE, 3)` RGB."""
    with open_source(clip) as source:
        frames = list(protect(source, anonymizer, stream="demo"))
    cut = np.s_[:, CENTRE - HEIGHT // 2 : CENTRE + HEIGHT // 2]
    shown = frames[round(WAIT_SECONDS * RATE) :: EVERY]
    return [cv2.resize(frame.image[cut], (SIDE, SIDE), interpolation=cv2.INTER_AREA) for frame in shown]


if __name__ == "__main__":
    main()
