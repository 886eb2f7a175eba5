"""Measures photos one by one and keeps the numbers in columns, from which all figures are then taken."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from streamer.errors import AnonymizerError, SourceError
from streamer.evaluate.figures import Problem
from streamer.evaluate.images.before_after import Judge, Judged, Method, Original, anonymized, place_of
from streamer.evaluate.images.circumstances import circumstances
from streamer.evaluate.images.photos import PhotoFile, problems_of
from streamer.pipeline.anonymizer import Anonymizer
from streamer.types import Floats, Image

Doubles = npt.NDArray[np.float64]

NO_FACE = "no face found in the original: not measured"
NO_FACE_LEFT = "no face found in the output: measured at the place of the original's face"
UNREADABLE, NO_OUTPUT, OTHER_SIZE = "cannot be read", "no output was made", "output of another size than its original"
MISSED = "our own pipeline found no face: nothing was covered"


@dataclass(frozen=True, slots=True)
class Row:
    """One photo, before and after.

    Attributes:
        name, person, groups: Of the photo.
        before: Embeddings of the original by recogniser, `(D,)`.
        hog: Whether dlib's detector saw the original's face.
        traits, shape: What the original's face does: `(8,)` and `(P, 3)`, see `streamer.evaluate.measures.utility`.
        inception: `(2048,)` of the original, or None.
        places: Thumbnails of original and output, `(2, 256, 3)`; `weight`, `(256,)`, is 0 in the face.
        judged: What became of it.
        shown: Groups by what the picture shows (`circumstances`).
    """

    name: str
    person: str
    groups: tuple[str, ...]
    before: dict[str, Floats] = field(repr=False)
    hog: bool
    traits: Floats = field(repr=False)
    shape: Floats = field(repr=False)
    inception: Floats | None = field(repr=False)
    places: Floats = field(repr=False)
    weight: Floats = field(repr=False)
    judged: Judged
    shown: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Measurements:
    """N photos before and after one method, in columns.

    Attributes:
        names, people, groups, tiers: Of each.
        values: By figure, `(N,)` float64; nan where it does not apply.
        before, after: By recogniser, `(N, D)` embeddings.
        feature: The recogniser whose features are compared as sets.
        features_before, features_after: `(N, D)`, both aligned as the originals.
        traits_before, traits_after: `(N, T)` of what the faces do, nan where no face was found; the first 8 are
            `utility.Expression.traits`.
        inception_before, inception_after: `(N, 2048)`; no columns without Inception.
        places_before, places_after, weights: `(N, 256, 3)`, `(N, 256, 3)`, `(N, 256)`: where each picture was taken.
        shown: Of each, the groups by what the picture shows; none where that is not known.
    """

    names: tuple[str, ...]
    people: tuple[str, ...]
    groups: tuple[tuple[str, ...], ...]
    tiers: tuple[str, ...]
    values: dict[str, Doubles] = field(repr=False)
    before: dict[str, Floats] = field(repr=False)
    after: dict[str, Floats] = field(repr=False)
    feature: str
    features_before: Floats = field(repr=False)
    features_after: Floats = field(repr=False)
    traits_before: Floats = field(repr=False)
    traits_after: Floats = field(repr=False)
    inception_before: Floats = field(repr=False)
    inception_after: Floats = field(repr=False)
    places_before: Floats = field(repr=False)
    places_after: Floats = field(repr=False)
    weights: Floats = field(repr=False)
    shown: tuple[tuple[str, ...], ...] = ()

    def __len__(self) -> int:
        return len(self.names)


class Recorder:
    """Collects what one method made of photos, and what went wrong."""

    def __init__(self, judge: Judge) -> None:
        self.rows: list[Row] = []
        self.wrong: dict[str, list[str]] = defaultdict(list)
        self._judge = judge

    def add(self, original: Original, output: Image | None, *, tier: str = "") -> Judged | None:
        """Judge an output and note it; return what was seen, None where there is nothing to judge."""
        name = original.photo.name
        if output is None:
            self.wrong[NO_OUTPUT].append(name)
            return None
        if output.shape != original.image.shape:
            self.wrong[OTHER_SIZE].append(name)
            return None
        judged = self._judge.judge(original, output, tier=tier)
        if not judged.found:
            self.wrong[NO_FACE_LEFT].append(name)
        if tier == "missed":
            self.wrong[MISSED].append(name)
        self.rows.append(row_of(original, output, judged))
        return judged

    def measurements(self) -> Measurements:
        """Return all that was noted.

        Raises:
            SourceError: If nothing was.
        """
        if not self.rows:
            reasons = ", ".join(f"{len(names)} {what}" for what, names in self.wrong.items()) or "no photo was given"
            raise SourceError(f"nothing could be measured: {reasons}")
        return measurements_of(self.rows, feature=self._judge.recognizers[-1].name)

    def problems(self) -> list[Problem]:
        """Return what went wrong, by kind."""
        return problems_of(self.wrong)


def measure(photos: Iterable[PhotoFile], method: Method, judge: Judge) -> tuple[Measurements, list[Problem]]:
    """Return what `method` makes of photos, and which of them could not be measured.

    Raises:
        SourceError: If none could.
    """
    recorder = Recorder(judge)
    for original in originals_of(photos, judge, recorder.wrong):
        recorder.add(original, made(method, original, recorder.wrong))
    return recorder.measurements(), recorder.problems()


def measure_methods(
    photos: Iterable[PhotoFile], methods: dict[str, Method], judge: Judge
) -> dict[str, tuple[Measurements, list[Problem]]]:
    """Return what each method makes of the same photos; each photo is read, and its original judged, once.

    Raises:
        SourceError: If none could be measured.
    """
    recorders = {name: Recorder(judge) for name in methods}
    wrong: dict[str, list[str]] = defaultdict(list)
    for original in originals_of(photos, judge, wrong):
        for name, method in methods.items():
            recorders[name].add(original, made(method, original, recorders[name].wrong))
    shared = problems_of(wrong)
    return {name: (each.measurements(), shared + each.problems()) for name, each in recorders.items()}


def anonymize_with(anonymizer: Anonymizer) -> Method:
    """Return our own pipeline as a method among others."""
    return lambda original: anonymized(anonymizer, original)[0]


def originals_of(photos: Iterable[PhotoFile], judge: Judge, wrong: dict[str, list[str]]) -> Iterator[Original]:
    """Yield the photos that can be read and show a face; the names of the others are added to `wrong`."""
    for photo in photos:
        try:
            original = judge.original(photo)
        except SourceError:
            wrong[UNREADABLE].append(photo.name)
            continue
        if original is None:
            wrong[NO_FACE].append(photo.name)
            continue
        yield original


def made(method: Method, original: Original, wrong: dict[str, list[str]]) -> Image | None:
    """Return the method's output, or None where there is none or it cannot be read, which is added to `wrong`."""
    try:
        return method(original)
    except SourceError:
        wrong[f"output {UNREADABLE}"].append(original.photo.name)
    except AnonymizerError:
        pass  # `Recorder.add` counts it
    return None


