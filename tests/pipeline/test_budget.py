"""A live stream makes faces anew as often as it has time for, then draws fewer."""

import pytest

from streamer.pipeline.budget import MEMORY, PROBE_FRAMES, REUSED, SHARE, DrawingBudget

FRAME = 0.040
KNOWN = MEMORY // 2 + 1  # frames that tell what a face costs


def after(count: int, fresh: float, again: float = 0.001) -> DrawingBudget:
    """A budget that knows what a face costs, made anew and drawn again."""
    budget = DrawingBudget(FRAME, FRAME)
    for _ in range(KNOWN):
        budget.spent(count, count, count * fresh)
        budget.spent(count, 0, count * again)
    return budget


def test_nothing_is_shed_before_anything_is_known():
    budget = DrawingBudget(FRAME)
    assert (budget.affordable(20), budget.fresh(20)) == (20, 20)


def test_as_many_faces_are_drawn_as_fit_between_two_frames():
    budget = after(4, fresh=0.016, again=0.010)  # 12 ms each on average
    assert budget.affordable(3) == 3
    assert budget.affordable(20) == int(SHARE * 40 / 12)


def test_a_face_that_costs_more_than_a_frame_is_made_anew_every_second_or_third():
    budget = after(1, fresh=0.050, again=0.010)
    made = []
    for _ in range(30):
        assert budget.affordable(1) == 1
        made.append(budget.fresh(1))
        budget.spent(1, made[-1], 0.050 if made[-1] else 0.010)
    assert 30 / REUSED < sum(made) < 30
    assert sum(0.050 if new else 0.010 for new in made) <= 31 * SHARE * FRAME


def test_a_face_that_costs_far_more_than_a_frame_is_not_drawn_until_a_probe():
    budget = after(1, 0.800, 0.200)
    for _ in range(PROBE_FRAMES):
        assert budget.affordable(1) == 0
        budget.rest()
    assert budget.affordable(1) == 1
    budget.spent(1, 1, 0.001)
    assert budget.affordable(20) == 20


def test_a_slow_probe_means_another_wait():
    budget = after(1, 0.800, 0.200)
    while not budget.affordable(1):
        budget.rest()
    budget.spent(1, 1, 0.800)
    assert budget.affordable(1) == 0


def test_a_probe_and_one_frame_more_tell_that_there_is_still_no_time():
    budget = after(1, 0.150, 0.120)
    while not budget.affordable(1):
        budget.rest()
    budget.spent(1, 1, 0.150)
    budget.spent(1, 0, 0.120)
    assert budget.affordable(1) == 0


@pytest.mark.parametrize("fresh", [0, 1])
def test_one_slow_frame_is_chance_and_covers_nothing(fresh: int):
    budget = after(1, 0.025, 0.010)
    for _ in range(3):
        budget.spent(1, 1, 0.025)
        budget.spent(1, 0, 0.010)
    budget.spent(1, fresh, 0.500)
    assert budget.affordable(1) == 1


def test_a_stream_that_starts_slowly_is_drawn_on():
    budget = DrawingBudget(FRAME)
    for fresh in (1, 0, 1, 0):
        assert budget.affordable(1) == 1
        budget.spent(1, fresh, 0.900)
    for _ in range(MEMORY):
        budget.spent(1, 1, 0.020)
        budget.spent(1, 0, 0.010)
        assert budget.affordable(1) == 1


def test_a_face_that_takes_too_long_to_be_drawn_again_is_given_up_too():
    budget = DrawingBudget(1 / 30)
    frames = 0
    while budget.affordable(1):
        budget.fresh(1)
        budget.spent(1, 1, 0.300)
        frames += 1
    assert KNOWN < frames <= 2 * MEMORY


def test_a_slowdown_is_met_within_a_few_frames():
    budget = after(1, 0.010)
    frames = 0
    while budget.affordable(3) == 3:
        budget.spent(3, 3, 3 * 0.100)
        frames += 1
    assert frames <= 5


@pytest.mark.parametrize("faces", [2, 5, 20])
def test_of_many_faces_some_are_shed_never_all_while_one_is_affordable(faces: int):
    budget = after(faces, 0.010, 0.010)
    assert [budget.affordable(faces) for _ in range(10)] == [min(faces, int(SHARE * 4))] * 10


def test_a_frame_takes_longer_before_drawing_is_given_up():
    budget = DrawingBudget(1 / 30, 0.1)
    for _ in range(KNOWN):
        budget.spent(1, 1, 0.120)
        budget.spent(1, 0, 0.060)
    made = []
    for _ in range(60):
        assert budget.affordable(1) == 1
        made.append(budget.fresh(1))
        budget.spent(1, made[-1], 0.120 if made[-1] else 0.060)
    assert sum(made[30:]) >= 30 // REUSED - 1  # anew now and then, though even drawing it again takes two frames
    budget.spent(1, 0, 0.200)
    budget.spent(1, 0, 0.200)
    budget.spent(1, 0, 0.200)
    assert budget.affordable(1) == 0


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan")])
def test_frames_without_time_between_them_are_refused(seconds: float):
    with pytest.raises(ValueError, match="seconds apart"):
        DrawingBudget(seconds)
