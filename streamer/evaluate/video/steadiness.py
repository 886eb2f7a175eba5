"""How steady a video of replaced faces is, each figure beside the source's own: a face that moves is never quite still.

Faces are followed in the source, so a face that an output loses is missed there and not forgotten.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt
from scipy import stats

from streamer.evaluate.figures import Figure, mean_figure
from streamer.evaluate.measures.recognizers import Recognizer
from streamer.faces.detect import SURE, overlaps
from streamer.faces.track import FaceTracker
from streamer.types import Face, Floats, Frame, Image

Kind = Literal["identity", "match", "flicker", "shimmer", "jitter", "seam"]
Mask = npt.NDArray[np.uint8]

LEAST_SIZE = 40.0  # pixels; a smaller face says nothing to a recogniser, and its landmarks tremble by themselves
SAME_FACE = 0.3  # IoU of a face in the source with the one found in the output at the same time
REACH = 0.3  # of the box's size, past each side: what the flow is found in
COVER_REACH = 0.9  # the same: where the rim of a cover may lie, ours reaches .35, others' a whole head
FLOW_SIDE = 160  # pixels; faces are shrunk to it for the optical flow
CHANGED = 6.0  # grey levels, slightly blurred: beyond what H.264 at crf 28 changes, below any cover
RIM = 0.02  # of the face's size: half the width of the rim that is looked at, at least a pixel
BLOCK_SECONDS = 1.0  # frames this close are not independent: an interval resamples seconds of a track, not frames
EYES_TO_MOUTH = 0.31 / 0.27  # eyes' middle to mouth's in eye distances, of the alignment template


@dataclass(frozen=True, slots=True)
class Reading:
    """One measured number of one face-frame.

    Attributes:
        kind: "identity": how alike a recogniser finds this and the last frame's face. "match": how alike source and
            output, of a face that the detector is sure of. "flicker": grey levels between this frame and the last one
            carried here by the source's motion. "shimmer": the same, each carried by its own motion: what flashes,
            without what slides. "jitter": second difference of the landmarks, in eye distances. "seam": mean gradient
            across the rim of what was changed, in grey levels per pixel.
        recognizer: Which; "" where none is involved.
        track: Of the source.
        frame: Index in the source.
        seconds: Its time.
        value: Of the output; nan where it could not be told.
        source: The source's own; nan for "match".
        has_mesh: Whether a mesh fitted the source's face; what has none, a false alarm too, is only ever covered.
    """

    kind: Kind
    recognizer: str
    track: int
    frame: int
    seconds: float
    value: float
    source: float
    has_mesh: bool = True


@dataclass(frozen=True, slots=True)
class _Moment:
    """What is remembered of one face in one frame; `after` is None where the output shows no face there."""

    before: Face
    after: Face | None
    embeddings: dict[str, tuple[Floats, Floats]]


class SteadinessMeter:
    """The state of one clip: the last frame and, of each track, the last two faces."""

    def __init__(self, recognizers: Sequence[Recognizer]) -> None:
        self.recognizers = recognizers
        self._tracker = FaceTracker()
        self._images: tuple[Image, Image] | None = None
        self._moments: dict[int, tuple[_Moment, ...]] = {}

    def add(self, frame: Frame, after: Image, found: Sequence[Face], found_after: Sequence[Face]) -> list[Reading]:
        """Return the readings of one frame.

        Args:
            frame: Of the source; its index and time increase.
            after: `(H, W, 3)` uint8 RGB, the output of the same size.
            found: The source's faces.
            found_after: The output's.
        """
        tracks = [t for t in self._tracker.update(found, frame.seconds, frame.image) if t.is_confirmed]
        seen = [t for t in tracks if t.missed_seconds == 0 and t.face.size >= LEAST_SIZE]
        readings, moments = [], {}
        for track in seen:
            past = self._moments.get(track.id, ())
            moment = self._moment(frame.image, after, track.face, found_after)
            moments[track.id] = (*past[-1:], moment)
            for kind, recognizer, value, source in self._measured(frame.image, after, past, moment):
                place = track.id, frame.index, frame.seconds
                readings.append(Reading(kind, recognizer, *place, value, source, track.face.mesh is not None))
        self._moments, self._images = moments, (frame.image, after)
        return readings

    def _moment(self, before: Image, after: Image, face: Face, found_after: Sequence[Face]) -> _Moment:
        made = _same_face(face, found_after)
        # Where no face is found in the output, an attacker still knows from the source where it was.
        pairs = {r.name: (r(before, face), r(after, made or face)) for r in self.recognizers}
        return _Moment(face, made, pairs)

    def _measured(
        self, before: Image, after: Image, past: tuple[_Moment, ...], now: _Moment
    ) -> Iterator[tuple[Kind, str, float, float]]:
        for recognizer in self.recognizers:
            source, made = now.embeddings[recognizer.name]
            if now.before.score >= SURE:  # what is no face stays as it is, and would be like itself
                yield "match", recognizer.name, _score(recognizer, source, made), math.nan
            if past:
                old_source, old_made = past[-1].embeddings[recognizer.name]
                alike = _score(recognizer, old_made, made), _score(recognizer, old_source, source)
                yield "identity", recognizer.name, *alike
        yield "seam", "", *seam(before, after, now.before.box)
        if past and self._images:
            boxes = past[-1].before.box, now.before.box
            changed, source_changed = flicker(self._images, (before, after), boxes[0], box=boxes[1])
            yield "flicker", "", changed, source_changed
            own, _ = flicker((self._images[1],) * 2, (after, after), boxes[0], box=boxes[1])
            yield "shimmer", "", own, source_changed
        if len(past) == 2:
            yield "jitter", "", _jitter([m.after for m in (*past, now)]), _jitter([m.before for m in (*past, now)])


def flicker(old: tuple[Image, Image], new: tuple[Image, Image], old_box: Floats, *, box: Floats) -> tuple[float, float]:
    """Return how much output and source changed beside what moved, in grey levels.

    The source's optical flow (DIS, Kroeger et al. 2016) carries the last frame into this one; what still differs inside
    the face, on average, is flicker: mean |new(x) - old(x + flow(x))|. nan for a face outside the frame.

    Args:
        old, new: Source and output, `(H, W, 3)` uint8 RGB each, of the last and of this frame.
        old_box, box: The face's, in both.
    """
    both = np.concatenate([np.minimum(old_box[:2], box[:2]), np.maximum(old_box[2:], box[2:])])
    region = _region(new[0], both, reach=REACH)
    if region is None:
        return math.nan, math.nan
    scale = min(1.0, FLOW_SIDE / max(region[2] - region[0], region[3] - region[1]))
    greys = [[_grey(image, region, scale) for image in pair] for pair in (old, new)]
    dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    flow = dis.calc(greys[1][0], greys[0][0], None)  # from this frame to the last
    height, width = greys[1][0].shape
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    where = x + flow[..., 0], y + flow[..., 1]
    carried = [cv2.remap(grey, *where, cv2.INTER_LINEAR, None, cv2.BORDER_REPLICATE) for grey in greys[0]]
    low, high = ((np.reshape(box, (2, 2)) - region[:2]) * scale).round().astype(int)
    inside = np.s_[max(low[1], 0) : high[1], max(low[0], 0) : high[0]]
    source, made = (
        float(cv2.absdiff(now[inside], then[inside]).mean()) for now, then in zip(greys[1], carried, strict=True)
    )
    return made, source


def seam(before: Image, after: Image, box: Floats) -> tuple[float, float]:
    """Return the mean gradient along the rim of what was changed of a face, in output and source; nan for no change.

    Where a face was pasted well its rim is no sharper than the skin, hair or wall that it runs through.

    Args:
        before, after: `(H, W, 3)` uint8 RGB.
        box: `(4,)` the face's in pixels.
    """
    region = _region(before, box, reach=COVER_REACH)
    if region is None:
        return math.nan, math.nan
    x1, y1, x2, y2 = region
    source, made = before[y1:y2, x1:x2], after[y1:y2, x1:x2]
    changed = _changed(source, made)
    half = max(1, round(RIM * float(max(box[2:] - box[:2]))))
    kernel = np.ones((2 * half + 1, 2 * half + 1), np.uint8)
    rim = cv2.morphologyEx(changed, cv2.MORPH_GRADIENT, kernel) > 0
    rim[:half], rim[-half:], rim[:, :half], rim[:, -half:] = False, False, False, False  # the region's edge is no rim
    if not rim.any():
        return math.nan, math.nan
    return float(_gradient(made)[rim].mean()), float(_gradient(source)[rim].mean())


def jitter(landmarks: Floats) -> float:
    """Return the mean second difference of landmarks in shares of the eyes' distance: 0 for a steady motion.

        mean_k |p_k(t) - 2 p_k(t-1) + p_k(t-2)| / eyes

    A profile's eyes are near each other, so its distance of eyes and mouth tells what theirs would be.

    Args:
        landmarks: `(3, 5, 2)` of three frames, in pixels.
    """
    points = landmarks[1]
    down = float(np.linalg.norm(points[3:].mean(axis=0) - points[:2].mean(axis=0)))
    eyes = max(float(np.linalg.norm(points[0] - points[1])), down / EYES_TO_MOUTH)
    bend = landmarks[2] - 2 * landmarks[1] + landmarks[0]
    return float(np.linalg.norm(bend, axis=1).mean()) / max(eyes, 1e-6)


def steadiness_figures(readings: Sequence[Reading]) -> dict[str, Figure]:
    """Return for each kind the output's figure, the source's (`_source`) and their ratio (`_ratio`).

    "identity" has a figure for each recogniser, `temporal_identity.dlib`, and no ratio. Each second of a track counts
    once and is resampled as one; `count` is their number.
    """
    figures: dict[str, Figure] = {}
    for name in sorted({r.recognizer for r in readings if r.kind == "identity"}):
        blocks = _blocks([r for r in readings if r.kind == "identity" and r.recognizer == name])
        figures[f"temporal_identity.{name}"] = mean_figure(blocks[:, 0])
        figures[f"temporal_identity_source.{name}"] = mean_figure(blocks[:, 1])
    for kind in ("flicker", "shimmer", "jitter", "seam"):
        blocks = _blocks([r for r in readings if r.kind == kind])
        figures[kind], figures[f"{kind}_source"] = mean_figure(blocks[:, 0]), mean_figure(blocks[:, 1])
        figures[f"{kind}_ratio"] = ratio_figure(blocks)
    return figures


def ratio_figure(blocks: npt.NDArray[np.float64]) -> Figure:
    """Return the ratio of the means of the columns of `(N, 2)`, with a paired bootstrap interval; nan from N = 0."""
    if not len(blocks) or blocks[:, 1].mean() == 0:
        return Figure(math.nan, note="nothing to measure")
    value = float(blocks[:, 0].mean() / blocks[:, 1].mean())
    if len(blocks) < 2:
        return Figure(value, count=len(blocks), note=f"{value:.3g}: one second, no interval")
    found = stats.bootstrap(
        (blocks[:, 0], blocks[:, 1]),
        lambda a, b, axis: a.mean(axis=axis) / b.mean(axis=axis),
        paired=True,
        vectorized=True,
        n_resamples=2000,
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
    return Figure(value, float(found.low), float(found.high), len(blocks))


def _blocks(readings: Sequence[Reading]) -> npt.NDArray[np.float64]:
    """Return the mean value and source of each second of each track, `(N, 2)`, of those where both are known."""
    blocks: dict[tuple[int, int], list[tuple[float, float]]] = {}
    for r in readings:
        if not (math.isnan(r.value) or math.isnan(r.source)):
            blocks.setdefault((r.track, int(r.seconds / BLOCK_SECONDS)), []).append((r.value, r.source))
    return np.array([np.mean(block, axis=0) for block in blocks.values()], np.float64).reshape(-1, 2)


def _score(recognizer: Recognizer, a: Floats, b: Floats) -> float:
    return float(recognizer.score(a[None], b[None])[0])


def _jitter(faces: Sequence[Face | None]) -> float:
    known = [face for face in faces if face is not None]
    if len(known) < 3:
        return math.nan
    return jitter(np.stack([face.landmarks for face in known]))


def _same_face(face: Face, others: Sequence[Face]) -> Face | None:
    if not others:
        return None
    ious, _ = overlaps(face.box, np.stack([other.box for other in others]))
    return others[int(ious.argmax())] if ious.max() > SAME_FACE else None


def _region(image: Image, box: Floats, *, reach: float) -> tuple[int, int, int, int] | None:
    """Return the box grown by `reach` of its size, within the image; None where that is next to nothing."""
    grow = reach * float(max(box[2:] - box[:2]))
    x1, y1 = np.maximum(np.floor(box[:2] - grow), 0).astype(int).tolist()
    x2, y2 = np.minimum(np.ceil(box[2:] + grow), image.shape[1::-1]).astype(int).tolist()
    return (x1, y1, x2, y2) if min(x2 - x1, y2 - y1) >= 16 else None


def _grey(image: Image, region: tuple[int, int, int, int], scale: float) -> Mask:
    x1, y1, x2, y2 = region
    grey = cv2.cvtColor(image[y1:y2, x1:x2], cv2.COLOR_RGB2GRAY)
    return np.asarray(cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA))


def _changed(source: Image, made: Image) -> Mask:
    """Return 1 where the picture was changed by more than a codec does, without specks and holes."""
    differs = cv2.GaussianBlur(cv2.absdiff(source, made).max(axis=2).astype(np.float32), (0, 0), 1.5)
    mask = (differs > CHANGED).astype(np.uint8)
    contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    filled: Mask = np.zeros(mask.shape, np.uint8)
    if contours:
        cv2.drawContours(filled, [max(contours, key=cv2.contourArea)], -1, 1, cv2.FILLED)
    return filled


def _gradient(image: Image) -> Floats:
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    dx, dy = cv2.Sobel(grey, cv2.CV_32F, 1, 0, scale=1 / 8), cv2.Sobel(grey, cv2.CV_32F, 0, 1, scale=1 / 8)
    return np.asarray(cv2.magnitude(dx, dy))
