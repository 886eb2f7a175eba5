"""Crowds that nobody was in: synthetic heads on drawn bodies, with the place of every face known.

Heads come from archives of aligned synthetic faces (`synth-*.tar`: crops of one size, eyes and mouth where the
alignment template puts them). They are turned, squeezed as if looking aside, tinted, dimmed, blurred, and get noise.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from PIL import Image as Pillow

from streamer.types import Floats, Image

CROP = 384  # pixels; side of a crop
FACE = (85.0, 135.0, 300.0, 345.0)  # in it: ear to ear, brow to chin
INNER = (135.0, 150.0, 250.0, 285.0)  # in it: eyes to mouth
HEAD_CENTRE, HEAD_AXES = (192, 190), (165, 215)  # in it: hair and neck included
NOISE = (0.0, 3.0, 6.0)  # grey levels
BLUR = (0.0, 0.0, 0.6)  # pixels


@dataclass(frozen=True)
class Person:
    """Somebody in a scene: whose head, where its face is and how large, and how it is shown."""

    head: int
    x: float
    y: float
    size: float
    degrees: float
    squeeze: float
    gain: float
    tint: Floats
    clothes: Floats
    blur: float


@dataclass(frozen=True)
class Scene:
    """A place of `width` x `height` with people, and how far they and the camera move per frame, in pixels."""

    name: str
    width: int
    height: int
    people: tuple[Person, ...]
    frames: int = 1
    camera: float = 0.0
    sway: float = 0.0


@dataclass(frozen=True)
class Shown:
    """One picture of a scene; `inner` `(N, 4)` are the boxes from eyes to mouth, `sizes` `(N,)` the faces' widths."""

    image: Image
    inner: Floats
    sizes: Floats


