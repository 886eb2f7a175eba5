"""Readings are of faces: what a detector doubts is mostly none, and says nothing about who is recognised."""

from fractions import Fraction

import numpy as np

from streamer.evaluate.measures.recognizers import Doubles, Recognizer
from streamer.evaluate.video.steadiness import SteadinessMeter
from streamer.types import Face, Floats, Frame, Image

SIZE = 60.0


class MeanColour:
    """Takes what has the same mean colour for the same person."""

    name = "colour"
    usual_threshold: float | None = None

    def __call__(self, image: Image, face: Face) -> Floats:
        x1, y1, x2, y2 = face.box.astype(int)
        mean = image[y1:y2, x1:x2].reshape(-1, 3).mean(axis=0)
        return np.asarray(mean / np.linalg.norm(mean), np.float32)

    def score(self, a: Floats, b: Floats) -> Doubles:
        return np.asarray((a * b).sum(axis=1), np.float64)

    def scores(self, probes: Floats, gallery: Floats) -> Doubles:
        return np.asarray(probes @ gallery.T, np.float64)

    def similarity(self, a: Floats, b: Floats, *, originals: Floats) -> Doubles:
        return self.score(a, b)

    def centered(self, embeddings: Floats, *, originals: Floats) -> Floats:
        return embeddings


def face(left: float, score: float) -> Face:
    box = np.array([left, 40.0, left + SIZE, 40.0 + SIZE], np.float32)
    points = np.array([[0.3, 0.4], [0.7, 0.4], [0.5, 0.6], [0.35, 0.8], [0.65, 0.8]], np.float32)
    across = np.random.default_rng(1).uniform(0, SIZE, (468, 3)).astype(np.float32)
    return Face(box, box[:2] + SIZE * points, across + np.append(box[:2], 0).astype(np.float32), score)


def test_matches_are_of_faces_that_the_detector_is_sure_of() -> None:
    """A pattern in the background, which no tool touches, is like itself: that recognises nobody."""
    before = np.random.default_rng(0).integers(30, 220, (160, 320, 3)).astype(np.uint8)
    after = before.copy()
    after[40:100, 40:100] = (250, 20, 20)  # the face; the pattern at 200 stays
    recognizer: Recognizer = MeanColour()
    meter, found = SteadinessMeter([recognizer]), [face(40.0, 0.9), face(200.0, 0.49)]
    readings = []
    for index in range(6):
        frame = Frame(before, index=index, pts=index, time_base=Fraction(1, 25))
        readings += meter.add(frame, after, found, [])
    matches = [reading.value for reading in readings if reading.kind == "match"]
    assert len(matches) == 6
    assert max(matches) < 0.95
    assert len({reading.track for reading in readings}) == 2  # both are followed, for how steady they are
