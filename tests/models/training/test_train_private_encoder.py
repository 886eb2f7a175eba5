"""The paper's network in legs: generator, encoder, strangers, each where the last leg left it."""

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest

from models.private_encoder.private_encoder import PrivateEncoder
from models.registry import load_as
from models.training.train_private_encoder import PrivateEncoderTrainConfig, train
from tests.models.training.crops import encoder_config


@pytest.fixture
def config(tmp_path: Path) -> PrivateEncoderTrainConfig:
    small = encoder_config(tmp_path)
    return PrivateEncoderTrainConfig(
        data=small.data,
        recognizers=small.recognizers,
        run=tmp_path / "run",
        size=64,
        width=4,
        channel_max=16,
        latent_size=8,
        generator_steps=2,
        steps=2,
        encoder_width=16,
        directions=2,
        strangers=3,
        batch=4,
        report_every=1,
    )


@pytest.mark.slow
def test_it_ends_with_a_model_that_has_strangers(config: PrivateEncoderTrainConfig) -> None:
    assert [step.step for step in train(config)] == [0, 1, 2, 0, 1, 2]
    model = load_as(PrivateEncoder, config.run / "private-encoder.safetensors")
    assert (model.crop_size, model.identity_size, model.config.strangers) == (64, 2, 3)
    assert list(train(config)) == []  # done


@pytest.mark.slow
def test_legs_of_no_time_get_there_too(config: PrivateEncoderTrainConfig) -> None:
    leg = dataclasses.replace(config, minutes=0.0, strangers=0)
    assert [[step.step for step in train(leg)] for _ in range(5)] == [[0, 1], [1, 2, 0, 1], [1, 2], [], []]
    assert load_as(PrivateEncoder, config.run / "private-encoder.safetensors").identity_size == 0


@pytest.mark.slow
def test_it_runs_where_there_is_nothing_that_reads_video(config: PrivateEncoderTrainConfig) -> None:
    program = (
        "import sys; sys.modules |= dict.fromkeys(['cv2', 'av', 'mediapipe', 'kornia', 'typer', 'streamer']);"
        "import runpy; sys.argv = sys.argv[1:];"
        "runpy.run_module('models.training.train_private_encoder', run_name='__main__', alter_sys=True)"
    )
    given = [str(config.data[0]), "--recognizers", str(config.recognizers[0]), "--run", str(config.run)]
    given += ["--size", "64", "--width", "4", "--channel-max", "16", "--latent-size", "8", "--batch", "4"]
    given += ["--generator-steps", "1", "--steps", "1", "--strangers", "0", "--encoder-width", "16"]
    done = subprocess.run([sys.executable, "-c", program, "x", *given], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
