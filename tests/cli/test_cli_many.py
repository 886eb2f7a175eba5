"""Several sources, and folders of videos, in one command."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import av
import cv2
import pytest
from typer.testing import CliRunner, Result

from streamer.batch.inputs import FilePair, output_folders, pairs_of
from streamer.cli import main as cli
from streamer.cli import run as cli_run
from streamer.cli.jobs.job import Job
from streamer.errors import SinkError, SourceError
from streamer.pipeline import anonymizer as pipeline
from tests.clips import encode_clip, picture

COVER = ("--mode", "cover")


def veil(*arguments: str | Path) -> Result:
    return CliRunner().invoke(cli.app, ["run", *map(str, arguments), *COVER])


def files_below(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of videos, pictures, others and folders."""
    folder = tmp_path_factory.mktemp("made") / "in"
    (folder / "day" / "two").mkdir(parents=True)
    first = encode_clip(folder / "a.mp4")
    encode_clip(folder / "a.avi", codec="mpeg4")
    shutil.copy(first, folder / "day" / "two" / "b.mp4")
    cv2.imwrite(str(folder / "c.jpg"), picture(0))
    (folder / "notes.txt").write_text("neither")
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    return shutil.copytree(made, tmp_path / "in")


@pytest.mark.slow
def test_several_sources_are_written_to_a_folder_with_weights_loaded_once(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    loads = []
    load = pipeline.Anonymizer.load_with
    monkeypatch.setattr(pipeline.Anonymizer, "load_with", lambda *a, **k: loads.append(1) or load(*a, **k))
    result = veil(folder / "a.mp4", folder / "day" / "two" / "b.mp4", folder / "c.jpg", tmp_path / "out" / "deep")
    assert result.exit_code == 0, result.output
    assert files_below(tmp_path / "out") == ["deep/a.mp4", "deep/b.mp4", "deep/c.jpg"]
    assert len(loads) == 1
    assert "written      3 of 3 files to" in result.stdout
    assert "frames       25" in result.stdout
    with av.open(str(tmp_path / "out" / "deep" / "b.mp4")) as container:
        assert sum(1 for _ in container.decode(video=0)) == 12


@pytest.mark.slow
def test_a_folder_with_videos_becomes_such_a_folder_and_says_what_it_leaves_out(folder: Path, tmp_path: Path):
    result = veil(folder, tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert files_below(tmp_path / "out") == ["a.avi.mp4", "a.mp4", "c.jpg"]
    assert "neither videos nor pictures: notes.txt" in result.stderr
    assert "1 subfolder is left out; --recursive takes" in result.stderr
    assert veil(folder, tmp_path / "all", "--recursive").exit_code == 0
    assert files_below(tmp_path / "all") == ["a.avi.mp4", "a.mp4", "c.jpg", "day/two/b.mp4"]


def test_a_folder_of_pictures_is_searched_deeply_on_request(folder: Path, tmp_path: Path):
    for video in (*folder.glob("a.*"), folder / "day" / "two" / "b.mp4"):
        video.unlink()
    cv2.imwrite(str(folder / "day" / "c.jpg"), picture(0))
    assert veil(folder, tmp_path / "out", "--recursive").exit_code == 0
    assert files_below(tmp_path / "out") == ["c.jpg", "day/c.jpg"]


def test_one_that_fails_is_said_and_does_not_stop_the_others(folder: Path, tmp_path: Path):
    broken = folder / "broken.mp4"
    broken.write_text("no video " * 100)
    result = veil(folder / "gone.mp4", broken, folder / "a.mp4", tmp_path / "out", "--json")
    assert result.exit_code == 1
    assert files_below(tmp_path / "out") == ["a.mp4"]
    said = json.loads(result.stdout)
    assert [(each["sink"], each["frames"]) for each in said["files"]] == [(str(tmp_path / "out" / "a.mp4"), 12)]
    assert [each["source"] for each in said["failed"]] == [str(folder / "gone.mp4"), str(broken)]
    assert said["frames"] == 12
    lines = result.stderr.splitlines()
    assert len(lines) == 3
    assert "gone.mp4: No such file" in lines[0]
    assert "broken.mp4: Invalid data" in lines[1]
    assert lines[2] == "veil: 2 of 3 files could not be done"


def test_where_nothing_can_be_done_no_folder_is_left(tmp_path: Path):
    result = veil(tmp_path / "gone.mp4", tmp_path / "lost.mp4", tmp_path / "out" / "deep")
    assert result.exit_code == 1
    assert list(tmp_path.iterdir()) == []


def test_an_error_of_our_own_is_one_files_alone_and_quotes_no_data(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    real = cli_run.anonymize

    def failing(job: Job, *rest: pipeline.Anonymizer) -> object:
        if job.source.endswith("a.mp4"):
            raise ZeroDivisionError("17, 18, 19")
        return real(job, *rest)

    monkeypatch.setattr(cli_run, "anonymize", failing)
    result = veil(folder / "a.mp4", folder / "c.jpg", tmp_path / "out")
    assert result.exit_code == 1
    assert "a.mp4: unexpected ZeroDivisionError at test_cli_many.py" in result.stderr
    assert "17, 18" not in result.output
    assert files_below(tmp_path / "out") == ["c.jpg"]


def test_an_interruption_says_how_many_files_were_written(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    real = cli_run.anonymize

    def stopped(job: Job, *rest: pipeline.Anonymizer) -> object:
        if job.label.startswith("2/3"):
            raise KeyboardInterrupt
        return real(job, *rest)

    monkeypatch.setattr(cli_run, "anonymize", stopped)
    result = veil(folder / "c.jpg", folder / "a.mp4", folder / "a.avi", tmp_path / "out")
    assert result.exit_code == 130
    assert result.stderr == "veil: interrupted; 1 of 3 files were written\n"
    assert files_below(tmp_path / "out") == ["c.jpg"]


@pytest.mark.parametrize(
    ("sources", "sink", "options", "code", "said"),
    [
        (["a.mp4", "a.avi"], "there.mp4", [], 1, "name a folder"),
        (["a.mp4", "a.avi"], "rtsp://host/a", [], 1, "name a folder"),
        (["a.mp4", "rtsp://me:S3CRET@host/a"], "out", [], 1, "it is live; run it alone"),
        (["a.mp4", "a.avi"], "out", ["--also", "x.mp4"], 2, "takes one source"),
        (["a.mp4", "a.avi"], "out", ["--audit", "log"], 2, "takes one source"),
        (["."], "out", [], 1, "it lies in the input"),
        (["a.mp4", "day/two/a.mp4"], "../out", [], 1, "would both be written"),
    ],
)
def test_what_cannot_be_is_said_before_any_work(
    sources: list[str],
    sink: str,
    options: list[str],
    code: int,
    said: str,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.chdir(folder)
    shutil.copy("a.mp4", "there.mp4")
    shutil.copy("a.mp4", "day/two/a.mp4")
    before = files_below(folder)
    result = veil(*sources, sink, *options)
    assert result.exit_code == code
    assert said in " ".join(result.stderr.replace("│", " ").split())
    assert "S3CRET" not in result.output
    assert files_below(folder) == before
    assert not (folder.parent / "out").exists()


def test_names_of_several_folders_do_not_meet_and_sound_chooses_the_container(
    folder: Path, tmp_path: Path, clip: Callable[..., Path]
):
    shutil.copytree(folder, tmp_path / "other")
    pairs = pairs_of([str(folder), str(tmp_path / "other")], str(tmp_path / "out"), recursive=False, with_sound=True)
    written = [pair.sink.relative_to(tmp_path / "out").as_posix() for pair in pairs]
    assert written == [f"{name}/{file}" for name in ("in", "other") for file in ("a.mkv", "a.mp4", "c.jpg")]
    (tmp_path / "bare").mkdir()
    with pytest.raises(SourceError, match="no video and no picture among its 0 files"):
        pairs_of([str(tmp_path / "bare"), str(folder)], str(tmp_path / "out"), recursive=False, with_sound=False)


def test_a_folder_that_cannot_be_made_is_one_clear_error(tmp_path: Path):
    (tmp_path / "file").touch()
    pair = FilePair(tmp_path / "a.mp4", tmp_path / "file" / "out" / "a.mp4")
    with pytest.raises(SinkError, match="cannot make the folder"), output_folders([pair]):
        pytest.fail("made")
