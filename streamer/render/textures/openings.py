"""Opens the lids and lips of a new face as far as the person's are, in their own measure, whatever its shape is."""

from __future__ import annotations

import numpy as np

from streamer.types import Floats

# Rows of points from the opening outwards, image-left first; a column is one place along the lips or lids.
# fmt: off
UPPER_LIP = ((191, 80, 81, 82, 13, 312, 311, 310, 415), (183, 42, 41, 38, 12, 268, 271, 272, 407),
             (184, 74, 73, 72, 11, 302, 303, 304, 408), (185, 40, 39, 37, 0, 267, 269, 270, 409))
LOWER_LIP = ((95, 88, 178, 87, 14, 317, 402, 318, 324), (96, 89, 179, 86, 15, 316, 403, 319, 325),
             (77, 90, 180, 85, 16, 315, 404, 320, 307), (146, 91, 181, 84, 17, 314, 405, 321, 375))
UPPER_LIDS = (((246, 161, 160, 159, 158, 157, 173), (247, 30, 29, 27, 28, 56, 190),
               (113, 225, 224, 223, 222, 221, 189)),
              ((398, 384, 385, 386, 387, 388, 466), (414, 286, 258, 257, 259, 260, 467),
               (413, 441, 442, 443, 444, 445, 342)))
LOWER_LIDS = (((7, 163, 144, 145, 153, 154, 155), (25, 110, 24, 23, 22, 26, 112), (31, 228, 229, 230, 231, 232, 233)),
              ((382, 381, 380, 374, 373, 390, 249), (341, 256, 252, 253, 254, 339, 255),
               (453, 452, 451, 450, 449, 448, 261)))
# fmt: on
MOUTH, EYES = (78, 308), ((33, 133), (362, 263))  # corners
LIPS_FOLLOW, LIDS_FOLLOW = (1.0, 1.0, 1.0, 0.8), (1.0, 0.6, 0.3)  # how far each row goes along
CLOSED = (0.035, 0.07)  # of the mouth's width: lips so near touch; from the second on they are as far apart as seen
WIDEST_EYE = 0.44  # of its width: further open is a slip of the mesh, or a stare


def as_open(drawn: Floats, own: Floats) -> Floats:
    """Return the mesh `drawn` `(468, 3)` with lips and lids as far open as those of `own` are, by their width."""
    result = drawn.copy()
    _open(result, own, MOUTH, (UPPER_LIP, LOWER_LIP), follow=LIPS_FOLLOW, touching=CLOSED, widest=np.inf)
    for corners, upper, lower in zip(EYES, UPPER_LIDS, LOWER_LIDS, strict=True):
        _open(result, own, corners, (upper, lower), follow=LIDS_FOLLOW, touching=(0.0, 0.0), widest=WIDEST_EYE)
    return result


def _open(
    mesh: Floats,
    own: Floats,
    corners: tuple[int, int],
    rows: tuple[tuple[tuple[int, ...], ...], tuple[tuple[int, ...], ...]],
    *,
    follow: tuple[float, ...],
    touching: tuple[float, float],
    widest: float,
) -> None:
    """Move the edges of an opening of `mesh`, and the rows beyond them, in place."""
    upper, lower = rows
    there, down, width = _gaps(mesh, corners, upper[0], lower[0])
    wanted, _, _ = _gaps(own, corners, upper[0], lower[0])
    start, full = touching
    if full > 0.0:
        wanted = wanted * np.clip((wanted.max() - start) / (full - start), 0.0, 1.0)
    wanted = np.clip(wanted, 0.0, None)
    wanted = wanted * min(1.0, widest / max(float(wanted.max()), 1e-6))
    change = np.outer((wanted - there) * width / 2, down)  # (n, 2)
    for up, low, share in zip(upper, lower, follow, strict=True):
        mesh[list(up), :2] -= share * change
        mesh[list(low), :2] += share * change


def _gaps(
    mesh: Floats, corners: tuple[int, int], upper: tuple[int, ...], lower: tuple[int, ...]
) -> tuple[Floats, Floats, float]:
    """Return how far apart the edges are by the width, `(n,)`, the direction down, `(2,)`, and the width."""
    along = mesh[corners[1], :2] - mesh[corners[0], :2]
    width = max(float(np.linalg.norm(along)), 1e-6)
    down = np.array([-along[1], along[0]], np.float32) / width
    return (mesh[list(lower), :2] - mesh[list(upper), :2]) @ down / width, down, width
