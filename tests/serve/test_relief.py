"""Pictures become smaller when there is no time for them, and larger again when there is: in steps of seconds."""

from __future__ import annotations

import numpy as np

from streamer.serve.relief import CALM_SECONDS, LOOK_SECONDS, Relief
from streamer.types import FaceReport

BOX = np.zeros(4, np.float32)


def played(
    relief: Relief, seconds: float, *, start: float = 0.0, rate: float = 30.0, camera: int = 1280, reason: str = ""
) -> list[int]:
    """The size of each of the pictures of so many seconds: 30 a second come, `rate` go out."""
    sides = []
    for n in range(round(seconds * rate)):
        side = min(camera, relief.side)
        face = FaceReport(1, "mosaic" if reason else "generated", reason, BOX)
        relief.add([face], round(30 / rate) - 1, side=side, now=start + n / rate)
        sides.append(side)
    return sides


def test_pictures_for_which_there_is_time_stay_as_they_are() -> None:
    assert set(played(Relief(), 60.0)) == {1280}
    assert set(played(Relief(), 60.0, rate=15.0)) == {1280}  # fewer a second, but enough


def test_pictures_get_smaller_step_by_step_and_no_smaller_than_the_last() -> None:
    for strain in ({"rate": 6.0}, {"reason": "overload"}):
        sides = played(Relief(), 30.0, **strain)  # type: ignore[arg-type]
        assert sorted(set(sides), reverse=True) == [1280, 960, 640]
        rate = 6.0 if "rate" in strain else 30.0
        assert LOOK_SECONDS <= sides.index(960) / rate < LOOK_SECONDS + 1
        assert LOOK_SECONDS <= (sides.index(640) - sides.index(960)) / rate < LOOK_SECONDS + 1


def test_a_small_camera_is_left_alone() -> None:
    assert set(played(Relief(), 30.0, camera=640, reason="overload")) == {640}


def test_other_reasons_for_a_cover_are_no_strain() -> None:
    assert set(played(Relief(), 30.0, reason="turned")) == {1280}


def test_a_larger_size_is_tried_again_ever_later() -> None:
    relief, at, waits = Relief(), 0.0, []
    for _ in range(3):
        while relief.side >= 1280:  # it is too much, again
            played(relief, 1.0, start=at, rate=6.0)
            at += 1
        waits.append(0)
        while relief.side < 1280:
            played(relief, 1.0, start=at)
            at, waits[-1] = at + 1, waits[-1] + 1
    assert waits[0] >= CALM_SECONDS
    assert waits[0] < waits[1] < waits[2]
