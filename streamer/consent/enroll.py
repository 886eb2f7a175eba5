"""Makes embeddings of photos: of somebody who agreed to stay visible, or of strangers. Keeps nothing of a photo."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from streamer.consent.quality import FaceReader, Observation
from streamer.errors import SourceError
from streamer.faces.detect import SURE, FaceDetector
from streamer.sources.file_source import open_source
from streamer.types import Floats, Image

log = logging.getLogger(__name__)

MIN_PHOTO_SIZE = 90.0  # pixels of a face, more than a sighting needs: what is enrolled is compared with for months
SAME_PERSON = 0.3  # cosine of a photo to all; strangers of LFW have .02 +- .12, two photos of a person .61 on average


def enroll(photos: Iterable[Path], reader: FaceReader) -> Floats:
    """Return the embedding of the person in all photos, `(D,)` float32, unit.

    Args:
        photos: Pictures, each of that person alone.

    Raises:
        SourceError: If a photo cannot be read, does not show exactly one face well, or shows somebody else.
    """
    with FaceDetector() as detector:
        looks = [(photo, _sighting(photo, image, detector, reader=reader)) for photo, image in _pictures(photos)]
    embeddings = np.stack([sighting.embedding for _, sighting in looks])
    total = embeddings.sum(axis=0)
    for (photo, _), embedding in zip(looks, embeddings, strict=True):
        others = total - embedding
        if len(embeddings) > 1 and not _unit(others) @ embedding > SAME_PERSON:
            raise SourceError(f"{photo}: does not look like the person in the other photos; leave it out")
    return _unit(total)


def embed_strangers(photos: Iterable[Path], reader: FaceReader) -> Floats:
    """Return `(M, D)` embeddings of the largest face of each photo; photos without one are named in the log.

    Raises:
        SourceError: If a photo cannot be read, or there is a face in none.
    """
    found = []
    with FaceDetector() as detector:
        for photo, image in _pictures(photos):
            faces = [face for face in detector(image) if face.mesh is not None]
            if not faces:
                log.warning("%s: no face", photo)
                continue
            found.append(reader(image, max(faces, key=lambda face: face.size)).embedding)
    if not found:
        raise SourceError("there is no face in any of the photos; are they upright?")
    return np.stack(found)


def _pictures(photos: Iterable[Path]) -> Iterator[tuple[Path, Image]]:
    for photo in photos:
        with open_source(photo) as source:
            if not source.info.names:
                raise SourceError(f"{photo}: a video, not a photo; give a picture, or a folder of pictures")
            for frame in source:
                yield photo / source.info.names[frame.index] if photo.is_dir() else photo, frame.image


def _sighting(photo: Path, image: Image, detector: FaceDetector, *, reader: FaceReader) -> Observation:
    faces = [face for face in detector(image) if face.score >= SURE]
    if len(faces) != 1:
        raise SourceError(f"{photo}: shows {len(faces)} faces, not one; crop it, or take another photo")
    if faces[0].mesh is None:
        raise SourceError(f"{photo}: the face is too turned or hidden to be measured; take another photo")
    sighting = reader(image, faces[0])
    flaw = "small" if sighting.size < MIN_PHOTO_SIZE else sighting.flaw
    if flaw:
        raise SourceError(f"{photo}: the face is {flaw}; take a photo from the front, sharp, over 90 pixels wide")
    return sighting


def _unit(vector: Floats) -> Floats:
    return np.asarray(vector / np.linalg.norm(vector), np.float32)
