"""Training the classifier: the loss falls, a run resumes exactly, what is not known is not learnt."""

import dataclasses
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from models.attributes.attributes import load_attributes
from models.checkpoint_errors import CheckpointError
from models.face_model import ANCESTRIES
from models.identity.recognizer import CompactRecognizer, MobileFaceNet
from models.training.ranks import Draws, Ranks
from models.training.train_attributes import AttributeTrainConfig, AttributeTrainer, read_labels, train
from tests.models.training.crops import assert_resumes_exactly, write_crops

pytestmark = pytest.mark.slow

ALONE = Ranks(0, 1, torch.device("cpu"))
NAN = float("nan")


@pytest.fixture
def config(tmp_path: Path) -> AttributeTrainConfig:
    torch.manual_seed(0)
    save_file(CompactRecognizer().state_dict(), tmp_path / "identity.safetensors")
    known = (f"made/face{n}.png,{n % 2},{10 * n},{ANCESTRIES[n % 4]}" for n in range(8))
    lines = ["file,sex,age,ancestry", *known]
    (tmp_path / "labels.csv").write_text("\n".join(lines))
    return AttributeTrainConfig(
        data=(write_crops(tmp_path / "few.tar", count=8),),
        labels=tmp_path / "labels.csv",
        recognizer=tmp_path / "identity.safetensors",
        run=tmp_path / "run",
        steps=4,
        batch=8,
        report_every=2,
    )


def test_a_run_that_was_cut_ends_bit_for_bit_where_one_that_was_not_does(
    config: AttributeTrainConfig, tmp_path: Path
) -> None:
    assert_resumes_exactly(train, config, tmp_path / "cut")


def test_the_losses_fall(config: AttributeTrainConfig) -> None:
    reports = list(train(dataclasses.replace(config, steps=15, warm_up=3, report_every=5)))[1:]
    assert reports[-1].losses["age"] < reports[0].losses["age"]
    assert reports[-1].losses["skin"] < reports[0].losses["skin"]
    assert reports[-1].losses["ancestry"] < reports[0].losses["ancestry"]


def test_a_run_writes_what_can_be_loaded(config: AttributeTrainConfig) -> None:
    list(train(config))
    average = torch.load(config.run / "state.pt", weights_only=True)["parts"]["average"]
    loaded = load_attributes(config.run / "attributes.safetensors").state_dict()
    torch.testing.assert_close(loaded, dict(average), atol=1e-3, rtol=1e-3)  # stored in half precision


def test_it_begins_as_the_recogniser(config: AttributeTrainConfig) -> None:
    images = torch.zeros(8, 3, 128, 128, dtype=torch.uint8)
    trainer = AttributeTrainer(config, images, torch.zeros(8, 3), ranks=ALONE)
    begun = CompactRecognizer()
    begun.layers[:-3].load_state_dict(trainer.model.whole.trunk.state_dict())
    torch.manual_seed(0)
    torch.testing.assert_close(begun.layers[3].state_dict(), CompactRecognizer().layers[3].state_dict())


def test_what_is_not_known_of_a_face_is_not_learnt(config: AttributeTrainConfig) -> None:
    images = torch.zeros(8, 3, 128, 128, dtype=torch.uint8)
    losses = AttributeTrainer(config, images, torch.full((8, 3), NAN), ranks=ALONE).train_step(
        Draws(ALONE, batch=8, seed=0, step=0)
    )
    assert losses["sex"] == losses["age"] == losses["ancestry"] == 0
    assert losses["skin"] > 0


def test_labels_are_read_by_name_and_may_be_unknown(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("file,sex,age,ancestry\na.png,1,,east asian\nb.png,0,33.5,\n")
    read = read_labels(tmp_path / "labels.csv", ("b.png", "c.png", "a.png"))
    torch.testing.assert_close(read, torch.tensor([[0, 33.5, NAN], [NAN, NAN, NAN], [1, NAN, 2]]), equal_nan=True)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("file,age\na.png,3\n", "expected file,sex,age,ancestry with numbers"),
        ("file,sex,age,ancestry\na.png,male,3,\n", "expected file,sex,age,ancestry with numbers"),
        ("file,sex,age,ancestry\na.png,1,3,roman\n", "one of european, african"),
        ("file,sex,age,ancestry\nother.png,1,3,\n", "names none of the 1 crops, such as a.png"),
    ],
)
def test_labels_that_say_nothing_are_refused(tmp_path: Path, content: str, says: str) -> None:
    (tmp_path / "labels.csv").write_text(content)
    with pytest.raises(ValueError, match=says):
        read_labels(tmp_path / "labels.csv", ("a.png",))


def test_another_recogniser_is_refused(config: AttributeTrainConfig, tmp_path: Path) -> None:
    torch.save(MobileFaceNet().state_dict(), tmp_path / "other.pt")
    with pytest.raises(CheckpointError, match="mobilefacenet; the classifier begins as one of `veil train identity`"):
        next(train(dataclasses.replace(config, recognizer=tmp_path / "other.pt")))
