"""Eq. 4, in seconds: the encoder learns, the generator stays, a run resumes exactly, `veil run` takes the result."""

import dataclasses
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from models.checkpoint_errors import CheckpointError
from models.face_model import DEFAULT_TEMPLATE
from models.pretrained.imported import load_generator
from models.private_encoder.private_encoder import PrivateEncoder
from models.registry import load_face_model
from models.training.inputs.dataset import open_crops
from models.training.inputs.face_parts import eyes_and_mouth, face_oval
from models.training.ranks import Draws, Ranks
from models.training.step_graphs import take_step
from models.training.train_encoder import EncoderTrainConfig, EncoderTrainer, train, untrained
from models.training.train_generator import train as train_generator
from streamer.cli import main as cli
from tests.models.training.crops import assert_resumes_exactly, encoder_config, generator_config

pytestmark = pytest.mark.slow

ALONE = Ranks(0, 1, torch.device("cpu"))


@pytest.fixture
def config(tmp_path: Path) -> EncoderTrainConfig:
    return encoder_config(tmp_path)


def trainer(config: EncoderTrainConfig) -> EncoderTrainer:
    return EncoderTrainer(config, untrained(config), open_crops(config.data, 64), ALONE)


def draws(step: int, batch: int = 4) -> Draws:
    return Draws(ALONE, batch=batch, seed=0, step=step)


def parts(config: EncoderTrainConfig) -> dict[str, object]:
    loaded: dict[str, object] = torch.load(config.run / "state.pt", weights_only=True)["parts"]
    return loaded


@pytest.mark.parametrize(
    "joint",
    [{}, {"joint_from": 1, "temporal": 0.1}, {"strangers_from": 1, "directions": 2, "eyes_and_mouth": 1.0}],
    ids=["faithful", "joint", "strangers"],
)
def test_a_run_that_was_cut_ends_bit_for_bit_where_one_that_was_not_does(
    config: EncoderTrainConfig, tmp_path: Path, joint: dict[str, float]
) -> None:
    config = dataclasses.replace(config, **joint)
    list(train(config))
    cut = dataclasses.replace(config, run=tmp_path / "cut", steps=2)
    list(train(cut))
    assert [step.step for step in train(dataclasses.replace(cut, steps=4))] == [2, 4]
    torch.testing.assert_close(parts(cut), parts(config), rtol=0, atol=0)


def test_a_run_with_another_recogniser_is_refused(config: EncoderTrainConfig) -> None:
    next(train(config))
    other = dataclasses.replace(config, recognizers=(config.run.with_name("mobilefacenet.pt"),))
    with pytest.raises(ValueError, match="belongs to other data"):
        next(train(other))


def test_the_loss_falls_and_the_generator_stays(config: EncoderTrainConfig) -> None:
    learning = trainer(dataclasses.replace(config, identity=0.0))
    before = {name: value.clone() for name, value in learning.model.generator.state_dict().items()}
    pixels = [learning.train_step(draws(step))["pixel"].item() for step in range(20)]
    assert sum(pixels[-5:]) < 0.8 * sum(pixels[:5])
    torch.testing.assert_close(dict(learning.model.generator.state_dict()), before, rtol=0, atol=0)


def with_codes(config: EncoderTrainConfig) -> EncoderTrainConfig:
    """Of a generator that drew pictures again."""
    folder = config.run.with_name("drawn-again")
    again = dataclasses.replace(generator_config(config.run.parent), run=folder, reconstruction=1.0)
    list(train_generator(dataclasses.replace(again, steps=2)))
    files = {name: folder / f"{name}.safetensors" for name in ("generator", "discriminator")}
    return dataclasses.replace(config, codes=folder / "principal-codes.safetensors", **files)


def test_an_encoder_follows_the_latents_that_crops_were_drawn_again_from(config: EncoderTrainConfig) -> None:
    learning = trainer(dataclasses.replace(with_codes(config), codes_until=30, learning_rate=0.01))
    crops = learning.crops.images.float() / 127.5 - 1
    assert learning.codes is not None
    with torch.no_grad():
        wanted = learning.model.generator.map(learning.codes(crops))[:, None]

    def error() -> float:
        learning.model.encoder.train()
        with torch.no_grad():
            found = learning.model.encoder(crops, torch.zeros(len(crops))) + learning.model.latent_avg
        return float((found - wanted).square().mean())

    before = error()
    assert [set(learning.train_step(draws(step))) for step in range(30)] == [{"codes"}] * 30
    assert error() < 0.85 * before
    assert {"pixel", "identity"} <= learning.train_step(draws(30)).keys()


