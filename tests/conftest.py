"""Fixtures shared by the tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.clips import encode_clip


@pytest.fixture
def clip(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that encodes a clip of a given name in the test's folder, with `encode_clip`'s keywords."""

    def make(name: str = "clip.mp4", **properties: Any) -> Path:  # noqa: ANN401 - of `encode_clip`
        return encode_clip(tmp_path / name, **properties)

    return make


@pytest.fixture(autouse=True)
def no_imported_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights that a developer has imported are none of a test's."""
    monkeypatch.setenv("VEIL_MODELS", str(tmp_path / "imported"))
