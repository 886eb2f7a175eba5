"""Opens the lids and lips of a new face as far as the person's are, in their own measure, whatever its shape is."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

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
ALIKE = 0.8  # times as far open as the other a small eye is at least
WINKS = (20.0, 40.0)  # pixels across, up to which an eye is small, and from which on it may wink
WIDEST_EYE = 0.44  # of its width: further open is a slip of the mesh, or a stare


_OPENINGS = ((MOUTH, UPPER_LIP, LOWER_LIP), *zip(EYES, UPPER_LIDS, LOWER_LIDS, strict=True))
_CORNERS = np.array([corners for corners, _, _ in _OPENINGS]).T  # (2, 3)
_UPPER, _LOWER = (np.concatenate([opening[n][0] for opening in _OPENINGS]) for n in (1, 2))  # the edges, (23,) each
_OF = np.repeat(np.arange(3), [len(upper[0]) for _, upper, _ in _OPENINGS])  # which opening they are of
_FIRST = np.array([0, 9, 16])  # edge of each


def _followers() -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], Floats]:
    """Return the points that move, which edge each goes along with, and how far: down is positive."""
    points: list[int] = []
    edges: list[int] = []
    shares: list[float] = []
    for first, (_, *both) in zip(_FIRST, _OPENINGS, strict=True):
        for sign, rows in zip((-1.0, 1.0), both, strict=True):
            for row, share in zip(rows, LIPS_FOLLOW if first == 0 else LIDS_FOLLOW, strict=True):
                points += row
                edges += range(first, first + len(row))
                shares += [sign * share / 2] * len(row)
    return np.array(points), np.array(edges), np.array(shares, np.float32)


_POINTS, _EDGES, _SHARES = _followers()


def as_open(drawn: Floats, own: Floats) -> Floats:
    """Return the mesh `drawn` `(468, 3)` with lips and lids as far open as those of `own` are, by their width.

    Lips that about touch are shut, and eyes do not open further than eyes do.
    """
    there, down, widths = _gaps(drawn)
    seen, _, own_widths = _gaps(own)
    wanted = _without_winks(np.maximum(seen, 0.0), own_widths)
    start, full = CLOSED
    widest = np.maximum.reduceat(wanted, _FIRST)  # (3,)
    shares = np.minimum(1.0, WIDEST_EYE / np.maximum(widest, 1e-6))
    shares[0] = np.clip((widest[0] - start) / (full - start), 0.0, 1.0)
    change = (wanted * shares[_OF] - there) * widths[_OF]  # (23,)
    result = drawn.copy()
    result[_POINTS, :2] += (_SHARES * change[_EDGES])[:, None] * down[_OF[_EDGES]]
    return result


def _without_winks(gaps: Floats, widths: Floats) -> Floats:
    """Return gaps `(23,)` with one eye about as far open as the other, where these are few pixels wide.

    That one of two small eyes is shut is a slip of the mesh more often than a wink. Compared in pixels: the turn of a
    head makes the farther eye narrower, and no lower.
    """
    low, high = WINKS
    share = ALIKE * float(np.clip((high - widths[1:].max()) / (high - low), 0.0, 1.0))
    mouth, left, right = np.split(gaps * widths[_OF], _FIRST[1:])
    alike = np.concatenate([mouth, np.maximum(left, share * right[::-1]), np.maximum(right, share * left[::-1])])
    return np.asarray(alike / widths[_OF], np.float32)


def _gaps(mesh: Floats) -> tuple[Floats, Floats, Floats]:
    """Return how far the edges are apart by the widths, `(23,)`, the directions down, and the widths."""
    ends = mesh[_CORNERS, :2]
    along = ends[1] - ends[0]
    widths = np.maximum(np.linalg.norm(along, axis=1), 1e-6)
    down = along[:, ::-1] * np.array([-1.0, 1.0], np.float32) / widths[:, None]
    gaps = ((mesh[_LOWER, :2] - mesh[_UPPER, :2]) * down[_OF]).sum(axis=1) / widths[_OF]
    return gaps, down, widths
