"""Where archives lie, and where none is written: over its sources, by whatever name, and over foreign files."""

from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from tests.batch.archives import cover, files_below, records
from tests.clips import encode_clip

OVERWRITES = "it would overwrite the input {}; choose another --out"


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    return encode_clip(tmp_path / "in" / "clip.mp4")


@pytest.mark.parametrize("scheme", ["", "local://", "file://"])
@pytest.mark.parametrize("command", ["plan", "run"])
def test_a_source_is_never_overwritten(clip: Path, command: str, scheme: str):
    before = clip.read_bytes()
    result = cover(f"{scheme}{clip}", "--out", f"{scheme}{clip.parent}", command=command)
    assert result.exit_code == 1
    assert result.stderr == f"veil: cannot write {clip}: {OVERWRITES.format(clip)}\n"
    assert clip.read_bytes() == before
    assert files_below(clip.parent) == ["clip.mp4"]


def test_nor_are_those_of_several_folders(clip: Path, tmp_path: Path):
    (tmp_path / "more").mkdir()
    encode_clip(tmp_path / "more" / "clip.mp4")
    result = cover(clip.parent, tmp_path / "more", "--out", tmp_path)
    assert OVERWRITES.format(clip) in result.stderr
    assert files_below(tmp_path) == ["in/clip.mp4", "more/clip.mp4"]


@pytest.mark.parametrize("kind", ["symlink_to", "hardlink_to"])
def test_nor_is_one_that_has_another_name(clip: Path, tmp_path: Path, kind: str):
    (tmp_path / "out").mkdir()
    getattr(tmp_path / "out" / "clip.mp4", kind)(clip)
    assert OVERWRITES.format(clip) in cover(clip, "--out", tmp_path / "out").stderr
    assert (tmp_path / "out" / "clip.mp4").samefile(clip)


@pytest.fixture
def memory(clip: Path) -> Iterator[fsspec.AbstractFileSystem]:
    """Where the clip lies in a folder, too."""
    files = fsspec.filesystem("memory")
    files.put(str(clip), "/places/clip.mp4")
    yield files
    files.rm("/places", recursive=True)


def test_nor_is_one_elsewhere(memory: fsspec.AbstractFileSystem, clip: Path):
    assert OVERWRITES.format("memory:///places/clip.mp4") in cover("memory://places", "--out", "memory://places").stderr
    assert memory.cat("/places/clip.mp4") == clip.read_bytes()


def test_a_file_that_is_none_of_the_archive_s_stays(clip: Path, tmp_path: Path):
    place = tmp_path / "out" / "clip.mp4"
    place.parent.mkdir()
    place.write_text("precious")
    said = f"veil: cannot write {place}: it exists, and is none of this archive's; remove it, or choose another --out\n"
    assert cover(clip, "--out", place.parent).stderr == said
    assert place.read_text() == "precious"
    place.unlink()
    assert cover(clip, "--out", place.parent).exit_code == 0
    assert cover(clip, "--out", place.parent).exit_code == 0  # its own


def test_folders_here_and_elsewhere_are_one_archive(memory: fsspec.AbstractFileSystem, clip: Path, tmp_path: Path):
    result = cover(f"local://{clip.parent}", "memory://places", "--out", tmp_path / "out", command="plan")
    assert result.exit_code == 0, result.stderr
    names = [record["name"] for record in records(tmp_path / "out") if record["kind"] == "source"]
    assert names == ["in/clip.mp4", "places/clip.mp4"]
