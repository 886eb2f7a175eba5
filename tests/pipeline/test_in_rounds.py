"""A stream that is late is not searched in every frame, and nothing is lost by it."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

from streamer.consent.filter import ConsentFilter
from streamer.faces import detect
from streamer.faces.detect import FaceDetector, Scanned
from streamer.faces.looks import Scan
from streamer.pipeline import stream as streams
from streamer.pipeline.anonymizer import Anonymizer
from streamer.pipeline.stream import DAMAGED, FaceAnonymizer
from streamer.types import Face, Frame, Image, Policy

RATE = 30


class Counting(FaceDetector):
    """The detector, which remembers what it was asked about."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[int] = []  # the brightness of the top left pixel, which numbers the frames of a test
        self.scanned: list[int] = []  # the same, ahead of the search

    def __call__(  # type: ignore[override]
        self, image: Image, some: list[Scan] | None = None, scanned: Scanned | None = None
    ) -> list[Face]:
        self.asked.append(int(image[0, 0, 0]))
        return super().__call__(image, some, scanned)

    def scan(self, image: Image, some: Sequence[Scan] | None = None) -> Scanned:
        if some is None:
            self.scanned.append(int(image[0, 0, 0]))
        return super().scan(image, some)


@pytest.fixture(scope="module")
def portrait() -> Image:
    import matplotlib

    photo = cv2.imread(str(Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"))[:, :, ::-1]
    return np.ascontiguousarray(cv2.resize(photo, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA))


def numbered(images: list[Image], first: int = 0) -> Iterator[Frame]:
    for n, image in enumerate(images, first):
        image = image.copy()
        image[0, 0] = n
        yield Frame(image, n, n, Fraction(1, RATE))


def stream_of(anonymizer: Anonymizer) -> tuple[FaceAnonymizer, Counting]:
    stream, detector = anonymizer.begin_stream(), Counting()
    stream.detector.close()
    stream.detector = detector
    return stream, detector


def covering(policy: Policy = "balanced", delay: float = 0.5) -> Anonymizer:
    return Anonymizer.load(mode="cover", device="cpu", policy=policy, delay_seconds=delay)


def moved(image: Image, steps: int) -> list[Image]:
    return [np.roll(image, n, axis=1) for n in range(steps)]


def test_a_known_face_is_covered_in_the_frames_that_are_not_searched(portrait: Image):
    stream, detector = stream_of(covering())
    seen = list(stream.ahead(numbered(moved(portrait, 10))))
    assert detector.asked == [0, 6, 9]
    with FaceDetector() as every:
        for tracked in seen:
            (track,), (face,) = tracked.tracks, every(tracked.frame.image)
            assert track.is_confirmed
            assert np.abs(track.face.box - face.box).max() < 0.1 * face.size


def test_the_last_frame_is_searched_whatever_its_turn(portrait: Image):
    stream, detector = stream_of(covering())
    assert len(list(stream.ahead(numbered([portrait] * 8)))) == 8
    assert detector.asked == [0, 6, 7]


def test_the_last_frame_is_searched_when_the_source_breaks(portrait: Image):
    def broken() -> Iterator[Frame]:
        yield from numbered([portrait] * 3)
        raise OSError("cable")

    stream, detector = stream_of(covering())
    seen = stream.ahead(broken())
    assert [next(seen).frame.index for _ in range(3)] == [0, 1, 2]
    assert detector.asked == [0, 2]
    with pytest.raises(OSError, match="cable"):
        next(seen)


def test_the_last_frame_of_a_scene_is_searched(portrait: Image):
    coarse = np.random.default_rng(0).integers(0, 255, (9, 9, 3), np.uint8)
    other = np.asarray(cv2.resize(coarse, portrait.shape[1::-1]))
    stream, detector = stream_of(covering())
    seen = list(stream.ahead(numbered([other] * 2 + [portrait] * 2)))
    assert [tracked.frame.index for tracked in seen] == [0, 1, 2, 3]
    assert detector.asked == [0, 1, 2, 3]


def test_a_face_that_comes_between_two_rounds_is_covered_from_its_first_frame(portrait: Image):
    empty = np.full_like(portrait, 96)
    faint = (0.03 * portrait + 0.97 * 96).astype(np.uint8)  # it fades in below what counts as motion
    portrait = portrait.copy()
    for image in (empty, faint, portrait):
        image[-40:] = 0
        image[-40:, : image.shape[1] // 2] = 255  # so that the picture as a whole is not faint
    stream, detector = stream_of(covering())
    seen = list(stream.ahead(numbered([empty, *[faint] * 5, portrait, portrait])))
    assert detector.asked[:2] == [0, 6]
    assert [len(tracked.tracks) for tracked in seen] == [1] * 8


@pytest.mark.parametrize(("policy", "delay"), [("strict", 0.5), ("balanced", 0.0)])
def test_strict_and_what_is_not_late_are_searched_in_every_frame(portrait: Image, policy: Policy, delay: float):
    stream, detector = stream_of(covering(policy, delay))
    list(stream.ahead(numbered([portrait] * 3)))
    assert detector.asked == [0, 1, 2]


def test_where_somebody_may_stay_visible_every_frame_is_searched(portrait: Image):
    stream, detector = stream_of(covering())
    stream._keeper = ConsentFilter.__new__(ConsentFilter)
    list(stream.ahead(numbered([portrait] * 3)))
    assert detector.asked == [0, 1, 2]


def test_a_frame_that_failed_is_made_up_for_in_the_next(portrait: Image, monkeypatch: pytest.MonkeyPatch):
    stream, detector = stream_of(covering())
    search = detector.__class__.__call__

    def fails_once(
        self: Counting, image: Image, some: list[Scan] | None = None, scanned: Scanned | None = None
    ) -> list[Face]:
        faces = search(self, image, some, scanned)
        if len(self.asked) == 2:
            raise RuntimeError("out of memory")
        return faces

    monkeypatch.setattr(Counting, "__call__", fails_once)
    seen = list(stream.ahead(numbered([portrait] * 9)))
    assert detector.asked == [0, 6, 7, 8]
    assert [bool(tracked.failed) for tracked in seen] == [False] * 6 + [True] + [False] * 2


def test_the_last_frame_before_what_is_damaged_is_searched_whole(portrait: Image):
    stream, detector = stream_of(covering())
    frames = [replace(frame, is_damaged=frame.index > 2) for frame in numbered([portrait] * 5)]
    seen = list(stream.ahead(frames))
    assert detector.asked == [0, 2]
    assert [tracked.failed for tracked in seen] == [""] * 3 + [DAMAGED] * 2


def test_a_busy_stream_is_scanned_a_frame_ahead_with_the_same_result(portrait: Image, monkeypatch: pytest.MonkeyPatch):
    stream, detector = stream_of(covering("strict"))
    seen = list(stream.ahead(numbered(moved(portrait, 8))))
    assert detector.scanned == [3, 4, 5, 6, 7]
    assert detector.asked == list(range(8))
    monkeypatch.setattr(streams, "BUSY_ROUNDS", 100)
    stream, detector = stream_of(covering("strict"))
    for early, late in zip(seen, stream.ahead(numbered(moved(portrait, 8))), strict=True):
        assert early.frame.index == late.frame.index
        for one, other in zip(early.tracks, late.tracks, strict=True):
            assert (one.face.box == other.face.box).all()
            assert one.face.score == other.face.score
    assert detector.scanned == []


@pytest.mark.parametrize(("pause", "delay"), [(1 / RATE, 0.5), (None, 0.0)])
def test_no_frame_waits_for_the_next_where_none_is_late(portrait: Image, pause: float | None, delay: float):
    stream, detector = covering("strict", delay).begin_stream(frame_seconds=pause), Counting()
    stream.detector.close()
    stream.detector = detector
    taken: list[int] = []

    def frames() -> Iterator[Frame]:
        for frame in numbered([portrait] * 6):
            assert detector.asked == taken  # all before are searched
            taken.append(frame.index)
            yield frame

    assert len(list(stream.ahead(frames()))) == 6
    assert detector.scanned == []


def test_a_frame_whose_scan_failed_is_said_to_be_unsearched(portrait: Image, monkeypatch: pytest.MonkeyPatch):
    stream, detector = stream_of(covering("strict"))
    scan = Counting.scan

    def fails_once(self: Counting, image: Image, some: Sequence[Scan] | None = None) -> Scanned:
        found = scan(self, image, some)
        if some is None and self.scanned == [3, 4]:
            raise RuntimeError("out of memory")
        return found

    monkeypatch.setattr(Counting, "scan", fails_once)
    seen = list(stream.ahead(numbered([portrait] * 7)))
    assert [bool(tracked.failed) for tracked in seen] == [False] * 4 + [True] + [False] * 2
    assert detector.scanned == [3, 4, 5, 6]


def test_no_frame_of_a_busy_stream_is_lost_when_the_source_breaks(portrait: Image):
    def broken() -> Iterator[Frame]:
        yield from numbered([portrait] * 6)
        raise OSError("cable")

    stream, detector = stream_of(covering("strict"))
    seen = stream.ahead(broken())
    assert [next(seen).frame.index for _ in range(6)] == list(range(6))
    assert detector.scanned == [3, 4, 5]
    with pytest.raises(OSError, match="cable"):
        next(seen)


def drawing(monkeypatch: pytest.MonkeyPatch) -> tuple[FaceAnonymizer, Counting]:
    """A stream that searches as if it drew."""
    monkeypatch.setattr(FaceAnonymizer, "_draws", True)
    return stream_of(covering())


def test_a_drawn_face_is_followed_by_its_mesh_between_two_rounds(portrait: Image, monkeypatch: pytest.MonkeyPatch):
    stream, detector = drawing(monkeypatch)
    seen = list(stream.ahead(numbered(moved(portrait, 10))))
    assert detector.asked == [0, 6, 9]
    with FaceDetector() as every:
        for tracked in seen:
            (track,), (face,) = tracked.tracks, every(tracked.frame.image)
            assert track.missed_seconds == 0
            assert track.face.mesh is not None
            assert face.mesh is not None
            assert np.abs(track.face.mesh - face.mesh)[:, :2].max() < 0.04 * face.size


def test_a_drawn_face_that_is_gone_between_two_rounds_is_looked_for_everywhere(
    portrait: Image, monkeypatch: pytest.MonkeyPatch
):
    stream, detector = drawing(monkeypatch)
    with FaceDetector() as once:
        (face,) = once(portrait)
    x1, y1, x2, y2 = (round(float(v)) for v in face.box)
    hidden = portrait.copy()
    hidden[y1:y2, x1:x2] = portrait[y1:y2, x1:x2].mean(axis=(0, 1))
    seen = list(stream.ahead(numbered([portrait, portrait, hidden, hidden, portrait, portrait])))
    assert detector.asked[:3] == [0, 2, 3]
    x, y = (face.box[:2] + face.box[2:]) / 2
    for tracked in seen:
        assert any((t.face.box[:2] < (x, y)).all() and (t.face.box[2:] > (x, y)).all() for t in tracked.tracks)


def test_a_drawn_face_without_a_mesh_is_looked_for_in_every_frame(portrait: Image, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(detect, "MESH_PRESENCE", 2.0)
    stream, detector = drawing(monkeypatch)
    list(stream.ahead(numbered([portrait] * 4)))
    assert detector.asked == [0, 1, 2, 3]
