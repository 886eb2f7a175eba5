"""The paper's experiments, run: which methods at which strengths on which photos, and what came of each.

Zhao et al. 2022, section 4. Our own pipeline is measured over beta (4.2), then beside blur and mosaic where all have
the same identity similarity, and where they have the same SSIM (4.3). The paper trains a network for each beta; ours is
one. It does not say how strong its blur is nor what part of a picture it hides; ours hides the face's oval, or as much
more as it takes: an SSIM as low as the paper's cannot be had with the oval alone.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from streamer.errors import SourceError
from streamer.evaluate.figures import Figure, Problem
from streamer.evaluate.images.baselines import REGIONS, Family, blur, mosaic, solid
from streamer.evaluate.images.measurements import NO_FACE_LEFT, Measurements, Row, measurements_of
from streamer.evaluate.images.photos import PhotoFile
from streamer.evaluate.images.scores import figures_of, references_of
from streamer.evaluate.measures.recognizers import Recognizer
from streamer.evaluate.paper import published
from streamer.evaluate.paper.workers import SSIM, Aim, Crew, Hit, Ours, Trial

Progress = Callable[[str, int, int], None]  # what is being done, how much of it is, of how much

CELEBA, FFHQ = 20_000, 10_000  # photos that the paper draws (section 4)
FFHQ_NAME = re.compile(r"(.*/)?\d{5}\.png")
FEWEST = 8  # photos of a smaller sample: of fewer, strengths are found by chance
LEAST = 3  # photos with a face to find them by: a recogniser without a zero of its own compares with their mean
SEED = 0
OURS, BLUR, MOSAIC, SOLID = "ours", "blur", "mosaic", "solid"
FAMILIES: Mapping[str, Family] = {BLUR: blur, MOSAIC: mosaic}
UNITS = {BLUR: "deviation {:.3g} px", MOSAIC: "cells of {:.3g} px"}
PAPER_SSIM, OUR_SSIM, STRONGEST = f"SSIM {published.SSIM}", "our SSIM", "strongest"


@dataclass(frozen=True, slots=True)
class Sizes:
    """How many photos are measured.

    Attributes:
        tables: For the tables, of which the following are the first.
        curve: For the curves over beta.
        calibration: For finding strengths.
    """

    tables: int
    curve: int
    calibration: int

    def at_most(self, limit: int) -> Sizes:
        """Return these sizes, all made smaller alike so that `limit` photos are behind the tables, or fewer.

        None falls below `FEWEST`, where it was not below before.
        """
        share = min(1.0, limit / self.tables)
        sizes = self.tables, self.curve, self.calibration
        return Sizes(*(max(min(size, FEWEST), round(share * size)) for size in sizes))


@dataclass(frozen=True, slots=True)
class Place:
    """A method at an operating point.

    Attributes:
        setting: Such as "beta 0.13" or "oval, cells of 12 px"; "" where the point is out of its reach.
        trial: What was run, None where the point is out of reach.
        missing: Then, why.
        strength: Pixels of the 256 px crop, of blur and mosaic.
    """

    setting: str
    trial: Trial | None
    missing: str = ""
    strength: float = float("nan")


Point = tuple[str, str]  # method and operating point, such as ("blur", "similarity 0.2")


@dataclass(frozen=True, slots=True)
class Study:
    """All that was found.

    Attributes:
        recognizers: Names; the first is the one that strengths are found by.
        curve: Our figures by beta.
        places: The operating points.
        figures: Of each trial, by the names of `figures_of`.
        measured: Our output at beta 0 on the photos of the tables.
        problems: What could not be measured, in both.
        count: Photos behind the tables and behind the curve.
    """

    recognizers: tuple[str, ...]
    curve: Mapping[float, Mapping[str, Figure]]
    places: Mapping[Point, Place]
    figures: Mapping[Trial, Mapping[str, Figure]]
    measured: Measurements
    problems: tuple[Problem, ...]
    count: tuple[int, int]

    def figure(self, point: Point, name: str) -> Figure:
        """Return a figure of a method at an operating point; nan, with the reason, where that is out of reach."""
        place = self.places[point]
        if place.trial is None:
            return Figure(float("nan"), note="out of reach")
        return self.figures[place.trial][name]


def similarity_point(target: float) -> str:
    """Return the name of an operating point of equal similarity."""
    return f"similarity {target:g}"


def sample(photos: Sequence[PhotoFile], count: int) -> list[PhotoFile]:
    """Return `count` photos in an order drawn with `SEED`; the first of them are a fair sample too."""
    order = np.random.default_rng(SEED).permutation(len(photos))[:count]
    return [photos[index] for index in order]


def papers_sizes(photos: Sequence[PhotoFile]) -> Sizes:
    """Return the paper's sizes for CelebA and FFHQ, and elsewhere what two cores measure in a quarter of an hour."""
    if all("img_align_celeba" in photo.path.parts for photo in photos):
        return Sizes(CELEBA, curve=1000, calibration=200)
    if all(FFHQ_NAME.fullmatch(photo.name) for photo in photos):
        return Sizes(FFHQ, curve=1000, calibration=200)
    return Sizes(150, curve=108, calibration=48)


