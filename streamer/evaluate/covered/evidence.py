"""What an attacker holds: faces before and after each method, as crops and as recognisers see them; and who is who.

Everything is aligned by the landmarks of the original photo. An attacker has only those of the output, so this is more
than he can have.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from models.face_model import DEFAULT_TEMPLATE
from streamer.errors import SourceError
from streamer.evaluate.covered.covers import Cover, portrait
from streamer.evaluate.figures import HashedFile, Problem
from streamer.evaluate.images.baselines import solid
from streamer.evaluate.images.image_evaluation import Original
from streamer.evaluate.images.photos import PhotoFile
from streamer.evaluate.kept import Arrays, Kept
from streamer.evaluate.measures.recognizers import Recognizer
from streamer.faces.detect import FaceDetector
from streamer.render.align import SimilarityAligner
from streamer.types import Face, Floats, Image

Doubles = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]

CROP = 128  # pixels: a face in it is as large as in a recogniser's 112, with hairline and chin around it
POINTS = np.array(DEFAULT_TEMPLATE.points, np.float32)
BOX = np.array([0.2, 0.32, 0.8, 0.92], np.float32)  # brow to chin, ear to ear, in such a crop's side
LEAST_PEOPLE = 5  # to name: with fewer, blind guesses are right too often to tell
BEFORE = ""  # no method's name
AROUND = 64  # pixels a side of what surrounds a face: enough for hair, collar and background
WIDER = 2.0  # times a crop's side
MOST_PHOTOS = 3  # of a person: one to name, two to know them by
PUBLIC_SHARE = 1 / 3  # of the people, at least: those the attacker may learn from in public


@dataclass(frozen=True, slots=True)
class Views:
    """N faces.

    Attributes:
        crops: `(N, 128, 128, 3)` uint8 RGB, aligned to `DEFAULT_TEMPLATE`.
        embeddings: Of each recogniser, `(N, D)`.
    """

    crops: Image = field(repr=False)
    embeddings: Mapping[str, Floats] = field(repr=False)

    def rows(self, which: Rows) -> Views:
        """Return some of them."""
        return Views(self.crops[which], {name: rows[which] for name, rows in self.embeddings.items()})


@dataclass(frozen=True, slots=True)
class Evidence:
    """Photos, and what methods made of them.

    Attributes:
        people: Who each of the N photos shows.
        before: The photos.
        after: By method.
        around: `(N, 64, 64, 3)` uint8 RGB, twice as wide as crops, with flat faces: what no method hides.
        files: What was read, and what our own method made of it.
        outputs: By method, the SHA-256 of those of all its outputs in turn.
    """

    people: tuple[str, ...]
    before: Views
    after: Mapping[str, Views]
    around: Image = field(repr=False)
    files: tuple[HashedFile, ...] = ()
    outputs: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Cast:
    """Who plays which part; rows of the evidence.

    Attributes:
        public: Photos of other people, which the attacker has before and after.
        known: Photos of the K people in question, which he has before and after too.
        probes: One more photo of each, which he has only after. He is to tell who it shows.
        owner: `(M,)`, which of the K people each known photo shows; probe k shows person k.
    """

    public: Rows
    known: Rows
    probes: Rows
    owner: Rows

    def by_person(self, scores: Doubles) -> Doubles:
        """Return the score of each probe with each person, `(P, K)`: the best with a photo of theirs, of `(P, M)`."""
        best = np.full((len(scores), len(self.probes)), -np.inf)
        for column, person in enumerate(self.owner):
            best[:, person] = np.maximum(best[:, person], scores[:, column])
        return best


def cast_of(people: Sequence[str], *, seed: int) -> Cast:
    """Return parts for photos of `people`: those with one photo are public, and others, until they are a third.

    Raises:
        SourceError: If fewer than `LEAST_PEOPLE` with several photos are left to name.
    """
    photos: dict[str, list[int]] = defaultdict(list)
    for row, person in enumerate(people):
        photos[person].append(row)
    rng = np.random.default_rng(seed)
    several = [person for person in sorted(photos) if len(photos[person]) > 1]
    rng.shuffle(several)
    spare = int(np.ceil(PUBLIC_SHARE * len(photos))) - (len(photos) - len(several))
    named = sorted(several[max(spare, 0) :])
    if len(named) < LEAST_PEOPLE:
        raise SourceError(
            f"need {LEAST_PEOPLE} people with two photos each, and half as many others to learn from; "
            f"found {len(photos)} people, {len(several)} with two photos or more"
        )
    probes = [photos[person].pop(int(rng.integers(len(photos[person])))) for person in named]
    known = [(row, k) for k, person in enumerate(named) for row in photos[person]]
    public = sorted(row for person in set(photos) - set(named) for row in photos[person])
    rows = public, [row for row, _ in known], probes, [k for _, k in known]
    return Cast(*(np.array(part, np.int64) for part in rows))


def described_crop(crop: Image, recognizers: Sequence[Recognizer]) -> dict[str, Floats]:
    """Return what recognisers see of a crop `(S, S, 3)` uint8 RGB aligned to `DEFAULT_TEMPLATE`."""
    size = np.float32(len(crop))
    face = Face(BOX * size, POINTS * size, None, 1.0)
    return {recognizer.name: recognizer(crop, face) for recognizer in recognizers}


class Sitting:
    """Takes photos, has them covered, and keeps what an attacker would; one per process.

    Args:
        recognizers: The attacker's.
    """

    def __init__(self, recognizers: Sequence[Recognizer]) -> None:
        self.recognizers = tuple(recognizers)
        self.detector = FaceDetector()
        self._aligner = SimilarityAligner(POINTS, CROP)
        self._wide = SimilarityAligner((0.5 + (POINTS - 0.5) / WIDER).astype(np.float32), AROUND)

    def original(self, photo: PhotoFile) -> Original | None:
        """Return the photo and its largest face, or None where there is none.

        Raises:
            SourceError: If it cannot be read.
        """
        image = photo.read()
        faces = [face for face in self.detector(image) if face.mesh is not None]
        face = max(faces, key=lambda face: face.size, default=None)
        return None if face is None else portrait(image, face, photo)

    def view(self, image: Image, face: Face) -> tuple[Image, dict[str, Floats]]:
        """Return the crop of a face, and what recognisers see of it."""
        return self._aligner.crop(image, face), {r.name: r(image, face) for r in self.recognizers}

    def around(self, original: Original) -> Image:
        """Return what surrounds a face, `(64, 64, 3)` uint8 RGB, the face itself filled."""
        return self._wide.crop(solid(original), original.face)

    def taken(self, photo: PhotoFile, covers: Sequence[Cover], recording: int) -> Arrays:
        """Return all that is kept of one photo: crops, embeddings and hashes by method; nothing where no face is.

        Raises:
            SourceError: If it cannot be read.
        """
        original = self.original(photo)
        if original is None:
            return {}
        arrays: dict[str, npt.NDArray[Any]] = {"around": self.around(original)}
        pictures = {BEFORE: original.image} | {cover.name: cover.photo(original, recording) for cover in covers}
        for name, picture in pictures.items():
            arrays[f"crop {name}"], seen = self.view(picture, original.face)
            arrays |= {f"{recognizer} {name}": row for recognizer, row in seen.items()}
            arrays[f"hash {name}"] = np.array(hashlib.sha256(picture.tobytes()).hexdigest())
        return arrays


class Album:
    """Collects photos and their covers, one by one, into evidence.

    Args:
        sitting: Where they are taken.
        covers: What is done to each.
        kept: Those that were taken before.
    """

    def __init__(self, sitting: Sitting, covers: Sequence[Cover], kept: Kept) -> None:
        self._sitting, self._covers, self._kept = sitting, covers, kept
        self._people: list[str] = []
        self._taken: list[Arrays] = []
        self._files: list[HashedFile] = []
        self._unreadable: list[str] = []
        self._faceless: list[str] = []
        self._count = 0

    def add(self, photo: PhotoFile) -> None:
        """Take one photo, and cover it by every method."""
        self._count += 1
        try:
            digest = photo.sha256()
            name, number = f"photo {self._count} {digest}", self._count
            taken = self._kept.once(name, lambda: self._sitting.taken(photo, self._covers, number))
        except SourceError:
            self._unreadable.append(photo.name)
            return
        if not taken:
            self._faceless.append(photo.name)
            return
        self._people.append(photo.person)
        self._taken.append(taken)
        ours = f"pixels {taken['hash ours']}" if "hash ours" in taken else ""
        self._files.append(HashedFile(photo.name, digest, ours))

    def problems(self) -> tuple[Problem, ...]:
        """Return what could not be taken."""
        kinds = {"unreadable": self._unreadable, "no face found": self._faceless}
        return tuple(Problem(what, tuple(names)) for what, names in kinds.items() if names)

    def evidence(self) -> Evidence:
        """Return all that was taken.

        Raises:
            SourceError: If nothing was.
        """
        if not self._taken:
            raise SourceError("no face was found in any photo; are the photos upright?")
        names = [cover.name for cover in self._covers]
        return Evidence(
            tuple(self._people),
            self._views(BEFORE),
            {name: self._views(name) for name in names},
            np.stack([taken["around"] for taken in self._taken]),
            tuple(self._files),
            {name: self._hash(name) for name in names},
        )

    def _views(self, name: str) -> Views:
        rows = {
            r.name: np.stack([taken[f"{r.name} {name}"] for taken in self._taken]) for r in self._sitting.recognizers
        }
        return Views(np.stack([taken[f"crop {name}"] for taken in self._taken]), rows)

    def _hash(self, name: str) -> str:
        return hashlib.sha256("".join(str(taken[f"hash {name}"]) for taken in self._taken).encode()).hexdigest()


def chosen(photos: Sequence[PhotoFile], *, most_people: int, most_public: int, seed: int) -> list[PhotoFile]:
    """Return the photos worth covering: up to three of people who have several, and one of each of some others."""
    by_person: dict[str, list[PhotoFile]] = defaultdict(list)
    for photo in photos:
        by_person[photo.person].append(photo)
    people = sorted(by_person)
    np.random.default_rng(seed).shuffle(people)
    several = [person for person in people if len(by_person[person]) > 1][:most_people]
    public = [person for person in people if len(by_person[person]) == 1][:most_public]
    return [photo for person in sorted([*several, *public]) for photo in by_person[person][:MOST_PHOTOS]]
