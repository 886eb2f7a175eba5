"""Recognisers crop, embed and compare in their own way, whatever they are loaded from."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from streamer.errors import StreamerError
from streamer.evaluate.measures.dlib_network import DlibNetwork
from streamer.evaluate.measures.recognizers import DlibRecognizer, OnnxRecognizer, TorchRecognizer, load_recognizers
from streamer.faces.detect import FaceDetector
from streamer.types import Face, Image
from tests.models.training.crops import calibrated

SHARED_WEIGHTS = Path(__file__).parents[3] / "shared" / "weights"
needs_shared = pytest.mark.skipif(not SHARED_WEIGHTS.is_dir(), reason="needs ../shared/weights")


@pytest.fixture(scope="module")
def portrait(hopper: Image, face: Face) -> tuple[Image, Face]:
    return hopper, face


@pytest.fixture(scope="module")
def dlib() -> DlibRecognizer:
    return DlibRecognizer()


def test_dlib_is_what_its_own_functions_give(dlib: DlibRecognizer, portrait: tuple[Image, Face]):
    import dlib as package

    image, face = portrait
    spec = find_spec("face_recognition_models")
    assert spec is not None
    assert spec.origin is not None
    models = Path(spec.origin).parent / "models"
    shape = package.shape_predictor(str(models / "shape_predictor_5_face_landmarks.dat"))
    network = package.face_recognition_model_v1(str(models / "dlib_face_recognition_resnet_model_v1.dat"))
    box = package.rectangle(*(round(float(value)) for value in face.box))
    expected = np.array(network.compute_face_descriptor(image, shape(image, box)))
    np.testing.assert_allclose(dlib(image, face), expected, atol=1e-6)
    chip = np.random.default_rng(0).integers(0, 256, (150, 150, 3), np.uint8)
    weights = DlibNetwork(models / "dlib_face_recognition_resnet_model_v1.dat")
    np.testing.assert_allclose(weights(chip), np.array(network.compute_face_descriptor(chip)), atol=1e-6)


@pytest.mark.parametrize("content", [b"", b"\x01\x05con_4" * 29 + b"\x01\x04fc_2"])
def test_a_file_that_is_not_dlibs_network_is_named(content: bytes, tmp_path: Path):
    (tmp_path / "some.dat").write_bytes(content)
    with pytest.raises(StreamerError, match=r"some\.dat: not dlib's face recognition network"):
        DlibNetwork(tmp_path / "some.dat")


def test_dlib_compares_by_distance_row_by_row_and_all_with_all(dlib: DlibRecognizer):
    a, b = np.array([[0, 0], [3, 4]], np.float32), np.array([[0, 0], [0, 0]], np.float32)
    np.testing.assert_allclose(dlib.score(a, b), [0, -5])
    np.testing.assert_allclose(dlib.scores(a, b[:1]), [[0], [-5]])


def test_dlibs_similarity_is_the_cosine_about_the_mean_of_the_originals(dlib: DlibRecognizer):
    originals = np.array([[0, 10], [2, 10]], np.float32)  # mean (1, 10)
    a, b = np.array([[2, 10], [2, 10]], np.float32), np.array([[3, 10], [1, 11]], np.float32)
    np.testing.assert_allclose(dlib.similarity(a, b, originals=originals), [1, 0], atol=1e-7)


def test_the_recogniser_we_ship_knows_a_face_at_half_the_size(portrait: tuple[Image, Face], detector: FaceDetector):
    image, face = portrait
    (identity,) = load_recognizers(["identity"])
    small = cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    again = max(detector(small), key=lambda found: found.size)
    same = identity.score(identity(image, face)[None], identity(small, again)[None])
    assert same[0] > 0.8
    assert identity.name == "identity"


def test_scores_are_the_cosines_of_every_pair():
    (identity,) = load_recognizers(["identity"])
    a, b = np.array([[2, 0], [1, 1]], np.float32), np.array([[0, 3], [5, 0]], np.float32)
    half = np.sqrt(0.5)
    np.testing.assert_allclose(identity.scores(a, b), [[0, 1], [half, half]], atol=1e-7)
    np.testing.assert_allclose(identity.score(a, b), [0, half], atol=1e-7)
    np.testing.assert_allclose(identity.similarity(a, b, originals=a), [0, half], atol=1e-7)


def test_a_file_of_weights_is_named_for_its_stem(tmp_path: Path):
    from models.identity.recognizer import MobileFaceNet

    torch.save(calibrated(MobileFaceNet()).state_dict(), tmp_path / "mine.pt")
    (loaded,) = load_recognizers([str(tmp_path / "mine.pt")])
    assert isinstance(loaded, TorchRecognizer)
    assert loaded.name == "mine"


@pytest.mark.parametrize(
    ("specs", "message"),
    [
        ([], "none"),
        (["identity", "identity"], "different names"),
        (["nothing"], "nothing"),
        (["missing.onnx"], r"missing\.onnx: no such recogniser"),
    ],
)
def test_recognisers_that_cannot_be_used_are_refused_in_one_line(specs: list[str], message: str):
    with pytest.raises(StreamerError, match=message):
        load_recognizers(specs)


def test_an_onnx_file_that_is_none_and_an_unknown_scaling_are_refused(tmp_path: Path):
    (tmp_path / "a.onnx").write_bytes(b"no")
    with pytest.raises(StreamerError, match=r"a\.onnx: not an ONNX network"):
        load_recognizers([str(tmp_path / "a.onnx")])
    with pytest.raises(StreamerError, match="unknown scaling; expected insightface, imagenet"):
        load_recognizers([f"{tmp_path / 'a.onnx'}@other"])


@needs_shared
def test_one_network_gives_the_same_embedding_from_torch_and_from_onnx(portrait: tuple[Image, Face]):
    (torch_one,) = load_recognizers([str(SHARED_WEIGHTS / "mobilefacenet.pt")])
    onnx_one = OnnxRecognizer(SHARED_WEIGHTS / "mobilefacenet.onnx", "imagenet")
    first, second = torch_one(*portrait), onnx_one(*portrait)
    np.testing.assert_allclose(second / np.linalg.norm(second), first, atol=1e-5)
