"""Pictures as sinks: one, or a folder of them. Takes only safe frames, and nothing of the source but names."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from itertools import chain, count
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import cv2

from streamer.errors import SinkError
from streamer.sinks.marks.mark import SOURCE_TYPE, marked, shows_generated
from streamer.sinks.part_sink import PartSink
from streamer.types import Image, SafeFrame, VideoInfo

if TYPE_CHECKING:
    from streamer.sinks.marks.credentials import Credentials

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
PICTURE_OPTIONS = [cv2.IMWRITE_JPEG_QUALITY, 95, cv2.IMWRITE_WEBP_QUALITY, 95]  # of 100: visually lossless


class PictureSink(PartSink):
    """One picture; a second frame is an error."""

    def __init__(
        self, path: Path, info: VideoInfo, *, overwrite: bool, mark: bool, credentials: Credentials | None
    ) -> None:
        super().__init__(path, info, overwrite=overwrite, mark=mark, credentials=credentials)
        if (info.frame_count or 1) > 1:
            raise SinkError(f"cannot write {path}: a picture holds one frame of {info.frame_count}; name a folder")

    def _write(self, frame: SafeFrame) -> None:
        if self._count:
            raise SinkError(f"cannot write {self._path}: a picture holds one frame; name a folder instead")
        self._part.write_bytes(_encoded(frame, self._path, mark=self._mark))
        self._mark = self._mark and shows_generated(frame)


class FolderSink(PartSink):
    """One picture per frame: named as in the source, or by its index where the source is a video.

    Of kinds that are read but not written, such as heic, the picture becomes a JPEG. Into a folder that exists, the
    pictures are moved one by one when all are whole; its other files stay.
    """

    def __init__(
        self, path: Path, info: VideoInfo, *, overwrite: bool, mark: bool, credentials: Credentials | None
    ) -> None:
        super().__init__(path, info, overwrite=overwrite, mark=mark, credentials=credentials)
        self._names = _picture_names(info.names)
        if credentials:
            for name in self._names:
                credentials.check(path / name)

    def _open(self) -> None:
        self._part.mkdir()

    def _write(self, frame: SafeFrame) -> None:
        name = self._names[frame.index] if self._names else f"{frame.index:06d}.png"
        picture = self._part / name
        picture.parent.mkdir(parents=True, exist_ok=True)
        picture.write_bytes(_encoded(frame, self._path / name, mark=self._mark))

    def _sign(self, credentials: Credentials) -> None:
        for picture in sorted(path for path in self._part.rglob("*") if path.is_file()):
            credentials.sign(picture, is_generated=self._mark and SOURCE_TYPE.encode() in picture.read_bytes())

    def _install(self) -> None:
        if not self._path.exists():
            self._part.rename(self._path)
            return
        for picture in sorted(self._part.rglob("*")):
            target = self._path / picture.relative_to(self._part)
            if picture.is_dir():
                target.mkdir(exist_ok=True)
            else:
                picture.replace(target)
        shutil.rmtree(self._part)


def _picture_names(names: Sequence[str]) -> list[str]:
    """Return what each picture is called in the output: as in the source, but for kinds that are not written."""
    taken, found = set(names), []
    for name in names:
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts:
            raise SinkError(f"cannot write {name}: it lies outside the folder")
        if path.suffix.lower() not in PICTURE_SUFFIXES:
            names_of_jpeg = chain([str(path.with_suffix(".jpg"))], (name + n * ".jpg" for n in count(1)))
            name = next(other for other in names_of_jpeg if other not in taken)
            taken.add(name)
        found.append(name)
    return found


def _encoded(frame: SafeFrame, path: Path, *, mark: bool) -> bytes:
    """Return the file of a frame; one in which a face was drawn says so, unless it is not to."""
    data = _encode_picture(frame.image, path)
    return marked(data) if mark and shows_generated(frame) else data


def _encode_picture(image: Image, path: Path) -> bytes:
    is_done, data = cv2.imencode(path.suffix, cv2.cvtColor(image, cv2.COLOR_RGB2BGR), PICTURE_OPTIONS)
    if not is_done:
        size = f"{image.shape[1]}x{image.shape[0]}"
        raise SinkError(f"cannot write {path}: {path.suffix} holds no picture of {size} pixels; write .png")
    return data.tobytes()
