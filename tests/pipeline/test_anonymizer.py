"""From frames to safe frames: what is drawn, what is covered, and what happens when something fails."""

import tarfile
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from models.face_model import DEFAULT_TEMPLATE
from models.identity.recognizer import IDENTITY_LANDMARKS, load_mobilefacenet
from models.private_encoder.encoder import EncoderConfig
from models.private_encoder.generator import GeneratorConfig
from models.private_encoder.private_encoder import PrivateEncoder, PrivateEncoderConfig
from models.registry import load_face_model
from streamer.errors import AnonymizerError
from streamer.faces.detect import FaceDetector
from streamer.pipeline.anonymizer import Anonymizer
from streamer.pipeline.stream import MAX_FAILURES
from streamer.render.align import SimilarityAligner, profile_ratio
from streamer.render.blend import fill, inner_face
from streamer.settings import Settings
from streamer.types import Face, Image, Policy
from tests.pipeline.framed import frame_of

SHARED = Path(__file__).parents[3] / "shared"
MATCH = 0.336  # cosine of MobileFaceNet at a false accept rate of 1e-3


def inside(face: Face, image: Image) -> np.ndarray:
    return fill(inner_face(face), (0, 0, image.shape[1], image.shape[0]))


def likeness(a: Image, face_a: Face, b: Image, face_b: Face) -> float:
    """Return how alike two faces are to a recogniser that the shipped weights were not run through here."""
    recognizer = load_mobilefacenet(SHARED / "weights" / "mobilefacenet.pt")
    aligner = SimilarityAligner(np.array(IDENTITY_LANDMARKS, np.float32) / 112, 112)
    crops = np.stack([aligner.crop(a, face_a), aligner.crop(b, face_b)])
    with torch.no_grad():
        first, second = recognizer(torch.from_numpy(crops).permute(0, 3, 1, 2) / 127.5 - 1)
    return float(first @ second)


def test_a_face_is_drawn_anew_and_the_rest_of_the_picture_stays(
    anonymizer: Anonymizer, hopper: Image, face: Face
) -> None:
    safe = anonymizer.picture(frame_of(hopper))
    assert [report.tier for report in safe.faces] == ["generated"]
    changed = np.abs(safe.image.astype(int) - hopper).max(axis=2)
    oval = inside(face, hopper)
    assert (changed[oval] > 3).mean() > 0.7  # the rest is its rim
    assert (changed[cv2.dilate(oval.astype(np.uint8), np.ones((61, 61))) == 0] == 0).all()


def test_a_new_face_is_found_where_the_old_one_was(
    anonymizer: Anonymizer, detector: FaceDetector, hopper: Image, face: Face
) -> None:
    (found,) = detector(anonymizer.image(hopper))
    assert np.abs(found.landmarks - face.landmarks).mean() < 0.06 * face.size


def test_the_drawn_face_belongs_to_the_frame_s_light(anonymizer: Anonymizer, hopper: Image, face: Face) -> None:
    oval = inside(face, hopper)
    difference = anonymizer.image(hopper)[oval].mean(axis=0) - hopper[oval].mean(axis=0)
    assert np.abs(difference).max() < 8


def test_the_original_picture_is_not_modified(anonymizer: Anonymizer, hopper: Image) -> None:
    before = hopper.copy()
    anonymizer.image(hopper)
    assert (hopper == before).all()


def test_a_picture_without_faces_passes_unchanged(anonymizer: Anonymizer) -> None:
    image = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 255, (200, 300, 3), dtype=np.uint8), (0, 0), 3)
    safe = anonymizer.picture(frame_of(image))
    assert safe.faces == ()
    assert (safe.image == image).all()


@pytest.mark.parametrize("cover", ["solid", "mosaic"])
def test_cover_mode_needs_no_weights_and_leaves_a_few_flat_colours(cover: str, hopper: Image, face: Face) -> None:
    covering = Anonymizer.load(model="no such weights", mode="cover", cover=cover, device="cpu")  # type: ignore[arg-type]
    safe = covering.picture(frame_of(hopper))
    assert [report.tier for report in safe.faces] == [cover]
    assert len(np.unique(safe.image[inside(face, hopper)], axis=0)) <= (1 if cover == "solid" else 49)


@pytest.mark.slow
def test_all_faces_of_a_frame_are_drawn(anonymizer: Anonymizer, hopper: Image, face: Face) -> None:
    x1, y1, x2, y2 = (face.box + np.float32([-60, -60, 60, 60])).astype(int)
    tile = cv2.resize(hopper[max(0, y1) : y2, max(0, x1) : x2], (150, 170))
    crowd = np.vstack([np.hstack([tile] * 5)] * 4)
    safe = anonymizer.picture(frame_of(crowd))
    assert sum(report.tier == "generated" for report in safe.faces) == 20


