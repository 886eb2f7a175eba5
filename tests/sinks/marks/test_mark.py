"""That an independent program reads in every kind of file that its faces were generated, and only where they were."""

import json
import shutil
import subprocess
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from PIL import Image

from streamer import open_sink, open_source
from streamer.batch.joining import join_parts
from streamer.sinks.marks.mark import NOTE, SOURCE_TYPE, marked
from streamer.types import FaceReport, Frame, SafeFrame, Tier, VideoInfo
from tests.clips import picture

PICTURES = ["png", "jpg", "webp", "tiff"]
VIDEOS = ["mp4", "mov", "mkv", "webm"]
READ_BACK = pytest.mark.skipif(not shutil.which("exiftool"), reason="needs exiftool (Debian: libimage-exiftool-perl)")


def read(path: Path) -> dict[str, str]:
    """What exiftool finds of the source type and the note, by group and name; it must find the file sound."""
    done = subprocess.run(["exiftool", "-j", "-G1", "-validate", "-warning", "-a", str(path)], capture_output=True)
    whole = subprocess.run(["exiftool", "-j", "-G1", "-a", str(path)], capture_output=True, check=True)
    assert "rror" not in done.stdout.decode()
    return {name: str(value) for name, value in json.loads(whole.stdout)[0].items()}


def frames(source: list[Frame], tier: Tier) -> list[SafeFrame]:
    face = FaceReport(1, tier, "", np.array([0, 0, 9, 9], np.float32))
    return [SafeFrame(frame.image, frame.index, frame.pts, frame.time_base, (face,)) for frame in source]


def write_picture(path: Path, tier: Tier = "generated", size: tuple[int, int] = (64, 48), **options: bool) -> None:
    info = VideoInfo(*size, None, Fraction(1), 1, names=("a",))
    with open_sink(path, info, **options) as sink:  # type: ignore[arg-type]
        (frame,) = frames([Frame(picture(1, size), 0, 0, Fraction(1))], tier)
        sink.write(frame)


def write_video(path: Path, clip: Path, **options: bool) -> None:
    with open_source(clip) as source, open_sink(path, source.info, **options) as sink:  # type: ignore[arg-type]
        for frame in frames(list(source), "generated"):
            sink.write(frame)


@READ_BACK
@pytest.mark.parametrize("suffix", PICTURES)
@pytest.mark.parametrize("size", [(64, 48), (63, 47)])
def test_a_picture_says_that_a_face_was_drawn(tmp_path: Path, suffix: str, size: tuple[int, int]):
    path = tmp_path / f"safe.{suffix}"
    write_picture(path, size=size)
    said = read(path)
    assert said["XMP-iptcExt:DigitalSourceType"] == SOURCE_TYPE
    assert said["XMP-dc:Description"] == NOTE


@pytest.mark.parametrize("suffix", [*PICTURES, "bmp"])
@pytest.mark.parametrize("size", [(64, 48), (63, 47)])
def test_the_mark_leaves_every_pixel(tmp_path: Path, suffix: str, size: tuple[int, int]):
    marked, plain = tmp_path / f"marked.{suffix}", tmp_path / f"plain.{suffix}"
    write_picture(marked, size=size)
    write_picture(plain, size=size, mark=False)
    assert (SOURCE_TYPE.encode() in marked.read_bytes()) == (suffix != "bmp")
    assert (cv2.imread(str(marked)) == cv2.imread(str(plain))).all()
    with open_source(marked) as source:
        assert next(iter(source)).image.shape == (size[1], size[0], 3)


@pytest.mark.parametrize("suffix", PICTURES)
@pytest.mark.parametrize("tier", ["mosaic", "solid", "kept"])
def test_a_picture_without_a_drawn_face_says_nothing(tmp_path: Path, suffix: str, tier: Tier):
    write_picture(tmp_path / f"safe.{suffix}", tier)
    assert b"iptc" not in (tmp_path / f"safe.{suffix}").read_bytes()


