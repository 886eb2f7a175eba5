"""From frames to safe frames: what is drawn, what is covered, and what happens when something fails."""

import itertools
import tarfile
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
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
from streamer.errors import AnonymizerError, SourceError
from streamer.faces.detect import FaceDetector
from streamer.pipeline.anonymizer import Anonymizer, Settings
from streamer.pipeline.runner import QUEUE_LENGTH, protect
from streamer.pipeline.stream import MAX_FAILURES
from streamer.render.align import SimilarityAligner, profile_ratio
from streamer.render.blend import fill, inner_face
from streamer.render.draw import choose_device
from streamer.types import Face, Frame, Image, Policy, VideoInfo

SHARED = Path(__file__).parents[3] / "shared"
MATCH = 0.336  # cosine of MobileFaceNet at a false accept rate of 1e-3


@pytest.fixture(scope="module")
def hopper() -> Image:
    import matplotlib

    path = Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"
    return np.ascontiguousarray(cv2.imread(str(path))[:, :, ::-1])


@pytest.fixture(scope="module")
def anonymizer() -> Anonymizer:
    return Anonymizer.load(device="cpu", key=b"k" * 32)


@pytest.fixture(scope="module")
def face(hopper: Image) -> Face:
    with FaceDetector() as detector:
        return max(detector(hopper), key=lambda face: face.score)


def frame_of(image: Image, index: int = 0) -> Frame:
    return Frame(image, index, index, Fraction(1, 25))


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


def test_a_new_face_is_found_where_the_old_one_was(anonymizer: Anonymizer, hopper: Image, face: Face) -> None:
    with FaceDetector() as detector:
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
    stream.detector = lambda image: [replace(face, score=0.4)]  # type: ignore[assignment]
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
    stream.detector = lambda image: [replace(face, mesh=mesh)]  # type: ignore[assignment]
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


class Listed:
    """A source of given frames, which may fail at the end."""

    def __init__(self, image: Image, count: int, error: Exception | None = None) -> None:
        self.image, self.count, self.error, self.read = image, count, error, 0
        self.info = VideoInfo(image.shape[1], image.shape[0], Fraction(25), Fraction(1, 25), count)

    def __enter__(self) -> "Listed":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def __iter__(self) -> Iterator[Frame]:
        for index in range(self.count):
            self.read += 1
            yield frame_of(self.image, index)
        if self.error:
            raise self.error


@pytest.fixture(scope="module")
def coverer() -> Anonymizer:
    return Anonymizer.load(mode="cover", device="cpu")


def test_every_frame_comes_out_once_and_in_order(coverer: Anonymizer) -> None:
    safe = list(protect(Listed(np.zeros((60, 80, 3), np.uint8), 30), coverer))
    assert [(frame.index, frame.pts) for frame in safe] == [(index, index) for index in range(30)]


def test_an_error_of_the_source_reaches_the_consumer_after_the_frames_before_it(coverer: Anonymizer) -> None:
    frames = protect(Listed(np.zeros((60, 80, 3), np.uint8), 5, SourceError("cable")), coverer)
    assert [frame.index for frame in itertools.islice(frames, 5)] == [0, 1, 2, 3, 4]
    with pytest.raises(SourceError, match="cable"):
        next(frames)


def test_a_slow_consumer_holds_the_source_back(coverer: Anonymizer) -> None:
    source = Listed(np.zeros((60, 80, 3), np.uint8), 200)
    frames = protect(source, coverer)
    next(frames)
    time.sleep(0.1)
    held_back = round(coverer.settings.delay_seconds * 25)
    assert source.read <= 3 * QUEUE_LENGTH + held_back + 8  # three threads, each with a frame or two in hand
    frames.close()  # type: ignore[attr-defined]


