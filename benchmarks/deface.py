"""Frames per second of `veil run` beside deface (PyPI), its default settings, on the same clips in the same minutes.

    python benchmarks/deface.py clip.mp4 ...            installs deface in a virtual environment in the cache folder
    python benchmarks/deface.py --deface BIN clip.mp4   uses that `deface`

The commands take turns, so that a machine that others use slows all of them alike. Two rates are shown, the median of
the rounds each: of the whole command, start-up included, as a user waits for it; and of processing alone, which is what
counts for a long clip: from deface's first progress line to its end, and veil's own `seconds`, decoding and encoding
included in both, and with veil the time that drawing waits for weights. CPU seconds per frame say what the work cost,
whoever else was busy.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import av

CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "veil" / "deface"


@dataclass(frozen=True)
class Run:
    """What one command took."""

    frames: int
    wall_seconds: float
    processing_seconds: float
    cpu_seconds: float


def main() -> None:
    """Parse the command line, run the rounds and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clips", nargs="+", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--deface", type=Path, help="its command; default: installed in the cache folder")
    arguments = parser.parse_args()
    deface = arguments.deface or install_deface(CACHE)
    print(f"{'clip':28} {'command':18} {'whole fps':>10} {'processing fps':>15} {'CPU ms/frame':>13}")
    for clip in arguments.clips:
        for name, runs in rounds(clip, deface, arguments.rounds).items():
            print(f"{clip.name:28} {name:18} {row(runs)}", flush=True)


def install_deface(folder: Path) -> Path:
    """Return the `deface` command of a virtual environment in `folder`, made if it is not there."""
    command = folder / "bin" / "deface"
    if not command.exists():
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        subprocess.run([folder / "bin" / "pip", "install", "--quiet", "deface", "onnxruntime"], check=True)
    return command


def rounds(clip: Path, deface: Path, count: int) -> dict[str, list[Run]]:
    """Return `count` runs of each command on `clip`, the commands taking turns."""
    frames = count_frames(clip)
    runs: dict[str, list[Run]] = {"deface": [], "veil --mode cover": [], "veil": []}
    with tempfile.TemporaryDirectory() as folder:
        for turn in range(count):
            target = f"{folder}/{turn}"
            runs["deface"].append(run_deface(deface, clip, f"{target}-deface.mp4", frames))
            runs["veil --mode cover"].append(run_veil(clip, f"{target}-cover.mp4", "cover", frames))
            runs["veil"].append(run_veil(clip, f"{target}-generate.mp4", "generate", frames))
    return runs


def count_frames(clip: Path) -> int:
    """Return how many pictures `clip` really decodes to; headers lie."""
    with av.open(str(clip)) as container:
        return sum(1 for _ in container.decode(video=0))


def run_deface(command: Path, clip: Path, target: str, frames: int) -> Run:
    """Run deface with its defaults; processing starts when its progress bar appears, after the model is loaded."""
    start, cpu = time.perf_counter(), children_cpu_seconds()
    with subprocess.Popen([command, clip, "-o", target], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        bar_appeared, progress = start, process.stderr.fileno()
        for output in iter(lambda: os.read(progress, 4096), b""):
            if bar_appeared == start and b"it/s" in output:
                bar_appeared = time.perf_counter()
    if process.returncode != 0 or not Path(target).exists():
        raise SystemExit(f"deface failed on {clip} (exit code {process.returncode})")
    end = time.perf_counter()
    return Run(frames, end - start, end - bar_appeared, children_cpu_seconds() - cpu)


def run_veil(clip: Path, target: str, mode: str, frames: int) -> Run:
    """Run `veil run --mode MODE`, everything else default."""
    start, cpu = time.perf_counter(), children_cpu_seconds()
    command = [sys.executable, "-m", "streamer", "run", str(clip), target, "--mode", mode, "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE)
    if done.returncode != 0:
        raise SystemExit(f"veil failed on {clip} (exit code {done.returncode})")
    wall = time.perf_counter() - start
    return Run(frames, wall, json.loads(done.stdout)["seconds"], children_cpu_seconds() - cpu)


def children_cpu_seconds() -> float:
    """Return the CPU time of all finished child processes so far."""
    times = os.times()
    return times.children_user + times.children_system


def row(runs: list[Run]) -> str:
    """Return the medians of `runs` as columns."""
    whole = statistics.median(run.frames / run.wall_seconds for run in runs)
    processing = statistics.median(run.frames / run.processing_seconds for run in runs)
    cpu = statistics.median(1000 * run.cpu_seconds / run.frames for run in runs)
    return f"{whole:10.1f} {processing:15.1f} {cpu:13.0f}"


if __name__ == "__main__":
    main()
