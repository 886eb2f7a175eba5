"""The guard tells a person from a stranger with the shipped recogniser, on a free photograph."""

import tarfile
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from models.face_model import prepare
from models.identity.recognizer import SAME_PERSON, TOO_LIKE, TOO_LIKE_TO_RERANKER, FaceRecognizer
from models.pretrained.imported import load_recognizer
from streamer.faces.detect import FaceDetector
from streamer.pipeline.anonymizer import Anonymizer
from streamer.render.embed import FaceEmbedder
from streamer.render.guard import (
    CHECK_SECONDS,
    CLOSE,
    CLOSE_SECONDS,
    CLOSEST,
    MAX_CHECKS,
    PERSON_SECONDS,
    Compared,
    Guard,
)
from streamer.settings import Settings
from streamer.types import Face, GuardReport, Image, Track
from tests.pipeline.test_anonymizer import SHARED, frame_of

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def track(face: Face) -> Track:
    return Track(1, face, 0.0)


@pytest.fixture
def guard() -> Guard:
    return Guard(prepare(load_recognizer("identity"), CPU), CPU)


def test_the_person_is_caught_and_a_stranger_is_not(guard: Guard, anonymizer: Anonymizer, hopper: Image, track: Track):
    brighter = cv2.convertScaleAbs(hopper, alpha=1.1, beta=5)
    caught = guard.check(hopper, brighter, [track], seconds=0.0, limit=SAME_PERSON)
    assert caught == Compared([track], GuardReport(compared=1, escalated=1))
    drawn = anonymizer.image(hopper)
    passed = guard.check(hopper, drawn, [track], seconds=0.0, limit=SAME_PERSON)
    assert passed.alike == []
    assert (passed.report.compared, passed.report.escalated) == (1, 0)
    assert -1 < passed.report.highest <= SAME_PERSON


def test_a_track_is_compared_at_once_and_then_now_and_then(guard: Guard, hopper: Image, track: Track):
    blank = np.zeros_like(hopper)
    times = [n * CHECK_SECONDS / 5 for n in range(11)]
    found = [guard.check(hopper, blank, [track], seconds=at, limit=SAME_PERSON).report.compared for at in times]
    assert sum(found) == 3  # at 0, 1 and 2 times CHECK_SECONDS


class Like(FaceRecognizer):
    """Finds whoever is drawn white so like the person, and counts crops of either."""

    def __init__(self, cosine: float) -> None:
        super().__init__()
        self.stranger = [cosine, (1 - cosine**2) ** 0.5]
        self.persons = self.strangers = 0

    def _embed(self, crops: torch.Tensor) -> torch.Tensor:
        white = [bool(crop.min() > 0.99) for crop in crops]
        self.strangers += sum(white)
        self.persons += len(white) - sum(white)
        rows = torch.tensor([self.stranger if drawn else [1.0, 0.0] for drawn in white])
        return torch.nn.functional.pad(rows, (0, 126))[..., None, None]


def watch(guard: Guard, image: Image, track: Track) -> float:
    """Show a face drawn white, 40 frames a second, without a catch; return for how many seconds."""
    times = [n / 40 for n in range(25)]
    for at in times:
        assert guard.check(image, np.full_like(image, 255), [track], seconds=at, limit=TOO_LIKE).alike == []
    return times[-1]


@pytest.mark.parametrize(
    ("cosine", "pause"),
    [(CLOSE - 0.02, CHECK_SECONDS), (CLOSE + 0.02, CLOSE_SECONDS), (CLOSEST + 0.02, 1 / 40)],
)
def test_the_more_like_the_person_the_more_often_compared(hopper: Image, track: Track, cosine: float, pause: float):
    recognizer = Like(cosine)
    seconds = watch(Guard(recognizer, CPU), hopper, track)
    assert recognizer.strangers == pytest.approx(seconds / pause + 1, abs=1)
    assert recognizer.persons == pytest.approx(seconds / max(pause, PERSON_SECONDS) + 1, abs=1)


@pytest.mark.parametrize("is_first", [True, False])
def test_whom_one_recogniser_finds_nearly_too_like_it_compares_always_and_the_other_more_often(
    hopper: Image, track: Track, *, is_first: bool
):
    for cosine, pause in ((CLOSE - 0.02, CLOSE_SECONDS), (CLOSE + 0.02, 1 / 40)):
        near, far = Like(CLOSEST + 0.02), Like(cosine)
        first, second = (near, far) if is_first else (far, near)
        seconds = watch(Guard(first, CPU, second), hopper, track)
        assert near.strangers == 40 * seconds + 1
        assert far.strangers == pytest.approx(seconds / pause + 1, abs=1)


