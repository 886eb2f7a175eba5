"""A drawn face is changed where it was drawn, wherever it lies; a network that fails is an error, and a cover."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import matplotlib
import numpy as np
import pytest
import torch

from models.registry import load_face_model
from models.texture_model import TextureModel
from models.unets.harmonizer import HARMONIZED_SIZE, Harmonizer
from streamer import Anonymizer
from streamer.pipeline.renderer import MODEL_FAILED
from streamer.render.align import MeshAligner
from streamer.render.textures import paint
from streamer.render.textures.harmonize import (
    ASKED_SECONDS,
    REACH,
    HarmonyKeeper,
    Shown,
    change,
    crop,
    crop_matrix,
    harmonize,
)
from streamer.types import Face, Floats, Frame, Image

HOPPER = Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"  # US Navy, public domain
CPU = torch.device("cpu")


def adding(value: float) -> Harmonizer:
    """A network that adds `value` to whatever is drawn."""
    network = Harmonizer().eval()
    with torch.no_grad():
        network.to_rgb.weight.zero_()
        network.to_rgb.bias.fill_(value)
    return network


def oval(box: Floats, shape: tuple[int, int]) -> Floats:
    """Where a face in `box` is drawn, `(H, W)`."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    middle, half = (box[:2] + box[2:]) / 2, (box[2:] - box[:2]) / 2
    return ((((x - middle[0]) / half[0]) ** 2 + ((y - middle[1]) / half[1]) ** 2) < 1).astype(np.float32)


def changed(box: Floats, *, value: float = 20 / 127.5) -> tuple[Image, Image, Floats, tuple[int, int, int, int]]:
    """A frame, the same with a face in `box` harmonized, where that was drawn, and in which part."""
    image = np.random.default_rng(0).integers(60, 180, (240, 320, 3), dtype=np.uint8)
    drawn = oval(box, (240, 320))
    rows, columns = (np.flatnonzero(drawn.any(axis=axis)) for axis in (1, 0))
    roi = (int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)
    x1, y1, x2, y2 = roi
    result = image.copy()
    strength = drawn[y1:y2, x1:x2]
    harmonize(result, strength, roi, change(image, box, strength, roi, adding(value), CPU))
    return image, result, drawn, roi


BOXES = {
    "small": (100, 100, 130, 140),
    "large": (60, 20, 230, 220),
    "at the left": (-50, 60, 60, 190),
    "at the upper right": (250, -60, 380, 70),
    "at the bottom": (100, 180, 190, 300),
}


@pytest.mark.parametrize("box", BOXES.values(), ids=BOXES)
def test_all_that_was_drawn_is_changed_and_nothing_beyond_its_part(box: tuple[int, ...]) -> None:
    image, result, drawn, (x1, y1, x2, y2) = changed(np.array(box, np.float32))
    difference = result.astype(int) - image
    reach = np.ones((9, 9), np.uint8)
    inside = cv2.erode(drawn, reach, borderValue=0) > 0  # a pixel of the network's from what is not drawn, or not seen
    far = cv2.dilate(drawn, reach) == 0
    assert inside.sum() > 100
    assert np.abs(difference[inside] - 20).max() <= 1
    assert (difference[far] == 0).all()
    difference[y1:y2, x1:x2] = 0
    assert (difference == 0).all()


def test_what_is_added_stays_within_the_range_of_pixels() -> None:
    _, result, drawn, _ = changed(np.array([100, 60, 200, 180], np.float32), value=3.0)
    assert (result[cv2.erode(drawn, np.ones((9, 9))) > 0] == 255).all()


def test_the_network_sees_the_face_in_the_middle_of_its_surroundings() -> None:
    box = np.array([100, 60, 200, 180], np.float32)
    matrix = crop_matrix(box)
    left, right = (matrix @ (x, 120.0, 1.0) for x in (100.0, 200.0))
    assert left[0] + right[0] == pytest.approx(HARMONIZED_SIZE)
    assert right[0] - left[0] == pytest.approx(HARMONIZED_SIZE * 100 / (2 * REACH * 120), rel=1e-5)
    assert crop(np.ones((240, 320), np.float32), matrix).min() == 1.0
    beyond = crop(np.ones((240, 320), np.float32), crop_matrix(box - 150))
    assert beyond.min() == 0.0  # nothing is drawn outside of the frame
    white = np.full((240, 320, 3), 255, np.uint8)
    assert crop(white, crop_matrix(np.array([-20, -20, 100, 120], np.float32))).min() == 255  # which goes on there


