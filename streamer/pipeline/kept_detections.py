"""Keeps where the faces of a video were found, so that the next rendering need not search: boxes, points and meshes.

Nothing of the pictures, no embedding and nothing of what a person is like. A file is one search of one video, frame by
frame as it went; its name says of which video, with which settings and by which code, and its last 32 bytes are the
SHA-256 of that and the rest: under another name it is damaged. What does not fit exactly is not used.
"""

from __future__ import annotations

import hashlib
import os
import struct
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

import streamer.faces
from streamer.errors import AnonymizerError
from streamer.settings import Settings
from streamer.types import Face, Floats, Frame, Track, TrackedFrame

SUFFIX = ".faces"
MODE = 0o600  # where faces were tells who was where: for the owner alone
FOLDER_MODE = 0o700
OTHERS_WRITE = 0o022
HEAD = struct.Struct("<qq?I")  # index and pts of the frame, whether a scene starts, how many tracks
# fmt: off
TRACK = np.dtype([
    ("id", "<i8"), ("missed", "<f8"), ("confirmed", "?"), ("track_hides", "?"), ("box", "<f4", 4),
    ("landmarks", "<f4", (5, 2)), ("score", "<f8"), ("hides", "?"), ("verified", "?"), ("has_mesh", "?")])
# fmt: on
MESH = np.dtype(("<f4", (468, 3)))
SUM = hashlib.sha256().digest_size
Values = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class KeptDetections:
    """The searches of one video, or of a part of it.

    Attributes:
        folder: Where they are kept; made when it is needed.
        video: What tells the video, and the part, from all others.
        check: Called once all of it was read, before what was found is kept; raises if `video` is no longer true.
    """

    folder: Path
    video: str
    check: Callable[[], None]

    def replayed(self, frames: Iterable[Frame], settings: Settings) -> Iterator[TrackedFrame] | None:
        """Return the frames with what was found in them, as they were searched; None if they never were.

        Raises:
            AnonymizerError: If others may write to the folder; while it is iterated, if the frames are not those that
                were searched.
        """
        self._refuse_open_folder()
        asked = self._asked(settings)
        content = _whole(self._path(asked), asked)
        return None if content is None else _replayed(content, iter(frames))

    def noted(self, searched: Iterable[TrackedFrame], settings: Settings) -> Iterator[TrackedFrame]:
        """Yield what was searched, and keep it once all of it was, without a failure.

        Raises:
            AnonymizerError: If it cannot be written.
            StreamerError: What `check` raises.
        """
        asked = self._asked(settings)
        path = self._path(asked)
        part = path.with_suffix(f".{os.getpid()}")
        digest, is_whole = hashlib.sha256(asked), True
        try:
            with self._writing(), _opened(part) as file:
                for seen in searched:
                    entry = _entry(seen)
                    digest.update(entry)
                    file.write(entry)
                    is_whole = is_whole and (seen.frame.is_damaged or not seen.failed)
                    yield seen
                file.write(digest.digest())
            self.check()
            if is_whole:
                with self._writing():
                    part.replace(path)
        finally:
            with suppress(OSError):
                part.unlink(missing_ok=True)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise AnonymizerError(f"cannot keep detections in {self.folder}: {error.strerror}") from error

    def _refuse_open_folder(self) -> None:
        with self._writing(), suppress(FileNotFoundError):
            about = self.folder.stat()
            if about.st_uid != os.geteuid() or about.st_mode & OTHERS_WRITE:
                reason = "others may write to it; give it to yourself alone (chmod 700), or name another folder"
                raise AnonymizerError(f"cannot keep detections in {self.folder}: {reason}")

    def _asked(self, settings: Settings) -> bytes:
        asked = self.video, settings.mode, settings.policy, settings.delay_seconds, settings.min_face, _code()
        return repr(asked).encode()

    def _path(self, asked: bytes) -> Path:
        return self.folder / (hashlib.sha256(asked).hexdigest() + SUFFIX)


@cache
def _code() -> str:
    """Return the SHA-256 of what finds faces: other code may find others."""
    digest = hashlib.sha256()
    for path in sorted(Path(streamer.faces.__file__).parent.rglob("*")):
        if path.suffix in (".py", ".tflite"):
            digest.update(path.read_bytes())
    return digest.hexdigest()


def _whole(path: Path, asked: bytes) -> memoryview | None:
    """Return what a file holds without its sum; None if there is none, others may write to it, or it is damaged."""
    try:
        content, about = path.read_bytes(), path.stat()
    except OSError:
        return None
    if about.st_uid != os.geteuid() or about.st_mode & OTHERS_WRITE:
        return None
    if hashlib.sha256(asked + content[:-SUM]).digest() != content[-SUM:]:
        return None
    try:
        deque(_entries(memoryview(content)[:-SUM]), maxlen=0)
    except (struct.error, ValueError):  # it ends within an entry
        return None
    return memoryview(content)[:-SUM]


def _opened(path: Path) -> IO[bytes]:
    path.parent.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
    return open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, MODE), "wb")  # noqa: PTH123 - never for others


def _entry(seen: TrackedFrame) -> bytes:
    faces = [track.face for track in seen.tracks]
    values = [
        (t.id, t.missed_seconds, t.is_confirmed, t.hides, f.box, f.landmarks, f.score, f.hides, f.is_verified, has_mesh)
        for t, f, has_mesh in ((track, track.face, track.face.mesh is not None) for track in seen.tracks)
    ]
    head = HEAD.pack(seen.frame.index, seen.frame.pts, seen.starts_scene, len(values))
    meshes = (np.asarray(face.mesh, "<f4").tobytes() for face in faces if face.mesh is not None)
    return head + np.array(values, TRACK).tobytes() + b"".join(meshes)


def _entries(content: memoryview) -> Iterator[tuple[int, int, bool, Values, Values]]:
    """Yield index and pts of each frame, whether a scene starts, tracks and meshes."""
    place = 0
    while place < len(content):
        index, pts, starts_scene, count = HEAD.unpack_from(content, place)
        place += HEAD.size
        values = np.frombuffer(content, TRACK, count, place)
        place += values.nbytes
        meshes = np.frombuffer(content, MESH, int(values["has_mesh"].sum()), place)
        place += meshes.nbytes
        yield index, pts, starts_scene, values, meshes


def _replayed(content: memoryview, frames: Iterator[Frame]) -> Iterator[TrackedFrame]:
    frame = None
    for index, pts, starts_scene, values, meshes in _entries(content):
        if frame is None or frame.index != index:  # one that was searched twice comes twice
            frame = next(frames, None)
        if frame is None or (frame.index, frame.pts) != (index, pts):
            raise AnonymizerError("kept detections are not those of this video; remove them")
        yield TrackedFrame(frame, tuple(_tracks(values, iter(meshes))), starts_scene)
    if next(frames, None) is not None:
        raise AnonymizerError("kept detections are not those of this video; remove them")


def _tracks(values: Values, meshes: Iterator[Floats]) -> Iterator[Track]:
    for v in values:
        mesh = next(meshes) if v["has_mesh"] else None
        face = Face(v["box"], v["landmarks"], mesh, float(v["score"]), bool(v["hides"]), bool(v["verified"]))
        yield Track(int(v["id"]), face, float(v["missed"]), bool(v["confirmed"]), bool(v["track_hides"]))
