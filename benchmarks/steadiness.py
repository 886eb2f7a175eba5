"""How steady what is drawn is beside the source, over clips: flicker, jitter, likeness from frame to frame.

    python benchmarks/steadiness.py CLIP... [--off] [--recognizer SPEC]...

--off draws without any smoothing, so that its effect shows. Figures are those of `veil evaluate video`, on frames that
no codec has touched.
"""

from __future__ import annotations

import argparse
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from streamer import draw
from streamer.evaluate.frame_pairs import OwnPairs
from streamer.evaluate.recognizers import load_recognizers
from streamer.evaluate.steadiness import Reading, steadiness_figures
from streamer.evaluate.truth import Truth
from streamer.evaluate.video import watch
from streamer.pipeline import Anonymizer
from streamer.smooth import OneEuroConfig

OFF = OneEuroConfig(min_cutoff=1e6, speed_gain=0.0)
KEY = bytes(range(32))


def main() -> None:
    """Print one row for each clip, and one for all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clips", nargs="+", type=Path)
    parser.add_argument("--off", action="store_true")
    parser.add_argument("--recognizer", action="append", default=[])
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    jobs = [(clip, options.off, tuple(options.recognizer or ["identity"])) for clip in options.clips]
    with ProcessPoolExecutor(options.workers, mp_context=get_context("spawn")) as pool:
        found = list(pool.map(readings_of, *zip(*jobs, strict=True)))
    names = None
    for clip, readings in zip([c.stem for c in options.clips], found, strict=True):
        figures = steadiness_figures(readings)
        if names is None:
            names = [n for n in figures if n.endswith("_ratio") or n.startswith("temporal_identity")]
            print(f"| clip | {' | '.join(names)} |\n{'|---' * (len(names) + 1)}|")
        print(f"| {clip} | {' | '.join(str(figures.get(name)) for name in names)} |", flush=True)


def readings_of(clip: Path, off: bool, recognizers: tuple[str, ...]) -> list[Reading]:
    """Return what `watch` reads of one clip."""
    if off:
        switch_off()
    anonymizer = Anonymizer.load(device="cpu", key=KEY)
    return watch(OwnPairs(clip, anonymizer), Truth("", "", 0, 0, {}), load_recognizers(list(recognizers))).readings


def switch_off() -> None:
    """Make what is drawn follow each frame by itself."""
    draw.MESH_FILTER = draw.LATENT_FILTER = OFF
    draw.MAX_MESH_LAG = np.inf


if __name__ == "__main__":
    main()
