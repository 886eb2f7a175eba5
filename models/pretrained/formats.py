"""The layouts others publish weights in, recognised by the names and shapes of their tensors.

Read are the Private-Encoder of the paper's authors and pSp, which it builds on (Richardson et al. 2021); StyleGAN2 in
the PyTorch layout in wide use; ArcFace IR-SE-50, CurricularFace IR-101 and our own recognisers' state dicts.
"""

from __future__ import annotations

import argparse
import dataclasses
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from models.checkpoint import Checkpoint
from models.checkpoint_errors import CheckpointError
from models.face_model import DEFAULT_TEMPLATE, Template
from models.identity.recognizer import (
    IDENTITY_CROP_SIZE,
    IDENTITY_LANDMARKS,
    ArcFace,
    CompactRecognizer,
    CurricularFace,
    FaceRecognizer,
    MobileFaceNet,
)
from models.private_encoder.encoder import EncoderConfig
from models.private_encoder.generator import Generator, GeneratorConfig
from models.private_encoder.layers import fir_kernel
from models.private_encoder.private_encoder import PrivateEncoder, PrivateEncoderConfig

GENERATOR_KIND, RECOGNIZER_KIND = "stylegan2-generator", "recognizer"

_PSP_ENCODER = "GradualStyleEncoder"  # what the `opts` of a checkpoint call `models.private_encoder.encoder`

Points = tuple[tuple[float, float], ...]
Tensors = Mapping[str, Tensor]


def ffhq_points(face: Points) -> Points:
    """Return where the five points of `face` lie in the unit square of its crop by FFHQ's recipe.

    From Karras et al. 2018 (Progressive GAN, arXiv 1710.10196), appendix C, which FFHQ took over: with e the vector
    from eye to eye and m that from between the eyes to between the mouth corners, the crop is centred a tenth of m
    below the eyes, turned halfway between e and m's normal, and its side is the larger of 4 |e| and 3.6 |m|.

    Args:
        face: Eye centres, nose tip, mouth corners, image-left first, y down, in any unit.
    """
    points = np.array(face)
    between_eyes, between_corners = points[:2].mean(axis=0), points[3:].mean(axis=0)
    e, m = points[1] - points[0], between_corners - between_eyes
    right = e + np.array([m[1], -m[0]])  # m's normal points the way e does
    right /= np.linalg.norm(right)
    side = max(4 * np.linalg.norm(e), 3.6 * np.linalg.norm(m))
    offsets = points - (between_eyes + 0.1 * m)
    down = np.array([-right[1], right[0]])
    return tuple((float(offset @ right / side + 0.5), float(offset @ down / side + 0.5)) for offset in offsets)


# Of an average face looking ahead, whose points are those of our own template. FFHQ takes its crop from each face, a
# template from a mean one: over 6,000 faces the corners are 1 to 2 % of the side apart, the scale 3 % (deviation).
FFHQ_TEMPLATE = Template("similarity", ffhq_points(DEFAULT_TEMPLATE.points))
IDENTITY_TEMPLATE = Template(
    "similarity", tuple((x / IDENTITY_CROP_SIZE, y / IDENTITY_CROP_SIZE) for x, y in IDENTITY_LANDMARKS)
)


@dataclass(frozen=True)
class Published:
    """Weights of others under our names, every name and shape right.

    Attributes:
        name: What to call them.
        kind, config, template: As in `Checkpoint`.
        tensors: As published, of any precision.
    """

    name: str
    kind: str
    config: Mapping[str, Any]
    template: Template
    tensors: Tensors

    def checkpoint(self, path: Path | str) -> Checkpoint:
        """Return the same in float32.

        Raises:
            CheckpointError: If a value is not finite; `path` is where they are from.
        """
        tensors = {name: _float32(name, tensor, path) for name, tensor in self.tensors.items()}
        return Checkpoint(self.kind, self.config, dataclasses.asdict(self.template), tensors)


def recognise(content: Mapping[str, object], path: Path | str) -> Published:
    """Return `content` under our names if it is weights we know, all of them there and of the right shape.

    Raises:
        CheckpointError: If it is not; `path` is where it is from.
    """
    inner = next((content[key] for key in ("state_dict", "g_ema") if key in content), content)
    if not isinstance(inner, Mapping):
        raise CheckpointError(f"{path}: its weights are a {type(inner).__name__}, not a dict")
    tensors = {str(name): value for name, value in inner.items() if isinstance(value, Tensor)}
    for mark, convert in _FORMATS.items():
        if mark in tensors:
            try:
                return convert(tensors, content)
            except (ValueError, RuntimeError) as error:  # RuntimeError: torch, on absurd sizes
                raise CheckpointError(f"{path}: {error}") from error
    raise CheckpointError(
        f"{path}: none of the weights that can be read: Private-Encoder, pSp, StyleGAN2 in the common PyTorch layout, "
        "ArcFace IR-SE-50, CurricularFace IR-101, MobileFaceNet"
    )