def run_study(
    crew: Crew, photos: Sequence[PhotoFile], recognizers: Sequence[Recognizer], *, sizes: Sizes, progress: Progress
) -> Study:
    """Measure everything; `photos` are in their drawn order.

    Raises:
        SourceError: If no photo could be measured, or too few to find strengths by.
    """
    betas: dict[str, Trial] = {f"beta {beta:g}": Ours(beta) for beta in published.BETAS}
    curve = _measured(crew, photos[: sizes.curve], betas, tell=partial(progress, "beta curve"))
    aims = _aims(curve, recognizers[0], photos[: sizes.calibration])
    places = _places(crew, photos[: sizes.calibration], aims, tell=partial(progress, "strengths"))
    trials = {f"{method} at {at}": place.trial for (method, at), place in places.items() if place.trial is not None}
    once = {name: trial for trial, name in {trial: name for name, trial in trials.items()}.items()}
    found = _measured(crew, photos, once, tell=partial(progress, "tables"))
    return Study(
        tuple(recognizer.name for recognizer in recognizers),
        dict(zip(published.BETAS, _figures(curve.by_trial, recognizers).values(), strict=True)),
        places,
        _figures(found.by_trial, recognizers),
        measured=found.by_trial[Ours(0.0)],
        problems=_merged([*curve.problems, *found.problems]),
        count=(len(found.by_trial[Ours(0.0)]), len(curve.by_trial[Ours(0.0)])),
    )


@dataclass(frozen=True, slots=True)
class _Measured:
    by_trial: dict[Trial, Measurements]
    problems: list[Problem]


def _measured(
    crew: Crew, photos: Sequence[PhotoFile], trials: Mapping[str, Trial], *, tell: Callable[[int, int], None]
) -> _Measured:
    """Return the photos that every trial has, so that all are compared on the same; and what went wrong."""
    rows: dict[str, list[Row]] = {name: [] for name in trials}
    wrong: dict[str, list[str]] = defaultdict(list)
    for done, outcome in enumerate(crew.outcomes(photos, dict(trials)), start=1):
        tell(done, len(photos))
        for (what, trial), names in outcome.wrong.items():
            ours = isinstance(trials.get(trial), Ours)
            if ours or what != NO_FACE_LEFT:  # of blur and mosaic that is no problem but a figure
                wrong[f"ours: {what}" if ours else f"{trial}: {what}".removeprefix(": ")] += names
        for name, row in outcome.rows.items() if len(outcome.rows) == len(trials) else ():
            rows[name].append(row)
    problems = [Problem(what, tuple(names)) for what, names in wrong.items()]
    if not rows[next(iter(rows))]:
        reasons = ", ".join(f"{len(problem.names)}: {problem.what}" for problem in problems)
        raise SourceError(f"none of {len(photos)} photos could be measured by every method: {reasons}")
    return _Measured(
        {trials[name]: measurements_of(each, feature=list(each[0].before)[-1]) for name, each in rows.items()}, problems
    )


