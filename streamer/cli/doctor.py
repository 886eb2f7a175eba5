"""Looks at the machine: what is installed, whether it fits together, and what is missing."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import streamer

OPENCV_PACKAGES = (
    "opencv-python",
    "opencv-contrib-python",
    "opencv-python-headless",
    "opencv-contrib-python-headless",
)
MEDIAPIPE_MODELS = (
    "face_detection/face_detection_short_range.tflite",
    "face_detection/face_detection_full_range_sparse.tflite",
    "face_landmark/face_landmark.tflite",
)
ENCODERS = {
    "h264": ("libx264", True),
    "hevc": ("libx265", False),
    "vp9": ("libvpx-vp9", False),
    "av1": ("libsvtav1", False),
}
DECODERS = {"h264": True, "hevc": False, "vp9": False, "av1": False}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at.

    Attributes:
        name: What.
        value: What was found, in words.
        ok: Whether it works.
        needed: Whether Veil fails without it.
    """

    name: str
    value: str
    ok: bool = True
    needed: bool = True

    @property
    def broken(self) -> bool:
        """Whether this stops Veil from working."""
        return self.needed and not self.ok


def examine() -> list[Finding]:
    """Return everything worth knowing about this machine; nothing raises, a failure is a finding."""
    looks: dict[str, Callable[[], Iterator[Finding]]] = {
        "versions": _versions,
        "devices": _devices,
        "codecs": _codecs,
        "opencv": _opencv,
        "mediapipe models": _mediapipe_models,
        "center face": _center_face,
        "weights": _weights,
    }
    return [finding for name, look in looks.items() for finding in _guarded(name, look)]


def _guarded(name: str, look: Callable[[], Iterator[Finding]]) -> list[Finding]:
    findings: list[Finding] = []
    try:
        findings.extend(look())
    except Exception as error:  # a broken library may raise anything while it is imported, and that is the finding
        findings.append(Finding(name, f"{type(error).__name__}: {error}", ok=False))
    return findings


def _versions() -> Iterator[Finding]:
    yield Finding("veil", streamer.__version__)
    yield Finding("python", f"{platform.python_version()} on {platform.system()} {platform.machine()}")
    for package in ("torch", "av", "opencv-python", "mediapipe", "numpy", "safetensors"):
        try:
            yield Finding(package, metadata.version(package))
        except metadata.PackageNotFoundError:
            yield Finding(package, f"not installed; pip install {package}", ok=False)


def _devices() -> Iterator[Finding]:
    import torch

    yield Finding("cpu", f"{torch.get_num_threads()} threads")
    names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    yield Finding("cuda", ", ".join(names) or "none; --device auto takes the cpu", ok=bool(names), needed=False)


def _codecs() -> Iterator[Finding]:
    import av
    import av.codec

    libraries = ", ".join(f"{name} {'.'.join(map(str, version))}" for name, version in av.library_versions.items())
    yield Finding("ffmpeg", f"{av.ffmpeg_version_info} ({libraries})")
    for name, (encoder, needed) in ENCODERS.items():
        yield _codec(f"{name} encoder", encoder, "w", needed=needed)
    for name, needed in DECODERS.items():
        yield _codec(f"{name} decoder", name, "r", needed=needed)


def _codec(label: str, codec: str, mode: Literal["r", "w"], *, needed: bool) -> Finding:
    import av.codec

    try:
        found = av.codec.Codec(codec, mode)
    except av.codec.codec.UnknownCodecError:
        return Finding(label, f"this build of av has no {codec}", ok=False, needed=needed)
    return Finding(label, found.name, needed=needed)


def _opencv() -> Iterator[Finding]:
    installed = {}
    for package in OPENCV_PACKAGES:
        try:
            installed[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    import cv2

    together = ", ".join(f"{package} {version}" for package, version in installed.items())
    agree = len(set(installed.values())) <= 1
    advice = "" if agree else "; they overwrite each other's cv2: pip install them all at one version"
    yield Finding("cv2", f"{cv2.__version__} from {together}{advice}", ok=agree)


def _mediapipe_models() -> Iterator[Finding]:
    import mediapipe  # noqa: F401 - whether it loads at all

    package = find_spec("mediapipe")
    if package is None or package.origin is None:
        yield Finding("mediapipe models", "mediapipe is not installed", ok=False)
        return
    folder = Path(package.origin).parent / "modules"
    missing = [model for model in MEDIAPIPE_MODELS if not (folder / model).is_file()]
    if missing:
        advice = "pip install 'mediapipe>=0.10.21,<0.10.22' has them"
        yield Finding("mediapipe models", f"missing: {', '.join(missing)}; {advice}", ok=False)
    else:
        yield Finding("mediapipe models", f"{len(MEDIAPIPE_MODELS)} of {len(MEDIAPIPE_MODELS)}")


def _center_face() -> Iterator[Finding]:
    from streamer.faces.center_face import CenterFace

    CenterFace()
    yield Finding("center face", "verified")


def _weights() -> Iterator[Finding]:
    from models.checkpoint import verify_imports, verify_weights

    verified = verify_weights()
    if not verified:
        yield Finding("weights", "none installed; reinstall veil-stream", ok=False)
    for name, intact in verified.items():
        advice = "verified" if intact else "missing or changed (sha256 differs); reinstall veil-stream"
        yield Finding(f"weights {name}", advice, ok=intact)
    for name, intact in verify_imports().items():
        advice = "imported, verified" if intact else "changed (sha256 differs); import it again"
        yield Finding(f"model {name}", advice, ok=intact, needed=False)