def test_who_was_refused_by_one_recogniser_is_judged_by_both_at_once(hopper: Image, track: Track):
    near, far = Like(CLOSEST + 0.02), Like(CLOSE - 0.1)
    guard = Guard(far, CPU, near)
    seconds, before = watch(guard, hopper, track), far.strangers
    near.stranger = [0.9, 0.19**0.5]
    white = np.full_like(hopper, 255)
    assert guard.check(hopper, white, [track], seconds=seconds + 0.01, limit=TOO_LIKE).alike == [track]
    assert far.strangers == before  # it had nothing to say yet
    guard.check(hopper, white, [track], seconds=seconds + 0.02, limit=TOO_LIKE)
    assert far.strangers == before + 1


def test_a_face_is_still_due_where_a_recogniser_fails(hopper: Image, track: Track):
    first, second = Like(0.9), Like(0.0)
    guard = Guard(first, CPU, second)
    white, second.stranger = np.full_like(hopper, 255), []
    with pytest.raises((RuntimeError, ValueError)):
        guard.check(hopper, white, [track], seconds=0.0, limit=TOO_LIKE)
    second.stranger = [0.0, 1.0]
    assert guard.check(hopper, white, [track], seconds=0.01, limit=TOO_LIKE).alike == [track]


def test_a_look_at_the_person_is_not_good_for_ever(hopper: Image, track: Track):
    """Somebody else may be there by then, who is as who is drawn."""
    recognizer = Like(CLOSEST + 0.02)
    guard = Guard(recognizer, CPU)
    watch(guard, hopper, track)
    white = np.full_like(hopper, 255)
    found = [guard.check(white, white, [track], seconds=0.6 + n / 40, limit=TOO_LIKE).alike for n in range(1, 6)]
    assert [track] in found


@pytest.mark.parametrize(("moved", "compared"), [(0.1, 0), (0.6, 1)])
def test_a_track_that_is_suddenly_elsewhere_is_compared_at_once(
    hopper: Image, track: Track, moved: float, compared: int
) -> None:
    width = track.face.box[2] - track.face.box[0]
    elsewhere = replace(track, face=replace(track.face, box=track.face.box + np.float32([moved * width, 0] * 2)))
    guard = Guard(Named(looks_of([0.1, 0.3])), CPU)
    assert guard.check(hopper, hopper, [track], seconds=0.0, limit=0.2).alike == []
    found = guard.check(hopper, hopper, [elsewhere], seconds=0.01, limit=0.2)
    assert (found.report.compared, found.report.escalated) == (compared, compared)


def test_a_caught_track_is_compared_again_in_the_next_frame(guard: Guard, hopper: Image, track: Track):
    found = [guard.check(hopper, hopper, [track], seconds=at, limit=SAME_PERSON) for at in (0.0, 0.01)]
    assert [one.report.escalated for one in found] == [1, 1]


def test_a_crowd_is_compared_a_few_at_a_time_but_newcomers_at_once(guard: Guard, hopper: Image, track: Track):
    crowd = [Track(n, track.face, 0.0) for n in range(6)]
    blank = np.zeros_like(hopper)
    assert guard.check(hopper, blank, crowd, seconds=0.0, limit=SAME_PERSON).report.compared == 6
    for n in range(3):
        found = guard.check(hopper, blank, crowd, seconds=CHECK_SECONDS + n / 25, limit=SAME_PERSON)
        assert found.report.compared == MAX_CHECKS


def looks_of(cosines: list[float]) -> list[list[float]]:
    """A person, and somebody who is so like them, again and again."""
    return [look for cosine in cosines for look in ([1.0, 0.0], [cosine, (1 - cosine**2) ** 0.5])]


class Named(FaceRecognizer):
    """Embeds as told, in turn; a crop is only counted."""

    def __init__(self, embeddings: list[list[float]]) -> None:
        super().__init__()
        self.embeddings = iter(embeddings)

    def _embed(self, crops: torch.Tensor) -> torch.Tensor:
        rows = torch.tensor([next(self.embeddings) for _ in crops])
        return torch.nn.functional.pad(rows, (0, 120 - rows.shape[1]))[..., None, None]