def test_a_face_stays_the_same_stranger_from_frame_to_frame(hopper: Image, face: Face) -> None:
    first, *_, last = Anonymizer.load(device="cpu").frames(frame_of(hopper, index) for index in range(4))
    oval = inside(face, hopper)
    assert np.abs(first.image.astype(int) - last.image)[oval].mean() < 2
    assert {report.track_id for report in last.faces} == {report.track_id for report in first.faces}


@pytest.mark.slow
def test_another_key_makes_another_stranger(hopper: Image, face: Face) -> None:
    oval = inside(face, hopper)
    pictures = [Anonymizer.load(device="cpu", key=key * 32).image(hopper)[oval].astype(int) for key in (b"a", b"b")]
    assert np.abs(pictures[0] - pictures[1]).mean() > 3


def test_beta_may_be_an_integer(anonymizer: Anonymizer, hopper: Image) -> None:
    safe = Anonymizer(anonymizer.model, anonymizer.device, Settings(beta=1)).picture(frame_of(hopper))
    assert [face.tier for face in safe.faces] == ["generated"]


def test_a_doubtful_face_is_covered_not_drawn(anonymizer: Anonymizer, hopper: Image, face: Face) -> None:
    stream = Anonymizer(anonymizer.model, anonymizer.device, Settings(policy="strict")).begin_stream()
    stream.detector = Finds(replace(face, score=0.4))  # type: ignore[assignment]
    (report,) = stream(frame_of(np.full_like(hopper, 128))).faces  # where no network sees one
    assert (report.tier, report.reason) == ("mosaic", "doubtful")


@pytest.mark.parametrize(("share", "tier"), [(1.05, "generated"), (1.3, "mosaic")])
def test_a_turned_face_is_drawn_but_for_a_profile(
    share: float, tier: str, anonymizer: Anonymizer, hopper: Image, face: Face
) -> None:
    assert face.mesh is not None
    mesh = face.mesh.copy()
    mesh[1, :2] = mesh[234, :2] + share * (mesh[454, :2] - mesh[234, :2])  # the tip of the nose
    stream = anonymizer.begin_stream()
    stream.detector = Finds(replace(face, mesh=mesh))  # type: ignore[assignment]
    (report,) = stream(frame_of(hopper)).faces
    assert (report.tier, report.reason) == (tier, "" if tier == "generated" else "turned")


