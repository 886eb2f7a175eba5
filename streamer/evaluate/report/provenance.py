"""What was run: model and hash, settings, versions, date. What a figure is worth nothing without."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

import streamer
from models.checkpoint import file_sha256, weights_path
from streamer.pipeline.anonymizer import Anonymizer

PACKAGES = ("torch", "mediapipe", "opencv-python", "dlib-bin", "scikit-image", "scikit-learn", "scipy")

KEY = (
    "no face can be recovered with a key, but with it and a photo of a person their stranger can be made again and "
    "compared"
)


def settings_of(model: str, anonymizer: Anonymizer) -> dict[str, str]:
    """Return what our own output was made with; the key is a secret, and only whether one was given is said.

    Args:
        model: The name or path that `anonymizer` was loaded from.
        anonymizer: With its settings and device.

    Raises:
        CheckpointError: If the weights are gone or changed.
    """
    path = weights_path(model)
    return {
        "model": path.stem if model == "default" else model,
        "model sha256": file_sha256(path),
        "beta": f"{anonymizer.settings.beta:g}, where 0 keeps least of the person and 1 most",
        "key": f"{'made for this run and not kept' if anonymizer.settings.key is None else 'given'}; {KEY}",
        "device": str(anonymizer.device),
    }


def depends_on(model: str | None, settings: object, recognizers: Sequence[str], inception: Path | None) -> str:
    """Return a hash of all that figures depend on, beside photos, outputs and methods.

    Args:
        model: Name or path of our weights; None where outputs are another tool's.
        settings: Of our own output, key included.
        recognizers: As given on the command line; those that are files are known by their hashes.
        inception: Weights for FID, or None.
    """
    files = [weights_path(model)] if model else []
    files += [Path(each.partition("@")[0]) for each in recognizers] + ([inception] if inception else [])
    hashes = [file_sha256(path) for path in files if path.is_file()]
    return hashlib.sha256(repr((hashes, settings, tuple(recognizers), streamer.__version__)).encode()).hexdigest()


def versions() -> dict[str, str]:
    """Return the date, in UTC, and the version of everything that a figure may depend on."""
    packages = ", ".join(f"{name} {_version(name)}" for name in PACKAGES)
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "veil": streamer.__version__,
        "python": f"{platform.python_version()} on {platform.system()} {platform.machine()}",
        "packages": packages,
    }


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "absent"