def test_looks_that_pass_one_by_one_are_caught_together(guard: Guard, hopper: Image, track: Track):
    # What is alike of person and stranger, .39 of each look, stays; the rest is chance, another in each look.
    looks = [[0.8, *(float(n == k) for n in range(1, 9))] for k in range(1, 9)]
    guard.embedder.recognizer = Named(looks)
    caught = [guard.check(hopper, hopper, [track], seconds=float(n), limit=0.55).alike for n in range(4)]
    assert caught == [[], [track], [], [track]]  # after the first catch another stranger is judged by its own looks


def test_what_was_seen_of_the_person_outlives_a_stranger(guard: Guard, hopper: Image, track: Track):
    nobody, other = [0.0, 0.0, 1.0], [0.0, 1.0, 0.0]
    person, noisy = [1.0, 0.0, 0.0], [0.1, 0.0, 1.0]
    guard.embedder.recognizer = Named([person, person, person, other, nobody, noisy, nobody, person])
    caught = [guard.check(hopper, hopper, [track], seconds=float(n), limit=0.6).alike for n in range(4)]
    assert caught == [[track], [], [track], [track]]  # the last look shows nobody, but the person is known by then


def test_whoever_either_recogniser_takes_for_the_person_is_caught(hopper: Image, track: Track):
    person, stranger = [1.0, 0.0], [0.0, 1.0]
    for cosine, caught in ((TOO_LIKE_TO_RERANKER + 0.01, [track]), (TOO_LIKE_TO_RERANKER - 0.01, [])):
        guard = Guard(Named([person, stranger]), CPU, Named([person, [cosine, (1 - cosine**2) ** 0.5]]))
        assert guard.check(hopper, hopper, [track], seconds=0.0, limit=TOO_LIKE).alike == caught
    guard = Guard(Named([person, person]), CPU, Named([person, stranger]))
    assert guard.check(hopper, hopper, [track], seconds=0.0, limit=TOO_LIKE).alike == [track]


@pytest.mark.slow
@pytest.mark.skipif(not SHARED.exists(), reason="needs ../shared: photos of children")
@pytest.mark.parametrize(("name", "limit"), [("identity", Guard.limits[0]), ("reranker", TOO_LIKE_TO_RERANKER)])
def test_few_children_are_taken_for_one_another(detector: FaceDetector, name: str, limit: float):
    """Of all pairs of strangers, 3 and 6 in 100 are; of children it was 7 in 10 and more, whom nobody saw drawn."""
    faces = []
    with tarfile.open(SHARED / "faces" / "eval-aaf.tar") as tar:
        for member in tar.getmembers():
            if member.name[-6:-4].isdigit() and int(member.name[-6:-4]) <= 12 and (file := tar.extractfile(member)):
                image = cv2.imdecode(np.frombuffer(file.read(), np.uint8), cv2.IMREAD_COLOR)[:, :, ::-1].copy()
                faces += [(image, max(found, key=lambda face: face.size)) for found in [detector(image)] if found]
    embeddings = FaceEmbedder(prepare(load_recognizer(name), CPU), CPU)(faces).numpy()
    pairs = (embeddings @ embeddings.T)[np.triu_indices(len(faces), 1)]
    assert len(faces) > 20
    assert (pairs > limit).mean() < 0.15


def test_a_score_that_is_no_number_is_caught(guard: Guard, hopper: Image, track: Track):
    guard.embedder.recognizer = lambda crops: torch.full((len(crops), 128), float("nan"))  # type: ignore[assignment]
    assert guard.check(hopper, hopper, [track], seconds=0.0, limit=SAME_PERSON).alike == [track]


@pytest.mark.slow
def test_a_network_that_draws_the_person_is_covered_and_gives_up_its_stranger(
    anonymizer: Anonymizer, detector: FaceDetector, hopper: Image
):
    stream = anonymizer.begin_stream()
    drawer = stream.renderer.drawer
    assert drawer is not None

    honest = drawer.draw

    def betray(image: Image, original: Image, *args: object, **named: object) -> None:
        honest(image, original, *args, **named)  # type: ignore[arg-type]
        image[:] = original

    drawer.draw = betray  # type: ignore[method-assign, assignment]
    safe = stream(frame_of(hopper, 0))
    assert [(face.tier, face.reason) for face in safe.faces] == [("mosaic", "too like the source")]
    assert not [face for face in detector(safe.image) if face.score > 0.5]
    drawer.draw = honest  # type: ignore[method-assign]
    tiers = [stream(frame_of(hopper, n)).faces[0].tier for n in range(1, 12)]
    assert tiers[0] == "mosaic"
    assert tiers[-1] == "generated"


