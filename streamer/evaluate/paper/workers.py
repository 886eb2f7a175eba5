"""Runs many methods over many photos in processes of their own; numbers come back, and pictures if asked for."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import multiprocessing
import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import cv2
import numpy as np
import torch

from streamer.errors import AnonymizerError, StreamerError
from streamer.evaluate.images.baselines import (
    CROP,
    FIVE,
    REGIONS,
    Calibration,
    Doubles,
    Family,
    OutOfReachError,
    calibrate,
)
from streamer.evaluate.images.before_after import Judge, Original, anonymized, similarity_of
from streamer.evaluate.images.circumstances import circumstances
from streamer.evaluate.images.kept_rows import arrays_of_row, prefixed, row_of_arrays, without
from streamer.evaluate.images.measurements import NO_OUTPUT, Recorder, Row, originals_of
from streamer.evaluate.images.photos import PhotoFile
from streamer.evaluate.kept import Arrays, Kept
from streamer.evaluate.measures.inception_features import load_inception
from streamer.evaluate.measures.recognizers import load_recognizers
from streamer.evaluate.report.provenance import depends_on
from streamer.pipeline.anonymizer import Anonymizer
from streamer.render.align import SimilarityAligner, oval_polygon
from streamer.types import Image

WEAKEST, STRONGEST = 1.0, 128.0  # pixels of the 256 px crop: nothing is hidden, and nothing is left
TOLERANCE = 0.01  # of a mean: the paper's "around", and no finer than a sample's interval
SHOWN = 0.98  # of the oval: within what is drawn, which fades into the photo outside it
SSIM = "ssim"  # what is calibrated; anything else is the name of a recogniser


@dataclass(frozen=True, slots=True)
class Setup:
    """What each process loads.

    Attributes:
        model: Name or path of our weights.
        device: "auto", "cpu" or "cuda".
        key: Of our pseudonyms, so that all processes make the same strangers.
        recognizers: Specs of `load_recognizers`.
        inception: Weights for FID, or None.
        kept: Folder of what is done already, so that a study that was cut off goes on; None keeps nothing.
    """

    model: str
    device: str
    key: bytes = field(repr=False)
    recognizers: tuple[str, ...]
    inception: Path | None = None
    kept: Path | None = None


@dataclass(frozen=True, slots=True)
class Ours:
    """Our own pipeline at one beta, as a method that can be sent to another process."""

    beta: float


Baseline = Callable[[Original], Image]
Trial = Ours | Baseline


@dataclass(frozen=True, slots=True)
class Aim:
    """One calibration: where the mean of `figure` ("ssim", or a recogniser's similarity) takes the value `target`."""

    family: Family
    figure: str
    target: float


@dataclass(frozen=True, slots=True)
class Hit:
    """Where an aim is met: the strength, and the smallest of `REGIONS` in which there is one."""

    region: str
    calibration: Calibration


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the trials made of one photo.

    Attributes:
        rows: By trial; missing where there was nothing to judge.
        wrong: Names by what went wrong, and by trial: ("no output was made", "ours") -> photos.
    """

    rows: dict[str, Row]
    wrong: dict[tuple[str, str], list[str]]


@dataclass(frozen=True, slots=True)
class Drawn:
    """A drawn face alone: what lies around it is the photo's own, and nobody has agreed to its being shown.

    Attributes:
        crop: `(256, 256, 3)` uint8 RGB, white around the face.
        groups: Of the person whose face it was drawn over, and of the picture: sex, age, skin, light.
    """

    crop: Image = field(repr=False)
    groups: tuple[str, ...]


class Crew:
    """Processes that measure; made by `hired`."""

    def __init__(self, pool: ProcessPoolExecutor) -> None:
        self._pool = pool

    def outcomes(self, photos: Sequence[PhotoFile], trials: dict[str, Trial]) -> Iterator[Outcome]:
        """Yield what each trial makes of each photo, in order."""
        return self._pool.map(functools.partial(_outcome, trials=trials), photos)

    def hits(self, photos: Sequence[PhotoFile], aims: Sequence[Sequence[Aim]]) -> Iterator[list[Hit | str]]:
        """Yield for each list of aims where they are met, or a sentence on why one cannot be.

        A list is one process's work on one family, and shares what it measures.
        """
        return self._pool.map(functools.partial(_hits, tuple(photos)), aims)

    def drawn(self, photos: Sequence[PhotoFile], trial: Ours) -> Iterator[Drawn]:
        """Yield the drawn face of each photo that our pipeline drew one in."""
        return (face for face in self._pool.map(functools.partial(_drawn, trial), photos) if face is not None)

    def crops(self, photos: Sequence[PhotoFile], trials: dict[str, Trial]) -> Iterator[dict[str, Image]]:
        """Yield for each photo with a face the crops `(256, 256, 3)` of each trial's output: real faces may be seen."""
        return filter(None, self._pool.map(functools.partial(_crops, trials=trials), photos))


@contextmanager
def hired(setup: Setup, count: int) -> Iterator[Crew]:
    """Provide a crew of `count` processes, each of one thread.

    Raises:
        StreamerError: If a process ends before its work does.
    """
    context = multiprocessing.get_context("spawn")  # a fork would copy the threads' locks of torch and MediaPipe
    with _one_thread_each(), ProcessPoolExecutor(count, context, _start, (setup,)) as pool:
        try:
            yield Crew(pool)
        except BrokenProcessPool as error:
            raise StreamerError("a measuring process was ended; was memory short? Fewer processes need less") from error
        finally:
            pool.shutdown(cancel_futures=True)


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Have processes that start meanwhile use one thread: read by libraries when they are loaded."""
    before = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = "1"
    try:
        yield
    finally:
        os.environ.pop("OMP_NUM_THREADS")
        if before is not None:
            os.environ["OMP_NUM_THREADS"] = before


class _Bench:
    """What one process holds."""

    def __init__(self, setup: Setup) -> None:
        inception = load_inception(setup.inception) if setup.inception else None
        self.judge = Judge(load_recognizers(setup.recognizers), inception)
        self.aligner = SimilarityAligner(FIVE / CROP, CROP)
        self.kept = Kept(
            setup.kept, depends_on(setup.model, (setup.device, setup.key), setup.recognizers, setup.inception)
        )
        self._loaded = Anonymizer.load(setup.model, device=setup.device, key=setup.key)
        self._by_beta: dict[float, Anonymizer] = {0.0: self._loaded}

    def made(self, trial: Trial, original: Original) -> tuple[Image, str]:
        """Return an output and, of ours, how the face was covered."""
        if isinstance(trial, Ours):
            return anonymized(self._at(trial.beta), original)
        return trial(original), ""

    def _at(self, beta: float) -> Anonymizer:
        if beta not in self._by_beta:
            settings = replace(self._loaded.settings, beta=beta)
            self._by_beta[beta] = self._loaded.with_settings(settings)  # the weights are shared
        return self._by_beta[beta]


_bench: _Bench | None = None  # of this process; a pool has no other place for what is loaded once


def _start(setup: Setup) -> None:
    global _bench
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    _bench = _Bench(setup)


def _the_bench() -> _Bench:
    assert _bench is not None, "a pool's initializer has run"
    return _bench


def _outcome(photo: PhotoFile, trials: dict[str, Trial]) -> Outcome:
    named = " ".join(f"{name}: {_written(trial)}" for name, trial in trials.items())
    arrays = _the_bench().kept.once(f"outcome {photo.fingerprint()} {named}", lambda: _tried(photo, trials))
    wrong = {(str(what), str(trial)): [photo.name] for what, trial in arrays["wrong"]}
    rows = {name: without(arrays, f"{name}\n") for name in trials}
    return Outcome({name: row_of_arrays(each) for name, each in rows.items() if each}, wrong)


def _tried(photo: PhotoFile, trials: dict[str, Trial]) -> Arrays:
    """Return what the trials made of one photo: rows, and pairs of what went wrong with which trial."""
    bench = _the_bench()
    recorders = {name: Recorder(bench.judge) for name in trials}
    failed: dict[str, list[str]] = defaultdict(list)
    for original in originals_of([photo], bench.judge, failed):
        for name, trial in trials.items():
            try:
                output, tier = bench.made(trial, original)
            except AnonymizerError:
                recorders[name].wrong[NO_OUTPUT].append(photo.name)
                continue
            recorders[name].add(original, output, tier=tier)
    wrong = [(what, "") for what in failed]
    wrong += [(what, name) for name, each in recorders.items() for what in each.wrong]
    arrays = {"wrong": np.array(wrong, str).reshape(-1, 2)}
    for name, each in recorders.items():
        arrays |= prefixed(arrays_of_row(_light(each.rows[0])), f"{name}\n") if each.rows else {}
    return arrays


def _written(trial: Trial | Family) -> str:
    """Return a trial in words that are the same in every process."""
    if isinstance(trial, functools.partial):
        settings = {name: getattr(value, "__name__", value) for name, value in trial.keywords.items()}
        return f"{trial.func.__name__} {settings}"
    return repr(trial) if isinstance(trial, Ours) else getattr(trial, "__name__", repr(trial))


def _light(row: Row) -> Row:
    """Return a row without what no table shows: 20,000 photos of 20 methods would not fit."""
    judged = dataclasses.replace(row.judged, expression=None)
    nothing = np.zeros((2, 0, 3), np.float32)
    return dataclasses.replace(row, shape=nothing[0], places=nothing, weight=nothing[0, :, 0], judged=judged)


def _hits(photos: Sequence[PhotoFile], aims: Sequence[Aim]) -> list[Hit | str]:
    digest = hashlib.sha256(" ".join(photo.fingerprint() for photo in photos).encode()).hexdigest()
    known: dict[str, Doubles] = {}

    @functools.cache  # read when something is to be measured, not where all of it was kept
    def sample() -> list[Original]:
        return list(originals_of(photos, _the_bench().judge, defaultdict(list)))

    def figure(aim: Aim, region: str, strength: float) -> Doubles:
        name = f"{aim.figure} of {_written(aim.family)} {region} {strength!r} on {digest}"
        if name not in known:
            known[name] = _the_bench().kept.once(name, lambda: _values(sample(), aim, region, strength))["values"]
        return known[name]

    return [_hit(aim, figure) for aim in aims]


def _values(sample: Sequence[Original], aim: Aim, region: str, strength: float) -> Arrays:
    outputs = [aim.family(one, strength, region=REGIONS[region]) for one in sample]
    return {"values": _figure(outputs, sample, aim)}


def _hit(aim: Aim, figure: Callable[[Aim, str, float], Doubles]) -> Hit | str:
    missed = "no region to hide"
    for region in REGIONS:
        here = functools.partial(figure, aim, region)
        try:
            return Hit(region, calibrate(here, aim.target, weakest=WEAKEST, strongest=STRONGEST, tolerance=TOLERANCE))
        except OutOfReachError as error:
            missed = f"{region}: {error}"
    return missed


def _figure(outputs: Sequence[Image], sample: Sequence[Original], aim: Aim) -> Doubles:
    """Return SSIM or similarity of each output of the sample, `(N,)`, aligned by the source's landmarks."""
    bench = _the_bench()
    pairs = list(zip(sample, outputs, strict=True))
    if aim.figure == SSIM:
        return np.array([similarity_of(one.crop, bench.aligner.crop(output, one.face)) for one, output in pairs])
    recognizer = next(each for each in bench.judge.recognizers if each.name == aim.figure)
    before = np.stack([original.embeddings[aim.figure] for original in sample])
    after = np.stack([recognizer(output, original.face) for original, output in pairs])
    return np.asarray(recognizer.similarity(before, after, originals=before))


def _drawn(trial: Ours, photo: PhotoFile) -> Drawn | None:
    bench = _the_bench()
    for original in originals_of([photo], bench.judge, defaultdict(list)):
        output, tier = bench.made(trial, original)
        if tier == "generated":
            mask = np.zeros(output.shape[:2], np.uint8)
            assert original.face.mesh is not None, "what is drawn has a mesh"
            cv2.fillPoly(mask, [np.round(oval_polygon(original.face.mesh, SHOWN)).astype(np.int32)], 1)
            shown = np.where(mask[..., None] > 0, output, 255).astype(np.uint8)
            return Drawn(bench.aligner.crop(shown, original.face), (*photo.groups[1:], *circumstances(original)))
    return None


def _crops(photo: PhotoFile, trials: dict[str, Trial]) -> dict[str, Image]:
    bench = _the_bench()
    return {
        name: bench.aligner.crop(bench.made(trial, original)[0], original.face)
        for original in originals_of([photo], bench.judge, defaultdict(list))
        for name, trial in trials.items()
    }
