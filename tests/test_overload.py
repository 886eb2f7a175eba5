"""A live stream draws as many faces as it has time for."""

import pytest

from streamer.overload import PROBE_FRAMES, SHARE, DrawingBudget

FRAME = 0.040


def after(count: int, seconds: float) -> DrawingBudget:
    budget = DrawingBudget(FRAME)
    budget.spent(count, seconds)
    return budget


def test_nothing_is_shed_before_anything_is_known():
    assert DrawingBudget(FRAME).affordable(20) == 20


def test_as_many_faces_are_drawn_as_fit_between_two_frames():
    budget = after(4, 0.040)  # 10 ms each
    assert budget.affordable(3) == 3
    assert budget.affordable(20) == int(SHARE * 4)


def test_a_face_that_costs_more_than_a_frame_is_not_drawn_until_a_probe():
    budget = after(1, 0.200)
    assert [budget.affordable(1) for _ in range(PROBE_FRAMES + 1)] == [0] * PROBE_FRAMES + [1]
    budget.spent(1, 0.001)
    assert budget.affordable(20) == 20


def test_a_slow_probe_means_another_wait():
    budget = after(1, 0.200)
    while not budget.affordable(1):
        pass
    budget.spent(1, 0.200)
    assert budget.affordable(1) == 0


def test_a_slowdown_is_met_within_a_few_frames():
    budget = after(1, 0.010)
    frames = 0
    while budget.affordable(3) == 3:
        budget.spent(3, 3 * 0.050)
        frames += 1
    assert frames <= 5


@pytest.mark.parametrize("faces", [2, 5, 20])
def test_of_many_faces_some_are_shed_never_all_while_one_is_affordable(faces: int):
    budget = after(faces, faces * 0.010)
    drawn = [budget.affordable(faces) for _ in range(10)]
    assert drawn == [min(faces, int(SHARE * 4))] * 10


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan")])
def test_frames_without_time_between_them_are_refused(seconds: float):
    with pytest.raises(ValueError, match="seconds apart"):
        DrawingBudget(seconds)
