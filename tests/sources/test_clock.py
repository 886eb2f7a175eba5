from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import inf

import pytest

from streamer.sources.clock import Activity, Clock

MS = Fraction(1, 1000)


def timed(raw: Sequence[int | None], *, durations: Sequence[int] = (), clock: Clock | None = None) -> list[int]:
    """Return the times of 25 frames per second, in milliseconds."""
    clock = clock or Clock(MS, step=Fraction(40))
    following = [*raw[1:], None]
    spans = [*durations, *[0] * len(raw)]
    return [clock.time(*pair, duration=span) for *pair, span in zip(raw, following, spans, strict=False)]


def test_times_that_increase_are_kept() -> None:
    assert timed([0, 40, 41, 500, 9000]) == [0, 40, 41, 500, 9000]


def test_the_start_is_subtracted() -> None:
    clock = Clock(Fraction(1, 90_000), step=Fraction(3600), start=Fraction(50_000))
    assert timed([4_500_000_900, 4_500_004_500], clock=clock) == [900, 4500]


@pytest.mark.parametrize("wrong", [10**9, 2000, 170, 0, -(10**6)])
def test_one_time_that_is_wrong_becomes_a_step_and_moves_no_other(wrong: int) -> None:
    assert timed([0, 40, 80, wrong, 160, 200]) == [0, 40, 80, 120, 160, 200]


def test_a_first_time_that_is_wrong_becomes_a_step_before_the_second() -> None:
    assert timed([10**9, 40, 80]) == [0, 40, 80]


def test_a_jump_that_nothing_explains_becomes_a_step() -> None:
    assert timed([0, 40, 50_000_000, 50_000_040]) == [0, 40, 80, 120]
    assert timed([0, 40, 50_000_000]) == [0, 40, 80]


def test_a_clock_that_is_set_back_goes_on() -> None:
    assert timed([50_000, 50_040, 0, 40]) == [50_000, 50_040, 50_080, 50_120]


def test_a_pause_is_kept_that_the_frame_before_it_lasts() -> None:
    assert timed([0, 40, 60_000, 60_040], durations=[40, 59_960]) == [0, 40, 60_000, 60_040]


def test_a_pause_is_kept_in_which_the_other_streams_went_on() -> None:
    activity = Activity()
    for second in range(60):
        activity.add(100 + second)
    clock = Clock(MS, step=Fraction(40), start=Fraction(100), activity=activity)
    assert timed([100_000, 100_040, 160_000], clock=clock) == [0, 40, 60_000]


def test_a_jump_of_all_streams_is_no_pause() -> None:
    activity = Activity()
    for second in (0, 1, 50_000, 50_001):
        activity.add(second)
    assert timed([0, 40, 50_000_000], clock=Clock(MS, step=Fraction(40), activity=activity)) == [0, 40, 80]


def test_a_time_lapse_is_no_jump() -> None:
    raw = [0, 60_000, 120_000, 180_000]
    assert timed(raw, clock=Clock(MS, step=Fraction(60_000))) == raw


def test_between_subtitles_any_time_may_pass() -> None:
    raw = [0, 1000, 900_000]
    assert timed(raw, clock=Clock(MS, step=Fraction(1), longest_wait=inf)) == raw


def test_equal_times_are_moved_by_a_tick_unless_they_are_allowed() -> None:
    assert timed([0, 40, 40, 80]) == [0, 40, 41, 80]
    assert timed([0, 40, 40, 80], clock=Clock(MS, step=Fraction(40), tick=0)) == [0, 40, 40, 80]
