"""What is drawn by a network: how often it has to be asked."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from models.linear_refined import LinearRefined
from models.privacy import PrivacyAccountant
from models.registry import load_face_model
from streamer.render.draw import FaceDrawer
from streamer.render.pseudonym import Pseudonyms
from streamer.types import Face, Image, Track


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many crops the network makes each time."""
    counts: list[int] = []
    generate = LinearRefined._generate

    def noted(self: LinearRefined, latents: Tensor) -> Tensor:
        counts.append(len(latents))
        return generate(self, latents)

    monkeypatch.setattr(LinearRefined, "_generate", noted)
    return counts


@pytest.fixture
def drawer() -> FaceDrawer:
    model, device = load_face_model("linear-refined"), torch.device("cpu")
    pseudonyms = Pseudonyms(
        model, device, key=bytes(32), recognizer=None, mechanism=None, accountant=PrivacyAccountant()
    )
    return FaceDrawer(model, device, pseudonyms=pseudonyms)


def test_a_face_that_changes_little_needs_no_network_and_one_in_other_light_or_as_another_does(
    asked: list[int], drawer: FaceDrawer, hopper: Image, face: Face
) -> None:
    tracks = [Track(1, face, 0.0)]

    def drawn(original: Image, seconds: float, beta: float = 0.0) -> Image:
        image = original.copy()
        drawer.draw(image, original, tracks, seconds, beta=beta, fresh=1)
        return image

    first = drawn(hopper, 0.0)
    second = drawn(hopper, 0.04)
    assert asked == [1]
    assert abs(second.astype(int) - first).max() <= 1
    dark = hopper // 2
    third = drawn(dark, 0.4)
    assert asked == [1, 1]
    assert third.mean() < 0.7 * second.mean()
    drawn(dark, 0.44, beta=0.5)
    assert asked == [1, 1, 1]
    drawer.replace([1])
    drawn(dark, 0.48)
    assert asked == [1, 1, 1, 1]
