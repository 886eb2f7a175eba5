"""What a line of a manifest may say: whatever else stands there is refused, not guessed at."""

from __future__ import annotations

import re
from fractions import Fraction
from itertools import pairwise
from pathlib import PurePosixPath
from typing import Any

# What is read of each kind; more may stand beside it.
FIELDS: dict[str, dict[str, type]] = {
    "archive": {"version": int, "settings": dict},
    "source": {"name": str, "source": str, "starts": list},
    "part": {"name": str, "part": int, "input_sha256": str, "output_sha256": str, "counts": dict},
    "done": {"name": str, "input_sha256": str, "output_sha256": str, "output_bytes": int, "counts": dict},
    "failed": {"name": str, "reason": str},
}
SECONDS = re.compile(r"\d{1,20}(/0*[1-9]\d{0,20})?")  # an exact fraction


def is_record(value: Any) -> bool:  # noqa: ANN401 - whatever JSON takes
    """Return whether a value is a record: of a kind, with its fields, named in the output, its parts in order."""
    if not isinstance(value, dict):
        return False
    fields = FIELDS.get(str(value.get("kind")))
    if fields is None or not all(isinstance(value.get(name), kind) for name, kind in fields.items()):
        return False
    are_counts = all(isinstance(count, int) for count in value["counts"].values()) if "counts" in fields else True
    is_named = "name" not in fields or _is_inside(value["name"])
    return are_counts and is_named and ("starts" not in fields or _are_starts(value["starts"]))


def _is_inside(name: str) -> bool:
    """Return whether a name is one of a file in the folder of the output."""
    path = PurePosixPath(name)
    return bool(path.parts) and not path.is_absolute() and ".." not in path.parts and "\0" not in name


def _are_starts(values: list[Any]) -> bool:
    """Return whether these are seconds at which parts begin: none, or from 0 on, ever later."""
    if not all(isinstance(value, str) and SECONDS.fullmatch(value) for value in values):
        return False
    starts = [Fraction(value) for value in values]
    return not starts or (starts[0] == 0 and all(before < after for before, after in pairwise(starts)))
