"""Checkpoints on disk: one safetensors file with the configuration that rebuilds its model; those we ship or import."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, get_origin, get_type_hints

import safetensors
import safetensors.torch
from torch import Tensor, nn

from models.checkpoint_errors import CheckpointError

FORMAT_VERSION = "1"  # raised when an older reader would misread the file
DEFAULT_WEIGHTS = "linear-refined"
WEIGHTS = Path(__file__).parent / "weights"

Config = TypeVar("Config")

_SUMS = "SHA256SUMS"  # lines as `sha256sum` writes them
_NAME = re.compile(r"[A-Za-z0-9][\w.+-]*", re.ASCII)  # no separator of folders, nothing hidden, no space


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint file holds.

    Attributes:
        kind: Which model it is for, such as "private-encoder".
        config: The model's configuration, as JSON values.
        template: How its crops are aligned, as JSON values.
        tensors: The state dict, on the CPU.
    """

    kind: str
    config: Mapping[str, Any]
    template: Mapping[str, Any]
    tensors: Mapping[str, Tensor]


def write_checkpoint(checkpoint: Checkpoint, path: Path | str) -> None:
    """Write `checkpoint` to `path`; a file of that name is replaced once the new one is complete.

    Raises:
        OSError: If the disk is full, the folder missing, or writing not allowed.
    """
    path = Path(path)
    metadata = {
        "veil_format": FORMAT_VERSION,
        "kind": checkpoint.kind,
        "config": json.dumps(checkpoint.config),
        "template": json.dumps(checkpoint.template),
    }
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in checkpoint.tensors.items()}
    content = safetensors.torch.save(tensors, metadata)
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        partial.write_bytes(content)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def read_checkpoint(path: Path | str, named: str = "") -> Checkpoint:
    """Return the content of the file at `path`.

    Args:
        path: The file.
        named: Only tensors whose name contains this are read: of a gigabyte, what a question needs.

    Raises:
        CheckpointError: If it is missing, damaged, of another format or another version of ours.
    """
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            _check_version(metadata, path)
            names = [name for name in file.keys() if named in name]  # noqa: SIM118  not a dict
            tensors = {name: file.get_tensor(name) for name in names}
        config, template = json.loads(metadata["config"]), json.loads(metadata["template"])
        return Checkpoint(metadata["kind"], config, template, tensors)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (safetensors.SafetensorError, json.JSONDecodeError) as error:
        raise CheckpointError(f"{path}: damaged or not a safetensors file: {error}") from error
    except KeyError as error:
        raise CheckpointError(f"{path}: the metadata has no {error}") from error


def _check_version(metadata: Mapping[str, str], path: Path | str) -> None:
    """Raise a `CheckpointError` unless the file was written for this reader."""
    version = metadata.get("veil_format")
    if version is None:
        raise CheckpointError(f"{path}: not a checkpoint of veil (no veil_format in its metadata)")
    if version != FORMAT_VERSION:
        raise CheckpointError(f"{path}: format {version}, this version of veil reads {FORMAT_VERSION}; update Veil")


def config_from_json(config_type: type[Config], values: Mapping[str, Any]) -> Config:
    """Return the dataclass whose `dataclasses.asdict` went through JSON to `values`.

    Raises:
        TypeError: If a field is missing, unknown, or a dataclass where JSON has no object.
        ValueError: If the dataclass refuses a value.
    """
    hints = get_type_hints(config_type)
    return config_type(**{name: _value_from_json(hints.get(name), value) for name, value in values.items()})


def _value_from_json(hint: object, value: object) -> object:
    """Return `value` as the type of `hint`: JSON has neither dataclasses nor tuples."""
    if isinstance(hint, type) and dataclasses.is_dataclass(hint) and isinstance(value, dict):
        return config_from_json(hint, value)
    if get_origin(hint) is tuple and isinstance(value, list):
        return tuple(tuple(entry) if isinstance(entry, list) else entry for entry in value)
    return value


def load_tensors(module: nn.Module, tensors: Mapping[str, Tensor], path: Path | str) -> None:
    """Fill `module` with `tensors`, all of them and no others; `path` is where they are from.

    Raises:
        CheckpointError: If they are not those of `module` by name and shape.
    """
    expected = module.state_dict()
    wrong = expected.keys() ^ tensors.keys()
    wrong |= {name for name, tensor in tensors.items() if name in expected and tensor.shape != expected[name].shape}
    if wrong:
        raise CheckpointError(f"{path}: {len(wrong)} weights missing, unknown or misshapen, such as {min(wrong)}")
    module.load_state_dict(dict(tensors))


