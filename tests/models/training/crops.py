"""Made-up crops, and the smallest configurations that train on them."""

from __future__ import annotations

import dataclasses
import functools
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn

from models.identity.recognizer import CompactRecognizer, FaceRecognizer, MobileFaceNet
from models.training.loop import RunConfig, TrainStep
from models.training.ranks import joined_ranks
from models.training.train_encoder import EncoderTrainConfig
from models.training.train_generator import GeneratorTrainConfig, GeneratorTrainer
from models.training.train_identity import IdentityTrainConfig


def assert_resumes_exactly(train: Callable[[Any], Iterator[TrainStep]], config: RunConfig, folder: Path) -> None:
    """Fail unless a run of 4 steps, cut after a report of 2, ends bit for bit where one ends that was not cut."""
    list(train(config))
    cut = dataclasses.replace(config, run=folder, minutes=0.0)
    assert [step.step for step in train(cut)] == [0, 2]
    assert [step.step for step in train(dataclasses.replace(cut, minutes=60.0))] == [2, 4]
    whole, resumed = (torch.load(run / "state.pt", weights_only=True)["parts"] for run in (config.run, cut.run))
    torch.testing.assert_close(resumed, whole, atol=0, rtol=0)


def write_crops(path: Path, *, count: int = 12, size: int = 64, transparent: int = 0) -> Path:
    """Write a tar of ovals on smooth grounds; the first `transparent` rows of each are not known."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:size, :size] / size - 0.5
    with tarfile.open(path, "w") as tar:
        for index in range(count):
            picture = np.ones((size, size, 3)) * rng.uniform(0, 120, 3) + 60 * x[..., None]
            wide, high = rng.uniform(0.25, 0.35), rng.uniform(0.35, 0.45)
            picture[(x / wide) ** 2 + (y / high) ** 2 < 1] = rng.uniform(130, 255, 3)
            alpha = np.full((size, size), 255)
            alpha[:transparent] = 0
            file = path.with_name(f"face{index}.png")
            cv2.imwrite(str(file), np.dstack([picture, alpha]).clip(0, 255).astype(np.uint8))
            tar.add(file, f"made/{file.name}")
            file.unlink()
    return path


def generator_config(folder: Path) -> GeneratorTrainConfig:
    """Return a configuration of two seconds a step or less; crops are written to `folder`, if there are none."""
    crops = folder / "crops.tar"
    if not crops.exists():
        write_crops(crops)
    return GeneratorTrainConfig(
        data=(crops,),
        run=folder / "generator-run",
        size=64,
        width=4,
        channel_max=16,
        latent_size=8,
        steps=4,
        batch=4,
        report_every=2,
    )


def encoder_config(folder: Path) -> EncoderTrainConfig:
    """Return the smallest encoder; its generator is untrained, its recogniser knows nothing.

    `mobilefacenet.pt` beside it is another.
    """
    config, trained = generator_config(folder), folder / "generator"
    if not trained.exists():
        trained.mkdir()
        for name, content in _untrained().items():
            (folder / name).write_bytes(content)
        torch.manual_seed(0)
    return EncoderTrainConfig(
        data=config.data,
        generator=trained / "generator.safetensors",
        discriminator=trained / "discriminator.safetensors",
        recognizers=(folder / "compact.safetensors",),
        run=folder / "encoder-run",
        width=16,
        stage_blocks=(1, 1, 1, 1),
        steps=4,
        batch=4,
        report_every=2,
    )


@functools.cache
def _untrained() -> dict[str, bytes]:
    """Return the files that an encoder is trained with, by their names; made once."""
    from models.training.inputs.dataset import open_crops

    with tempfile.TemporaryDirectory() as name, torch.random.fork_rng(devices=()):
        config, trained = generator_config(Path(name)), Path(name) / "generator"
        trained.mkdir()
        with joined_ranks() as ranks:
            GeneratorTrainer(config, open_crops(config.data, config.size), ranks).ship(trained)
        torch.manual_seed(0)
        torch.save(calibrated(MobileFaceNet()).state_dict(), trained.with_name("mobilefacenet.pt"))
        save_file(calibrated(CompactRecognizer()).state_dict(), trained.with_name("compact.safetensors"))
        config.data[0].unlink()
        files = (path for path in Path(name).rglob("*") if path.is_file())
        return {str(path.relative_to(name)): path.read_bytes() for path in files}


def identity_config(folder: Path) -> IdentityTrainConfig:
    """Return a short run of the recogniser on the same crops."""
    if not (folder / "teacher.pt").exists():
        (folder / "teacher.pt").write_bytes(_untrained()["mobilefacenet.pt"])
        torch.manual_seed(0)
    return IdentityTrainConfig(
        data=generator_config(folder).data,
        teacher=folder / "teacher.pt",
        run=folder / "identity-run",
        steps=8,
        batch=8,
        report_every=4,
    )


def calibrated(recognizer: FaceRecognizer) -> FaceRecognizer:
    """Return it with batch norms that have seen a batch; without, its embeddings are all alike."""
    for module in recognizer.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # the mean over all batches, here one
    with torch.no_grad():
        recognizer.train()(torch.randn(16, 3, 112, 112).clamp(-1, 1))
    return recognizer
