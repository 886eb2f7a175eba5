"""How steady what is drawn is beside the source, over clips: flicker, jitter, likeness from frame to frame.

    python benchmarks/measure_steadiness.py CLIP... [--off] [--recognizer SPEC]...

--off draws without any smoothing, so that its effect shows. Figures are those of `veil evaluate video`, on frames that
no codec has touched, of faces that a mesh fits; "all" counts mosaics over the others and over false alarms, too. A
second table tells whether people stay who they became: the same clip again after ten seconds of nothing, and under
another key (cosine of the first recogniser, of the mean over `SECONDS`), and by how many frames what is drawn lags
behind a turning head (the shift at which the yaw of both agrees best).
"""

from __future__ import annotations

import argparse
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from streamer.evaluate.measures.recognizers import Recognizer, load_recognizers
from streamer.evaluate.video.frame_pairs import OwnPairs
from streamer.evaluate.video.steadiness import Reading, steadiness_figures
from streamer.evaluate.video.truth import Truth
from streamer.evaluate.video.video_evaluation import watch
from streamer.faces.detect import FaceDetector
from streamer.pipeline.anonymizer import Anonymizer
from streamer.render import draw, drawer
from streamer.render.smooth import OneEuroConfig
from streamer.sources.file_source import open_source
from streamer.types import Floats, Frame, Image

OFF = OneEuroConfig(min_cutoff=1e6, speed_gain=0.0)
KEY, OTHER_KEY = bytes(range(32)), bytes(range(1, 33))
SECONDS, ABSENCE = 3.0, 10.0
LAGS = np.arange(-3, 4)  # frames


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
        figures = steadiness_figures([reading for reading in readings if reading.has_mesh])
        figures |= {"all_flicker_ratio": steadiness_figures(readings)["flicker_ratio"]}
        if names is None:
            names = [n for n in figures if n.endswith("_ratio") or n.startswith("temporal_identity")]
            print(f"| clip | {' | '.join(names)} |\n{'|---' * (len(names) + 1)}|")
        print(f"| {clip} | {' | '.join(str(figures.get(name)) for name in names)} |", flush=True)
    print("\n| clip | after 10 s away | other key | lag in frames |\n|---|---|---|---|")
    with ProcessPoolExecutor(options.workers, mp_context=get_context("spawn")) as pool:
        rows = pool.map(kept_row, *zip(*jobs, strict=True))
        for clip, row in zip(options.clips, rows, strict=True):
            print(f"| {clip.stem} | {row} |", flush=True)


def readings_of(clip: Path, off: bool, recognizers: tuple[str, ...]) -> list[Reading]:
    """Return what `watch` reads of one clip."""
    if off:
        switch_off()
    anonymizer = Anonymizer.load(device="cpu", key=KEY)
    return watch(OwnPairs(clip, anonymizer), Truth("", "", 0, 0, {}), load_recognizers(list(recognizers))).readings


def kept_row(clip: Path, off: bool, recognizers: tuple[str, ...]) -> str:
    """Return how alike the output is to itself after an absence and under another key, and its lag."""
    if off:
        switch_off()
    with open_source(str(clip)) as source:
        first = [frame for frame in source if frame.seconds < SECONDS]
    (recognizer,) = load_recognizers([recognizers[0]])
    with FaceDetector() as detector:
        made = drawn(first, KEY)
        after = made[len(first) + round(len(first) / SECONDS * ABSENCE) :]
        takes = made, after, drawn(first, OTHER_KEY)
        embeddings = [mean_embedding(images, first, detector, recognizer) for images in takes]
        lag = lag_of(first, made, detector)
    back, other = (float(embeddings[0] @ embedding) for embedding in embeddings[1:])
    return f"{back:.2f} | {other:.2f} | {lag:.2f}"


def drawn(first: list[Frame], key: bytes) -> list[Image]:
    """Return what becomes of the frames, of ten seconds without anybody, and of the frames once more."""
    step = first[1].pts - first[0].pts
    away = round(len(first) / SECONDS * ABSENCE)
    nobody = np.full_like(first[0].image, 90)
    images = [*(f.image for f in first), *[nobody] * away, *(f.image for f in first)]
    frames = (Frame(image, n, n * step, first[0].time_base) for n, image in enumerate(images))
    return [safe.image for safe in Anonymizer.load(device="cpu", key=key).frames(frames)]


def mean_embedding(images: list[Image], first: list[Frame], detector: FaceDetector, recognizer: Recognizer) -> Floats:
    """Return the mean `(D,)` of the largest face of every third frame; the first second, of fading in, left out."""
    rows = []
    for frame, image in list(zip(first, images, strict=False))[round(len(first) / SECONDS) :: 3]:
        if faces := [face for face in detector(frame.image) if face.mesh is not None]:
            rows.append(recognizer(image, max(faces, key=lambda face: face.size)))
    mean = np.mean(rows, axis=0)
    return np.asarray(mean / np.linalg.norm(mean), np.float32)


def lag_of(first: list[Frame], made: list[Image], detector: FaceDetector) -> float:
    """Return by how many frames the head of the output turns later; below a frame by a parabola."""
    both = zip(first, made, strict=False)
    yaws = np.array([(yaw_in(frame.image, detector), yaw_in(image, detector)) for frame, image in both])
    turns = np.diff(yaws[np.isfinite(yaws).all(axis=1)], axis=0)
    fits = [np.corrcoef(np.roll(turns[:, 0], lag)[3:-3], turns[3:-3, 1])[0, 1] for lag in LAGS]
    best = int(np.clip(np.argmax(fits), 1, len(LAGS) - 2))
    left, middle, right = fits[best - 1 : best + 2]
    return float(LAGS[best] + 0.5 * (left - right) / (left - 2 * middle + right))


def yaw_in(image: Image, detector: FaceDetector) -> float:
    """Return where the nose of the largest face lies between its ears, -1 to 1; nan without a face."""
    faces = [face.mesh for face in detector(image) if face.mesh is not None]
    if not faces:
        return np.nan
    mesh = max(faces, key=lambda points: np.ptp(points[:, 0]))
    left, right = mesh[234, 0], mesh[454, 0]
    return float((2 * mesh[1, 0] - left - right) / (right - left))


def switch_off() -> None:
    """Make what is drawn follow each frame by itself."""
    drawer.MESH_FILTER = draw.LATENT_FILTER = OFF
    drawer.MAX_MESH_LAG = np.inf


if __name__ == "__main__":
    main()
