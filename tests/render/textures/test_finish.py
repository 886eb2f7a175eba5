"""A drawn face is as soft and as noisy as its frame."""

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from streamer.render.textures import finish, paint
from streamer.render.textures.finisher import STEADY, Finisher

INSIDE = np.ones((120, 120), bool)
WIDTH = float(finish.MOTTLED_WIDTH)  # a face of as many pixels is measured as it is


def picture():
    """A sharp grey picture with edges and flat parts."""
    blocks = np.random.default_rng(1).uniform(60, 190, (12, 12, 1)).astype(np.float32)
    return cv2.resize(blocks, (120, 120), interpolation=cv2.INTER_NEAREST)[..., None].repeat(3, axis=2)


def test_a_soft_frame_gets_a_soft_face():
    sharp, soft = picture(), cv2.GaussianBlur(picture(), (0, 0), 2.0)
    assert finish.measure(sharp, sharp, INSIDE).blur == 0
    assert finish.measure(soft, sharp, INSIDE).blur >= 1.4


@pytest.mark.parametrize("deviation", [3.0, 8.0])
def test_a_noisy_frame_gets_as_much_noise(deviation: float):
    noise = np.random.default_rng(2).normal(0, deviation, (120, 120, 1)).astype(np.float32)
    assert finish.measure(picture() + noise, picture(), INSIDE).grain == pytest.approx(deviation, rel=0.25)


def test_noise_has_the_deviation_that_is_asked_for_and_is_another_every_frame():
    flat = np.full((200, 200, 3), 128, np.float32)
    first, second = (
        finish.apply(flat, flat, finish.Finish(grain=5.0), noise=finish.noise_tiles(), seed=s, start=(0, 0))
        for s in (1, 40_000)
    )
    assert first.std() == pytest.approx(5.0, rel=0.1)
    assert abs(np.corrcoef(first[..., 0].ravel(), second[..., 0].ravel())[0, 1]) < 0.1


def test_a_pale_frame_gets_a_pale_face():
    strong = picture()
    pale = 128 + 0.6 * (strong - 128)
    wanted = finish.measure(pale, strong, INSIDE)
    drawn = finish.apply(strong, np.full_like(strong, 128), wanted, noise=finish.noise_tiles(), seed=1, start=(0, 0))
    assert pale.std() < drawn.std() < 0.85 * strong.std()


def test_rough_skin_gets_pores_that_stay_where_they_are():
    smooth = np.full((200, 200, 3), 128, np.float32)
    grain, pores = finish.noise_tiles()
    rough = smooth + 4.0 * pores[100:300, 50:250, None]
    wanted = finish.measure(rough, smooth, np.ones((200, 200), bool))
    assert 1.0 < wanted.pores < 4.0
    first, later = (
        finish.apply(smooth, smooth, finish.Finish(pores=2.0), noise=(grain, pores), seed=s, start=(-s, s))
        for s in (0, 20)
    )
    np.testing.assert_allclose(first[:100, 40:140], later[20:120, 20:120])
    assert first.std() == pytest.approx(2.0, rel=0.15)


def test_a_black_and_white_frame_gets_a_face_without_hues():
    colourful = picture() * np.array([1.2, 1.0, 0.8], np.float32)
    colourful[40:80, 40:80] *= np.array([1.3, 0.8, 0.8], np.float32)
    grey = picture()
    wanted = finish.measure(grey, colourful, INSIDE)
    assert wanted.hues < 0.05
    drawn = finish.apply(colourful, np.full_like(grey, 128), wanted, noise=finish.noise_tiles(), seed=1, start=(0, 0))
    assert np.ptp(drawn, axis=2).max() < 0.05 * np.ptp(colourful, axis=2).max()
    assert finish.measure(colourful, colourful, INSIDE).hues == 1.0


def test_small_faces_get_no_pores():
    """On a face of a hundred pixels what is as fine are features."""
    smooth = np.full((90, 90, 3), 128, np.float32)
    rough = smooth + 4.0 * finish.noise_tiles()[1][100:190, 50:140, None]
    assert finish.measure(rough, smooth, np.ones((90, 90), bool)).pores == 0


@pytest.mark.parametrize("blur", [1.0, 1.5, 2.0])
def test_as_soft_is_as_soft_whatever_the_contrast(blur: float):
    """A hard shadow across the frame's face does not make it count as sharp."""
    soft = cv2.GaussianBlur(picture(), (0, 0), blur)
    shadowed = soft.copy()
    shadowed[:, 60:] *= 0.4
    shadowed = cv2.GaussianBlur(shadowed, (0, 0), blur)
    for frame in (soft, 128 + 0.5 * (soft - 128), shadowed):
        assert finish.measure(frame, picture(), INSIDE).blur == pytest.approx(blur / finish.SHARPER, rel=0.35)


