"""Training the harmonizer: it learns what drawing did wrong, resumes exactly, ships a model that draws."""

import dataclasses
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from models.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from models.training.inputs.drawn_pairs import MASKS, PICTURES, DrawnPairs, open_pairs, write_pairs
from models.training.losses.patch_critic import PatchAdversary, PatchCritic
from models.training.ranks import Draws, Ranks
from models.training.train_harmonizer import PART, SHIPPED, HarmonizerTrainConfig, train
from models.unets.harmonizer import HARMONIZED_SIZE, Harmonizer
from tests.models.training.crops import assert_resumes_exactly

ALONE = Ranks(0, 1, torch.device("cpu"))
SIDE = HARMONIZED_SIZE


def columns(count: int) -> dict[str, list[np.ndarray]]:
    """Ovals on smooth grounds; drawn too dark as themselves, in another colour as strangers."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:SIDE, :SIDE] / SIDE - 0.5
    rows: dict[str, list[np.ndarray]] = {name: [] for name in (*PICTURES, *MASKS)}
    for _ in range(count):
        inside = (x / rng.uniform(0.2, 0.3)) ** 2 + (y / rng.uniform(0.3, 0.4)) ** 2 < 1
        photo = np.ones((SIDE, SIDE, 3)) * rng.uniform(0, 120, 3) + 60 * x[..., None]
        photo[inside] = rng.uniform(130, 255, 3)
        own, stranger = photo - 60 * inside[..., None], photo.copy()
        stranger[inside] = rng.uniform(130, 255, 3)
        for name, picture in zip(PICTURES, (photo, own, stranger), strict=True):
            rows[name].append(picture.clip(0, 255).astype(np.uint8))
        for name in MASKS:
            rows[name].append((255 * inside).astype(np.uint8))
    return rows


@pytest.fixture
def config(tmp_path: Path) -> HarmonizerTrainConfig:
    write_pairs(tmp_path / "made" / "pairs.npz", columns(6))
    tensors = {"light": torch.randn(16, 16, 3), f"{PART}gone": torch.zeros(1)}
    write_checkpoint(Checkpoint("textures", {"size": 8}, {}, tensors), tmp_path / "base.safetensors")
    return HarmonizerTrainConfig(
        data=(tmp_path / "made" / "pairs.npz",),
        textures=tmp_path / "base.safetensors",
        run=tmp_path / "run",
        steps=4,
        batch=2,
        report_every=2,
    )


@pytest.mark.slow
def test_a_run_that_was_cut_ends_bit_for_bit_where_one_that_was_not_does(
    config: HarmonizerTrainConfig, tmp_path: Path
) -> None:
    assert_resumes_exactly(train, config, tmp_path / "cut")


@pytest.mark.slow
def test_people_come_nearer_to_their_photos(config: HarmonizerTrainConfig) -> None:
    reports = list(train(dataclasses.replace(config, steps=32, report_every=8)))[1:]
    assert reports[-1].losses["pixels"] < 0.7 * reports[0].losses["pixels"]
    assert reports[-1].losses["coarse"] < 0.7 * reports[0].losses["coarse"]


@pytest.mark.slow
def test_strangers_are_changed_less_the_more_that_costs(config: HarmonizerTrainConfig, tmp_path: Path) -> None:
    def change(keep: float) -> float:
        run = dataclasses.replace(config, steps=6, report_every=6, keep=keep, run=tmp_path / f"{keep}")
        return list(train(run))[-1].losses["keep"]

    assert change(20.0) < 0.7 * change(0.0)


@pytest.mark.slow
def test_a_run_writes_the_checkpoint_with_its_average_in_half_precision(config: HarmonizerTrainConfig) -> None:
    list(train(config))
    average = torch.load(config.run / "state.pt", weights_only=True)["parts"]["average"]
    base, made = read_checkpoint(config.textures), read_checkpoint(config.run / SHIPPED)
    assert (made.kind, made.config, made.template) == (base.kind, base.config, base.template)
    assert torch.equal(made.tensors["light"], base.tensors["light"])
    ours = {name.removeprefix(PART): value for name, value in made.tensors.items() if name.startswith(PART)}
    assert ours.keys() == Harmonizer().state_dict().keys()
    assert all(torch.equal(ours[name], average[name].half()) for name in ours)
    assert (config.run / "samples" / "00000004.png").exists()


@pytest.mark.slow
def test_it_runs_as_a_program_with_torch_alone(config: HarmonizerTrainConfig) -> None:
    arguments = [*map(str, config.data), "--textures", str(config.textures), "--run", str(config.run)]
    code = (
        "import sys\n"
        "for name in ('cv2', 'mediapipe', 'av', 'kornia', 'rich', 'typer', 'streamer'): sys.modules[name] = None\n"
        "import runpy; runpy.run_module('models.training.train_harmonizer', run_name='__main__', alter_sys=True)"
    )
    command = [sys.executable, "-c", code, *arguments, "--steps", "1", "--batch", "2"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert [line.split("  ")[0] for line in done.stdout.splitlines()] == ["step 0", "step 1"]


def test_another_kind_of_model_is_refused(config: HarmonizerTrainConfig) -> None:
    write_checkpoint(Checkpoint("linear-refined", {}, {}, {"a": torch.zeros(1)}), config.textures)
    with pytest.raises(ValueError, match="only textures are harmonized"):
        next(train(config))


def test_what_is_no_file_of_pairs_is_named(tmp_path: Path) -> None:
    path = tmp_path / "other.npz"
    path.write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"other\.npz: not a file of"):
        open_pairs([path])
    np.savez(path, photo=np.zeros((1, SIDE, SIDE, 3), np.uint8))
    with pytest.raises(ValueError, match=r"other\.npz: not a file of"):
        open_pairs([path])
    write_pairs(path, columns(1) | {"drawn_own": [np.zeros((8, 8), np.uint8)]})
    with pytest.raises(ValueError, match="drawn_own must be"):
        open_pairs([path])


def test_all_pictures_of_a_person_are_moved_and_mirrored_alike() -> None:
    planes = torch.randint(0, 256, (1, 1, SIDE, SIDE), dtype=torch.uint8).expand(3, 11, SIDE, SIDE)
    seen = [DrawnPairs(planes, "").draw(Draws(ALONE, batch=4, seed=0, step=step)) for step in range(2)]
    for batch in seen:
        gains = (batch.photo + 1).amax(dim=(2, 3), keepdim=True) / 2  # of each colour
        assert gains.min() > 0.8
        assert gains.max() < 1.11
        assert len(gains.unique()) == 12
        plain = (batch.photo + 1) / gains / 2
        own, stranger = ((part + 1) / gains / 2 for part in batch.drawn.chunk(2))
        for other in (own, stranger, *batch.strength.chunk(2)):
            torch.testing.assert_close(plain, other.expand_as(plain), atol=1e-5, rtol=1e-5)
    assert not torch.equal(seen[0].strength, seen[1].strength)
    unmoved = planes[:1, 9:10].float() / 255
    assert all(not torch.equal(row[None], unmoved) for row in seen[0].strength)


@pytest.mark.slow
def test_the_critic_learns_to_tell_what_it_is_shown() -> None:
    torch.manual_seed(0)
    adversary = PatchAdversary(ALONE, learning_rate=1e-3, r1_weight=0.1)
    real, drawn = torch.rand(4, 3, 32, 32), torch.ones(4, 1, 32, 32)
    losses = [float(adversary.step(real, real - 0.5, drawn, step=step)["critic"]) for step in range(30)]
    assert losses[-1] < 0.5 * losses[0]
    with torch.no_grad():
        assert adversary.loss(real, drawn) < 0.5 * adversary.loss(real - 0.5, drawn)
    assert not any(weight.requires_grad for weight in adversary.network.parameters())


def test_the_critic_is_kept_from_becoming_steep() -> None:
    torch.manual_seed(0)
    real, drawn = torch.rand(2, 3, 32, 32), torch.ones(2, 1, 32, 32)
    steps = {}
    for weight in (0.0, 1e4):
        torch.manual_seed(1)
        adversary = PatchAdversary(ALONE, learning_rate=1e-3, r1_weight=weight)
        adversary.step(real, real - 0.5, drawn, step=0)
        adversary.step(real, real - 0.5, drawn, step=1)
        steps[weight] = steepness(adversary.network, real, drawn)
    assert steps[1e4] < steps[0.0]


def steepness(network: PatchCritic, pictures: torch.Tensor, drawn: torch.Tensor) -> float:
    pictures = pictures.clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(sum(logits.mean() for logits in network(pictures, drawn)), pictures)
    return float(gradient.square().sum())
