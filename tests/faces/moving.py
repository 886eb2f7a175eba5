"""Faces that come and go, as a tracker gets them."""

from __future__ import annotations

import numpy as np

from streamer.faces.track import FaceTracker
from streamer.types import Face, Floats, Image, Track

SCENE: Image = np.random.default_rng(1).integers(0, 256, (90, 160, 3), dtype=np.uint8)


def face(x: float, y: float = 100.0, *, size: float = 40.0, score: float = 0.9) -> Face:
    box = np.array([x - size / 2, y - size / 2, x + size / 2, y + size / 2], np.float32)
    offsets = np.array([[-0.2, -0.2], [0.2, -0.2], [0, 0], [-0.15, 0.25], [0.15, 0.25]])
    landmarks = (np.array([x, y]) + offsets * size).astype(np.float32)
    mesh = np.full((468, 3), (x, y, 0), np.float32) if score >= 0.5 else None
    return Face(box, landmarks, mesh, score)


def centre(of: Face | Track) -> Floats:
    box = of.box if isinstance(of, Face) else of.face.box
    return (box[:2] + box[2:]) / 2


def ids(tracks: list[Track]) -> list[int]:
    return [t.id for t in tracks]


def show(tracker: FaceTracker, seconds: float, *faces: Face, scene: Image = SCENE) -> list[Track]:
    """The tracks that are sure."""
    return [track for track in tracker.update(faces, seconds, scene) if track.is_confirmed]
