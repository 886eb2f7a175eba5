"""Which files a run of many reads, and what each of them is called in the output."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePath

from streamer.errors import SinkError, SourceError
from streamer.masking import mask_secrets
from streamer.sinks.file_sink import VIDEO_SUFFIXES
from streamer.sinks.picture_sinks import PICTURE_SUFFIXES
from streamer.sources.address import live_address
from streamer.sources.picture_file import is_picture
from streamer.sources.pictures import files_in, folders_in

log = logging.getLogger(__name__)

# Of a folder these are taken for videos; a file that is named alone is opened whatever it is called.
NAMED_VIDEOS = frozenset({
    ".3gp", ".asf", ".avi", ".dv", ".flv", ".gif", ".m2ts", ".m4v", ".mjpeg", ".mjpg", ".mkv", ".mov", ".mp4", ".mpeg",
    ".mpg", ".mts", ".mxf", ".ogv", ".ts", ".vob", ".webm", ".wmv",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class FilePair:
    """A file to read, and where what becomes of it is written."""

    source: Path
    sink: Path


@dataclass(frozen=True, slots=True)
class InputFile:
    """Something to read: where, under which name in the output, and whether it is a picture."""

    source: str
    name: PurePath
    is_picture: bool


def holds_videos(folder: Path, *, recursive: bool) -> bool:
    """Return whether there is a video in `folder`, so that its files are read one by one.

    Raises:
        SourceError: If it cannot be read.
    """
    return any(_is_video(file) for file in _files_in(folder, recursive=recursive))


def pairs_of(sources: Sequence[str], sink: str, *, recursive: bool, with_sound: bool) -> list[FilePair]:
    """Return what is to be read and written where in the folder `sink`, which is not made yet.

    Files of one folder keep their place in it; of several folders each becomes one in `sink`. What is not written
    becomes .mp4, with sound .mkv, or .jpg.

    Raises:
        SourceError: If a source is live, or there is nothing to read.
        SinkError: If `sink` is no folder, lies in a source, or two files would be written to one place.
    """
    target = Path(sink).absolute()
    if live_address(sink) or ":" in sink.partition("/")[0] or (target.exists() and not target.is_dir()):
        raise SinkError(f"cannot write several files to {mask_secrets(sink)}: name a folder")
    found: list[InputFile] = []
    for source in sources:
        if live_address(source):
            raise SourceError(f"cannot read {mask_secrets(source)} beside other sources: it is live; run it alone")
        path = Path(source).absolute()
        if path.is_dir():
            if target.resolve() == path.resolve() or path.resolve() in target.resolve().parents:
                raise SinkError(f"cannot write to {target}: it lies in the input {path}; choose another folder")
            prefix = PurePath(path.name if len(sources) > 1 else "")
            files = _readable_in(path, recursive=recursive)
            found += [InputFile(str(file), prefix / file.relative_to(path), _is_picture(file)) for file in files]
        else:
            found.append(InputFile(str(path), PurePath(path.name), _is_picture(path)))
    places = placed(found, with_sound=with_sound)
    return [FilePair(Path(source), target / place) for place, source in places.items()]


@contextmanager
def output_folders(pairs: Sequence[FilePair]) -> Iterator[None]:
    """Make the folders that `pairs` are written to, and in the end remove those in which nothing came to be.

    Raises:
        SinkError: If one cannot be made.
    """
    folders = {folder for pair in pairs for folder in pair.sink.parents}
    made = sorted((folder for folder in folders if not folder.exists()), key=lambda folder: len(folder.parts))
    try:
        for folder in made:
            _make(folder)
        yield
    finally:
        for folder in reversed(made):
            with suppress(OSError):  # it is not empty
                folder.rmdir()


def _make(folder: Path) -> None:
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise SinkError(f"cannot make the folder {folder}: {error.strerror}") from error


def _files_in(folder: Path, *, recursive: bool) -> list[Path]:
    try:
        return files_in(folder, recursive=recursive)
    except OSError as error:
        raise SourceError(f"cannot open {folder}: {error.strerror}; check its permissions") from error


def _readable_in(folder: Path, *, recursive: bool) -> list[Path]:
    files = _files_in(folder, recursive=recursive)
    readable = [file for file in files if _is_video(file) or _is_picture(file)]
    if others := [str(file.relative_to(folder)) for file in files if file not in set(readable)]:
        log.warning("%s: left out, as they are neither videos nor pictures: %s", folder, ", ".join(others))
    if not recursive and (inner := folders_in(folder)):
        count = "1 subfolder is" if len(inner) == 1 else f"{len(inner)} subfolders are"
        log.warning("%s: %s left out; --recursive takes what is in them too", folder, count)
    if not readable:
        raise SourceError(f"cannot open {folder}: no video and no picture among its {len(files)} files")
    return readable


def placed(found: Sequence[InputFile], *, with_sound: bool) -> dict[PurePath, str]:
    """Return what is written where, by place in the output; a name that is changed gives way to one that is kept.

    Raises:
        SinkError: If two would be written to one place.
    """
    kept = {each.name for each in found if _new_suffix(each, with_sound=with_sound) == each.name.suffix}
    taken: dict[PurePath, str] = {}
    for each in found:
        suffix, place = _new_suffix(each, with_sound=with_sound), each.name
        if suffix != place.suffix:
            place = place.with_suffix(suffix)
            if place in kept or place in taken:
                place = place.with_name(each.name.name + suffix)
        if place in taken:
            raise SinkError(f"{taken[place]} and {each.source} would both be written to {place}: rename one")
        taken[place] = each.source
    return taken


def _new_suffix(found: InputFile, *, with_sound: bool) -> str:
    suffix = found.name.suffix
    if found.is_picture:
        return suffix if suffix.lower() in PICTURE_SUFFIXES else ".jpg"
    return suffix if suffix.lower() in VIDEO_SUFFIXES else ".mkv" if with_sound else ".mp4"


def _is_video(path: Path) -> bool:
    return path.suffix.lower() in NAMED_VIDEOS and not _is_picture(path)


def _is_picture(path: Path) -> bool:
    with suppress(OSError):  # if it is to be read, that is said then
        return is_picture(path)
    return False