def row_of(original: Original, output: Image, judged: Judged) -> Row:
    """Return the numbers of a photo, of which nobody can be drawn."""
    place, weight = place_of(original.image, original.face)
    return Row(
        original.photo.name,
        original.photo.person,
        original.photo.groups,
        before=original.embeddings,
        hog=original.hog,
        traits=original.expression.traits(),
        shape=original.expression.shape,
        inception=original.inception,
        places=np.stack([place, place_of(output, original.face)[0]]),
        weight=weight,
        judged=judged,
        shown=circumstances(original),
    )


def measurements_of(rows: Sequence[Row], *, feature: str) -> Measurements:
    """Return rows as columns.

    Args:
        rows: At least one.
        feature: The recogniser that `Judged.features` are of.
    """
    after = [row.judged for row in rows]
    names = rows[0].before
    before = {name: np.stack([row.before[name] for row in rows]) for name in names}
    return Measurements(
        tuple(row.name for row in rows),
        tuple(row.person for row in rows),
        tuple(row.groups for row in rows),
        tuple(judged.tier for judged in after),
        values={name: np.array([value(row) for row in rows], np.float64) for name, value in VALUES.items()},
        before=before,
        after={name: np.stack([judged.embeddings[name] for judged in after]) for name in names},
        feature=feature,
        features_before=before[feature],
        features_after=np.stack([judged.features for judged in after]),
        traits_before=np.stack([_traits(row.traits, row.shape) for row in rows]),
        traits_after=np.stack([_traits_after(row) for row in rows]),
        inception_before=_stacked([row.inception for row in rows]),
        inception_after=_stacked([judged.inception for judged in after]),
        places_before=np.stack([row.places[0] for row in rows]),
        places_after=np.stack([row.places[1] for row in rows]),
        weights=np.stack([row.weight for row in rows]),
        shown=tuple(row.shown for row in rows),
    )


VALUES: dict[str, Callable[[Row], float]] = {
    "mse": lambda row: row.judged.mse,
    "ssim": lambda row: row.judged.ssim,
    "hog": lambda row: float(row.judged.hog) if row.hog else float("nan"),  # of faces seen before
    "found": lambda row: float(row.judged.found),
    "landmarks": lambda row: row.judged.landmarks,
    "pose": lambda row: row.judged.error.pose,
    "gaze": lambda row: row.judged.error.gaze,
    "eyes": lambda row: row.judged.error.eyes,
    "mouth": lambda row: row.judged.error.mouth,
    "expression": lambda row: row.judged.error.expression,
}
RATES = ("hog", "found")


def _traits(traits: Floats, shape: Floats) -> Floats:
    return np.concatenate([traits, shape.ravel()])


def _traits_after(row: Row) -> Floats:
    after = row.judged.expression
    before = _traits(row.traits, row.shape)
    return np.full_like(before, np.nan) if after is None else _traits(after.traits(), after.shape)


def _stacked(features: Sequence[Floats | None]) -> Floats:
    known = [each for each in features if each is not None]
    return np.stack(known) if known else np.zeros((len(features), 0), np.float32)
