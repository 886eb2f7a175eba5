"""Pictures and folders of them as sources."""

from __future__ import annotations

import struct
from pathlib import Path

import cv2
import numpy as np
import pytest

from streamer.errors import SourceError
from streamer.sources.file_source import open_source
from tests.clips import picture
from tests.sources.reading import JPEG_EXIF, read, red_corner


def test_a_folder_gives_its_pictures_by_name_each_of_its_own_size(tmp_path: Path) -> None:
    for name, size in (
        ("b.png", (20, 10)),
        ("a.bmp", (30, 40)),
        ("C.JPG", (50, 20)),
        ("d.webp", (16, 8)),
        ("e.tiff", (9, 9)),
    ):
        cv2.imwrite(str(tmp_path / name), picture(1, size)[..., ::-1])
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "._b.png").write_bytes(b"a shadow file of macOS")
    with open_source(tmp_path) as source:
        frames = list(source)
    assert source.info.names == ("C.JPG", "a.bmp", "b.png", "d.webp", "e.tiff")
    assert [frame.image.shape for frame in frames] == [(20, 50, 3), (40, 30, 3), (10, 20, 3), (8, 16, 3), (9, 9, 3)]
    assert [(frame.index, frame.pts) for frame in frames] == [(index, index) for index in range(5)]
    assert (source.info.width, source.info.height, source.info.frame_count) == (50, 20, 5)
    assert (frames[2].image == picture(1, (20, 10))).all()


def test_a_single_picture_is_one_frame(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), picture(2)[..., ::-1])
    (frame,) = read(tmp_path / "a.png")
    assert (frame.image == picture(2)).all()


def test_a_folder_without_pictures_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(SourceError, match="no picture among its 1 files"):
        open_source(tmp_path)


def test_a_broken_picture_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"nonsense")
    with pytest.raises(SourceError, match=r"a\.png: not a picture, or damaged"):
        open_source(tmp_path / "a.png")


def test_a_broken_picture_of_many_is_counted_and_keeps_its_index(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("a.png", "c.png"):
        cv2.imwrite(str(tmp_path / name), picture(0))
    (tmp_path / "b.png").write_bytes(b"")
    with open_source(tmp_path) as source:
        assert [source.info.names[frame.index] for frame in source] == ["a.png", "c.png"]
        assert source.corrupt_packets == 1
    assert "b.png" in caplog.text


def test_a_folder_of_broken_pictures_is_refused(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(b"nonsense")
    with pytest.raises(SourceError, match="none of its 2 pictures"):
        open_source(tmp_path)


CORNERS = [
    "top left",
    "top right",
    "bottom right",
    "bottom left",
    "top left",
    "top right",
    "bottom right",
    "bottom left",
]


@pytest.mark.parametrize("kind", ["jpg", "webp"])
@pytest.mark.parametrize(("orientation", "corner"), [*enumerate(CORNERS, start=1)])
def test_the_exif_orientation_of_a_picture_is_applied(tmp_path: Path, kind: str, orientation: int, corner: str) -> None:
    path = tmp_path / f"a.{kind}"
    data = cv2.imencode(f".{kind}", picture(0)[..., ::-1], [cv2.IMWRITE_WEBP_QUALITY, 101])[1].tobytes()
    app1 = JPEG_EXIF % orientation
    if kind == "jpg":
        path.write_bytes(data[:2] + app1 + data[2:])
    else:
        exif = app1[10:]
        header = b"VP8X" + struct.pack("<IB3x", 10, 8) + (63).to_bytes(3, "little") + (47).to_bytes(3, "little")
        body = b"WEBP" + header + data[12:] + b"EXIF" + struct.pack("<I", len(exif)) + exif
        path.write_bytes(b"RIFF" + struct.pack("<I", len(body)) + body)
    (frame,) = read(path)
    assert red_corner(frame) == corner
    assert frame.image.shape[:2] == ((48, 64) if orientation < 5 else (64, 48))


@pytest.mark.parametrize("kind", ["png", "webp"])
def test_the_alpha_of_a_picture_is_dropped_with_a_warning(
    tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    hidden = np.dstack([picture(0)[..., ::-1], np.full((48, 64), 10, np.uint8)])
    cv2.imwrite(str(tmp_path / f"a.{kind}"), hidden, [cv2.IMWRITE_WEBP_QUALITY, 101])
    (frame,) = read(tmp_path / f"a.{kind}")
    assert np.abs(frame.image.astype(int) - picture(0)).max() <= 1
    assert "alpha" in caplog.text


def test_only_the_first_of_several_pages_is_read_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cv2.imwritemulti(str(tmp_path / "a.tiff"), [picture(0), picture(1)])
    assert len(read(tmp_path / "a.tiff")) == 1
    assert "2 pages" in caplog.text
