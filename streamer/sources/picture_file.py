"""One picture file: what it is, by its content, and its pixels, upright and in sRGB."""

from __future__ import annotations

import io
import logging
import struct
import warnings
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import ImageCms
from PIL.AvifImagePlugin import AvifImageFile
from PIL.Image import Image as PilImage
from PIL.Image import fromarray
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from streamer.errors import SourceError
from streamer.sources.decoding import EXIF
from streamer.types import Image

log = logging.getLogger(__name__)

PICTURE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"})  # believed, if damaged
MOTION_SUFFIXES = frozenset({".mjpg", ".mjpeg", ".apng"})  # videos that begin like a picture
SIGNATURE_BYTES = 64
HEIC_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"mif1"})
ORIENTATION_TAG = 0x112
SRGB = ImageCms.createProfile("sRGB")
# What a damaged file may bring about in Pillow and libheif.
UNREADABLE = (
    OSError, EOFError, SyntaxError, ValueError, LookupError, TypeError, ArithmeticError, RuntimeError, struct.error,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Header:
    """What a file says beside its pixels; `orientation` is what remains to be done, 1 to 8 as in EXIF."""

    profile: bytes = b""
    has_alpha: bool = False
    pages: int = 1
    orientation: int = 1


def is_picture(path: Path) -> bool:
    """Return whether a file is a picture: by its content, or by its name where the content says nothing.

    Raises:
        OSError: If it cannot be read.
    """
    with path.open("rb") as file:
        kind = picture_kind(file.read(SIGNATURE_BYTES))
    suffix = path.suffix.lower()
    if kind == "tiff":  # so do the raw pictures of many cameras begin, which hold a small preview
        return suffix == "" or suffix in PICTURE_SUFFIXES
    return suffix not in MOTION_SUFFIXES if kind else suffix in PICTURE_SUFFIXES and not _is_video(path)


def picture_kind(data: bytes) -> str:
    """Return "png", "jpeg", "webp", "bmp", "tiff", "heic" or "avif" by the first bytes of a file; else ""."""
    if data[4:8] == b"ftyp":
        return _kind_of_brands(data[8:12], data[16 : int.from_bytes(data[:4], "big")])
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "webp"
    for start, kind in {b"\x89PNG": "png", b"\xff\xd8\xff": "jpeg", b"II*\0": "tiff", b"MM\0*": "tiff"}.items():
        if data.startswith(start):
            return kind
    return "bmp" if data.startswith(b"BM") and data[6:10] == bytes(4) else ""


def load_picture(path: Path) -> Image:
    """Return the first page of a picture as `(H, W, 3)` uint8 RGB: upright, in sRGB, what was transparent visible.

    Raises:
        SourceError: If it cannot be read or decoded whole.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise SourceError(f"cannot open {path}: {error.strerror}; check its permissions") from error
    kind = picture_kind(data[:SIGNATURE_BYTES])
    try:
        image, header = _DECODERS.get(kind, _decode_other)(data)
    except cv2.error as error:  # more pixels than OpenCV takes
        raise SourceError(f"cannot decode {path}: {error.err}") from error
    except (ImportError, *UNREADABLE) as error:
        raise SourceError(f"cannot decode {path}: {' '.join(str(error).split())}") from error
    if header.pages > 1:
        log.warning("%s has %d pages: only the first is read", path, header.pages)
    if header.has_alpha:
        log.warning("%s has transparency (alpha): it is dropped", path)
    upright = EXIF[header.orientation - 1].apply(image)
    return _to_srgb(upright, header.profile, path) if header.profile else upright


def _kind_of_brands(major: bytes, compatible: bytes) -> str:
    if major == b"avif" or (major == b"mif1" and b"avif" in compatible):
        return "avif"
    return "heic" if major in HEIC_BRANDS else ""  # of a sequence ("hevc", "avis", "msf1") FFmpeg reads all


def _is_video(path: Path) -> bool:
    """Return whether a file that is called a picture is one of the common containers of video."""
    with path.open("rb") as file:
        start = file.read(12)
    return start[4:8] == b"ftyp" or start.startswith((b"\x1aE\xdf\xa3", b"GIF8", b"OggS")) or start[8:12] == b"AVI "


def _decode_heic(data: bytes) -> tuple[Image, _Header]:
    import pillow_heif

    # It applies rotation and mirroring itself, and puts tiles together.
    file = pillow_heif.open_heif(io.BytesIO(data), convert_hdr_to_8bit=True)
    pixels = np.atleast_3d(np.asarray(file))  # (H, W, 1) grey, (H, W, 2) with alpha, (H, W, 3) or (H, W, 4)
    image = pixels[..., :3] if pixels.shape[2] >= 3 else np.repeat(pixels[..., :1], 3, axis=2)
    header = _Header(file.info.get("icc_profile") or b"", has_alpha=pixels.shape[2] in (2, 4), pages=len(file))
    return np.ascontiguousarray(image, np.uint8), header


def _decode_avif(data: bytes) -> tuple[Image, _Header]:
    with AvifImageFile(io.BytesIO(data)) as file:
        header = _header(lambda: file, applies_orientation=False)
        return np.asarray(file.convert("RGB"), np.uint8), header


def _decode_other(data: bytes) -> tuple[Image, _Header]:
    kind = picture_kind(data[:SIGNATURE_BYTES])
    is_sound = bool(data) and (kind != "png" or _is_whole_png(data))
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB) if is_sound else None
    if image is None:
        raise ValueError("not a picture, or damaged")
    readers: dict[str, type[ImageFile]] = {
        "png": PngImageFile, "jpeg": JpegImageFile, "webp": WebPImageFile, "tiff": TiffImageFile
    }  # fmt: skip
    if kind not in readers:
        return np.asarray(image, np.uint8), _Header()
    header = _header(lambda: readers[kind](io.BytesIO(data)), applies_orientation=kind != "webp")
    return np.asarray(image, np.uint8), header


def _is_whole_png(data: bytes) -> bool:
    """Return whether its chunks lie within the file: OpenCV 4.11 makes room for what they claim, up to 4 GB."""
    at = 8
    while at + 12 <= len(data):
        length, kind = struct.unpack(">I4s", data[at : at + 8])
        if at + 12 + length > len(data):
            return False
        checksum = int.from_bytes(data[at + 8 + length :][:4])
        if kind == b"IHDR" and zlib.crc32(data[at + 4 : at + 8 + length]) != checksum:
            return False
        if kind == b"IEND":
            return True
        at += 12 + length
    return False


_DECODERS: dict[str, Callable[[bytes], tuple[Image, _Header]]] = {"heic": _decode_heic, "avif": _decode_avif}


def _header(opened: Callable[[], ImageFile], *, applies_orientation: bool) -> _Header:
    """Return what Pillow reads beside the pixels.

    Args:
        applies_orientation: Whether the decoder of the pixels made them upright.
    """
    try:
        with warnings.catch_warnings(action="ignore"):  # of odd tags, which are none of ours
            file = opened()
            value = 1 if applies_orientation else int(file.getexif().get(ORIENTATION_TAG, 1))
            return _Header(
                file.info.get("icc_profile") or b"",
                has_alpha=file.has_transparency_data,
                pages=getattr(file, "n_frames", 1),
                orientation=value if 1 <= value <= 8 else 1,
            )
    except UNREADABLE:
        return _Header()


def _to_srgb(image: Image, profile: bytes, path: Path) -> Image:
    """Return `image` with the colours that `profile` means; as it is where the profile is sRGB or of no use."""
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        space, name = source.profile.xcolor_space.strip(), ImageCms.getProfileDescription(source).strip()
        if space != "RGB" or name.startswith("sRGB"):
            return image
        converted = ImageCms.profileToProfile(
            fromarray(image), source, SRGB,
            renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC, flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )  # fmt: skip
    except (ImageCms.PyCMSError, *UNREADABLE):
        log.warning("%s has a colour profile that cannot be read: its colours may look wrong", path)
        return image
    assert isinstance(converted, PilImage)
    return np.asarray(converted, np.uint8)
