"""Break everything that can break while a clip is played live, and count the faces that can still be recognised.

python benchmarks/faults.py CLIP [--seconds 300] [--recognizer mobilefacenet.pt] [--policy strict]

One detection in five is dropped, one call in a hundred of every stage raises, the network returns what is no number,
memory runs out once, and for a tenth of the time drawing takes five times as long. A face counts as recognised when a
recogniser takes what is shown at its place for the person who was there, at a false accept rate of 1e-3.
"""

from __future__ import annotations

import argparse
import random
import resource
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch

from models.face_model import prepare
from models.identity.recognizer import (
    IDENTITY_CROP_SIZE,
    IDENTITY_LANDMARKS,
    SAME_PERSON,
    FaceRecognizer,
    load_mobilefacenet,
)
from models.pretrained.imported import load_recognizer
from streamer.cores import share_cores
from streamer.faces.detect import CERTAIN, FaceDetector, Scanned
from streamer.faces.looks import Scan
from streamer.pipeline.anonymizer import Anonymizer
from streamer.pipeline.runner import protect
from streamer.pipeline.stream import FaceAnonymizer
from streamer.render.align import SimilarityAligner, profile_ratio
from streamer.settings import LIVE_DELAY
from streamer.sinks.file_sink import open_sink
from streamer.sources.file_source import open_source
from streamer.sources.pacing import Paced
from streamer.types import Face, Floats, Frame, Image, KnownPerson, Policy, SafeFrame, Source

MOBILEFACENET_SAME = 0.336  # cosine at a false accept rate of 1e-3 over pairs of strangers (868 photos of LFW)
DROPPED, RAISED, NOT_A_NUMBER = 0.2, 0.01, 0.01  # shares of detections and of calls
SLOW_SHARE, SLOW_FACTOR = 0.1, 5.0
MIN_SIZE = 40.0  # pixels; nobody is recognised by less
FRONTAL = 0.86  # of the oval's width, where the nose tip may lie: recognisers say little about a profile
APART = 5  # frames, at least, between a face and the portraits it is compared with


class InjectedError(Exception):
    """What a broken stage raises here."""


