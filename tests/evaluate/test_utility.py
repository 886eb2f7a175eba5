"""Pose, lids, mouth, expression and gaze are read off as they were put in."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from streamer.evaluate.measures.gaze import GazeReader
from streamer.evaluate.measures.utility import EXPRESSIVE, expression_error, expression_of, pose_of
from streamer.faces.detect import FaceDetector
from streamer.types import Face, Floats, Image

STILL = np.zeros(2, np.float32)


def rotation(yaw: float, pitch: float, roll: float) -> Floats:
    """Turn to the image's right, then up, then clockwise: each about an axis of the camera, x right, y down, z away."""
    a, b, c = np.radians([yaw, pitch, roll])
    about_y = np.array([[np.cos(a), 0, -np.sin(a)], [0, 1, 0], [np.sin(a), 0, np.cos(a)]])
    about_x = np.array([[1, 0, 0], [0, np.cos(b), np.sin(b)], [0, -np.sin(b), np.cos(b)]])
    about_z = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    return (about_z @ about_x @ about_y).astype(np.float32)


def head(*, opened: float = 0.0) -> Floats:
    """A made-up mesh, frontal, its mouth 40 wide and `opened` pixels open."""
    mesh = np.random.default_rng(0).uniform(-30, 30, (468, 3)).astype(np.float32)
    mesh[[234, 454, 10, 2]] = [[-70, 0, 0], [70, 0, 0], [0, -80, 0], [0, 20, 0]]
    mesh[[33, 133, 362, 263]] = [[-45, -10, 0], [-15, -10, 0], [15, -10, 0], [45, -10, 0]]
    for eye, at in (((159, 158, 160, 145, 153, 144), -30), ((386, 385, 387, 374, 380, 373), 30)):
        mesh[list(eye[:3])], mesh[list(eye[3:])] = [at, -13, 0], [at, -7, 0]  # 6 pixels open, 30 wide
    mesh[[61, 291]] = [[-20, 40, 0], [20, 40, 0]]
    mesh[[13, 82, 312]], mesh[[14, 87, 317]] = [0, 40 - opened / 2, 0], [0, 40 + opened / 2, 0]
    return mesh


@pytest.fixture(scope="module")
def portrait(hopper: Image, face: Face) -> tuple[Image, Face]:
    return hopper, face


@pytest.mark.parametrize("angles", [(0, 0, 0), (30, 0, 0), (0, 20, 0), (0, 0, -40), (-50, 0, 0)])
def test_a_turned_head_has_the_pose_it_was_turned_to(angles: tuple[float, float, float]):
    mesh = head() @ rotation(*angles).T
    np.testing.assert_allclose(expression_of(mesh, STILL).pose, angles, atol=1e-3)


def test_a_nod_on_top_of_a_turn_keeps_the_pitch():
    # The face looks along R (0, 0, -1); yaw and pitch of that direction, by hand: tan yaw cos pitch stays in z.
    pose = expression_of(head() @ rotation(30, 20, 0).T, STILL).pose
    looking = rotation(30, 20, 0) @ np.array([0, 0, -1])
    assert pose[1] == pytest.approx(np.degrees(np.arcsin(-looking[1])), abs=1e-3)
    assert pose[0] == pytest.approx(np.degrees(np.arctan2(looking[0], -looking[2])), abs=1e-3)


def test_what_a_face_does_changes_with_neither_pose_nor_size_nor_place():
    still = expression_of(head(opened=8), STILL)
    moved = expression_of(3 * head(opened=8) @ rotation(25, -10, 15).T + np.float32(100), STILL)
    np.testing.assert_allclose(moved.shape, still.shape, atol=1e-4)
    error = expression_error(still, moved)
    assert error.expression == pytest.approx(0, abs=1e-4)
    assert error.mouth == pytest.approx(0, abs=1e-5)
    assert error.pose > 10


def test_lids_and_mouth_are_measured_in_their_own_widths():
    found = expression_of(head(opened=8), STILL)
    np.testing.assert_allclose(found.eyes, 6 / 30, atol=1e-5)
    assert found.mouth == pytest.approx(8 / 40)


def test_errors_are_those_of_what_was_changed():
    before, after = expression_of(head(), STILL), expression_of(head(opened=8), np.array([0.3, 0.4], np.float32))
    error = expression_error(before, after)
    assert error.pose == pytest.approx(0, abs=1e-4)
    assert error.gaze == pytest.approx(0.5)
    assert error.eyes == pytest.approx(0, abs=1e-6)
    assert error.mouth == pytest.approx(8 / 40)
    # Six of the expressive points moved by 4 pixels, at eyes 60 apart; of 92.
    moved = int(np.isin(EXPRESSIVE, [13, 82, 312, 14, 87, 317]).sum())
    assert error.expression == pytest.approx(moved * 4 / 60 / len(EXPRESSIVE), rel=1e-4)


def test_a_roll_past_half_a_turn_is_a_small_error():
    before, after = (expression_of(head() @ rotation(0, 0, roll).T, STILL) for roll in (179, -179))
    assert expression_error(before, after).pose == pytest.approx(2 / 3, abs=1e-3)


def test_a_frontal_head_has_no_pose():
    assert (pose_of(np.eye(3, dtype=np.float32)) == 0).all()


def test_irises_that_are_painted_elsewhere_are_found_there(portrait: tuple[Image, Face]):
    image, face = portrait
    assert face.mesh is not None
    found = []
    reader = GazeReader()
    for shift in (-0.2, 0.2):
        painted = image.copy()
        for outer, inner in ((33, 133), (362, 263)):
            corners = face.mesh[[outer, inner], :2]
            width = float(np.linalg.norm(corners[1] - corners[0]))
            middle = corners.mean(axis=0)
            lids = cv2.ellipse2Poly(tuple(int(v) for v in middle), (int(width / 2), int(width / 5)), 0, 0, 360, 10)
            cv2.fillConvexPoly(painted, lids, (235, 230, 225))
            iris = (int(middle[0] + shift * width), int(middle[1]))
            cv2.circle(painted, iris, int(width / 5), (60, 40, 30), -1)
        found.append(reader(painted, face.mesh))
    reader.close()
    assert found[1][0] - found[0][0] == pytest.approx(0.4, abs=0.15)
    assert abs(found[1][1] - found[0][1]) < 0.1


def test_a_mirrored_face_looks_the_other_way(portrait: tuple[Image, Face], detector: FaceDetector):
    image, face = portrait
    assert face.mesh is not None
    mirrored = np.ascontiguousarray(image[:, ::-1])
    other = max(detector(mirrored), key=lambda found: found.size)
    assert other.mesh is not None
    reader = GazeReader()
    here, there = reader(image, face.mesh), reader(mirrored, other.mesh)
    reader.close()
    assert there[0] == pytest.approx(-here[0], abs=0.05)
    assert there[1] == pytest.approx(here[1], abs=0.05)
