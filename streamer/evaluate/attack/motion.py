"""The attacker who looks at movement alone: who is it by how lids, lips and brows move, whatever face they are on?

Of each frame only the mesh is kept, turned to the front, and of that only how it differs from its mean over a few
seconds: nothing of a face's shape (after Saunders et al. 2025, arXiv 2510.11223, who name 61 % of 1,429 people).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.preprocessing import StandardScaler

from models.checkpoint import file_sha256
from streamer.evaluate.attack.averaging import FollowedFace, followed, frames_with_faces
from streamer.evaluate.attack.linear_map import Doubles, cosines
from streamer.evaluate.covered.covers import Cover, portrait
from streamer.evaluate.covered.evidence import Sitting
from streamer.evaluate.figures import Figure
from streamer.evaluate.images.scores import correlation_figure
from streamer.evaluate.kept import Kept
from streamer.evaluate.measures.chance import Indices, Scores
from streamer.evaluate.measures.utility import expression_of
from streamer.faces.detect import overlaps
from streamer.types import Face, Floats, Frame, Image

Series = npt.NDArray[np.float32]

FRAMES = 120  # of a clip, at `averaging.RATE` a second: 10 s
WINDOW = 12  # frames: a second, a few syllables
LEAST_WINDOWS = 4  # of a person: two to know them by, two to name
COMPONENTS = 10  # of movement, which are compared
BANDS = ((1, 2), (2, 4), (4, 7))  # of a window's spectrum: 1, 2 to 3, and 4 to 6 Hz
SAME_FACE = 0.3  # IoU of a face in the output with the one that was covered
SEEN = 0.5  # share of a window's frames that must show a face; of a window that does not, nothing is known
VALUES = 279  # of a frame: both eyes' and the mouth's opening, and 92 points of lids, lips and brows


@dataclass(frozen=True, slots=True)
class Mover:
    """How one person of a clip moves.

    Attributes:
        name: The clip and the number of the track.
        before: `(T, VALUES)`, frame by frame; nan where no face was found.
        after: The same of each method's output.
    """

    name: str
    before: Series
    after: Mapping[str, Series]


def movers(path: Path, covers: Sequence[Cover], sitting: Sitting, kept: Kept, recording: int) -> list[Mover]:
    """Return the people of a clip who are seen for long enough.

    Raises:
        SourceError: If the clip cannot be read.
    """
    names = " ".join(cover.name for cover in covers)
    found = kept.once(f"movers {names} {file_sha256(path)}", lambda: _watched(path, covers, sitting, recording))
    people = sorted({name.partition("\n")[0] for name in found})
    return [Mover(p, found[f"{p}\n"], {c.name: found[f"{p}\n{c.name}"] for c in covers}) for p in people]


def name_movers(people: Sequence[Mover], cover: str) -> tuple[dict[str, Scores], Indices]:
    """Return the scores `(W, K)` of windows of covered people with K people, attempt by attempt; and who is who.

    The first half of each person's windows is what they are known by, the second is covered, and to be named.
    """
    known = [(w, k) for k, person in enumerate(people) for w in _halves(person.before)[0]]
    probes = [(w, k) for k, person in enumerate(people) for w in _halves(person.after[cover])[1]]
    trained = [(w, k) for k, person in enumerate(people) for w in _halves(person.after[cover])[0]]
    parts = PCA(COMPONENTS).fit(np.concatenate([_moved(w) for w, _ in known]))
    owner, truth = (np.array([k for _, k in which]) for which in (known, probes))
    rows, seen = _described([w for w, _ in known], parts), _described([w for w, _ in probes], parts)
    same = _described([w for w, _ in trained], parts)
    unknown = np.isnan(seen).any(axis=1)
    attempts = {"uncovered windows": _compared(seen, rows, owner, len(people))}
    if not np.isnan(same).any():
        attempts["covered windows"] = _compared(seen, same, owner, len(people))
    for scores in attempts.values():
        scores[unknown] = 0.0
    return attempts, np.asarray(truth, np.int64)


def expression_kept(people: Sequence[Mover], cover: str) -> Figure:
    """Return how much of lids, lips and brows is kept: the correlation over frames, each person about their mean."""
    both = [_both(person.before, person.after[cover]) for person in people]
    before, after = (np.concatenate(rows) for rows in zip(*both, strict=True))
    return correlation_figure(before, after)


def _watched(path: Path, covers: Sequence[Cover], sitting: Sitting, recording: int) -> dict[str, npt.NDArray[Any]]:
    frames, found = frames_with_faces(path, sitting.detector, most=FRAMES)
    series: dict[str, npt.NDArray[Any]] = {}
    for person in followed(path.name, frames, found):
        if len(person.faces) >= WINDOW * LEAST_WINDOWS:
            shown = {position: frames[position] for position in sorted(person.faces)}
            series |= _of_person(person, shown, covers, sitting, recording)
    return series


def _of_person(
    person: FollowedFace, shown: Mapping[int, Frame], covers: Sequence[Cover], sitting: Sitting, recording: int
) -> dict[str, npt.NDArray[Any]]:
    faces = [person.faces[position] for position in shown]
    originals = [portrait(frame.image, face) for frame, face in zip(shown.values(), faces, strict=True)]
    series = {f"{person.name}\n": np.stack([_values(face) for face in faces])}
    for cover in covers:
        images = cover.clip(list(shown.values()), originals, recording)
        rows = [_found(image, face, sitting) for image, face in zip(images, faces, strict=True)]
        series[f"{person.name}\n{cover.name}"] = np.stack(rows)
    return series


def _found(image: Image, face: Face, sitting: Sitting) -> Series:
    """Return the values of the face that is where `face` was; nan where there is none."""
    x1, y1, x2, y2 = face.box
    reach = 0.5 * max(x2 - x1, y2 - y1)
    left, top = max(0, int(x1 - reach)), max(0, int(y1 - reach))
    part = np.ascontiguousarray(image[top : int(y2 + reach), left : int(x2 + reach)])
    box = face.box - np.array([left, top, left, top], np.float32)
    same = [other for other in sitting.detector(part) if other.mesh is not None]
    shares = overlaps(box, np.stack([other.box for other in same]))[0] if same else np.zeros(1)
    if shares.max() < SAME_FACE:
        return np.full(VALUES, np.nan, np.float32)
    return _values(same[int(shares.argmax())])


def _values(face: Face) -> Series:
    assert face.mesh is not None
    seen = expression_of(face.mesh, np.full(2, np.nan, np.float32))
    return np.asarray([*seen.eyes, seen.mouth, *seen.shape.ravel()], np.float32)


def _halves(series: Series) -> tuple[list[Series], list[Series]]:
    windows = [series[start : start + WINDOW] for start in range(0, len(series) - WINDOW + 1, WINDOW)]
    half = len(windows) // 2
    return windows[:half], windows[half:]


def _moved(window: Series) -> Series:
    """Return how a window differs from its mean, what is missing drawn from before and after; nan of an unseen one."""
    known = ~np.isnan(window).any(axis=1)
    if known.mean() < SEEN:
        return np.full_like(window, np.nan)
    at = np.arange(len(window))
    filled = np.stack([np.interp(at, at[known], column[known]) for column in window.T], axis=1)
    return np.asarray(filled - filled.mean(axis=0), np.float32)


def _described(windows: Sequence[Series], parts: PCA) -> Doubles:
    """Return what tells how each window moves, `(W, D)`: how much, how fast, and what moves together."""
    return np.stack([_features(_moved(window), parts) for window in windows])


def _features(moved: Series, parts: PCA) -> Doubles:
    if np.isnan(moved).any():
        return np.full(COMPONENTS * (len(BANDS) + 1) + COMPONENTS * (COMPONENTS - 1) // 2, np.nan)
    values = moved @ parts.components_.T  # (T, C)
    power = np.abs(np.fft.rfft(values, axis=0)) ** 2
    bands = [np.log(power[low:high].sum(axis=0) + 1e-6) for low, high in BANDS]
    speed = np.log(np.abs(np.diff(values, axis=0)).mean(axis=0) + 1e-4)
    deviation = values.std(axis=0) + 1e-6
    together = (values.T @ values) / len(values) / np.outer(deviation, deviation)
    parts_of = [*bands, speed, together[np.triu_indices(COMPONENTS, 1)]]
    return np.asarray(np.concatenate(parts_of), np.float64)


def _compared(seen: Doubles, known: Doubles, owner: Indices, people: int) -> Scores:
    """Return `(W, K)`: the cosine with the nearest known window of each person, and what a classifier says of it."""
    scale = StandardScaler().fit(known)
    rows, probes = scale.transform(known), scale.transform(np.nan_to_num(seen))
    cosine = cosines(probes, rows)
    nearest = np.stack([cosine[:, owner == k].max(axis=1) for k in range(people)], axis=1)
    classifier = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto").fit(rows, owner)
    return np.asarray(nearest + classifier.predict_proba(probes))


def _both(before: Series, after: Series) -> tuple[Floats, Floats]:
    known = ~np.isnan(before).any(axis=1) & ~np.isnan(after).any(axis=1)
    middle = [series[known].mean(axis=0) if known.any() else 0.0 for series in (before, after)]
    return before[known] - middle[0], after[known] - middle[1]
