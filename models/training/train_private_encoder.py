"""Train the paper's network from crops to a model for `veil run`, in as many legs as it takes.

Generator, encoder, strangers, each where the last leg left it: on a machine that is lent for minutes,
`python -m models.training.train_private_encoder CROPS.tar --minutes 9 --run RUN ...` again and again. Writes
`RUN/private-encoder.safetensors` when all is done; the first report, within a minute, says how fast it is.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch

from models.checkpoint import config_from_json, load_tensors, read_checkpoint, weights_path
from models.face_model import FaceModel, Template
from models.linear_refined import LinearRefined, LinearRefinedConfig
from models.pretrained.imported import load_recognizer
from models.private_encoder.private_encoder import PrivateEncoder, PrivateEncoderConfig
from models.training import train_encoder, train_generator
from models.training.fits.fit_strangers import with_strangers
from models.training.fits.identity_place import PLACE_FILE, read_place
from models.training.inputs.dataset import open_crops
from models.training.loop import RunConfig, TrainStep
from models.training.train_command import main

RECONSTRUCTION = 10.0  # weight: faces after 6,400 pictures of 64 px; an adversary alone drew some after 55,000
MAPPING_RATE = 1.0  # of one layer: with two, at a hundredth, reconstruction did not begin within 4,000 pictures
ALONE = 20  # one step in so many of the generator's is without an adversary, and of the encoder's without pictures
JOINT = 10  # one step in so many of the encoder's has the generator as it came; from there on both learn
SETTLED = 3  # after one in so many the encoder knows faces well enough for identity to be looked for in its latents
GAMMA = 0.2  # of R1, at 256 px
# What differs from the paper, whose weights leave too much of the person at beta 0 and flicker.
ENCODER_SETTINGS: dict[str, Any] = {
    "pixel": 4.0,
    "identity": 0.5,
    "stranger": 0.15,
    "temporal": 0.5,
    "adversarial": 0.1,
    "eyes_and_mouth": 2.0,
    "beta_zero": 0.4,
    "joint_learning_rate": 1e-3,
    "gamma": GAMMA,
}
LAST_FILE = "private-encoder.safetensors"

AnyFaceModel = TypeVar("AnyFaceModel", bound=FaceModel)


@dataclass(frozen=True, kw_only=True)
class PrivateEncoderTrainConfig(RunConfig):
    """A run of all three.

    Attributes:
        data: Tars and folders of crops aligned to one template (`models.training.inputs.dataset.open_crops`).
        recognizers: Files or names of face recognisers, of which the first finds where identity lies.
        size: Side of the pictures in pixels: 64, 128 or 256.
        width: Channels of the generator at full size; twice as many at each half of it ...
        channel_max: ... up to this.
        latent_size: Of z and w.
        generator_steps: Last step of the generator; `steps` is the encoder's.
        encoder_width: Channels of the encoder's first stage.
        directions: Of the latents, that a stranger's values take.
        strangers: How many there are; 0 leaves the network as the paper has it.
    """

    data: tuple[Path, ...]
    recognizers: tuple[Path, ...]
    size: int = 128
    width: int = 32
    channel_max: int = 256
    latent_size: int = 128
    generator_steps: int = 60_000
    steps: int = 20_000
    encoder_width: int = 24
    directions: int = 100
    strangers: int = 2048


def train(config: PrivateEncoderTrainConfig) -> Iterator[TrainStep]:
    """Train from where the run folder stands until all is done or the minutes are over; yield as `follow` does."""
    ends = time.monotonic() + 60 * config.minutes
    generator, encoder = config.run / "generator", config.run / "encoder"
    if _taken(generator) < config.generator_steps:
        yield from train_generator.train(
            train_generator.GeneratorTrainConfig(
                **_common(config, generator, ends),
                steps=config.generator_steps,
                size=config.size,
                width=config.width,
                channel_max=config.channel_max,
                latent_size=config.latent_size,
                mapping_layers=1,
                mapping_rate=MAPPING_RATE,
                reconstruction=RECONSTRUCTION,
                adversarial_from=config.generator_steps // ALONE,
                gamma=GAMMA * (config.size / 256) ** 2,
            )
        )
    if _taken(generator) >= config.generator_steps and _taken(encoder) < config.steps:
        yield from train_encoder.train(
            train_encoder.EncoderTrainConfig(
                **_common(config, encoder, ends),
                steps=config.steps,
                generator=generator / "generator.safetensors",
                discriminator=generator / "discriminator.safetensors",
                codes=generator / "principal-codes.safetensors",
                codes_until=config.steps // ALONE,
                joint_from=config.steps // JOINT,
                strangers_from=config.steps // SETTLED if config.strangers else None,
                directions=config.directions,
                recognizers=config.recognizers,
                width=config.encoder_width,
                input_size=config.size,
                **ENCODER_SETTINGS,
            )
        )
    if _taken(encoder) >= config.steps:
        _finish(config, _loaded(PrivateEncoder, PrivateEncoderConfig, encoder / LAST_FILE))


def _common(config: PrivateEncoderTrainConfig, run: Path, ends: float) -> dict[str, Any]:
    """Return what a leg of either trainer takes from the whole run's configuration."""
    left = max(0.0, (ends - time.monotonic()) / 60)
    kept = {name: getattr(config, name) for name in ("data", "batch", "seed", "report_every", "save_minutes")}
    return kept | {"run": run, "minutes": left}


def _taken(run: Path) -> int:
    """Return how many steps a run has taken."""
    path = run / "state.pt"
    return int(torch.load(path, map_location="cpu", weights_only=True, mmap=True)["step"]) if path.exists() else 0


def _loaded(model_type: type[AnyFaceModel], config_type: type[Any], path: Path) -> AnyFaceModel:
    """Return the model of a checkpoint; `models.registry`, which knows all kinds, needs more than torch."""
    stored = read_checkpoint(path)
    model = model_type(config_from_json(config_type, stored.config), config_from_json(Template, stored.template))
    load_tensors(model, stored.tensors, path)
    return model.eval()


def _finish(config: PrivateEncoderTrainConfig, model: PrivateEncoder) -> None:
    """Write the model, with strangers if it is to have some, and their shapes if a mesh carries its pictures."""
    if config.strangers:
        in_mesh = model.template.kind == "mesh"
        model = with_strangers(
            model,
            open_crops(config.data, model.crop_size),
            load_recognizer(str(config.recognizers[0])),
            directions=config.directions,
            strangers=config.strangers,
            shape=_loaded(LinearRefined, LinearRefinedConfig, weights_path("linear-refined")).shape
            if in_mesh
            else None,
            seed=config.seed,
            trained=read_place(config.run / "encoder" / PLACE_FILE),
        )
    train_encoder.write_halved(model, config.run / LAST_FILE)


if __name__ == "__main__":
    main(PrivateEncoderTrainConfig, train)
