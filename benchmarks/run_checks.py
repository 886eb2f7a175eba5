"""Run `veil run` on clips and print, for each: fps, ms per stage, peak memory, and whether frames and times are kept.

python benchmarks/run_checks.py CLIP... [--mode generate|cover]

The last columns tell whether the faces that were found are covered: in how many face-frames the fine detail in the
middle of the face is still that of the source (correlation over 0.8; untouched it is 1), and the largest correlation.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from fractions import Fraction
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import cv2
import numpy as np

UNCOVERED = 0.8  # correlation of fine detail before and after
FLAT = 0.3  # grey levels; a face with less detail than this shows nothing


def main() -> None:
    """Print one markdown row per clip."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clips", nargs="+", type=Path)
    parser.add_argument("--mode", choices=("generate", "cover"), default="generate")
    options = parser.parse_args()
    columns = "clip, frames in = out, same times, face-frames, drawn, fps, detect, track, draw, MiB, uncovered, largest"
    print(f"| {columns.replace(', ', ' | ')} |\n{'|---' * 12}|")
    for clip in options.clips:
        print(row(clip, options.mode), flush=True)


def row(clip: Path, mode: str) -> str:
    """Return the table's row for one clip; ms are p50 / p95."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out.mp4"
        report, peak = run([str(clip), str(out), "--json", "--mode", mode])
        before, after = times(clip), times(out)
    same = "yes" if len(before) == len(after) else "NO"
    equal = "yes" if before == after else "NO"
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:  # what grows here would count as the child's
        spent, kept = pool.submit(watch, clip, mode).result()
    stages = " | ".join(f"{np.percentile(ms, 50):.0f} / {np.percentile(ms, 95):.0f}" for ms in spent)
    uncovered, largest = sum(value > UNCOVERED for value in kept), max(kept, default=0.0)
    drawn = sum(report["covered"].get("generated", {}).values())
    return (
        f"| {clip.stem} | {len(before)} = {len(after)} {same} | {equal} | {report['face_frames']} | {drawn} "
        f"| {report['fps']:.1f} | {stages} | {peak:.0f} | {uncovered} | {largest:.2f} |"
    )


def run(arguments: list[str]) -> tuple[dict[str, Any], float]:
    """Return the JSON report of a `veil run`, and its peak memory in MiB."""
    command = [sys.executable, "-m", "streamer", "run", *arguments]
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(command, stdout=output)
        _, status, usage = os.wait4(process.pid, 0)
        if status:
            raise SystemExit(f"veil run {' '.join(arguments)} failed")
        output.seek(0)
        return json.loads(output.read()), usage.ru_maxrss / 1024


def times(clip: Path) -> list[Fraction]:
    """Return the presentation time of each decoded frame, in seconds since the first."""
    import av

    with av.open(str(clip)) as container:
        pts = [frame.pts * frame.time_base for frame in container.decode(video=0)]
    return [at - pts[0] for at in pts]


def watch(clip: Path, mode: str) -> tuple[tuple[list[float], ...], list[float]]:
    """Return ms per frame of detecting, tracking, and all that is drawn; and how much detail each face-frame kept."""
    from streamer.pipeline.anonymizer import Anonymizer
    from streamer.sources.file_source import open_source

    stream = Anonymizer.load(mode=mode).begin_stream()  # type: ignore[arg-type]
    spent: tuple[list[float], list[float], list[float]] = ([], [], [])
    kept: list[float] = []

    def timed(call: Callable[..., Any], into: list[float]) -> Callable[..., Any]:
        def wrapper(*arguments: Any) -> Any:  # noqa: ANN401 - whatever it wraps
            start = time.perf_counter()
            try:
                return call(*arguments)
            finally:
                into.append((time.perf_counter() - start) * 1000)

        return wrapper

    stream.detector = timed(stream.detector, spent[0])  # type: ignore[assignment]
    stream.tracker.update = timed(stream.tracker.update, spent[1])  # type: ignore[method-assign]
    stream.renderer._draw = timed(stream.renderer._draw, spent[2])  # type: ignore[method-assign]
    with open_source(clip) as source:
        for frame in source:
            safe = stream(frame)
            before, after = detail(frame.image), detail(safe.image)
            kept += [correlation(middle(before, face.box), middle(after, face.box)) for face in safe.faces]
    return spent, kept


def detail(image: np.ndarray) -> np.ndarray:
    """Return what is finer than about two pixels, in grey levels."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    return grey - cv2.GaussianBlur(grey, (0, 0), 1.0)


def middle(image: np.ndarray, box: np.ndarray) -> np.ndarray:
    """Return the inner half of a box `(x1, y1, x2, y2)`, as far as it lies in the image."""
    quarter = (box[2:] - box[:2]) / 4
    (x1, y1), (x2, y2) = np.round(box[:2] + quarter).astype(int), np.round(box[2:] - quarter).astype(int)
    return image[max(y1, 0) : max(y2, 0), max(x1, 0) : max(x2, 0)]


def correlation(before: np.ndarray, after: np.ndarray) -> float:
    """Return the cosine between two pieces of detail; 0 where there was none."""
    if before.size == 0 or before.std() < FLAT:
        return 0.0
    return float((before * after).sum() / (np.linalg.norm(before) * np.linalg.norm(after) + 1e-6))


if __name__ == "__main__":
    main()