@READ_BACK
@pytest.mark.parametrize("options", [{"quality": 80}, {"lossless": True}])
@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_both_kinds_of_webp_have_a_place(tmp_path: Path, options: dict[str, int], mode: str):
    image = Image.fromarray(picture(1)).convert(mode)
    if mode == "RGBA":
        image.putalpha(90)
    image.save(tmp_path / "plain.webp", **options)
    data = (tmp_path / "plain.webp").read_bytes()
    (tmp_path / "marked.webp").write_bytes(marked(data))
    if data[12:16] != b"VP8X":  # an extended one is none of ours
        assert read(tmp_path / "marked.webp")["XMP-iptcExt:DigitalSourceType"] == SOURCE_TYPE
    shown = Image.open(tmp_path / "marked.webp")
    assert shown.mode == mode
    assert (np.asarray(shown) == np.asarray(Image.open(tmp_path / "plain.webp"))).all()


@READ_BACK
@pytest.mark.parametrize("suffix", VIDEOS)
def test_a_video_says_that_its_faces_are_drawn(clip: Callable[..., Path], tmp_path: Path, suffix: str):
    path = tmp_path / f"safe.{suffix}"
    write_video(path, clip())
    said = read(path)
    assert SOURCE_TYPE in said.values()
    assert NOTE in said.values()
    if suffix in ("mp4", "mov"):
        assert said["XMP-iptcExt:DigitalSourceType"] == SOURCE_TYPE


@pytest.mark.parametrize("suffix", VIDEOS)
def test_ffmpeg_reads_the_tags_and_every_frame(clip: Callable[..., Path], tmp_path: Path, suffix: str):
    write_video(tmp_path / f"safe.{suffix}", clip())
    with av.open(str(tmp_path / f"safe.{suffix}")) as container:
        said = {name.lower(): value for name, value in container.metadata.items()}
        assert (said["comment"], said["digitalsourcetype"]) == (NOTE, SOURCE_TYPE)
        assert len(list(container.decode(video=0))) == 12


@pytest.mark.parametrize("suffix", VIDEOS)
def test_a_video_that_is_not_to_be_marked_is_not(clip: Callable[..., Path], tmp_path: Path, suffix: str):
    write_video(tmp_path / f"safe.{suffix}", clip(), mark=False)
    data = (tmp_path / f"safe.{suffix}").read_bytes()
    assert b"iptc" not in data
    assert NOTE.encode() not in data


@READ_BACK
def test_a_live_recording_is_marked_from_its_first_byte(tmp_path: Path):
    """Read as a crash would leave it: before the sink is left."""
    info = VideoInfo(64, 48, Fraction(10), Fraction(1, 10), None, is_live=True)
    with open_sink(tmp_path / "safe.mp4", info) as sink:
        for frame in frames([Frame(picture(n), n, n, Fraction(1, 10)) for n in range(30)], "generated"):
            sink.write(frame)
        (part,) = tmp_path.glob("*.part.mp4")
        assert SOURCE_TYPE.encode() in part.read_bytes()
    assert read(tmp_path / "safe.mp4")["XMP-iptcExt:DigitalSourceType"] == SOURCE_TYPE


@pytest.mark.parametrize("suffix", VIDEOS)
@pytest.mark.parametrize("mark", [True, False])
def test_what_is_joined_of_parts_is_marked_as_they_are(
    clip: Callable[..., Path], tmp_path: Path, suffix: str, mark: bool
):
    source, part, whole = clip(), tmp_path / f"part.{suffix}", tmp_path / f"whole.{suffix}"
    write_video(part, source, mark=mark)
    join_parts([(part, Fraction(0)), (part, Fraction(2))], whole, source=source, keep_audio=False)
    with av.open(str(whole)) as container:
        assert len(list(container.decode(video=0))) == 24
    assert (SOURCE_TYPE.encode() in whole.read_bytes()) == mark
