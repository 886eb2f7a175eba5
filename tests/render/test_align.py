"""Crops and the way back."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.face_model import DEFAULT_TEMPLATE
from models.registry import load_face_model
from streamer.render.align import OVAL, MeshAligner, SimilarityAligner, delaunay, grown, outline, thin, umeyama
from streamer.types import Face, Floats

TEMPLATE = np.array(load_face_model("linear-refined").template.points, np.float32)


def face_of(mesh: Floats) -> Face:
    box = np.concatenate([mesh[:, :2].min(0), mesh[:, :2].max(0)])
    return Face(box, mesh[[159, 386, 1, 61, 291], :2], mesh, 1.0)


def mesh_at(scale: float, shift: tuple[float, float], angle: float = 0.0) -> Floats:
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]], np.float32)
    xy = scale * (TEMPLATE - 0.5) @ turn.T + np.float32(shift)
    depth = scale * 0.5 * (TEMPLATE[:, :1] - 0.5) ** 2
    return np.hstack([xy, depth]).astype(np.float32)


def picture(height: int = 240, width: int = 320) -> np.ndarray:
    y, x = np.mgrid[:height, :width].astype(np.float32)
    return np.stack([x * 0.7, y, 128 + 60 * np.sin(x / 17) * np.cos(y / 23)], axis=-1).astype(np.uint8)


@given(
    scale=st.floats(0.1, 10), angle=st.floats(-3, 3), x=st.floats(-50, 50), y=st.floats(-50, 50), seed=st.integers(0, 9)
)
def test_umeyama_recovers_a_known_similarity(scale: float, angle: float, x: float, y: float, seed: int) -> None:
    points = np.random.default_rng(seed).normal(size=(5, 2)).astype(np.float32)
    known = np.array([[np.cos(angle), -np.sin(angle), x], [np.sin(angle), np.cos(angle), y]])
    known[:, :2] *= scale
    moved = (points @ known[:, :2].T + known[:, 2]).astype(np.float32)
    np.testing.assert_allclose(umeyama(points, moved), known, rtol=1e-3, atol=2e-3 * scale + 1e-3)


def test_a_mesh_that_is_the_template_already_is_cut_out_unchanged() -> None:
    image, aligner = picture(), MeshAligner(TEMPLATE, 128)
    mesh = np.pad(TEMPLATE * 128 + np.float32([40, 30]), ((0, 0), (0, 1)))
    crop = aligner.crop(image, face_of(mesh))
    difference = np.abs(crop.astype(int) - image[30:158, 40:168])[aligner.inside]
    assert difference.max() <= 2
    np.testing.assert_array_equal(aligner.whole(image, face_of(mesh)), crop)


@pytest.mark.parametrize("angle", [0.4, -1.2, 3.0])
def test_a_crop_does_not_change_when_picture_and_mesh_turn_together(angle: float) -> None:
    aligner, image = MeshAligner(TEMPLATE, 96), picture()
    upright = mesh_at(110, (160, 120))
    turn = cv2.getRotationMatrix2D((160, 120), np.degrees(angle), 1.0).astype(np.float32)
    turned = upright.copy()
    turned[:, :2] = upright[:, :2] @ turn[:, :2].T + turn[:, 2]
    rotated = cv2.warpAffine(image, turn, (320, 240))
    a, b = aligner.crop(image, face_of(upright)), aligner.crop(rotated, face_of(turned))
    assert np.abs(a.astype(int) - b)[aligner.inside].mean() < 2.5


@pytest.mark.parametrize("scale", [60, 150, 700])
def test_aligning_and_pasting_returns_the_pixels(scale: float) -> None:
    """700 px is drawn at `MAP_SIZE` and enlarged; 60 px is smaller than the crop."""
    aligner = MeshAligner(TEMPLATE, 128)
    mesh = mesh_at(scale, (400, 400), 0.3)
    y, x = np.mgrid[:800, :800].astype(np.float32)
    image = np.stack([x / 800, y / 800, 0 * x], axis=-1) * 255
    crop = aligner.crop(image.astype(np.uint8), face_of(mesh))
    where, inside = aligner.frame_to_crop(face_of(mesh), (0, 0, 800, 800))
    back = cv2.remap(crop, where, None, cv2.INTER_LINEAR)
    oval = np.zeros((800, 800), np.uint8)
    cv2.fillPoly(oval, [np.round(mesh[OVAL, :2]).astype(np.int32)], 1)
    assert inside[oval > 0].mean() > 0.999
    assert np.abs(back - image)[oval > 0].mean() < 2.0


def test_where_a_turned_head_folds_its_mesh_the_nearer_side_is_drawn() -> None:
    aligner = MeshAligner(TEMPLATE, 128)
    mesh = mesh_at(200, (150, 150))
    far = TEMPLATE[:, 0] > 0.5
    mesh[far, 0] = 300 - mesh[far, 0]  # the right half lies behind the left half
    mesh[:, 2] = np.where(far, 100.0, 0.0)
    where, inside = aligner.frame_to_crop(face_of(mesh), (0, 0, 300, 300))
    in_both = np.zeros((300, 300), bool)
    in_both[120:180, 90:130] = True
    assert inside[in_both].all()
    assert (where[in_both][:, 0] < 68).all()


def turned_mesh(yaw: float) -> Floats:
    """Return a mesh on a ball, turned; the image-right half of the face is the far one."""
    x, y = 200 * (TEMPLATE - 0.5).T
    z = -np.sqrt(np.maximum(110**2 - x**2 - (0.8 * y) ** 2, 0))
    across, depth = x * np.cos(yaw) - z * np.sin(yaw), x * np.sin(yaw) + z * np.cos(yaw)
    return np.stack([across + 150, y + 150, depth], axis=1).astype(np.float32)


def test_the_far_side_of_a_turned_head_is_the_mirror_image_of_the_near_one() -> None:
    aligner, mesh = MeshAligner(TEMPLATE, 128), turned_mesh(1.0)
    image = np.full((300, 300, 3), (0, 0, 255), np.uint8)  # behind the head
    cv2.fillPoly(image, [np.round(outline(mesh, 0.01)).astype(np.int32)], (200, 150, 120))
    image[:, :150] = cv2.add(image[:, :150], np.uint8([0, 60, 0, 0]))
    crop = aligner.whole(image, face_of(mesh)).astype(int)
    near, far = crop[55:80, 25:45], crop[55:80, 83:103]
    assert np.abs(far - near[:, ::-1]).max() <= 8
    assert (crop[55:80, 25:103, 2] < 130).all()


def test_the_near_side_of_a_turned_head_is_the_frame_s() -> None:
    aligner, mesh = MeshAligner(TEMPLATE, 128), turned_mesh(1.0)
    image = picture(300, 300)
    crop = aligner.whole(image, face_of(mesh))
    where, inside = aligner.frame_to_crop(face_of(mesh), (0, 0, 300, 300))
    back = cv2.remap(crop, where, None, cv2.INTER_LINEAR)
    near = inside & (where[..., 0] > 20) & (where[..., 0] < 50) & (where[..., 1] > 40) & (where[..., 1] < 90)
    assert near.sum() > 500
    assert np.abs(back.astype(int) - image)[near].mean() < 4


def test_what_faces_away_is_not_drawn() -> None:
    """Of a head in profile only one half of the crop is used."""
    where, inside = MeshAligner(TEMPLATE, 128).frame_to_crop(face_of(turned_mesh(1.5)), (0, 0, 300, 300))
    assert inside.sum() > 3000
    assert (where[inside][:, 0] < 80).mean() > 0.97


def test_small_holes_are_given_to_a_neighbour_and_outlines_stay() -> None:
    owner = np.full((12, 12), -1, np.int32)
    owner[2:10, 2:10] = 7
    owner[5, 5] = -1
    filled, inside = grown(owner)
    assert filled[5, 5] == 7
    assert inside[2:10, 2:10].all()
    assert inside.sum() == 64
    assert filled[1, 1] == 7
    assert filled[0, 0] == -1


def test_the_outline_of_a_profile_holds_the_nose_and_a_margin() -> None:
    mesh = turned_mesh(0.0)
    mesh[1, 0] = mesh[:, 0].max() + 40
    polygon = outline(mesh, 0.05)
    height = np.ptp(mesh[:, :2], axis=0).max()
    assert polygon[:, 0].max() == pytest.approx(mesh[1, 0] + 0.05 * height, abs=0.5)
    assert all(cv2.pointPolygonTest(polygon, (float(x), float(y)), True) > 0.03 * height for x, y, _ in mesh)


def test_a_face_partly_outside_the_picture_is_cut_with_its_edge_repeated() -> None:
    aligner, image = MeshAligner(TEMPLATE, 64), picture()
    face = face_of(mesh_at(100, (5, 120)))
    assert aligner.crop(image, face).shape == (64, 64, 3)
    assert 0.3 < aligner.known(image, face).sum() / aligner.inside.sum() < 0.8


def test_a_face_wholly_outside_the_picture_still_gives_a_crop() -> None:
    aligner = MeshAligner(TEMPLATE, 64)
    assert aligner.crop(picture(), face_of(mesh_at(100, (-400, -400)))).shape == (64, 64, 3)


def test_a_degenerate_mesh_maps_to_finite_places() -> None:
    aligner = MeshAligner(TEMPLATE, 64)
    flat = mesh_at(100, (50, 50))
    flat[:, 0] = 50.0
    where, _ = aligner.frame_to_crop(face_of(flat), (0, 0, 100, 100))
    assert np.isfinite(where).all()


def test_a_mesh_template_needs_a_mesh() -> None:
    face = Face(np.zeros(4, np.float32), np.zeros((5, 2), np.float32), None, 1.0)
    with pytest.raises(ValueError, match="needs a face with a mesh"):
        MeshAligner(TEMPLATE, 64).crop(picture(), face)


def test_triangles_cover_the_ring_once() -> None:
    aligner = MeshAligner(TEMPLATE, 128)
    a, b, c = (aligner.points[aligner.triangles[:, i]] for i in range(3))
    areas = np.abs((b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0]) / 2
    hull = cv2.contourArea(cv2.convexHull(np.ascontiguousarray(aligner.points)))
    assert areas.sum() == pytest.approx(hull, rel=0.01)


def test_delaunay_of_a_square_and_its_centre_is_four_triangles() -> None:
    triangles = delaunay(np.float32([[0, 0], [10, 0], [10, 10], [0, 10], [5, 5]]))
    assert sorted(sorted(t) for t in triangles.tolist()) == [[0, 1, 4], [0, 3, 4], [1, 2, 4], [2, 3, 4]]


def test_thinning_keeps_the_oval() -> None:
    kept = thin(TEMPLATE, 190)
    assert len(set(kept.tolist())) == 190
    assert set(OVAL.tolist()) <= set(kept.tolist())


def test_a_similarity_crop_of_a_face_that_lies_as_in_the_template_is_the_picture() -> None:
    points = np.array(DEFAULT_TEMPLATE.points, np.float32)
    image = picture(200, 200)
    face = Face(np.zeros(4, np.float32), points * 100 + np.float32([50, 40]), None, 1.0)
    aligner = SimilarityAligner(points, 100)
    assert np.abs(aligner.crop(image, face).astype(int) - image[40:140, 50:150]).max() <= 1
    where, inside = aligner.frame_to_crop(face, (40, 40, 60, 60))
    np.testing.assert_allclose(where[0, 10], [0, 0], atol=0.01)
    assert not inside[:, :9].any()
    assert inside[:, 11:].all()


def test_a_large_face_is_cut_to_the_pixel_whatever_lies_far_from_it() -> None:
    points = np.float32([[0.3, 0.4], [0.7, 0.4], [0.5, 0.6], [0.35, 0.8], [0.65, 0.8]])
    slope = np.zeros((300, 300, 3), np.uint8)
    slope[..., 0], slope[..., 1] = np.arange(300) * 0.8 + 0.5, np.arange(300)[:, None] * 0.8 + 0.5
    picture = np.random.default_rng(0).integers(0, 256, (700, 900, 3), np.uint8)
    picture[160:460, 230:530] = slope
    face = Face(np.zeros(4, np.float32), points * 240 + np.float32([260, 190]), None, 1.0)
    crop = SimilarityAligner(points, 80).crop(picture, face)
    # The middle of crop pixel n lies three pixels of the picture further for each n.
    expected = (np.arange(80) * 3 + 30) * 0.8
    np.testing.assert_allclose(crop[..., 0], np.tile(expected, (80, 1)), atol=0.7)
    np.testing.assert_allclose(crop[..., 1], np.tile(expected[:, None], (1, 80)), atol=0.7)


def test_a_large_face_that_leaves_the_picture_still_gives_a_crop() -> None:
    points = np.float32([[0.3, 0.4], [0.7, 0.4], [0.5, 0.6], [0.35, 0.8], [0.65, 0.8]])
    aligner, grey = SimilarityAligner(points, 80), np.full((300, 400, 3), 90, np.uint8)
    for left in np.arange(392, 432, 0.5):
        for place in ([left, 20], [-left + 160, 20], [90, left - 100], [90, -left + 160]):
            face = Face(np.zeros(4, np.float32), points * 240 + np.float32(place), None, 1.0)
            assert (aligner.crop(grey, face) == 90).all()


def test_a_large_face_is_averaged_into_a_similarity_crop_not_sampled() -> None:
    points = np.array(DEFAULT_TEMPLATE.points, np.float32)
    stripes = np.zeros((1000, 1000, 3), np.uint8)
    stripes[:, ::2] = 200
    crop = SimilarityAligner(points, 50).crop(stripes, Face(np.zeros(4, np.float32), points * 1000, None, 1.0))
    assert np.ptp(crop[5:-5, 5:-5].astype(int)) < 20
