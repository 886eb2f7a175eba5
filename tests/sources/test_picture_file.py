"""Pictures as telephones, cameras and browsers save them, told by their content."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image as Pillow

from streamer.errors import SourceError
from streamer.sinks.file_sink import open_sink
from streamer.sources.file_source import VideoSource, open_source
from streamer.sources.picture_file import is_picture, load_picture, picture_kind
from streamer.sources.pictures import PictureSource, pictures_in
from streamer.types import Image
from tests.clips import encode_clip, picture, safe
from tests.sources.made_pictures import heic, matrix_profile, tiled_heic

COLOURS = [(200, 40, 40), (40, 200, 40), (40, 40, 200), (200, 200, 40), (40, 200, 200), (200, 40, 200)]
# Adobe RGB (1998) and Display P3: primaries in XYZ adapted to D50 (as in their published profiles), and gamma.
ADOBE_RGB = ([0.60974, 0.31111, 0.01947], [0.20528, 0.62567, 0.06087], [0.14919, 0.06322, 0.74457])
DISPLAY_P3 = ([0.51512, 0.24120, -0.00105], [0.29198, 0.69225, 0.04189], [0.15710, 0.06657, 0.78407])
SRGB_D50 = np.array([[0.43607, 0.38515, 0.14307], [0.22249, 0.71687, 0.06061], [0.01392, 0.09708, 0.71410]])
COLOUR = (150, 120, 110)  # of skin


def plain(colour: tuple[int, int, int], side: int = 64) -> Image:
    return np.full((side, side, 3), colour, np.uint8)


def saved(path: Path, image: Image, **properties: object) -> Path:
    Pillow.fromarray(image).save(path, **properties)
    return path


def near(image: Image, colour: tuple[int, int, int], tolerance: int = 8) -> bool:
    return bool(np.abs(image.astype(int) - colour).max() <= tolerance)


@pytest.mark.parametrize(("columns", "size"), [(3, (192, 128)), (2, (100, 150))])
def test_the_tiles_of_a_heic_are_put_together(columns: int, size: tuple[int, int], tmp_path: Path):
    path = tmp_path / "phone.HEIC"
    path.write_bytes(tiled_heic([plain(colour) for colour in COLOURS], columns=columns, size=size))
    (frame,) = open_source(path)
    assert frame.image.shape == (size[1], size[0], 3)
    for index, colour in enumerate(COLOURS):
        y, x = index // columns * 64, index % columns * 64
        assert near(frame.image[y + 4 : min(y + 60, size[1]), x + 4 : min(x + 60, size[0])], colour)


def test_a_heic_that_lacks_tiles_is_refused(tmp_path: Path):
    data = tiled_heic([plain(colour) for colour in COLOURS], columns=3, size=(192, 128))
    (tmp_path / "cut.heic").write_bytes(data[: len(data) - 400])
    with pytest.raises(SourceError, match=r"cannot decode .*cut\.heic"):
        open_source(tmp_path / "cut.heic")


def test_what_a_library_says_in_several_lines_is_one(tmp_path: Path):
    data = bytearray(tiled_heic([plain(colour) for colour in COLOURS], columns=3, size=(192, 128)))
    extents = data.index(b"iloc") + 18  # of its first item: more than libheif takes
    data[extents : extents + 2] = (257).to_bytes(2)
    (tmp_path / "a.heic").write_bytes(data)
    with pytest.raises(SourceError, match="exceeds security limit") as refused:
        load_picture(tmp_path / "a.heic")
    assert "\n" not in str(refused.value)


def test_a_heic_in_grey_or_with_alpha_is_three_channels(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    for mode, warned in (("L", False), ("RGBA", True)):
        caplog.clear()
        (tmp_path / "a.heic").write_bytes(heic(plain((90, 90, 90)), mode=mode))
        assert near(load_picture(tmp_path / "a.heic"), (90, 90, 90))
        assert ("alpha" in caplog.text) is warned


CONTENT = {"png": "PNG", "jpeg": "JPEG", "webp": "WEBP", "bmp": "BMP", "tiff": "TIFF", "avif": "AVIF"}


@pytest.mark.parametrize("kind", CONTENT)
@pytest.mark.parametrize("suffix", ["", ".jpg", ".jfif", ".data"])
def test_a_picture_is_known_by_its_content_whatever_its_name(kind: str, suffix: str, tmp_path: Path):
    image, path = picture(2), tmp_path / f"picture{suffix}"
    saved(path, image, format=CONTENT[kind])
    assert picture_kind(path.read_bytes()) == kind
    if kind == "tiff" and suffix:
        assert is_picture(path) is (suffix == ".jpg")  # so do the raw pictures of cameras begin
    else:
        assert isinstance(open_source(path), PictureSource)
        assert load_picture(path).shape == image.shape


def test_a_video_that_is_called_a_picture_is_a_video_and_a_motion_jpeg_one_too(tmp_path: Path):
    encode_clip(tmp_path / "clip.mp4").rename(tmp_path / "clip.jpg")
    assert isinstance(open_source(tmp_path / "clip.jpg"), VideoSource)
    jpeg = cv2.imencode(".jpg", picture(0))[1].tobytes()
    (tmp_path / "clip.mjpeg").write_bytes(jpeg * 3)
    assert isinstance(open_source(tmp_path / "clip.mjpeg"), VideoSource)
    assert not is_picture(tmp_path / "clip.mjpeg")


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_orientation_of_an_avif_is_applied(orientation: int, tmp_path: Path):
    exif = Pillow.Exif()
    exif[0x112] = orientation
    expected = load_picture(saved(tmp_path / "a.jpg", picture(0), exif=exif, quality=95))
    image = load_picture(saved(tmp_path / "a.avif", picture(0), exif=exif, quality=95))
    assert image.shape == expected.shape
    assert np.abs(image.astype(int) - expected).mean() < 6


@pytest.mark.parametrize("kind", ["png", "jpg", "webp", "tiff", "avif"])
@pytest.mark.parametrize("primaries", [ADOBE_RGB, DISPLAY_P3], ids=["adobe", "p3"])
def test_colours_of_a_wide_profile_become_those_of_srgb(
    kind: str, primaries: tuple[list[float], list[float], list[float]], tmp_path: Path
):
    profile = matrix_profile(*primaries, gamma=2.2)
    linear = np.linalg.solve(SRGB_D50, np.array(primaries).T @ (np.array(COLOUR) / 255) ** 2.2)
    right = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055) * 255
    options = {"quality": 100} if kind in ("jpg", "webp", "avif") else {}
    path = saved(tmp_path / f"a.{kind}", plain(COLOUR), icc_profile=profile, **options)
    assert np.abs(right - COLOUR).max() > 5
    assert np.abs(load_picture(path)[32, 32] - right).max() < 3


def test_a_profile_that_cannot_be_read_is_said_and_changes_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    path = saved(tmp_path / "a.webp", plain(COLOUR), icc_profile=b"nonsense" * 30, lossless=True)
    assert near(load_picture(path), COLOUR, 0)
    assert "colour profile" in caplog.text


@pytest.mark.parametrize("mode", ["P", "RGB", "L"])
def test_transparency_without_an_alpha_channel_is_dropped_with_a_warning(
    mode: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    grey = Pillow.fromarray(plain((102, 102, 102))).convert(mode)  # that is in the palette
    transparent = {"P": grey.getpixel((0, 0)), "RGB": (102, 102, 102), "L": 102}[mode]
    grey.save(tmp_path / "a.png", transparency=transparent)
    assert near(load_picture(tmp_path / "a.png"), (102, 102, 102), 2)
    assert "alpha" in caplog.text


def test_a_name_that_is_not_utf_8_is_read_and_written(tmp_path: Path):
    name = os.fsdecode(b"caf\xe9.jpg")
    saved(tmp_path / name, picture(0))
    code = (  # in a process of its own: it was a segmentation fault
        "import sys; from streamer.sources.file_source import open_source\n"
        "from streamer.sources.pictures import pictures_in\n"
        "from pathlib import Path; print(len(list(open_source(sys.argv[1]))), len(pictures_in(Path(sys.argv[2]))))"
    )
    command = [sys.executable, "-c", code, os.fsencode(tmp_path / name), tmp_path]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "1 1\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Pictures, a picture with another picture's name, one of a kind that is not written, others and subfolders."""
    (tmp_path / "in" / "trip" / "deep").mkdir(parents=True)
    (tmp_path / "in" / "empty").mkdir()
    saved(tmp_path / "in" / "a.jpg", picture(0))
    (tmp_path / "in" / "a.heic").write_bytes(heic(picture(0)))
    saved(tmp_path / "in" / "b.jfif", picture(0), format="JPEG")
    saved(tmp_path / "in" / "trip" / "deep" / "a.jpg", picture(0))
    (tmp_path / "in" / "notes.txt").write_text("no picture")
    (tmp_path / "in" / ".hidden.jpg").write_text("no picture")
    return tmp_path / "in"


