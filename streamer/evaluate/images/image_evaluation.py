"""`veil evaluate images`: our own output, or any other tool's, scored on photographs."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from streamer.errors import AnonymizerError, SourceError
from streamer.evaluate.figures import Figure, Findings, HashedFile, Problem
from streamer.evaluate.images import image_tables
from streamer.evaluate.images.before_after import Judge, Judged, Method, Original, anonymized
from streamer.evaluate.images.identity_figures import FAR, LEAST_PAIRS, pairs_behind
from streamer.evaluate.images.kept_rows import arrays_of_row, prefixed, row_of_arrays, without
from streamer.evaluate.images.measurements import (
    Measurements,
    Recorder,
    Row,
    anonymize_with,
    made,
    measure,
    measure_methods,
    originals_of,
)
from streamer.evaluate.images.pairing import pairing_figure
from streamer.evaluate.images.photos import PhotoFile, find_photos, pair_with, spread
from streamer.evaluate.images.scores import (
    SMALLEST_GROUP,
    by_luck,
    columns_of,
    counted,
    figures_of,
    group_figures,
    references_of,
)
from streamer.evaluate.images.worst import Show, WorstFaces, drawn, png, uncovered
from streamer.evaluate.kept import Arrays, Kept
from streamer.evaluate.measures.inception_features import load_inception
from streamer.evaluate.measures.recognizers import Recognizer
from streamer.pipeline.anonymizer import Anonymizer
from streamer.types import Image

__all__ = [
    "Judge",
    "Judged",
    "Measurements",
    "Method",
    "Original",
    "anonymize_with",
    "evaluate_images",
    "figures_of",
    "measure",
    "measure_methods",
]

WHOSE = {
    "dlib": ": a public network that Veil was never trained with",
    "identity": ": Veil's own, by which Veil chooses its strangers, so no independent witness of Veil's output",
}
NO_FACE_TO_HOG = "another detector finds no face in the original: not counted for it"
ELSEWHERE = "made beforehand; this report does not know with which tool, model or settings"
ROW = "row "  # before the names of what `arrays_of_row` returns
Follow = Callable[[Iterable[PhotoFile]], Iterable[PhotoFile]]


class Witness(Protocol):
    """What sees each photo beside its output, once, and keeps of it what it needs."""

    def add(self, original: Original, output: Image, judged: Judged) -> None:
        """Take a photo, its output, and what was seen in both."""
        ...


def evaluate_images(
    originals: Path,
    *,
    outputs: Path | None = None,
    anonymizer: Anonymizer | None = None,
    recognizers: Sequence[Recognizer],
    inception: Path | None = None,
    limit: int | None = None,
    show_faces: bool = False,
    witnesses: Sequence[Witness] = (),
    kept: Kept | None = None,
    follow: Follow = iter,
) -> Findings:
    """Return all that is measured of photos and what was made of them.

    Args:
        originals: Photos, as `find_photos` takes them.
        outputs: What another tool made of them, in the same names; or
        anonymizer: our own pipeline. One of the two.
        recognizers: At least one; the first says which faces are worst, the last gives the features of the distances.
        inception: Inception v3 weights, for FID.
        limit: At most this many photos of each collection, evenly spread.
        show_faces: Show the worst faces and not only their landmarks: the findings then hold real faces.
        witnesses: Are shown every photo that was measured, and its output.
        kept: What was measured before is not measured again; None, or with witnesses, all is.
        follow: Sees the photos go by, such as a progress bar.

    Raises:
        SourceError: If there is no photo, no output, or nothing that could be measured.
        CheckpointError: If the Inception weights cannot be used.
        ValueError: If not exactly one of outputs and anonymizer is given.
    """
    if (outputs is None) == (anonymizer is None):
        raise ValueError("need either outputs of another tool or an anonymizer")
    photos = find_photos(originals)
    task = _ours(photos, anonymizer, limit) if anonymizer else _theirs(photos, outputs or Path(), limit)
    judge = Judge(recognizers, load_inception(inception) if inception else None)
    look = partial(_looked_at, task=task, judge=judge, show=uncovered if show_faces else drawn, witnesses=witnesses)
    kept = kept if kept and not witnesses else Kept(None, "")
    worst, recorder, files = WorstFaces(recognizers), Recorder(judge), list[HashedFile]()
    for photo in follow(task.photos):
        seen = kept.once(f"{photo.fingerprint()} {task.output_of(photo)} {show_faces}", partial(look, photo))
        for what in seen["wrong"].tolist():
            recorder.wrong[what].append(photo.name)
        if "hashes" in seen:
            row = row_of_arrays(without(seen, ROW))
            recorder.rows.append(row)
            worst.add(row, seen["before"].tobytes(), seen["after"].tobytes())
            files.append(HashedFile(photo.name, *seen["hashes"].tolist()))
    judge.close()
    return replace(_findings(recorder, recognizers, task, worst), files=tuple(files))


def _looked_at(photo: PhotoFile, task: _Task, judge: Judge, show: Show, witnesses: Sequence[Witness]) -> Arrays:
    """Return all that is kept of one photo: what was wrong, and where it was measured, row, hashes and two pictures."""
    recorder = Recorder(judge)
    arrays: dict[str, npt.NDArray[Any]] = {}
    for original in originals_of([photo], judge, recorder.wrong):
        output, tier = task.make(original, recorder.wrong)
        judged = recorder.add(original, output, tier=tier)
        if judged is None or output is None:
            continue
        for witness in witnesses:
            witness.add(original, output, judged)
        pictures = {
            "before": show(original.crop, original.expression),
            "after": show(judge.crops.crop(output, original.face), judged.expression),
        }
        arrays |= {name: np.frombuffer(png(picture), np.uint8) for name, picture in pictures.items()}
        arrays |= prefixed(arrays_of_row(recorder.rows[0]), ROW)
        arrays["hashes"] = np.array([photo.sha256(), task.hash_of(original, output)])
    return {**arrays, "wrong": np.array(list(recorder.wrong), str)}


@dataclass(frozen=True, slots=True)
class _Task:
    """Photos, how an output of each is got, hashed and told apart, and what was wrong before any was read."""

    title: str
    photos: list[PhotoFile]
    make: Callable[[Original, dict[str, list[str]]], tuple[Image | None, str]]
    hash_of: Callable[[Original, Image], str]
    output_of: Callable[[PhotoFile], str]
    problems: list[Problem]
    made_by: dict[str, str]


def _ours(photos: Sequence[PhotoFile], anonymizer: Anonymizer, limit: int | None) -> _Task:
    def make(original: Original, wrong: dict[str, list[str]]) -> tuple[Image | None, str]:
        try:
            return anonymized(anonymizer, original)
        except AnonymizerError:
            return None, ""  # the recorder counts it

    return _Task(
        "Photos, and what veil makes of them", spread(photos, limit), make, _hash_of_pixels, lambda photo: "", [], {}
    )


def _hash_of_pixels(original: Original, output: Image) -> str:
    return f"pixels {hashlib.sha256(output.tobytes()).hexdigest()}"


def _theirs(photos: Sequence[PhotoFile], outputs: Path, limit: int | None) -> _Task:
    pairs, problems = pair_with(photos, outputs)
    if not pairs:
        raise SourceError(f"no picture in {outputs} has the name of one of the {len(photos)} originals")
    after = {pair.before.name: pair.after for pair in pairs}

    def make(original: Original, wrong: dict[str, list[str]]) -> tuple[Image | None, str]:
        return made(lambda each: after[each.photo.name].read(), original, wrong), ""

    def hash_of(original: Original, output: Image) -> str:
        return after[original.photo.name].sha256()

    def output_of(photo: PhotoFile) -> str:
        return after[photo.name].fingerprint()

    made_by = {"outputs": f"{outputs.resolve().name}: {ELSEWHERE}"}
    chosen = spread([pair.before for pair in pairs], limit)
    return _Task(f"Photos, and {outputs.resolve().name}", chosen, make, hash_of, output_of, problems, made_by)


def _findings(recorder: Recorder, recognizers: Sequence[Recognizer], task: _Task, worst: WorstFaces) -> Findings:
    m = recorder.measurements()
    references = references_of(m, recognizers)
    figures = figures_of(m, recognizers, references=references)
    figures["pairing"], mispaired = pairing_figure(m)
    if pairs := figures["pairing"].count:
        figures["pairing_chance"] = by_luck(1 / pairs, pairs)
    columns = columns_of(m, recognizers, references)
    groups = group_figures(m, columns)
    tables = [image_tables.all_figures(figures), image_tables.verification(figures, recognizers)]
    charts = []
    if len(m) >= SMALLEST_GROUP:
        charts += [image_tables.score_chart(m, each, references[each.name]) for each in recognizers]
    if groups:
        tables.append(image_tables.by_group(groups, figures))
        charts.append(image_tables.group_chart(groups, recognizers))
    if any(m.tiers):
        tables.append(image_tables.by_tier(m))
    return Findings(
        task.title,
        figures,
        tables=tuple(tables),
        charts=tuple(charts),
        problems=(*mispaired, *task.problems, *recorder.problems(), *_unseen(recorder.rows), *_too_few(figures)),
        worst=worst.specimens(references),
        settings=_settings(m, task, recognizers),
        counted=counted(m, columns),
    )


def _settings(m: Measurements, task: _Task, recognizers: Sequence[Recognizer]) -> dict[str, str]:
    collections = Counter(groups[0] for groups in m.groups)
    return {
        "photos": f"{len(m):,} measured of {len(task.photos):,}: "
        + ", ".join(f"{count:,} {name}" for name, count in sorted(collections.items())),
        "people": f"{len(set(m.people)):,}",
        "groups": _groups(m),
        "recognisers": "; ".join(f"{each.name}{WHOSE.get(each.name, '')}" for each in recognizers),
        "false accept rate": f"{FAR:g}, {_strictness(m)}",
        **task.made_by,
    }


def _strictness(m: Measurements) -> str:
    """Return what thresholds are taken from."""
    pairs = pairs_behind(m)
    if pairs >= LEAST_PAIRS:
        return f"of {pairs:,} pairs of strangers among the originals"
    return f"by the usual thresholds of the recognisers, for {pairs:,} pairs of strangers are too few"


def _groups(m: Measurements) -> str:
    """Return who counts as a stranger of one's own group, with the size of each group."""
    sizes = Counter(group for groups in m.groups for group in groups[1:])
    told = ", ".join(f"{count:,} {name}" for name, count in sorted(sizes.items()))
    return told or "no labels: everybody is one group"


def _unseen(rows: Sequence[Row]) -> list[Problem]:
    names = tuple(row.name for row in rows if not row.hog)
    return [Problem(NO_FACE_TO_HOG, names)] if names else []


def _too_few(figures: dict[str, Figure]) -> list[Problem]:
    """Return the distances that so few photos cannot give; that Inception was not asked for is no problem."""
    wanting = ((name, figures[name]) for name in figures if name == "fid" or name.startswith("frechet."))
    return [Problem(f"{name} {figure.note}", ()) for name, figure in wanting if figure.count and np.isnan(figure.value)]