def read_heads(archives: Path, count: int = 120) -> list[Image]:
    """Return some heads of each `synth-*.tar` in a folder, `(384, 384, 3)` RGB each."""
    heads: list[Image] = []
    for path in sorted(archives.glob("synth-*.tar")):
        with tarfile.open(path) as tar:
            members = sorted((m for m in tar if m.name.endswith(".webp")), key=lambda m: m.name)
            for member in members[:: max(1, len(members) * 6 // count)][: count // 6]:
                file = tar.extractfile(member)
                assert file is not None
                heads.append(np.asarray(Pillow.open(io.BytesIO(file.read())).convert("RGB")))
    return [cv2.resize(head, (CROP, CROP), interpolation=cv2.INTER_AREA) for head in heads]


def rows(name: str, size: tuple[int, int], grid: tuple[int, int], sizes: tuple[float, float], **moving: float) -> Scene:
    """Return people in rows, `grid` of them across and down, faces of `sizes` pixels; the same ones every time."""
    (width, height), (across, down) = size, grid
    dice = np.random.default_rng(sum(map(ord, name)))
    people = []
    for row in range(down):
        for column in range(across):
            x = (column + 0.5 + 0.25 * (row % 2) + dice.uniform(-0.12, 0.12)) * width / (across + 0.25)
            y = (row + 0.5 + dice.uniform(-0.1, 0.1)) * height / down
            people.append(person(dice, x, y, dice.uniform(*sizes)))
    return Scene(name, width, height, tuple(people), int(moving.pop("frames", 1)), **moving)


def person(dice: np.random.Generator, x: float, y: float, size: float) -> Person:
    """Return somebody at random."""
    return Person(
        head=int(dice.integers(1 << 30)),
        x=x,
        y=y,
        size=size,
        degrees=float(dice.normal(0, 7)),
        squeeze=float(dice.uniform(0.75, 1.0)),
        gain=float(dice.uniform(0.55, 1.1)),
        tint=dice.uniform(0.88, 1.12, 3).astype(np.float32),
        clothes=dice.uniform(15, 200, 3).astype(np.float32),
        blur=float(dice.choice(BLUR)),
    )


def shown(scene: Scene, heads: list[Image]) -> Iterator[Shown]:
    """Yield the pictures of a scene."""
    place = background(scene)
    dice = np.random.default_rng(7)
    for frame in range(scene.frames):
        pan = round(scene.camera * frame)
        image = place[:, pan : pan + scene.width].copy()
        boxes, sizes = [], []
        for n, one in enumerate(scene.people):
            phase = 2 * np.pi * (n * 0.37 + frame / 25)
            at = one.x - pan + scene.sway * np.sin(phase) * 4, one.y + scene.sway * np.cos(phase * 1.3) * 2
            box = paste(image, heads[one.head % len(heads)], one, at)
            if (box[:2] >= 0).all() and box[2] < scene.width and box[3] < scene.height:
                boxes.append(box)
                sizes.append(one.size)
        noisy = grain(image, dice, NOISE[len(scene.name) % len(NOISE)])
        yield Shown(noisy, np.asarray(boxes, np.float32).reshape(-1, 4), np.asarray(sizes, np.float32))


def background(scene: Scene) -> Image:
    """Return a hall, seats and lights, wide enough for the camera's way."""
    width, height = scene.width + int(abs(scene.camera) * scene.frames) + 1, scene.height
    dice = np.random.default_rng(3)
    coarse = dice.uniform(40, 150, (max(2, height // 90), max(2, width // 90), 3)).astype(np.float32)
    image = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC).clip(0, 255).astype(np.uint8)
    for _ in range(min(4000, width * height // 6000)):
        x, y = int(dice.integers(width)), int(dice.integers(height))
        w, h = dice.integers(6, 70, 2)
        cv2.rectangle(image, (x, y), (x + int(w), y + int(h)), dice.uniform(20, 220, 3).tolist(), -1)
    return np.asarray(cv2.GaussianBlur(image, (0, 0), 1.2))


def paste(image: Image, head: Image, one: Person, at: tuple[float, float]) -> Floats:
    """Draw somebody into `image`; return the box `(4,)` from eyes to mouth."""
    scale = one.size / (FACE[2] - FACE[0])
    centre = np.array([(FACE[0] + FACE[2]) / 2, (FACE[1] + FACE[3]) / 2])
    angle = np.deg2rad(one.degrees)
    turned = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    linear = scale * turned @ np.diag([one.squeeze, 1.0])
    half = int(np.ceil(CROP * scale)) + 2
    corner = np.floor(np.array(at)).astype(int) - half
    to_patch = np.column_stack([linear, np.array(at) - corner - linear @ centre])
    body(image, one, at)
    small, factor = shrunk(head, scale)
    to_patch = to_patch @ np.array([[1 / factor, 0, 0], [0, 1 / factor, 0], [0, 0, 1]])
    mask = head_mask(small.shape[0])
    size = (2 * half, 2 * half)
    drawn = cv2.warpAffine(small.astype(np.float32), to_patch, size, borderMode=cv2.BORDER_REPLICATE)
    alpha = cv2.warpAffine(mask, to_patch, size)[..., None]
    drawn = (drawn * one.gain * one.tint).clip(0, 255)
    if one.blur:
        drawn = cv2.GaussianBlur(drawn, (0, 0), one.blur)
    blend(image, drawn, alpha, corner)
    corners = np.array([[x, y] for x in INNER[::2] for y in INNER[1::2]]) - centre
    points = corners @ linear.T + np.array(at)
    return np.concatenate([points.min(axis=0), points.max(axis=0)]).astype(np.float32)


@lru_cache(maxsize=512)
def head_mask(side: int) -> Floats:
    """Return where the head is in a crop of `side` pixels, `(side, side)` from 0 to 1."""
    mask = np.zeros((CROP, CROP), np.float32)
    cv2.ellipse(mask, HEAD_CENTRE, HEAD_AXES, 0, 0, 360, 1.0, -1)
    return np.asarray(cv2.resize(cv2.GaussianBlur(mask, (0, 0), 14), (side, side), interpolation=cv2.INTER_AREA))


def shrunk(head: Image, scale: float) -> tuple[Image, float]:
    """Return the head about as large as it will be drawn, or it aliases, and by what it was shrunk."""
    side = min(CROP, max(12, round(CROP * scale * 1.2)))
    return np.asarray(cv2.resize(head, (side, side), interpolation=cv2.INTER_AREA)), side / CROP


def body(image: Image, one: Person, at: tuple[float, float]) -> None:
    """Draw shoulders and a chest."""
    middle = round(at[0]), round(at[1] + 1.9 * one.size)
    axes = round(1.15 * one.size), round(1.5 * one.size)
    cv2.ellipse(image, middle, axes, 0, 0, 360, (one.clothes * one.gain).clip(0, 255).tolist(), -1, cv2.LINE_AA)


def blend(image: Image, drawn: Floats, alpha: Floats, corner: Floats) -> None:
    """Lay `drawn` over `image` at `corner`, cut at its edges."""
    low = np.maximum(corner, 0)
    high = np.minimum(corner + drawn.shape[1::-1], image.shape[1::-1])
    if (high <= low).any():
        return
    (x1, y1), (x2, y2) = low - corner, high - corner
    under = image[low[1] : high[1], low[0] : high[0]]
    share = alpha[y1:y2, x1:x2]
    under[:] = (under * (1 - share) + drawn[y1:y2, x1:x2] * share).astype(np.uint8)


def grain(image: Image, dice: np.random.Generator, strength: float) -> Image:
    """Return the picture with a sensor's noise."""
    if not strength or image.size > 50_000_000:
        return image
    noise = dice.normal(0, strength, (*image.shape[:2], 1)).astype(np.float32)
    return (image + noise).clip(0, 255).astype(np.uint8)


PICTURES = (
    rows("4032x3024, 24 faces of 67 px", (4032, 3024), (8, 3), (60, 67)),
    rows("4000x2600, 200 faces", (4000, 2600), (20, 10), (22, 60)),
    rows("1600x1000, 50 faces", (1600, 1000), (10, 5), (20, 44)),
    rows("8000x900 panorama, 24 faces", (8000, 900), (12, 2), (30, 70)),
    rows("12000x9000, 12 faces", (12000, 9000), (4, 3), (50, 70)),
    rows("640x480, 36 faces", (640, 480), (9, 4), (18, 32)),
)
VIDEOS = (
    rows("3840x2160, 8 people", (3840, 2160), (4, 2), (32, 70), frames=30, camera=4.0, sway=4.0),
    rows("708x532, seated audience", (708, 532), (12, 7), (16, 34), frames=30, camera=1.0, sway=1.0),
    rows("1280x720, moving camera", (1280, 720), (12, 5), (18, 50), frames=30, camera=5.0, sway=1.5),
    rows("640x480, people who move", (640, 480), (7, 4), (18, 36), frames=30, camera=2.0, sway=3.0),
)
