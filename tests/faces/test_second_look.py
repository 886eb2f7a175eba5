"""The second opinion: what two unlike networks agree on is a face, what only one sees is doubted or left out."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from streamer.faces.center_face import CenterFace
from streamer.faces.detect import SURE, FaceDetector
from streamer.faces.second_look import LIKE, LYING, MAX_LOOKS, NOTHING, QUARTERS, SURELY, UPRIGHT, VAGUE, SecondLook
from streamer.types import Face, Floats, Image

PATTERN = np.repeat(np.random.default_rng(0).integers(0, 255, (480, 480, 1), np.uint8), 3, axis=2)
SIDE = 480


class Fixed:
    """Stands for the network: has one opinion, and remembers by how much it was asked to turn."""

    def __init__(self, likeness: float) -> None:
        self.value, self.tilts = likeness, list[float]()

    def likeness(self, image: Image, box: Floats, tilt: float = 0.0, *, least: float = 0.0) -> float:
        self.tilts.append(tilt)
        return self.value


class Lying:
    """Stands for the network: finds one likeness in what is upright, and another in what lies on its side."""

    def __init__(self, upright: float, lying: float) -> None:
        self.upright, self.lying = upright, lying

    def likeness(self, image: Image, box: Floats, tilt: float = 0.0, *, least: float = 0.0) -> float:
        return self.lying if tilt == 90.0 else self.upright


@pytest.fixture(scope="module")
def picture() -> Image:
    import matplotlib

    photo = cv2.imread(str(Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"))[:, :, ::-1]
    return np.ascontiguousarray(photo[:SIDE, 24 : 24 + SIDE])


@pytest.fixture(scope="module")
def found(picture: Image, detector: FaceDetector) -> Face:
    return max(detector(picture), key=lambda face: face.size)


@pytest.fixture(scope="module")
def network() -> CenterFace:
    return CenterFace()


@pytest.fixture
def second_look(network: CenterFace) -> SecondLook:
    return SecondLook(network)


def judged(face: Face, likeness: float) -> list[Face]:
    return SecondLook(Fixed(likeness))(PATTERN, [face], known=[], seconds=0.0)  # type: ignore[arg-type]


def turned(picture: Image, face: Face, degrees: float) -> tuple[Image, Face]:
    """Return a picture turned about its middle, and the face in it."""
    turn = cv2.getRotationMatrix2D((SIDE / 2, SIDE / 2), degrees, 1.0)
    landmarks = (face.landmarks @ turn[:, :2].T + turn[:, 2]).astype(np.float32)
    centre = turn[:, :2] @ ((face.box[:2] + face.box[2:]) / 2) + turn[:, 2]
    box = np.concatenate([centre - face.size / 2, centre + face.size / 2]).astype(np.float32)
    image = np.asarray(cv2.warpAffine(picture, turn, (SIDE, SIDE), borderMode=cv2.BORDER_REPLICATE))
    return image, replace(face, box=box, landmarks=landmarks)


@pytest.mark.parametrize("score", [0.35, 0.55])
def test_a_doubted_face_becomes_sure(second_look: SecondLook, picture: Image, found: Face, score: float):
    (face,) = second_look(picture, [replace(found, mesh=None, score=score)], known=[], seconds=0.0)
    assert face.score >= 0.5
    assert face.is_verified


def test_a_pattern_that_one_network_doubts_is_left_out(second_look: SecondLook, found: Face):
    assert second_look(PATTERN, [replace(found, mesh=None, score=0.45)], known=[], seconds=0.0) == []


def test_a_mesh_on_a_pattern_is_left_out(second_look: SecondLook, found: Face):
    assert second_look(PATTERN, [found], known=[], seconds=0.0) == []


def large_beside(face: Face, apart: float) -> Face:
    """Return something doubted, three times as large as a face whose middle is so many of its sizes to the right."""
    (x, y), size = (face.box[:2] + face.box[2:]) / 2, 3 * face.size
    box = np.array([x - apart * size, y, x - apart * size, y]) + np.array([-0.5, -0.5, 0.5, 0.5]) * size
    points = face.landmarks - np.array([apart * size, 0], np.float32)
    return replace(face, box=box.astype(np.float32), landmarks=points.astype(np.float32), mesh=None, score=0.4)


def at_the_right(picture: Image, face: Face) -> tuple[Image, Face]:
    """Return a wide plain picture with a small face at its right, and the face."""
    small, wide = cv2.resize(picture, (120, 120), interpolation=cv2.INTER_AREA), np.full((400, 800, 3), 120, np.uint8)
    wide[140:260, 600:720] = small
    by, to = np.float32(0.25), np.array([600, 140], np.float32)
    assert face.mesh is not None
    mesh = face.mesh * by + np.array([*to, 0], np.float32)
    return wide, replace(face, box=face.box * by + np.tile(to, 2), landmarks=face.landmarks * by + to, mesh=mesh)


def test_a_face_at_the_edge_of_something_doubted_speaks_for_itself_alone(
    second_look: SecondLook, picture: Image, found: Face
):
    wide, face = at_the_right(picture, found)
    doubted = large_beside(face, 0.52)
    (alone,) = second_look(wide, [doubted], known=[], seconds=0.0)
    assert alone.score >= SURE  # with nobody known there it may be that face
    assert sum(f.score >= SURE for f in second_look(wide, [face, doubted], known=[], seconds=9.0)) == 1
    assert [f.score for f in second_look.in_picture(wide, [face, doubted])] == [face.score, 0.4]


def test_a_face_in_the_middle_of_something_doubted_may_be_before_another(
    second_look: SecondLook, picture: Image, found: Face
):
    wide, face = at_the_right(picture, found)
    assert len(second_look(wide, [face, large_beside(face, 0.1)], known=[], seconds=0.0)) == 2


@pytest.mark.parametrize("score", [0.55, 0.9])
def test_what_the_detector_is_sure_of_stays_a_hint_even_on_a_pattern(
    second_look: SecondLook, found: Face, score: float
):
    (face,) = second_look(PATTERN, [replace(found, mesh=None, score=score)], known=[], seconds=0.0)
    assert face.score == 0.49


@pytest.mark.parametrize("degrees", [45, 90, -90])
def test_a_head_that_lies_is_looked_at_upright(second_look: SecondLook, picture: Image, found: Face, degrees: float):
    image, lying = turned(picture, found, degrees)
    (face,) = second_look(image, [replace(lying, mesh=None, score=0.4)], known=[], seconds=0.0)
    assert face.is_verified


@pytest.mark.parametrize("degrees", [90, 135, 180, 225, -90])
@pytest.mark.parametrize("score", [0.35, 0.49, 0.65])
def test_a_head_that_lies_or_hangs_is_known_wherever_the_detector_puts_its_eyes(
    second_look: SecondLook, picture: Image, found: Face, degrees: float, score: float
):
    image, lying = turned(picture, found, degrees)
    upright = lying.box[:2] + (found.landmarks - found.box[:2])
    (face,) = second_look(image, [replace(lying, landmarks=upright, mesh=None, score=score)], known=[], seconds=0.0)
    assert face.score >= 0.5
    assert face.is_verified


def test_what_is_a_little_like_a_face_turned_on_its_side_is_none(found: Face):
    doubted = replace(found, mesh=None, score=0.45)
    assert SecondLook(Lying(0.0, LYING - 0.01))(PATTERN, [doubted], known=[], seconds=0.0) == []  # type: ignore[arg-type]
    (agreed,) = SecondLook(Lying(0.0, LYING))(PATTERN, [doubted], known=[], seconds=0.0)  # type: ignore[arg-type]
    assert agreed.score == 0.5


@pytest.mark.parametrize("degrees", [0, 90, 180])
def test_in_a_picture_a_doubted_head_becomes_sure_however_it_lies(
    second_look: SecondLook, picture: Image, found: Face, degrees: float
):
    image, lying = turned(picture, found, degrees)
    (face,) = second_look.in_picture(image, [replace(lying, mesh=None, score=0.4)])
    assert face.score == 0.5


def test_in_a_picture_nothing_counts_less_for_a_second_look(second_look: SecondLook, found: Face):
    faces = [replace(found, mesh=None, score=score) for score in (0.9, 0.5, 0.4)]
    assert second_look.in_picture(PATTERN, faces) == faces


def test_a_likeness_below_what_is_worth_knowing_is_0_and_any_other_is_exact(
    network: CenterFace, picture: Image, found: Face
):
    assert 0 < network.likeness(PATTERN, found.box) < LIKE
    assert network.likeness(PATTERN, found.box, least=LIKE) == 0
    assert network.likeness(picture, found.box, least=LIKE) == network.likeness(picture, found.box) > LIKE


@pytest.mark.parametrize(("likeness", "has_mesh"), [(LIKE, False), (UPRIGHT, True)])
def test_what_is_like_a_face_as_it_is_is_not_turned(found: Face, likeness: float, has_mesh: bool):
    network, face = Fixed(likeness), found if has_mesh else replace(found, mesh=None)
    SecondLook(network)(PATTERN, [face], known=[], seconds=0.0)  # type: ignore[arg-type]
    assert network.tilts == [0.0]


@pytest.mark.parametrize(("upright", "lying", "is_kept"), [(0.5, 0.7, False), (0.5, 0.55, True), (0.75, 0.9, True)])
def test_a_mesh_on_a_head_that_is_clearly_more_like_one_when_it_is_turned_is_not_drawn_on(
    found: Face, upright: float, lying: float, is_kept: bool
):
    look = SecondLook(Lying(upright, lying))  # type: ignore[arg-type]
    (face,) = look(PATTERN, [found], known=[], seconds=0.0)
    assert face.is_verified
    assert (face.mesh is not None) is is_kept
    (still,) = look(PATTERN, [found], known=[face], seconds=0.9)
    assert (still.mesh is not None) is is_kept
    (picture,) = look.in_picture(PATTERN, [found])
    assert (picture.mesh is not None) is is_kept


def test_a_head_that_hung_is_drawn_on_once_it_is_upright(found: Face):
    network = Lying(0.5, 0.8)
    look = SecondLook(network)  # type: ignore[arg-type]
    hung = [look(PATTERN, [found], known=[found] if seconds else [], seconds=seconds)[0] for seconds in (0.0, 0.9, 1.8)]
    assert [face.mesh for face in hung] == [None] * 3
    network.upright = 0.9
    after = [look(PATTERN, [found], known=[found], seconds=seconds)[0] for seconds in (2.0, 2.9)]
    assert [face.mesh is None for face in after] == [True, False]


@pytest.mark.parametrize(("score", "size", "is_kept"), [(0.45, 360, False), (0.9, 360, True), (0.35, 400, True)])
def test_nothing_is_held_against_a_face_that_the_border_cuts_if_it_is_sure_or_fills_the_picture(
    found: Face, score: float, size: int, is_kept: bool
):
    inside, cut = (replace(found, box=np.array([x, x, x + size, x + size], np.float32), score=score) for x in (40, -60))
    assert judged(inside, 0.0) == []
    look = SecondLook(Fixed(0.0))  # type: ignore[arg-type]
    for seconds in (0.0, 0.1):
        assert look(PATTERN, [cut], known=[], seconds=seconds) == ([cut] if is_kept else [])


def test_a_mesh_on_a_head_that_hangs_upside_down_is_no_mistake(second_look: SecondLook, picture: Image, found: Face):
    image, hanging = turned(picture, found, 180)
    upright = replace(hanging, landmarks=found.landmarks)  # the mesh model does not notice
    (face,) = second_look(image, [upright], known=[], seconds=0.0)
    assert face.is_verified


def test_a_face_over_the_border_of_the_picture_is_known(second_look: SecondLook, picture: Image, found: Face):
    left = int(found.box[0] + 0.4 * found.size)
    shift = np.tile(np.array([left, 0], np.float32), 2)
    cut = replace(found, box=found.box - shift, landmarks=found.landmarks - shift[:2], mesh=None, score=0.4)
    (face,) = second_look(np.ascontiguousarray(picture[:, left:]), [cut], known=[], seconds=0.0)
    assert face.score >= 0.4


def test_a_box_whose_middle_is_outside_of_the_picture_is_no_error(second_look: SecondLook, found: Face):
    outside = replace(found, box=found.box + 2 * SIDE, score=0.9)
    assert len(second_look(PATTERN, [outside], known=[], seconds=0.0)) <= 1


def test_where_a_face_is_known_nobody_looks_again(found: Face):
    network = Fixed(0.0)
    moved = replace(found, box=found.box + 0.2 * found.size)
    weak = replace(found, mesh=None, score=0.31)
    assert SecondLook(network)(PATTERN, [weak], known=[moved], seconds=0.0) == [weak]  # type: ignore[arg-type]
    assert network.tilts == []


def test_there_is_an_end_to_looking_and_what_is_left_stays_as_it_is(found: Face):
    network = Fixed(0.0)
    boxes = [np.array([n, n, n + 30, n + 30], np.float32) for n in range(0, 45 * (MAX_LOOKS + 1), 45)]
    faces = [replace(found, box=box) for box in boxes]
    kept = SecondLook(network)(PATTERN, faces, known=[], seconds=0.0)  # type: ignore[arg-type]
    assert network.tilts == [0.0, *QUARTERS] * MAX_LOOKS
    assert kept == faces[MAX_LOOKS:]


def test_the_less_it_is_like_a_face_the_less_it_counts(found: Face):
    doubted = replace(found, mesh=None, score=0.55)
    assert judged(replace(doubted, score=0.45), NOTHING - 0.01) == []
    (hint,), (as_it_was,), (agreed,) = (judged(doubted, at) for at in (NOTHING, VAGUE, LIKE))
    assert (hint.score, hint.is_verified) == (0.49, False)
    assert as_it_was == doubted
    (glimpsed,) = judged(replace(doubted, score=0.9), NOTHING)
    assert 0.5 <= glimpsed.score < 0.7
    assert (agreed.score, agreed.is_verified) == (0.55, True)


def test_a_weak_detection_is_verified_only_by_a_strong_likeness(found: Face):
    weak = replace(found, mesh=None, score=0.31)
    (sure,), (verified,) = judged(weak, LIKE), judged(weak, SURELY)
    assert (sure.score, sure.is_verified) == (0.5, False)
    assert (verified.score, verified.is_verified) == (0.5, True)


def test_a_pattern_is_not_looked_at_again_at_once_but_soon(found: Face):
    network = Fixed(0.0)
    look, pattern = SecondLook(network), replace(found, mesh=None, score=0.4)  # type: ignore[arg-type]
    looks = []
    for seconds in (0.0, 0.1, 0.15, 0.2, 0.3):
        assert look(PATTERN, [pattern], known=[], seconds=seconds) == []
        looks.append(network.tilts.count(0.0))
    assert looks == [1, 1, 1, 2, 2]


def test_what_is_no_head_that_lies_is_not_turned_again_at_once_but_soon(found: Face):
    network = Fixed(VAGUE)
    look, pattern = SecondLook(network), replace(found, mesh=None, score=0.6)  # type: ignore[arg-type]
    for seconds in (0.0, 0.1, 0.15, 0.2, 0.3):
        look(PATTERN, [pattern], known=[], seconds=seconds)
    assert (network.tilts.count(0.0), network.tilts.count(180.0)) == (5, 2)


@pytest.mark.parametrize("better", [{"score": 0.55}, {"box": np.array([5, 5, 100, 100], np.float32)}])
def test_where_there_was_nothing_a_better_detection_or_one_beside_it_is_looked_at(found: Face, better: dict[str, Any]):
    network = Fixed(0.0)
    look, pattern = SecondLook(network), replace(found, mesh=None, score=0.4)  # type: ignore[arg-type]
    for seconds, face in ((0.0, pattern), (0.1, replace(pattern, **better))):
        look(PATTERN, [face], known=[], seconds=seconds)
    assert network.tilts.count(0.0) == 2
