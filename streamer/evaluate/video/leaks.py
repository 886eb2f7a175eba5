"""Counts the face-frames that an output left uncovered: in all, by size and by yaw, per 10,000 and with intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from scipy import stats

from streamer.evaluate.figures import Cell, Figure, Table
from streamer.evaluate.measures.coverage import UNCOVERED
from streamer.types import Floats

LEAST_SIZE = 20.0  # pixels; a smaller face is counted apart: nobody recognises it, and annotators disagree about it
SIZES = ((LEAST_SIZE, 40.0), (40.0, 80.0), (80.0, math.inf))  # pixels
YAWS = ((0.0, 30.0), (30.0, 60.0), (60.0, math.inf))  # degrees
PER = 10_000
MOST_ROWS = 50  # of the list of leaks in a report


@dataclass(frozen=True, slots=True)
class FaceFrame:
    """One annotated face in one frame, and whether the output still shows it.

    Attributes:
        frame: Index in the source.
        seconds: Its time.
        box: `(4,)` float32 `x1, y1, x2, y2` in pixels.
        size: Longer side of the box in pixels.
        yaw: Degrees sideways; nan where unknown.
        checked: As in `TrueFace`.
        kept: `detail_kept`; nan where the face has no detail, so that nothing can be told.
    """

    frame: int
    seconds: float
    box: Floats
    size: float
    yaw: float
    checked: bool
    kept: float

    @property
    def uncovered(self) -> bool:
        """Whether the output shows the face."""
        return self.kept > UNCOVERED


def leak_figure(faces: Sequence[FaceFrame]) -> Figure:
    """Return the face-frames left uncovered per 10,000, with the exact interval (Clopper and Pearson 1934).

    It takes frames for independent, which neighbours are not: of a face that is missed for a second, thirty are. Where
    none was seen the upper end is about 3.7 / n, the two-sided kin of the rule of three.
    """
    known = [face.uncovered for face in faces if not math.isnan(face.kept)]
    if not known:
        return Figure(math.nan, note="no such face")
    interval = stats.binomtest(sum(known), len(known)).proportion_ci(0.95, method="exact")
    value = PER * sum(known) / len(known)
    return Figure(value, PER * float(interval.low), PER * float(interval.high), len(known))


def leak_figures(faces: Sequence[FaceFrame]) -> dict[str, Figure]:
    """Return `leak_rate`, `leak_rate.20-40px`, `leak_rate.yaw 60+` and so on, of checked faces of 20 pixels or more.

    `leak_rate.doubtful` and `leak_rate.under 20px` are what the others leave out.
    """
    return {f"leak_rate.{name}" if name else "leak_rate": leak_figure(some) for name, some in _bins(faces).items()}


def leak_table(faces: Sequence[FaceFrame]) -> Table:
    """Return the same as a table, with counts."""
    rows = [(name or "all", *_counts(some)) for name, some in _bins(faces).items()]
    note = (
        f"A face-frame is uncovered when more than {UNCOVERED} of the fine detail in the middle of the face is still "
        "the source's (streamer/evaluate/measures/coverage.py). Intervals take frames for independent."
    )
    return Table("Face-frames left uncovered", ("faces", "face-frames", "uncovered", "per 10,000"), tuple(rows), note)


def leak_list(faces: Sequence[FaceFrame]) -> Table:
    """Return where the uncovered face-frames are, those that kept most first."""
    found = sorted((face for face in faces if face.uncovered), key=lambda face: -face.kept)
    columns = ("frame", "second", "box", "yaw", "kept", "annotation")
    left_out = f"{len(found) - MOST_ROWS} more are not listed." if len(found) > MOST_ROWS else ""
    return Table("Where they are", columns, tuple(map(_place, found[:MOST_ROWS])), left_out)


def _bins(faces: Sequence[FaceFrame]) -> dict[str, list[FaceFrame]]:
    counted = [face for face in faces if face.checked and face.size >= LEAST_SIZE]
    bins = {"": counted}
    bins |= {f"{_span(low, high)}px": [f for f in counted if low <= f.size < high] for low, high in SIZES}
    bins |= {f"yaw {_span(low, high)}": [f for f in counted if low <= f.yaw < high] for low, high in YAWS}
    bins["yaw unknown"] = [face for face in counted if math.isnan(face.yaw)]
    bins["doubtful"] = [face for face in faces if not face.checked and face.size >= LEAST_SIZE]
    bins[f"under {LEAST_SIZE:.0f}px"] = [face for face in faces if face.size < LEAST_SIZE]
    return bins


def _span(low: float, high: float) -> str:
    return f"{low:.0f}+" if math.isinf(high) else f"{low:.0f}-{high:.0f}"


def _counts(faces: Sequence[FaceFrame]) -> tuple[Cell, ...]:
    figure = leak_figure(faces)
    return str(figure.count), str(sum(face.uncovered for face in faces)), figure


def _place(face: FaceFrame) -> tuple[Cell, ...]:
    box = ", ".join(f"{v:.0f}" for v in face.box)
    yaw = "" if math.isnan(face.yaw) else f"{face.yaw:.0f}"
    return str(face.frame), f"{face.seconds:.2f}", box, yaw, f"{face.kept:.2f}", "" if face.checked else "doubtful"
