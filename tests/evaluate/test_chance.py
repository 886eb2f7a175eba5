from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom

from streamer.evaluate.measures.chance import best, success


def test_ranks_are_counted_from_the_highest_score():
    scores = np.array([[0.9, 0.1, 0.0], [0.9, 0.1, 0.0], [0.9, 0.1, 0.0], [0.0, 0.9, 0.1]])
    found = success(scores, np.array([0, 1, 2, 2]), seed=0)
    assert found.rank_one.value == 1 / 4
    assert found.rank_five.value == 1
    assert found.ahead.value == np.mean([1, 1 / 2, 0, 1 / 2])  # of two others, 2, 1, 0 and 1 score below


def test_scores_that_are_all_alike_are_worth_what_guessing_is():
    found = success(np.zeros((2000, 4)), np.arange(2000) % 4, seed=0)
    assert binom.ppf(0.001, 2000, 0.25) < 2000 * found.rank_one.value < binom.ppf(0.999, 2000, 0.25)
    assert abs(found.ahead.value - 0.5) < 0.03
    assert found.p_value > 0.01


def test_chance_is_one_in_as_many_as_there_are_people():
    scores = np.random.default_rng(1).random((50, 50))
    found = success(scores, np.arange(50), seed=0)
    assert found.chance.value == pytest.approx(1 / 50)
    assert found.chance.low <= found.rank_one.value <= found.chance.high


def test_chance_knows_that_naming_the_commonest_person_pays():
    scores = np.tile([1.0, 0.0], (10, 1))  # always the first
    found = success(scores, np.array([0] * 8 + [1] * 2), seed=0)
    assert found.rank_one.value == 0.8
    assert found.chance.value == pytest.approx(0.8)
    assert found.p_value == 1


def test_a_perfect_attacker_has_the_least_p_value():
    found = success(np.eye(20), np.arange(20), seed=0)
    assert (found.rank_one.value, found.ahead.value, found.p_value) == (1, 1, 1 / 2001)


def test_the_best_attempt_is_the_one_that_names_most():
    truth = np.arange(10)
    name, found = best({"blind": np.zeros((10, 10)), "seeing": np.eye(10)}, truth, seed=0)
    assert (name, found.rank_one.value) == ("seeing", 1)


def test_the_same_seed_gives_the_same_success():
    scores = np.zeros((30, 5))
    assert success(scores, np.arange(30) % 5, seed=3) == success(scores, np.arange(30) % 5, seed=3)


@pytest.mark.parametrize(
    ("scores", "truth"), [(np.zeros((3, 1)), np.zeros(3, int)), (np.zeros((3, 2)), np.zeros(2, int))]
)
def test_shapes_that_do_not_fit_are_refused(scores: np.ndarray, truth: np.ndarray):
    with pytest.raises(ValueError, match="scores must be"):
        success(scores, truth, seed=0)


def test_a_score_that_is_no_number_is_refused():
    with pytest.raises(ValueError, match="finite"):
        success(np.full((3, 2), np.nan), np.zeros(3, int), seed=0)
