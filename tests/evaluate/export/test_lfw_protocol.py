"""What `--export-lfw` writes, looked for where FDeID-Toolbox does."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from streamer.errors import SinkError, SourceError
from streamer.evaluate.export.lfw_protocol import LfwExport
from tests.evaluate.export.test_hifd import judged, looking, original

PICTURE = np.full((100, 90, 3), (200, 30, 60), np.uint8)


def where_the_toolbox_looks(folder: Path, person: str, number: int) -> Path:
    """Of `eval_privacy_lfw.py`: `get_deid_data_dir`, then `get_image_path`."""
    data = folder / "data" if (folder / "data").is_dir() else folder
    return data / person / f"{person}_{number:04d}.jpg"


def test_outputs_lie_where_the_toolbox_looks_and_are_hardly_changed(tmp_path: Path):
    export = LfwExport(tmp_path, "veil")
    export.add(original("lfw/Abba_Eban_0012.png", [1, 0], looking()), PICTURE, judged([1, 0]))
    export.write({"model": "some"})
    with PIL.Image.open(where_the_toolbox_looks(tmp_path, "Abba_Eban", 12)) as file:
        assert np.abs(np.asarray(file, int) - PICTURE).max() <= 3
        assert file.format == "JPEG"
    config = json.loads((tmp_path / "config.yaml").read_text())
    assert (config["method_name"], config["parameters"]["model"], config["statistics"]["images"]) == ("veil", "some", 1)


def test_a_photo_without_a_name_of_lfw_is_refused_by_name(tmp_path: Path):
    with pytest.raises(SourceError, match=r"utk/30_0_1\.jpg: LFW's protocol needs names such as"):
        LfwExport(tmp_path, "veil").add(original("utk/30_0_1.jpg", [1, 0], looking()), PICTURE, judged([1, 0]))


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path):
    (tmp_path / "data").write_text("a file")
    with pytest.raises(SinkError, match=r"cannot write .*data"):
        LfwExport(tmp_path, "veil").add(original("lfw/A_0001.jpg", [1, 0], looking()), PICTURE, judged([1, 0]))
