"""Count the faces of crowds that stay uncovered, in large pictures, small ones and videos, beside deface.

    python -m benchmarks.crowds FACES_FOLDER [--only WORD...] [--deface BIN | --no-deface] [--policy strict]

FACES_FOLDER holds `synth-*.tar`, archives of synthetic heads (`benchmarks/crowd_scenes.py`). Both tools cover with a
filled area. A face is covered if at least 70 % of the pixels from its eyes to its mouth were changed; those of 16
pixels from ear to ear and more count. Seconds are of the whole command.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import cv2
import numpy as np

from benchmarks.crowd_scenes import PICTURES, VIDEOS, Scene, Shown, read_heads, shown
from benchmarks.deface import CACHE, children_cpu_seconds, install_deface
from streamer.types import Image

CHANGED = 12  # grey levels; a codec changes less
COVERED = 0.7  # of the pixels between eyes and mouth
LEAST = 16.0  # pixels; smaller faces do not count
RATE = 25


@dataclass(frozen=True)
class Counted:
    """What one command left and took; `elsewhere` is the share of the picture it changed around no face."""

    uncovered: list[float]
    faces: int
    elsewhere: float
    seconds: float
    cpu_seconds: float


def main() -> None:
    """Print a row per scene."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("faces", type=Path)
    parser.add_argument("--only", nargs="*", default=[""], help="words of a scene's name")
    parser.add_argument("--deface", type=Path)
    parser.add_argument("--no-deface", action="store_true")
    parser.add_argument("--policy", choices=("balanced", "strict"), default="balanced")
    options = parser.parse_args()
    deface = None if options.no_deface else options.deface or install_deface(CACHE)
    heads = read_heads(options.faces)
    print("| scene | faces | tool | uncovered | of pixels | elsewhere | s | CPU s |\n|---|---|---|---|---|---|---|---|")
    for scene in (*PICTURES, *VIDEOS):
        if any(word in scene.name for word in options.only):
            compare(scene, heads, options.policy, deface)


def compare(scene: Scene, heads: list[Image], policy: str, deface: Path | None) -> None:
    """Run both tools on a scene and print what they left."""
    with tempfile.TemporaryDirectory() as folder:
        is_video = scene.frames > 1
        source = Path(folder) / ("in.mp4" if is_video else "in.jpg")
        truth = write(source, shown(scene, heads))
        made = source.with_name("out.mp4" if is_video else "out.png")
        ours = ["-m", "streamer", "run", source, made, "--mode", "cover", "--cover", "solid", "--json"]
        row("veil", scene, counted([sys.executable, *ours, "--policy", policy], source, made, truth))
        made.unlink(missing_ok=True)
        if deface:
            row("deface", scene, counted([deface, source, "-o", made, "--replacewith", "solid"], source, made, truth))


def write(path: Path, pictures: Iterator[Shown]) -> list[Shown]:
    """Write the pictures to a file; return where the faces are."""
    truth = []
    if path.suffix == ".jpg":
        (picture,) = pictures
        cv2.imwrite(str(path), picture.image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 88])
        return [picture]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=RATE, options={"crf": "20", "preset": "veryfast"})
        stream.pix_fmt = "yuv420p"
        for picture in pictures:
            if not truth:
                stream.height, stream.width = picture.image.shape[:2]
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture.image, format="rgb24")))
            truth.append(Shown(picture.image[:0], picture.inner, picture.sizes))
        container.mux(stream.encode())
    return truth


def counted(command: list[object], source: Path, made: Path, truth: list[Shown]) -> Counted:
    """Return what `command` leaves uncovered."""
    start, cpu = time.perf_counter(), children_cpu_seconds()
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    seconds, cpu = time.perf_counter() - start, children_cpu_seconds() - cpu
    if done.returncode or not made.exists():
        print(f"{command[0]} failed: {done.stderr.strip().splitlines()[-1:]}", file=sys.stderr)
        return Counted([], 0, 0.0, seconds, cpu)
    if done.stdout.startswith("{"):
        print(json.loads(done.stdout).get("searched", ""), file=sys.stderr)
    uncovered, faces, elsewhere = [], 0, []
    for before, after, known in zip(pictures_of(source), pictures_of(made), truth, strict=True):
        differs = (cv2.absdiff(before, after[: before.shape[0], : before.shape[1]])).max(axis=2) > CHANGED
        for box, size in zip(known.inner.astype(int), known.sizes, strict=True):
            if size >= LEAST:
                faces += 1
                if differs[box[1] : box[3], box[0] : box[2]].mean() < COVERED:
                    uncovered.append(float(size))
        for box, size in zip(known.inner, known.sizes, strict=True):
            x1, y1, x2, y2 = (box + size * np.array([-1, -1, 1, 1])).clip(0).astype(int)
            differs[y1:y2, x1:x2] = False
        elsewhere.append(float(differs.mean()))
    return Counted(uncovered, faces, float(np.mean(elsewhere)), seconds, cpu)


def pictures_of(path: Path) -> Iterator[Image]:
    """Yield the pictures of a file."""
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            yield frame.to_ndarray(format="rgb24")


def row(tool: str, scene: Scene, result: Counted) -> None:
    """Print one line of the table."""
    sizes = f"{min(result.uncovered):.0f} to {max(result.uncovered):.0f}" if result.uncovered else ""
    cells = [scene.name, result.faces, tool, len(result.uncovered), sizes, f"{100 * result.elsewhere:.2f} %"]
    print(f"| {' | '.join(map(str, [*cells, f'{result.seconds:.1f}', f'{result.cpu_seconds:.1f}']))} |", flush=True)


if __name__ == "__main__":
    main()