def test_an_uneven_frame_gets_an_uneven_face_and_an_even_one_does_not():
    """As far as that is missing, in brightness and in hue by themselves, by size, and never a rash."""
    tiles, smooth = finish.mottle_tiles(), np.full((finish.MOTTLED_SIDE,) * 2 + (3,), 128, np.float32)
    inside = np.zeros((finish.MOTTLED_SIDE,) * 2, bool)
    inside[48:208, 48:208] = True  # a face of `MOTTLED_WIDTH`
    skin = np.array([[0.008, 0.0], [0.0, 0.0], [0.0, 0.006]], np.float32)
    uneven = smooth * np.exp(finish.mottles(skin, tiles[:, :, ::-1]))
    missing = finish.missing_mottles(uneven, smooth, inside, WIDTH)
    assert missing.argmax(axis=0).tolist() == [0, 2]
    assert (missing.max(axis=0) > 0.3 * finish.MOTTLED * np.array([0.008, 0.006])).all()
    assert missing[2, 0] < 0.3 * missing[0, 0]
    assert missing[0, 1] < 0.5 * missing[2, 1]
    rash = finish.missing_mottles(smooth * np.exp(finish.mottles(20 * skin, tiles)), smooth, inside, WIDTH)
    assert rash.max(axis=0) == pytest.approx(finish.MOST_MOTTLED)
    made = smooth * np.exp(finish.mottles(missing, tiles))
    assert 0 < finish.missing_mottles(uneven, made, inside, WIDTH).sum() < 0.98 * missing.sum()
    assert finish.missing_mottles(uneven, uneven, inside, WIDTH).max() == 0
    assert finish.missing_mottles(smooth, uneven, inside, WIDTH).max() == 0
    assert finish.missing_mottles(uneven, smooth, np.zeros_like(inside), WIDTH).max() == 0


def test_a_grey_frame_gets_no_red_spots():
    tiles, smooth = finish.mottle_tiles(), np.full((finish.MOTTLED_SIDE,) * 2 + (3,), 128, np.float32)
    grey = smooth * np.exp(finish.mottles(np.array([[0.02, 0.0]] * 3, np.float32), tiles))
    missing = finish.missing_mottles(grey, smooth, np.ones((finish.MOTTLED_SIDE,) * 2, bool), WIDTH)
    assert missing[:, 0].min() > 0.002
    assert missing[:, 1].max() < 1e-4
    assert np.ptp(finish.mottles(missing, tiles), axis=2).max() < 1e-3


def test_of_a_face_that_is_almost_out_of_the_frame_nothing_is_enlarged(monkeypatch: pytest.MonkeyPatch):
    """Two columns of a face of 258 pixels are too little to tell anything, and not to be made as wide as a face."""
    part = np.full((258, 10, 3), 128, np.float32)
    seen = np.zeros((258, 10), bool)
    seen[:, 7:9] = True
    sizes = []
    resize = cv2.resize
    monkeypatch.setattr(cv2, "resize", lambda *a, **k: sizes.append(a[1]) or resize(*a, **k))
    assert (finish.missing_mottles(part, part, seen, 200.0) == 0).all()
    assert (finish.missing_mottles(part, part, np.zeros_like(seen), 200.0) == 0).all()
    assert max((width * height for width, height in sizes), default=0) <= 258 * 10


def canvas(below: npt.NDArray[np.uint8]) -> paint.Canvas:
    """Where a face that fills a frame of its template's size is painted."""
    side = len(below)
    y, x = np.mgrid[:side, :side].astype(np.float32)
    everywhere = np.ones((side, side), bool)
    where = np.stack([x, y], axis=-1)
    nowhere = np.zeros((side, side), np.float32)
    return paint.Canvas((0, 0, side, side), below, everywhere, everywhere, nowhere, where, everywhere, WIDTH, 0.0, side)


def test_a_finished_face_is_as_uneven_at_once_and_goes_along_with_the_frame_little_by_little():
    """Between two looks it stays the same; skin that is even from then on does not jump, and comes to be even."""
    side = finish.MOTTLED_SIDE
    smooth, lit = np.full((side, side, 3), 128, np.float32), np.full((side, side, 3), np.log(136.0), np.float32)
    skin = np.array([[0.03, 0.0]] * 3, np.float32)
    uneven = np.round(smooth * np.exp(finish.mottles(skin, finish.mottle_tiles()))).astype(np.uint8)
    frames = {"uneven": canvas(uneven), "even": canvas(smooth.astype(np.uint8))}
    finisher, still = Finisher(is_mottled=True), Finisher()

    def unevenness(frame: str, seconds: float) -> float:
        """What a mottled finish adds, in grey levels: both have the same grain and pores."""
        made = [one(1, frames[frame], smooth, lit, seconds) for one in (finisher, still)]
        return float((made[0] - made[1]).std())

    first = unevenness("uneven", 0.0)
    assert first > 0.3
    assert unevenness("even", 0.4) == pytest.approx(first, rel=0.1)
    later = [unevenness("even", 0.5 * n) for n in range(1, 16)]
    assert later[0] == pytest.approx(STEADY * first, rel=0.15)
    assert later == sorted(later, reverse=True)
    assert later[-1] == 0
    finisher.reset()
    assert unevenness("even", 0.0) == 0
