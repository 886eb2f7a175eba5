"""Outputs in the folders of LFW, as the privacy evaluation of FDeID-Toolbox reads them (`eval_privacy_lfw.py`).

It takes the original LFW with its `pairs.csv`, and beside it this folder as `--deid_dir`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

import PIL.Image

from streamer.errors import SinkError, SourceError
from streamer.evaluate.images.before_after import Judged, Original
from streamer.types import Image

NUMBERED = re.compile(r"(?P<person>.+)_\d{4}")  # of a photo of LFW, such as AJ_Lamas_0001
QUALITY = 95  # of JPEG, without subsampling: nothing that a recogniser sees is lost


class LfwExport:
    """Writes each output as it is made: `DIR/data/AJ_Lamas/AJ_Lamas_0001.jpg`."""

    def __init__(self, folder: Path, method: str) -> None:
        """Take where to write, and what the method is called."""
        self._folder, self._method, self._count = folder, method, 0

    def add(self, original: Original, output: Image, judged: Judged) -> None:
        """Write an output.

        Raises:
            SourceError: If the photo has no name of LFW.
            SinkError: If it cannot be written.
        """
        stem = PurePosixPath(original.photo.name).stem
        named = NUMBERED.fullmatch(stem)
        if named is None:
            raise SourceError(f"{original.photo.name}: LFW's protocol needs names such as AJ_Lamas_0001.jpg")
        file = self._folder / "data" / named["person"] / f"{stem}.jpg"
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            PIL.Image.fromarray(output).save(file, quality=QUALITY, subsampling=0)
        except OSError as error:
            raise SinkError(f"cannot write {file}: {error.strerror}; choose another folder") from error
        self._count += 1

    def write(self, settings: Mapping[str, str]) -> None:
        """Write `config.yaml`, of which the toolbox copies what made the pictures into its results.

        Raises:
            SinkError: If it cannot be written.
        """
        content = {
            "method_name": self._method,
            "dataset": "lfw",
            "parameters": dict(settings),
            "statistics": {"images": self._count},
        }
        file = self._folder / "config.yaml"
        try:
            file.write_text(json.dumps(content, indent=2), encoding="utf-8")  # which YAML reads as well
        except OSError as error:
            raise SinkError(f"cannot write {file}: {error.strerror}; choose another folder") from error
