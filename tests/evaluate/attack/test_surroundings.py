from __future__ import annotations

import numpy as np
import pytest

from streamer.evaluate.attack.surroundings import recognize_around, recognize_recording
from streamer.evaluate.covered.evidence import AROUND, CROP, Evidence, Views, cast_of
from streamer.evaluate.measures.chance import success
from streamer.types import Image

PEOPLE = tuple(f"p{k}" for k in range(12) for _ in range(2)) + tuple(f"q{k}" for k in range(12))


def scenes(keys: list[str]) -> Image:
    """Return a picture of blocks of colour for each key, the same for the same one."""
    drawn = {key: np.random.default_rng(n).integers(0, 255, (4, 4, 3), np.uint8) for n, key in enumerate(keys)}
    return np.stack([drawn[key].repeat(AROUND // 4, 0).repeat(AROUND // 4, 1) for key in keys])


def evidence_of(around: Image) -> Evidence:
    blind = Views(np.zeros((len(around), CROP, CROP, 3), np.uint8), {"one": np.ones((len(around), 4), np.float32)})
    return Evidence(PEOPLE, blind, {"solid": blind}, around)


def named(scores: np.ndarray) -> float:
    return success(scores, np.arange(len(scores)), seed=0).rank_one.value


def test_people_are_named_by_a_place_that_recurs_and_not_by_one_that_does_not():
    cast = cast_of(PEOPLE, seed=0)
    same = recognize_around(evidence_of(scenes(list(PEOPLE))), cast)
    assert named(same["colours"]) == named(same["all"]) == 1
    other = recognize_around(evidence_of(scenes([f"{n}" for n in range(len(PEOPLE))])), cast)
    assert max(map(named, other.values())) < 0.5  # of 12: chance is .08


@pytest.mark.parametrize("attempt", ["colours", "all"])
def test_another_picture_of_the_same_recording_is_recognised(attempt: str):
    attempts, truth = recognize_recording(evidence_of(scenes([f"{n}" for n in range(len(PEOPLE))])))
    assert success(attempts[attempt], truth, seed=0).rank_one.value > 0.95
