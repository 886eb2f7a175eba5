"""Parts that lie there from before: joined only if they are what was made, of the source as it is now."""

import shutil
from pathlib import Path

import pytest

from streamer.batch.manifest import Record
from streamer.batch.work import Work
from streamer.batch.worker import Task, Worker
from streamer.errors import StreamerError
from tests.batch.archives import batch, cover, files_below, frames_of, records
from tests.clips import encode_clip, picture

pytestmark = pytest.mark.slow

KEYS = {"g": "8", "keyint_min": "8", "sc_threshold": "0"}
IN_PARTS = ("--part-minutes", "0.02")


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return encode_clip(tmp_path / "clip.mp4", pts=range(36), options=KEYS)


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """As long as the clip, and brighter."""
    (tmp_path / "other").mkdir()
    pictures = [picture(n + 9) for n in range(36)]
    return encode_clip(tmp_path / "other" / "clip.mp4", pts=range(36), pictures=pictures, options=KEYS)


@pytest.fixture
def out(clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The output of a run that ended before the parts were joined."""

    def ended(*_: object) -> Record:
        raise StreamerError("ended")

    with monkeypatch.context() as patched:
        patched.setattr(Worker, "_join", ended)
        assert cover(clip, "--out", tmp_path / "out", *IN_PARTS).exit_code == 1
    return tmp_path / "out"


def expected(clip: Path, tmp_path: Path) -> list[tuple[object, str]]:
    assert cover(clip, "--out", tmp_path / "expected", *IN_PARTS).exit_code == 0
    return frames_of(tmp_path / "expected" / clip.name)


def parts_of(out: Path) -> list[object]:
    return [record["part"] for record in records(out) if record["kind"] == "part"]


def test_parts_that_lie_there_as_they_were_made_are_joined(clip: Path, out: Path, tmp_path: Path):
    assert cover(clip, "--out", out, *IN_PARTS).exit_code == 0
    assert parts_of(out) == [0, 1, 2]
    assert frames_of(out / "clip.mp4") == expected(clip, tmp_path)


def test_a_part_that_is_another_file_is_done_again(clip: Path, out: Path, tmp_path: Path):
    inside = out / ".veil-parts" / "clip.mp4"
    shutil.copy(inside / "00001.mp4", inside / "00000.mp4")
    assert cover(clip, "--out", out, *IN_PARTS).exit_code == 0
    assert parts_of(out) == [0, 1, 2, 0]
    assert frames_of(out / "clip.mp4") == expected(clip, tmp_path)


def test_parts_of_a_source_that_has_changed_are_done_again(clip: Path, other: Path, out: Path, tmp_path: Path):
    other.replace(clip)
    assert cover(clip, "--out", out, *IN_PARTS).exit_code == 0
    assert parts_of(out) == [0, 1, 2, 0, 1, 2]
    assert frames_of(out / "clip.mp4") == expected(clip, tmp_path)
    assert batch("verify", "--out", out).exit_code == 0


def test_parts_of_a_source_that_is_gone_wait_for_it(clip: Path, out: Path, tmp_path: Path):
    arguments = out.parent / "clip.mp4", "--out", out, *IN_PARTS
    clip.replace(tmp_path / "elsewhere.mp4")
    assert cover(*arguments).exit_code == 1
    (tmp_path / "elsewhere.mp4").replace(clip)
    assert cover(*arguments).exit_code == 0
    assert parts_of(out) == [0, 1, 2]


def test_a_source_that_changes_from_part_to_part_becomes_no_output(
    clip: Path, other: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    out, finish = tmp_path / "out", Work.finish

    def changed(work: Work, task: Task, record: Record) -> None:
        finish(work, task, record)
        if task.part == 0 and other.exists():
            other.replace(clip)

    monkeypatch.setattr(Work, "finish", changed)
    result = cover(clip, "--out", out, *IN_PARTS)
    assert result.exit_code == 1
    assert f"cannot join {clip}: it or its part 0 changed since that was done" in result.stderr
    assert "clip.mp4" not in files_below(out)
    assert cover(clip, "--out", out, *IN_PARTS).exit_code == 0
    assert parts_of(out) == [0, 1, 2, 0]
    assert frames_of(out / "clip.mp4") == expected(clip, tmp_path)
