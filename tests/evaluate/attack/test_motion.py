from __future__ import annotations

import numpy as np

from streamer.evaluate.attack.motion import VALUES, WINDOW, Mover, expression_kept, name_movers
from streamer.evaluate.measures.chance import success
from streamer.types import Floats

FRAMES = 8 * WINDOW


def moving(person: int, *, shape: float = 1.0, seed: int = 0) -> Floats:
    """Return made-up values of somebody who moves a few points in their own rhythm, about a shape of their own."""
    rng = np.random.default_rng([person, 7])
    still, directions = shape * rng.standard_normal(VALUES), rng.standard_normal((3, VALUES))
    noise = np.random.default_rng([person, seed])
    at = np.arange(FRAMES)[:, None] * 2 * np.pi / WINDOW
    waves = np.sin(at * rng.uniform(1, 9, 3) + noise.uniform(0, 6, 3)) * rng.uniform(0.3, 3, 3)
    return np.asarray(still + waves @ directions + 0.1 * noise.standard_normal((FRAMES, VALUES)), np.float32)


def rank_one(people: list[Mover]) -> float:
    attempts, truth = name_movers(people, "x")
    return max(success(scores, truth, seed=0).rank_one.value for scores in attempts.values())


def test_people_are_named_by_how_they_move_on_anybodys_face():
    people = [Mover(f"{n}", moving(n), {"x": moving(n, shape=5.0, seed=1)}) for n in range(8)]
    assert rank_one(people) > 0.8


def test_nobody_is_named_by_the_shape_of_a_face_that_does_not_move_as_they_do():
    people = [
        Mover(f"{n}", moving(n), {"x": moving(100 + n) - moving(100 + n).mean(0) + moving(n).mean(0)}) for n in range(8)
    ]
    attempts, truth = name_movers(people, "x")
    assert success(attempts["uncovered windows"], truth, seed=0).rank_one.value < 0.5  # of 8: chance is .125


def test_windows_without_a_face_tell_nothing_and_gaps_are_bridged():
    gaps, none = moving(0, seed=1), np.full((FRAMES, VALUES), np.nan, np.float32)
    gaps[::5] = np.nan
    people = [Mover(f"{n}", moving(n), {"x": none if n else gaps}) for n in range(8)]
    attempts, _ = name_movers(people, "x")
    scores = attempts["uncovered windows"]
    assert (scores[:4].argmax(axis=1) == 0).all()
    assert (scores[4:] == 0).all()


def test_movement_that_is_kept_correlates_and_a_face_at_rest_does_not():
    still = np.random.default_rng(0).standard_normal((FRAMES, VALUES)).astype(np.float32)
    people = [Mover(f"{n}", moving(n), {"same": moving(n, shape=3.0), "still": still}) for n in range(3)]
    assert expression_kept(people, "same").value > 0.95
    assert abs(expression_kept(people, "still").value) < 0.1
