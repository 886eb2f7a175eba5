from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import trapezoid
from scipy.stats import norm

from streamer.evaluate.attack.unlinkability import linkability, system_linkability
from streamer.evaluate.covered.evidence import cast_of

PEOPLE = [f"p{k}" for k in range(20) for _ in range(3)] + [f"q{k}" for k in range(20)]


def test_scores_of_one_distribution_are_unlinkable_and_scores_apart_fully_linkable():
    rng = np.random.default_rng(0)
    others = rng.standard_normal(4000)
    assert system_linkability(rng.standard_normal(2000), others) < 0.06
    assert system_linkability(others[:2000] + 20, others) > 0.99
    assert system_linkability(np.ones(50), np.ones(900)) == 0


def test_two_gaussians_have_the_linkability_of_their_densities():
    grid = np.linspace(-8, 12, 4001)
    mated, others = norm.pdf(grid, 2), norm.pdf(grid)
    exact = trapezoid(mated * np.maximum(2 * mated / (mated + others) - 1, 0), grid)
    rng = np.random.default_rng(0)
    assert system_linkability(2 + rng.standard_normal(4000), rng.standard_normal(8000)) == pytest.approx(
        exact, abs=0.03
    )


def test_only_outputs_that_show_the_person_are_told_from_shuffled_people():
    rng, cast = np.random.default_rng(0), cast_of(PEOPLE, seed=0)
    of = {person: rng.standard_normal(16) for person in dict.fromkeys(PEOPLE)}
    alike = np.stack([of[person] + 0.3 * rng.standard_normal(16) for person in PEOPLE])
    _, found, shuffled = linkability({"alike": alike, "noise": rng.standard_normal(alike.shape)}, cast, seed=0)
    assert found.low > 0.9 > shuffled.high
    _, found, shuffled = linkability({"noise": rng.standard_normal(alike.shape)}, cast, seed=0)
    assert found.value <= shuffled.high
