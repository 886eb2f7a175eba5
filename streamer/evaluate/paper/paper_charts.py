"""The paper's Figures 3 to 9 with the authors' published curve beside ours, and two more: the trade-off, and scores."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from streamer.evaluate.figures import Chart, Figure, number
from streamer.evaluate.images.identity_figures import reference_of, sample_of
from streamer.evaluate.measures.recognizers import Recognizer
from streamer.evaluate.paper import published
from streamer.evaluate.paper.study import BLUR, MOSAIC, OUR_SSIM, OURS, SOLID, STRONGEST, Study, similarity_point
from streamer.evaluate.report.charts import Point, Series, Unit, bars, curves, histograms, trade_off

AUTHORS = "Private-Encoder, authors' notebooks (FFHQ, CurricularFace, one network a beta)"
PRIVATE, KEPT = "identity similarity by {} (lower is more private)", "SSIM (higher keeps more)"
PAIRS = 100_000  # of strangers, in a histogram


def paper_charts(study: Study, recognizer: Recognizer) -> tuple[Chart, ...]:
    """Return Figures 3 to 5 and 7, the trade-off between privacy and use, and the scores of the first recogniser.

    Figures 6, 8 and 9 of the paper are galleries of faces.
    """
    return (*_quality(study), *_privacy(study), _detection(study), _detection_bars(study), *_trade_offs(study),
            _scores(study, recognizer))  # fmt: skip


def _quality(study: Study) -> Iterator[Chart]:
    kernel = f"kernel.{study.measured.feature}"
    labels = {
        "mse": "MSE of [0, 1] (lower keeps more)",
        "ssim": KEPT,
        kernel: f"kernel distance of {study.measured.feature}'s features,\ntimes 1,000 (lower is more natural)",
    }
    for letter, (name, label) in zip("abc", labels.items(), strict=True):
        yield _curve(f"Figure 3{letter}. Picture over beta: {HEADLINES[name.partition('.')[0]]}", study, [name], label)


HEADLINES = {"mse": "MSE", "ssim": "SSIM", "kernel": "kernel distance, in place of FID"}


def _privacy(study: Study) -> Iterator[Chart]:
    similarities = [f"similarity.{name}" for name in study.recognizers]
    label = "identity similarity (lower is more private)"
    yield _curve("Figure 4a. Identity similarity over beta", study, similarities, label, quoted=_authors(0))
    rates = [f"de_identify_rate.{name}" for name in study.recognizers]
    label, title = "De-Identify Rate (higher is more private)", "De-Identify Rate over beta; strangers score about 50 %"
    yield _curve(f"Figure 4b. {title}", study, rates, label, quoted=_authors(1), unit="share")


def _detection(study: Study) -> Chart:
    label = "faces found (higher is better)"
    return _curve("Figure 5. Detection rate over beta", study, ["hog", "found"], label, unit="share")


def _detection_bars(study: Study) -> Chart:
    points = [similarity_point(target) for target in published.SIMILARITIES]
    values = {method: [study.figure((method, at), "hog") for at in points] for method in (OURS, BLUR, MOSAIC)}
    text = "; ".join(f"{method}: " + ", ".join(number(f.value) for f in row) for method, row in values.items())
    png = bars(points, values, y_label="faces found by HOG (higher is better)", unit="share")
    return Chart("Figure 7. Detection rate at equal identity similarity", png, f"At {', '.join(points)}: {text}.")


def _trade_offs(study: Study) -> Iterator[Chart]:
    first = f"similarity.{study.recognizers[0]}"
    for name, label in (("ssim", KEPT), ("hog", "faces found by HOG (higher is better)")):
        points = [Point(OURS, _told(beta), each[first], each[name]) for beta, each in study.curve.items()]
        for method in (BLUR, MOSAIC):
            points += sorted(_points(study, method, [first, name]), key=lambda point: point.x.value)
        points += [Point(SOLID, "", *(study.figure((SOLID, STRONGEST), each) for each in (first, name)))]
        png = trade_off(points, x_label=PRIVATE.format(study.recognizers[0]), y_label=label)
        text = f"Each method's {label} against its {PRIVATE.format(study.recognizers[0])}: up and left is better."
        yield Chart(f"Trade-off: privacy and {'likeness' if name == 'ssim' else 'use'}", png, text)


def _told(beta: float) -> str:
    """Return the label of a beta: of eleven, three are enough to read the others from."""
    return f"beta {beta:g}" if beta in (0, 0.5, 1) else ""


def _points(study: Study, method: str, names: Sequence[str]) -> Iterator[Point]:
    for at in [*map(similarity_point, published.SIMILARITIES), OUR_SSIM]:
        place = study.places[method, at]
        if place.trial is not None:
            x, y = (study.figure((method, at), name) for name in names)
            yield Point(method, f"{place.strength:.0f} px", x, y)


def _scores(study: Study, recognizer: Recognizer) -> Chart:
    m = study.measured
    rows = sample_of(m)
    people, embeddings = np.array(m.people)[rows], m.before[recognizer.name][rows]
    scores = recognizer.scores(embeddings, embeddings)
    same = people[:, None] == people
    upper = np.triu(np.ones_like(same), 1)
    spread = {
        "ours, beta 0, and its original": recognizer.score(m.before[recognizer.name], m.after[recognizer.name]),
        "two photos of one person": scores[same & upper],
        "strangers": scores[~same & upper][:PAIRS],
    }
    known = {name: values for name, values in spread.items() if len(values)}
    limit = reference_of(m, recognizer).threshold
    png = histograms(known, thresholds={"one stranger in 1,000": limit}, x_label=f"score by {recognizer.name}")
    means = ", ".join(f"{name} {values.mean():.2f}" for name, values in known.items())
    return Chart(f"Scores by {recognizer.name}", png, f"Mean scores: {means}; threshold {limit:.3f}.")


def _curve(
    title: str, study: Study, names: Sequence[str], label: str, *, quoted: Sequence[Series] = (), unit: Unit = "number"
) -> Chart:
    measured = [
        Series(_name(name), tuple(study.curve), tuple(figures[name] for figures in study.curve.values()))
        for name in names
    ]
    png = curves([*measured, *quoted], x_label="beta (0 is most private)", y_label=label, unit=unit)
    return Chart(title, png, " ".join(_words(series) for series in (*measured, *quoted)))


def _name(figure: str) -> str:
    name, _, recognizer = figure.partition(".")
    by = {"hog": "HOG", "found": "MediaPipe"}.get(name, recognizer)
    return f"ours, by {by}" if by else "ours"


def _words(series: Series) -> str:
    values = ", ".join(f"{x:g}: {number(f.value)}" for x, f in zip(series.x, series.figures, strict=True))
    return f"{series.name}: {values}."


def _authors(column: int) -> list[Series]:
    figures = tuple(Figure(values[column]) for values in published.CURVE.values())
    return [Series(AUTHORS, tuple(published.CURVE), figures, "quoted")]