def test_what_is_left_out_of_a_folder_is_named_and_subfolders_are_counted(
    folder: Path, caplog: pytest.LogCaptureFixture
):
    assert [path.name for path in pictures_in(folder)] == ["a.heic", "a.jpg", "b.jfif"]
    assert "no pictures: notes.txt" in caplog.text
    assert "its 2 subfolders are left out; recursive=True takes them too" in caplog.text
    shutil.rmtree(folder / "empty")
    for path in pictures_in(folder):
        path.unlink()
    with pytest.raises(SourceError, match="no picture among its 1 files; recursive=True searches its 1 subfolder"):
        open_source(folder)


def test_pictures_of_every_kind_and_depth_are_written_under_names_of_their_own(folder: Path, tmp_path: Path):
    source = PictureSource(folder, pictures_in(folder, recursive=True))
    with open_sink(tmp_path / "out", source.info, source_path=folder) as sink:
        for frame in source:
            sink.write(safe(frame))
    written = sorted(str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*.*"))
    assert written == ["a.heic.jpg", "a.jpg", "b.jpg", "trip/deep/a.jpg"]
    again = PictureSource(folder, pictures_in(folder, recursive=True))
    with open_sink(tmp_path / "out", again.info, source_path=folder, overwrite=True) as sink:
        for frame in again:
            sink.write(safe(frame))
    assert len(list((tmp_path / "out").rglob("*.*"))) == 4


@pytest.mark.parametrize("kind", [*CONTENT, "heic"])
def test_whatever_is_damaged_in_a_picture_is_an_error_of_ours_or_a_picture(kind: str, tmp_path: Path):
    path, random = tmp_path / "a.bin", np.random.default_rng(14)
    profile = matrix_profile(*ADOBE_RGB, gamma=2.2)
    if kind == "heic":
        whole = tiled_heic([plain(colour) for colour in COLOURS], columns=3, size=(192, 128))
    else:
        saved(path, picture(0), format=CONTENT[kind], icc_profile=profile)
        whole = path.read_bytes()
    refusals = []
    for _ in range(40):
        data = bytearray(whole[: random.integers(4, len(whole) + 1)] if random.random() < 0.5 else whole)
        for at in random.integers(4, len(data) + 1, 4) - 1:
            data[at] = random.integers(256)
        path.write_bytes(data)
        try:
            image = load_picture(path)
        except SourceError as error:
            refusals.append(str(error))
        else:
            assert image.dtype == np.uint8
            assert image.ndim == 3
    assert refusals
    assert not [said for said in refusals if "\n" in said]


def test_a_png_that_claims_more_than_it_has_takes_no_memory_for_it(tmp_path: Path):
    data = bytearray(saved(tmp_path / "a.png", picture(0)).read_bytes())
    at = data.index(b"IDAT") - 4
    data[at : at + 4] = (0x7FFFFFFF).to_bytes(4)
    (tmp_path / "a.png").write_bytes(data)
    code = (
        "import sys; from pathlib import Path; from streamer.sources.picture_file import load_picture\n"
        "try: load_picture(Path(sys.argv[1]))\n"
        "except Exception as error:\n"
        # Not `ru_maxrss`: after a fork the peak of the parent, these tests, counts in it.
        "    peak = Path('/proc/self/status').read_text().partition('VmHWM:')[2].split()[0]\n"
        "    print(type(error).__name__, peak)"
    )
    command = [sys.executable, "-c", code, tmp_path / "a.png"]
    name, kilobytes = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert name == "SourceError"
    assert int(kilobytes) < 1_000_000
