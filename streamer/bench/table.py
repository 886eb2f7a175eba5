"""What was measured, for a reader, and beside what was measured before."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from streamer.bench.measure import Row, compared, name_of
from streamer.bench.stages import STAGES
from streamer.errors import StreamerError

SIZES = {"640x480": (640, 480), "720p": (1280, 720), "1080p": (1920, 1080), "4k": (3840, 2160)}


def sizes_of(text: str) -> tuple[tuple[int, int], ...]:
    """Return the sizes in "640x480,720p".

    Raises:
        ValueError: If one of them is none.
    """
    found = []
    for name in text.split(","):
        size = SIZES.get(name.strip().lower())
        if size is None:
            width, _, height = name.partition("x")
            if not (width.isdigit() and height.isdigit() and int(width) >= 64 and int(height) >= 64):
                raise ValueError(f"{name!r} is no size; expected {', '.join(SIZES)} or WIDTHxHEIGHT from 64x64 on")
            size = int(width) // 2 * 2, int(height) // 2 * 2
        found.append(size)
    return tuple(found)


def counts_of(text: str) -> tuple[int, ...]:
    """Return the numbers in "1,2,4".

    Raises:
        ValueError: If one of them is none from 1 on.
    """
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdigit() and int(part) for part in parts):
        raise ValueError(f"{text!r} are no numbers of faces; expected such as 1,2,4,8")
    return tuple(map(int, parts))


def read_rows(path: Path) -> list[Row]:
    """Return the measurements in a file that `veil bench --json` wrote.

    Raises:
        StreamerError: If it is no such file.
    """
    try:
        return list(json.loads(path.read_text())["rows"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StreamerError(f"cannot compare with {path}: it is not what `veil bench --json` wrote") from error


def machine_line(machine: dict[str, Any]) -> str:
    """Return the machine in a line."""
    return (
        f"{machine['processor'] or 'unknown processor'}, {machine['cores']} cores; at most "
        f"{machine['matmul_gflops']:g} GFLOP/s in a product of matrices, {machine['copy_gb_per_second']:g} GB/s copied"
    )


def lines_of(row: Row) -> list[str]:
    """Return a measurement: what of it counts in a line, then a line a stage."""
    rates = row["fps"]
    first = (
        f"{row['size']:>9}  {row['faces']} faces  {row['mode']:8} {row['device']}: {median(rates):.1f} fps "
        f"({min(rates):.1f} to {max(rates):.1f}), {median(row['cpu_ms']):.1f} ms CPU a frame, "
        f"{row['faces_found']:g} faces a frame found"
    )
    stages = [(stage, row["stages"][stage]) for stage in STAGES if stage in row["stages"]]
    return [first, *(_stage_line(stage, each) for stage, each in stages)]


def _stage_line(stage: str, each: dict[str, float]) -> str:
    wall = f"p50 {each['p50_ms']:7.2f} ms  p95 {each['p95_ms']:7.2f} ms"
    return f"{'':11}{stage:8} {wall}  CPU {each['cpu_ms']:7.2f} ms {each['share']:6.1%}"


def comparison(old: Sequence[Row], new: Sequence[Row]) -> list[str]:
    """Return a line for each measurement that is in both.

    Raises:
        StreamerError: If none is.
    """
    before = {name_of(row): row for row in old}
    lines = []
    for row in new:
        if name_of(row) in before:
            size, faces, mode, device = name_of(row)
            rate, cost = (_change(*compared(before[name_of(row)], row, what)) for what in ("fps", "cpu_ms"))
            lines.append(f"{size:>9}  {faces} faces  {mode:8} {device}: frames per second {rate}; CPU a frame {cost}")
    if not lines:
        raise StreamerError("nothing to compare: no size, number of faces, mode and device is in both")
    return lines


def _change(change: float, noise: float) -> str:
    verdict = "as before, within the noise" if abs(change) <= noise else "more" if change > 0 else "less"
    return f"{change:+.1%}, {verdict} ({noise:.1%})"
