"""The border every front end uses: shapes, ranges, and a file that rebuilds its model. With the paper's network."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from models.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from models.checkpoint_errors import CheckpointError
from models.face_model import DEFAULT_TEMPLATE, FaceModel, Template, prepare
from models.linear_refined import LinearRefined
from models.private_encoder.encoder import EncoderConfig
from models.private_encoder.generator import GeneratorConfig
from models.private_encoder.private_encoder import PrivateEncoder, PrivateEncoderConfig
from models.registry import load_as, load_face_model

ENCODER = EncoderConfig(input_size=32, latents=10, latent_size=8, stage_blocks=(1, 1, 1, 1), width=16)
GENERATOR = GeneratorConfig(resolution=64, latent_size=8, mapping_layers=1, channel_base=256, channel_max=4)
MESH = Template("mesh", tuple((index / 468, 0.5) for index in range(468)))


def random_crops(count: int) -> Tensor:
    return torch.rand(count, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1


def zeros(count: int) -> Tensor:
    return torch.zeros(count, dtype=torch.int64)


def new_model(template: Template = DEFAULT_TEMPLATE) -> PrivateEncoder:
    torch.manual_seed(0)
    return PrivateEncoder(PrivateEncoderConfig(ENCODER, GENERATOR), template).eval()


@pytest.fixture(scope="module")
def model() -> PrivateEncoder:
    return new_model().requires_grad_(False)


@pytest.fixture
def saved(tmp_path: Path, model: PrivateEncoder) -> Path:
    path = tmp_path / "model.safetensors"
    model.save(path)
    return path


def rewritten(path: Path, **changed: object) -> None:
    """Write the checkpoint at `path` again with some of its parts replaced."""
    write_checkpoint(Checkpoint(**{**vars(read_checkpoint(path)), **changed}), path)


def test_a_crop_goes_in_and_a_crop_of_the_same_size_comes_out(model: PrivateEncoder) -> None:
    latents = model.encode(random_crops(2), torch.tensor([0.0, 1.0]), zeros(2))
    assert latents.shape == (2, 10, 8)
    assert model.generate(latents).shape == (2, 3, model.crop_size, model.crop_size)


def test_a_frame_without_faces_is_no_special_case(model: PrivateEncoder) -> None:
    latents = model.encode(random_crops(0), torch.zeros(0), zeros(0))
    assert model.generate(latents).shape == (0, 3, 64, 64)


def test_generated_crops_stay_in_range_whatever_the_latents(model: PrivateEncoder) -> None:
    crops = model.generate(100 * torch.ones(1, 10, 8))
    assert crops.min() >= -1
    assert crops.max() <= 1


def test_the_average_latent_is_added_to_what_the_encoder_makes() -> None:
    model, arguments = new_model(), (random_crops(1), torch.zeros(1), zeros(1))
    before = model.encode(*arguments)
    model.latent_avg += 2.5
    torch.testing.assert_close(model.encode(*arguments), before + 2.5)


def test_a_model_without_strangers_has_one_pseudonym(model: PrivateEncoder) -> None:
    assert model.pseudonyms(random_crops(2), torch.tensor([3, 9])).tolist() == [0, 0]


@pytest.mark.parametrize("beta", [[-0.01, 0.5], [0.5, 1.01], [float("nan"), 0.5], [0.5], [[0.5], [0.5]]])
def test_a_beta_out_of_range_or_shape_is_refused(model: PrivateEncoder, beta: list[float]) -> None:
    with pytest.raises(ValueError, match=r"beta must be \(2,\) in \[0, 1\]"):
        model.encode(random_crops(2), torch.tensor(beta), zeros(2))


@pytest.mark.parametrize("shape", [(2, 3, 64, 32), (2, 1, 64, 64), (3, 64, 64)])
def test_crops_of_another_shape_are_refused(model: PrivateEncoder, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"crops must be \(N, 3, 64, 64\)"):
        model.encode(torch.zeros(shape), torch.zeros(2), zeros(2))


@pytest.mark.parametrize("pseudonyms", [zeros(1), torch.zeros(2)])
def test_pseudonyms_of_another_shape_or_type_are_refused(model: PrivateEncoder, pseudonyms: Tensor) -> None:
    with pytest.raises(ValueError, match=r"pseudonyms must be \(2,\) int64"):
        model.encode(random_crops(2), torch.zeros(2), pseudonyms)


def test_latents_of_another_shape_are_refused(model: PrivateEncoder) -> None:
    with pytest.raises(ValueError, match="latents must be"):
        model.generate(torch.zeros(2, 8))


def test_encoder_and_generator_must_agree_on_the_latents() -> None:
    with pytest.raises(ValueError, match=r"encoder makes latents \(18, 512\), the generator takes \(10, 8\)"):
        PrivateEncoderConfig(generator=GENERATOR)


def test_the_encoder_must_not_need_more_pixels_than_a_crop_has() -> None:
    with pytest.raises(ValueError, match="must not be larger"):
        PrivateEncoderConfig(EncoderConfig(input_size=128, latents=10, latent_size=8), GENERATOR)


@pytest.mark.parametrize("template", [DEFAULT_TEMPLATE, MESH])
def test_a_file_rebuilds_the_model_it_was_saved_from(tmp_path: Path, template: Template) -> None:
    model = new_model(template)
    model.latent_avg.normal_()
    model.save(tmp_path / "model")
    loaded = load_face_model(tmp_path / "model").eval()
    assert isinstance(loaded, PrivateEncoder)
    assert (loaded.config, loaded.template) == (model.config, template)
    arguments = (random_crops(2), torch.tensor([0.2, 0.9]), zeros(2))
    latents = model.encode(*arguments)
    assert torch.equal(loaded.encode(*arguments), latents)
    assert torch.equal(loaded.generate(latents), model.generate(latents))


def test_loading_through_a_class_gives_that_class_or_an_error(saved: Path) -> None:
    assert isinstance(load_as(PrivateEncoder, saved), PrivateEncoder)
    assert isinstance(load_as(FaceModel, saved), PrivateEncoder)
    with pytest.raises(CheckpointError, match="holds a private-encoder model, not LinearRefined"):
        load_as(LinearRefined, saved)


def test_a_model_is_loaded_onto_the_device_asked_for(saved: Path) -> None:
    loaded = load_face_model(saved, "meta")  # every machine has this one
    assert {tensor.device.type for tensor in loaded.state_dict().values()} == {"meta"}


def test_an_unknown_kind_is_named_with_the_known_ones(saved: Path) -> None:
    rewritten(saved, kind="diffusion")
    with pytest.raises(CheckpointError, match=r"unknown kind of model 'diffusion', known are .*private-encoder"):
        load_face_model(saved)


@pytest.mark.parametrize(
    "changed",
    [
        {"config": {"encoder": 3, "generator": {}}},
        {"config": {"depth": 3}},
        {"config": {"generator": {"resolution": 100}}},
        {"config": [1]},
        {"kind": "linear-refined", "config": {"linear_values": -1}},
        {"template": {"kind": "similarity", "points": [[0.5, 0.5]]}},
        {"template": {"kind": "affine", "points": []}},
        {"template": {}},
    ],
)
def test_a_damaged_configuration_is_named(saved: Path, changed: dict[str, object]) -> None:
    rewritten(saved, **changed)
    with pytest.raises(CheckpointError, match=r"model\.safetensors: its configuration is damaged"):
        load_face_model(saved)


@pytest.mark.parametrize(
    ("damage", "name"),
    [
        (lambda tensors: tensors.pop("encoder.latlayer1.bias"), r"encoder\.latlayer1\.bias"),
        (lambda tensors: tensors.update(extra=torch.zeros(1)), "extra"),
        (lambda tensors: tensors.update(latent_avg=torch.zeros(1, 8)), "latent_avg"),
    ],
)
def test_weights_that_do_not_fit_are_counted_and_one_is_named(
    saved: Path, damage: Callable[[dict[str, Tensor]], object], name: str
) -> None:
    tensors = dict(read_checkpoint(saved).tensors)
    damage(tensors)
    rewritten(saved, tensors=tensors)
    with pytest.raises(CheckpointError, match=f"1 weights missing, unknown or misshapen, such as {name}"):
        load_face_model(saved)


def test_preparing_freezes_the_model_and_changes_no_output() -> None:
    model = new_model().train()
    prepared = prepare(model, "cpu")
    assert prepared is model
    assert not prepared.training
    assert not any(parameter.requires_grad for parameter in prepared.parameters())
    arguments = (random_crops(2), torch.tensor([0.2, 0.9]), zeros(2))
    expected = new_model().encode(*arguments)
    latents = prepared.encode(*arguments)
    assert not latents.requires_grad
    torch.testing.assert_close(latents, expected.detach(), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(prepared.generate(latents), new_model().generate(latents).detach(), atol=1e-4, rtol=0)


def test_preparing_lays_out_features_channels_last() -> None:
    model = prepare(new_model(), "cpu")
    crops = model.generate(torch.zeros(2, 10, 8))
    assert crops.is_contiguous(memory_format=torch.channels_last)


def test_the_default_template_is_symmetric_within_a_pixel_of_a_128_pixel_crop() -> None:
    points = DEFAULT_TEMPLATE.crop_points(128)
    assert points.dtype == np.float32
    for left, right in ((0, 1), (3, 4)):
        assert points[left, 0] < points[right, 0]
        assert abs(points[left, 0] + points[right, 0] - 128) < 1
        assert abs(points[left, 1] - points[right, 1]) < 1


@pytest.mark.parametrize(
    ("kind", "points"),
    [
        ("similarity", ((0.5, 0.5),) * 4),
        ("mesh", ((0.5, 0.5),) * 5),
        ("similarity", ((0.5, 0.5, 0.5),) * 5),
        ("similarity", ((0.5, float("nan")),) * 5),
        ("affine", ((0.5, 0.5),) * 5),
    ],
)
def test_a_template_that_cannot_align_is_refused(kind: str, points: tuple[tuple[float, float], ...]) -> None:
    with pytest.raises(ValueError, match="template"):
        Template(kind, points)  # type: ignore[arg-type]
