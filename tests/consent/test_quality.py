"""One look at a face: what it measures, on a face turned, shrunk, blurred and dimmed."""

import hashlib

import cv2
import numpy as np
import pytest

from models.checkpoint import WEIGHTS
from models.checkpoint_errors import CheckpointError
from streamer.consent.quality import FaceReader, Observation, recognizer_id, turn_of
from streamer.types import Face, Image


def test_a_clear_face_has_no_flaw_and_a_unit_embedding(reader: FaceReader, hopper: Image, face: Face):
    seen = reader(hopper, face)
    assert seen.flaw == ""
    assert seen.size == face.size
    assert np.linalg.norm(seen.embedding) == pytest.approx(1, abs=1e-5)


def test_the_same_face_elsewhere_in_a_frame_embeds_alike(reader: FaceReader, hopper: Image, face: Face):
    moved = np.pad(hopper, ((40, 0), (70, 0), (0, 0)), mode="edge")
    there = Face(face.box, face.landmarks + np.array([70, 40], np.float32), None, 1.0)
    assert reader(moved, there).embedding @ reader(hopper, face).embedding > 0.97  # pixels are averaged on another grid


def test_blur_and_dimness_are_flaws(reader: FaceReader, hopper: Image, face: Face):
    assert reader(cv2.GaussianBlur(hopper, (0, 0), 6), face).flaw == "blurred"
    assert reader((hopper // 6).astype(np.uint8), face).flaw == "dim"


def test_sharpness_does_not_depend_on_the_light(reader: FaceReader, hopper: Image, face: Face):
    half = (hopper.astype(np.float32) / 2).astype(np.uint8)
    assert reader(half, face).sharpness == pytest.approx(reader(hopper, face).sharpness, rel=0.05)


@pytest.mark.parametrize(
    ("landmarks", "sideways", "nod"),
    [
        ([[0, 0], [10, 0], [5, 6], [2, 10], [8, 10]], 0.0, 0.6),
        ([[0, 0], [10, 0], [8, 6], [2, 10], [8, 10]], 0.3, 0.6),
        ([[0, 0], [10, 0], [5, 2], [2, 10], [8, 10]], 0.0, 0.2),
        ([[0, 0], [0, 10], [-6, 2], [-10, 2], [-10, 8]], -0.3, 0.6),  # the head lies on its side: no turn
        ([[5, 5], [5, 5], [5, 5], [5, 5], [5, 5]], np.nan, np.nan),
    ],
)
def test_turn_and_nod_follow_the_nose_in_the_head_s_own_axes(landmarks: list[list[float]], sideways: float, nod: float):
    assert turn_of(np.array(landmarks, np.float32)) == pytest.approx((sideways, nod), nan_ok=True)


def test_what_is_no_number_is_a_flaw():
    assert Observation(np.zeros(3, np.float32), 100, np.nan, 0.6, 50, 0.05).flaw == "turned"
    assert Observation(np.zeros(3, np.float32), 100, 0.0, 0.6, np.nan, 0.05).flaw == "dim"
    assert Observation(np.zeros(3, np.float32), 100, 0.0, 0.6, 50, np.nan).flaw == "blurred"


def test_a_sighting_s_repr_has_no_embedding():
    assert "embedding" not in repr(Observation(np.zeros(3, np.float32), 100, 0, 0.6, 50, 0.05))


def test_a_recognizer_is_known_by_the_sha256_of_its_weights():
    expected = hashlib.sha256((WEIGHTS / "identity.safetensors").read_bytes()).hexdigest()
    assert recognizer_id("identity").sha256 == recognizer_id(WEIGHTS / "identity.safetensors").sha256 == expected
    assert recognizer_id("identity").name == recognizer_id(WEIGHTS / "identity.safetensors").name == "identity"
    with pytest.raises(CheckpointError):
        recognizer_id("nobody")
