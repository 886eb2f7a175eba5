"""Who agreed stays visible, after a moment, and nobody else does."""

import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from streamer.cli import main as cli
from streamer.cli.demo import Pose, Shot, render_clip
from streamer.consent.cohort import Cohort
from streamer.consent.entries import ConsentList, Person
from streamer.consent.filter import ConsentContext, ConsentFilter
from streamer.consent.quality import Observation
from streamer.faces.detect import Candidate
from streamer.pipeline.anonymizer import Anonymizer
from streamer.pipeline.runner import protect
from streamer.sources.file_source import open_source
from streamer.types import Face, Frame, Image, SafeFrame, Track, TrackedFrame

KEY = bytes(range(32))


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a clip of 1.5 seconds of one photographed person."""
    path = tmp_path_factory.mktemp("keep") / "clip.mp4"
    render_clip(path, (Shot(1.5, (Pose(0.5, 0.5, 1.2),), (Pose(0.52, 0.5, 1.2),)),))
    return path


@pytest.fixture(scope="module")
def portrait(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the photo of that person."""
    import matplotlib

    image = cv2.imread(str(Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"))
    path = tmp_path_factory.mktemp("photo") / "portrait.png"
    cv2.imwrite(str(path), image)
    return path


def enrolled(folder: Path, photo: Path, *, days: int = 1, camera: str = "") -> Path:
    """Return a consent list with one entry, made as a user would."""
    (folder / "key").write_bytes(KEY)
    day = (date.today() + timedelta(days=days)).isoformat()
    arguments = ["consent", "add", str(folder / "list.toml"), "--name", "Grace", "--photo", str(photo)]
    arguments += ["--key", str(folder / "key"), "--expires", day, *(["--camera", camera] if camera else [])]
    result = CliRunner().invoke(cli.app, arguments)
    assert result.exit_code == 0, result.output
    return folder / "list.toml"


def safe_frames(clip: Path, keeping: ConsentContext) -> list[tuple[np.ndarray, SafeFrame]]:
    stream = Anonymizer.load(mode="cover", device="cpu", keeping=keeping).begin_stream()
    with open_source(str(clip)) as source:
        return [(frame.image, stream(frame)) for frame in source]


def tiers(frames: list[tuple[np.ndarray, SafeFrame]]) -> Counter[str]:
    return Counter(face.tier for _, safe in frames for face in safe.faces)


@pytest.mark.slow
def test_an_enrolled_person_is_covered_first_and_then_stays_as_they_are(clip: Path, portrait: Path, tmp_path: Path):
    keeping = ConsentContext.load(enrolled(tmp_path, portrait), key=KEY, camera=None)
    frames = safe_frames(clip, keeping)
    found = tiers(frames)
    assert found["kept"] > 10
    assert {face.tier for _, safe in frames if safe.seconds < 0.5 for face in safe.faces} == {"mosaic"}
    image, safe = frames[-1]
    assert [face.tier for face in safe.faces] == ["kept"]
    assert (image == safe.image).all()


@pytest.mark.slow
def test_who_agreed_stays_visible_when_all_is_searched_and_some_is_still_to_be_shown(
    clip: Path, portrait: Path, tmp_path: Path
):
    keeping = ConsentContext.load(enrolled(tmp_path, portrait), key=KEY, camera=None)
    with open_source(str(clip)) as source:
        frames = list(protect(source, Anonymizer.load(mode="cover", device="cpu", keeping=keeping)))
    assert {face.tier for frame in frames[-10:] for face in frame.faces} == {"kept"}


@pytest.mark.slow
def test_consent_for_another_camera_keeps_nobody_visible(clip: Path, portrait: Path, tmp_path: Path):
    keeping = ConsentContext.load(enrolled(tmp_path, portrait, camera="door"), key=KEY, camera="window")
    assert set(tiers(safe_frames(clip, keeping))) == {"mosaic"}


@pytest.mark.slow
def test_a_look_that_fails_keeps_nobody_visible(clip: Path, portrait: Path, tmp_path: Path):
    keeping = ConsentContext.load(enrolled(tmp_path, portrait), key=KEY, camera=None)

    def broken(*_: object) -> None:
        raise RuntimeError

    object.__setattr__(keeping, "reader", broken)
    assert set(tiers(safe_frames(clip, keeping))) == {"mosaic"}


def test_a_list_without_its_key_is_wrong_usage(clip: Path, tmp_path: Path):
    result = CliRunner().invoke(cli.app, ["run", str(clip), str(tmp_path / "safe.mp4"), "--keep", "list.toml"])
    assert result.exit_code == 2
    assert "--keep-key" in result.output


# Whoever else lies at the place of a visible face


NOISE: Image = np.random.default_rng(0).integers(0, 255, (480, 640, 3), dtype=np.uint8)


def face(x: float, y: float, size: float, *, score: float = 0.9, hides: bool = False) -> Face:
    mesh = np.full((468, 3), (x + size / 2, y + size / 2, 0), np.float32) if score >= 0.5 else None
    return Face(np.float32([x, y, x + size, y + size]), np.zeros((5, 2), np.float32), mesh, score, hides)


ANN = face(200, 100, 200)


class AnnAgreed:
    """Keeps visible whoever is where Ann is."""

    def visible(self, image: Image, tracks: Sequence[Track], seconds: float) -> set[int]:
        return {track.id for track in tracks if (track.face.box == ANN.box).all()}


class Scripted:
    """Finds in each picture what the script says."""

    def __init__(self, frames: Sequence[Sequence[Face]]) -> None:
        self._script = iter(frames)

    def __call__(self, image: Image, scanned: object = None) -> list[Face]:
        return list(next(self._script))

    def scan(self, image: Image, some: object = None) -> dict[object, object]:
        return {}


def played(frames: Sequence[Sequence[Face]], *, delay: float = 0.0) -> list[Image]:
    """Return what is shown of a noise in which these faces are found, 30 frames a second."""
    stream = Anonymizer.load(mode="cover", device="cpu", delay_seconds=delay).begin_stream()
    stream.detector = Scripted(frames)  # type: ignore[assignment]
    stream._look_again = lambda image, faces, known, seconds: list(faces)  # type: ignore[assignment]
    stream._keeper = AnnAgreed()  # type: ignore[assignment]
    shown = (Frame(NOISE, n, n, Fraction(1, 30)) for n in range(len(frames)))
    return [stream.render(seen).image for seen in stream.ahead(shown)]


def untouched(image: Image, at: Face) -> float:
    x1, y1, x2, y2 = at.box.astype(int)
    return float((image[y1:y2, x1:x2] == NOISE[y1:y2, x1:x2]).all(axis=2).mean())


def test_a_stranger_lost_before_a_visible_person_is_covered_with_them():
    coming = [face(60 + 30 * n, 150, 100) for n in range(6)]
    images = played([*([ANN, stranger] for stranger in coming), [ANN], [ANN], [ANN]])
    assert untouched(images[0], ANN) == 1
    assert max(untouched(image, at) for image, at in zip(images, coming, strict=False)) == 0
    for n, image in enumerate(images[6:], 6):  # on their way, wherever they are by now
        assert untouched(image, face(60 + 30 * n, 150, 100)) == 0


def test_a_visible_person_is_shown_again_when_nobody_can_be_before_them_any_more():
    images = played([[ANN, face(210, 150, 100)], *[[ANN]] * 40])
    shown = [untouched(image, ANN) == 1 for image in images]
    assert not any(shown[:16])
    assert shown[-1]


@pytest.mark.parametrize("delay", [0.0, 0.2])
def test_a_face_that_the_detector_left_out_inside_a_visible_one_is_covered_with_it_around_that_moment(delay: float):
    hiding = face(200, 100, 200, hides=True)
    images = played([*[[ANN]] * 10, [hiding], *[[ANN]] * 20], delay=delay)
    hidden = [n for n, image in enumerate(images) if untouched(image, ANN) == 0]
    assert hidden == list(range(10 - round(30 * delay), 26))


def test_what_may_be_a_face_before_a_visible_one_is_covered_with_it():
    images = played([[ANN], [ANN, face(220, 150, 100, score=0.4)], [ANN]])
    assert [untouched(image, face(220, 150, 100)) for image in images] == [1, 0, 0]


def test_a_neighbour_in_doubt_beside_a_visible_face_does_not_cover_it():
    images = played([[ANN, face(380, 150, 100, score=0.4)]])
    assert untouched(images[0], ANN) == 1


def test_without_anybody_to_be_kept_a_face_that_hides_another_is_hidden_as_any():
    stream = Anonymizer.load(mode="cover", device="cpu").begin_stream()
    tracks = [Track(1, ANN, 0.0), Track(1, ANN, 0.0, hides=True)]
    frame = Frame(NOISE, 0, 0, Fraction(1, 30))
    a, b = (stream.render(TrackedFrame(frame, (track,), starts_scene=True)) for track in tracks)
    assert (a.image == b.image).all()
    assert [report.tier for report in b.faces] == ["mosaic"]


class SeesNobody:
    """A network that finds no face."""

    def __call__(self, *_: object) -> list[Candidate]:
        return []

    def close(self) -> None:
        """Release nothing."""


def test_a_track_that_goes_over_to_somebody_else_is_covered_at_once():
    ann, stranger = np.eye(2, dtype=np.float32)

    def read(image: Image, face: Face) -> Observation:
        return Observation(ann if face.box[0] < 250 else stranger, 200, 0.0, 0.6, 50, 0.05)

    crowd = Cohort(0.6, np.zeros((1, 2), np.float32))
    people = ConsentList((Person("Ann", date.max, ann),), {})
    for jump, place in itertools.product(range(25, 31), (250, 300)):  # whenever the last look was, in her place or not
        keeper = ConsentFilter(ConsentContext(people, crowd, read), SeesNobody())  # type: ignore[arg-type]
        shown = []
        for n in range(jump + 1):
            at = ANN if n < jump else face(place, 100, 200)
            shown.append(keeper.visible(NOISE, [Track(1, at, 0.0)], n / 30))
        assert shown[-2:] == [{1}, set()]


@pytest.mark.slow
def test_a_photograph_before_somebody_who_agreed_covers_them(clip: Path, portrait: Path, tmp_path: Path):
    """It is so small that the detectors of the frame see the larger face alone."""
    keeping = ConsentContext.load(enrolled(tmp_path, portrait), key=KEY, camera=None)
    stream = Anonymizer.load(mode="cover", device="cpu", keeping=keeping).begin_stream()
    with open_source(str(clip)) as source:
        frames = list(source)
    (before,) = [stream(frame) for frame in frames[:25]][-1].faces
    x1, y1, x2, y2 = before.box.round().astype(int)
    assert before.tier == "kept"
    side = round(0.25 * (x2 - x1))
    photograph = cv2.resize(frames[24].image[y1:y2, x1:x2], (side, round(side * (y2 - y1) / (x2 - x1))))[:, ::-1]
    left, top = x1 + round(0.1 * (x2 - x1)), y1 + round(0.55 * (y2 - y1))  # on a cheek
    for frame in frames[25:29]:
        image = frame.image.copy()
        image[top : top + len(photograph), left : left + side] = photograph
        assert [found.tier for found in stream(replace(frame, image=image)).faces] == ["mosaic"]
