"""Steady without lag, in seconds."""

import numpy as np
import pytest

from streamer.render.smooth import OneEuro, OneEuroConfig

CONFIG = OneEuroConfig(min_cutoff=1.0, speed_gain=0.0)


def run(filter_: OneEuro, values: np.ndarray, rate: float) -> np.ndarray:
    return np.array([filter_.update(1, value, index / rate) for index, value in enumerate(values)])


def test_the_first_value_and_a_constant_pass_unchanged() -> None:
    values = np.full((20, 3), 7.0, np.float32)
    np.testing.assert_array_equal(run(OneEuro(CONFIG), values, 30.0), values)


def test_one_step_follows_equation_one_by_hand() -> None:
    smooth = run(OneEuro(CONFIG), np.array([[0.0], [1.0]], np.float32), 10.0)
    expected = 1 / (1 + 1 / (2 * np.pi * 1.0 * 0.1))
    assert smooth[1, 0] == pytest.approx(expected, rel=1e-5)


def test_noise_is_damped() -> None:
    values = np.random.default_rng(0).normal(size=(300, 2)).astype(np.float32)
    assert run(OneEuro(CONFIG), values, 30.0)[60:].std() < 0.4 * values.std()


def test_the_response_to_a_step_does_not_depend_on_the_frame_rate() -> None:
    slow = run(OneEuro(CONFIG), np.repeat([[0.0], [1.0]], [1, 20], axis=0).astype(np.float32), 20.0)
    fast = run(OneEuro(CONFIG), np.repeat([[0.0], [1.0]], [1, 80], axis=0).astype(np.float32), 80.0)
    assert fast[40, 0] == pytest.approx(slow[10, 0], abs=0.06)


def test_fast_motion_lags_less_with_a_speed_gain() -> None:
    ramp = np.arange(60, dtype=np.float32)[:, None]
    lazy = run(OneEuro(CONFIG), ramp, 30.0)
    quick = run(OneEuro(OneEuroConfig(min_cutoff=1.0, speed_gain=1.0)), ramp, 30.0)
    assert ramp[-1, 0] - quick[-1, 0] < 0.2 * (ramp[-1, 0] - lazy[-1, 0])


def test_a_gap_starts_anew() -> None:
    smooth = OneEuro(CONFIG)
    smooth.update(1, np.zeros(2, np.float32), 0.0)
    np.testing.assert_array_equal(smooth.update(1, np.ones(2, np.float32), 5.0), np.ones(2))


def test_time_that_runs_backwards_starts_anew() -> None:
    smooth = OneEuro(CONFIG)
    smooth.update(1, np.zeros(2, np.float32), 3.0)
    np.testing.assert_array_equal(smooth.update(1, np.ones(2, np.float32), 2.0), np.ones(2))


def test_tracks_do_not_mix_and_forgotten_ones_start_anew() -> None:
    smooth = OneEuro(CONFIG)
    smooth.update(1, np.zeros(2, np.float32), 0.0)
    np.testing.assert_array_equal(smooth.update(2, np.ones(2, np.float32), 0.1), np.ones(2))
    smooth.keep_only({2})
    np.testing.assert_array_equal(smooth.update(1, np.full(2, 5, np.float32), 0.2), np.full(2, 5))


def test_the_caller_may_change_what_it_was_given() -> None:
    smooth = OneEuro(CONFIG)
    for seconds in (0.0, 0.1):
        smooth.update(1, np.zeros(2, np.float32), seconds)[:] = 99.0
    np.testing.assert_array_equal(smooth.update(1, np.zeros(2, np.float32), 0.2), np.zeros(2))


def test_a_unit_that_trembles_shakes_nothing():
    still = np.full((3, 2), 500.0, np.float32)
    smoother = OneEuro(OneEuroConfig(min_cutoff=1.0, speed_gain=25.0))
    for n in range(20):
        assert smoother.update(1, still, n / 30, unit=100.0 + 10 * (n % 2)) == pytest.approx(500)


def test_speeds_count_in_units():
    def lag(unit: float, scale: float) -> float:
        smoother = OneEuro(OneEuroConfig(min_cutoff=1.0, speed_gain=25.0))
        values = [np.array([[scale * n, 0.0]], np.float32) for n in range(20)]
        return float((values[-1] - [smoother.update(1, v, n / 30, unit=unit) for n, v in enumerate(values)][-1])[0, 0])

    assert lag(100.0, 100.0) == pytest.approx(100 * lag(1.0, 1.0), rel=1e-3)
    assert lag(100.0, 1.0) > lag(1.0, 1.0)
