"""Weights others publish: read without running what they bring along, verified, made ours, kept, and loaded."""

from __future__ import annotations

import argparse
import pickle
import re
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from models.checkpoint import (
    Checkpoint,
    config_from_json,
    import_folder,
    load_tensors,
    read_checkpoint,
    store_weights,
    verify_imports,
    weights_path,
)
from models.checkpoint_errors import CheckpointError
from models.identity.recognizer import RECOGNIZERS, FaceRecognizer
from models.pretrained.formats import GENERATOR_KIND, RECOGNIZER_KIND, recognise
from models.private_encoder.generator import Generator, GeneratorConfig

_UNSAFE = re.compile(r"GLOBAL ([\w.]+)")  # in torch's message: what a pickle asks for beyond tensors


@dataclass(frozen=True)
class StoredModel:
    """A line of `veil models list`."""

    name: str
    description: str
    intact: bool


def import_weights(path: Path | str, name: str | None = None) -> StoredModel:
    """Convert the weights at `path` and keep them; `weights_path` knows them by name from then on.

    Args:
        path: What others publish.
        name: What to call them; by default what they are, such as "psp-1024".

    Raises:
        CheckpointError: If they cannot be used, or the name is taken.
        OSError: If the import folder cannot be written.
    """
    if _is_ours(Path(path)):
        raise CheckpointError(f"{path}: a checkpoint of veil already: give its path to --model")
    published = recognise(read_published(path), path)
    name = published.name if name is None else name
    return StoredModel(name, describe(store_weights(published.checkpoint(path), name)), intact=True)


def stored_models() -> list[StoredModel]:
    """Return the imported models, by name."""
    return [
        StoredModel(name, describe(import_folder() / f"{name}.safetensors") if intact else "", intact)
        for name, intact in sorted(verify_imports().items())
    ]


def describe(path: Path) -> str:
    """Return in words what the imported checkpoint at `path` is and is good for."""
    checkpoint = read_checkpoint(path, named=".beta_affine.")
    if checkpoint.kind == RECOGNIZER_KIND:
        return "face recogniser, for training and evaluation"
    if checkpoint.kind == GENERATOR_KIND:
        return f"generator of {checkpoint.config['resolution']} px without an encoder, for `veil train encoder`"
    takes_beta = any(tensor.any() for tensor in checkpoint.tensors.values())
    level = "" if takes_beta else "; serves one privacy level only, whatever --beta"
    return f"face model of {checkpoint.config['generator']['resolution']} px{level}"


def load_generator(name_or_path: Path | str) -> tuple[Generator, Tensor | None]:
    """Return a StyleGAN2 generator, frozen, and its average latent `(D,)` if the file has one.

    Args:
        name_or_path: The name of an imported one, or the path of one of ours or as published.

    Raises:
        CheckpointError: If it cannot be used.
    """
    path = weights_path(name_or_path)
    checkpoint = _read(path)
    if checkpoint.kind != GENERATOR_KIND:
        raise CheckpointError(f"{path}: holds a {checkpoint.kind}, not a generator")
    try:
        generator = Generator(config_from_json(GeneratorConfig, checkpoint.config))
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: its configuration is damaged: {error}") from error
    tensors = dict(checkpoint.tensors)
    latent_avg = tensors.pop("latent_avg", None)
    load_tensors(generator, tensors, path)
    return generator.eval().requires_grad_(False), latent_avg


def load_recognizer(name_or_path: Path | str) -> FaceRecognizer:
    """Return a face recogniser: in eval mode, weights frozen, on the CPU.

    Args:
        name_or_path: The name of an imported one, or the path of one of ours or as published.

    Raises:
        CheckpointError: If it cannot be used.
    """
    path = weights_path(name_or_path)
    checkpoint = _read(path)
    if checkpoint.kind != RECOGNIZER_KIND:
        raise CheckpointError(f"{path}: holds a {checkpoint.kind}, not a face recogniser")
    networks = {network.network: network for network in RECOGNIZERS}
    name = checkpoint.config.get("network")
    if name not in networks:
        raise CheckpointError(f"{path}: unknown recogniser {name!r}, known are {', '.join(networks)}")
    model = networks[name].shaped_as(checkpoint.tensors)
    load_tensors(model, checkpoint.tensors, path)
    return model.eval().requires_grad_(False)


def read_published(path: Path | str) -> Mapping[str, object]:
    """Return what a PyTorch or bare safetensors file holds, without running anything it brings along.

    Raises:
        CheckpointError: If it cannot be read, is damaged, or is a pickle that needs more than tensors and options.
    """
    path = Path(path)
    try:
        content = _load(path)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror or error}") from error
    except Exception as error:  # torch raises many types for a bad file: pickle, zip, end of file, key
        raise CheckpointError(f"{path}: {_refusal(path, error)}") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path}: holds a {type(content).__name__}, expected a dict of weights")
    return content


def _load(path: Path) -> object:
    """Return what the file holds: tensors, plain values, and options as argparse keeps them."""
    if _is_safetensors(path):
        return safetensors.torch.load_file(path)
    with warnings.catch_warnings(), torch.serialization.safe_globals([argparse.Namespace]):
        warnings.simplefilter("ignore")  # about pickles that torch then refuses
        return torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))


def _refusal(path: Path, error: Exception) -> str:
    """Return in one line why the file could not be read, and what to do."""
    with path.open("rb") as file:
        head = file.read(64).lstrip()
    if head.startswith(b"<"):
        return "is a web page, not weights: download the file itself"
    if not isinstance(error, pickle.UnpicklingError) or not head.startswith((b"\x80", b"PK")):
        return "damaged, cut short, or not weights of PyTorch: download it again"
    asked = _UNSAFE.search(str(error))
    return (
        f"a pickle that needs {asked[1] if asked else 'more than tensors'}: reading it could run code it brings along, "
        "so it is not read; where you trust it, load it yourself, torch.save its state_dict alone, and import that"
    )


def _read(path: Path) -> Checkpoint:
    """Return the checkpoint at `path`, ours or as published."""
    return read_checkpoint(path) if _is_ours(path) else recognise(read_published(path), path).checkpoint(path)


def _is_ours(path: Path) -> bool:
    """Return whether a file is a checkpoint with configuration; what is wrong with it, its reader says."""
    try:
        if not _is_safetensors(path):
            return False
        with safetensors.safe_open(path, framework="pt") as file:
            return "veil_format" in (file.metadata() or {})
    except (OSError, safetensors.SafetensorError):
        return False


def _is_safetensors(path: Path) -> bool:
    """Return whether a file begins as safetensors do: eight bytes of length, then JSON."""
    with path.open("rb") as file:
        return file.read(9)[8:] == b"{"
