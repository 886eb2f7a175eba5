"""What an archive consists of: which files are read, what each becomes, and where long ones are split."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import PurePosixPath

from streamer.batch.inputs import NAMED_VIDEOS, InputFile, pairs_of, placed
from streamer.batch.manifest import ArchiveSettings, Manifest
from streamer.batch.splitting import cuts
from streamer.batch.storage import exists, file_system, identity_of, local_path, within
from streamer.errors import SinkError, SourceError, StreamerError
from streamer.masking import mask_secrets
from streamer.sinks.picture_sinks import PICTURE_SUFFIXES


def plan(sources: Sequence[str], out: str, *, recursive: bool, with_sound: bool) -> dict[str, str]:
    """Return what is to be read, by its place in the folder `out`.

    Raises:
        SourceError, SinkError: As `pairs_of`; if a folder elsewhere cannot be listed or holds nothing to read.
    """
    target = local_path(out)
    if target and all(local_path(source) for source in sources):
        paths = [str(local_path(source)) for source in sources]
        pairs = pairs_of(paths, str(target), recursive=recursive, with_sound=with_sound)
        return {pair.sink.relative_to(target).as_posix(): str(pair.source) for pair in pairs}
    found = [each for source in sources for each in _found(source, recursive=recursive, is_alone=len(sources) == 1)]
    return {place.as_posix(): source for place, source in placed(found, with_sound=with_sound).items()}


def _found(url: str, *, recursive: bool, is_alone: bool) -> list[InputFile]:
    """Return the videos and pictures at a place that fsspec reaches, told by their names."""
    files, path = file_system(url)
    try:
        if not files.isdir(path):
            if not files.exists(path):
                raise SourceError(f"cannot open {mask_secrets(url)}: there is nothing")
            return [_named(files.unstrip_protocol(path), PurePosixPath(path).name)]
        beside = [] if recursive else files.ls(path, detail=True)
        inside = files.find(path) if recursive else [each["name"] for each in beside if each["type"] == "file"]
    except OSError as error:
        raise SourceError(f"cannot open {mask_secrets(url)}: {error.strerror or error}") from error
    prefix = PurePosixPath("" if is_alone else PurePosixPath(path).name)
    root = path.rstrip("/") + "/"
    named = [_named(files.unstrip_protocol(each), str(prefix / each.removeprefix(root))) for each in sorted(inside)]
    readable = [each for each in named if each.is_picture or each.name.suffix.lower() in NAMED_VIDEOS]
    if not readable:
        raise SourceError(f"cannot open {mask_secrets(url)}: no video and no picture among its {len(named)} files")
    return readable


def _named(url: str, name: str) -> InputFile:
    path = PurePosixPath(name)
    return InputFile(url, path, is_picture=path.suffix.lower() in PICTURE_SUFFIXES)


def check_places(sources: dict[str, str], out: str, manifest: Manifest) -> None:
    """Raise a SinkError if an output would replace a source, or a file that is none of the archive's."""
    read = {identity_of(source): source for source in sources.values()}
    for name in sources:
        place = within(out, name)
        if source := read.get(identity_of(place)):
            reason = f"it would overwrite the input {mask_secrets(source)}; choose another --out"
            raise SinkError(f"cannot write {mask_secrets(place)}: {reason}")
        if name not in manifest.sources and exists(place):
            reason = "it exists, and is none of this archive's; remove it, or choose another --out"
            raise SinkError(f"cannot write {mask_secrets(place)}: {reason}")


def begin(
    manifest: Manifest, sources: dict[str, str], settings: ArchiveSettings, *, model_sha256: str, part_seconds: float
) -> None:
    """Write into the manifest what is to be done and is not in it yet.

    Raises:
        StreamerError: If the archive was begun with other settings, another model or another key.
    """
    header = settings.header(model_sha256)
    if not manifest.header:
        manifest.add(header)
    elif differing := [name for name, value in header.items() if manifest.header.get(name) != value]:
        what = {"key_id": "key", "model_sha256": "model"}.get(differing[-1], "settings")
        raise StreamerError(f"this archive was begun with another {what}: give the same, or choose another --out")
    for name, source in sources.items():
        known = manifest.sources.get(name)
        if known is not None and known["source"] != source:
            raise StreamerError(f"{name} of this archive is made from another source: {mask_secrets(known['source'])}")
        if known is None:
            starts = [] if settings.preview_seconds else _starts(source, part_seconds)
            manifest.add({"kind": "source", "name": name, "source": source, "starts": list(map(str, starts))})


def _starts(source: str, part_seconds: float) -> list[Fraction]:
    """Return when the parts of a source begin; nothing if it is done as a whole."""
    if PurePosixPath(source).suffix.lower() not in NAMED_VIDEOS:
        return []
    path = local_path(source)
    if path:
        inner = cuts(str(path), part_seconds, name=path.name)
    else:
        files, remote = file_system(source)
        try:
            with files.open(remote, "rb") as file:
                inner = cuts(file, part_seconds, name=PurePosixPath(remote).name)
        except OSError:  # said when it is read
            return []
    return [Fraction(0), *inner] if inner else []
