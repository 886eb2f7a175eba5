"""The attacker who does not look at the face: hair, outline, ears, clothes and what is behind, and nothing else.

No cover of a face hides these. What another attacker reaches beyond this one, the face under the cover adds.
"""

from __future__ import annotations

import cv2
import numpy as np
from skimage.feature import hog
from sklearn.decomposition import PCA

from streamer.evaluate.attack.linear_map import Doubles, cosines, described
from streamer.evaluate.covered.evidence import AROUND, Cast, Evidence
from streamer.evaluate.measures.chance import Indices, Scores
from streamer.types import Image

CELLS = 16  # a side of the picture of colours: hair, background and clothes have several each
COMPONENTS = 48  # of colours and of edges that are compared; fewer where there are fewer photos
DIM, QUALITY, SHIFT = 0.85, 50, 0.02  # what the same recording is disturbed by: light, JPEG, share of the side


def recognize_around(evidence: Evidence, cast: Cast) -> dict[str, Scores]:
    """Return the scores `(K, K)` of probes with known people's photos, faces filled in both, attempt by attempt."""
    seen = _views(evidence.around) | {"recognisers": described(evidence.after["solid"].embeddings)}
    attempts = {name: cast.by_person(cosines(rows[cast.probes], rows[cast.known])) for name, rows in seen.items()}
    attempts["all"] = np.sum(list(attempts.values()), axis=0)
    return attempts


def recognize_recording(evidence: Evidence) -> tuple[dict[str, Scores], Indices]:
    """Return the scores `(N, N)` of all photos with themselves, darker, shifted and compressed; and who is who.

    What this attacker must be able to do: two pictures of one recording have the same surroundings.
    """
    count = len(evidence.around)
    seen = _views(np.concatenate([evidence.around, np.stack([disturbed(one) for one in evidence.around])]))
    attempts = {name: cosines(rows[count:], rows[:count]) for name, rows in seen.items()}
    attempts["all"] = np.sum(list(attempts.values()), axis=0)
    return attempts, np.arange(count)


def disturbed(around: Image) -> Image:
    """Return `(S, S, 3)` uint8 RGB as another frame of the same recording might show it."""
    shift = np.array([[1, 0, SHIFT * AROUND], [0, 1, -SHIFT * AROUND]], np.float32)
    moved = cv2.warpAffine(around, shift, (AROUND, AROUND), borderMode=cv2.BORDER_REPLICATE)
    _, packed = cv2.imencode(".jpg", (moved * DIM).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    return np.asarray(cv2.imdecode(packed, cv2.IMREAD_COLOR), np.uint8)


def _views(around: Image) -> dict[str, Doubles]:
    """Return what is compared of `(N, S, S, 3)` pictures without faces, `(N, D)` each."""
    return {"colours": _principal([_colours(one) for one in around]), "edges": _principal([_edges(o) for o in around])}


def _colours(around: Image) -> Doubles:
    small = cv2.resize(around, (CELLS, CELLS), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2LAB), np.float64).ravel()


def _edges(around: Image) -> Doubles:
    return np.asarray(hog(around, pixels_per_cell=(8, 8), cells_per_block=(2, 2), channel_axis=2), np.float64)


def _principal(rows: list[Doubles]) -> Doubles:
    values = np.stack(rows)
    return np.asarray(PCA(min(COMPONENTS, len(values) - 1), svd_solver="full").fit_transform(values), np.float64)
