"""Scores a video of replaced faces against its original: leaks, matches, steadiness. `veil evaluate video` ends here.

The output is whatever some tool wrote, or what our own pipeline makes of the original. Faces are where annotations say,
or where several detectors see them.
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure as Canvas

from streamer.errors import SourceError
from streamer.evaluate.figures import Cell, Chart, Figure, Findings, HashedFile, Problem, Table, rate_figure
from streamer.evaluate.measures.coverage import UNCOVERED, detail_kept
from streamer.evaluate.measures.recognizers import Recognizer
from streamer.evaluate.report.charts import DPI, PALETTE, QUOTED, STYLE
from streamer.evaluate.video.detector_ensemble import DetectorEnsemble, find_truth
from streamer.evaluate.video.elsewhere import Elsewhere, elsewhere, elsewhere_figures
from streamer.evaluate.video.frame_pairs import FramePair, OutputPairs, OwnPairs
from streamer.evaluate.video.leaks import FaceFrame, leak_figures, leak_list, leak_table
from streamer.evaluate.video.steadiness import Reading, SteadinessMeter, steadiness_figures
from streamer.evaluate.video.truth import TrueFace, Truth, read_truth, sha256_of
from streamer.faces.detect import FaceDetector
from streamer.pipeline.anonymizer import Anonymizer

# `Recognizer.score` that one in a thousand pairs of strangers is above: 148,785 pairs of 546 people of LFW.
FAR_THRESHOLDS: Mapping[str, float] = {"dlib": -0.547, "identity": 0.444, "mobilefacenet": 0.329}


@dataclass
class Watched:
    """What was seen of one clip, without a pixel.

    Attributes:
        frames: How many the original has.
        missing: Indices of those the output lacks.
        faces: Every annotated face of the others.
        elsewhere: What was changed beside them, by annotated frame.
        readings: See `streamer.evaluate.video.steadiness`.
    """

    frames: int = 0
    missing: list[int] = field(default_factory=list)
    faces: list[FaceFrame] = field(default_factory=list)
    elsewhere: list[Elsewhere] = field(default_factory=list)
    readings: list[Reading] = field(default_factory=list)


def evaluate_video(
    original: Path,
    *,
    output: Path | None = None,
    anonymizer: Anonymizer | None = None,
    annotations: Path | None = None,
    yunet: Path | None = None,
    every: int = 1,
    recognizers: Sequence[Recognizer] = (),
    thresholds: Mapping[str, float] = FAR_THRESHOLDS,
) -> Findings:
    """Return what an output shows of the faces of `original`, and how steady it is.

    Args:
        original: A video with real faces.
        output: What some tool made of it; or
        anonymizer: what is to make it now, without a codec. One of the two.
        annotations: Where the faces are (`streamer.evaluate.video.truth`); None asks three detectors.
        yunet: One of them, as ONNX; without annotations only.
        every: Look at every n-th frame only; without annotations.
        recognizers: For `match_rate` and `temporal_identity`.
        thresholds: By recogniser: a pair that scores above it is the same person.

    Raises:
        ValueError: Unless one of `output` and `anonymizer` is given.
        SourceError: If a file cannot be read, or the annotations are of another clip.
        AnonymizerError: If detection fails, or the anonymizer.
    """
    truth = _checked_truth(annotations, original) if annotations else _found_truth(original, yunet, every)
    if output is not None and anonymizer is None:
        pairs: OutputPairs | OwnPairs = OutputPairs(original, output)
    elif anonymizer is not None and output is None:
        pairs = OwnPairs(original, anonymizer)
    else:
        raise ValueError("evaluate_video needs either an output or an anonymizer")
    watched = watch(pairs, truth, recognizers)
    problems = (*pairs.problems, *_problems(watched))
    settings = {
        "original": original.name,
        "output": output.name if output else "made by veil, before any codec",
        "faces": annotations.name if annotations else f"ensemble of detectors, every {every} frames",
        "annotated frames": str(len(truth.frames)),
    }
    findings = findings_of(watched, settings, problems=problems, thresholds=thresholds)
    hashes = HashedFile(original.name, sha256_of(original), sha256_of(output) if output else "")
    return replace(findings, files=(hashes,))


def watch(pairs: OutputPairs | OwnPairs, truth: Truth, recognizers: Sequence[Recognizer]) -> Watched:
    """Return what is seen of every frame, in one pass.

    Raises:
        SourceError, AnonymizerError: Whatever ended it.
    """
    watched, meter = Watched(), SteadinessMeter(recognizers)
    with FaceDetector() as detector:
        for pair in pairs:
            watched.frames += 1
            if pair.after is None:
                watched.missing.append(pair.before.index)
                continue
            watched.faces += [_face_frame(pair, face) for face in truth.frames.get(pair.before.index, ())]
            if pair.before.index in truth.frames:
                known = truth.frames[pair.before.index]
                watched.elsewhere.append(elsewhere(pair.before.image, pair.after, known))
            found = detector(pair.before.image)
            watched.readings += meter.add(pair.before, pair.after, found, detector(pair.after) if found else [])
    return watched


def findings_of(
    watched: Watched, settings: dict[str, str], *, problems: tuple[Problem, ...], thresholds: Mapping[str, float]
) -> Findings:
    """Return figures, tables and the timeline of what was watched.

    Figures: `frames`, `frames_missing`, `leak_rate` and its bins (`streamer.evaluate.video.leaks`), those of
    `elsewhere_figures`, those of `match_rates`, and those of `steadiness_figures`.
    """
    figures = {"frames": _count(watched.frames), "frames_missing": _count(len(watched.missing))}
    figures |= leak_figures(watched.faces) | elsewhere_figures(watched.elsewhere)
    figures |= match_rates(watched.readings, thresholds)
    figures |= steadiness_figures(watched.readings)
    tables = (leak_table(watched.faces), leak_list(watched.faces), steadiness_table(figures))
    chart = Chart(
        "Uncovered faces over time", timeline(watched.faces),
        f"The share of fine detail that each annotated face kept; above {UNCOVERED} it shows.",
    )  # fmt: skip
    return Findings(f"Video: {settings['original']}", figures, tables, (chart,), problems, settings=settings)


def match_rates(readings: Sequence[Reading], thresholds: Mapping[str, float]) -> dict[str, Figure]:
    """Return for each recogniser the share of face-frames in which it takes source and output for one person.

    Of faces of 40 pixels or more that our detector is sure of in the source; intervals take frames for independent.
    Whether others are covered is counted by `leak_rate`. `match_rate_no_mesh` is of those that no mesh fits, profiles
    and false alarms, which are only ever covered: there recognisers take anything for anything.
    """
    rates = {}
    matches = [reading for reading in readings if reading.kind == "match"]
    for name, has_mesh in sorted({(r.recognizer, r.has_mesh) for r in matches}):
        scores = np.array([r.value for r in matches if (r.recognizer, r.has_mesh) == (name, has_mesh)])
        known = name in thresholds
        rates[f"match_rate{'' if has_mesh else '_no_mesh'}.{name}"] = (
            rate_figure((scores > thresholds[name]).astype(float)) if known else Figure(math.nan, note="no threshold")
        )
    return rates


def steadiness_table(figures: Mapping[str, Figure]) -> Table:
    """Return the figures of `steadiness_figures` as a table: output, source, ratio."""
    rows: list[tuple[Cell, ...]] = [
        (name, figures[name], figures[f"{name}_source"], figures[f"{name}_ratio"])
        for name in figures
        if f"{name}_ratio" in figures
    ]
    for name in (name.partition(".")[2] for name in figures if name.startswith("temporal_identity.")):
        both = figures[f"temporal_identity.{name}"], figures[f"temporal_identity_source.{name}"]
        rows.append((f"likeness of neighbouring frames, {name}", *both, None))
    note = "Flicker in grey levels, jitter in eye distances, seam in grey levels per pixel, seconds of tracks alike."
    return Table("Steadiness", ("what", "output", "source", "output / source"), tuple(rows), note)


def timeline(faces: Sequence[FaceFrame]) -> bytes:
    """Return a PNG of how much detail each annotated face kept over time; doubtful faces are small and grey."""
    kinds = (False, QUOTED, 2, "doubtful faces"), (True, PALETTE[0], 3, "faces")
    with mpl.rc_context(STYLE):
        canvas = Canvas(figsize=(7.2, 2.6), dpi=DPI, layout="constrained")
        FigureCanvasAgg(canvas)
        axes = canvas.add_subplot(xlabel="seconds", ylabel="detail kept", ylim=(-0.2, 1.05))
        for checked, colour, size, label in kinds:
            some = [face for face in faces if face.checked is checked and not math.isnan(face.kept)]
            x, y = [face.seconds for face in some], [face.kept for face in some]
            axes.plot(x, y, ".", markersize=size, color=colour, label=label)
        axes.axhline(UNCOVERED, color=PALETTE[1], linewidth=1, label="uncovered above")
        canvas.legend(loc="outside upper center", ncols=3)
        png = io.BytesIO()
        canvas.savefig(png, format="png")
    return png.getvalue()


def _checked_truth(annotations: Path, original: Path) -> Truth:
    truth = read_truth(annotations)
    if truth.sha256 != sha256_of(original):
        raise SourceError(f"annotations {annotations} are of another file: not the SHA-256 of {original.name}")
    return truth


def _found_truth(original: Path, yunet: Path | None, every: int) -> Truth:
    with DetectorEnsemble(yunet) as ensemble:
        return find_truth(original, ensemble, every=every)


def _face_frame(pair: FramePair, face: TrueFace) -> FaceFrame:
    assert pair.after is not None
    kept = detail_kept(pair.before.image, pair.after, face.box)
    return FaceFrame(pair.before.index, pair.before.seconds, face.box, face.size, face.yaw, face.checked, kept)


def _problems(watched: Watched) -> tuple[Problem, ...]:
    dark = tuple(f"frame {face.frame}" for face in watched.faces if math.isnan(face.kept))
    return (Problem("a face without detail: whether it is covered cannot be told", dark),) if dark else ()


def _count(value: int) -> Figure:
    return Figure(float(value), count=value)
