"""Looks at a photo before and after, and notes all that is measured of it, once; keeps no output."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

import cv2
import dlib
import numpy as np
from skimage.metrics import structural_similarity

from models.face_model import DEFAULT_TEMPLATE
from models.metrics import landmark_error
from streamer.errors import AnonymizerError
from streamer.evaluate.images.photos import PhotoFile
from streamer.evaluate.measures.gaze import GazeReader
from streamer.evaluate.measures.recognizers import Recognizer
from streamer.evaluate.measures.utility import Expression, ExpressionError, expression_error, expression_of
from streamer.faces.detect import FaceDetector
from streamer.faces.track import START_SCORE
from streamer.pipeline.anonymizer import Anonymizer
from streamer.render.align import SimilarityAligner
from streamer.types import Face, Floats, Frame, Image, SafeFrame

CROP_SIZE = 256  # pixels: the paper's, and what its figures are taken on
PLACE_SIZE = 16  # pixels of the thumbnail that tells whether two pictures show one scene
NO_ERROR = ExpressionError(*[float("nan")] * 5)


@dataclass(frozen=True, slots=True)
class Original:
    """A photo and all that is known of it; reusable over methods.

    Attributes:
        photo: Its name and labels.
        image: `(H, W, 3)` uint8 RGB.
        face: Of whom it shows (`subject`).
        crop: `(256, 256, 3)` uint8 RGB, aligned to `DEFAULT_TEMPLATE`.
        embeddings: By recogniser, `(D,)`.
        hog: Whether dlib's detector sees the face in the crop.
        expression: What the face does.
        inception: `(2048,)` features of the crop, or None.
    """

    photo: PhotoFile
    image: Image = field(repr=False)
    face: Face = field(repr=False)
    crop: Image = field(repr=False)
    embeddings: dict[str, Floats] = field(repr=False)
    hog: bool
    expression: Expression = field(repr=False)
    inception: Floats | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Judged:
    """What became of a photo: numbers, no picture.

    Attributes:
        embeddings: By recogniser, `(D,)`, aligned as an attacker would: by the face found in the output, else by the
            source's landmarks.
        features: `(D,)` of the last recogniser, aligned as the source: what Frechet and kernel distance compare.
        ssim, mse: Of the crops, the source's beside the output's; mse in [0, 1].
        hog: Whether dlib's detector sees a face in the crop (the paper's utility).
        found: Whether MediaPipe sees a face where the source's was.
        landmarks: How far its five points moved, in distances of the eyes; nan where none was found.
        error: How far its expression moved; nan where none was found.
        expression: What the face does; None where none was found.
        points: `(5, 2)` landmarks in pixels of the photo; None where no face was found.
        tier: How our own pipeline covered it; "" for another tool's output.
        inception: `(2048,)` features of the crop, or None.
    """

    embeddings: dict[str, Floats] = field(repr=False)
    features: Floats = field(repr=False)
    ssim: float
    mse: float
    hog: bool
    found: bool
    landmarks: float
    error: ExpressionError
    expression: Expression | None = field(repr=False)
    points: Floats | None = field(default=None, repr=False)
    tier: str = ""
    inception: Floats | None = field(default=None, repr=False)


Method = Callable[[Original], Image | None]  # the output for a photo, of its size; None where there is none


class Judge:
    """Detectors and recognisers; one per process, for one thread at a time.

    Attributes:
        recognizers: As given.
        crops: Cuts out the crops that pictures are compared in.
    """

    def __init__(self, recognizers: Sequence[Recognizer], inception: Callable[[Image], Floats] | None = None) -> None:
        """Take at least one recogniser and, for FID, what makes Inception's features of a crop."""
        self.recognizers, self._features = tuple(recognizers), inception
        self._detector, self._gaze = FaceDetector(), GazeReader()
        self._hog = dlib.get_frontal_face_detector()
        self.crops = SimilarityAligner(np.array(DEFAULT_TEMPLATE.points, np.float32), CROP_SIZE)

    def original(self, photo: PhotoFile) -> Original | None:
        """Return what is known of a photo, or None where no face is found.

        Raises:
            SourceError: If it cannot be read.
        """
        image = photo.read()
        face = subject(self._detector(image))
        if face is None:
            return None
        crop = self.crops.crop(image, face)
        return Original(
            photo,
            image,
            face,
            crop,
            embeddings={recognizer.name: recognizer(image, face) for recognizer in self.recognizers},
            hog=self._sees(crop),
            expression=self._expression(image, face),
            inception=self._inception(crop),
        )

    def judge(self, original: Original, output: Image, *, tier: str = "") -> Judged:
        """Return what became of a photo.

        Args:
            original: The photo.
            output: `(H, W, 3)` uint8 RGB, of the photo's size.
            tier: How our own pipeline covered the face.

        Raises:
            ValueError: If the output is of another size.
        """
        if output.shape != original.image.shape or output.dtype != np.uint8:
            raise ValueError(f"output must be {original.image.shape} uint8, got {output.shape} {output.dtype}")
        face = nearest([f for f in self._detector(output) if f.mesh is not None], original.face)
        crop = self.crops.crop(output, original.face)
        expression = self._expression(output, face) if face else None
        return Judged(
            embeddings={recognizer.name: recognizer(output, face or original.face) for recognizer in self.recognizers},
            features=self.recognizers[-1](output, original.face),
            ssim=similarity_of(original.crop, crop),
            mse=float(np.square((original.crop.astype(np.float32) - crop) / 255).mean()),
            hog=self._sees(crop),
            found=face is not None,
            landmarks=_moved(original.face, face) if face else float("nan"),
            error=expression_error(original.expression, expression) if expression else NO_ERROR,
            expression=expression,
            points=face.landmarks if face else None,
            tier=tier,
            inception=self._inception(crop),
        )

    def close(self) -> None:
        """Free the detectors."""
        self._detector.close()
        self._gaze.close()

    def _sees(self, crop: Image) -> bool:
        return len(self._hog(crop, 0)) > 0

    def _expression(self, image: Image, face: Face) -> Expression:
        assert face.mesh is not None
        return expression_of(face.mesh, self._gaze(image, face.mesh))

    def _inception(self, crop: Image) -> Floats | None:
        return self._features(crop) if self._features else None


