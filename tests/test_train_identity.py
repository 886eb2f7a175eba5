"""Distilling a recogniser: the loss falls, a run resumes exactly, and what it writes is what it trained."""

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from models.identity import CompactRecognizer, MobileFaceNet
from models.train_identity import MAX_SHIFT, IdentityTrainConfig, augmented, train
from tests.test_train_linear import write_faces


@pytest.fixture
def config(tmp_path: Path) -> IdentityTrainConfig:
    torch.manual_seed(0)
    torch.save(MobileFaceNet().state_dict(), tmp_path / "teacher.pt")
    write_faces(tmp_path / "faces")
    return IdentityTrainConfig(tmp_path / "faces", tmp_path / "teacher.pt", tmp_path / "run", steps=8, batch=8)


def last(model: CompactRecognizer) -> torch.Tensor:
    return torch.cat([value.flatten() for value in model.parameters()])


def test_a_run_that_was_cut_ends_where_one_that_was_not_does(config: IdentityTrainConfig, tmp_path: Path) -> None:
    whole = [step.model for step in train(config, report_every=4)][-1]
    other = IdentityTrainConfig(config.data, config.teacher, tmp_path / "other", steps=8, batch=8)
    assert [step.step for step in itertools.islice(train(other, report_every=4), 1)] == [4]
    resumed = list(train(other, report_every=4))
    assert [step.step for step in resumed] == [8]
    torch.testing.assert_close(last(resumed[-1].model), last(whole), atol=1e-6, rtol=1e-5)


def test_the_loss_falls(config: IdentityTrainConfig) -> None:
    long = IdentityTrainConfig(config.data, config.teacher, config.run, steps=60, batch=8, warm_up=5)
    losses = [step.loss for step in train(long, report_every=20)]
    assert losses[-1] < losses[0] - 0.2


def test_a_run_writes_the_recogniser_that_it_trained(config: IdentityTrainConfig) -> None:
    trained = list(train(config, report_every=8))[-1].model.eval()
    again = CompactRecognizer().eval()
    again.load_state_dict(load_file(config.run / "identity.safetensors"))
    crops = torch.rand(2, 3, 112, 112) * 2 - 1
    torch.testing.assert_close(again(crops), trained(crops))


def test_augmented_crops_keep_shape_and_range_and_move_a_little() -> None:
    crops = torch.zeros(2, 3, 112, 112)
    crops[:, :, 50:62, 50:62] = 1
    for seed in range(20):
        changed = augmented(crops, np.random.default_rng(seed))
        assert changed.shape == crops.shape
        assert changed.abs().max() <= 1
        bright = changed[0].mean(0) > changed[0].mean(0).median() + 0.2
        rows = bright.nonzero().float().mean(0)
        assert (rows - 55.5).abs().max() <= MAX_SHIFT + 1.5


def test_a_run_of_other_data_is_refused(config: IdentityTrainConfig) -> None:
    list(train(config, report_every=8))
    torch.save(torch.zeros(5, 128), config.run / "targets.pt")
    with pytest.raises(ValueError, match="belongs to other data: 5 faces, not 96"):
        list(train(config))
