"""What MediaPipe's detectors look at, and how it is shrunk for them."""

from contextlib import closing
from fractions import Fraction

import cv2
import numpy as np
import pytest

from streamer import Anonymizer
from streamer.cli.demo import free_portrait
from streamer.faces.center_face import CenterFace
from streamer.faces.detect import FaceDetector
from streamer.faces.disguise import Disguises, stretched
from streamer.faces.looks import BORDER, FULL_SIDE, looks, shrunk_views
from streamer.types import Frame, Image


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


# What hides a face from detectors, and from nobody else

FACE = np.s_[131:240, 139:255]  # of `small_portrait`, brow to chin


def small_portrait() -> Image:
    return np.asarray(cv2.resize(free_portrait(), None, fx=0.75, fy=0.75, interpolation=cv2.INTER_AREA), np.uint8)


def behind(picture: Image, kind: str, pitch: int, width: int) -> Image:
    """Return a picture behind dark lines so wide and so far apart."""
    y, x = np.indices(picture.shape[:2])
    across, along = (x, y) if kind == "bars" else (x + y, x - y)
    return np.where(((across % pitch < width) | (along % pitch < width))[..., None], np.uint8(40), picture)


@pytest.mark.parametrize(
    ("kind", "pitch", "width"), [("bars", 28, 6), ("bars", 28, 9), ("bars", 17, 6), ("fence", 39, 6)]
)
def test_a_face_behind_a_net_is_covered(kind: str, pitch: int, width: int):
    netted = behind(small_portrait(), kind, pitch, width)
    covered = Anonymizer.load(mode="cover").image(netted)
    assert (covered[FACE] != netted[FACE]).any(axis=2).mean() > 0.9


def test_a_net_before_a_video_is_looked_through_from_its_first_frame_on():
    netted = behind(small_portrait(), "bars", 28, 6)
    frames = (Frame(netted.copy(), n, n, Fraction(1, 25)) for n in range(20))
    for safe in Anonymizer.load(mode="cover").frames(frames):
        assert (safe.image[FACE] != netted[FACE]).any(axis=2).mean() > 0.9


def test_a_negative_shows_whom_the_picture_shows():
    with FaceDetector() as detector, closing(CenterFace()) as network:
        (face,) = Disguises(network).in_picture(255 - small_portrait(), [], detector)
    assert face.is_verified
    assert np.abs((face.box[:2] + face.box[2:]) / 2 - (197, 187)).max() < 20


def test_what_is_found_without_a_disguise_is_not_found_twice():
    portrait = small_portrait()
    with FaceDetector() as detector, closing(CenterFace()) as network:
        known = detector(portrait)
        assert Disguises(network).in_picture(portrait, known, detector) == known
