"""The faces that a reader is shown first, of embeddings that were made up."""

from __future__ import annotations

import dataclasses

import numpy as np

from streamer.evaluate.images.identity_figures import Reference
from streamer.evaluate.images.measurements import Row
from streamer.evaluate.images.worst import WORST, WorstFaces
from streamer.types import Floats
from tests.evaluate.images.measured import ROW, CosineJudge

REFERENCE = Reference(threshold=0.5, strangers=0.0, delta=0.0, below_delta=0.5, own_group=np.zeros(0))


def at(degrees: float) -> Floats:
    return np.array([np.cos(np.radians(degrees)), np.sin(np.radians(degrees))], np.float32)


def row(name: str, after: dict[str, Floats]) -> Row:
    judged = dataclasses.replace(ROW.judged, embeddings=after)
    return dataclasses.replace(ROW, name=name, before=dict.fromkeys(after, at(0)), judged=judged)


def test_the_worst_are_those_that_any_recogniser_comes_nearest_to_knowing():
    first, second = CosineJudge(), CosineJudge()
    second.name = "other"
    worst = WorstFaces([first, second])
    rows: list[Row] = [row(f"{n}.png", {"made": at(90 + n), "other": at(90 + n)}) for n in range(30)]
    rows[29] = row("29.png", {"made": at(150), "other": at(30)})  # which the second recognises, and the first does not
    for each in rows:
        worst.add(each, b"before", b"after")
    shown = worst.specimens({"made": REFERENCE, "other": dataclasses.replace(REFERENCE, threshold=0.8)})
    assert len(shown) == WORST
    assert [face.name for face in shown[:3]] == ["29.png", "0.png", "1.png"]
    assert shown[0].why.startswith("made -1.73, other 1.08; structure kept 0.8")
