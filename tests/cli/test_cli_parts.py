"""`veil run`: parts of a video, its preview, and regions that are always covered."""

from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
from typer.testing import CliRunner, Result

from streamer.cli import main as cli
from streamer.cli import run as cli_run
from streamer.cli import serve as cli_serve
from streamer.cli.jobs.values import seconds_of
from streamer.region import regions_of
from streamer.settings import Settings

COVER = ("--mode", "cover", "--cover", "solid")
LONG = {"pts": range(120), "options": {"g": "10"}}


def veil(*arguments: str | Path) -> Result:
    return CliRunner().invoke(cli.app, list(map(str, arguments)))


def pictures_of(path: Path) -> list[np.ndarray]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


@pytest.mark.parametrize(("text", "seconds"), [("90", 90), ("1:30", 90), ("0:01:30.5", 90.5), ("1:00:00", 3600)])
def test_times_are_seconds_or_by_the_clock(text: str, seconds: float):
    assert seconds_of(text, "--from") == seconds


@pytest.mark.parametrize("text", ["", "x", "-3", "1:-2", "1:2:3:4", "inf", "nan"])
def test_what_is_no_time_is_wrong_usage(text: str, tmp_path: Path):
    done = veil("run", tmp_path / "a.mp4", tmp_path / "b.mp4", f"--to={text}")
    assert done.exit_code == 2
    assert "--to" in done.stderr


@pytest.mark.slow
def test_a_part_is_written(clip: Callable[..., Path], tmp_path: Path):
    done = veil("run", clip(**LONG), tmp_path / "safe.mp4", *COVER, "--from", "0:07", "--to", "8.5")
    assert done.exit_code == 0, done.stderr
    assert len(pictures_of(tmp_path / "safe.mp4")) == 15


def test_a_part_that_ends_before_it_begins_is_wrong_usage(clip: Callable[..., Path], tmp_path: Path):
    done = veil("run", clip(), tmp_path / "safe.mp4", *COVER, "--from", "3", "--to", "2")
    assert done.exit_code == 2
    assert "--to" in done.stderr


def test_a_part_after_the_end_is_an_error(clip: Callable[..., Path], tmp_path: Path):
    done = veil("run", clip(), tmp_path / "safe.mp4", *COVER, "--from", "1:00")
    assert (done.exit_code, len(done.stderr.splitlines())) == (1, 1)
    assert not (tmp_path / "safe.mp4").exists()


def test_regions_are_covered_and_reported(clip: Callable[..., Path], tmp_path: Path):
    regions = ("--always", "32,24,32,24", "--always", "0%,0%,25%,25%")
    done = veil("run", clip(), tmp_path / "safe.mp4", *COVER, *regions)
    assert done.exit_code == 0, done.stderr
    assert "2 regions covered in every frame" in done.stdout
    for image in pictures_of(tmp_path / "safe.mp4"):
        assert image[28:44, 36:60].max() < 12
        assert image[2:10, 2:14].max() < 12
        assert image[2:10, 40:60].min() > 15


@pytest.mark.parametrize("region", ["64,0,9,9", "1,2,3", "a,b,c,d"])
def test_a_region_that_covers_nothing_is_wrong_usage(clip: Callable[..., Path], tmp_path: Path, region: str):
    done = veil("run", clip(), tmp_path / "safe.mp4", *COVER, "--always", region)
    assert done.exit_code == 2
    assert "--always" in done.stderr
    assert not (tmp_path / "safe.mp4").exists()


@pytest.mark.slow
def test_a_preview_is_three_places_in_a_file_of_its_own(clip: Callable[..., Path], tmp_path: Path):
    done = veil("run", clip(**LONG), tmp_path / "safe.mp4", *COVER, "--preview", "1")
    assert done.exit_code == 0, done.stderr
    assert len(pictures_of(tmp_path / "safe.preview.mp4")) == 30
    assert not (tmp_path / "safe.mp4").exists()


@pytest.mark.parametrize(("answer", "is_written"), [("y\n", True), ("n\n", False)])
def test_whoever_is_there_is_asked_after_the_preview(
    clip: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str, is_written: bool
):
    monkeypatch.setattr(cli_run, "_is_somebody_there", lambda: True)
    arguments = ["run", str(clip()), str(tmp_path / "safe.mp4"), *COVER, "--preview", "1"]
    assert CliRunner().invoke(cli.app, arguments, input=answer).exit_code == 0
    assert (tmp_path / "safe.preview.mp4").exists()
    assert (tmp_path / "safe.mp4").exists() == is_written


@pytest.mark.parametrize("sink", ["safe.png", "folder", "rtsp://127.0.0.1:1/a"])
def test_a_preview_needs_a_video_file_to_write(clip: Callable[..., Path], tmp_path: Path, sink: str):
    done = veil("run", clip(), sink if "://" in sink else tmp_path / sink, *COVER, "--preview", "1")
    assert done.exit_code == 2
    assert "--preview" in done.stderr


def test_a_preview_never_replaces_the_input(clip: Callable[..., Path], tmp_path: Path):
    path = clip("safe.preview.mp4")
    before = path.read_bytes()
    done = veil("run", path, tmp_path / "safe.mp4", *COVER, "--preview", "1", "--overwrite")
    assert done.exit_code == 1
    assert path.read_bytes() == before


@pytest.mark.parametrize("option", [("--from", "1"), ("--to", "1"), ("--preview", "1")])
def test_of_several_sources_no_part_is_taken(clip: Callable[..., Path], tmp_path: Path, option: tuple[str, str]):
    done = veil("run", clip("a.mp4"), clip("b.mp4"), tmp_path / "out", *COVER, *option)
    assert done.exit_code == 2
    assert option[0] in done.stderr


def test_the_command_names_its_own_options(clip: Callable[..., Path], tmp_path: Path):
    (tmp_path / "safe.mp4").touch()
    done = veil("run", clip(), tmp_path / "safe.mp4", *COVER)
    assert done.exit_code == 1
    assert "exists; remove it, or allow --overwrite" in done.stderr
    assert "True" not in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "is_marked"), [(("--cover", "mosaic"), True), (("--no-mark",), False), (COVER, False)]
)
def test_a_run_that_draws_marks_its_output_unless_told_not_to(
    clip: Callable[..., Path], tmp_path: Path, options: tuple[str, ...], is_marked: bool
):
    done = veil("run", clip(pts=range(2)), tmp_path / "safe.mp4", *options)
    assert done.exit_code == 0, done.stderr
    assert (b"compositeWithTrainedAlgorithmicMedia" in (tmp_path / "safe.mp4").read_bytes()) == is_marked


@pytest.mark.parametrize(("region", "said"), [("10,10,5,5", "must be in percent"), ("x", "always must be")])
def test_what_a_server_always_covers_is_in_percent(region: str, said: str):
    done = veil("serve", "--always", region)
    assert done.exit_code == 2
    assert said in " ".join(done.stderr.replace("│", " ").split())


def test_a_server_covers_what_it_is_told_to():
    settings = Settings(mode="cover", always=regions_of(["0%,0%,50%,100%"]))
    with cli_serve._load("default", "cpu", settings) as anonymizer:
        assert anonymizer.settings.always == settings.always
