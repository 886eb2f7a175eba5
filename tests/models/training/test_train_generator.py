"""StyleGAN2 from scratch, in seconds: it learns, resumes exactly, sees known pixels only, and fails in one line."""

import dataclasses
import itertools
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner, Result

from models.pretrained.imported import load_generator
from models.private_encoder.discriminator import Discriminator
from models.private_encoder.generator import Generator
from models.training.inputs.dataset import CropSet, open_crops
from models.training.losses.adversary import R1_EVERY
from models.training.ranks import Draws, Ranks
from models.training.step_graphs import take_step
from models.training.train_generator import GeneratorTrainConfig, GeneratorTrainer, average_latent, train
from streamer.cli import main as cli
from tests.models.training.crops import assert_resumes_exactly, generator_config, write_crops

pytestmark = pytest.mark.slow

ALONE = Ranks(0, 1, torch.device("cpu"))


@pytest.fixture
def config(tmp_path: Path) -> GeneratorTrainConfig:
    return generator_config(tmp_path)


def state(config: GeneratorTrainConfig) -> dict[str, object]:
    parts: dict[str, dict[str, object]] = torch.load(config.run / "state.pt", weights_only=True)["parts"]
    return parts


def assert_equal(one: object, other: object) -> None:
    """Bit for bit, however deep."""
    torch.testing.assert_close(one, other, rtol=0, atol=0)


def trainer(config: GeneratorTrainConfig, crops: CropSet | None = None) -> GeneratorTrainer:
    return GeneratorTrainer(config, crops or open_crops(config.data, config.size), ALONE)


def draws(config: GeneratorTrainConfig, step: int = 0) -> Draws:
    return Draws(ALONE, batch=config.batch, seed=0, step=step)


def test_a_run_that_was_cut_ends_bit_for_bit_where_one_that_was_not_does(
    config: GeneratorTrainConfig, tmp_path: Path
) -> None:
    list(train(config))
    cut = dataclasses.replace(config, run=tmp_path / "cut", steps=2)
    list(train(cut))
    assert [step.step for step in train(dataclasses.replace(cut, steps=4))] == [2, 4]
    assert_equal(state(cut), state(config))
    for name in ("generator", "discriminator"):
        assert_equal(*(load_file(run / f"{name}.safetensors") for run in (cut.run, config.run)))


def test_the_discriminator_learns_to_tell_and_the_generator_to_mislead_it(config: GeneratorTrainConfig) -> None:
    learning = trainer(config)
    losses = [learning.train_step(draws(config, step)) for step in range(12)]
    assert losses[-1]["discriminator"] < 0.9 * losses[0]["discriminator"]
    assert losses[-1]["real_logits"] > losses[-1]["fake_logits"]
    # Against a discriminator that stays, the generator's loss falls.
    learning.adversary.optimizer.param_groups[0]["lr"] = 0.0
    misleading = [learning.train_step(draws(config, step))["generator"].item() for step in range(12, 32)]
    assert sum(misleading[-5:]) < 0.9 * sum(misleading[:5])


def test_pixels_under_the_mask_change_nothing(config: GeneratorTrainConfig) -> None:
    crops = open_crops([write_crops(config.run.with_name("cut.tar"), transparent=20)], 64)
    assert crops.valid is not None
    noisy = torch.where(crops.valid, crops.images, torch.randint_like(crops.images, 256))
    plain, other = trainer(config, crops), trainer(config, CropSet(noisy, crops.valid, crops.names))
    for step in range(2):
        plain.train_step(draws(config, step))
        other.train_step(draws(config, step))
    for name, part in plain.parts().items():
        assert_equal(other.parts()[name].state_dict(), part.state_dict())


def test_where_nothing_is_known_the_generator_learns_nothing(config: GeneratorTrainConfig) -> None:
    images = torch.zeros(2, 3, 64, 64, dtype=torch.uint8)
    blind = trainer(config, CropSet(images, torch.zeros(2, 1, 64, 64, dtype=torch.bool), ("a", "b")))
    before = {name: value.clone() for name, value in blind.generator.named_parameters()}
    blind.train_step(draws(config))
    assert_equal(dict(blind.generator.named_parameters()), before)


