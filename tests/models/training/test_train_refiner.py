"""Distilling the refiner: it starts from the teacher's channels, comes to draw as the teacher does, resumes exactly."""

import dataclasses
from pathlib import Path

import pytest
import torch
from torch import nn

from models.linear_refined import LinearRefined, LinearRefinedConfig
from models.registry import load_as, load_face_model
from models.training.train_refiner import SHIPPED, RefinerTrainConfig, thinned, train
from tests.models.training.crops import assert_resumes_exactly
from tests.models.training.test_train_linear import SIZE, write_faces

pytestmark = pytest.mark.slow


@pytest.fixture
def teacher(tmp_path: Path) -> LinearRefined:
    """A model whose refiner does something: one that was just made changes no picture."""
    torch.manual_seed(0)
    sizes = LinearRefinedConfig(
        crop_size=SIZE, linear_size=16, components=16, identity_directions=4, strangers=10, widths=(8, 8, 8), detail=8,
        linear_values=3 * 16 * 16,
    )  # fmt: skip
    made = LinearRefined(sizes, load_face_model("linear-refined").template)
    made.inside[:] = True
    made.mean.normal_(std=0.3)
    made.basis[:] = torch.linalg.qr(torch.randn(made.basis.shape[1], 16)).Q.T
    made.deviation.uniform_(1, 4)
    made.strangers.normal_()
    with torch.no_grad():
        made.refiner.to_rgb.weight.normal_(std=0.3)
    made.save(tmp_path / "teacher.safetensors")
    return made


@pytest.fixture
def config(teacher: LinearRefined, tmp_path: Path) -> RefinerTrainConfig:
    write_faces(tmp_path / "faces")
    return RefinerTrainConfig(
        data=(tmp_path / "faces",),
        teacher=tmp_path / "teacher.safetensors",
        run=tmp_path / "run",
        widths=(6, 6, 6),
        detail=4,
        steps=4,
        batch=4,
        report_every=2,
    )


def test_a_run_that_was_cut_ends_bit_for_bit_where_one_that_was_not_does(
    config: RefinerTrainConfig, tmp_path: Path
) -> None:
    assert_resumes_exactly(train, config, tmp_path / "cut")


def test_the_student_comes_to_draw_as_the_teacher_does(config: RefinerTrainConfig) -> None:
    first, *_, last = list(train(dataclasses.replace(config, steps=100, learning_rate=4e-3, report_every=10)))[1:]
    assert last.losses["pixels"] < 0.6 * first.losses["pixels"]
    assert last.losses["edges"] < 0.6 * first.losses["edges"]


def test_a_run_writes_a_thinner_model_with_the_linear_part_of_the_teacher(
    config: RefinerTrainConfig, teacher: LinearRefined
) -> None:
    list(train(config))
    model = load_as(LinearRefined, config.run / SHIPPED)
    assert (model.config.widths, model.config.detail) == ((6, 6, 6), 4)
    rest = {name: value for name, value in teacher.state_dict().items() if not name.startswith("refiner.")}
    assert all(torch.equal(model.state_dict()[name], value) for name, value in rest.items())


def test_as_wide_as_the_teacher_the_student_is_the_teacher(teacher: LinearRefined) -> None:
    same = thinned(teacher, teacher.config.widths, detail=teacher.config.detail)
    picture = torch.randn(2, 3, 16, 16)
    torch.testing.assert_close(same.refiner(picture), teacher.refiner(picture), atol=0, rtol=0)


def test_the_channels_that_are_left_out_are_those_that_do_nothing(teacher: LinearRefined) -> None:
    silent = {"fine": (1, 4), "middle": (0, 5), "coarse": (2, 7)}
    with torch.no_grad():
        for name, module in teacher.refiner.named_modules():
            if not isinstance(module, nn.Conv2d) or name in ("detail", "to_rgb"):
                continue
            stream = {"enter": "fine", "up1": "fine", "up2": "middle", "down1": "middle", "down2": "coarse"}
            channels = silent[stream.get(name) or name.partition(".")[0].partition("_")[0]]
            module.weight[list(channels)] = 0.0
            assert module.bias is not None
            module.bias[list(channels)] = 0.0
    picture = torch.randn(2, 3, 16, 16)
    same = thinned(teacher, (6, 6, 6), detail=8)
    torch.testing.assert_close(same.refiner(picture), teacher.refiner(picture), atol=1e-5, rtol=1e-5)
