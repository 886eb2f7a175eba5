"""Fitting, training, and resuming as if nothing had happened."""

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from models.face_model import Sighting
from models.identity.recognizer import MobileFaceNet
from models.linear_refined import LinearRefined, LinearRefinedConfig
from models.registry import load_as, load_face_model
from models.training.fits.fit_linear import linear_values, posture
from models.training.fits.fit_shape import ridge
from models.training.inputs.dataset import open_dataset, unpack_valid
from models.training.train_linear import SHIPPED, LinearTrainConfig, relight, train

pytestmark = pytest.mark.slow

SIZE, FACES = 32, 96


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> LinearTrainConfig:
    """A configuration whose run stands where the fit left it; for looking at only."""
    config = config_in(tmp_path_factory.mktemp("linear"))
    next(train(config))
    return config


@pytest.fixture
def model(prepared: LinearTrainConfig) -> LinearRefined:
    return load_as(LinearRefined, prepared.run / SHIPPED)


@pytest.fixture
def config(prepared: LinearTrainConfig, tmp_path: Path) -> LinearTrainConfig:
    """The same, for training on."""
    shutil.copytree(prepared.run, tmp_path / "run")
    return dataclasses.replace(prepared, run=tmp_path / "run")


def config_in(tmp_path: Path) -> LinearTrainConfig:
    torch.manual_seed(0)
    torch.save(MobileFaceNet().state_dict(), tmp_path / "recognizer.pt")
    write_faces(tmp_path / "faces")
    model = LinearRefinedConfig(
        crop_size=SIZE, linear_size=16, components=16, identity_directions=4, strangers=10, widths=(8, 8, 8)
    )
    return LinearTrainConfig(
        data=tmp_path / "faces",
        recognizer=tmp_path / "recognizer.pt",
        run=tmp_path / "run",
        model=model,
        rim_directions=4,
        steps=4,
        batch=4,
        report_every=1,
    )


def write_faces(folder: Path) -> None:
    """Write smooth random pictures that vary in a few directions, as faces do."""
    rng = np.random.default_rng(0)
    folder.mkdir()
    y, x = np.mgrid[:SIZE, :SIZE] / SIZE
    waves = np.stack([np.sin(i * x * 3 + j * y * 3 + c) for i in range(4) for j in range(4) for c in range(3)])
    crops = 128 + 12 * np.einsum("nk,khw->nhw", rng.normal(size=(FACES, len(waves))), waves)
    valid = np.ones((FACES, SIZE, SIZE), bool)
    valid[:, :2] = False
    grids = np.stack(np.meshgrid(np.linspace(-1.3, 1.3, 112), np.linspace(-1.3, 1.3, 112)), -1)
    template = np.array(load_face_model("linear-refined").template.points, np.float32)
    arrays = {
        "crops": np.repeat(np.clip(crops, 0, 255)[..., None], 3, 3).astype(np.uint8),
        "valid": np.packbits(valid.reshape(FACES, -1), axis=1),
        "photos": rng.integers(0, 255, (FACES, 112, 112, 3), dtype=np.uint8),
        "grids": np.repeat(grids[None], FACES, 0).astype(np.float16),
        "meshes": np.pad(template, ((0, 0), (0, 1)))[None] + rng.normal(0, 0.01, (FACES, 468, 3)),
    }
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array.astype(np.float32) if name == "meshes" else array)
    np.save(folder / "template.npy", template)
    names = [f"utk/{20 + i % 50}_{i % 2}_0_{i}.webp" if i % 2 else f"lfw/Person_{i}.webp" for i in range(FACES)]
    (folder / "names.json").write_text(json.dumps(names))


def test_a_run_that_was_cut_ends_bit_for_bit_where_one_that_was_not_does(
    config: LinearTrainConfig, tmp_path: Path
) -> None:
    parts = dataclasses.replace(config, run=tmp_path / "other", steps=2)
    shutil.copytree(config.run, parts.run)
    list(train(config))
    list(train(parts))
    assert [step.step for step in train(dataclasses.replace(parts, steps=4))] == [2, 3, 4]
    whole, resumed = (torch.load(run / "state.pt", weights_only=True)["parts"] for run in (config.run, parts.run))
    torch.testing.assert_close(resumed, whole, atol=0, rtol=0)


def test_training_changes_the_refiner_and_reports_every_loss(config: LinearTrainConfig) -> None:
    before = load_as(LinearRefined, config.run / SHIPPED).refiner.state_dict()
    steps = list(train(dataclasses.replace(config, report_every=2)))
    assert [step.step for step in steps] == [0, 2, 4]
    assert {"l1", "features", "adversarial", "identity", "low_pass"} <= steps[-1].losses.keys()
    after = load_as(LinearRefined, config.run / SHIPPED).refiner.state_dict()
    assert any(not torch.equal(after[name], value) for name, value in before.items())


