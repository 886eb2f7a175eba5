"""Prepare photos and videos for training: folders and tars of aligned faces for `models.training.inputs.dataset`."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import tarfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch

from models.attributes.attributes import ATTRIBUTE_CROP_SIZE, load_attributes
from models.face_model import DEFAULT_TEMPLATE, Template
from models.identity.recognizer import IDENTITY_CROP_SIZE, IDENTITY_LANDMARKS
from models.training.inputs.dataset import ARRAYS, ATTRIBUTES_FILE, TEMPLATE_FILE, to_crops
from streamer.errors import SinkError, SourceError
from streamer.faces.detect import FaceDetector, five_points
from streamer.render.align import MeshAligner, SimilarityAligner, oval_polygon, profile_ratio, umeyama
from streamer.render.cutter import crop_cutter
from streamer.sources.file_source import open_source
from streamer.types import Face, Floats, Frame, Image

MIN_EXTRACTED_SIZE = 64.0  # pixels; smaller faces teach blur
NO_FACE = "no face of a usable size was found; are the photos upright?"
ATTRIBUTE_HEADINGS = "name,sex,age,skin"
CROP_QUALITY = 95  # of 100: visually lossless
MAX_OUTSIDE = 0.04  # of the picture's side: how far the face's oval may reach past its edge
MAX_PROFILE_RATIO = 0.72  # of a face in a mesh crop: beyond, half of it is a mirror image

Cut = Callable[[Image, Face], bytes | None]  # an encoded crop of a face, or None where the face is of no use


def extract(frames: Iterable[tuple[str, Frame]], out: Path, *, template: Template, crop_size: int) -> Iterator[int]:
    """Write the faces of named frames to the folder `out`; yield how many are kept so far, frame by frame.

    Everything is held in memory until the end, 130 KB a face, and written at once.

    Args:
        frames: Names and frames; labels in the names are kept (see `FaceDataset`).
        out: Made if missing; files of an earlier run are replaced.
        template: Of the model to train; its kind is "mesh".
        crop_size: Pixels.

    Raises:
        ValueError: If the template is of another kind.
        SourceError: If no face was found.
    """
    if template.kind != "mesh":
        raise ValueError(f"training data are aligned to a mesh template, got {template.kind!r}")
    aligner = MeshAligner(np.array(template.points, np.float32), crop_size)
    names: list[str] = []
    columns: dict[str, list[npt.NDArray[Any]]] = {name: [] for name in ARRAYS}
    with FaceDetector() as detector:
        for name, frame in frames:
            for face in filter(lambda face: is_usable(face, frame.image), detector(frame.image)):
                names.append(name)
                for column, value in _row(frame.image, face, aligner).items():
                    columns[column].append(value)
            yield len(names)
    if not names:
        raise SourceError(NO_FACE)
    _write(out, names, columns, template)


def extract_crops(
    frames: Iterable[tuple[str, Frame]], out: Path, *, template: Template, crop_size: int
) -> Iterator[int]:
    """Write the faces of named frames to the tar `out` as they come; yield how many are kept so far, frame by frame.

    Each is a WebP named for its frame; the template is in the tar, for the trainers to hand on, and sex, age and skin
    tone as `attributes` tells them, which strangers are to leave alone. In a similarity crop what lies outside the
    picture is transparent. In a mesh crop the face is whole.

    Args:
        frames: Names and frames.
        out: Replaced once all is written.
        template: How the crops are aligned, and what is in them.
        crop_size: Pixels.

    Raises:
        SinkError: If `out` cannot be written.
        SourceError: If no face was found.
    """
    cut = _mesh_cut(template, crop_size) if template.kind == "mesh" else _similarity_cut(template, crop_size)
    partial = out.with_name(f"{out.name}.partial")
    attributes, lines = _attribute_reader(), [ATTRIBUTE_HEADINGS]
    count = 0
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tarfile.open(partial, "w") as tar, FaceDetector() as detector:
            _add(tar, TEMPLATE_FILE, json.dumps(dataclasses.asdict(template)).encode())
            for name, frame in frames:
                for face in detector(frame.image):
                    crop = cut(frame.image, face)
                    if crop is not None:
                        file = f"{Path(name).with_suffix('')}-{count}.webp"
                        _add(tar, file, crop)
                        lines.append(",".join([file, *(f"{value:.2f}" for value in attributes(frame.image, face))]))
                        count += 1
                yield count
            _add(tar, ATTRIBUTES_FILE, "\n".join(lines).encode())
        if not count:
            raise SourceError(NO_FACE)
        partial.replace(out)
    except OSError as error:
        raise SinkError(f"cannot write {out}: {error.strerror or error}") from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink()


def named_frames(paths: Iterable[str]) -> Iterator[tuple[str, Frame]]:
    """Yield the frames of videos, pictures and folders, each named by its folder and file."""
    for path in paths:
        with open_source(path) as source:
            for frame in source:
                names = source.info.names
                yield f"{Path(path).name}/{names[frame.index] if names else frame.index}", frame


def _write(out: Path, names: list[str], columns: dict[str, list[npt.NDArray[Any]]], template: Template) -> None:
    out.mkdir(parents=True, exist_ok=True)
    for name, values in columns.items():
        np.save(out / f"{name}.npy", np.stack(values))
    np.save(out / "template.npy", np.array(template.points, np.float32))
    (out / "names.json").write_text(json.dumps(names))


def _is_large(face: Face) -> bool:
    return face.mesh is not None and face.size >= MIN_EXTRACTED_SIZE


def is_usable(face: Face, image: Image) -> bool:
    """Return whether a face is large enough to learn from, and whole."""
    if face.mesh is None or not _is_large(face):
        return False
    sides = np.array(image.shape[1::-1], np.float32)
    oval = oval_polygon(face.mesh) / sides
    return bool((oval > -MAX_OUTSIDE).all() and (oval < 1 + MAX_OUTSIDE).all())


def _similarity_cut(template: Template, size: int) -> Cut:
    """Return what cuts `(S, S, 4)` crops, of which alpha is 0 outside the picture and 255 inside."""
    aligner = SimilarityAligner(np.array(template.points, np.float32), size)

    def cut(image: Image, face: Face) -> bytes | None:
        if not _is_large(face):
            return None
        picture = np.full(image.shape[:2], 255, np.uint8)
        matrix = umeyama(face.landmarks, aligner.points)
        alpha = cv2.warpAffine(picture, matrix, (size, size), flags=cv2.INTER_NEAREST)
        return _webp(np.dstack([aligner.crop(image, face), alpha]))

    return cut


def _mesh_cut(template: Template, size: int) -> Cut:
    """Return what cuts `(S, S, 3)` crops of whole, not too turned faces."""
    cutter = crop_cutter(template, size)

    def cut(image: Image, face: Face) -> bytes | None:
        if face.mesh is None or not is_usable(face, image) or profile_ratio(face.mesh) > MAX_PROFILE_RATIO:
            return None
        return _webp(cutter(image, face))

    return cut


def _attribute_reader() -> Callable[[Image, Face], list[float]]:
    """Return what tells sex, age and skin tone of a face, as `models.face_model.Attributes` counts them."""
    network = load_attributes()
    aligner = SimilarityAligner(np.array(DEFAULT_TEMPLATE.points, np.float32), ATTRIBUTE_CROP_SIZE)

    @torch.inference_mode()
    def read(image: Image, face: Face) -> list[float]:
        seen = network(to_crops(aligner.crop(image, face)[None]))
        return [float(value) for value in (seen.sex, seen.age, seen.skin)]

    return read


def _webp(crop: Image) -> bytes:
    code = cv2.COLOR_RGBA2BGRA if crop.shape[2] == 4 else cv2.COLOR_RGB2BGR
    encoded = cv2.imencode(".webp", cv2.cvtColor(crop, code), [cv2.IMWRITE_WEBP_QUALITY, CROP_QUALITY])[1]
    return bytes(encoded.tobytes())


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))


def _row(image: Image, face: Face, aligner: MeshAligner) -> dict[str, npt.NDArray[Any]]:
    assert face.mesh is not None
    landmarks = np.array(IDENTITY_LANDMARKS, np.float32) / IDENTITY_CROP_SIZE
    photo = SimilarityAligner(landmarks, IDENTITY_CROP_SIZE)
    return {
        "crops": aligner.crop(image, face),
        "valid": np.packbits(aligner.known(image, face)),
        "photos": photo.crop(image, face),
        "grids": _grid(_in_photo(face, landmarks * IDENTITY_CROP_SIZE), aligner),
        "meshes": face.mesh / np.float32(image.shape[1]),
    }


def _in_photo(face: Face, landmarks: Floats) -> Face:
    """Return `face` as it lies in its recogniser crop."""
    assert face.mesh is not None
    matrix = umeyama(face.landmarks, landmarks)
    xy = face.mesh[:, :2] @ matrix[:, :2].T + matrix[:, 2]
    mesh = np.column_stack([xy, face.mesh[:, 2] * np.hypot(matrix[0, 0], matrix[1, 0])]).astype(np.float32)
    return Face(face.box, five_points(mesh), mesh, face.score)


def _grid(face: Face, aligner: MeshAligner) -> npt.NDArray[np.float16]:
    """Return where each photo pixel lies in the crop, as `grid_sample` wants it; 3 where outside."""
    where, inside = aligner.frame_to_crop(face, (0, 0, IDENTITY_CROP_SIZE, IDENTITY_CROP_SIZE))
    grid = (where + 0.5) / aligner.size * 2 - 1
    grid[~inside] = 3.0
    return grid.astype(np.float16)
