"""The drawn face has no seam, and takes nothing from the real one but its light."""

import cv2
import numpy as np
import pytest

from streamer.render import blend
from streamer.render.align import MeshAligner, oval_polygon
from streamer.render.blend import (
    FEATHER,
    FOLD,
    edge,
    fade,
    fade_in,
    fill,
    hide,
    inner_face,
    match_rim,
    paste,
    relight,
    soften,
    without_folds,
)
from streamer.render.conceal import conceal_polygon
from streamer.types import Face, Image
from tests.render.test_align import TEMPLATE, face_of, mesh_at

ALIGNER = MeshAligner(TEMPLATE, 128)
FACE = face_of(mesh_at(180, (150, 150), 0.2))
INSIDE = fill(inner_face(FACE), (0, 0, 300, 300))
TOUCHED = fill(oval_polygon(FACE.mesh, 1.35), (0, 0, 300, 300))


def skin(seed: int = 0) -> Image:
    image = np.full((300, 300, 3), (190, 150, 130), np.float32)
    noise = np.random.default_rng(seed).normal(0, 40, (300, 300, 1))
    return np.clip(image + noise, 0, 255).astype(np.uint8)


def draw(original: Image, crop: Image) -> Image:
    image = original.copy()
    conceal_polygon(image, inner_face(FACE), cover="solid")
    paste(image, original, crop, face=FACE, drawn=FACE, aligner=ALIGNER)
    return image


def crop_of(colour: tuple[int, int, int]) -> Image:
    return np.full((128, 128, 3), colour, np.uint8)


def test_nothing_far_from_the_face_changes() -> None:
    original = skin()
    assert (draw(original, crop_of((0, 255, 0)))[~TOUCHED] == original[~TOUCHED]).all()


def test_a_crop_of_the_same_skin_leaves_no_trace_of_a_seam() -> None:
    original = np.full((300, 300, 3), (190, 150, 130), np.uint8)
    drawn = draw(original, crop_of((190, 150, 130)))
    assert np.abs(drawn.astype(int) - original).max() <= 1


def test_a_crop_of_another_colour_takes_the_colour_of_the_frame() -> None:
    original = np.full((300, 300, 3), (190, 150, 130), np.uint8)
    drawn = draw(original, crop_of((90, 110, 200)))
    assert np.abs(drawn.astype(int) - original)[INSIDE].max() <= 6


def test_the_detail_of_the_real_face_does_not_show() -> None:
    """Two faces that differ only in fine detail become the same picture, but for what passes as light."""
    crop = cv2.resize(skin(5), (128, 128))
    a, b = skin(1), skin(1)
    fine = np.where(np.indices((300, 300)).sum(0) % 2, 40, -40)
    b[INSIDE] = np.clip(128.0 + fine[..., None], 0, 255).astype(np.uint8)[INSIDE]
    a[INSIDE] = 128
    difference = np.abs(draw(a, crop).astype(int) - draw(b, crop))
    assert difference.max() <= 3
    assert np.abs(a.astype(int) - b).max() == 40


def test_the_rim_reads_nothing_of_the_inner_face() -> None:
    patch = np.full((300, 300, 3), 100, np.float32)
    band = fill(oval_polygon(FACE.mesh, 1.2), (0, 0, 300, 300)) & ~INSIDE
    a, b = skin(1).astype(np.float32), skin(1).astype(np.float32)
    b[INSIDE] = 0
    drawn = [match_rim(patch, image, inside=INSIDE, band=band, depth=8.0) for image in (a, b)]
    np.testing.assert_array_equal(*drawn)


def test_the_rim_takes_the_cover_of_a_neighbour_not_the_neighbour() -> None:
    """Outside the face the frame before concealing may hold another face; it changes nothing."""
    a, b = skin(1), skin(1)
    b[~INSIDE] = 255
    drawn = []
    for original in (a, b):
        image = np.full_like(a, 90)
        paste(image, original, crop_of((190, 150, 130)), face=FACE, drawn=FACE, aligner=ALIGNER)
        drawn.append(image)
    np.testing.assert_array_equal(*drawn)


def test_relighting_brings_the_mean_of_each_part_to_the_frame_s() -> None:
    y = np.linspace(60, 200, 120, dtype=np.float32)
    original = np.repeat(np.repeat(y[:, None, None], 120, 1), 3, 2)
    lit = relight(np.full((120, 120, 3), 128, np.uint8), original, mask=np.ones((120, 120), np.float32))
    assert np.abs(lit - original).mean() < 8
    assert lit[:20].mean() < 100 < 160 < lit[-20:].mean()


def test_alpha_is_one_inside_and_falls_smoothly_to_zero() -> None:
    alpha = fade(INSIDE, 10.0)
    assert (alpha[INSIDE] == 1).all()
    assert (alpha[~TOUCHED] == 0).all()
    assert np.abs(np.diff(alpha, axis=0)).max() < 0.25


def test_the_inner_face_is_larger_than_the_oval_of_the_mesh() -> None:
    oval = fill(oval_polygon(FACE.mesh), (0, 0, 300, 300))
    assert INSIDE[oval].all()
    assert INSIDE.sum() > oval.sum()
    assert FEATHER < 0.15


