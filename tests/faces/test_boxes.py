"""Which of the boxes that were seen are faces, and where a large frame is searched."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamer.cli.demo import SHOTS, _background, _images, free_portrait
from streamer.faces import detect
from streamer.faces.detect import (
    Candidate,
    FaceDetector,
    drop_nested,
    judged_large,
    non_max_suppression,
    overlaps,
)
from streamer.faces.looks import tiles
from streamer.types import Face, Floats, Image
from tests.faces.placed import place, sure

# Boxes


def candidate(*box: float, score: float = 0.9) -> Candidate:
    return Candidate(np.array(box, np.float32), np.zeros((6, 2), np.float32), score)


def test_of_two_boxes_on_one_face_the_better_stays():
    worse, better = candidate(0, 0, 100, 100, score=0.6), candidate(10, 10, 110, 110, score=0.8)
    assert non_max_suppression([worse, better]) == [better]


def test_part_of_a_face_at_the_border_of_a_tile_is_not_another_face():
    whole, part = candidate(0, 0, 100, 100), candidate(70, 0, 120, 100, score=0.8)
    assert non_max_suppression([part, whole]) == [whole, part]  # 30 of 50 inside: another face, maybe
    part = candidate(60, 0, 110, 100, score=0.8)
    assert non_max_suppression([part, whole]) == [whole]  # 40 of 50


def test_neighbours_that_overlap_a_little_are_two_faces():
    left, right = candidate(0, 0, 100, 100), candidate(60, 20, 160, 120, score=0.8)
    assert non_max_suppression([left, right]) == [left, right]


def test_no_candidates_are_no_faces():
    assert non_max_suppression([]) == []


def at(box: Floats, points: Floats, score: float) -> Candidate:
    return Candidate(np.array(box, np.float32), np.array([*points, (0, 0), (0, 0)], np.float32), score)


def test_a_box_that_gives_way_to_a_better_one_is_hidden_if_it_may_be_another_face():
    eyes_nose_mouth = np.array([(30, 40), (70, 40), (50, 60), (50, 80)])
    whole = at((0, 0, 100, 100), eyes_nose_mouth, 0.9)
    same = at((5, 5, 105, 105), eyes_nose_mouth + 5, 0.8)
    inner = at((50, 50, 90, 90), 50 + 0.4 * eyes_nose_mouth, 0.7)
    assert [c.hides for c in non_max_suppression([whole, same])] == [False]
    assert [c.hides for c in non_max_suppression([whole, same, inner])] == [True]
    beside = at((200, 0, 300, 100), eyes_nose_mouth + np.array([200, 0]), 0.95)
    assert [c.hides for c in non_max_suppression([whole, inner, beside])] == [False, True]


def test_a_sure_face_that_fills_the_frame_stays_beside_a_better_one_that_is_made_out_in_it():
    eyes_nose_mouth = np.array([[30, 40], [70, 40], [50, 60], [50, 80]], np.float32)
    part = Candidate(np.array([150, 150, 250, 250], np.float32), 150 + eyes_nose_mouth, 0.9)
    whole = Candidate(np.array([0, 0, 400, 400], np.float32), 4 * eyes_nose_mouth, 0.5)
    doubted = replace(whole, score=0.49)
    assert [c.score for c in non_max_suppression([part, whole], 400.0)] == [0.9, 0.5]
    assert [(c.score, c.hides) for c in non_max_suppression([part, whole], 401.0)] == [(0.9, True)]
    assert [(c.score, c.hides) for c in non_max_suppression([part, doubted], 400.0)] == [(0.9, True)]


def test_a_face_inside_the_oval_of_another_is_hidden_unless_it_is_that_face():
    whole, inner = face(100, 100, 50), face(110, 100, 20)
    assert [found.hides for found in drop_nested([whole, inner])] == [False]  # the same landmarks
    other = replace(inner, landmarks=inner.landmarks + 20)
    beside = face(300, 100, 50)
    assert [found.hides for found in drop_nested([other, beside, whole])] == [False, True]


def test_two_certain_faces_cheek_to_cheek_are_two():
    one, other = face(100, 100, 50), face(132, 100, 40)
    other = replace(other, landmarks=one.landmarks + 50)
    assert drop_nested([one, other]) == [one, other]
    small = replace(face(125, 100, 30), landmarks=other.landmarks)
    less = [small, replace(other, score=0.6), replace(other, mesh=None)]
    for part in (*less, replace(other, landmarks=one.landmarks)):
        assert [found.size for found in drop_nested([one, part])] == [one.size]


# Parts of faces


def face(x: float, y: float, radius: float, *, score: float = 0.9, mesh: bool = True) -> Face:
    """A round face; without mesh its box is as large."""
    angles = np.linspace(0, 2 * np.pi, len(detect.FACE), endpoint=False)
    points = np.full((468, 3), (x, y, 0), np.float32)
    points[detect.FACE, :2] += radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    box = np.array([x - radius, y - radius, x + radius, y + radius], np.float32)
    return Face(box, np.zeros((5, 2), np.float32), points if mesh else None, score)


@pytest.mark.parametrize("frame", [17, 18, 20])  # the left lens of the spectacles and what is beside it
def test_the_demo_shows_one_face_and_not_an_eye_as_another(detector: FaceDetector, frame: int):
    image = next(itertools.islice(_images(free_portrait(), _background(), SHOTS), frame, None))
    assert len(sure(detector(image))) == 1


def test_a_part_of_a_face_with_a_mesh_of_its_own_is_left_out_even_if_its_score_is_better():
    whole, part = face(100, 100, 50), face(130, 100, 22, score=1.0)  # all but a sliver inside
    assert drop_nested([part, whole]) == [whole]


def test_neighbours_whose_ovals_overlap_less_than_half_are_both_kept_in_order():
    # Two equal circles share .391 of each at a distance of one radius, .505 at .8: 2 acos(d/2) - d/2 sqrt(4 - d^2).
    front, behind = face(100, 100, 50), face(150, 100, 50, score=0.95)
    assert drop_nested([behind, front]) == [behind, front]
    assert len(drop_nested([front, face(140, 100, 50)])) == 1


def test_a_doubted_face_takes_no_sure_ones_place():
    sure_face, doubted = face(100, 100, 30), face(100, 100, 50, score=0.4)
    assert any(kept is sure_face for kept in drop_nested([doubted, sure_face]))


def test_a_box_without_mesh_is_a_part_only_when_it_lies_inside_the_oval():
    whole = face(100, 100, 50)
    eye, beside = face(120, 90, 20, mesh=False), face(160, 100, 30, mesh=False)
    assert drop_nested([whole, eye, beside]) == [whole, beside]


def test_a_box_without_mesh_takes_no_face_away():
    """Two people side by side: the loose box of one reaches over the face of the other."""
    loose = face(100, 100, 80, mesh=False)
    for child in (face(120, 100, 20, score=0.6), face(120, 100, 20, mesh=False)):
        assert drop_nested([loose, child]) == [loose, child]


# Large faces are easy


@pytest.mark.parametrize(
    ("detected", "presence", "score"),
    [
        (0.55, 0.0, 0.49),  # half the scene, without a mesh
        (0.35, 0.0, 0.35),
        (0.40, 0.98, 0.40),  # the mesh sees a face in blurred leaves
        (0.55, 0.98, 0.98),
        (0.75, 0.0, 0.75),  # a profile
        (0.75, 0.9, 0.9),
    ],
)
def test_a_large_face_is_sure_when_the_detector_is_certain_or_both_models_are_sure(
    detected: float, presence: float, score: float
):
    assert judged_large(detected, presence) == score


def test_a_doubted_face_is_sure_only_where_it_is_small(
    detector: FaceDetector, hopper: Image, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(detect, "MESH_PRESENCE", 1.1)  # no mesh fits
    monkeypatch.setattr(detect, "CERTAIN", 1.1)
    assert sure(detector(hopper)) == []
    small = place(cv2.resize(hopper, (128, 150), interpolation=cv2.INTER_AREA), width=640, height=480, at=(300, 200))
    assert len(sure(detector(small))) == 1


corners = st.tuples(st.integers(0, 20), st.integers(0, 20), st.integers(1, 12), st.integers(1, 12))


@given(one=corners, others=st.lists(corners, max_size=4))
def test_overlaps_count_pixels(one: tuple[int, ...], others: list[tuple[int, ...]]):
    def pixels(x: int, y: int, width: int, height: int) -> set[tuple[int, int]]:
        return {(i, j) for i in range(x, x + width) for j in range(y, y + height)}

    def box(x: int, y: int, width: int, height: int) -> list[int]:
        return [x, y, x + width, y + height]

    boxes = np.array([box(*other) for other in others], np.float32).reshape(-1, 4)
    ious, shares = overlaps(np.array(box(*one), np.float32), boxes)
    for other, iou, share in zip(others, ious, shares, strict=True):
        a, b = pixels(*one), pixels(*other)
        assert iou == pytest.approx(len(a & b) / len(a | b))
        assert share == pytest.approx(len(a & b) / min(len(a), len(b)))


# Tiles


@given(st.integers(1, 5000), st.integers(1, 5000), st.integers(1, 20))
def test_tiles_cover_a_large_frame_within_the_budget(width: int, height: int, max_tiles: int):
    found = tiles(width, height, max_tiles=max_tiles)
    assert len(found) <= max_tiles
    assert all(0 <= x1 < x2 <= width and 0 <= y1 < y2 <= height for x1, y1, x2, y2 in found)
    for axis, length in ((0, width), (1, height)) if found else ():
        spans = sorted({(tile[axis], tile[axis + 2]) for tile in found})
        assert spans[0][0] == 0
        assert max(end for _, end in spans) == length
        least = 0.2 * (spans[0][1] - spans[0][0]) - 1  # a pixel of rounding; what is smaller is whole in some tile
        assert all(end - start >= least for (_, end), (start, _) in itertools.pairwise(spans))
    assert len(found) == len({x1 for x1, *_ in found}) * len({y1 for _, y1, *_ in found})


@pytest.mark.parametrize(("width", "height"), [(1024, 1024), (1100, 1000), (1920, 1080), (8000, 1000)])
def test_a_large_frame_has_tiles_smaller_than_itself(width: int, height: int):
    for x1, y1, x2, y2 in tiles(width, height, max_tiles=8):
        assert (x2 - x1) * (y2 - y1) < width * height


def test_a_small_frame_has_no_tiles_and_a_large_one_has_few():
    assert tiles(640, 480, max_tiles=8) == []
    assert tiles(1280, 720, max_tiles=8) == [(0, 0, 720, 720), (560, 0, 1280, 720)]
    assert len(tiles(1920, 1080, max_tiles=8)) == 8


@pytest.mark.parametrize(("width", "height", "inputs"), [(640, 480, 1), (1280, 720, 3), (1920, 1080, 8)])
def test_full_range_sees_the_whole_frame_only_where_there_are_few_tiles(
    detector: FaceDetector, monkeypatch: pytest.MonkeyPatch, width: int, height: int, inputs: int
):
    shapes = []

    def run(images: Iterable[tuple[str, Image]]) -> dict[tuple[str, int], object]:
        shapes.extend((stream, image.shape) for stream, image in images)
        return {}

    with detector._running() as networks:
        monkeypatch.setattr(networks, "run", run)
    assert detector(np.zeros((height, width, 3), np.uint8)) == []
    assert [shape for stream, shape in shapes if stream == "short"] == [
        (round(192 * height / width), 192, 3),
        (round(112 * height / width) + 80, 192, 3),
    ]
    assert sum(stream.startswith("full") for stream, _ in shapes) == inputs


def test_a_detector_without_tiles_is_refused():
    with pytest.raises(ValueError, match="max_tiles must be at least 1, got 0"):
        FaceDetector(max_tiles=0)