class Striped(Harmonizer):
    """A network that adds 20 grey levels on the left and takes them on the right, in stripes of 15 more and less."""

    def forward(self, pictures: torch.Tensor, drawn: torch.Tensor) -> torch.Tensor:
        columns = torch.arange(HARMONIZED_SIZE)
        stripes = 20.0 * (1 - 2 * (columns >= HARMONIZED_SIZE // 2)) + 15.0 * (1 - 2 * (columns // 2 % 2))
        return drawn * stripes / 127.5 + 0 * pictures


def test_to_a_large_face_nothing_is_added_that_would_be_a_smear() -> None:
    """Stripes of two pixels of the network's stay on a small face, and are blurred on one of three times as many."""
    seen = {}
    for width in (90, 270):
        image = np.full((400, 400, 3), 100, np.uint8)
        box, roi = np.array([60, 40, 60 + width, 40 + width], np.float32), (60, 40, 60 + width, 40 + width)
        drawn = np.ones((width, width), np.float32)
        harmonize(image, drawn, roi, change(image, box, drawn, roi, Striped(), CPU))
        row = image[40 + width // 2, 60 : 60 + width].astype(float)
        seen[width] = row[width // 8 : 3 * width // 8], row[5 * width // 8 : 7 * width // 8]
    assert min(part.std() for part in seen[90]) > 8
    assert max(part.std() for part in seen[270]) < 3
    for left, right in seen.values():
        assert left.mean() == pytest.approx(120, abs=3)
        assert right.mean() == pytest.approx(80, abs=3)


def test_eyes_are_lit_as_the_skin_around_them_and_not_otherwise_changed() -> None:
    image = np.full((240, 320, 3), 100, np.uint8)
    drawn, eyes = np.ones((120, 100), np.float32), np.zeros((120, 100), np.float32)
    eyes[40:60, 10:36] = eyes[40:60, 64:90] = 1.0
    box, roi = np.array([100, 60, 200, 180], np.float32), (100, 60, 200, 180)
    harmonize(image, drawn, roi, change(image, box, drawn, roi, Striped(), CPU, openings=eyes))
    left, right = image[105:115, 114:132].astype(float), image[105:115, 168:186].astype(float)
    assert left.mean() == pytest.approx(120, abs=2)
    assert right.mean() == pytest.approx(80, abs=2)
    assert max(left.std(), right.std()) < 2
    assert image[140:160, 114:132].std() > 8  # skin is striped


@dataclass
class Asked:
    """A network that lightens a cheek of whatever face it is asked about, and how often that was."""

    level: float = 20.0
    times: int = 0

    def about(self, face: Face, canvas: paint.Canvas) -> Floats:
        self.times += 1
        x1, y1, x2, y2 = canvas.roi
        y, x = np.mgrid[y1:y2, x1:x2]
        place = cheek(face)
        spot = np.exp(-((x - place[0]) ** 2 + (y - place[1]) ** 2) / (2 * (0.08 * face.size) ** 2))
        return np.repeat(self.level * spot[..., None], 3, axis=2).astype(np.float32)


def cheek(face: Face) -> Floats:
    assert face.mesh is not None
    return face.mesh[50, :2]


TEMPLATE = np.array(load_face_model("textures").template.points, np.float32)


def face_at(x: float, y: float, scale: float = 160.0) -> Face:
    mesh = np.pad(scale * (TEMPLATE - 0.5) + np.float32([x, y]), ((0, 0), (0, 1))).astype(np.float32)
    box = np.concatenate([mesh[:, :2].min(0), mesh[:, :2].max(0)])
    return Face(box, mesh[[159, 386, 1, 61, 291], :2], mesh, 1.0)


@dataclass
class Stream:
    """Follows one track through a stream of 25 frames a second, as `TextureDrawer` does."""

    network: Asked = field(default_factory=Asked)
    frame: int = -1
    who: tuple[int, float] = (7, 0.0)
    light: float = 4.0
    turn: float = 0.5

    def __post_init__(self) -> None:
        self._aligner = MeshAligner(TEMPLATE, 160)
        self._keeper = HarmonyKeeper(self._aligner)

    def next(self, face: Face, *, frames: int = 1) -> tuple[Floats, Floats]:
        """Return what is added, and the place of its middle in the frame."""
        self.frame += frames
        assert face.mesh is not None
        image = np.zeros((480, 640, 3), np.uint8)
        canvas = paint.canvas(image, face, face.mesh, face, aligner=self._aligner)
        assert canvas is not None
        light = np.full((8, 8, 3), self.light, np.float32)
        about, ask = Shown(self.who, light, self.turn), partial(self.network.about, face, canvas)
        added = self._keeper(1, face, about, canvas, ask, seconds=self.frame / 25)
        weight = added[..., 0] / added[..., 0].sum()
        y, x = np.mgrid[: len(added), : added.shape[1]]
        middle = np.array([(x * weight).sum(), (y * weight).sum()]) + canvas.roi[:2]
        return added, middle.astype(np.float32)


def test_what_was_added_moves_with_the_face_and_the_network_is_asked_now_and_then() -> None:
    stream = Stream()
    for frame in range(25):
        face = face_at(200 + 8 * frame, 220 - 3 * frame, 160 + 2 * frame)
        added, middle = stream.next(face)
        assert added.max() == pytest.approx(20.0, abs=1.0)
        np.testing.assert_allclose(middle, cheek(face), atol=1.5)
    assert stream.network.times == pytest.approx(1 / ASKED_SECONDS, abs=1)


def test_what_the_network_says_anew_is_shown_little_by_little() -> None:
    stream, face = Stream(), face_at(300, 240)
    stream.next(face)
    stream.network.level = 40.0
    levels = [float(stream.next(face)[0].max()) for _ in range(16)]
    assert levels[0] == pytest.approx(20.0, abs=1.0)
    assert levels[-1] == pytest.approx(40.0, abs=2.0)
    assert np.diff(levels).max() < 8.0
    assert np.diff(levels).min() > -0.5


CHANGES = {"stranger": {"who": (8, 0.0)}, "beta": {"who": (7, 0.5)}, "light": {"light": 4.3}, "turn": {"turn": 0.6}}


@pytest.mark.parametrize("values", CHANGES.values(), ids=CHANGES)
def test_another_face_another_light_and_a_turned_head_are_told_and_shown_at_once(values: dict[str, Any]) -> None:
    stream, face = Stream(), face_at(300, 240)
    stream.next(face)
    stream.network.level = 40.0
    for name, value in values.items():
        setattr(stream, name, value)
    assert stream.next(face)[0].max() == pytest.approx(40.0, abs=2.0)
    assert stream.network.times == 2


@pytest.mark.parametrize("frames", [10, -3], ids=["after a gap", "back in time"])
def test_who_was_not_drawn_a_moment_before_is_told_anew(frames: int) -> None:
    stream, face = Stream(frame=10), face_at(300, 240)
    stream.next(face)
    stream.network.level = 40.0
    assert stream.next(face, frames=frames)[0].max() == pytest.approx(40.0, abs=2.0)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_not_finite_are_an_error(value: float) -> None:
    with pytest.raises(FloatingPointError, match="harmonizer"):
        changed(np.array([100, 60, 200, 180], np.float32), value=value)


@pytest.mark.slow
def test_a_face_that_cannot_be_harmonized_is_covered(tmp_path: Path) -> None:
    model = load_face_model("textures")
    assert isinstance(model, TextureModel)
    image = np.ascontiguousarray(cv2.imread(str(HOPPER))[..., ::-1])
    outcomes = []
    for value in (0.0, float("nan")):
        with torch.no_grad():
            model.harmonizer.to_rgb.bias.fill_(value)
        model.save(tmp_path / "textures.safetensors")
        with Anonymizer.load(tmp_path / "textures.safetensors") as anonymizer:
            outcomes.append(anonymizer.picture(Frame(image, index=0, pts=0, time_base=Fraction(1))))
    drawn, covered = outcomes
    assert [face.tier for face in drawn.faces] == ["generated"]
    assert [(face.tier, face.reason) for face in covered.faces] == [("mosaic", MODEL_FAILED)]
