"""Follows the meshes of known faces from frame to frame without a detector: where a crop lay, the next one lies.

The crop is the one that the detector chose, moved with the mesh. One that is chosen by the mesh would lie a little
elsewhere, and a face that keeps still would tremble whenever the two change over.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from streamer.faces.detect import FaceDetector, agrees, five_points
from streamer.types import Face, Floats, Image, Track

SLACK = 0.03  # face sizes that a mesh may move in its crop, which then stays: noise moves no crop
MOST_MOVE = 0.15  # face sizes from one frame to the next: what moves farther the mesh lags behind


@dataclass(frozen=True, slots=True)
class _Followed:
    """A face as last seen, the crop of its next mesh, and where the middle of the mesh was in it when it was chosen."""

    face: Face
    crop: Floats
    middle: Floats


class Following:
    """What of one stream can be followed; for one thread at a time."""

    def __init__(self) -> None:
        self._known: dict[int, _Followed] | None = None

    def begin(self, tracks: Sequence[Track]) -> None:
        """Take in what was found by detectors; nothing is followed unless all of it can be."""
        self._known = None
        if all(track.missed_seconds == 0 and track.is_confirmed and _is_fitted(track.face) for track in tracks):
            self._known = {track.id: _begun(track.face) for track in tracks}

    def __call__(self, image: Image, detector: FaceDetector, count: int) -> list[Face] | None:
        """Return the faces that were known, where they are now; None unless all `count` of them can be followed.

        Raises:
            AnonymizerError: When the detector fails.
        """
        if self._known is None or len(self._known) != count:
            return None
        known, self._known = self._known, None
        meshes = detector.meshes(image, [_moved(one) for one in known.values()])
        found = [_face(one, mesh) for one, mesh in zip(known.values(), meshes, strict=True)]
        faces = [face for face in found if face is not None]
        if len(faces) < count:
            return None
        self._known = {
            n: replace(known[n], face=face, crop=_crop_of(face)) for n, face in zip(known, faces, strict=True)
        }
        return faces


def _is_fitted(face: Face) -> bool:
    return face.mesh is not None and face.crop is not None


def _begun(face: Face) -> _Followed:
    crop = _crop_of(face)
    linear, offset = crop[:, :2], crop[:, 2]
    return _Followed(face, crop, np.linalg.solve(linear, _middle(face) - offset).astype(np.float32))


def _moved(one: _Followed) -> Floats:
    """Return the crop, with the face where it was in it."""
    shift = _middle(one.face) - (one.crop[:, :2] @ one.middle + one.crop[:, 2])
    if np.linalg.norm(shift) <= SLACK * one.face.size:
        return one.crop
    return np.column_stack([one.crop[:, :2], one.crop[:, 2] + shift]).astype(np.float32)


def _crop_of(face: Face) -> Floats:
    assert face.crop is not None
    return face.crop


def _middle(face: Face) -> Floats:
    assert face.mesh is not None
    return np.asarray(face.mesh[:, :2].mean(axis=0), np.float32)


def _face(one: _Followed, mesh: Floats | None) -> Face | None:
    """Return the face with its mesh of now; None if that is none, or too far from where the face was to be its own."""
    before = one.face
    if mesh is None or not agrees(mesh, before.box):
        return None
    moved = mesh[:, :2].mean(axis=0) - _middle(before)
    if np.linalg.norm(moved) > MOST_MOVE * before.size:
        return None
    box = before.box + np.tile(moved, 2)
    return replace(
        before, box=box.astype(np.float32), landmarks=five_points(mesh), mesh=mesh, crop=_moved(one), is_verified=False
    )
