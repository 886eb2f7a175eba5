"""Sees to it that `models` is ours: a folder of that name beside a user's program would be imported in its place."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

OWN = Path(__file__).resolve().parent.parent / "models"


def require_own_models() -> None:
    """Do nothing if `import models` means ours.

    Raises:
        ImportError: If another package has that name here; says which.
    """
    loaded = sys.modules.get("models")
    spec = loaded.__spec__ if loaded else find_spec("models")
    found = (spec.submodule_search_locations or [spec.origin or ""]) if spec else []
    places = [Path(place).resolve() for place in found]
    if OWN not in places:
        other = ", ".join(map(str, places)) or "nothing"
        raise ImportError(f"`import models` finds {other}, not {OWN}: rename it, or start python -P in another folder")