def test_samples_are_crops_the_same_again_and_strangers(config: LinearTrainConfig) -> None:
    samples = next(train(config)).samples
    assert samples is not None
    assert samples.shape == (3, 3 * SIZE, 8 * SIZE)
    first = open_dataset(config.data).crops[0]
    np.testing.assert_array_equal(samples[:, :SIZE, :SIZE].permute(1, 2, 0).numpy(), first)


def test_a_run_keeps_a_checkpoint_that_loads(config: LinearTrainConfig) -> None:
    list(train(config))
    model = load_face_model(config.run / "linear-refined.safetensors")
    crops = torch.zeros(1, 3, SIZE, SIZE)
    latents = model.encode(crops, torch.zeros(1), torch.zeros(1, dtype=torch.int64))
    assert model.generate(latents).shape == crops.shape
    assert not list(config.run.glob("*part*"))


def test_the_fit_explains_the_faces_it_saw(prepared: LinearTrainConfig, model: LinearRefined) -> None:
    values, _ = linear_values(open_dataset(prepared.data), 16)
    latents = (values - model.mean) @ model.basis.T / model.deviation
    restored = model.mean + (latents * model.deviation) @ model.basis
    assert (restored - values).square().mean() < 0.5 * (values - values.mean(0)).square().mean()
    torch.testing.assert_close(latents.std(0), torch.ones(16), atol=0.05, rtol=0)


def test_identity_directions_are_orthonormal_and_carry_no_posture(
    prepared: LinearTrainConfig, model: LinearRefined
) -> None:
    torch.testing.assert_close(model.identity @ model.identity.T, torch.eye(4), atol=1e-4, rtol=0)
    values, _ = linear_values(open_dataset(prepared.data), 16)
    latents = (values - model.mean) @ model.basis.T / model.deviation
    told = ridge(latents, posture(open_dataset(prepared.data).meshes))
    assert (model.identity @ torch.linalg.qr(told).Q).abs().max() < 1e-3


def test_ridge_without_noise_finds_the_weights() -> None:
    torch.manual_seed(0)
    latents, known = torch.randn(500, 5), torch.randn(5, 2)
    latents -= latents.mean(0)  # as principal coordinates are
    torch.testing.assert_close(ridge(latents, latents @ known, penalty=1e-6), known, atol=1e-3, rtol=1e-3)


def test_unknown_pixels_count_for_nothing(prepared: LinearTrainConfig) -> None:
    dataset = open_dataset(prepared.data)
    _, inside = linear_values(dataset, 16)
    assert not inside[0].any()
    assert inside[1:].all()


def test_valid_bits_unpack_to_the_mask() -> None:
    mask = np.random.default_rng(0).random((2, 8, 8)) > 0.5
    unpacked = unpack_valid(np.packbits(mask.reshape(2, -1), axis=1), 8)
    np.testing.assert_array_equal(unpacked[:, 0].numpy() > 0, mask)


def test_relighting_takes_the_mean_of_the_source() -> None:
    made, source = torch.zeros(1, 3, 36, 36), torch.full((1, 3, 36, 36), 0.4)
    torch.testing.assert_close(relight(made, source, torch.ones(1, 1, 36, 36)), source)


def test_arrays_of_different_lengths_are_refused(tmp_path: Path) -> None:
    config = config_in(tmp_path)
    (config.data / "names.json").write_text("[]")
    with pytest.raises(ValueError, match="prepare the folder again"):
        open_dataset(config.data)


def test_strangers_are_written_where_the_rim_and_the_light_change_least(model: LinearRefined) -> None:
    at_beta_zero = model.strangers @ model.identity.T
    plain = at_beta_zero @ model.identity  # the shortest latents with the same identity
    cell = (slice(None), slice(None), slice(4, 8), slice(4, 8))
    still = model.decode(torch.zeros(1, 16))
    change, plain_change = (
        (model.decode(z) - still)[cell].mean((2, 3)).square().mean() for z in (model.strangers, plain)
    )
    assert change < 0.8 * plain_change


def test_footage_of_one_s_own_needs_no_labels_and_few_faces(tmp_path: Path) -> None:
    config = config_in(tmp_path)
    (config.data / "names.json").write_text(json.dumps([f"clip.mp4/{index}" for index in range(FACES)]))
    many = dataclasses.replace(config, model=dataclasses.replace(config.model, strangers=3 * FACES))
    next(train(many))
    model = load_as(LinearRefined, many.run / SHIPPED)
    assert all(torch.isfinite(value).all() for value in model.state_dict().values())
    crops = torch.rand(3, 3, SIZE, SIZE) * 2 - 1
    assert model.pseudonyms(Sighting(crops), torch.arange(3)).shape == (3,)


def test_too_few_faces_are_refused(prepared: LinearTrainConfig, tmp_path: Path) -> None:
    config = dataclasses.replace(prepared, run=tmp_path / "run")
    greedy = dataclasses.replace(config, model=dataclasses.replace(config.model, components=FACES))
    with pytest.raises(ValueError, match="96 faces are too few to fit 96 components"):
        next(train(greedy))