def test_r1_counts_every_sixteenth_step_with_its_weight(config: GeneratorTrainConfig) -> None:
    regularised, free = trainer(config), trainer(dataclasses.replace(config, gamma=0.0))
    losses = [regularised.train_step(draws(config, step)) for step in (0, 1)]
    assert ["r1" in loss for loss in losses] == [True, False]
    free.train_step(draws(config, 0))
    free.train_step(draws(config, 1))
    moved = next(regularised.adversary.network.parameters()) - next(free.adversary.network.parameters())
    assert moved.abs().max() > 0
    assert R1_EVERY == 16
    assert [dataclasses.replace(config, size=size).r1_weight for size in (64, 128, 256)] == [1 / 16, 1 / 4, 1.0]


def test_most_pictures_are_made_of_two_latents_the_second_after_the_first(config: GeneratorTrainConfig) -> None:
    wide = dataclasses.replace(config, batch=400)
    latents = trainer(config)._mixed_latents(draws(wide))  # (400, 10, D)
    changes = (latents[:, 1:] != latents[:, :-1]).any(dim=2).sum(dim=1)
    assert changes.max() == 1
    assert abs(float((changes == 1).float().mean()) - 0.9) < 0.06  # four standard deviations


def test_the_average_is_of_the_weights_and_starts_with_them(config: GeneratorTrainConfig) -> None:
    learning = trainer(config)
    assert_equal(learning.average.state_dict(), learning.generator.state_dict())
    before = learning.generator.conv1.conv.weight.detach().clone()
    take_step(learning, draws(config))
    after, average = learning.generator.conv1.conv.weight, learning.average.conv1.conv.weight
    # After 4 images the half-life is a twentieth of them: 2^-20 of the old weight is left.
    torch.testing.assert_close(average, after + (before - after) * 2**-20, rtol=0, atol=1e-6)


def test_the_checkpoint_is_a_generator_with_its_average_latent(config: GeneratorTrainConfig) -> None:
    learning = trainer(config)
    learning.ship(config.run.parent)
    generator, latent_avg = load_generator(config.run.parent / "generator.safetensors")
    assert generator.config == config.network
    assert_equal(generator.state_dict(), learning.average.state_dict())
    z = torch.randn(4000, 8, generator=torch.Generator().manual_seed(1))
    mean = torch.stack([generator.map(part).mean(dim=0) for part in z.split(1000)])
    error = mean.std(dim=0) / 2  # of the mean of four
    assert latent_avg is not None
    assert ((latent_avg - mean.mean(dim=0)).abs() < 6 * error + 1e-3).all()
    assert_equal(latent_avg, average_latent(generator))


def test_the_default_networks_are_as_wide_as_the_configuration_says() -> None:
    network = GeneratorTrainConfig(data=(Path("x"),), run=Path("y")).network
    assert [network.channels(side) for side in network.resolutions] == [256, 256, 256, 256, 128, 64]
    with torch.device("meta"):
        counts = [sum(value.numel() for value in kind(network).parameters()) for kind in (Generator, Discriminator)]
    assert counts[0] < 7.5e6  # 30 MB


def test_a_batch_that_makes_no_whole_groups_is_refused(config: GeneratorTrainConfig) -> None:
    with pytest.raises(ValueError, match="multiple of 4, got 6"):
        dataclasses.replace(config, batch=6)


def test_it_runs_as_a_program_with_torch_alone(config: GeneratorTrainConfig) -> None:
    arguments = [*map(str, config.data), "--run", str(config.run), "--size", "64", "--width", "4", "--batch", "4"]
    arguments += ["--channel-max", "16", "--latent-size", "8", "--steps", "1"]
    code = (
        "import sys\n"
        "for name in ('cv2', 'mediapipe', 'av', 'kornia', 'rich', 'typer', 'streamer'): sys.modules[name] = None\n"
        "import runpy; runpy.run_module('models.training.train_generator', run_name='__main__', alter_sys=True)"
    )
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert [line.split("  ")[0] for line in done.stdout.splitlines()] == ["step 0", "step 1"]
    assert (config.run / "samples" / "00000001.png").exists()


# The command


def veil(*arguments: str | Path) -> Result:
    return CliRunner().invoke(cli.app, ["train", "generator", *map(str, arguments)])


