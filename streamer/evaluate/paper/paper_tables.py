"""The paper's Tables 1 to 6 with our figures beside the paper's, and one table more: what an attacker gets."""

from __future__ import annotations

from collections.abc import Sequence

from streamer.evaluate.figures import Cell, Figure, Table
from streamer.evaluate.paper import published
from streamer.evaluate.paper.study import (
    BLUR,
    MOSAIC,
    OUR_SSIM,
    OURS,
    PAPER_SSIM,
    SOLID,
    STRONGEST,
    Point,
    Study,
    similarity_point,
)

COMPARED = (BLUR, MOSAIC, OURS)  # the paper's order
EQUAL_SSIM: tuple[Point, ...] = (
    (BLUR, PAPER_SSIM),
    (MOSAIC, PAPER_SSIM),
    (OURS, STRONGEST),
    (BLUR, OUR_SSIM),
    (MOSAIC, OUR_SSIM),
)
FFHQ, CELEBA = "(paper, FFHQ)", "(paper, CelebA)"
MSE_NOTE = "Our MSE is of pixels in [0, 1]. The paper does not say; of [-1, 1] ours would be four times as large."


def paper_tables(study: Study) -> tuple[Table, ...]:
    """Return Tables 1 to 6, and 7, which is ours."""
    quality = [_quality_table(study, number, target) for number, target in enumerate(published.SIMILARITIES, start=1)]
    return (*quality, _similarity_table(study), _detection_table(study), _learned_table(study), _attacker_table(study))


def _quality_table(study: Study, number: int, target: float) -> Table:
    at, recognizer = similarity_point(target), study.recognizers[0]
    names = [f"similarity.{recognizer}", *_quality(study)]
    rows = _rows(study, [(method, at) for method in COMPARED], names)
    for method, (mse, ssim, fid) in published.QUALITY[target].items():
        known = {"mse": mse, "ssim": ssim, "fid": fid} | {names[0]: target}
        rows.append((f"{method} {FFHQ}", *(_quoted(known.get(name)) for name in names)))
    title = f"Table {number}. Picture where the identity similarity is about {target:g}"
    return Table(title, ("Method", *map(_heading, names)), tuple(rows), _equal_note(study, at))


def _similarity_table(study: Study) -> Table:
    names = ["ssim", *(f"similarity.{recognizer}" for recognizer in study.recognizers)]
    rows = _rows(study, EQUAL_SSIM, names)
    for method, (mean, deviation) in published.SIMILARITY_AT_SSIM.items():
        rest = [None] * (len(study.recognizers) - 1)
        rows.append((f"{method} {FFHQ}", _quoted(published.SSIM), f"{mean} (deviation {deviation})", *rest))
    title = f"Table 4. Identity similarity at the same SSIM ({published.SSIM})"
    return Table(title, ("Method", *map(_heading, names)), tuple(rows), _ssim_note(study))


def _detection_table(study: Study) -> Table:
    names = ["ssim", "hog", "found"]
    rows = _rows(study, EQUAL_SSIM, names)
    for method, rate in published.DETECTION_AT_SSIM.items():
        rows.append((f"{method} {FFHQ}", _quoted(published.SSIM), _quoted(rate), None))
    title = f"Table 5. Detection rate at the same SSIM ({published.SSIM})"
    note = "HOG counts faces that dlib found in the original. " + _ssim_note(study)
    return Table(title, ("Method", *map(_heading, names)), tuple(rows), note)


def _learned_table(study: Study) -> Table:
    names = [f"similarity.{study.recognizers[0]}", *_quality(study), "hog"]
    points = [(OURS, similarity_point(target)) for target in published.SIMILARITIES[1::-1]]
    rows = _rows(study, points, names)
    for method, (mse, ssim, fid, hog) in published.LEARNED.items():
        known = {"mse": mse, "ssim": ssim, "fid": fid, "hog": hog}
        rows.append((f"{method} {CELEBA}", *(_quoted(known.get(name)) for name in names)))
    note = f"`veil evaluate images` gives outputs of DeepPrivacy, CIAGAN or any other tool the same figures. {MSE_NOTE}"
    return Table("Table 6. Beside learned methods", ("Method", *map(_heading, names)), tuple(rows), note)


def _attacker_table(study: Study) -> Table:
    first = study.recognizers[0]
    names = [f"{name}.{first}" for name in ("similarity", "match_rate", "match_rate_own_group", "rank1")]
    names += [*(f"match_rate.{other}" for other in study.recognizers[1:]), "hog", "landmarks", "expression"]
    middle = similarity_point(published.SIMILARITIES[1])
    points = [(OURS, STRONGEST), (OURS, middle), (BLUR, middle), (MOSAIC, middle), (BLUR, OUR_SSIM), (MOSAIC, OUR_SSIM)]
    rows = _rows(study, [*points, (SOLID, STRONGEST)], names)
    note = (
        "Not in the paper. A match is a score above that of which one pair of strangers in a thousand has more; rank-1 "
        f"searches the {len(study.measured)} originals themselves. Solid is what all around the face gives away."
    )
    title = "Table 7. What an attacker gets, and what is left of use"
    return Table(title, ("Method", *map(_heading, names)), tuple(rows), note)


def _rows(study: Study, points: Sequence[Point], names: Sequence[str]) -> list[tuple[Cell, ...]]:
    return [(_label(study, point), *(study.figure(point, name) for name in names)) for point in points]


def _label(study: Study, point: Point) -> str:
    method, place = point[0], study.places[point]
    return f"{method} ({place.setting})" if place.setting else method


def _quality(study: Study) -> list[str]:
    return ["mse", "ssim", "fid", *(f"{name}.{study.measured.feature}" for name in ("frechet", "kernel"))]


def _quoted(value: float | None) -> Figure | None:
    return None if value is None else Figure(value)


HEADINGS = {
    "similarity": "Similarity ↓",
    "match_rate": "Matched ↓",
    "match_rate_own_group": "Matched, own group ↓",
    "rank1": "Rank-1 ↓",
    "mse": "MSE ↓",
    "ssim": "SSIM ↑",
    "fid": "FID ↓",
    "frechet": "Frechet ↓",
    "kernel": "Kernel ↓",
    "hog": "HOG finds ↑",
    "found": "MediaPipe finds ↑",
    "landmarks": "Landmarks moved ↓",
    "expression": "Expression moved ↓",
}


def _heading(name: str) -> str:
    figure, _, recognizer = name.partition(".")
    return HEADINGS[figure] + (f" ({recognizer})" if recognizer else "")


def _equal_note(study: Study, at: str) -> str:
    end = {"beta 0": "strongest", "beta 1": "weakest"}.get(study.places[OURS, at].setting)
    beyond = [f"Ours is at its {end} here, and blur and mosaic are as strong as it is."] if end else []
    return " ".join(["Strengths are pixels of the 256 px crop.", *beyond, *_lost(study, [at]), MSE_NOTE])


def _ssim_note(study: Study) -> str:
    text = (
        f"Blur and mosaic hide as much of the crop as it takes: first for an SSIM of {published.SSIM} as in the paper, "
        "then, after ours, for our SSIM. Intervals are of the mean over faces; the paper's deviations are of faces."
    )
    return " ".join([text, *_lost(study, [PAPER_SSIM, OUR_SSIM])])


def _lost(study: Study, points: Sequence[str]) -> list[str]:
    places = [(method, at, study.places[method, at].missing) for method in (BLUR, MOSAIC) for at in points]
    return [f"{method} at {at}: {missing}." for method, at, missing in places if missing]