def _figures(found: Mapping[Trial, Measurements], recognizers: Sequence[Recognizer]) -> dict[Trial, dict[str, Figure]]:
    """Return the figures of each trial; all are of the same originals, and share their thresholds."""
    references = references_of(found[Ours(0.0)], recognizers)
    return {trial: figures_of(m, recognizers, references=references) for trial, m in found.items()}


def _aims(curve: _Measured, recognizer: Recognizer, photos: Sequence[PhotoFile]) -> _Aims:
    """Return where methods are to be compared, as it can be had: what is beyond our own reach moves to our end.

    All is taken on the photos that strengths are found on, so that chance shifts every method alike.

    Raises:
        SourceError: If these are too few.
    """
    names = {photo.name for photo in photos}
    rows = np.array([name in names for name in curve.by_trial[Ours(0.0)].names])
    if rows.sum() < LEAST:
        raise SourceError(f"strengths need {LEAST} photos with a face to be found by, got {rows.sum()}")
    means = [_similarity(curve.by_trial[Ours(beta)], rows, recognizer) for beta in published.BETAS]
    rising = np.maximum.accumulate(means)  # it rises with beta, but for chance
    betas = {target: float(np.interp(target, rising, published.BETAS)) for target in published.SIMILARITIES}
    return _Aims(
        recognizer.name,
        betas,
        {target: float(np.interp(beta, published.BETAS, rising)) for target, beta in betas.items()},
        float(curve.by_trial[Ours(0.0)].values["ssim"][rows].mean()),
    )


@dataclass(frozen=True, slots=True)
class _Aims:
    """The betas that give the paper's similarities, and what similarities and SSIM others are to have."""

    recognizer: str
    betas: Mapping[float, float]
    similarities: Mapping[float, float]
    ssim: float


def _similarity(m: Measurements, rows: npt.NDArray[np.bool_], recognizer: Recognizer) -> float:
    before, after = (side[recognizer.name][rows] for side in (m.before, m.after))
    return float(recognizer.similarity(before, after, originals=before).mean())


def _places(
    crew: Crew, photos: Sequence[PhotoFile], aims: _Aims, *, tell: Callable[[int, int], None]
) -> dict[Point, Place]:
    """Return every operating point, with the strengths that were found for blur and mosaic."""
    places: dict[Point, Place] = {(OURS, STRONGEST): Place("beta 0", Ours(0.0)), (SOLID, STRONGEST): Place("", solid)}
    for target, beta in aims.betas.items():
        places[OURS, similarity_point(target)] = Place(f"beta {beta:.2g}", Ours(round(beta, 3)))
    wanted = {method: _wanted(family, aims) for method, family in FAMILIES.items()}
    found = crew.hits(photos, [list(each.values()) for each in wanted.values()])
    for done, (method, hits) in enumerate(zip(wanted, found, strict=True), start=1):
        tell(done, len(wanted))
        for (at, aim), hit in zip(wanted[method].items(), hits, strict=True):
            places[method, at] = _place(method, aim, hit)
    return places


def _wanted(family: Family, aims: _Aims) -> dict[str, Aim]:
    equal = {similarity_point(at): Aim(family, aims.recognizer, value) for at, value in aims.similarities.items()}
    return equal | {OUR_SSIM: Aim(family, SSIM, aims.ssim), PAPER_SSIM: Aim(family, SSIM, published.SSIM)}


def _place(method: str, aim: Aim, hit: Hit | str) -> Place:
    if isinstance(hit, str):
        return Place("", None, hit)
    strength = hit.calibration.strength
    hidden = partial(aim.family, strength=strength, region=REGIONS[hit.region])
    return Place(f"{hit.region}, {UNITS[method].format(strength)}", hidden, strength=strength)


def _merged(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """Return one problem of a kind, each name once."""
    names: dict[str, dict[str, None]] = defaultdict(dict)
    for problem in problems:
        names[problem.what] |= dict.fromkeys(problem.names)
    return tuple(Problem(what, tuple(which)) for what, which in names.items())
