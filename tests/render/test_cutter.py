"""What a model is shown in use is what it was trained on: as its template says, face alone, in even light."""

import dataclasses
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal

import cv2
import matplotlib
import numpy as np
import pytest
import torch
from torch import Tensor

from models.face_model import FaceModel, Template
from models.privacy import PrivacyAccountant
from models.registry import load_face_model
from models.training.inputs.dataset import open_crops
from streamer.render.align import oval_polygon
from streamer.render.cutter import crop_cutter, face_alone, filled, flattened
from streamer.render.draw import FaceDrawer
from streamer.render.pseudonym import Pseudonyms
from streamer.training.extract import extract_crops
from streamer.types import Face, Frame, Image, Track

HOPPER = Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"


@dataclass(frozen=True)
class Nothing:
    """No sizes."""


class Onlooker(FaceModel):
    """Remembers the crops that it is shown, and draws them as they are."""

    kind = "onlooker"
    crop_size = 64

    def __init__(self, template: Template) -> None:
        super().__init__(Nothing(), template)
        self.shown = torch.zeros(0)

    def _encode(self, crops: Tensor, beta: Tensor, pseudonyms: Tensor) -> Tensor:
        self.shown = crops
        return crops.flatten(2)

    def _generate(self, latents: Tensor) -> Tensor:
        return latents.view(-1, 3, 64, 64)


@pytest.fixture(scope="module")
def portrait(hopper: Image, face: Face) -> tuple[Image, Face]:
    return hopper, face


@pytest.mark.parametrize(("around", "light"), [("kept", "kept"), ("filled", "kept"), ("filled", "even")])
def test_the_network_sees_a_face_as_in_training(
    tmp_path: Path,
    portrait: tuple[Image, Face],
    around: Literal["kept", "filled"],
    light: Literal["kept", "even"],
) -> None:
    image, face = portrait
    template = dataclasses.replace(load_face_model("linear-refined").template, around=around, light=light)
    frame = Frame(image, index=0, pts=0, time_base=Fraction(1))
    assert list(extract_crops([("a", frame)], tmp_path / "crops.tar", template=template, crop_size=64)) == [1]
    stored = open_crops([tmp_path / "crops.tar"], 64)
    assert stored.template == template
    model, device = Onlooker(template), torch.device("cpu")
    pseudonyms = Pseudonyms(
        model, device, key=bytes(32), recognizer=None, mechanism=None, accountant=PrivacyAccountant()
    )
    drawer = FaceDrawer(model, device, pseudonyms=pseudonyms)
    drawer.draw(image.copy(), image, [Track(1, face, 0.0)], 0.0, beta=0.0, fresh=1)
    trained = stored.images[0].float() / 127.5 - 1
    assert (model.shown[0] - trained).abs().mean() < 0.03  # what WebP loses
    kept = dataclasses.replace(template, around="kept", light="kept")
    plain = torch.from_numpy(crop_cutter(kept, 64)(image, face).copy()).permute(2, 0, 1).float() / 127.5 - 1
    assert ((model.shown[0] - plain).abs().mean() > 0.05) == (template != kept)


def test_what_is_unknown_takes_the_colours_nearest_to_it() -> None:
    crop = np.zeros((16, 16, 3), np.uint8)
    crop[:, :4], crop[:, 4:8] = (200, 0, 0), (0, 0, 200)
    known = np.zeros((16, 16), bool)
    known[:, :8] = True
    made = filled(crop, known)
    assert (made[known] == crop[known]).all()
    assert (made[:, 9] == (0, 0, 200)).mean() > 0.3
    assert (made[:, 8:].astype(int).sum(axis=2) > 150).all()


def test_even_light_is_alike_on_both_sides_and_keeps_fine_detail() -> None:
    rng = np.random.default_rng(0)
    detail = rng.integers(-20, 20, (64, 64, 1))
    side = np.linspace(60, 180, 64)[None, :, None]
    crop = np.clip(np.repeat(side + detail, 3, axis=2), 0, 255).astype(np.uint8)
    even = flattened(crop, np.ones((64, 64), bool)).astype(float)
    assert abs(crop[:, :32].mean() - crop[:, 32:].mean()) > 50
    assert abs(even[:, :32].mean() - even[:, 32:].mean()) < 4
    fine = even - cv2.GaussianBlur(even, (0, 0), 3)
    was = crop.astype(float) - cv2.GaussianBlur(crop.astype(float), (0, 0), 3)
    assert np.corrcoef(fine[8:-8, 8:-8].ravel(), was[8:-8, 8:-8].ravel())[0, 1] > 0.95


def test_a_face_alone_fills_its_crop_and_is_whole() -> None:
    template = face_alone(load_face_model("linear-refined").template, light="even")
    assert (template.kind, template.around, template.light) == ("mesh", "filled", "even")
    oval = oval_polygon(template.crop_points(1))
    assert 0.0 < oval.min() < 0.04
    assert 0.96 < oval.max() < 1.0
