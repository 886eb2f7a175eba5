"""What an evaluation has done so far, kept in a folder, so that one that was cut off goes on where it was."""

from __future__ import annotations

import contextlib
import hashlib
import os
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Arrays = Mapping[str, npt.NDArray[Any]]


class Kept:
    """Arrays by name, each made once; without a folder none is kept.

    They hold crops of real faces and what recognisers see of them: the folder is as secret as the photos.

    Args:
        folder: Made where it is not there.
        settings: What the arrays depend on beside their names: others are made anew.
    """

    def __init__(self, folder: Path | None, settings: str) -> None:
        self._folder, self._settings = folder, settings

    def once(self, name: str, make: Callable[[], Arrays]) -> Arrays:
        """Return what `make` returns, or returned when it was asked for the first time.

        Raises:
            OSError: If the folder cannot be written.
        """
        if self._folder is None:
            return make()
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._folder / f"{hashlib.sha256(f'{self._settings} {name}'.encode()).hexdigest()[:32]}.npz"
        with (
            contextlib.suppress(OSError, ValueError, EOFError, zipfile.BadZipFile),  # none, or cut off
            path.open("rb") as file,
            np.load(file, allow_pickle=False) as found,
        ):
            return dict(found)
        made = make()
        partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
        try:
            with partial.open("wb") as opened:
                np.savez(opened, **made)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
        return made