def test_following_codes_resumes_exactly_and_needs_them(config: EncoderTrainConfig, tmp_path: Path) -> None:
    assert_resumes_exactly(train, dataclasses.replace(with_codes(config), codes_until=3), tmp_path / "cut")
    with pytest.raises(ValueError, match="needs the codes"):
        dataclasses.replace(config, codes_until=3)
    with pytest.raises(CheckpointError, match="not principal codes"):
        trainer(dataclasses.replace(config, codes=config.generator, codes_until=3))
    with pytest.raises(CheckpointError, match="--codes"):
        load_face_model(config.run.with_name("drawn-again") / "principal-codes.safetensors")


def test_joint_training_moves_the_generator_from_its_step_on_and_not_before(config: EncoderTrainConfig) -> None:
    learning = trainer(dataclasses.replace(config, joint_from=2))
    weight = learning.model.generator.conv1.conv.weight
    before = weight.detach().clone()
    losses = [learning.train_step(draws(step)) for step in (0, 1)]
    assert torch.equal(weight, before)
    assert not any("adversarial" in loss for loss in losses)
    joint = learning.train_step(draws(2))
    assert {"adversarial", "discriminator"} <= joint.keys()
    assert not torch.equal(weight, before)


def test_the_model_it_writes_is_its_average_and_runs(config: EncoderTrainConfig) -> None:
    learning = trainer(config)
    learning.train_step(draws(0))
    learning.ship(config.run.parent)
    model = load_face_model(config.run.parent / "private-encoder.safetensors").eval()
    assert isinstance(model, PrivateEncoder)
    assert model.template == DEFAULT_TEMPLATE
    crops, beta = torch.rand(2, 3, 64, 64) * 2 - 1, torch.tensor([0.0, 1.0])
    with torch.no_grad():
        made = model.generate(model.encode(crops, beta, torch.zeros(2, dtype=torch.int64)))
        latents = learning.average.encoder(crops, beta) + learning.average.latent_avg
        expected = learning.average.generator(latents).clamp(-1, 1)
    torch.testing.assert_close(made, expected, atol=0.02, rtol=0)  # filters are kept in half precision


def test_before_training_it_draws_the_average_face_of_its_generator(config: EncoderTrainConfig) -> None:
    model = untrained(config)
    generator, latent_avg = load_generator(config.generator)
    assert latent_avg is not None
    assert torch.equal(model.latent_avg, latent_avg.expand(10, -1))
    latents = latent_avg.expand(1, 10, -1)
    assert torch.equal(model.generator(latents), generator(latents))


def test_the_identity_term_is_eq_3_averaged_over_the_recognisers(config: EncoderTrainConfig) -> None:
    paths = (*config.recognizers, config.run.with_name("mobilefacenet.pt"))
    both, *single = (trainer(dataclasses.replace(config, recognizers=given)) for given in (paths, paths[:1], paths[1:]))
    crops, made = (torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1))
    beta = torch.tensor([0.0, 0.7])
    losses = [identity(each, crops, made, beta) for each in single]
    assert not torch.allclose(*losses)
    torch.testing.assert_close(identity(both, crops, made, beta), (losses[0] + losses[1]) / 2)
    same = identity(both, crops, crops, beta)  # a face is as like itself as can be: |beta - 1|
    torch.testing.assert_close(same, (1 - beta).mean(), atol=1e-5, rtol=0)


def identity(learning: EncoderTrainer, crops: torch.Tensor, made: torch.Tensor, beta: torch.Tensor) -> torch.Tensor:
    return terms(learning, crops, made, torch.ones(len(crops), 1, 64, 64), beta)["identity"]


def terms(
    learning: EncoderTrainer, crops: torch.Tensor, made: torch.Tensor, known: torch.Tensor, beta: torch.Tensor
) -> dict[str, torch.Tensor]:
    return learning._terms(crops, made, known=known, beta=beta, strangers=None, draws=draws(0, batch=len(crops)))


def test_betas_are_zero_for_their_share_and_told_to_the_encoder(config: EncoderTrainConfig) -> None:
    seen: list[torch.Tensor] = []
    learning = trainer(dataclasses.replace(config, batch=200, beta_zero=0.5))
    learning.model.encoder.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[1]))
    learning.model.generator.register_forward_pre_hook(stop)
    with pytest.raises(RuntimeError, match="stop"):
        learning.train_step(draws(0, batch=200))
    zero = seen[0] == 0
    assert abs(float(zero.float().mean()) - 0.5) < 0.15  # four standard deviations
    assert 0.35 < seen[0][~zero].mean() < 0.65
    assert seen[0].max() < 1


def stop(*_: object) -> None:
    raise RuntimeError("stop")


