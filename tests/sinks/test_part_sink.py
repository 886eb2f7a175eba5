"""Where outputs are written: a name of each run's own, the end of a link, never a pipe or a device."""

import os
import socket
from fractions import Fraction
from pathlib import Path

import pytest

from streamer.errors import SinkError, SourceError
from streamer.sinks.file_sink import open_sink
from streamer.sources.file_source import open_source
from streamer.types import SafeFrame, VideoInfo
from tests.clips import picture

INFO = VideoInfo(64, 48, Fraction(10), Fraction(1, 10), None)


def frame(index: int) -> SafeFrame:
    return SafeFrame(picture(index), index, index, INFO.time_base)


def write(target: Path, *, overwrite: bool = False) -> None:
    with open_sink(target, INFO, overwrite=overwrite) as sink:
        sink.write(frame(0))


def left_in(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


def read_tree(path: Path) -> dict[str, bytes]:
    """The content of a file, or of all files in a folder."""
    return {file.name: file.read_bytes() for file in ([path] if path.is_file() else path.iterdir())}


@pytest.mark.parametrize("name", ["out.mp4", "out.png", "out"])
def test_of_two_runs_that_write_the_same_output_the_first_to_end_wins_and_the_other_says_so(
    name: str, tmp_path: Path
) -> None:
    first, second = open_sink(tmp_path / name, INFO), open_sink(tmp_path / name, INFO)
    with pytest.raises(SinkError, match="exists; remove it"), second:  # noqa: PT012
        second.write(frame(0))
        with first:
            assert len(left_in(tmp_path)) == 2
            first.write(frame(0))
        whole = read_tree(tmp_path / name)
        if name == "out.mp4":
            second.write(frame(1))
    assert left_in(tmp_path) == [name]
    assert read_tree(tmp_path / name) == whole


def test_links_in_a_circle_are_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").symlink_to(tmp_path / "b.mp4")
    (tmp_path / "b.mp4").symlink_to(tmp_path / "a.mp4")
    with pytest.raises(SinkError, match="it is a link that leads nowhere"):
        open_sink(tmp_path / "a.mp4", INFO)


@pytest.mark.parametrize("name", ["out.mp4", "out.png", "out"])
@pytest.mark.parametrize("there", [False, True])
def test_a_link_is_followed_and_stays(name: str, there: bool, tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    target, link = tmp_path / "disk" / name.replace("out", "real"), tmp_path / name
    link.symlink_to(target)
    if there:
        write(target)
        with pytest.raises(SinkError, match=f"{target.name} exists"):
            open_sink(link, INFO)
    write(link, overwrite=there)
    assert link.is_symlink()
    assert left_in(tmp_path / "disk") == [target.name]
    assert target.is_dir() or target.stat().st_size > 100


@pytest.mark.parametrize("letter", ["x", "\u65e5"])
def test_the_longest_name_that_a_file_can_have_can_be_written(letter: str, tmp_path: Path) -> None:
    name = letter * (251 // len(letter.encode())) + ".mp4"
    write(tmp_path / name)
    assert left_in(tmp_path) == [name]


@pytest.mark.parametrize("path", ["/dev/null", "/dev/stdout", "-", "pipe", "socket"])
def test_what_is_no_file_is_refused_as_an_output_and_an_input(
    path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe")
    with socket.socket(socket.AF_UNIX) as made:
        made.bind("socket")
        for overwrite in (False, True):
            with pytest.raises(SinkError, match=r"name a file"):
                open_sink(path, INFO, overwrite=overwrite)
    if path != "/dev/stdout":  # of a test that is a file
        with pytest.raises(SourceError, match=r"name a file|write it to a file first"):
            open_source(path)
    assert left_in(tmp_path) == ["pipe", "socket"]