def _from_psp(tensors: Tensors, content: Mapping[str, object]) -> Published:
    """Return a pSp or Private-Encoder checkpoint as a `PrivateEncoder`."""
    options = content.get("opts")
    options = vars(options) if isinstance(options, argparse.Namespace) else options
    options = options if isinstance(options, dict) else {}
    encoder = options.get("encoder_type", _PSP_ENCODER)
    if encoder != _PSP_ENCODER:  # encoder4editing has the very names and shapes, but adds its latents up differently
        raise ValueError(f"its encoder is {encoder}, and only {_PSP_ENCODER} can be read")
    config = PrivateEncoderConfig(_encoder_config(tensors), _generator_config(tensors, "decoder."))
    latents, size = config.encoder.latents, config.encoder.latent_size
    ours = {re.sub("^decoder", "generator", name): tensor for name, tensor in tensors.items()}
    # Without an average, the encoder was trained to make latents that stand for themselves.
    ours["latent_avg"] = _latent_avg(content, torch.zeros(size)).expand(latents, size)
    fitted = _fitted(ours, lambda: PrivateEncoder(config))
    name, target = f"psp-{config.generator.resolution}", options.get("target_id")
    if isinstance(target, (int, float)):  # beta, which the Private-Encoder's options have and those of pSp have not
        name = f"private-encoder-{config.generator.resolution}-beta-{target:g}"
    return Published(name, PrivateEncoder.kind, dataclasses.asdict(config), FFHQ_TEMPLATE, fitted)


def _from_stylegan2(tensors: Tensors, content: Mapping[str, object]) -> Published:
    """Return a StyleGAN2 as a `Generator` and, where it is published, its average latent."""
    config = _generator_config(tensors, "")
    fitted = _fitted(tensors, lambda: Generator(config))
    if content.get("latent_avg") is not None:
        fitted["latent_avg"] = _latent_avg(content, torch.zeros(config.latent_size)).reshape(config.latent_size)
    name = f"stylegan2-{config.resolution}"
    return Published(name, GENERATOR_KIND, dataclasses.asdict(config), FFHQ_TEMPLATE, fitted)


def _from_recognizer(network: type[FaceRecognizer]) -> Callable[[Tensors, Mapping[str, object]], Published]:
    """Return the function that takes weights of `network`."""

    def convert(tensors: Tensors, content: Mapping[str, object]) -> Published:
        fitted = _fitted(tensors, lambda: network.shaped_as(tensors))
        return Published(network.network, RECOGNIZER_KIND, {"network": network.network}, IDENTITY_TEMPLATE, fitted)

    return convert


# A name that tells each format, tried in this order: IR-SE-50 has the name of IR-101 as well.
_FORMATS: dict[str, Callable[[Tensors, Mapping[str, object]], Published]] = {
    "encoder.input_layer.0.weight": _from_psp,
    "input.input": _from_stylegan2,
    "body.0.res_layer.5.fc1.weight": _from_recognizer(ArcFace),
    "input_layer.0.weight": _from_recognizer(CurricularFace),
    "dw_conv.depthwise.weight": _from_recognizer(MobileFaceNet),
    "layers.0.enter.weight": _from_recognizer(CompactRecognizer),
}


def _encoder_config(tensors: Tensors) -> EncoderConfig:
    """Return the shape of the encoder in `tensors`."""
    width = _size(tensors, "encoder.input_layer.0.weight", 0)
    blocks = range(_count(tensors, "encoder.body."))
    outputs = [_size(tensors, f"encoder.body.{index}.res_layer.1.weight", 0) for index in blocks]
    first, second, third, fourth = (outputs.count(width * 2**stage) for stage in range(4))
    return EncoderConfig(
        input_size=16 * 2 ** _count(tensors, "encoder.styles.0.convs."),  # each halves the coarse level, down to 1
        latents=_count(tensors, "encoder.styles."),
        latent_size=_size(tensors, "encoder.styles.0.linear.weight", 0),
        stage_blocks=(first, second, third, fourth),
        width=width,
    )