class Same(FaceRecognizer):
    """Takes everybody for the same person."""

    def _embed(self, crops: torch.Tensor) -> torch.Tensor:
        return torch.ones(len(crops), 128, 1, 1)


@pytest.mark.slow
def test_what_the_second_recogniser_knows_is_covered(anonymizer: Anonymizer, hopper: Image):
    networks = anonymizer.model, CPU, anonymizer.settings, anonymizer.recognizer
    for reranker, tier in ((None, "generated"), (prepare(Same(), CPU), "mosaic")):
        (face,) = Anonymizer(*networks, reranker=reranker).begin_stream()(frame_of(hopper, 0)).faces
        assert face.tier == tier


@pytest.mark.slow
def test_under_a_mechanism_no_face_is_compared_so_that_nothing_depends_on_the_person_but_its_release(hopper: Image):
    loaded = Anonymizer.load(device="cpu", epsilon=1.0)
    asked: list[int] = []
    recognizer = loaded.recognizer
    assert recognizer is not None
    recognizer.register_forward_pre_hook(lambda *_: asked.append(1))
    watched = loaded.with_settings(Settings())
    for anonymizer, compared in ((loaded, 0), (watched, 1)):  # both ask who it is once, for a release or a choice
        asked.clear()
        (safe,) = anonymizer.frames([frame_of(hopper, 0)])
        assert [face.tier for face in safe.faces] == ["generated"]
        assert safe.guard.compared == compared
        assert len(asked) == 1 + compared


def test_a_stranger_who_is_too_like_the_person_is_replaced_before_the_frame_leaves(
    anonymizer: Anonymizer, hopper: Image
):
    stream = anonymizer.begin_stream()
    drawer = stream.renderer.drawer
    assert drawer is not None
    calls: list[int] = []
    honest = drawer.draw

    def first_time_the_person(image: Image, original: Image, *args: object, **named: object) -> None:
        calls.append(1)
        honest(image, original, *args, **named)  # type: ignore[arg-type]
        if len(calls) == 1:
            image[:] = original

    drawer.draw = first_time_the_person  # type: ignore[method-assign, assignment]
    safe = stream(frame_of(hopper, 0))
    assert [face.tier for face in safe.faces] == ["generated"]
    assert len(calls) >= 2
    assert np.abs(safe.image.astype(int) - hopper).max() > 20


def test_a_face_that_fades_in_is_compared_in_full_not_under_its_cover(anonymizer: Anonymizer, hopper: Image):
    stream = anonymizer.begin_stream()
    drawer = stream.renderer.drawer
    assert drawer is not None
    honest = drawer.draw

    def betray(image: Image, original: Image, *args: object, **named: object) -> None:
        honest(image, original, *args, **named)  # type: ignore[arg-type]
        image[:] = original

    drawer.draw = betray  # type: ignore[method-assign, assignment]
    stream(frame_of(np.zeros_like(hopper), 0))  # the person comes into a scene that has begun
    safe = stream(frame_of(hopper, 1))
    assert [(face.tier, face.reason) for face in safe.faces] == [("mosaic", "too like the source")]


def test_a_made_face_is_drawn_again_for_a_moment_and_never_at_another_beta(anonymizer: Anonymizer, hopper: Image):
    stream = anonymizer.begin_stream()
    seen = stream.detect(frame_of(hopper, 0))
    drawer = stream.renderer.drawer
    assert drawer is not None

    def made(seconds: float, beta: float, fresh: int) -> int:
        return drawer.draw(hopper.copy(), hopper, seen.tracks, seconds, beta=beta, fresh=fresh, covered=())

    assert made(0.0, 0.0, fresh=0) == 1  # it must be
    assert made(0.1, 0.0, fresh=0) == 0
    assert made(0.1, 0.0, fresh=1) == 1
    assert made(0.4, 0.0, fresh=0) == 1  # too old
    assert made(0.5, 0.5, fresh=0) == 1
    assert made(0.6, 0.0, fresh=0) == 1
