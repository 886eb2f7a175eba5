"""What was run: model and hash, settings, versions, date. What a figure is worth nothing without."""

from __future__ import annotations

import platform
from datetime import UTC, datetime
from importlib import metadata

import streamer
from models.checkpoint import file_sha256, weights_path
from streamer.pipeline.anonymizer import Anonymizer

PACKAGES = ("torch", "mediapipe", "opencv-python", "dlib-bin", "scikit-image", "scikit-learn", "scipy")


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
        "beta": f"{anonymizer.settings.beta:g}",
        "key": "a new one for this run" if anonymizer.settings.key is None else "given",
        "device": str(anonymizer.device),
    }


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
