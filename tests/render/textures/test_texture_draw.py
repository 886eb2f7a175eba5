"""Strangers, textures or a network's: drawn wholly over the face, in its light, behind its hair, and nowhere else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from models.face_model import FaceModel, prepare
from models.privacy import PrivacyAccountant
from models.registry import load_face_model
from models.texture_model import TextureModel
from streamer import Anonymizer
from streamer.cli.demo import Pose, Shot, render_clip
from streamer.faces.detect import FaceDetector
from streamer.faces.fine_mesh import FineMesh
from streamer.render.align import outline
from streamer.render.blend import inner_face
from streamer.render.conceal import conceal_box, conceal_polygon
from streamer.render.pseudonym import Pseudonyms
from streamer.render.textures import texture_draw
from streamer.render.textures.harmonize import change
from streamer.render.textures.painted_draw import PaintedFaceDrawer
from streamer.render.textures.texture_draw import TextureDrawer
from streamer.settings import Settings
from streamer.sources.file_source import open_source
from streamer.types import Face, Floats, Frame, Image, Track
from tests.render.textures.strangers import strangers

KEY = bytes(32)
AnyDrawer = TextureDrawer | PaintedFaceDrawer


@pytest.fixture(scope="module")
def frame(tmp_path_factory: pytest.TempPathFactory) -> Frame:
    path: Path = tmp_path_factory.mktemp("demo") / "clip.mp4"
    pose = (Pose(0.8, 0.56, 0.9),)
    render_clip(path, (Shot(0.1, pose, pose),))
    with open_source(str(path)) as source:
        return next(iter(source))


@pytest.fixture(scope="module")
def face(frame: Frame, detector: FaceDetector) -> Face:
    return max(detector(frame.image), key=lambda face: face.size)


@pytest.fixture(scope="module")
def network() -> Iterator[FineMesh]:
    network = FineMesh()
    yield network
    network.close()


@pytest.fixture(scope="module")
def private_encoder() -> FaceModel:
    return prepare(load_face_model("private-encoder"), "cpu")


@pytest.fixture(params=["textures", "private-encoder"])
def drawer(request: pytest.FixtureRequest, network: FineMesh, private_encoder: FaceModel) -> AnyDrawer:
    device, model = torch.device("cpu"), strangers() if request.param == "textures" else private_encoder
    pseudonyms = Pseudonyms(model, device, key=KEY, recognizer=None, mechanism=None, accountant=PrivacyAccountant())
    if isinstance(model, TextureModel):
        return TextureDrawer(model, device, pseudonyms=pseudonyms, network=network)
    return PaintedFaceDrawer(model, device, pseudonyms=pseudonyms)


def drawn(drawer: AnyDrawer, image: Image, face: Face, *, beta: float = 0.0, covered: Track | None = None) -> Image:
    """The image with its face concealed and a stranger over it."""
    result = image.copy()
    others = [covered] if covered else []
    for other in others:
        conceal_box(result, other.face.box, cover="solid")
    conceal_polygon(result, inner_face(face), cover="mosaic")
    drawer.draw(result, image, [Track(1, face, 0.0)], 0.0, beta=beta, fresh=1, covered=others)
    return result


def mask_of(face: Face, image: Image, *, scale: float = 1.0, indices: tuple[int, ...] | None = None) -> Image:
    """Where the face is, or the hull of some of its points, enlarged."""
    assert face.mesh is not None
    points = outline(face.mesh, 0.0) if indices is None else face.mesh[list(indices), :2]
    hull = cv2.convexHull(points)[:, 0]
    mask = np.zeros(image.shape[:2], np.uint8)
    cv2.fillPoly(mask, [(hull.mean(0) + scale * (hull - hull.mean(0))).astype(np.int32)], 1)
    return mask > 0


def test_the_face_is_drawn_over_and_nothing_around_it_changes(drawer: AnyDrawer, frame: Frame, face: Face):
    result = drawn(drawer, frame.image, face)
    changed = np.abs(result.astype(int) - frame.image).max(axis=2)
    assert np.median(changed[mask_of(face, frame.image, scale=0.8)]) > 4
    outside = ~mask_of(face, frame.image, scale=1.15)
    assert (changed[outside] == 0).all()


def test_no_cover_is_left_around_the_new_face(drawer: AnyDrawer, frame: Frame, face: Face):
    around = np.zeros(frame.image.shape[:2], np.uint8)
    cv2.fillPoly(around, [inner_face(face).astype(np.int32)], 1)
    ring = (around > 0) & ~mask_of(face, frame.image, scale=1.02)
    assert (drawn(drawer, frame.image, face)[ring] == frame.image[ring]).all()


def test_nothing_of_the_persons_skin_is_left_inside(drawer: AnyDrawer, frame: Frame, face: Face):
    """A scar across both cheeks and the nose, which is the person's, leaves no trace but for a breath of light.

    A network, which sees it, draws another face, in which it is a shade: less than half of what it was.
    """
    assert face.mesh is not None
    scarred = frame.image.copy()
    left, right = (face.mesh[n, :2].round().astype(int).tolist() for n in (117, 346))
    cv2.line(scarred, left, right, (90, 30, 30), 3)
    scar = np.abs(scarred.astype(int) - frame.image).max(axis=2) > 20
    beside = cv2.dilate(scar.astype(np.uint8), np.ones((13, 1))) > 0
    beside &= cv2.dilate(scar.astype(np.uint8), np.ones((5, 1))) == 0
    before = drawn(drawer, frame.image, face)
    drawer.reset("clip")
    after = drawn(drawer, scarred, face)
    change, own = after.astype(int) - before, scarred.astype(int) - frame.image
    if isinstance(drawer, TextureDrawer):
        assert np.abs(change).max(axis=2)[scar].mean() < 8
    assert own[scar].mean() < -60
    assert abs(change[scar].mean() - change[beside].mean()) < 0.45 * abs(own[scar].mean())


def test_a_face_that_the_frame_cuts_off_is_drawn_up_to_the_edge(drawer: AnyDrawer, frame: Frame, face: Face):
    """The frame ends in the middle of the face: a scar along that edge leaves no trace."""
    assert face.mesh is not None
    x, top, bottom = face.mesh[[1, 168, 2], [0, 1, 1]].round().astype(int)
    image = np.ascontiguousarray(frame.image[:, x:])
    shift = np.array([x, 0, 0], np.float32)
    cut = Face(face.box - np.tile(shift[:2], 2), face.landmarks - shift[:2], face.mesh - shift, face.score)
    scarred = image.copy()
    scarred[top:bottom, :3] = (90, 30, 30)
    before = drawn(drawer, image, cut)
    drawer.reset("clip")
    after = drawn(drawer, scarred, cut)
    assert np.abs(after.astype(int) - before)[top:bottom, :3].mean() < 20  # of its darkness a little


def test_a_fringe_stays_before_the_face(drawer: AnyDrawer, frame: Frame, face: Face):
    assert face.mesh is not None
    image = frame.image.copy()
    top, brows = face.mesh[10, 1], face.mesh[[105, 334], 1].min()
    forehead = mask_of(face, image, scale=1.3)
    forehead[int(top + 0.5 * (brows - top)) :] = False
    image[forehead] = (25, 18, 15)
    result = drawn(drawer, image, face)
    inside = forehead & mask_of(face, image, scale=0.9)
    inside[int(top + 0.4 * (brows - top)) :] = False
    assert inside.sum() > 50
    assert np.median(np.abs(result[inside].astype(int) - image[inside])) <= 4


def test_a_face_in_the_dark_is_drawn_dark(drawer: AnyDrawer, frame: Frame, face: Face):
    inside = mask_of(face, frame.image, scale=0.8)
    bright = drawn(drawer, frame.image, face)[inside].mean()
    drawer.reset("clip")
    dark = drawn(drawer, (frame.image * 0.3).astype(np.uint8), face)[inside].mean()
    assert dark == pytest.approx(0.3 * bright, rel=0.25)


def test_a_covered_neighbour_does_not_shine_through_the_rim(drawer: AnyDrawer, frame: Frame, face: Face):
    """The other's box reaches over half of the face; in its rim, too, only the cover of that box may be seen."""
    x1, y1, x2, y2 = face.box
    half = np.array([x1, y1, (x1 + x2) / 2, y2], np.float32)
    other = Track(2, Face(half, face.landmarks, None, 1.0), 0.5)
    image = frame.image.copy()
    ring = mask_of(face, image, scale=1.05) & ~mask_of(face, image, scale=0.95)
    ring[:, int(x1 + x2) // 2 :] = False
    image[ring] = (0, 255, 0)  # of the other, whatever it is
    result = drawn(drawer, image, face, covered=other)
    assert not (result[ring] == (0, 255, 0)).all(axis=1).any()


def test_beta_leads_from_the_stranger_to_the_person(drawer: AnyDrawer, frame: Frame, face: Face):
    inside = mask_of(face, frame.image, scale=0.8)
    distances = []
    for beta in (0.0, 0.5, 1.0):
        drawer.reset("clip")
        result = drawn(drawer, frame.image, face, beta=beta)
        distances.append(np.abs(result.astype(int) - frame.image)[inside].mean())
    assert distances[0] > distances[1] > distances[2]
    assert distances[2] < (6 if isinstance(drawer, TextureDrawer) else 30)  # as well as a network knows them


def test_another_stranger_is_drawn_after_one_was_refused(drawer: AnyDrawer, frame: Frame, face: Face):
    first = drawn(drawer, frame.image, face)
    drawer.replace([1])
    second = drawn(drawer, frame.image, face)
    assert np.abs(first.astype(int) - second)[mask_of(face, frame.image, scale=0.8)].mean() > 2


def test_the_pipeline_draws_with_a_model_of_textures(frame: Frame):
    with Anonymizer(strangers(), torch.device("cpu"), Settings(key=KEY)) as anonymizer:
        safe = anonymizer.picture(frame)
    assert [report.tier for report in safe.faces] == ["generated"]


def test_the_harmonizer_leaves_eyes_and_nostrils_alone(
    frame: Frame, face: Face, network: FineMesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def watched(*about: Any, openings: Floats) -> Floats:  # noqa: ANN401 - passed on
        asked.append((about[3], openings))
        return change(*about, openings=openings)

    monkeypatch.setattr(texture_draw, "change", watched)
    device, model = torch.device("cpu"), strangers()
    pseudonyms = Pseudonyms(model, device, key=KEY, recognizer=None, mechanism=None, accountant=PrivacyAccountant())
    drawn(TextureDrawer(model, device, pseudonyms=pseudonyms, network=network), frame.image, face)
    assert face.mesh is not None
    (x1, y1, *_), openings = asked[-1]
    for points, is_open in (((159, 145), True), ((75, 60), True), ((305, 290), True), ((4, 5), False), ((50,), False)):
        x, y = face.mesh[list(points), :2].mean(axis=0) - (x1, y1)
        assert (openings[round(y), round(x)] > 0.5) == is_open, points
