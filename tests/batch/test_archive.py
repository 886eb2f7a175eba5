"""`veil batch` in this process: outputs, manifest, resumption, parts."""

import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import fsspec
import numpy as np
import pytest
from PIL import Image

from streamer.batch.manifest import Manifest
from streamer.batch.originals import SourceFile
from streamer.batch.storage import DESCRIPTORS, fetched, locked
from streamer.batch.work import Work
from streamer.errors import SourceError
from streamer.faces.detect import FaceDetector
from tests.batch.archives import batch, cover, files_below, first_picture, frames_of, records
from tests.clips import encode_clip, packets_of, seconds_of

KEYS = {"g": "8", "keyint_min": "8", "sc_threshold": "0"}  # a key frame every 0.8 seconds
IN_PARTS = ("--part-minutes", "0.02")  # 1.2 s


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a short video, a long one and one that is none."""
    inside = tmp_path / "in"
    inside.mkdir()
    encode_clip(inside / "short.mp4")
    encode_clip(inside / "long.mp4", pts=range(5, 45), options=KEYS, audio=("aac",), audio_seconds=4.5)
    (inside / "bad.mp4").write_text("no video")
    return inside


@pytest.fixture
def memory() -> Iterator[fsspec.AbstractFileSystem]:
    files = fsspec.filesystem("memory")
    yield files
    files.store.clear()
    files.pseudo_dirs[:] = [""]


@pytest.mark.slow
def test_an_archive_is_done_and_a_corrupt_file_named(folder: Path, tmp_path: Path):
    out = tmp_path / "out"
    result = cover(folder, "--out", out)
    assert result.exit_code == 1
    assert "bad.mp4: Invalid data" in result.stderr
    assert "1 of 3 sources could not be done" in result.stderr
    assert files_below(out) == ["long.mp4", "manifest.jsonl", "short.mp4"]
    said = json.loads(batch("status", "--out", out, "--json").stdout)
    assert (said["sources"], said["done"], said["waiting"], list(said["failed"])) == (3, 2, 0, ["bad.mp4"])
    assert said["counts"]["frames"] == 52


@pytest.mark.slow
def test_the_same_command_goes_on_and_does_nothing_twice(folder: Path, tmp_path: Path):
    out = tmp_path / "out"
    cover(folder, "--out", out)
    before = (out / "long.mp4").stat().st_mtime_ns
    (out / "short.mp4").unlink()
    shutil.copy(folder / "short.mp4", folder / "bad.mp4")
    encode_clip(folder / "new.mp4")
    assert cover(folder, "--out", out).exit_code == 0
    assert files_below(out) == ["bad.mp4", "long.mp4", "manifest.jsonl", "new.mp4", "short.mp4"]
    assert (out / "long.mp4").stat().st_mtime_ns == before
    assert sum(record["kind"] == "done" for record in records(out)) == 5
    assert batch("verify", "--out", out).exit_code == 0


@pytest.mark.parametrize("command", ["plan", "run"])
def test_a_second_run_into_one_folder_ends_at_once_and_touches_nothing_of_the_first(
    folder: Path, tmp_path: Path, command: str
):
    out = tmp_path / "out"
    with locked(str(out)):
        first = out / ".veil-work" / "half.mp4"
        first.parent.mkdir()
        first.touch()
        result = cover(folder, "--out", out, command=command)
    assert result.exit_code == 1
    assert result.stderr == f"veil: another run writes to {out}; wait for its end, or choose another --out\n"
    assert files_below(out) == [".veil-work/half.mp4"]
    assert cover(folder, "--out", out, command="plan").exit_code == 0


def test_where_nothing_can_be_begun_no_folder_is_left(tmp_path: Path):
    assert batch("run", tmp_path / "in", "--out", tmp_path / "deep" / "out").exit_code == 2  # there is no key
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_long_file_is_done_in_parts_that_join_exactly(folder: Path, tmp_path: Path):
    whole, split = tmp_path / "whole", tmp_path / "split"
    cover(folder / "long.mp4", "--out", whole, "--keep-audio")
    result = cover(folder / "long.mp4", "--out", split, "--keep-audio", *IN_PARTS)
    assert result.exit_code == 0, result.stderr
    assert [record["kind"] for record in records(split)] == ["archive", "source", "part", "part", "part", "done"]
    assert seconds_of(split / "long.mp4") == seconds_of(whole / "long.mp4")
    assert packets_of(split / "long.mp4", "audio") == packets_of(whole / "long.mp4", "audio")
    assert len(packets_of(split / "long.mp4", "audio")[0]) > 100
    assert files_below(split) == ["long.mp4", "manifest.jsonl"]
    assert records(split)[-1]["counts"]["frames"] == 40


@pytest.mark.slow
def test_parts_get_the_voice_that_the_whole_gets(folder: Path, tmp_path: Path):
    (tmp_path / "key").write_bytes(bytes(32))
    options = ("--voice", "--key", tmp_path / "key")
    assert cover(folder / "long.mp4", "--out", tmp_path / "whole", *options).exit_code == 0
    assert cover(folder / "long.mp4", "--out", tmp_path / "split", *options, *IN_PARTS).exit_code == 0
    sounds = [packets_of(path / "long.mp4", "audio") for path in (folder, tmp_path / "whole", tmp_path / "split")]
    assert sounds[1] == sounds[2] != sounds[0]
    assert len(sounds[2][0]) > 100


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["mkv", "webm", "mov"])
def test_parts_join_in_every_container(tmp_path: Path, suffix: str):
    source = encode_clip(
        tmp_path / f"clip.{suffix}", pts=range(40), options=KEYS, codec="libvpx" if suffix == "webm" else "libx264"
    )
    whole, split = tmp_path / "whole", tmp_path / "split"
    cover(source, "--out", whole)
    assert cover(source, "--out", split, *IN_PARTS).exit_code == 0
    assert len(records(split)) > 4
    assert seconds_of(split / source.name) == seconds_of(whole / source.name)


@pytest.mark.slow
def test_no_face_shows_at_a_seam(tmp_path: Path, portrait_clip: Path):
    face = first_picture(portrait_clip)
    size = (face.shape[1], face.shape[0])
    source = encode_clip(tmp_path / "face.mp4", pts=range(24), pictures=[face] * 24, size=size, options=KEYS)
    assert cover(source, "--out", tmp_path / "out", *IN_PARTS).exit_code == 0
    done = records(tmp_path / "out")[-1]
    parts = [record for record in records(tmp_path / "out") if record["kind"] == "part"]
    assert len(parts) == 2
    assert done["counts"] == {"faces": 24, "faces_mosaic": 24, "frames": 24, "frames_covered_whole": 0}


@pytest.mark.slow
def test_what_was_killed_goes_on_with_the_parts_that_are_missing(folder: Path, tmp_path: Path):
    out = tmp_path / "out"
    arguments = (folder / "long.mp4", "--out", out, *IN_PARTS)
    cover(*arguments)
    expected = frames_of(out / "long.mp4")
    shutil.rmtree(out)
    cover(*arguments, command="plan")
    work = Work(Manifest(str(out)), str(out))
    assert [task.part for task in iter(work.take, None)] == [0, 1, 2]
    (out / ".veil-work" / "left").mkdir(parents=True)  # by a worker that was killed
    manifest = (out / "manifest.jsonl").read_bytes()
    cover(*arguments)
    lines = (out / "manifest.jsonl").read_bytes().splitlines(keepends=True)
    (out / "manifest.jsonl").write_bytes(manifest + lines[2] + lines[3][:20])  # the second part was being noted
    (out / "long.mp4").unlink()
    assert cover(*arguments).exit_code == 0
    assert frames_of(out / "long.mp4") == expected
    assert files_below(out) == ["long.mp4", "manifest.jsonl"]


@pytest.mark.slow
def test_sources_and_outputs_lie_wherever_fsspec_reaches(folder: Path, memory: fsspec.AbstractFileSystem):
    memory.put(str(folder), "/in", recursive=True)
    result = cover("memory://in", "--out", "memory://out", *IN_PARTS)
    assert result.exit_code == 1, result.output
    assert sorted(memory.find("/out")) == ["/out/long.mp4", "/out/manifest.jsonl", "/out/short.mp4"]
    assert "cannot open memory:///in/bad.mp4: Invalid data" in result.stderr
    memory.put(str(folder / "short.mp4"), "/in/bad.mp4")
    assert cover("memory://in", "--out", "memory://out", *IN_PARTS).exit_code == 0
    assert batch("verify", "--out", "memory://out").exit_code == 0
    memory.rm("/out/short.mp4")
    memory.pipe("/out/bad.mp4", b"changed")
    result = batch("verify", "--out", "memory://out")
    assert result.exit_code == 1
    assert result.stdout.splitlines() == ["bad.mp4: changed since it was written", "short.mp4: missing"]


@pytest.mark.slow
@pytest.mark.skipif(not DESCRIPTORS.is_dir(), reason="files without a name are opened by /proc")
def test_a_copy_of_a_source_has_no_name_wherever_it_could_be_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, memory: fsspec.AbstractFileSystem
):
    (tmp_path / "in").mkdir()
    encode_clip(tmp_path / "in" / "clip.mp4")
    encode_clip(tmp_path / "in" / "motion.mjpg", codec="mjpeg", pix_fmt="yuvj420p")
    Image.fromarray(np.zeros((48, 64, 3), np.uint8)).save(tmp_path / "in" / "picture.tif")
    memory.put(str(tmp_path / "in"), "/in", recursive=True)
    temporary, out, left, of = tmp_path / "tmp", tmp_path / "out", set[str](), SourceFile.of
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))

    def looked(path: Path) -> SourceFile:
        left.update(file for folder in (temporary, out) for file in files_below(folder) if not file.startswith("veil-"))
        assert all(file.is_symlink() for file in temporary.rglob("*/*"))
        return of(path)

    monkeypatch.setattr(SourceFile, "of", looked)
    result = cover("memory://in", "--out", out)
    assert result.exit_code == 0, result.stderr
    assert "manifest.jsonl" in left
    assert not [file for file in left if "source" in file]
    assert len(files_below(out)) == 4
    assert list(temporary.iterdir()) == []


def test_a_copy_is_what_was_there_under_its_suffix_and_errors_name_the_place(memory: fsspec.AbstractFileSystem):
    memory.pipe("/in/a.mp4", b"content")
    with fetched("memory://in/a.mp4") as path:
        assert (path.suffix, path.read_bytes(), SourceFile.of(path).sha256[:8]) == (".mp4", b"content", "ed7002b4")
        place = path
    assert not place.exists()
    with pytest.raises(SourceError, match=r"^cannot read memory://in/a.mp4$"), fetched("memory://in/a.mp4") as path:
        raise SourceError(f"cannot read {path}")


def test_a_preview_is_the_beginning_of_each_in_a_folder_of_its_own(folder: Path, tmp_path: Path):
    out = tmp_path / "out"
    cover(folder, "--out", out, "--preview", "1.5", *IN_PARTS)
    assert files_below(out) == ["preview/long.mp4", "preview/manifest.jsonl", "preview/short.mp4"]
    assert len(seconds_of(out / "preview" / "long.mp4")) == 10  # the sound begins half a second before the picture


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--mode", "cover", "--cover", "solid"), "begun with another settings"),
        (("--mode", "cover", "--key", "key"), "begun with another key"),
        ((), "an archive needs one"),
    ],
)
def test_an_archive_has_one_key_and_one_set_of_settings(
    options: tuple[str, ...], said: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    Path("key").write_bytes(bytes(range(32)))
    assert cover(folder / "short.mp4", "--out", "out").exit_code == 0
    result = batch("run", folder / "short.mp4", "--out", "out", *options)
    assert result.exit_code != 0
    assert said in " ".join(result.stderr.replace("│", " ").split())
    assert bytes(range(32)).hex() not in Path("out/manifest.jsonl").read_text()


def test_what_is_no_archive_is_said(tmp_path: Path):
    assert "there is no archive in" in batch("status", "--out", tmp_path).stderr
    assert "cannot reach nowhere://x" in batch("verify", "--out", "nowhere://x").stderr


@pytest.mark.slow
def test_kept_detections_render_the_same_and_nothing_is_searched(
    portrait_clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    kept = "--cache-detections", tmp_path / "faces"
    arguments = portrait_clip, "--part-minutes", "0.01"
    assert cover(*arguments, "--cover", "solid", "--out", tmp_path / "fresh").exit_code == 0
    assert cover(*arguments, "--out", tmp_path / "noted", *kept).exit_code == 0
    assert not list(tmp_path.glob("*/**/*.faces.*"))
    monkeypatch.setattr(FaceDetector, "__call__", lambda *_: pytest.fail("it is searched again"))
    assert cover(*arguments, "--cover", "solid", "--out", tmp_path / "again", *kept).exit_code == 0
    fresh, again = (frames_of(tmp_path / name / portrait_clip.name) for name in ("fresh", "again"))
    assert fresh == again
