"""What MediaPipe's detectors look at, and how it is shrunk for them."""

import cv2
import numpy as np
import pytest

from streamer.faces.looks import FULL_SIDE, looks, shrunk_views
from streamer.types import Image


def slope(width: int, height: int) -> Image:
    """Return a picture that is brighter to the right, in the one channel, and downwards, in the other."""
    image = np.zeros((height, width, 3), np.uint8)
    image[..., 0] = np.linspace(0, 255, width).round()
    image[..., 1] = np.linspace(0, 255, height).round()[:, None]
    return image


@pytest.mark.parametrize("size", [(640, 480), (1280, 720), (1920, 1080), (3840, 2160), (1366, 768), (1001, 563)])
def test_each_view_is_shrunk_to_what_it_shows(size: tuple[int, int]):
    image = slope(*size)
    views = {look.view for look in looks(*size)}
    shrunk = shrunk_views(image, views)
    assert set(shrunk) == views
    for (x1, y1, x2, y2), small in shrunk.items():
        assert max(small.shape[:2]) == FULL_SIDE
        expected = cv2.resize(image[y1:y2, x1:x2], small.shape[1::-1], interpolation=cv2.INTER_AREA)
        assert np.abs(small.astype(int) - expected).max() <= 1


def test_no_detail_is_left_out_of_a_large_frame():
    dice = np.random.default_rng(0)
    image = dice.choice(np.array([0, 255], np.uint8), (1080, 1920, 1)).repeat(3, axis=2)
    for view, small in shrunk_views(image, {look.view for look in looks(1920, 1080)}).items():
        shrink = (view[2] - view[0]) / small.shape[1]
        # Of so many pixels each is the mean; of one taken here and there the deviation stays 127.5.
        assert 0.7 < small.std() / (127.5 / shrink) < 1.2


def test_a_small_frame_is_shrunk_in_one_step():
    image = np.random.default_rng(0).integers(0, 255, (480, 640, 3), np.uint8)
    whole = (0, 0, 640, 480)
    expected = cv2.resize(image, (192, 144), interpolation=cv2.INTER_AREA)
    np.testing.assert_array_equal(shrunk_views(image, [whole])[whole], expected)