def import_folder() -> Path:
    """Return where imported weights are kept: $VEIL_MODELS, or veil/models where the platform keeps a user's data."""
    if chosen := os.environ.get("VEIL_MODELS"):
        return Path(chosen)
    places = {
        "darwin": Path.home() / "Library" / "Application Support",
        "win32": Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"),
    }
    data = places.get(sys.platform) or Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    return data / "veil" / "models"


def store_weights(checkpoint: Checkpoint, name: str) -> Path:
    """Write `checkpoint` to the import folder, note its sha256 there, and return its path.

    Raises:
        CheckpointError: If the name cannot be a file's or is taken by weights that are intact.
        OSError: If the folder cannot be written.
    """
    _check_free(name)
    folder = import_folder()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.safetensors"
    write_checkpoint(checkpoint, path)
    sums = _imported() | {name: file_sha256(path)}
    partial = folder / f"{_SUMS}.{os.getpid()}.partial"
    partial.write_text("".join(f"{digest}  {file}.safetensors\n" for file, digest in sorted(sums.items())))
    partial.replace(folder / _SUMS)
    return path


def weights_path(name_or_path: Path | str, *, folder: Path = WEIGHTS) -> Path:
    """Return the checkpoint file a user asked for.

    Args:
        name_or_path: "default", the name of weights we ship or of imported ones, or the path of any other file.
        folder: Where the shipped weights and their SHA256SUMS are.

    Raises:
        CheckpointError: If there is no such file, or it is not what was shipped or imported.
    """
    name = DEFAULT_WEIGHTS if name_or_path == "default" else str(name_or_path)
    shipped = _listed(folder)
    if isinstance(name_or_path, str) and name in shipped:
        return _verified(folder, name, shipped[name], cure="reinstall veil-stream")
    imported = _imported()  # after ours: damage there must not keep ours from loading
    if isinstance(name_or_path, str) and name in imported:
        return _verified(import_folder(), name, imported[name], cure="import it again")
    if Path(name).is_file():
        return Path(name)
    ours, others = ", ".join(shipped) or "none installed", ", ".join(imported) or "none"
    raise CheckpointError(f"{name}: no such file, and not one of our weights: {ours}; imported: {others}")


def verify_weights(*, folder: Path = WEIGHTS) -> dict[str, bool]:
    """Return for each of the weights we ship whether its file is there and unchanged."""
    return {name: _is_intact(folder, name, digest) for name, digest in _listed(folder).items()}


def verify_imports() -> dict[str, bool]:
    """Return for each of the imported weights whether its file is unchanged."""
    return {name: _is_intact(import_folder(), name, digest) for name, digest in _imported().items()}


def file_sha256(path: Path | str) -> str:
    """Return the SHA-256 of a file, as 64 hexadecimal digits."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check_free(name: str) -> None:
    """Raise a `CheckpointError` if no weights can be imported under `name`; in place of damaged ones they can."""
    if not _NAME.fullmatch(name):
        raise CheckpointError(f"{name!r}: a name is letters, digits and . _ + -, and starts with a letter or digit")
    if name in ("default", "auto") or name in _listed(WEIGHTS):
        raise CheckpointError(f"{name}: is a model of ours; choose another --name")
    if _is_intact(import_folder(), name, _imported().get(name, "")):
        raise CheckpointError(f"{name}: there is one already; choose another --name, or delete it in {import_folder()}")


def _imported() -> dict[str, str]:
    """Return name and sha256 of the imported weights; who deletes a file has no such weights any more."""
    folder = import_folder()
    return {name: digest for name, digest in _listed(folder).items() if (folder / f"{name}.safetensors").is_file()}


def _listed(folder: Path) -> dict[str, str]:
    """Return name and sha256 of the weights in `folder`, by its SHA256SUMS."""
    sums = folder / _SUMS
    if not sums.is_file():
        return {}
    rows = [line.split() for line in sums.read_text().splitlines()]
    if any(len(row) != 2 for row in rows):
        raise CheckpointError(f"{sums}: damaged; delete it, and reinstall veil-stream or import again")
    return {file.removesuffix(".safetensors"): digest for digest, file in rows}


def _is_intact(folder: Path, name: str, digest: str) -> bool:
    """Return whether the file of `name` has the sha256 `digest`."""
    path = folder / f"{name}.safetensors"
    return path.is_file() and file_sha256(path) == digest


def _verified(folder: Path, name: str, digest: str, *, cure: str) -> Path:
    """Return the file of `name`, or raise a `CheckpointError` that names the cure if its sha256 is not `digest`."""
    path = folder / f"{name}.safetensors"
    if not _is_intact(folder, name, digest):
        raise CheckpointError(f"{path}: sha256 does not match; {cure}")
    return path
