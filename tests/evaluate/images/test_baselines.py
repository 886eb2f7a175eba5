"""Blur, mosaic and solid do what they say at every size, and the calibrator finds closed forms."""

import math
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest

from models.face_mesh import FACE_OVAL
from streamer.evaluate.images.baselines import (
    FIVE,
    OutOfReachError,
    blur,
    box,
    calibrate,
    crop_scale,
    mosaic,
    solid,
    unchanged,
    whole,
)
from streamer.evaluate.images.before_after import Method, Original
from streamer.evaluate.images.photos import PhotoFile
from streamer.evaluate.measures.utility import Expression
from streamer.types import Face, Image


def face_at(scale: float) -> Face:
    """A face whose 256 px crop is the photo, times `scale`; its oval is an ellipse."""
    angle = np.linspace(0, 2 * np.pi, len(FACE_OVAL), endpoint=False)
    mesh = np.full((468, 3), 128, np.float32)
    mesh[list(FACE_OVAL), :2] = 128 + np.stack([70 * np.sin(angle), -90 * np.cos(angle)], axis=1)
    edges = np.array([58, 38, 198, 218], np.float32)
    return Face(edges * scale, FIVE * np.float32(scale), mesh * np.float32(scale), 1.0)


def original(image: Image, scale: float = 1.0) -> Original:
    two = np.zeros(2, np.float32)
    unknown = Expression(np.zeros(3, np.float32), two, two, 0.0, np.zeros((92, 3), np.float32))
    photo = PhotoFile("a/b.png", "a/b.png", ("a",), Path("b.png"))
    return Original(photo, image, face_at(scale), image, {}, False, unknown)


def noise(size: int = 256) -> Image:
    return np.random.default_rng(0).integers(1, 255, (size, size, 3)).astype(np.uint8)


@pytest.mark.parametrize("method", [partial(blur, strength=8.0), partial(mosaic, strength=16.0), solid])
def test_a_baseline_changes_the_oval_and_nothing_else(method: Method):
    photo = original(noise())
    inside = np.zeros((256, 256), np.uint8)
    cv2.ellipse(inside, (128, 128), (68, 88), 0, 0, 360, 1, -1)
    around = np.zeros((256, 256), np.uint8)
    cv2.ellipse(around, (128, 128), (75, 96), 0, 0, 360, 1, -1)
    changed = (method(photo) != photo.image).any(axis=2)
    assert changed[inside > 0].mean() > 0.95
    assert not changed[around == 0].any()


def test_unchanged_is_a_copy_of_the_photo():
    photo = original(noise())
    same = unchanged(photo)
    same[:] = 0
    assert photo.image.any()


def test_a_blur_is_the_same_on_a_photo_three_times_as_large():
    smooth = cv2.GaussianBlur(noise(), (0, 0), 6).astype(np.float32)
    small = np.clip((smooth - 128) * 6 + 128, 0, 255).astype(np.uint8)
    large = cv2.resize(small, (768, 768), interpolation=cv2.INTER_CUBIC)
    hidden = blur(original(small), 16.0).astype(np.float32)
    again = cv2.resize(blur(original(large, 3.0), 16.0), (256, 256), interpolation=cv2.INTER_AREA)
    middle = (slice(70, 190), slice(80, 180))
    moved = np.abs(hidden - small)[middle].mean()
    assert np.abs(hidden - again)[middle].mean() < 0.2 * moved


@pytest.mark.parametrize("scale", [1, 3])
def test_a_mosaic_has_flat_cells_of_its_strength_in_pixels_of_the_crop(scale: int):
    ramp = np.arange(256 * scale).astype(np.uint16) * 250 // (256 * scale)
    hidden = mosaic(original(np.tile(ramp.astype(np.uint8)[None, :, None], (256 * scale, 1, 3)), scale), 32.0)
    row = hidden[128 * scale, 70 * scale : 186 * scale, 0].astype(int)
    edges = np.flatnonzero(np.diff(row))
    assert len(edges) >= 2
    assert np.diff(edges) == pytest.approx(32 * scale, rel=0.15)  # whole cells fill the face


def test_a_blur_of_a_step_is_the_integral_of_a_gaussian():
    step = np.zeros((256, 256, 3), np.uint8)
    step[:, 128:] = 200
    hidden = blur(original(step), 10.0)
    for x in (118, 123, 133, 143):
        expected = 200 * 0.5 * (1 + math.erf((x - 127.5) / (10 * math.sqrt(2))))
        assert hidden[128, x, 0] == pytest.approx(expected, abs=2)


def test_a_wide_blur_is_the_gaussian_that_it_says():
    photo = original(cv2.GaussianBlur(noise(), (0, 0), 20, borderType=cv2.BORDER_CONSTANT))
    exact = cv2.GaussianBlur(photo.image, (0, 0), 30.0)[60:196, 70:186].astype(int)
    assert np.abs(blur(photo, 30.0, region=whole)[60:196, 70:186] - exact).max() <= 3
    assert exact.std() > 1


def test_the_box_is_larger_than_the_detected_one_and_the_whole_is_the_crop():
    face = face_at(2.0)
    assert np.allclose(box(face)[[0, 2]], [[74, 22], [438, 490]])  # 116..396 and 76..436, times 1.3 about the centre
    assert np.allclose(whole(face), [[0, 0], [512, 0], [512, 512], [0, 512]], atol=0.1)
    assert crop_scale(face) == pytest.approx(0.5, rel=1e-4)


@pytest.mark.parametrize("target", [0.8, 0.5, 0.03])
def test_the_calibrator_finds_the_strength_of_a_closed_form(target: float):
    asked = []

    def figure(strength: float) -> np.ndarray:
        asked.append(strength)
        return math.exp(-strength / 10) + np.array([-0.1, 0.1, np.nan])

    found = calibrate(figure, target, weakest=1, strongest=128, tolerance=1e-3)
    assert math.exp(-found.strength / 10) == pytest.approx(target, abs=1e-3)
    assert found.reached.value == pytest.approx(target, abs=1e-3)
    assert found.reached.low < target < found.reached.high
    assert len(asked) <= 15


def test_the_calibrator_takes_the_nearest_step_where_a_figure_jumps():
    found = calibrate(lambda strength: np.full(3, 1 / math.ceil(strength)), 0.3, weakest=1, strongest=64)
    assert found.reached.value in (pytest.approx(1 / 3), 0.25)


@pytest.mark.parametrize("target", [0.99, 0.1])
def test_a_target_out_of_reach_is_an_error_that_says_what_can_be_reached(target: float):
    with pytest.raises(OutOfReachError, match=r"0.980 at strength 1 and 0.210 at 2"):
        calibrate(lambda strength: np.full(2, 0.98 if strength < 1.5 else 0.21), target, weakest=1, strongest=2)