def test_pixels_outside_the_oval_count_as_little_as_asked(config: EncoderTrainConfig) -> None:
    inside = face_oval(DEFAULT_TEMPLATE, 64)
    crops, made = torch.zeros(1, 3, 64, 64), (1 - inside).expand(1, 3, 64, 64)  # wrong outside only
    known, beta = torch.ones(1, 1, 64, 64), torch.zeros(1)
    share = float((1 - inside).mean())
    for outside, expected in ((1.0, share), (0.0, 0.0), (0.5, 0.5 * share / (1 - share + 0.5 * share))):
        learning = trainer(dataclasses.replace(config, outside=outside))
        assert float(terms(learning, crops, made, known, beta)["pixel"]) == pytest.approx(expected, abs=1e-6)


def test_unknown_pixels_do_not_count(config: EncoderTrainConfig) -> None:
    learning = trainer(config)
    known = torch.ones(1, 1, 64, 64)
    known[..., :20, :] = 0
    crops = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * known
    made = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    other = torch.where(known > 0, made, -made)
    beta = torch.zeros(1)
    torch.testing.assert_close(terms(learning, crops, made, known, beta), terms(learning, crops, other, known, beta))


def test_strangers_are_drawn_from_their_step_on_along_the_directions_found_then(config: EncoderTrainConfig) -> None:
    learning = trainer(dataclasses.replace(config, strangers_from=1, directions=2))
    assert "stranger" not in take_step(learning, draws(0))
    assert learning.place.part.read.abs().max() == 0
    assert 0 <= float(take_step(learning, draws(1))["stranger"].detach()) <= 2
    found = learning.place.part.read.clone()
    assert found.abs().max() > 0
    take_step(learning, draws(2))
    assert torch.equal(learning.place.part.read, found)


def test_eyes_and_mouth_count_more_and_the_rest_as_before() -> None:
    weight = eyes_and_mouth(DEFAULT_TEMPLATE, 128)[0, 0]
    for x, y in (point for index, point in enumerate(DEFAULT_TEMPLATE.points) if index != 2):  # all but the nose
        assert weight[round(y * 128), round(x * 128)] > 0.3
    assert weight[64, 10] < 0.01
    assert float(weight.mean()) < 0.2


def test_the_oval_holds_the_face_and_not_the_corners() -> None:
    oval = face_oval(DEFAULT_TEMPLATE, 128)[0, 0]
    for x, y in DEFAULT_TEMPLATE.points:
        assert oval[round(y * 128), round(x * 128)] == 1
    assert oval[round(0.9 * 128), 64] == 1  # chin
    assert oval[0].sum() == 0
    assert oval[:, 2].sum() == 0


def test_without_discriminator_or_lpips_a_recogniser_tells_how_alike_faces_look(config: EncoderTrainConfig) -> None:
    # Smooth pictures: to a recogniser of faces, all noise looks alike.
    coarse = (torch.rand(2, 3, 6, 6, generator=torch.Generator().manual_seed(seed)) * 2 - 1 for seed in (0, 1))
    crops, made = (torch.nn.functional.interpolate(small, 64, mode="bilinear") for small in coarse)
    for given in (config, dataclasses.replace(config, discriminator=None)):
        perceptual = trainer(given).perceptual
        torch.testing.assert_close(perceptual(crops, crops), torch.zeros(2), atol=1e-4, rtol=0)
        assert (perceptual(crops, made) > 0.01).all()


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"batch": 6}, "multiple of 4"),
        ({"lpips_heads": Path("x")}, "needs both"),
        ({"joint_from": 5, "discriminator": None}, "joint_from needs the discriminator"),
        ({"recognizers": ()}, "at least one"),
    ],
)
def test_configurations_that_cannot_be_are_refused(
    config: EncoderTrainConfig, change: dict[str, object], complaint: str
) -> None:
    with pytest.raises(ValueError, match=complaint):
        dataclasses.replace(config, **change)


def test_the_command_trains_and_fails_in_one_line(config: EncoderTrainConfig) -> None:
    arguments = [
        "train",
        "encoder",
        str(config.data[0]),
        "--generator",
        str(config.generator),
        "--run",
        str(config.run),
    ]
    arguments += ["--recognizer", str(config.recognizers[0]), "--width", "16", "--batch", "4", "--steps", "1"]
    result = CliRunner().invoke(cli.app, arguments)
    assert result.exit_code == 0, result.stderr
    assert str(config.run / "private-encoder.safetensors") in result.stdout.splitlines()[-1]
    assert list((config.run / "samples").iterdir())
    arguments[4] = str(config.run / "gone.safetensors")
    failed = CliRunner().invoke(cli.app, arguments)
    assert failed.exit_code == 1
    assert failed.stderr.count("\n") == 1
    assert "gone.safetensors" in failed.stderr
