"""What a face does, read from its mesh: pose, gaze, lids, mouth, expression; and how much of it an output keeps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from streamer.render.align import FEATURES
from streamer.types import Floats

# Which of the 468 points; image-left first.
EARS, FOREHEAD, UPPER_LIP_BASE = (234, 454), 10, 2  # none of them moves with an expression
EYE_CORNERS = ((33, 133), (362, 263))
LIDS = (((159, 145), (158, 153), (160, 144)), ((386, 374), (385, 380), (387, 373)))  # upper and lower of each eye
MOUTH_CORNERS, INNER_LIPS = (61, 291), ((13, 14), (82, 87), (312, 317))
BROWS = (70, 63, 105, 66, 107, 46, 53, 52, 65, 55, 336, 296, 334, 293, 300, 276, 283, 282, 295, 285)
EXPRESSIVE = np.array([*FEATURES[:72], *BROWS])  # lids, lips and brows


@dataclass(frozen=True, slots=True)
class Expression:
    """What a face does, whoever it is.

    Attributes:
        pose: `(3,)` degrees: yaw (positive to the image's right), pitch (positive up), roll (positive clockwise).
        gaze: `(2,)`: where the iris lies in the eye, right and down, in widths of the eye, the mean of both eyes.
        eyes: `(2,)`: how far the lids are open, in widths of the eye.
        mouth: How far the lips are open, in widths of the mouth.
        shape: `(92, 3)`: lids, lips and brows as seen from the front, in distances of the eyes.
    """

    pose: Floats
    gaze: Floats
    eyes: Floats
    mouth: float
    shape: Floats

    def traits(self) -> Floats:
        """Return pose, gaze, eyes and mouth as one vector, `(8,)`."""
        return np.asarray([*self.pose, *self.gaze, *self.eyes, self.mouth], np.float32)


@dataclass(frozen=True, slots=True)
class ExpressionError:
    """How far two expressions are apart; 0 is kept exactly.

    Attributes:
        pose: Degrees, the mean of yaw, pitch and roll.
        gaze: Widths of the eye that the iris moved.
        eyes: Widths of the eye, the mean of both.
        mouth: Widths of the mouth.
        expression: Distances of the eyes that lids, lips and brows moved, on average.
    """

    pose: float
    gaze: float
    eyes: float
    mouth: float
    expression: float


def expression_of(mesh: Floats, gaze: Floats) -> Expression:
    """Return what a face does.

    Args:
        mesh: `(468, 3)` in pixels, z towards the scene.
        gaze: `(2,)`, see `streamer.evaluate.measures.gaze`.
    """
    to_head = head_axes(mesh)
    middles = np.stack([mesh[list(corners)].mean(axis=0) for corners in EYE_CORNERS])
    eye_distance = float(np.linalg.norm(middles[1] - middles[0]))
    shape = (mesh[EXPRESSIVE] - middles.mean(axis=0)) @ to_head.T / eye_distance
    eyes = [_openness(mesh, lids, corners) for lids, corners in zip(LIDS, EYE_CORNERS, strict=True)]
    mouth = _openness(mesh, INNER_LIPS, MOUTH_CORNERS)
    return Expression(
        pose_of(to_head), np.asarray(gaze, np.float32), np.array(eyes, np.float32), mouth, shape.astype(np.float32)
    )


def expression_error(before: Expression, after: Expression) -> ExpressionError:
    """Return how far `after` is from `before`."""
    turned = (after.pose - before.pose + 180) % 360 - 180
    return ExpressionError(
        pose=float(np.abs(turned).mean()),
        gaze=float(np.linalg.norm(after.gaze - before.gaze)),
        eyes=float(np.abs(after.eyes - before.eyes).mean()),
        mouth=abs(after.mouth - before.mouth),
        expression=float(np.linalg.norm(after.shape - before.shape, axis=1).mean()),
    )


def head_axes(mesh: Floats) -> Floats:
    """Return the rotation `(3, 3)` that turns a `(468, 3)` mesh to the front.

    Its rows are the head's right (of the image), down and back, from points that no expression moves.
    """
    right = _unit(mesh[EARS[1]] - mesh[EARS[0]])
    down = mesh[UPPER_LIP_BASE] - mesh[FOREHEAD]
    down = _unit(down - (down @ right) * right)
    return np.asarray([right, down, np.cross(right, down)], np.float32)


def pose_of(axes: Floats) -> Floats:
    """Return yaw, pitch and roll in degrees, `(3,)`, of the head's axes `(3, 3)`."""
    x, y, z = -axes[2]  # where the face looks; straight into the camera is (0, 0, -1)
    angles = (np.arctan2(x, -z), np.arcsin(np.clip(-y, -1, 1)), np.arctan2(axes[0, 1], axes[0, 0]))
    return np.asarray(np.degrees(angles), np.float32)


def _openness(mesh: Floats, lips: tuple[tuple[int, int], ...], corners: tuple[int, int]) -> float:
    """Return the mean distance of pairs of points, in distances of the corners."""
    upper, lower = (mesh[[pair[side] for pair in lips]] for side in (0, 1))
    width = float(np.linalg.norm(mesh[corners[1]] - mesh[corners[0]]))
    return float(np.linalg.norm(upper - lower, axis=1).mean()) / width


def _unit(vector: Floats) -> Floats:
    return np.asarray(vector / np.linalg.norm(vector))