def command(config: GeneratorTrainConfig, *options: str) -> Result:
    sizes = ["--size", "64", "--width", "4", "--channel-max", "16", "--latent-size", "8", "--batch", "4"]
    return veil(*config.data, "--run", config.run, *sizes, "--steps", "1", *options)


def test_the_command_trains_and_says_what_it_wrote(config: GeneratorTrainConfig) -> None:
    result = command(config, "--tensorboard")
    assert result.exit_code == 0, result.stderr
    lines = result.stdout.splitlines()
    assert [line.split("  ")[0] for line in lines[:2]] == ["step 0", "step 1"]
    assert lines[2].startswith(str(config.run / "generator.safetensors"))
    assert list(config.run.glob("events.out.tfevents.*"))


def one_line(result: Result) -> str:
    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1, result.stderr
    return result.stderr


def test_every_failure_of_the_command_is_one_line(config: GeneratorTrainConfig) -> None:
    assert "gone.tar" in one_line(veil(config.run / "gone.tar", "--run", config.run))
    assert "resolution must be one of" in one_line(command(config, "--size", "96"))
    command(config)
    assert "gamma was None, now 3.0" in one_line(command(config, "--gamma", "3"))
    other = dataclasses.replace(config, data=(write_crops(config.run.with_name("other.tar"), count=8),))
    assert "belongs to other data" in one_line(command(other))
    (config.run / "state.pt.partial").symlink_to("/dev/full")
    assert "cannot be written: No space left on device" in one_line(command(config, "--steps", "2"))
    file = dataclasses.replace(config, run=config.data[0])
    assert "crops.tar" in one_line(command(file))


def test_an_interrupted_run_says_that_it_can_go_on(
    config: GeneratorTrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(self: GeneratorTrainer, draws: Draws) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(GeneratorTrainer, "train_step", interrupted)
    result = command(config)
    assert result.exit_code == 130
    assert "interrupted; started again, it goes on from its last save" in result.stderr
    monkeypatch.undo()
    assert [step.step for step in itertools.islice(train(config), 1)] == [0]


def drawing_again(config: GeneratorTrainConfig) -> GeneratorTrainConfig:
    """One layer between z and w, at full rate: otherwise it learns in hours what is asked for here in seconds."""
    return dataclasses.replace(config, batch=8, mapping_layers=1, mapping_rate=1.0, reconstruction=10.0)


def test_a_generator_learns_to_draw_pictures_from_their_own_codes(config: GeneratorTrainConfig) -> None:
    learning = trainer(dataclasses.replace(drawing_again(config), adversarial_from=50))
    losses = [learning.train_step(draws(learning.config, step)) for step in range(50)]
    assert losses[0].keys() == {"reconstruction"}
    assert learning.codes is not None
    pictures = learning.crops.images.float() / 127.5 - 1
    w = learning.generator.map(learning.codes(pictures))[:, None].expand(-1, learning.config.network.latents, -1)
    with torch.no_grad():
        drawn = learning.generator(w)
    own, others = (drawn - pictures).abs().mean(), (drawn.roll(1, 0) - pictures).abs().mean()
    assert own < 0.8 * others


def test_until_the_adversary_joins_it_learns_nothing(config: GeneratorTrainConfig) -> None:
    learning = trainer(dataclasses.replace(drawing_again(config), adversarial_from=2))
    first = next(learning.adversary.network.parameters()).detach().clone()
    learning.train_step(draws(learning.config, 0))
    learning.train_step(draws(learning.config, 1))
    assert_equal(next(learning.adversary.network.parameters()).detach(), first)
    losses = learning.train_step(draws(learning.config, 2))
    assert {"generator", "discriminator", "reconstruction"} <= losses.keys()
    assert (next(learning.adversary.network.parameters()) != first).any()


def test_a_run_that_draws_pictures_again_resumes_exactly(config: GeneratorTrainConfig, tmp_path: Path) -> None:
    again = dataclasses.replace(drawing_again(config), adversarial_from=3)
    assert_resumes_exactly(train, again, tmp_path / "cut-again")


def test_an_adversary_cannot_join_late_where_there_is_nothing_to_learn_before(config: GeneratorTrainConfig) -> None:
    with pytest.raises(ValueError, match="reconstruction"):
        dataclasses.replace(config, adversarial_from=2)
