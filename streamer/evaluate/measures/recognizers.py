"""The recognisers that measure identity: dlib's, ours, and any that is given as a file. Each crops faces by itself."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
import numpy.typing as npt
import torch
from scipy.spatial.distance import cdist

from models.checkpoint_errors import CheckpointError
from models.identity.recognizer import IDENTITY_CROP_SIZE, FaceRecognizer
from models.metrics import cosine_similarity
from models.pretrained.imported import load_recognizer
from streamer.errors import StreamerError
from streamer.evaluate.measures.dlib_network import CHIP_PADDING, CHIP_SIZE, DlibNetwork
from streamer.render.embed import FaceEmbedder, identity_aligner
from streamer.types import Face, Floats, Image

Doubles = npt.NDArray[np.float64]

USUAL_THRESHOLDS = {"identity": 0.412}  # false accept rate 1e-3 over 375,742 pairs of strangers of LFW, measured
_INSIGHTFACE = (np.full(3, 0.5), np.full(3, 0.5))  # mean and deviation of RGB in [0, 1]: to [-1, 1]
_IMAGENET = (np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225]))
_INPUTS = {"": _INSIGHTFACE, "insightface": _INSIGHTFACE, "imagenet": _IMAGENET}


class Recognizer(Protocol):
    """Turns faces into embeddings, and knows how to compare them."""

    @property
    def name(self) -> str:
        """What its figures are called, such as "dlib"."""
        ...

    @property
    def usual_threshold(self) -> float | None:
        """The score above which others take two faces for one person; for sets too small to tell; None if unknown."""
        ...

    def __call__(self, image: Image, face: Face) -> Floats:
        """Return the embedding `(D,)` of `face` in `image`, `(H, W, 3)` uint8 RGB."""
        ...

    def score(self, a: Floats, b: Floats) -> Doubles:
        """Return how alike each pair of embeddings `(N, D)` is, `(N,)`: higher is more alike, in its own metric."""
        ...

    def scores(self, probes: Floats, gallery: Floats) -> Doubles:
        """Return how alike each probe `(N, D)` and each of the gallery `(M, D)` is, `(N, M)`."""
        ...

    def similarity(self, a: Floats, b: Floats, *, originals: Floats) -> Doubles:
        """Return the cosine of each pair, `(N,)` in [-1, 1], near 0 for strangers (Zhao et al. 2022, eq. 5).

        Args:
            a, b: `(N, D)`.
            originals: `(M, D)` embeddings of real faces, for recognisers whose cosine has no zero of its own.
        """
        ...

    def centered(self, embeddings: Floats, *, originals: Floats) -> Floats:
        """Return embeddings `(N, D)` whose cosines are those of `similarity`, for tools that know no other measure."""
        ...


class _ByCosine:
    """Compares by the cosine."""

    def score(self, a: Floats, b: Floats) -> Doubles:
        """Return cosines, `(N,)`."""
        return cosine_similarity(a, b)

    def scores(self, probes: Floats, gallery: Floats) -> Doubles:
        """Return cosines, `(N, M)`."""
        return np.asarray(_unit(probes) @ _unit(gallery).T)

    def similarity(self, a: Floats, b: Floats, *, originals: Floats) -> Doubles:
        """Return cosines, `(N,)`: strangers' are about 0 already."""
        return cosine_similarity(a, b)

    def centered(self, embeddings: Floats, *, originals: Floats) -> Floats:
        """Return the embeddings as they are."""
        return embeddings


class DlibRecognizer:
    """dlib's ResNet (King 2017), of which no training here has seen anything; 128-d, compared by distance.

    Its landmarks are dlib's own five, found in the box it is given.
    """

    name = "dlib"
    usual_threshold: float | None = -0.6  # King 2017; .5 % of 33,510 pairs of strangers of LFW are nearer

    def __init__(self) -> None:
        """Load both models from the package `face_recognition_models`.

        Raises:
            StreamerError: If it or dlib is missing.
        """
        package = find_spec("face_recognition_models")  # not imported: it wants pkg_resources, which is gone
        if package is None or package.origin is None or find_spec("dlib") is None:
            raise StreamerError("dlib's recogniser is missing: in Veil's folder, pip install '.[eval]'")
        import dlib  # here, so that other recognisers work without

        weights = Path(package.origin).parent / "models"
        self._rectangle, self._chip = dlib.rectangle, dlib.get_face_chip
        self._shape = dlib.shape_predictor(str(weights / "shape_predictor_5_face_landmarks.dat"))
        self._network = DlibNetwork(weights / "dlib_face_recognition_resnet_model_v1.dat")

    def __call__(self, image: Image, face: Face) -> Floats:
        """Return the embedding `(128,)`."""
        corners = (round(float(value)) for value in face.box)
        shape = self._shape(image, self._rectangle(*corners))
        return self._network(self._chip(image, shape, size=CHIP_SIZE, padding=CHIP_PADDING))

    def score(self, a: Floats, b: Floats) -> Doubles:
        """Return minus the Euclidean distance, `(N,)`: what dlib means by alike; its authors' threshold is -.6."""
        return np.asarray(-np.linalg.norm(np.asarray(a, np.float64) - b, axis=1))

    def scores(self, probes: Floats, gallery: Floats) -> Doubles:
        """Return minus the Euclidean distances, `(N, M)`."""
        return np.asarray(-cdist(probes, gallery))

    def similarity(self, a: Floats, b: Floats, *, originals: Floats) -> Doubles:
        """Return the cosine of what differs from the mean of `originals`: without, strangers are at .9."""
        return cosine_similarity(self.centered(a, originals=originals), self.centered(b, originals=originals))

    def centered(self, embeddings: Floats, *, originals: Floats) -> Floats:
        """Return what differs from the mean of `originals`."""
        return np.asarray(embeddings - np.asarray(originals, np.float64).mean(axis=0))


