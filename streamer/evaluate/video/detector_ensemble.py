"""Finds the faces of a clip nobody annotated: three detectors that know nothing of each other, at low thresholds.

MediaPipe is ours, so what it misses we miss; YuNet and dlib's HOG are there to see what it does not. What one of them
alone believes in is doubtful until somebody has looked.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import cv2
import dlib
import numpy as np

from streamer.errors import SourceError
from streamer.evaluate.video.truth import TrueFace, Truth, sha256_of
from streamer.faces.detect import FaceDetector, overlaps
from streamer.sources.file_source import open_source
from streamer.types import Face, Floats, Image

YUNET_SCORE = 0.3  # from here to .5 a third is a face (13 clips); whether it is, somebody has to look
HOG_SCORE = -0.2  # dlib's own threshold is 0
HOG_AREA = 600_000  # pixels; HOG sees faces from 80 pixels, from 40 in a smaller frame, which is doubled
MAX_TILES = 16  # twice as many as `veil run` looks at
SAME_IOU, SAME_SHARE = 0.3, 0.7  # two boxes of one face: their union, or how much of the smaller lies in the other
BELIEVED = 0.8  # a detector this sure needs no second one
NOSE_DEPTH = 0.58  # of the eyes' distance, in front of them: what agrees with the mesh's yaw (1,000 faces)
# From YuNet's box, which has the forehead, to ours, brow to chin: medians over 1,483 faces that both found.
BOX_OF_YUNET = np.array([-0.04, 0.23, 0.03, -0.01], np.float32)  # of its width and height


@dataclass(frozen=True, slots=True)
class Detection:
    """One face as several detectors see it.

    Attributes:
        box: `(4,)` float32, brow to chin and ear to ear.
        yaw: Degrees sideways; nan where no detector gave landmarks.
        scores: The best score of each detector that saw it, by its name; HOG's is a distance from its hyperplane.
    """

    box: Floats
    yaw: float
    scores: dict[str, float]

    @property
    def believed(self) -> bool:
        """Whether two detectors agree, or one is sure."""
        sure = max((score for name, score in self.scores.items() if name != "hog"), default=0.0)
        return len(self.scores) > 1 or sure >= BELIEVED


class DetectorEnsemble:
    """MediaPipe as `veil run` uses it but with more tiles, YuNet, and dlib's HOG; for one thread at a time."""

    def __init__(self, yunet: Path | None = None) -> None:
        """Take YuNet's ONNX file (`cv2.FaceDetectorYN`); without it two detectors remain.

        Raises:
            SourceError: If it cannot be read.
            AnonymizerError: When MediaPipe does not start.
        """
        self._yunet = _yunet(yunet) if yunet else None
        self._mediapipe = FaceDetector(max_tiles=MAX_TILES)
        self._hog = dlib.get_frontal_face_detector()

    def __call__(self, image: Image) -> list[Detection]:
        """Return the faces of `(H, W, 3)` uint8 RGB `image`, largest first."""
        seen = [_seen_by_mediapipe(face) for face in self._mediapipe(image)]  # its boxes are the ones we speak of
        seen += self._seen_by_yunet(image) + self._seen_by_hog(image)
        return sorted(merged(seen), key=lambda s: -float(np.prod(s.box[2:] - s.box[:2])))

    def close(self) -> None:
        """Free the detectors."""
        self._mediapipe.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _seen_by_yunet(self, image: Image) -> list[Detection]:
        if self._yunet is None:
            return []
        self._yunet.setInputSize(image.shape[1::-1])
        rows = self._yunet.detect(np.ascontiguousarray(image[..., ::-1]))[1]
        return [_of_yunet(row) for row in (() if rows is None else rows)]

    def _seen_by_hog(self, image: Image) -> list[Detection]:
        grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        found, scores, _ = self._hog.run(grey, int(grey.size < HOG_AREA), HOG_SCORE)
        boxes = [np.array([r.left(), r.top(), r.right(), r.bottom()], np.float32) for r in found]
        return [Detection(box, math.nan, {"hog": score}) for box, score in zip(boxes, scores, strict=True)]


def find_truth(clip: Path, ensemble: DetectorEnsemble, *, every: int = 1) -> Truth:
    """Return the faces of every `every`-th frame of a clip; those one unsure detector sees are not `checked`.

    Raises:
        SourceError: If the clip cannot be read.
        AnonymizerError: When MediaPipe fails.
    """
    with open_source(clip) as source:
        frames = {f.index: tuple(_true(s) for s in ensemble(f.image)) for f in source if f.index % every == 0}
        return Truth(clip.name, sha256_of(clip), source.info.width, source.info.height, frames)


def merged(seen: Sequence[Detection]) -> list[Detection]:
    """Return one sighting a face; of those of the same face, the first gives the box, and its yaw if it has one."""
    kept: list[Detection] = []
    for one in seen:
        at = _same(one.box, kept)
        if at is None:
            kept.append(one)
            continue
        scores = kept[at].scores | {name: max(s, kept[at].scores.get(name, s)) for name, s in one.scores.items()}
        yaw = one.yaw if math.isnan(kept[at].yaw) else kept[at].yaw
        kept[at] = Detection(kept[at].box, yaw, scores)
    return kept


def yaw_of_mesh(mesh: Floats) -> float:
    """Return how far a `(468, 3)` mesh is turned sideways, in degrees from 0: its ears' depth over their distance."""
    across = mesh[454] - mesh[234]
    return abs(math.degrees(math.atan2(float(across[2]), float(np.hypot(*across[:2])))))


def yaw_of_landmarks(landmarks: Floats) -> float:
    """Return about how far a face is turned sideways, in degrees from 0.

        tan(yaw) = (nose - middle of the eyes) along the eyes / distance of the eyes / NOSE_DEPTH

    Args:
        landmarks: `(5, 2)` eye, eye, nose tip, mouth corners.
    """
    eyes = landmarks[1] - landmarks[0]
    offset = (landmarks[2] - landmarks[:2].mean(axis=0)) @ eyes / max(float(eyes @ eyes), 1e-6)
    return abs(math.degrees(math.atan(float(offset) / NOSE_DEPTH)))


def _same(box: Floats, kept: Sequence[Detection]) -> int | None:
    if not kept:
        return None
    ious, shares = overlaps(box, np.stack([k.box for k in kept]))
    same = np.where((ious > SAME_IOU) | (shares > SAME_SHARE), ious, -1.0)
    return int(same.argmax()) if same.max() >= 0 else None


def _true(sighting: Detection) -> TrueFace:
    return TrueFace(sighting.box, sighting.yaw, sighting.believed)


def _seen_by_mediapipe(face: Face) -> Detection:
    yaw = math.nan if face.mesh is None else yaw_of_mesh(face.mesh)
    return Detection(face.box, yaw, {"mediapipe": face.score})


def _of_yunet(row: Floats) -> Detection:
    corner, size = row[:2], row[2:4]
    box = np.concatenate([corner, corner + size]) + BOX_OF_YUNET * np.tile(size, 2)
    return Detection(box.astype(np.float32), yaw_of_landmarks(row[4:14].reshape(5, 2)), {"yunet": float(row[14])})


def _yunet(path: Path) -> Any:  # noqa: ANN401 - OpenCV has no types
    try:
        return cv2.FaceDetectorYN.create(str(path), "", (320, 320), YUNET_SCORE, 0.3, 500)
    except cv2.error as error:
        raise SourceError(f"cannot read YuNet from {path}: is it face_detection_yunet's ONNX file?") from error
