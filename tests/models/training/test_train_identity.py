"""Distilling a recogniser: the loss falls, a run resumes exactly, and what it writes is what it trained."""

import dataclasses
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from models.face_model import DEFAULT_TEMPLATE
from models.identity.recognizer import IDENTITY_LANDMARKS, RERANKER_WIDTHS, CompactRecognizer, MobileFaceNet
from models.pretrained.imported import load_recognizer
from models.training import train_identity
from models.training.fits.shared import shared_directions, without
from models.training.inputs.dataset import open_crops
from models.training.train_identity import CROP_SIZE, IdentityTrainConfig, mirror_embeddings, open_photos, train
from streamer.render.align import umeyama
from tests.models.training.crops import assert_resumes_exactly, calibrated, write_crops
from tests.models.training.test_train_linear import write_faces

pytestmark = pytest.mark.slow


@pytest.fixture
def config(tmp_path: Path) -> IdentityTrainConfig:
    torch.manual_seed(0)
    torch.save(calibrated(MobileFaceNet()).state_dict(), tmp_path / "teacher.pt")
    return IdentityTrainConfig(
        data=(write_crops(tmp_path / "few.tar", count=8),),
        teacher=tmp_path / "teacher.pt",
        run=tmp_path / "run",
        steps=4,
        batch=8,
        report_every=2,
    )


def test_a_run_that_was_cut_ends_bit_for_bit_where_one_that_was_not_does(
    config: IdentityTrainConfig, tmp_path: Path
) -> None:
    assert_resumes_exactly(train, config, tmp_path / "cut")


def test_the_loss_falls(config: IdentityTrainConfig, tmp_path: Path) -> None:
    few = (write_crops(tmp_path / "crops.tar", count=3),)
    long = dataclasses.replace(config, data=few, steps=30, warm_up=3, report_every=10)
    losses = [step.losses["one_minus_cosine"] for step in list(train(long))[1:]]
    assert losses[-1] < losses[0] - 0.2


def test_a_run_writes_the_recogniser_that_it_trained_without_what_strangers_share(config: IdentityTrainConfig) -> None:
    list(train(config))
    trained = CompactRecognizer().eval()
    trained.load_state_dict(torch.load(config.run / "state.pt", weights_only=True)["parts"]["model"])
    photos, _ = open_photos(config.data)
    made = without(shared_directions(mirror_embeddings(photos, trained)), trained)
    half = {name: value.half() for name, value in made.state_dict().items()}
    torch.testing.assert_close(load_file(config.run / "identity.safetensors"), half, atol=2e-4, rtol=0)
    assert isinstance(load_recognizer(config.run / "identity.safetensors"), CompactRecognizer)


def test_a_fine_run_writes_a_wider_one(config: IdentityTrainConfig) -> None:
    list(train(dataclasses.replace(config, fine=True)))
    assert not (config.run / "identity.safetensors").exists()
    shapes = {
        name: value.shape for name, value in load_recognizer(config.run / "reranker.safetensors").state_dict().items()
    }
    assert shapes == {name: value.shape for name, value in CompactRecognizer(RERANKER_WIDTHS).state_dict().items()}


def test_a_fine_run_is_told_what_the_teacher_says_of_the_very_picture(
    config: IdentityTrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train_identity, "as_in_poor_video", lambda crops, draws: torch.zeros_like(crops))
    for fine in (True, False):  # of a blank picture nobody can say who is in the good one
        run = dataclasses.replace(config, run=config.run / str(fine), fine=fine, steps=15, warm_up=3, report_every=5)
        losses = [step.losses["one_minus_cosine"] for step in list(train(run))[1:]]
        assert (losses[-1] < 0.05) is fine


def test_a_face_and_its_mirror_image_have_one_target(config: IdentityTrainConfig) -> None:
    photos = torch.randint(256, (3, 3, 112, 112), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    recognizer = load_recognizer(config.teacher)
    targets = mirror_embeddings(photos, recognizer)
    torch.testing.assert_close(targets, mirror_embeddings(photos.flip(3), recognizer))
    torch.testing.assert_close(targets.norm(dim=1), torch.ones(3))
    crops = photos[:1].float() / 127.5 - 1
    half = recognizer(crops)[0] + recognizer(crops.flip(3))[0]
    torch.testing.assert_close(targets[0], half / half.norm(), atol=1e-5, rtol=0)


def test_crops_of_our_template_are_shown_as_recognisers_want_them(tmp_path: Path) -> None:
    tar = write_crops(tmp_path / "crops.tar", count=2, size=128)
    photos, names = open_photos((tar,))
    assert names == ("made/face0.png", "made/face1.png")
    matrix = umeyama(
        np.array(DEFAULT_TEMPLATE.points, np.float32) * CROP_SIZE, np.array(IDENTITY_LANDMARKS, np.float32)
    )
    crop = open_crops([tar], 128).images[0].permute(1, 2, 0).numpy()
    expected = cv2.warpAffine(crop, matrix, (112, 112), borderMode=cv2.BORDER_REPLICATE)
    difference = np.abs(photos[0].permute(1, 2, 0).numpy().astype(int) - expected)
    assert np.percentile(difference, 99) <= 2  # OpenCV rounds places to a 32nd of a pixel: edges differ more


def test_prepared_folders_and_tars_go_together(tmp_path: Path) -> None:
    write_faces(tmp_path / "faces")
    photos, names = open_photos((tmp_path / "faces", write_crops(tmp_path / "crops.tar", count=3)))
    assert photos.shape == (99, 3, 112, 112)
    assert len(names) == 99
    assert names[-1] == "made/face2.png"


def test_a_run_of_other_data_or_another_teacher_is_refused(config: IdentityTrainConfig, tmp_path: Path) -> None:
    list(train(config))
    other = dataclasses.replace(config, data=(write_crops(tmp_path / "crops.tar"),))
    torch.save(calibrated(MobileFaceNet()).state_dict(), tmp_path / "other.pt")
    for change in (other, dataclasses.replace(config, teacher=tmp_path / "other.pt")):
        with pytest.raises(ValueError, match="belongs to other data or networks; choose another run folder"):
            next(train(change))
