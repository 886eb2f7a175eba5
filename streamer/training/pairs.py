"""Draw the people of photographs as themselves and as strangers: what the harmonizer learns from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from zlib import crc32

import cv2
import numpy as np
import numpy.typing as npt
import torch

from models.attributes.attributes import load_attributes
from models.face_model import FaceModel
from models.pretrained.imported import load_recognizer
from models.privacy import PrivacyAccountant
from models.texture_model import TextureModel
from models.training.inputs.drawn_pairs import MASKS, PICTURES, write_pairs
from streamer.errors import SinkError, SourceError
from streamer.faces.detect import FaceDetector
from streamer.faces.fine_mesh import FineMesh
from streamer.render.cutter import shrunk
from streamer.render.pseudonym import Pseudonyms
from streamer.render.textures.harmonize import crop, crop_matrix
from streamer.render.traits import TraitReader
from streamer.training.extract import NO_FACE, is_usable
from streamer.training.pair_drawer import Flaws, PairDrawer
from streamer.types import Frame, Image, Track

Row = dict[str, npt.NDArray[np.uint8]]

# Ranges from which chances are drawn evenly, and shares of the pictures that something happens to.
SIZES = (45.0, 110.0)  # pixels, the longer side of a face in a poor picture
SOFT, SOFTNESS = 0.25, (0.3, 1.2)  # pixels of blur
RELIT, GAMMAS = 0.3, (0.65, 1.5)
TINTED, TINTS = 0.25, (0.85, 1.12)  # times each colour
NOISY, NOISE = 0.2, (1.0, 6.0)  # grey levels
ENLARGED, ENLARGEMENTS = 0.4, (1.0, 2.0)  # times
COMPRESSED, QUALITIES = 0.6, (35, 95)  # JPEG's
BLURS, CONTRASTS, SIGMAS = (0.6, 1.5), (0.8, 1.25), (6.0, 30.0)  # see `Flaws`; sigmas evenly in their logarithm


def extract_pairs(frames: Iterable[tuple[str, Frame]], out: Path, *, model: FaceModel, seed: int) -> Iterator[int]:
    """Write the people in named frames, drawn twice, to the file `out`; yield how many are kept so far, frame by frame.

    Each is shown as a bad camera shows them, and then drawn: as `models.training.inputs.drawn_pairs` has it. All are
    held in memory until the end, 180 KB each.

    Args:
        frames: Names and frames.
        out: Replaced once all are drawn.
        model: Of textures; its harmonizer is not used.
        seed: Of all chances; the same frames give the same file.

    Raises:
        ValueError: If the model is of another kind.
        SinkError: If `out` cannot be written.
        SourceError: If no face was found.
    """
    if not isinstance(model, TextureModel):
        raise ValueError(f"only textures are harmonized, got a {model.kind} model")
    columns: dict[str, list[npt.NDArray[np.uint8]]] = {name: [] for name in (*PICTURES, *MASKS)}
    device, accountant = torch.device("cpu"), PrivacyAccountant()
    key, recognizer = seed.to_bytes(16), load_recognizer("identity")
    pseudonyms = Pseudonyms(model, device, key=key, recognizer=recognizer, mechanism=None, accountant=accountant)
    traits = TraitReader(load_attributes(), device)
    with FaceDetector() as detector, closing(PairDrawer(model, pseudonyms=pseudonyms, network=FineMesh())) as drawer:
        for name, frame in frames:
            faces = [face for face in detector(frame.image) if is_usable(face, frame.image)]
            for number, face in enumerate(faces):
                rng = np.random.default_rng([seed, crc32(f"{name} {number}".encode())])
                poor = degraded(shrunk(frame.image, [face], rng.uniform(*SIZES))[0], rng)
                track = _largest(poor, detector, traits)
                row = None if track is None else _row(poor, track, name, rng, drawer=drawer)
                for column, value in (row or {}).items():
                    columns[column].append(value)
            yield len(columns["photo"])
    if not columns["photo"]:
        raise SourceError(NO_FACE)
    try:
        write_pairs(out, columns)
    except OSError as error:
        raise SinkError(f"cannot write {out}: {error.strerror or error}") from error


def degraded(picture: Image, rng: np.random.Generator) -> Image:
    """Return a picture as a bad camera may show it: soft, in other light, noisy, enlarged, compressed; or as it is.

    Args:
        picture: `(H, W, 3)` uint8 RGB.
        rng: Of its chances.
    """
    values = picture.astype(np.float32)
    if rng.random() < SOFT:
        values = np.asarray(cv2.GaussianBlur(values, (0, 0), rng.uniform(*SOFTNESS)))
    if rng.random() < RELIT:
        values = 255 * (values / 255) ** rng.uniform(*GAMMAS)
    if rng.random() < TINTED:
        values = values * rng.uniform(*TINTS, 3)
    if rng.random() < NOISY:
        values = values + rng.normal(0, rng.uniform(*NOISE), values.shape)
    result = np.clip(values + 0.5, 0, 255).astype(np.uint8)
    if rng.random() < ENLARGED:
        scale = rng.uniform(*ENLARGEMENTS)
        result = np.asarray(cv2.resize(result, None, fx=scale, fy=scale, interpolation=cv2.INTER_LINEAR))
    if rng.random() < COMPRESSED:
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(*QUALITIES))]
        encoded = cv2.imencode(".jpg", cv2.cvtColor(result, cv2.COLOR_RGB2BGR), quality)[1]
        result = cv2.cvtColor(cv2.imdecode(encoded, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    return np.asarray(result)


def _largest(picture: Image, detector: FaceDetector, traits: TraitReader) -> Track | None:
    """Return the largest face of a picture with what it looks like, where there is one."""
    face = max((face for face in detector(picture) if face.mesh is not None), key=lambda face: face.size, default=None)
    traits.forget()
    return None if face is None else traits(picture, [Track(1, face, 0.0)], 0.0)[0]


def _row(picture: Image, track: Track, name: str, rng: np.random.Generator, *, drawer: PairDrawer) -> Row | None:
    """Return what is written of a person; None where they cannot be drawn."""
    low, high = np.log(SIGMAS)
    flaws = Flaws(
        blur=rng.uniform(*BLURS),
        contrast=rng.uniform(*CONTRASTS),
        share=rng.uniform(),
        sigma=float(np.exp(rng.uniform(low, high))),
    )
    own, stranger = drawer.as_themselves(picture, track, name, flaws), drawer.as_stranger(picture, track, name)
    if own is None or stranger is None:
        return None
    to_crop = crop_matrix(track.face.box)
    pictures = [np.asarray(crop(image, to_crop), np.uint8) for image in (picture, own.image, stranger.image)]
    masks = [np.asarray(255 * crop(drawing.strength, to_crop) + 0.5, np.uint8) for drawing in (own, stranger)]
    return dict(zip((*PICTURES, *MASKS), (*pictures, *masks), strict=True))
