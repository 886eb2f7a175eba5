"""Makes the demo's clip from a free photograph, and the sheet that shows before beside after.

It writes real faces to disk on purpose: those of the photograph, and the left column of the sheet.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path

import av
import cv2
import numpy as np

from streamer.errors import SinkError, SourceError
from streamer.sources.file_source import open_source
from streamer.types import Floats, Image

WIDTH, HEIGHT = 1280, 720
RATE = 30
SAMPLE_RATE = 48000
TONE_HERTZ = 220.0
FEATHER = 0.08  # share of the photo's height over which its border fades into the background
TILE_WIDTH = 640
LABEL_HEIGHT = 34
SHADE, LIGHT = (38, 44, 54), (122, 138, 158)
INK, PAPER = (40, 40, 40), 250


@dataclass(frozen=True, slots=True)
class Pose:
    """Where a photo stands in the scene: centre and height as shares of the scene's height, and its turn."""

    x: float
    y: float
    height: float
    degrees: float = 0.0
    mirrored: bool = False


@dataclass(frozen=True, slots=True)
class Shot:
    """`seconds` of photos moving steadily from `start` to `end`; none makes an empty scene."""

    seconds: float
    start: tuple[Pose, ...] = ()
    end: tuple[Pose, ...] = ()


SHOTS = (
    Shot(2.5, (Pose(0.55, 0.56, 0.80),), (Pose(1.20, 0.56, 0.80),)),  # pan
    Shot(1.5, (Pose(1.20, 0.56, 0.80),), (Pose(0.95, 0.66, 1.35),)),  # zoom in
    Shot(2.0, (Pose(0.90, 0.54, 0.95, -18),), (Pose(0.90, 0.54, 0.95, 18),)),  # turn
    Shot(1.5),
    Shot(  # two sizes at once
        2.5,
        (Pose(0.50, 0.56, 0.88), Pose(1.45, 0.60, 0.42, mirrored=True)),
        (Pose(0.62, 0.56, 0.88), Pose(1.25, 0.56, 0.42, mirrored=True)),
    ),
)


def render_clip(path: Path, shots: tuple[Shot, ...] = SHOTS) -> None:
    """Write an H.264 clip with sound in which a photographed person moves, turns, leaves and comes back twice.

    Args:
        path: Where to; an older file is replaced.
        shots: What happens, one after the other.

    Raises:
        SourceError: If the photo is not where matplotlib keeps it.
        SinkError: If the clip cannot be written.
    """
    photo = free_portrait()
    scene = _background()
    try:
        with av.open(str(path), "w") as container:
            video = container.add_stream("libx264", rate=RATE, options={"crf": "18", "preset": "veryfast"})
            video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
            audio = container.add_stream("aac", rate=SAMPLE_RATE, layout="mono")
            for image in _images(photo, scene, shots):
                container.mux(video.encode(av.VideoFrame.from_ndarray(image, "rgb24")))
            container.mux(video.encode())
            for sound in _tone(sum(shot.seconds for shot in shots)):
                container.mux(audio.encode(sound))
            container.mux(audio.encode())
    except OSError as error:
        raise SinkError(f"cannot write the demo clip {path}: {error.strerror}; choose another folder") from error


def contact_sheet(before: str, after: str, sheet: Path, *, frames: int, moments: int = 6) -> None:
    """Write a PNG of rows: a moment of `before` on the left, the same moment of `after` on the right.

    Args:
        before: The original, with real faces; so the sheet shows real faces too.
        after: What was made of it, frame for frame.
        sheet: Where to; an older file is replaced.
        frames: How many frames both have, to spread the rows evenly.
        moments: Rows; fewer when there are fewer frames.

    Raises:
        SourceError: If either cannot be read.
        SinkError: If the sheet cannot be written.
    """
    wanted = {round((row + 0.5) * frames / moments - 0.5) for row in range(moments)}
    rows = [np.concatenate(pair, axis=1) for pair in zip(_tiles(before, wanted), _tiles(after, wanted), strict=False)]
    if not rows:
        raise SourceError(f"cannot show {before} beside {after}: no frame in common")
    picture = np.concatenate([_title(rows[0].shape[1]), *rows])
    if not cv2.imwrite(str(sheet), picture[..., ::-1]):
        raise SinkError(f"cannot write the contact sheet {sheet}: is the folder writable?")