def test_where_nothing_is_drawn_the_cover_takes_the_colours_around_the_face() -> None:
    below = np.full((100, 100, 3), 180, np.float32)
    inside = np.zeros((100, 100), bool)
    inside[20:80, 20:80] = True
    below[inside] = 0
    shown = np.ones((100, 100), np.float32)
    shown[:, 60:] = 0
    hidden = hide(below, inside=inside, shown=shown, depth=15.0)
    np.testing.assert_allclose(hidden[30:70, 65:80], 180, atol=1)
    assert (hidden[inside & (shown == 1)] == 0).all()
    np.testing.assert_array_equal(hidden[~inside], below[~inside])


def test_a_face_that_fills_the_picture_keeps_its_cover() -> None:
    below = np.random.default_rng(0).uniform(0, 255, (40, 40, 3)).astype(np.float32)
    everywhere = np.ones((40, 40), bool)
    hidden = hide(below, inside=everywhere, shown=np.zeros((40, 40), np.float32), depth=9.0)
    np.testing.assert_array_equal(hidden, below)


def test_the_outline_of_what_is_drawn_is_soft_inside_and_does_not_reach_outside() -> None:
    known = np.zeros((20, 40), bool)
    known[:, :20] = True
    soft = edge(known, 4.0)
    assert (soft[:, 20:] == 0).all()
    np.testing.assert_allclose(soft[10, 16:20], [1, 0.75, 0.5, 0.25], atol=0.05)
    assert (soft[:, :16] == 1).all()  # also where the region ends


def test_a_line_of_chance_at_a_fold_takes_the_colours_around_it() -> None:
    x, y = np.meshgrid(np.arange(60, dtype=np.float32), np.arange(60, dtype=np.float32))
    where = np.stack([np.where(x < 30, x, x + 40), y], axis=2)
    patch = np.full((60, 60, 3), 150, np.uint8)
    patch[:, 30] = 0
    known = np.ones((60, 60), bool)
    assert (without_folds(patch, where, known) == 150).all()
    assert without_folds(patch, np.stack([x, y], axis=2), known) is patch


def test_a_face_at_the_border_is_drawn_where_it_is_seen() -> None:
    face = face_of(mesh_at(180, (0, 150)))
    image, original = np.zeros((300, 300, 3), np.uint8), skin()
    paste(image, original, crop_of((190, 150, 130)), face=face, drawn=face, aligner=ALIGNER)
    assert image[150, :60].min() > 0


def test_a_face_outside_the_frame_draws_nothing() -> None:
    image = np.zeros((300, 300, 3), np.uint8)
    face = face_of(mesh_at(180, (-500, 150)))
    paste(image, skin(), crop_of((190, 150, 130)), face=face, drawn=face, aligner=ALIGNER)
    assert (image == 0).all()


def test_a_face_without_a_mesh_has_no_outline() -> None:
    with pytest.raises(ValueError, match="no outline"):
        inner_face(Face(np.zeros(4, np.float32), np.zeros((5, 2), np.float32), None, 1.0))


def test_a_sharp_crop_becomes_about_as_soft_as_the_picture_it_goes_into() -> None:
    sharp = np.random.default_rng(0).integers(0, 256, (128, 128, 3), dtype=np.uint8)
    soft = cv2.GaussianBlur(sharp, (0, 0), 1.5)
    assert 0.5 * detail(soft) < detail(soften(sharp, soft)) < 0.1 * detail(sharp)


def test_a_crop_that_is_softer_than_its_picture_stays_as_it_is() -> None:
    sharp = np.random.default_rng(0).integers(0, 256, (128, 128, 3), dtype=np.uint8)
    soft = cv2.GaussianBlur(sharp, (0, 0), 1.5)
    np.testing.assert_array_equal(soften(soft, sharp), soft)


def detail(crop: Image) -> float:
    middle = crop[32:96, 32:96].astype(np.float32).mean(axis=2)
    return float(np.abs(np.diff(middle, 2, axis=0)).mean())


def test_a_face_that_fades_in_comes_out_of_a_cover_of_itself():
    drawn = np.full_like(skin(), 90)
    crop = np.random.default_rng(0).integers(0, 255, (128, 128, 3), np.uint8)
    paste(drawn, skin(), crop, face=FACE, drawn=FACE, aligner=ALIGNER)
    covered = drawn.copy()
    conceal_polygon(covered, inner_face(FACE), cover="mosaic")
    for opacity in (0.0, 0.5, 1.0):
        image = drawn.copy()
        fade_in(image, FACE, opacity, cover="mosaic")
        difference = np.abs(image - (covered + opacity * (drawn.astype(float) - covered)))
        assert np.percentile(difference, 99.5) <= 1.5  # an oval's edge may fall a pixel beside
    assert np.abs(covered.astype(int) - drawn).max() > 30


def test_a_jump_across_the_crop_is_told_as_pixel_by_pixel():
    values = np.random.default_rng(5)
    where = values.random((9, 7, 2), np.float32) * values.choice([1.0, 30.0], (9, 7, 1), p=(0.9, 0.1)).astype(
        np.float32
    )
    known = values.random((9, 7)) < 0.8
    step = np.zeros((9, 7), np.float32)
    for y, x in np.ndindex(9, 7):
        for down, across in ((1, 0), (0, 1)):
            to = y + down, x + across
            if to[0] < 9 and to[1] < 7 and known[y, x] and known[to]:
                step[y, x] = max(step[y, x], np.abs(where[to] - where[y, x]).max())
    expected = step > FOLD * np.median(step[known])
    assert 0 < expected.sum() < known.sum() / 2
    assert (blend._jumps(where, known) == expected).all()