def test_a_consumer_that_leaves_ends_the_threads(coverer: Anonymizer) -> None:
    before = threading.active_count()
    frames = protect(Listed(np.zeros((60, 80, 3), np.uint8), 10_000), coverer)
    list(itertools.islice(frames, 3))
    frames.close()  # type: ignore[attr-defined]
    for _ in range(100):
        if threading.active_count() <= before:
            break
        time.sleep(0.05)
    assert threading.active_count() <= before


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"beta": 1.5}, "beta"),
        ({"beta": float("nan")}, "beta"),
        ({"mode": "hide"}, "mode"),
        ({"cover": "blur"}, "cover"),
        ({"epsilon": 1.0, "beta": 0.1}, "epsilon needs mode 'generate' and beta 0"),
        ({"epsilon": 1.0, "mode": "cover"}, "epsilon needs mode 'generate' and beta 0"),
    ],
)
def test_settings_out_of_range_are_refused(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Settings(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("wrong", [{"epsilon": -1.0}, {"epsilon": 1.0, "delta": 2.0}])
def test_an_impossible_privacy_budget_is_refused(wrong: dict[str, float], anonymizer: Anonymizer) -> None:
    with pytest.raises(ValueError, match=next(reversed(wrong))):
        Anonymizer(anonymizer.model, anonymizer.device, Settings(**wrong))  # type: ignore[arg-type]


def test_privacy_is_not_promised_of_a_model_that_does_not_know_identity() -> None:
    encoder = EncoderConfig(input_size=32, latents=10, latent_size=16, stage_blocks=(1, 1, 1, 1), width=16)
    generator = GeneratorConfig(resolution=64, latent_size=16, mapping_layers=1, channel_base=64, channel_max=16)
    model = PrivateEncoder(PrivateEncoderConfig(encoder, generator))
    with pytest.raises(ValueError, match="a private-encoder model does not"):
        Anonymizer(model, torch.device("cpu"), Settings(epsilon=1.0))


def test_a_private_run_says_what_it_spent(anonymizer: Anonymizer, hopper: Image) -> None:
    private = Anonymizer(anonymizer.model, anonymizer.device, Settings(epsilon=3.0), anonymizer.recognizer)
    assert anonymizer.privacy == ""
    drawn = list(private.frames([frame_of(hopper, 0), frame_of(hopper, 1)]))
    assert [face.tier for frame in drawn for face in frame.faces] == ["generated"] * 2
    assert private.privacy == "epsilon 3 a track at delta 1e-05, 3 if all 1 tracks were one person"


def test_a_key_does_not_show_when_settings_are_printed() -> None:
    assert "secret" not in repr(Settings(key=b"secret"))


@pytest.mark.parametrize("shape", [(10, 10), (10, 10, 4), (10, 10, 1)])
def test_a_picture_of_another_shape_is_refused(shape: tuple[int, ...], coverer: Anonymizer) -> None:
    with pytest.raises(ValueError, match="RGB"):
        coverer.image(np.zeros(shape, np.uint8))


def test_cuda_that_is_asked_for_and_absent_is_an_error_not_a_cpu() -> None:
    if torch.cuda.is_available():
        assert choose_device("cuda").type == "cuda"
    else:
        with pytest.raises(AnonymizerError, match="no CUDA GPU"):
            choose_device("cuda")
    assert choose_device("cpu").type == "cpu"


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
def test_people_become_others_and_beta_brings_them_back(anonymizer: Anonymizer, tmp_path: Path) -> None:
    with tarfile.open(SHARED / "faces" / "eval-lfw.tar") as tar:
        members = [member for member in tar.getmembers() if member.name.endswith(".jpg")][::60]
        tar.extractall(tmp_path, members, filter="data")
    scores: dict[float, list[float]] = {0.0: [], 1.0: []}
    with FaceDetector() as detector:
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
    one.close()
    one.detector = lambda image: [Face(box, points, None, 0.6)]  # type: ignore[assignment]
    seen = one.detect(frame_of(np.repeat(grey, 3, axis=2)))
    assert not seen.failed
    assert sum(track.is_confirmed for track in seen.tracks) == covered
