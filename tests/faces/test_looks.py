"""What MediaPipe's detectors look at, and how it is shrunk for them."""

import cv2
import numpy as np
import pytest

from streamer import Anonymizer
from streamer.cli.demo import free_portrait
from streamer.faces.contrast import stretched
from streamer.faces.looks import BORDER, FULL_SIDE, looks, shrunk_views
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
        if x1 < 0:
            assert (small[:BORDER] == 0).all()
            x, y = round(FULL_SIDE * -x1 / (x2 - x1)), round(FULL_SIDE * -y1 / (x2 - x1))
            small = small[y:-y, x:-x]
            x1, y1, x2, y2 = 0, 0, *size
        expected = cv2.resize(image[y1:y2, x1:x2], small.shape[1::-1], interpolation=cv2.INTER_AREA)
        assert np.abs(small.astype(int) - expected).max() <= 1


def test_no_detail_is_left_out_of_a_large_frame():
    dice = np.random.default_rng(0)
    image = dice.choice(np.array([0, 255], np.uint8), (1080, 1920, 1)).repeat(3, axis=2)
    views = {look.view for look in looks(1920, 1080) if look.view[0] >= 0}
    for view, small in shrunk_views(image, views).items():
        shrink = (view[2] - view[0]) / small.shape[1]
        # Of so many pixels each is the mean; of one taken here and there the deviation stays 127.5.
        assert 0.7 < small.std() / (127.5 / shrink) < 1.2


def test_a_small_frame_is_shrunk_in_one_step():
    image = np.random.default_rng(0).integers(0, 255, (480, 640, 3), np.uint8)
    whole = (0, 0, 640, 480)
    expected = cv2.resize(image, (192, 144), interpolation=cv2.INTER_AREA)
    np.testing.assert_array_equal(shrunk_views(image, [whole])[whole], expected)


# Faces that fill the frame


@pytest.mark.parametrize(("across", "along"), [(480, 480), (640, 360), (360, 640)])
@pytest.mark.parametrize("width", [1.1, 1.3, 1.6])
def test_a_face_cut_by_the_borders_of_the_frame_is_covered(across: int, along: int, width: float):
    """Eyes, nose and mouth of a face so many times as wide as the shorter side."""
    portrait, eyes = free_portrait(), np.array([264.0, 190.0])
    scale = width * min(across, along) / 186
    place = np.array([across, 0.4 * along]) / [2, 1] - scale * eyes
    around = np.column_stack([scale * np.eye(2), place])
    closer = cv2.warpAffine(portrait, around, (across, along), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
    covered = Anonymizer.load(mode="cover").image(closer)
    points = scale * np.array([[219, 192], [308, 188], [269, 245], [267, 277]]) + place  # eyes, nose, mouth
    seen = [(x, y) for x, y in points.round().astype(int).tolist() if 10 <= x < across - 10 and 10 <= y < along - 10]
    assert len(seen) >= 2
    for x, y in seen:
        here = np.s_[y - 8 : y + 8, x - 8 : x + 8]
        assert (covered[here] != closer[here]).any(axis=2).mean() > 0.9


# Faint pictures


@pytest.mark.parametrize(("dark", "levels"), [(0, 4), (0, 9), (240, 12), (120, 10)])
def test_a_face_of_a_few_grey_levels_is_covered(dark: int, levels: int):
    portrait = free_portrait().astype(float)
    faint = np.round(dark + portrait / 255 * (levels - 1)).astype(np.uint8)
    assert (Anonymizer.load(mode="cover").image(faint) != faint).any(axis=2).mean() > 0.05


def test_what_is_not_faint_is_searched_as_it_is():
    portrait: Image = free_portrait()
    assert stretched(portrait) is portrait


@pytest.mark.parametrize("level", [0, 128, 255])
def test_where_there_is_nothing_there_is_nothing_to_stretch(level: int):
    flat = np.full((48, 64, 3), level, np.uint8)
    assert (stretched(flat) == flat).all()


def test_a_faint_picture_keeps_its_order_of_brightness():
    ramp = np.repeat(np.arange(100, 108, dtype=np.uint8), 24 * 8 * 3).reshape(64, 24, 3)
    seen = stretched(ramp)
    assert np.ptp(seen) > 150
    assert (np.diff(seen[:, 0, 0].astype(int)) >= 0).all()
