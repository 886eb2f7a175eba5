"""From our crops to a recogniser's."""

import cv2
import numpy as np
import pytest
import torch

from models.face_model import DEFAULT_TEMPLATE
from models.identity.identity_crop import identity_crops, similarity
from models.identity.recognizer import IDENTITY_LANDMARKS
from streamer.render.align import umeyama

OURS, THEIRS = np.array(DEFAULT_TEMPLATE.points), np.array(IDENTITY_LANDMARKS)


@pytest.mark.parametrize("size", [64, 128, 256])
def test_the_five_points_come_to_lie_on_the_recogniser_s(size: int) -> None:
    crops = torch.zeros(5, 3, size, size)
    y, x = np.mgrid[:size, :size]
    for index, (at_x, at_y) in enumerate(OURS * size):
        spot = np.exp(-((x - at_x) ** 2 + (y - at_y) ** 2) / (2 * (size / 50) ** 2))
        crops[index] = torch.from_numpy(spot.astype(np.float32))
    shown = identity_crops(crops, DEFAULT_TEMPLATE)[:, 0].double().numpy()
    y, x = np.mgrid[:112, :112]
    total = shown.sum(axis=(1, 2))
    found = np.stack([(shown * x).sum(axis=(1, 2)) / total, (shown * y).sum(axis=(1, 2)) / total], axis=1)
    exact = umeyama((OURS * size).astype(np.float32), THEIRS.astype(np.float32))
    np.testing.assert_allclose(found, OURS * size @ exact[:, :2].T + exact[:, 2], atol=0.15)
    assert np.abs(found - THEIRS).max() < 2.5  # five points do not fit exactly


def test_the_crop_is_what_opencv_cuts() -> None:
    rng = np.random.default_rng(0)
    image = cv2.GaussianBlur(rng.uniform(-1, 1, (128, 128, 3)).astype(np.float32), (0, 0), 3)
    matrix = umeyama((OURS * 128).astype(np.float32), THEIRS.astype(np.float32))
    expected = cv2.warpAffine(image, matrix, (112, 112), borderMode=cv2.BORDER_REPLICATE)
    shown = identity_crops(torch.from_numpy(image).permute(2, 0, 1)[None], DEFAULT_TEMPLATE)
    # OpenCV rounds places to a 32nd of a pixel.
    np.testing.assert_allclose(shown[0].permute(1, 2, 0).numpy(), expected, atol=0.01)


def test_a_similarity_is_found_again() -> None:
    turned = np.array([[0.6, -0.8, 3.0], [0.8, 0.6, -1.0]]) * [[2, 2, 1], [2, 2, 1]]
    points = np.random.default_rng(0).normal(size=(5, 2))
    np.testing.assert_allclose(similarity(points, points @ turned[:, :2].T + turned[:, 2]), turned, atol=1e-12)


def test_gradients_reach_the_crop_where_the_recogniser_looks() -> None:
    crops = torch.zeros(1, 3, 64, 64, requires_grad=True)
    identity_crops(crops, DEFAULT_TEMPLATE).sum().backward()
    assert crops.grad is not None
    assert (crops.grad[:, :, 16:48, 16:48] > 0).all()