class _OfCrops(_ByCosine, ABC):
    """Looks at the 112 px ArcFace crop."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.usual_threshold: float | None = USUAL_THRESHOLDS.get(name)
        self._aligner = identity_aligner()

    def __call__(self, image: Image, face: Face) -> Floats:
        """Return the embedding `(D,)`."""
        return self._embed(self._aligner.crop(image, face))

    @abstractmethod
    def _embed(self, crop: Image) -> Floats: ...


class TorchRecognizer(_OfCrops):
    """One of `models.identity.recognizer`."""

    def __init__(self, name: str, network: FaceRecognizer) -> None:
        super().__init__(name)
        self._embedder = FaceEmbedder(network.eval(), torch.device("cpu"))

    def _embed(self, crop: Image) -> Floats:
        return np.asarray(self._embedder.embed([crop])[0].numpy())


class OnnxRecognizer(_OfCrops):
    """Any network of ArcFace crops, `(1, 3, 112, 112)` RGB in, one embedding out."""

    def __init__(self, path: Path, scaling: str = "insightface") -> None:
        """Open it.

        Args:
            path: The file.
            scaling: What its input is: "insightface" is [-1, 1], "imagenet" of ImageNet's mean and deviation.

        Raises:
            StreamerError: If it cannot be used.
        """
        super().__init__(path.stem)
        self._mean, self._deviation = _INPUTS[scaling]
        try:
            self._network = cv2.dnn.readNetFromONNX(str(path))
            self._embed(np.zeros((IDENTITY_CROP_SIZE, IDENTITY_CROP_SIZE, 3), np.uint8))
        except cv2.error as error:
            raise StreamerError(f"{path}: not an ONNX network of 112x112 faces that OpenCV can run") from error

    def _embed(self, crop: Image) -> Floats:
        scaled = ((crop / 255 - self._mean) / self._deviation).astype(np.float32)
        self._network.setInput(np.ascontiguousarray(scaled.transpose(2, 0, 1)[None]))
        return np.array(self._network.forward(), np.float32).reshape(-1)


def load_recognizers(specs: Sequence[str]) -> list[Recognizer]:
    """Return recognisers, in order.

    Args:
        specs: "dlib"; "identity", which we ship; the name of an imported one; or a file: .onnx, .pt, .safetensors.
            An ONNX file wants RGB in [-1, 1], as InsightFace's do, or is given as FILE.onnx@imagenet.

    Raises:
        StreamerError: If one cannot be used, two have the same name, or there is none.
    """
    recognizers = [_load(spec) for spec in specs]
    names = [recognizer.name for recognizer in recognizers]
    if not names or len(set(names)) < len(names):
        raise StreamerError(f"need recognisers of different names, got {', '.join(names) or 'none'}")
    return recognizers


def _load(spec: str) -> Recognizer:
    if spec == "dlib":
        return DlibRecognizer()
    file, _, scaling = spec.partition("@")
    if file.lower().endswith(".onnx"):
        return _load_onnx(Path(file), scaling)
    try:
        return TorchRecognizer(Path(spec).stem, load_recognizer(spec))
    except CheckpointError as error:
        raise StreamerError(str(error)) from error


def _load_onnx(path: Path, scaling: str) -> Recognizer:
    if not path.is_file():
        raise StreamerError(f"{path}: no such recogniser; expected dlib, identity, or a file")
    if scaling not in _INPUTS:
        raise StreamerError(f"{path}@{scaling}: unknown scaling; expected {', '.join(filter(None, _INPUTS))}")
    return OnnxRecognizer(path, scaling or "insightface")


def _unit(embeddings: Floats) -> Doubles:
    exact = np.asarray(embeddings, np.float64)
    return np.asarray(exact / np.linalg.norm(exact, axis=1, keepdims=True))
