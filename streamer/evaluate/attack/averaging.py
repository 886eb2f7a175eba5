"""The attacker who collects: many frames of one covered face, laid over each other, show what no single one does.

The faces of a track are warped onto one another by their meshes, at a resolution above theirs, and averaged: noise and
the edges of moving cells cancel, what is the same in all remains (Irani and Peleg 1991, section 2).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import cv2
import numpy as np

from models.checkpoint import file_sha256
from streamer.evaluate.covered.covers import Cover, portrait
from streamer.evaluate.covered.evidence import POINTS, Sitting, Views, described_crop
from streamer.evaluate.kept import Arrays, Kept
from streamer.evaluate.measures.chance import Scores
from streamer.evaluate.measures.recognizers import Recognizer
from streamer.faces.detect import FaceDetector
from streamer.faces.track import FaceTracker
from streamer.render.align import MeshAligner, SimilarityAligner, umeyama
from streamer.sources.file_source import open_source
from streamer.types import Face, Floats, Frame, Image

FUSED = 256  # pixels: twice what a recogniser looks at, so that shifts of a fraction of a pixel add up to detail
RATE = 12.0  # frames a second that are looked at: neighbouring frames differ too little to add anything
FRAMES = 60  # per clip, of those with a face
LEAST_FRAMES = 16  # of a track
LEAST_SIZE = 40.0  # pixels; a smaller face cannot be told from others even uncovered
KNOWN_SHARE = 0.25  # of a track, its beginning, by which the person is known
SAMPLES = 6  # frames of a track that are looked at one by one
SHARPENING = 1.5  # times what a blur of 1 % of the side takes away is added


@dataclass(frozen=True, slots=True)
class FollowedFace:
    """One person in one clip.

    Attributes:
        name: The clip and the number of the track.
        faces: Where the face is, by the position of the frame among those that were looked at.
    """

    name: str
    faces: Mapping[int, Face]

    @property
    def known(self) -> list[int]:
        """The first quarter of the frames: what the attacker knows the person from."""
        return sorted(self.faces)[: max(1, round(KNOWN_SHARE * len(self.faces)))]

    @property
    def attacked(self) -> list[int]:
        """The others: what he has covered."""
        return sorted(self.faces)[len(self.known) :]


def frames_with_faces(
    path: Path, detector: FaceDetector, *, most: int = FRAMES
) -> tuple[list[Frame], list[list[Face]]]:
    """Return the first `most` frames of a clip, of `RATE` a second, that show a face to attack; and their faces.

    Raises:
        SourceError: If the clip cannot be read.
    """
    frames: list[Frame] = []
    found: list[list[Face]] = []
    with open_source(path) as source:
        for frame in islice(_thinned(source), 10 * most):  # a clip without faces is not searched for ever
            faces = [f for f in detector(frame.image) if f.mesh is not None and f.size >= LEAST_SIZE]
            if faces:
                frames.append(frame)
                found.append(faces)
            if len(frames) == most:
                break
    return frames, found


def followed(name: str, frames: Sequence[Frame], found: Sequence[Sequence[Face]]) -> list[FollowedFace]:
    """Return the people of a clip who can be attacked, longest seen first: each is seen together with all before.

    Who is seen together is not the same person; whoever is not may be somebody counted already.
    """
    tracker = FaceTracker()
    tracks: dict[int, dict[int, Face]] = defaultdict(dict)
    for position, (frame, faces) in enumerate(zip(frames, found, strict=True)):
        for track in tracker.update(faces, frame.seconds, frame.image):
            if track.missed_seconds == 0 and track.is_confirmed:
                tracks[track.id][position] = track.face
    kept: list[FollowedFace] = []
    for number, faces_of in sorted(tracks.items(), key=lambda item: -len(item[1])):
        together = all(set(faces_of) & set(other.faces) for other in kept)
        if len(faces_of) >= LEAST_FRAMES and together:
            kept.append(FollowedFace(f"{name}#{number}", faces_of))
    return kept


def fused(images: Sequence[Image], faces: Sequence[Face]) -> Image:
    """Return the average of one face in several pictures, `(256, 256, 3)` uint8 RGB, aligned to `DEFAULT_TEMPLATE`.

    Args:
        images: Each `(H, W, 3)` uint8 RGB.
        faces: Where the face is in each, with meshes; the middle one's pose and expression are kept.
    """
    middle = faces[len(faces) // 2]
    assert middle.mesh is not None
    matrix = umeyama(middle.landmarks, POINTS * FUSED)
    inner = MeshAligner((middle.mesh[:, :2] @ matrix[:, :2].T + matrix[:, 2]) / FUSED, FUSED)
    outer = SimilarityAligner(POINTS, FUSED)
    total = np.zeros((FUSED, FUSED, 3), np.float32)
    for image, face in zip(images, faces, strict=True):
        total += np.where(inner.inside[..., None], inner.crop(image, face), outer.crop(image, face))
    return np.asarray(np.round(total / len(images)), np.uint8)


def sharpened(crop: Image) -> Image:
    """Return the crop with its fine contrast raised: what averaging and enlarging took from it."""
    blurred = cv2.GaussianBlur(crop, (0, 0), 0.01 * len(crop)).astype(np.float32)
    return np.asarray(np.clip(crop + SHARPENING * (crop - blurred), 0, 255), np.uint8)


@dataclass(frozen=True, slots=True)
class Recovered:
    """What an attacker makes of one covered person of a clip.

    Attributes:
        name: The clip and the number of the track.
        known: What recognisers see of the person uncovered, at other times: `(F, D)` each.
        attempts: By method and attempt, what they see of what was recovered: `(D,)` each.
    """

    name: str
    known: Mapping[str, Floats]
    attempts: Mapping[tuple[str, str], Mapping[str, Floats]]


def recover(path: Path, covers: Sequence[Cover], sitting: Sitting, kept: Kept, recording: int) -> list[Recovered]:
    """Return what is recovered of each person of a clip.

    Raises:
        SourceError: If the clip cannot be read.
    """
    names = " ".join(cover.name for cover in covers)
    name = f"recovered {names} {recording} {file_sha256(path)}"
    found = kept.once(name, lambda: _as_arrays(_people(path, covers, sitting, recording)))
    return [_of_arrays(person, found) for person in dict.fromkeys(name.partition("\n")[0] for name in found)]


def _people(path: Path, covers: Sequence[Cover], sitting: Sitting, recording: int) -> list[Recovered]:
    frames, found = frames_with_faces(path, sitting.detector)
    people = followed(path.name, frames, found)
    return [_recovered(person, frames, covers, sitting, recording) for person in people]


def _as_arrays(people: Sequence[Recovered]) -> Arrays:
    """Return everything by person, method, attempt and recogniser, a line each; of known frames there is no method."""
    arrays: dict[str, Floats] = {}
    for person in people:
        for (cover, what), seen in {("", ""): person.known, **person.attempts}.items():
            arrays |= {f"{person.name}\n{cover}\n{what}\n{name}": rows for name, rows in seen.items()}
    return arrays


def _of_arrays(person: str, arrays: Arrays) -> Recovered:
    seen: dict[tuple[str, str], dict[str, Floats]] = defaultdict(dict)
    for name, rows in arrays.items():
        whose, cover, what, recognizer = name.split("\n")
        if whose == person:
            seen[cover, what][recognizer] = rows
    known = seen.pop(("", ""))
    return Recovered(person, known, seen)


def name_them(
    recovered: Sequence[Recovered], strangers: Views, recognizers: Sequence[Recognizer]
) -> dict[tuple[str, str], Scores]:
    """Return the scores `(T, T + N)` of T recovered people with themselves, with each other and with N strangers.

    Args:
        recovered: Of all clips.
        strangers: One photo of each.
        recognizers: Each one's scores, less their mean and over their deviation in a row, are added.

    Returns:
        By method and attempt.
    """
    return {
        attempt: np.sum([_standard(_row_scores(recovered, attempt, strangers, r)) for r in recognizers], axis=0)
        for attempt in recovered[0].attempts
    }


def _row_scores(
    recovered: Sequence[Recovered], attempt: tuple[str, str], strangers: Views, recognizer: Recognizer
) -> Scores:
    name = recognizer.name
    probes = np.stack([person.attempts[attempt][name] for person in recovered])
    own = [recognizer.scores(probes, person.known[name]).max(axis=1) for person in recovered]
    return np.concatenate([np.stack(own, axis=1), recognizer.scores(probes, strangers.embeddings[name])], axis=1)


def _standard(scores: Scores) -> Scores:
    centered = scores - scores.mean(axis=1, keepdims=True)
    return np.asarray(centered / np.maximum(scores.std(axis=1, keepdims=True), 1e-9))


def _recovered(
    person: FollowedFace, frames: Sequence[Frame], covers: Sequence[Cover], sitting: Sitting, recording: int
) -> Recovered:
    shown = [frames[position].image for position in _spread(person.known, SAMPLES)]
    known = [sitting.view(i, person.faces[p])[1] for i, p in zip(shown, _spread(person.known, SAMPLES), strict=True)]
    attempts: dict[tuple[str, str], dict[str, Floats]] = {}
    for cover in covers:
        images = _covered(person, frames, cover, recording)
        attempts |= {(cover.name, what): seen for what, seen in _attempts(person, images, sitting).items()}
    return Recovered(person.name, _by_recognizer(known), attempts)


def _covered(person: FollowedFace, frames: Sequence[Frame], cover: Cover, recording: int) -> dict[int, Image]:
    """Return the covered frames under attack, by position; the recording begins with them."""
    shown = [frames[position] for position in person.attacked]
    faces = [portrait(frame.image, person.faces[p]) for p, frame in zip(person.attacked, shown, strict=True)]
    return dict(zip(person.attacked, cover.clip(shown, faces, recording), strict=True))


def _attempts(person: FollowedFace, images: Mapping[int, Image], sitting: Sitting) -> dict[str, dict[str, Floats]]:
    positions = person.attacked
    picture = fused([images[p] for p in positions], [person.faces[p] for p in positions])
    each = [sitting.view(images[p], person.faces[p])[1] for p in _spread(positions, SAMPLES)]
    return {
        "one frame": each[len(each) // 2],
        "mean of embeddings": {name: rows.mean(axis=0) for name, rows in _by_recognizer(each).items()},
        "average": described_crop(picture, sitting.recognizers),
        "average, sharpened": described_crop(sharpened(picture), sitting.recognizers),
    }


def _by_recognizer(seen: Sequence[Mapping[str, Floats]]) -> dict[str, Floats]:
    return {name: np.stack([each[name] for each in seen]) for name in seen[0]}


def _spread(positions: Sequence[int], count: int) -> list[int]:
    """Return `count` of the positions, evenly spread; all of them where there are fewer."""
    return [positions[i] for i in np.unique(np.linspace(0, len(positions) - 1, count).round().astype(int))]


def _thinned(frames: Iterable[Frame]) -> Iterator[Frame]:
    """Yield at most `RATE` frames a second."""
    last = -np.inf
    for frame in frames:
        if frame.seconds - last >= 0.99 / RATE:
            last = frame.seconds
            yield frame