def test_faces_too_small_to_draw_are_covered(anonymizer: Anonymizer, hopper: Image, face: Face) -> None:
    scale = 20.0 / face.size
    image = np.full((150, 200, 3), 128, np.uint8)
    small = cv2.resize(hopper, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    image[: small.shape[0], : small.shape[1]] = small
    for report in anonymizer.picture(frame_of(image)).faces:
        assert report.tier == "mosaic"
        assert report.reason in ("small", "no mesh")


class Finds:
    """A detector that finds one face, always."""

    def __init__(self, face: Face) -> None:
        self._face = face

    def __call__(self, image: Image) -> list[Face]:
        return [self._face]

    def scan(self, image: Image, some: object = None) -> dict[object, object]:
        return {}


class Broken:
    """A detector or model that always fails."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def __call__(self, image: Image) -> list[Face]:
        raise self.error


@pytest.mark.parametrize("error", [AnonymizerError("graph died"), RuntimeError("x"), MemoryError(), ValueError("x")])
def test_a_frame_that_cannot_be_searched_shows_nothing(error: Exception, hopper: Image) -> None:
    stream = Anonymizer.load(mode="cover", device="cpu").begin_stream()
    stream.detector = Broken(error)  # type: ignore[assignment]
    safe = stream(frame_of(hopper))
    assert np.ptp(safe.image) == 0
    assert safe.failed


def test_a_detector_that_never_works_ends_the_job(hopper: Image) -> None:
    stream = Anonymizer.load(mode="cover", device="cpu").begin_stream()
    stream.detector = Broken(RuntimeError("x"))  # type: ignore[assignment]
    for index in range(MAX_FAILURES):
        stream(frame_of(hopper, index))
    with pytest.raises(AnonymizerError, match="in a row"):
        stream(frame_of(hopper, MAX_FAILURES))


def failing_model(kind: str) -> torch.nn.Module:
    model = load_face_model("linear-refined").eval().requires_grad_(False)

    def fail(latents: torch.Tensor) -> torch.Tensor:
        if kind == "nan":
            return torch.full((len(latents), 3, 128, 128), float("nan"))
        raise {"out of memory": torch.OutOfMemoryError("x"), "shape": ValueError("x")}[kind]

    model._generate = fail  # type: ignore[method-assign,assignment]
    return model


@pytest.mark.parametrize("kind", ["nan", "out of memory", "shape"])
def test_a_model_that_fails_leaves_the_face_covered(kind: str, hopper: Image, face: Face) -> None:
    broken = Anonymizer(failing_model(kind), torch.device("cpu"), Settings(cover="solid"))  # type: ignore[arg-type]
    safe = broken.picture(frame_of(hopper))
    assert [(report.tier, report.reason) for report in safe.faces] == [("solid", "model failed")]
    assert (safe.image[inside(face, hopper)] == 0).all()


@pytest.mark.parametrize(
    ("model", "painting"),
    [("textures", "streamer.render.textures.paint.blend"), ("linear-refined", "streamer.render.draw.paste")],
)
def test_a_paste_that_fails_half_way_leaves_the_face_covered(
    model: str, painting: str, hopper: Image, face: Face, monkeypatch: pytest.MonkeyPatch
) -> None:
    def half_paste(image: Image, *_: object, **__: object) -> None:
        image[:] = hopper
        raise cv2.error("x")

    monkeypatch.setattr(painting, half_paste)
    safe = Anonymizer.load(model, device="cpu", cover="solid").picture(frame_of(hopper))
    assert (safe.image[inside(face, hopper)] == 0).all()


def test_a_network_with_a_similarity_template_draws_faces_too(hopper: Image, face: Face) -> None:
    torch.manual_seed(0)
    generator = GeneratorConfig(resolution=64, latent_size=16, mapping_layers=1, channel_base=256, channel_max=8)
    encoder = EncoderConfig(input_size=64, latents=10, latent_size=16, stage_blocks=(1, 1, 1, 1), width=16)
    network = PrivateEncoder(PrivateEncoderConfig(encoder, generator), DEFAULT_TEMPLATE).eval().requires_grad_(False)
    safe = Anonymizer(network, torch.device("cpu"), Settings()).picture(frame_of(hopper))
    assert [report.tier for report in safe.faces] == ["generated"]
    assert np.abs(safe.image.astype(int) - hopper)[inside(face, hopper)].mean() > 2


def test_turn_is_half_when_facing_the_camera_and_near_one_in_profile() -> None:
    mesh = np.zeros((468, 3), np.float32)
    mesh[234, 0], mesh[454, 0], mesh[1, 0] = 0, 100, 50
    assert profile_ratio(mesh) == pytest.approx(0.5)
    mesh[1, 0] = 95
    assert profile_ratio(mesh) == pytest.approx(0.95)
    mesh[1, 0] = 5
    assert profile_ratio(mesh) == pytest.approx(0.95)


@pytest.mark.slow
@pytest.mark.skipif(not SHARED.exists(), reason="needs ../shared: photos and a recogniser")
def test_people_become_others_and_beta_brings_them_back(
    anonymizer: Anonymizer, detector: FaceDetector, tmp_path: Path
) -> None:
    with tarfile.open(SHARED / "faces" / "eval-lfw.tar") as tar:
        members = [member for member in tar.getmembers() if member.name.endswith(".jpg")][::60]
        tar.extractall(tmp_path, members, filter="data")
    scores: dict[float, list[float]] = {0.0: [], 1.0: []}
    for path in sorted(tmp_path.rglob("*.jpg")):
        image = np.ascontiguousarray(cv2.imread(str(path))[:, :, ::-1])
        face = max(detector(image), key=lambda found: found.size)
        for beta, values in scores.items():
            settings = Settings(beta=beta, key=b"k" * 32)
            made = Anonymizer(anonymizer.model, anonymizer.device, settings, anonymizer.recognizer).image(image)
            values.append(likeness(image, face, made, face))
    assert len(scores[0.0]) >= 10
    assert np.mean(scores[0.0]) < 0.25
    assert np.mean(np.array(scores[0.0]) < MATCH) > 0.8
    assert np.mean(scores[1.0]) > np.mean(scores[0.0]) + 0.2


@pytest.mark.parametrize(("policy", "covered"), [("balanced", 0), ("strict", 1)])
def test_a_pattern_that_only_one_network_takes_for_a_face_is_covered_by_strict_alone(policy: Policy, covered: int):
    grey = np.random.default_rng(0).integers(0, 255, (240, 320, 1), np.uint8)
    box = np.array([100, 60, 180, 140], np.float32)
    points = np.array([[125, 90], [155, 90], [140, 105], [128, 120], [152, 120]], np.float32)
    one = Anonymizer.load(mode="cover", policy=policy, device="cpu").begin_stream()
    one.detector.close()
    one.detector = Finds(Face(box, points, None, 0.6))  # type: ignore[assignment]
    seen = one.detect(frame_of(np.repeat(grey, 3, axis=2)))
    assert not seen.failed
    assert sum(track.is_confirmed for track in seen.tracks) == covered
