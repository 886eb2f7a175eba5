"""Meshes of known faces are followed without a detector, each in the crop that a detector chose."""

from collections.abc import Sequence
from dataclasses import replace
from typing import cast

import numpy as np
import pytest

from streamer.faces.detect import FACE, FaceDetector
from streamer.faces.following import MOST_MOVE, SLACK, Following
from streamer.types import Face, Floats, Image, Track

SIZE = 80.0
PICTURE: Image = np.zeros((300, 300, 3), np.uint8)
CROP = np.array([[0.6, 0, 40], [0, 0.6, 45]], np.float32)


def mesh_at(x: float, y: float) -> Floats:
    mesh = np.full((468, 3), (x, y, 0), np.float32)
    angles = np.linspace(0, 2 * np.pi, len(FACE))
    mesh[FACE, :2] += SIZE / 2 * np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    return mesh


def track(number: int = 1, x: float = 100, y: float = 100, *, missed: float = 0.0) -> Track:
    box = np.array([x - SIZE / 2, y - SIZE / 2, x + SIZE / 2, y + SIZE / 2], np.float32)
    return Track(
        number, Face(box, np.zeros((5, 2), np.float32), mesh_at(x, y), 0.9, is_verified=True, crop=CROP), missed
    )


class Scripted:
    """A detector that finds meshes as told, and notes where it looked."""

    def __init__(self, *answers: list[Floats | None]) -> None:
        self.answers, self.looked = list(answers), list[Floats]()

    def meshes(self, image: Image, crops: Sequence[Floats]) -> list[Floats | None]:
        self.looked += crops
        return self.answers.pop(0)


def follow(following: Following, detector: Scripted, count: int = 1) -> list[Face] | None:
    return following(PICTURE, cast(FaceDetector, detector), count)


def test_a_crop_stays_while_a_mesh_trembles_and_goes_with_one_that_moves():
    following, far = Following(), 2 * SLACK * SIZE
    following.begin([track()])
    tremble = [mesh_at(100 + d * SLACK * SIZE, 100) for d in (0.5, -0.5)]
    detector = Scripted(*([mesh] for mesh in tremble), [mesh_at(100 + far, 100)], [mesh_at(100 + far, 100)])
    assert all(follow(following, detector) for _ in range(4))
    assert all((crop == CROP).all() for crop in detector.looked[:3])
    assert detector.looked[3] - CROP == pytest.approx(np.array([[0, 0, far], [0, 0, 0]]), abs=1e-3)


def test_what_moves_so_far_that_the_mesh_lags_behind_is_not_followed():
    for share, is_followed in ((0.9, True), (1.1, False)):
        following = Following()
        following.begin([track()])
        found = follow(following, Scripted([mesh_at(100, 100 + share * MOST_MOVE * SIZE)]))
        assert (found is not None) == is_followed


def test_a_followed_face_is_as_large_as_it_was_where_its_mesh_is_now():
    following = Following()
    following.begin([track()])
    (face,) = follow(following, Scripted([mesh_at(110, 95)])) or []
    assert face.box == pytest.approx([70, 55, 150, 135], abs=0.01)
    assert (face.score, face.is_verified) == (0.9, False)  # which a second network says of a picture, not of a place


@pytest.mark.parametrize("lost", [None, mesh_at(160, 100)])
def test_unless_every_face_is_followed_none_is(lost: Floats | None):
    following = Following()
    following.begin([track(1), track(2, 200)])
    detector = Scripted([mesh_at(100, 100), lost])
    assert follow(following, detector, 2) is None
    assert follow(following, detector, 2) is None  # not before a detector found them anew
    assert len(detector.looked) == 2


def meshless(*, crop: Floats | None) -> Track:
    """A face without a mesh, or one whose mesh was not believed."""
    return Track(1, replace(track().face, mesh=None, crop=crop), 0.0)


@pytest.mark.parametrize("tracks", [[track(1), track(2, missed=0.1)], [meshless(crop=None)], [meshless(crop=CROP)]])
def test_what_was_lost_or_has_no_mesh_is_not_followed(tracks: list[Track]):
    following, detector = Following(), Scripted()
    following.begin(tracks)
    assert follow(following, detector, len(tracks)) is None


def test_one_more_face_than_known_is_not_followed():
    following, detector = Following(), Scripted()
    following.begin([track()])
    assert follow(following, detector, 2) is None
    assert detector.looked == []
