"""Loads the part of MediaPipe that runs graphs, without those that draw and record: matplotlib, jax, sound devices."""

from __future__ import annotations

import sys
import threading
from importlib.util import find_spec, module_from_spec
from pathlib import Path
from types import ModuleType

from streamer.errors import AnonymizerError

_lock = threading.Lock()


def load_mediapipe() -> None:
    """Make `mediapipe.python` importable at a quarter of the time, and let graphs find MediaPipe's models.

    The package's own `__init__` imports every ready-made solution, and with them matplotlib. It runs once something
    asks `mediapipe` for what is not there, such as `mediapipe.solutions`, so that other code in the process finds all.

    Raises:
        AnonymizerError: If MediaPipe is not installed.
    """
    with _lock:
        package = sys.modules.get("mediapipe") or _bare_package()
        import mediapipe.framework.formats.detection_pb2  # noqa: F401 - describes what a detector answers
        from mediapipe.python._framework_bindings import resource_util

        assert package.__file__ is not None
        resource_util.set_resource_dir(str(Path(package.__file__).parent.parent))


def _bare_package() -> ModuleType:
    """Return the package `mediapipe`, registered but not run."""
    spec = find_spec("mediapipe")
    if spec is None or spec.loader is None:
        raise AnonymizerError("MediaPipe is not installed: pip install 'mediapipe>=0.10.21,<0.10.22'")
    package, loader = module_from_spec(spec), spec.loader

    def run_init(name: str) -> object:
        if name.startswith("__") or package.__dict__.pop("__getattr__", None) is None:
            raise AttributeError(f"module 'mediapipe' has no attribute {name!r}")
        loader.exec_module(package)
        return getattr(package, name)

    package.__dict__["__getattr__"] = run_init  # PEP 562
    sys.modules["mediapipe"] = package
    return package
