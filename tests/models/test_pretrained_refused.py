"""Weights of others that are wrong are refused in one line, and run no code."""

import argparse
import math
import pickle
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import pytest
import torch
from torch import Tensor

from models.checkpoint_errors import CheckpointError
from models.pretrained.formats import recognise
from models.pretrained.imported import (
    import_weights,
    read_published,
    stored_models,
)
from tests.models.published_weights import (
    small_psp,
)
from tests.models.saving import saved

# What is refused, in one line


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (
            lambda w: w.pop("decoder.convs.1.conv.weight"),
            r"1 tensors missing and 0 unknown, such as generator\.convs\.1",
        ),
        (lambda w: w.pop("encoder.input_layer.1.weight"), r"1 tensors missing.* encoder\.input_layer\.1\.weight"),
        (lambda w: w.pop("decoder.noises.noise_2"), r"1 tensors missing.* generator\.noises\.noise_2"),
        (lambda w: w.pop("decoder.input.input"), r"incomplete: decoder\.input\.input is missing"),
        (lambda w: w.update({"decoder.extra": torch.zeros(1)}), r"0 tensors missing and 1 unknown.* generator\.extra"),
        (
            lambda w: w.update({"encoder.latlayer1.weight": torch.zeros(128, 32, 1, 1)}),
            r"1 tensors misshapen, such as encoder\.latlayer1\.weight: is \(128, 32, 1, 1\), must be \(128, 64, 1, 1\)",
        ),
        (
            lambda w: w.update({"encoder.input_layer.0.weight": torch.zeros(16, 19, 3, 3)}),  # pSp from segmentations
            r"encoder\.input_layer\.0\.weight: is \(16, 19, 3, 3\), must be \(16, 3, 3, 3\)",
        ),
        (lambda w: w["decoder.to_rgb1.bias"].fill_(math.nan), r"generator\.to_rgb1\.bias has values that are not fin"),
        (lambda w: w["encoder.latlayer1.bias"].fill_(math.inf), r"encoder\.latlayer1\.bias has values that are not"),
        (
            lambda w: w.update({"encoder.latlayer1.bias": torch.zeros(128, dtype=torch.int64)}),
            r"encoder\.latlayer1\.bias is torch\.int64 .*expected plain floating point",
        ),
        (lambda w: w["decoder.convs.0.conv.blur.kernel"].mul_(2), r"blur\.kernel is not the resampling filter"),
    ],
)
def test_tensors_that_are_wrong_are_named(tmp_path: Path, damage: Callable[[dict[str, Tensor]], object], says: str):
    content = small_psp()
    damage(content["state_dict"])
    path = saved(content, tmp_path / "psp.pt")
    with pytest.raises(CheckpointError, match=rf"psp\.pt: .*{says}") as caught:
        import_weights(path)
    assert "\n" not in str(caught.value)
    assert stored_models() == []


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        # encoder4editing has pSp's names and shapes, but adds its latents to the first
        ({"opts": {"encoder_type": "Encoder4Editing"}}, "its encoder is Encoder4Editing, and only GradualStyleEncoder"),
        ({"latent_avg": torch.zeros(10, 7)}, r"latent_avg is \(10, 7\), expected one latent of 8"),
        ({"latent_avg": torch.zeros(9, 8)}, "expanded size"),
        ({"latent_avg": "mean"}, "latent_avg is str"),
        ({"state_dict": [1]}, "its weights are a list"),
        ({"state_dict": {"fc.weight": torch.zeros(1)}}, "none of the weights that can be read: Private-Encoder, pSp"),
    ],
)
def test_a_checkpoint_of_another_network_is_refused(changed: dict[str, object], says: str) -> None:
    with pytest.raises(CheckpointError, match=says):
        recognise(small_psp() | changed, "other.pt")


class Runs:
    """An object whose pickle calls a function when it is read."""

    def __reduce__(self) -> tuple[object, ...]:
        return print, ("this must never be run",)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_that_runs_code_is_refused_and_not_run(
    tmp_path: Path, zipped: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    content = small_psp() | {"opts": Runs()}
    torch.save(content, tmp_path / "evil.pt", _use_new_zipfile_serialization=zipped)
    with pytest.raises(CheckpointError, match=r"evil\.pt: a pickle that needs print: .* it is not read"):
        read_published(tmp_path / "evil.pt")
    assert "never" not in capsys.readouterr().out


def test_a_class_among_the_options_is_refused_with_its_name(tmp_path: Path) -> None:
    path = saved(small_psp() | {"opts": argparse.Namespace(exp_dir=Fraction(1, 2))}, tmp_path / "psp.pt")
    with pytest.raises(CheckpointError, match=r"a pickle that needs fractions\.Fraction"):
        read_published(path)


def test_reading_leaves_no_class_allowed_behind(tmp_path: Path) -> None:
    before = set(torch.serialization.get_safe_globals())
    read_published(saved({"opts": argparse.Namespace(a=1)}, tmp_path / "psp.pt"))
    assert set(torch.serialization.get_safe_globals()) == before


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "damaged, cut short, or not weights"),
        (b"\x17not weights at all", "damaged, cut short, or not weights"),
        (b"\n<!DOCTYPE html><html>Sign in to download</html>", "a web page, not weights: download the file itself"),
        (pickle.dumps({"G_ema": Runs()}, protocol=4), "a pickle that needs more than tensors"),  # as NVIDIA's .pkl
        (b"\x20" + bytes(7) + b'{"a": damaged', "damaged, cut short, or not weights"),
    ],
)
def test_a_file_that_is_no_checkpoint_is_named(tmp_path: Path, content: bytes, says: str) -> None:
    (tmp_path / "file.pt").write_bytes(content)
    with pytest.raises(CheckpointError, match=rf"file\.pt: .*{says}") as caught:
        import_weights(tmp_path / "file.pt")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("kept", [0.5, 0.99])
def test_a_download_that_was_cut_short_is_named(tmp_path: Path, zipped: bool, kept: float) -> None:
    torch.save(small_psp(), tmp_path / "whole.pt", _use_new_zipfile_serialization=zipped)
    content = (tmp_path / "whole.pt").read_bytes()
    (tmp_path / "cut.pt").write_bytes(content[: int(kept * len(content))])
    with pytest.raises(CheckpointError, match=r"cut\.pt: damaged, cut short"):
        read_published(tmp_path / "cut.pt")