@dataclass
class Faults:
    """Breaks the stages of a stream at random, `rate` times as often as said above; counts how often."""

    seed: int
    rate: float = 1.0
    counts: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._random, self._calls = random.Random(self.seed), Counter[str]()

    def install(self, stream: FaceAnonymizer) -> None:
        """Break the stages of `stream` from now on."""
        stream.detector = Blinking(stream.detector, self)  # type: ignore[assignment]
        stream.renderer._conceal = self._raising("conceal", stream.renderer._conceal)  # type: ignore[method-assign]
        drawer, guard = stream.renderer.drawer, stream.renderer.guard
        assert drawer is not None
        assert guard is not None
        drawer.draw = self._raising("draw", self._slowing(drawer.draw))  # type: ignore[method-assign]
        model = drawer._model
        for drawn_by in ["reshape"] if model.kind == "textures" else ["_generate", "carried"]:  # no network for pixels
            setattr(model, drawn_by, self._spoiling(getattr(model, drawn_by)))
        guard.check = self._raising("guard", guard.check)  # type: ignore[method-assign]
        update = stream.tracker.update
        stream.tracker.update = self._raising("track", update)  # type: ignore[method-assign]

    def _raising(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def broken(*args: Any, **named: Any) -> Any:  # noqa: ANN401 - whatever it wraps
            if self.happens(RAISED, f"{name} raised"):
                raise InjectedError
            return call(*args, **named)

        return broken

    def _spoiling(self, generate: Callable[..., torch.Tensor | None]) -> Callable[..., torch.Tensor | None]:
        def broken(*given: torch.Tensor) -> torch.Tensor | None:
            if not self.counts["out of memory"] and self.happens(0.02, "out of memory"):
                raise torch.OutOfMemoryError
            made = generate(*given)
            return made * float("nan") if made is not None and self.happens(NOT_A_NUMBER, "no number") else made

        return broken

    def _slowing(self, draw: Callable[..., int]) -> Callable[..., int]:
        def slow(*args: Any, **named: Any) -> int:  # noqa: ANN401 - whatever it wraps
            start = time.perf_counter()
            made = draw(*args, **named)
            if time.monotonic() % 10 < 10 * SLOW_SHARE:
                self.counts["slow"] += 1
                time.sleep((SLOW_FACTOR - 1) * (time.perf_counter() - start))
            return made

        return slow

    def happens(self, share: float, name: str) -> bool:
        """Return True for a `share` of the calls, and count it; what is rare comes at even distances, for sure."""
        self._calls[name] += 1
        if share >= DROPPED:
            happens = self._random.random() < share
        else:
            happens = int(self._calls[name] * share * self.rate) > int((self._calls[name] - 1) * share * self.rate)
        self.counts[name] += happens
        return happens


@dataclass
class Blinking:
    """A detector that misses faces."""

    detector: FaceDetector
    faults: Faults

    def __call__(self, image: Image, some: Sequence[Scan] | None = None, scanned: Scanned | None = None) -> list[Face]:
        """Return what was found and not missed, or fail."""
        if self.faults.happens(RAISED, "detect raised"):
            raise InjectedError
        found = self.detector(image, some, scanned)
        return [face for face in found if not self.faults.happens(DROPPED, "detection dropped")]

    def scan(self, image: Image) -> Scanned:
        """Return what was seen, or fail."""
        if self.faults.happens(RAISED, "scan raised"):
            raise InjectedError
        return self.detector.scan(image)

    def meshes(self, image: Image, crops: Sequence[Floats]) -> list[Floats | None]:
        """Return what was fitted and not missed, or fail."""
        if self.faults.happens(RAISED, "detect raised"):
            raise InjectedError
        found = self.detector.meshes(image, crops)
        return [None if self.faults.happens(DROPPED, "detection dropped") else mesh for mesh in found]

    def close(self) -> None:
        """Release the detector."""
        self.detector.close()


class Looped:
    """A clip again and again, for `seconds`, as one source; notes when each frame was handed out."""

    def __init__(self, clip: Path, seconds: float) -> None:
        self.clip, self._seconds = clip, seconds
        with open_source(str(clip)) as source:
            self.info = replace(source.info, frame_count=None)
        self.step = round(1 / (self.info.time_base * (self.info.rate or Fraction(30))))  # ticks from frame to frame
        self.handed_out: dict[int, float] = {}

    def __enter__(self) -> Looped:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def __iter__(self) -> Iterator[Frame]:
        for index, frame in enumerate(self.frames()):
            if index * self.step * frame.time_base >= self._seconds:
                return
            self.handed_out[index] = time.monotonic()
            yield replace(frame, index=index, pts=index * self.step)

    def frames(self) -> Iterator[Frame]:
        """Yield the frames of the clip, endlessly."""
        while True:
            with open_source(str(self.clip)) as source:
                yield from source


@dataclass
class Played:
    """What a broken stream put out.

    Attributes:
        frames, dropped: Frames written, and those for which there was no time.
        latencies: Seconds from the source to the sink, a frame each; the look-ahead is in it.
        tiers: Face-frames by tier; "frame" counts frames that were covered whole.
    """

    frames: int = 0
    dropped: int = 0
    latencies: list[float] = field(default_factory=list)
    tiers: Counter[str] = field(default_factory=Counter)

    def add(self, frame: SafeFrame, latency: float) -> None:
        """Count one frame."""
        self.frames += 1
        self.latencies.append(latency)
        self.tiers.update(face.tier for face in frame.faces)
        self.tiers["frame"] += bool(frame.failed)


def play(
    looped: Looped, out: Path, faults: Faults, *, pace: Callable[[Looped], Source], policy: Policy = "balanced"
) -> Played:
    """Play a clip through a stream that `faults` breaks, at its own `pace` or as it is, and write what comes out."""

    class Broken(Anonymizer):
        def begin_stream(
            self, name: str | None = None, *, frame_seconds: float | None = None, known: Sequence[KnownPerson] = ()
        ) -> FaceAnonymizer:
            stream = super().begin_stream(name, frame_seconds=frame_seconds, known=known)
            faults.install(stream)
            return stream

    played = Played()
    anonymizer = Broken.load(key=bytes(32), device="cpu", delay_seconds=LIVE_DELAY, policy=policy)
    with open_sink(str(out), looped.info, crf=12, overwrite=True) as sink:
        for frame in protect(pace(looped), anonymizer):
            played.add(frame, time.monotonic() - looped.handed_out.pop(frame.index))
            sink.write(frame)
    played.dropped = len(looped.handed_out)
    return played


@dataclass(frozen=True)
class Sitting:
    """One face of one frame of the clip, with the mean `(D,)` of what a recogniser made of it at other moments."""

    face: Face
    person: Floats


class Witness:
    """Recognises people in what came out, by how they look elsewhere in the clip.

    Not by the face of the same frame: what a recogniser makes of a blurred or turned face is like what it makes of
    any cover, whoever it is. A face in which it does not know the person in the clip itself is not counted.
    """

    def __init__(self, recognizer: FaceRecognizer, threshold: float) -> None:
        self._recognizer, self._threshold = recognizer, threshold
        points = np.array(IDENTITY_LANDMARKS, np.float32) / IDENTITY_CROP_SIZE
        self._aligner = SimilarityAligner(points, IDENTITY_CROP_SIZE)

    def judge(self, source: Looped, out: Path) -> tuple[int, list[tuple[int, float]]]:
        """Return how many faces were compared, and the frame and likeness of each that was recognised."""
        people = self.people(source.clip)
        compared, recognised = 0, []
        with open_source(str(out)) as output:
            for frame in output:
                index = round(frame.pts * frame.time_base / (source.step * source.info.time_base))
                for sitting in people[index % len(people)]:
                    likeness = float(sitting.person @ self.embed(frame.image, sitting.face))
                    compared += 1
                    if likeness > self._threshold:
                        recognised.append((index, likeness))
        return compared, recognised

    def people(self, clip: Path) -> list[list[Sitting]]:
        """Return for each frame of a clip the faces that can be recognised in it."""
        rows: list[tuple[int, Face, Floats]] = []
        with FaceDetector() as detector, open_source(str(clip)) as frames:
            for frame in frames:
                clear = [f for f in detector(frame.image) if f.score >= CERTAIN and f.size >= MIN_SIZE]
                clear = [f for f in clear if f.mesh is not None and profile_ratio(f.mesh) <= FRONTAL]
                rows += [(frame.index, face, self.embed(frame.image, face)) for face in clear]
        embeddings, indices = np.stack([row[2] for row in rows]), np.array([row[0] for row in rows])
        sittings: list[list[Sitting]] = [[] for _ in range(frame.index + 1)]
        for index, face, embedding in rows:
            same = (np.abs(indices - index) >= APART) & (embeddings @ embedding > self._threshold)
            if same.any():
                mean = embeddings[same].mean(axis=0)
                sittings[index].append(Sitting(face, mean / np.linalg.norm(mean)))
        return sittings

    @torch.inference_mode()
    def embed(self, image: Image, face: Face) -> Floats:
        """Return the embedding `(D,)` of what an image shows where a face was."""
        crop = torch.from_numpy(self._aligner.crop(image, face)).permute(2, 0, 1)[None].float() / 127.5 - 1
        return self._recognizer(crop)[0].numpy()


def main() -> None:
    """Print what was broken, what came out, and who was recognised."""
    share_cores()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clip", type=Path)
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--policy", choices=("balanced", "strict"), default="balanced")
    parser.add_argument("--recognizer", type=Path, help="MobileFaceNet state dict; without it ours judges")
    options = parser.parse_args()
    source, faults = Looped(options.clip, options.seconds), Faults(seed=0)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out.mkv"
        played = play(source, out, faults, pace=Paced, policy=options.policy)
        compared, recognised = witness(options.recognizer).judge(source, out)
    p50, p95 = np.percentile(played.latencies, (50, 95)) * 1000
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"broken: {dict(faults.counts)}")
    print(f"{played.frames} frames, {played.dropped} dropped, {peak:.0f} MiB; ms late: p50 {p50:.0f}, p95 {p95:.0f}")
    print(f"tiers: {dict(played.tiers)}")
    print(f"{compared} faces of {MIN_SIZE:g} pixels or more, {len(recognised)} recognised: {recognised[:10]}")


def witness(recognizer: Path | None) -> Witness:
    """Return who recognises people: MobileFaceNet where there is one, which saw nothing of this, else ours."""
    if recognizer is None:
        return Witness(prepare(load_recognizer("identity"), "cpu"), SAME_PERSON)
    return Witness(prepare(load_mobilefacenet(recognizer), "cpu"), MOBILEFACENET_SAME)


if __name__ == "__main__":
    main()
