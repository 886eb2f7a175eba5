"""Single pictures: from any number of threads, each with nothing to do with the others."""

import hashlib
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

from streamer.errors import AnonymizerError
from streamer.pipeline import anonymizer as pipeline
from streamer.pipeline import stream as stream_module
from streamer.pipeline.anonymizer import Anonymizer
from streamer.settings import Settings
from streamer.types import Face, Frame, Image
from tests.end_to_end.patience import PATIENCE_SECONDS

ROUNDS = 6
KEY = b"k" * 32


@pytest.fixture(scope="module")
def pictures() -> list[Image]:
    """Return pictures with a photographed face here and there, in two, in none, and much smaller."""
    import matplotlib

    photo = cv2.imread(str(Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"))[:, :, ::-1]
    face = np.ascontiguousarray(cv2.resize(photo, (256, 300), interpolation=cv2.INTER_AREA))
    nothing = np.full_like(face, 128)
    beside = [(face, nothing), (nothing, face), (face, face), (nothing, nothing), (nothing, face[:, ::-1])]
    return [*(np.hstack(pair) for pair in beside), np.ascontiguousarray(face[::2, ::2])]


@pytest.fixture
def anonymizer() -> Iterator[Anonymizer]:
    with Anonymizer.load(mode="cover", device="cpu") as made:
        yield made


def still(image: Image) -> Frame:
    return Frame(image, 0, 0, Fraction(1))


@pytest.mark.slow
@pytest.mark.parametrize("threads", [2, 16])
def test_every_thread_gets_what_it_would_get_alone(anonymizer: Anonymizer, pictures: list[Image], threads: int):
    alone = [anonymizer.image(picture) for picture in pictures]
    assert [bool((a != b).any()) for a, b in zip(alone, pictures, strict=True)] == [True, True, True, False, True, True]
    with ThreadPoolExecutor(threads) as workers:
        together = list(workers.map(anonymizer.image, pictures * ROUNDS))
    for made, expected in zip(together, alone * ROUNDS, strict=True):
        assert (made == expected).all()


def digest(image: Image) -> str:
    return hashlib.sha256(image.tobytes()).hexdigest()


@pytest.fixture(scope="module")
def drawing() -> Iterator[Anonymizer]:
    with Anonymizer.load(device="cpu", key=KEY) as made:
        yield made


@pytest.mark.slow
def test_a_key_and_a_picture_give_one_face_in_any_order_thread_and_process(drawing: Anonymizer, pictures: list[Image]):
    first = [digest(drawing.image(picture)) for picture in pictures[:2]]
    with ThreadPoolExecutor(4) as workers:
        again = list(workers.map(drawing.image, (pictures[:2] * 2)[::-1]))
    assert [digest(image) for image in again] == first[::-1] * 2
    code = (
        "import sys, numpy as np, hashlib\nfrom streamer import Anonymizer\n"
        f"image = np.frombuffer(sys.stdin.buffer.read(), np.uint8).reshape({pictures[1].shape})\n"
        f"made = Anonymizer.load(device='cpu', key={KEY!r}).image(image)\n"
        "print(hashlib.sha256(made.tobytes()).hexdigest())"
    )
    done = subprocess.run([sys.executable, "-c", code], input=pictures[1].tobytes(), capture_output=True, check=True)
    assert done.stdout.decode().strip() == first[1]


@pytest.mark.slow
def test_a_recording_under_a_key_has_the_same_strangers_again(drawing: Anonymizer, pictures: list[Image]):
    frames = [Frame(picture, n, n, Fraction(1, 25)) for n, picture in enumerate([pictures[3], *pictures[2:3] * 2])]
    one, two = ([digest(safe.image) for safe in drawing.frames(frames)] for _ in range(2))
    assert one == two


@pytest.mark.slow
def test_another_name_gives_other_faces(drawing: Anonymizer, pictures: list[Image]):
    door, again, yard, own = (drawing.image(pictures[0], stream=name) for name in ("door", "door", "yard", None))
    assert digest(door) == digest(again)
    assert len({digest(image) for image in (door, yard, own)}) == 3


@pytest.mark.slow
def test_a_private_picture_gets_another_face_each_time(drawing: Anonymizer, pictures: list[Image]):
    with drawing.with_settings(Settings(epsilon=0.1)) as private:
        assert len({digest(private.image(pictures[0], stream="door")) for _ in range(3)}) > 1


def test_a_key_that_has_no_effect_is_said_to_have_none(drawing: Anonymizer, caplog: pytest.LogCaptureFixture):
    drawing.with_settings(Settings(epsilon=0.1))
    assert caplog.messages == []
    drawing.with_settings(Settings(epsilon=0.1, key=KEY))
    assert caplog.messages == ["epsilon draws strangers by noise of its own; the key has no effect"]


def test_a_picture_is_not_known_from_the_one_before_it(anonymizer: Anonymizer, pictures: list[Image]):
    reports = [anonymizer.picture(still(picture)).faces for picture in (pictures[2], pictures[0], pictures[2])]
    assert [[face.track_id for face in faces] for faces in reports] == [[1, 2], [1], [1, 2]]


def test_a_detector_that_broke_costs_one_picture(anonymizer: Anonymizer, pictures: list[Image]):
    alone = anonymizer.image(pictures[0])
    with anonymizer._stills.borrowed() as one, one.detector._running() as networks:
        networks._clock = -1000  # MediaPipe takes no time that is over, and nothing at all after that
    safe = anonymizer.picture(still(pictures[0]))
    assert safe.failed
    assert np.ptp(safe.image) == 0
    assert (anonymizer.image(pictures[0]) == alone).all()


def test_no_more_pictures_than_detectors_are_searched_at_once(monkeypatch: pytest.MonkeyPatch, pictures: list[Image]):
    full, made = threading.Barrier(pipeline.MAX_STILLS, timeout=PATIENCE_SECONDS), []

    class Waiting:
        def __init__(self, networks: object) -> None:
            made.append(self)

        def __call__(self, image: Image) -> list[Face]:
            full.wait()  # until all there may be are at work
            return []

        def scan(self, image: Image, some: object = None) -> dict[object, object]:
            return {}

        def close(self) -> None:
            made.remove(self)

    monkeypatch.setattr(stream_module, "FaceDetector", Waiting)
    with Anonymizer(None, None, Settings(mode="cover")) as one:
        with ThreadPoolExecutor(4 * pipeline.MAX_STILLS) as workers:
            list(workers.map(one.image, [pictures[3]] * 4 * pipeline.MAX_STILLS))
        assert len(made) == pipeline.MAX_STILLS
    assert made == []


def test_a_closed_anonymizer_takes_no_picture(pictures: list[Image]):
    anonymizer = Anonymizer.load(mode="cover", device="cpu")
    anonymizer.image(pictures[0])
    anonymizer.close()
    anonymizer.close()
    with pytest.raises(AnonymizerError, match="closed"):
        anonymizer.image(pictures[0])


def test_who_is_at_work_when_it_is_closed_finishes_and_frees_its_detector(
    monkeypatch: pytest.MonkeyPatch, pictures: list[Image]
):
    at_work, go_on, closed = threading.Event(), threading.Event(), threading.Event()

    class Held:
        def __init__(self, networks: object) -> None: ...

        def __call__(self, image: Image) -> list[Face]:
            at_work.set()
            assert go_on.wait(PATIENCE_SECONDS)
            return []

        def scan(self, image: Image, some: object = None) -> dict[object, object]:
            return {}

        def close(self) -> None:
            closed.set()

    monkeypatch.setattr(stream_module, "FaceDetector", Held)
    anonymizer = Anonymizer(None, None, Settings(mode="cover"))
    with ThreadPoolExecutor(1) as workers:
        made = workers.submit(anonymizer.image, pictures[3])
        assert at_work.wait(PATIENCE_SECONDS)
        anonymizer.close()
        assert not closed.is_set()
        go_on.set()
        assert (made.result() == pictures[3]).all()
    assert closed.is_set()


def test_a_detector_that_does_not_start_is_tried_again(monkeypatch: pytest.MonkeyPatch, pictures: list[Image]):
    real = stream_module.FaceDetector

    def failing(networks: object) -> None:
        raise AnonymizerError("MediaPipe did not start")

    with Anonymizer(None, None, Settings(mode="cover")) as anonymizer:
        monkeypatch.setattr(stream_module, "FaceDetector", failing)
        for _ in range(pipeline.MAX_STILLS + 1):
            with pytest.raises(AnonymizerError, match="did not start"):
                anonymizer.image(pictures[0])
        monkeypatch.setattr(stream_module, "FaceDetector", real)
        assert (anonymizer.image(pictures[0]) != pictures[0]).any()


def test_settings_that_decided_who_becomes_whom_cannot_be_changed(anonymizer: Anonymizer):
    anonymizer.settings = replace(anonymizer.settings, cover="solid")
    for change in ({"key": b"k" * 32}, {"epsilon": 1.0, "mode": "generate"}, {"delta": 0.1}):
        with pytest.raises(ValueError, match="key, epsilon and delta cannot be changed"):
            anonymizer.settings = replace(anonymizer.settings, **change)  # type: ignore[arg-type]
    assert anonymizer.settings.cover == "solid"
