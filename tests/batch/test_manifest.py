"""Manifests that were cut short or changed by hand: read on, or refused in one line, never followed elsewhere."""

import json
from pathlib import Path

import pytest

from streamer.batch.manifest import Manifest
from streamer.errors import StreamerError
from tests.batch.archives import batch, cover, files_below
from tests.clips import encode_clip

SUM = "0" * 64
SOURCE = {"kind": "source", "name": "b.mp4", "source": "/b.mp4", "starts": ["0", "3/2", "4"]}
PART = {"kind": "part", "name": "b.mp4", "part": 0, "input_sha256": SUM, "output_sha256": SUM, "counts": {"frames": 1}}
DONE = {"kind": "done", "name": "b.mp4", "input_sha256": SUM, "output_sha256": SUM, "output_bytes": 1, "counts": {}}
FAILED = {"kind": "failed", "name": "b.mp4", "reason": "because"}


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return encode_clip(tmp_path / "clip.mp4")


@pytest.fixture
def out(clip: Path, tmp_path: Path) -> Path:
    assert cover(clip, "--out", tmp_path / "out", command="plan").exit_code == 0
    return tmp_path / "out"


def note(out: Path, *records: object) -> None:
    with (out / "manifest.jsonl").open("a") as file:
        file.writelines(json.dumps(record) + "\n" for record in records)


@pytest.mark.parametrize("begun", ["", "\n", '{"key', '{"key_id": "", "kind": "arch\n{"key'])
def test_where_nothing_was_noted_nothing_was_begun(clip: Path, tmp_path: Path, begun: str):
    out = tmp_path / "out"
    out.mkdir()
    (out / "manifest.jsonl").write_text(begun)
    assert "there is no archive in" in batch("status", "--out", out).stderr
    assert cover(clip, "--out", out).exit_code == 0
    assert cover(clip, "--out", out).exit_code == 0
    assert batch("verify", "--out", out).exit_code == 0
    assert files_below(out) == ["clip.mp4", "manifest.jsonl"]


def test_records_are_read_and_what_else_is_said_of_them_left(out: Path):
    note(out, SOURCE, PART | {"more": 1}, FAILED, DONE)
    manifest = Manifest(str(out))
    assert (manifest.parts["b.mp4", 0]["more"], list(manifest.done), manifest.failed) == (1, ["b.mp4"], {})


@pytest.mark.parametrize("value", [5, None, "x", [], {}, {"kind": ["source"]}, {"kind": "other", "name": "b.mp4"}])
def test_what_is_no_record_is_refused(out: Path, value: object):
    note(out, value)
    with pytest.raises(StreamerError, match=r"^cannot read .*/out/manifest.jsonl: line 3 is no record of an archive"):
        Manifest(str(out))


@pytest.mark.parametrize("record", [SOURCE, PART, DONE, FAILED], ids=lambda record: record["kind"])
def test_so_is_one_that_lacks_a_field_or_has_a_wrong_one(out: Path, record: dict[str, object]):
    before = (out / "manifest.jsonl").read_bytes()
    for name in record.keys() - {"kind"}:
        for wrong in ({}, {name: None}, {name: {"a": "b"}}):
            (out / "manifest.jsonl").write_bytes(before)
            note(out, {key: value for key, value in record.items() if key != name} | wrong)
            with pytest.raises(StreamerError, match="line 3 is no record"):
                Manifest(str(out))


@pytest.mark.parametrize("name", ["", ".", "/b.mp4", "../b.mp4", "a/../../b.mp4", "..", "a\0.mp4"])
def test_no_name_leads_out_of_the_folder(out: Path, name: str):
    note(out, SOURCE | {"name": name})
    result = batch("verify", "--out", out)
    assert result.exit_code == 1
    assert result.stderr.endswith("line 3 is no record of an archive; remove that line, or choose another --out\n")
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize("starts", [["1"], ["0", "x"], ["0", "2", "1"], ["0", "0"], ["0", "1/0"], ["0", "1e9"], [0, 1]])
def test_parts_begin_at_zero_and_one_after_the_other(out: Path, starts: list[object]):
    note(out, SOURCE | {"starts": starts})
    with pytest.raises(StreamerError, match="line 3 is no record"):
        Manifest(str(out))


@pytest.mark.parametrize("first", [SOURCE, {"kind": "archive", "version": 2}, {"kind": "archive"}, 5])
def test_another_first_line_is_that_of_no_manifest(tmp_path: Path, first: object):
    note(tmp_path, first)
    with pytest.raises(StreamerError, match="no manifest of this version"):
        Manifest(str(tmp_path))