def similarity_of(crop: Image, other: Image) -> float:
    """Return the SSIM of two crops with the window of Wang et al. 2004 (scikit-image)."""
    window = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    return float(structural_similarity(crop, other, channel_axis=2, **window))  # type: ignore[no-untyped-call]


def subject(faces: Sequence[Face]) -> Face | None:
    """Return whom a photo shows: the largest face that the detector is sure of, else the largest; None without a mesh.

    What it is not sure of may be none, and still be larger.
    """
    meshed = (face for face in faces if face.mesh is not None)
    return max(meshed, key=lambda face: (face.score >= START_SCORE, face.size), default=None)


def nearest(faces: Sequence[Face], to: Face) -> Face | None:
    """Return the face whose landmarks lie nearest to those of another, within half its size; None without."""
    middle = to.landmarks.mean(axis=0)
    distances = [float(np.linalg.norm(face.landmarks.mean(axis=0) - middle)) for face in faces]
    near = [pair for pair in zip(distances, faces, strict=True) if pair[0] < to.size / 2]
    return min(near, key=lambda pair: pair[0])[1] if near else None


def place_of(image: Image, face: Face) -> tuple[Floats, Floats]:
    """Return a picture of 16 x 16 pixels `(256, 3)`, and the weight `(256,)` of each: 0 in the face, 1 away from it."""
    small = cv2.resize(image, (PLACE_SIZE, PLACE_SIZE), interpolation=cv2.INTER_AREA).reshape(-1, 3)
    inside = np.zeros(image.shape[:2], np.float32)
    x1, y1, x2, y2 = (max(0, round(float(value))) for value in face.box)
    inside[y1:y2, x1:x2] = 1
    covered = cv2.resize(inside, (PLACE_SIZE, PLACE_SIZE), interpolation=cv2.INTER_AREA)
    return small.astype(np.float32), np.asarray(1 - covered.reshape(-1), np.float32)


def anonymized(anonymizer: Anonymizer, original: Original) -> tuple[Image, str]:
    """Return our own output for a photo, and how the face was covered: "missed" where the pipeline found none.

    Raises:
        AnonymizerError: If the picture could not be searched: then there is no output.
    """
    safe = anonymizer.picture(Frame(original.image, index=0, pts=0, time_base=Fraction(1)))
    if safe.failed:
        raise AnonymizerError(f"{original.photo.name}: {safe.failed}")
    return safe.image, _tier(safe, original.face)


def _tier(safe: SafeFrame, face: Face) -> str:
    middle = face.landmarks.mean(axis=0)
    over = [report for report in safe.faces if (report.box[:2] < middle).all() and (middle < report.box[2:]).all()]
    return next((f"{r.tier}: {r.reason}" if r.reason else r.tier for r in over), "missed")


def _moved(before: Face, after: Face) -> float:
    return float(landmark_error(before.landmarks[None], after.landmarks[None])[0])
