import builtins
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from models import checkpoint
from streamer.cli import doctor


def named(name: str) -> doctor.Finding:
    return next(finding for finding in doctor.examine() if finding.name == name)


def test_versions_devices_codecs_and_models_are_found_here():
    findings = {finding.name: finding for finding in doctor.examine()}
    for name in ("veil", "python", "torch", "av", "numpy", "cpu", "ffmpeg", "h264 encoder", "cv2", "mediapipe models"):
        assert findings[name].ok, findings[name]
        assert findings[name].value
    assert not findings["cuda"].needed


def test_opencv_packages_at_different_versions_are_broken(monkeypatch: pytest.MonkeyPatch):
    versions = {"opencv-python": "4.11.0.86", "opencv-contrib-python": "5.0.0.1"}
    real = metadata.version

    def version(package: str) -> str:
        return versions[package] if package in versions else real(package)

    monkeypatch.setattr(metadata, "version", version)
    finding = named("cv2")
    assert finding.broken
    assert "opencv-python 4.11.0.86" in finding.value
    assert "opencv-contrib-python 5.0.0.1" in finding.value


def test_a_missing_package_is_broken_and_says_what_to_install(monkeypatch: pytest.MonkeyPatch):
    real = metadata.version

    def version(package: str) -> str:
        if package == "safetensors":
            raise metadata.PackageNotFoundError(package)
        return real(package)

    monkeypatch.setattr(metadata, "version", version)
    assert named("safetensors").broken
    assert "pip install safetensors" in named("safetensors").value


def test_a_library_that_cannot_be_loaded_is_a_finding_and_not_a_crash(monkeypatch: pytest.MonkeyPatch):
    real = builtins.__import__

    def load(name: str, *rest: Any) -> Any:  # noqa: ANN401
        if name == "mediapipe":
            raise ImportError("libGL.so.1: cannot open shared object file")
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", load)
    finding = named("mediapipe models")
    assert finding.broken
    assert "libGL.so.1" in finding.value


def test_missing_mediapipe_models_are_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(doctor, "MEDIAPIPE_MODELS", ("face_detection/gone.tflite",))
    finding = named("mediapipe models")
    assert finding.broken
    assert "face_detection/gone.tflite" in finding.value


def test_a_codec_that_this_build_lacks_is_broken_only_if_it_is_needed(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(doctor, "ENCODERS", {"h264": ("no_such_codec", True), "vp9": ("no_such_codec", False)})
    assert named("h264 encoder").broken
    assert not named("vp9 encoder").ok
    assert not named("vp9 encoder").broken


@pytest.mark.parametrize(("verified", "broken"), [({"small": True}, False), ({"small": False}, True), ({}, True)])
def test_weights_must_be_there_and_unchanged(monkeypatch: pytest.MonkeyPatch, verified: dict[str, bool], broken: bool):
    monkeypatch.setattr(checkpoint, "verify_weights", lambda: verified)
    findings = [finding for finding in doctor.examine() if finding.name.startswith("weights")]
    assert [finding.broken for finding in findings] == [broken]


def test_mediapipe_models_are_files_of_the_package():
    folder = Path(doctor.find_spec("mediapipe").origin).parent / "modules"
    assert all((folder / model).stat().st_size > 100_000 for model in doctor.MEDIAPIPE_MODELS)
