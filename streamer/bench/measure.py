"""Measures clips: frames per second of the whole pipeline, then each stage alone; and what the machine can at most."""

from __future__ import annotations

import os
import platform
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from streamer.bench.scene import write_scene
from streamer.bench.stages import STAGES, StageClock
from streamer.pipeline.anonymizer import Anonymizer
from streamer.pipeline.runner import protect
from streamer.sinks.file_sink import open_sink
from streamer.sources.file_source import open_source

if TYPE_CHECKING:
    from streamer.types import Image, Mode

WARM_FRAMES = 5  # left out of the stages: networks are slow at first, and faces are new
MATRIX, BLOCK = 1024, 64 << 20  # rows; bytes

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Plan:
    """What to measure: every size with every number of faces and every mode.

    Attributes:
        frames: Length of each clip.
        rounds: How often each is measured, for the noise.
    """

    sizes: tuple[tuple[int, int], ...]
    faces: tuple[int, ...]
    modes: tuple[Mode, ...]
    frames: int = 45
    rounds: int = 3
    model: str = "default"
    device: Literal["auto", "cpu", "cuda"] = "auto"


def measure(plan: Plan, photo: Image, measured: Callable[[Row], None]) -> list[Row]:
    """Return a row for each combination; `measured` is called with each at once."""
    rows = []
    for mode in plan.modes:
        with Anonymizer.load(plan.model, mode=mode, device=plan.device) as anonymizer:
            for size in plan.sizes:
                for faces in plan.faces:
                    row = _row(plan, photo, anonymizer, mode=mode, size=size, faces=faces)
                    measured(row)
                    rows.append(row)
    return rows


def _row(plan: Plan, photo: Image, anonymizer: Anonymizer, *, mode: Mode, size: tuple[int, int], faces: int) -> Row:
    with tempfile.TemporaryDirectory() as folder:
        clip, out = Path(folder) / "clip.mp4", Path(folder) / "out.mp4"
        write_scene(clip, photo, size=size, faces=faces, frames=plan.frames)
        rounds = [_whole(clip, out, anonymizer) for _ in range(plan.rounds)]
        frames, found = _stages(clip, out, anonymizer)
    return {
        "size": f"{size[0]}x{size[1]}",
        "faces": faces,
        "mode": mode,
        "device": str(anonymizer.device or "cpu"),
        "faces_found": round(found / plan.frames, 2),
        "fps": [round(plan.frames / wall, 2) for wall, _ in rounds],
        "cpu_ms": [round(1000 * cpu / plan.frames, 2) for _, cpu in rounds],
        "stages": _summary([frame for frame in frames[:-1] if "encode" in frame][WARM_FRAMES:] or frames),
    }


def _whole(clip: Path, out: Path, anonymizer: Anonymizer) -> tuple[float, float]:
    """Return the seconds, on the wall and of the processor, that a clip takes as `veil run` does it."""
    start = time.perf_counter(), time.process_time()
    with (
        open_source(clip) as source,
        open_sink(out, source.info, overwrite=True) as sink,
        closing(protect(source, anonymizer)) as frames,
    ):
        for frame in frames:
            sink.write(frame)
    return time.perf_counter() - start[0], time.process_time() - start[1]


def _stages(clip: Path, out: Path, anonymizer: Anonymizer) -> tuple[list[dict[str, tuple[float, float]]], int]:
    """Return what each stage takes of each frame, one after the other in one thread, and how many faces were found.

    A frame is what happens from its decoding to the next one's: it is searched, and one before it is hidden. The first
    hide none, and the last all that were held back.
    """
    clock, found = StageClock(), 0
    stream = anonymizer.begin_stream()
    with (
        closing(stream),
        clock.watching(),
        open_source(clip) as source,
        open_sink(out, source.info, overwrite=True) as sink,
    ):
        searched = stream.ahead(_decoded(iter(source), clock))
        while True:
            with clock.within("rest"):
                seen = next(searched, None)
                safe = stream.render(seen) if seen else None
            if safe is None:
                clock.end_frame()
                return clock.frames, found
            with clock.within("encode"):
                sink.write(safe)
            found += len(safe.faces)


def _decoded(frames: Iterator[Any], clock: StageClock) -> Iterator[Any]:
    while True:
        with clock.within("decode"):
            frame = next(frames, None)
        if frame is None:
            return
        yield frame
        clock.end_frame()


def _summary(frames: list[dict[str, tuple[float, float]]]) -> dict[str, dict[str, float]]:
    """Return milliseconds by stage: on the wall, in half and in 95 of 100 frames; of the processor, in the mean."""
    total = sum(cpu for frame in frames for _, cpu in frame.values()) or 1.0
    found = {}
    for stage in STAGES:
        wall = [1000 * frame.get(stage, (0.0, 0.0))[0] for frame in frames]
        cpu = sum(frame.get(stage, (0.0, 0.0))[1] for frame in frames)
        if any(wall):
            low, high = np.percentile(wall, [50, 95])
            values = {"p50_ms": low, "p95_ms": high, "cpu_ms": 1000 * cpu / len(frames)}
            found[stage] = {name: round(float(value), 2) for name, value in values.items()}
            found[stage]["share"] = round(cpu / total, 3)
    return found


def machine() -> dict[str, Any]:
    """Return what the machine is, and two things that bound every stage: multiplying matrices, and copying memory."""
    a = np.random.default_rng(0).random((MATRIX, MATRIX), np.float32)
    block = np.ones(BLOCK, np.uint8)
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "matmul_gflops": round(2 * MATRIX**3 / _best_seconds(lambda: a @ a) / 1e9, 1),
        "copy_gb_per_second": round(BLOCK / _best_seconds(block.copy) / 1e9, 1),
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.processor())


def _best_seconds(call: Callable[[], object], times: int = 5) -> float:
    def once() -> float:
        start = time.perf_counter()
        call()
        return time.perf_counter() - start

    return min(once() for _ in range(times))


def compared(old: Row, new: Row, what: Literal["fps", "cpu_ms"]) -> tuple[float, float]:
    """Return by what share a measurement changed, and within what share it varied from round to round of both."""
    before, after = median(old[what]), median(new[what])
    noise = sum((max(values) - min(values)) / median(values) for values in (old[what], new[what]))
    return after / before - 1, noise


def name_of(row: Row) -> tuple[str, int, str, str]:
    """Return what tells a row from others."""
    return row["size"], row["faces"], row["mode"], row["device"]
