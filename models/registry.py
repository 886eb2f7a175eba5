"""The kinds of models that draw faces, and how a checkpoint becomes one. A new kind is added here."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import torch

from models.checkpoint import Checkpoint, config_from_json, load_tensors, read_checkpoint, weights_path
from models.checkpoint_errors import CheckpointError
from models.face_model import FaceModel, Template
from models.linear_refined import LinearRefined, LinearRefinedConfig
from models.private_encoder.private_encoder import PrivateEncoder, PrivateEncoderConfig
from models.textures import Textures, TexturesConfig

_OTHER_KINDS = {  # of checkpoints that are read elsewhere (`models.pretrained.imported`)
    "stylegan2-generator": "a generator without an encoder; `veil train encoder` makes one for it",
    "principal-codes": "what a generator drew crops again from; `veil train encoder --codes` follows it",
    "recognizer": "a face recogniser: it draws no faces, it tells them apart",
}

AnyFaceModel = TypeVar("AnyFaceModel", bound=FaceModel)


def load_face_model(name_or_path: Path | str, device: torch.device | str = "cpu") -> FaceModel:
    """Return the model of a checkpoint: "default", the name of weights we ship or of imported ones, or a path.

    Raises:
        CheckpointError: If the file is missing, damaged, of another format, or does not fit its own configuration.
    """
    path = weights_path(name_or_path)
    checkpoint = read_checkpoint(path)
    model = _build(checkpoint, path)
    load_tensors(model, checkpoint.tensors, path)
    return model.to(device)


def load_as(model_type: type[AnyFaceModel], path: Path | str) -> AnyFaceModel:
    """Return the model of the file at `path`, on the CPU.

    Raises:
        CheckpointError: If the file cannot be used, or holds a model of another type.
    """
    model = load_face_model(Path(path))
    if not isinstance(model, model_type):
        raise CheckpointError(f"{path}: holds a {model.kind} model, not {model_type.__name__}")
    return model


def _build(checkpoint: Checkpoint, path: Path) -> FaceModel:
    """Return the model a checkpoint describes, before its weights."""
    if checkpoint.kind in _OTHER_KINDS:
        raise CheckpointError(f"{path}: holds {_OTHER_KINDS[checkpoint.kind]}")
    try:
        template = config_from_json(Template, checkpoint.template)
        if checkpoint.kind == LinearRefined.kind:
            return LinearRefined(config_from_json(LinearRefinedConfig, checkpoint.config), template)
        if checkpoint.kind == PrivateEncoder.kind:
            return PrivateEncoder(config_from_json(PrivateEncoderConfig, checkpoint.config), template)
        if checkpoint.kind == Textures.kind:
            return Textures(config_from_json(TexturesConfig, checkpoint.config), template)
    except (TypeError, ValueError, AttributeError, RuntimeError) as error:  # RuntimeError: torch, on absurd sizes
        raise CheckpointError(f"{path}: its configuration is damaged: {error}") from error
    known = f"{LinearRefined.kind}, {PrivateEncoder.kind}, {Textures.kind}"
    raise CheckpointError(f"{path}: unknown kind of model {checkpoint.kind!r}, known are {known}; update Veil")
