from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from models.checkpoint import Checkpoint, write_checkpoint
from models.checkpoint_errors import CheckpointError
from models.pretrained.imported import load_recognizer
from streamer.cli.demo import free_portrait
from streamer.errors import SourceError
from streamer.evaluate.attack.inversion import invert, tensor_of
from streamer.evaluate.attack.inverter_training import SHIPPED, InverterTrainConfig, prepared, read_inverter, train
from streamer.evaluate.attack.linear_undo import LinearUndo
from streamer.evaluate.covered.evidence import CROP
from streamer.pipeline.anonymizer import Anonymizer
from streamer.types import Image


def pictures(count: int) -> Image:
    """Return smooth random crops."""
    cells = np.random.default_rng(0).integers(40, 215, (count, 6, 6, 3), np.uint8)
    return np.stack([cv2.resize(one, (CROP, CROP), interpolation=cv2.INTER_CUBIC) for one in cells])


def blurred(crops: Image) -> Image:
    """Return crops with a blurred middle, as a cover leaves them."""
    covered = crops.copy()
    for one in covered:
        one[24:104, 24:104] = cv2.GaussianBlur(one, (0, 0), 8)[24:104, 24:104]
    return covered


@pytest.mark.slow
def test_the_linear_part_undoes_a_blur_of_pictures_that_it_never_saw_and_leaves_the_rest():
    before = pictures(300)
    after = blurred(before)
    undo = LinearUndo(108)  # as many as there are numbers in such a picture
    undo.fit(after[:260], before[:260])
    made, wanted, given = undo(tensor_of(after[260:])), tensor_of(before[260:]), tensor_of(after[260:])
    assert (made - wanted).abs().mean() < 0.7 * (given - wanted).abs().mean()
    assert (made - wanted)[:, :, :8].abs().max() < 0.02


def test_a_linear_part_without_a_rank_returns_what_it_is_given():
    crops = tensor_of(pictures(2))
    assert LinearUndo(0)(crops) is crops


@pytest.mark.slow
def test_what_was_trained_is_read_again_with_the_cover_it_undoes(tmp_path: Path):
    before = pictures(40)
    config = InverterTrainConfig(run=tmp_path, cover="blur_strong", width=4, rank=8, steps=2, batch=4)
    *_, last = train(config, blurred(before), before, load_recognizer("identity"))
    assert last.samples is not None
    cover, inverter = read_inverter(tmp_path / SHIPPED)
    assert (cover, last.step) == ("blur_strong", 2)
    assert invert(inverter, before[:2]).shape == (2, CROP, CROP, 3)


def test_other_weights_are_no_inverter(tmp_path: Path):
    write_checkpoint(Checkpoint("refiner", {}, {}, {"a": torch.zeros(1)}), tmp_path / "x.safetensors")
    with pytest.raises(CheckpointError, match="weights of a refiner"):
        read_inverter(tmp_path / "x.safetensors")


def test_an_unknown_cover_and_too_few_faces_are_refused(tmp_path: Path):
    cv2.imwrite(str(tmp_path / "a.jpg"), cv2.resize(free_portrait(), (120, 150))[..., ::-1])
    covered = Anonymizer.load(mode="cover")

    def ask(cover: str) -> None:
        config = InverterTrainConfig(run=tmp_path / "run", cover=cover)
        prepared([tmp_path], config, covered, most=9, progress=lambda *_: None)

    with pytest.raises(ValueError, match="no cover is called veil"):
        ask("veil")
    with pytest.raises(SourceError, match="found 1"):
        ask("mosaic")