def free_portrait() -> Image:
    """Return Rear Admiral Grace Hopper (US Navy, public domain), a photo that matplotlib ships, as RGB."""
    package = find_spec("matplotlib")
    if package is None or package.origin is None:
        raise SourceError("the demo clip is made from a photo that matplotlib ships: pip install matplotlib")
    path = Path(package.origin).parent / "mpl-data" / "sample_data" / "grace_hopper.jpg"
    photo = cv2.imread(str(path))
    if photo is None:
        raise SourceError(f"no photo at {path}; give a clip of your own: veil demo CLIP")
    return np.asarray(cv2.cvtColor(photo, cv2.COLOR_BGR2RGB), np.uint8)


def _background() -> Image:
    """Return the scene without people: blue-grey, lighter towards one corner. A warm blur would pass for a face."""
    y, x = np.mgrid[0 : 1 : HEIGHT * 1j, 0 : 1 : WIDTH * 1j]
    share = ((x + 1 - y) / 2)[..., None]
    scene = (1 - share) * np.array(SHADE, np.float32) + share * np.array(LIGHT, np.float32)
    return np.asarray(scene.round(), np.uint8)


def _images(photo: Image, scene: Image, shots: tuple[Shot, ...]) -> Iterator[Image]:
    height, width = photo.shape[:2]
    feather = round(FEATHER * height)
    alpha = np.zeros((height, width), np.float32)
    alpha[feather:-feather, feather:-feather] = 1
    alpha = cv2.GaussianBlur(alpha, (0, 0), feather / 3)
    for shot in shots:
        count = round(shot.seconds * RATE)
        for step in range(count):
            t = step / count
            image = scene
            for start, end in zip(shot.start, shot.end, strict=True):
                image = _stand(image, photo, alpha, _photo_to_scene(photo, start, end, t))
            yield image


def _photo_to_scene(photo: Image, start: Pose, end: Pose, t: float) -> Floats:
    """Return the `(2, 3)` transform of photo pixels to scene pixels, `t` of the way from `start` to `end`."""
    height, width = photo.shape[:2]
    x, y, size, degrees = (
        (1 - t) * getattr(start, name) + t * getattr(end, name) for name in ("x", "y", "height", "degrees")
    )
    scale = size * HEIGHT / height
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, scale)
    if start.mirrored:
        matrix = matrix @ np.array([[-1, 0, width], [0, 1, 0], [0, 0, 1]])
    matrix[:, 2] += (x * HEIGHT - width / 2, y * HEIGHT - height / 2)
    return np.asarray(matrix, np.float32)


def _stand(image: Image, photo: Image, alpha: Floats, photo_to_scene: Floats) -> Image:
    """Return `image` with the photo drawn over it, faded at its border."""
    size = (WIDTH, HEIGHT)
    drawn = cv2.warpAffine(photo, photo_to_scene, size, borderMode=cv2.BORDER_REPLICATE)
    share = cv2.warpAffine(alpha, photo_to_scene, size)
    return np.asarray(cv2.blendLinear(drawn, image, share, 1 - share), np.uint8)


def _tone(seconds: float) -> Iterator[av.AudioFrame]:
    """Return a soft tone that swells twice a second, so that lost or late sound would be heard."""
    time = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    wave = 0.1 * np.sin(2 * np.pi * TONE_HERTZ * time) * (1 - np.cos(4 * np.pi * time)) / 2
    for start in range(0, len(wave), 1024):
        frame = av.AudioFrame.from_ndarray(wave[None, start : start + 1024].astype(np.float32), "fltp", "mono")
        frame.sample_rate, frame.pts, frame.time_base = SAMPLE_RATE, start, Fraction(1, SAMPLE_RATE)
        yield frame


def _tiles(path: str, wanted: set[int]) -> Iterator[Image]:
    """Return the wanted frames of a video, each scaled to a tile with its time under it."""
    with open_source(path) as source:
        for frame in source:
            if frame.index in wanted:
                yield _tile(frame.image, f"{frame.seconds:.1f} s")
            if frame.index >= max(wanted):
                return


def _tile(image: Image, label: str) -> Image:
    height = round(TILE_WIDTH * image.shape[0] / image.shape[1])
    small = cv2.resize(image, (TILE_WIDTH, height), interpolation=cv2.INTER_AREA)
    return np.concatenate([small, _text(TILE_WIDTH, label)])


def _title(width: int) -> Image:
    return np.concatenate([_text(width // 2, "BEFORE: real faces, do not publish"), _text(width // 2, "AFTER")], axis=1)


def _text(width: int, text: str) -> Image:
    strip = np.full((LABEL_HEIGHT, width, 3), PAPER, np.uint8)
    cv2.putText(strip, text, (10, LABEL_HEIGHT - 11), cv2.FONT_HERSHEY_SIMPLEX, 0.6, INK, 1, cv2.LINE_AA)
    return strip