def _generator_config(tensors: Tensors, prefix: str) -> GeneratorConfig:
    """Return the shape of the generator whose names in `tensors` start with `prefix`."""
    doublings = _count(tensors, f"{prefix}to_rgbs.")
    resolution = 4 * 2**doublings
    return GeneratorConfig(
        resolution=resolution,
        latent_size=_size(tensors, f"{prefix}conv1.conv.modulation.weight", 1),
        mapping_layers=_count(tensors, f"{prefix}style."),
        channel_base=_size(tensors, f"{prefix}convs.{2 * doublings - 1}.activate.bias", 0) * resolution,
        channel_max=_size(tensors, f"{prefix}input.input", 1),
    )


def _count(tensors: Tensors, prefix: str) -> int:
    """Return how many parts the list has whose names start with `prefix`."""
    return len({name[len(prefix) :].partition(".")[0] for name in tensors if name.startswith(prefix)})


def _size(tensors: Tensors, name: str, axis: int) -> int:
    """Return the size of a tensor along an axis."""
    if name not in tensors or tensors[name].ndim <= axis:
        raise ValueError(f"incomplete: {name} is missing or misshapen")
    return tensors[name].shape[axis]


def _latent_avg(content: Mapping[str, object], absent: Tensor) -> Tensor:
    """Return the average latent, `(D,)`, `(1, D)` or `(L, D)`, or `absent` `(D,)` where there is none."""
    value = content.get("latent_avg")
    if value is None:
        return absent
    if not isinstance(value, Tensor) or value.shape[-1:] != absent.shape:
        shape = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
        raise ValueError(f"latent_avg is {shape}, expected one latent of {len(absent)}, or as many as there are styles")
    return value


def _fitted(tensors: Tensors, network: Callable[[], nn.Module]) -> dict[str, Tensor]:
    """Return `tensors` with what files of others lack; raise a ValueError unless they are those of `network`."""
    with torch.device("meta"):  # names and shapes without a gigabyte of numbers
        expected = network().state_dict()
    fitted = dict(tensors)
    for name in expected.keys() - tensors.keys():
        fitted |= _filled(name, expected[name].shape, tensors)
    missing, unknown = sorted(expected.keys() - fitted.keys()), sorted(fitted.keys() - expected.keys())
    misshapen = sorted(name for name in expected.keys() & fitted.keys() if fitted[name].shape != expected[name].shape)
    if misshapen:
        is_, must = tuple(fitted[misshapen[0]].shape), tuple(expected[misshapen[0]].shape)
        raise ValueError(f"{len(misshapen)} tensors misshapen, such as {misshapen[0]}: is {is_}, must be {must}")
    if missing or unknown:
        such = (missing or unknown)[0]
        raise ValueError(f"{len(missing)} tensors missing and {len(unknown)} unknown, such as {such}")
    return fitted


def _filled(name: str, shape: torch.Size, tensors: Tensors) -> Tensors:
    """Return the tensor of that name where it may be absent, else nothing."""
    if ".beta_affine." in name:  # ours; at zero it changes nothing
        return {name: torch.zeros(shape)}
    if name.endswith(".num_batches_tracked"):  # PyTorch before 0.4.1 did not write it, and inference does not read it
        return {name: torch.zeros(shape, dtype=torch.int64)}
    if "noises." in name and not any("noises." in other for other in tensors):
        # Older files have none: they were trained with new noise each time, so that any will do, always the same.
        seeded = torch.Generator().manual_seed(int(name.rpartition("_")[2]))
        return {name: torch.randn(shape, generator=seeded)}
    return {}


def _float32(name: str, tensor: Tensor, path: Path | str) -> Tensor:
    """Return a copy in float32, or of the counters of batch norms in int64, that shares memory with no other."""
    counter = name.endswith(".num_batches_tracked")
    if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_floating_point() == counter:
        raise CheckpointError(
            f"{path}: {name} is {tensor.dtype} {tensor.layout}, expected plain floating point numbers"
        )
    copy = torch.empty(tensor.shape, dtype=torch.int64 if counter else torch.float32).copy_(tensor)
    if not copy.isfinite().all():
        raise CheckpointError(
            f"{path}: {name} has values that are not finite: damaged, or a training run that diverged"
        )
    if name.endswith(".kernel") and not torch.allclose(copy, fir_kernel(), atol=1e-4):
        raise CheckpointError(f"{path}: {name} is not the resampling filter 1 3 3 1, which alone can be read")
    return copy
