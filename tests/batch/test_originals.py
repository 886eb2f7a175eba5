"""Sources that change while they are read: nothing of them is published, or kept for what they were."""

import time
from pathlib import Path

import pytest

from streamer.batch import originals
from streamer.batch.originals import SourceFile
from streamer.batch.storage import fetched, local_path
from streamer.errors import SourceError
from tests.batch.archives import cover, files_below
from tests.clips import encode_clip

CHANGED = "changed while it was read; do it again when nothing writes to it"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "source"
    path.write_bytes(b"before")
    return path


def test_what_stays_as_it_is_passes(file: Path):
    original = SourceFile.of(file)
    original.check()
    assert original.sha256 == "6db7d803e74f1ffa7d8f5adc0bf95b3e15bf4c8373fffadf546227cc6c6742cb"  # sha256sum


def test_what_is_appended_or_replaced_does_not(file: Path):
    original = SourceFile.of(file)
    file.write_bytes(b"before and after")
    with pytest.raises(SourceError, match=CHANGED):
        original.check()
    original = SourceFile.of(file)
    file.with_name("other").write_bytes(file.read_bytes())
    file.with_name("other").replace(file)
    with pytest.raises(SourceError, match=CHANGED):
        original.check()


def test_two_changes_at_one_time_are_told_by_the_bytes(file: Path, monkeypatch: pytest.MonkeyPatch):
    state = originals._state(file)
    monkeypatch.setattr(originals, "_state", lambda _: state)
    original = SourceFile.of(file)
    file.write_bytes(b"after!")
    with pytest.raises(SourceError, match=CHANGED):
        original.check()


def test_only_what_was_changed_just_before_is_hashed_twice(file: Path, monkeypatch: pytest.MonkeyPatch):
    now = time.time_ns()
    monkeypatch.setattr(time, "time_ns", lambda: now + 4_000_000_000)
    original = SourceFile.of(file)
    monkeypatch.setattr(originals, "sha256_of", lambda _: pytest.fail("it is hashed again"))
    original.check()


def test_of_a_source_that_changed_nothing_is_published_and_no_detections_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    clip = encode_clip(tmp_path / "clip.mp4")
    arguments = clip, "--out", tmp_path / "out", "--cache-detections", tmp_path / "faces"
    of = SourceFile.of

    def appended(path: Path) -> SourceFile:
        original = of(path)
        path.write_bytes(path.read_bytes() + bytes(8))
        return original

    monkeypatch.setattr(SourceFile, "of", appended)
    result = cover(*arguments)
    assert result.exit_code == 1
    assert f"{clip} {CHANGED}" in result.stderr
    assert files_below(tmp_path / "out") == ["manifest.jsonl"]
    assert files_below(tmp_path / "faces") == []
    monkeypatch.undo()
    assert cover(*arguments).exit_code == 0
    assert len(files_below(tmp_path / "faces")) == 1


def test_what_fsspec_calls_local_is_not_copied(file: Path):
    assert local_path(f"local://{file}") == local_path(f"file://{file}") == file
    with fetched(f"local://{file}") as path:
        assert path == file
