"""From photo to video: who was enrolled stays visible in a clip, and nobody else does."""

from datetime import date
from pathlib import Path

import cv2
import matplotlib
import numpy as np
import pytest
import skimage

from streamer.cli.demo import Pose, Shot, render_clip
from streamer.consent.cohort import Cohort
from streamer.consent.enroll import enroll
from streamer.consent.entries import ConsentList, Person
from streamer.consent.judge import NEEDED_SECONDS, ConsentJudge
from streamer.consent.quality import FaceReader, Observation
from streamer.faces.detect import FaceDetector
from streamer.faces.track import FaceTracker
from streamer.sources.file_source import open_source
from streamer.types import Track

pytestmark = pytest.mark.slow

HOPPER = Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"  # US Navy, public domain
COLLINS = Path(skimage.__file__).parent / "data" / "astronaut.png"  # NASA, public domain
CROWD = Cohort(0.65, np.eye(128, dtype=np.float32))  # nobody's

Look = tuple[float, list[Track], dict[int, Observation]]


@pytest.fixture(scope="module")
def looks(tmp_path_factory: pytest.TempPathFactory, reader: FaceReader, detector: FaceDetector) -> list[Look]:
    """Time, tracks and sightings of every third frame of a clip of Hopper, who moves, then leaves, and comes back."""
    path = tmp_path_factory.mktemp("keep") / "clip.mp4"
    there, away = (Pose(0.7, 0.56, 0.9),), (Pose(0.8, 0.56, 0.9),)
    render_clip(path, (Shot(0.9, there, away), Shot(0.8), Shot(0.3, there, away)))
    tracker, found = FaceTracker(), []
    with open_source(path) as source:
        for frame in source:
            if frame.index % 3 == 0:
                tracks = tracker.update(detector(frame.image), frame.seconds, frame.image)
                seen = [track for track in tracks if track.missed_seconds == 0]
                found.append((frame.seconds, tracks, {track.id: reader(frame.image, track.face) for track in seen}))
    return found


def visible(looks: list[Look], *people: Person) -> list[tuple[float, str]]:
    """Return when who was visible."""
    judge = ConsentJudge(ConsentList(people, {}), CROWD, today=lambda: date(2026, 1, 1))
    shown = []
    for seconds, tracks, sightings in looks:
        for track, sighting in sightings.items():
            judge.observe(track, sighting, seconds=seconds)
        decisions = judge.decide(tracks, seconds=seconds)
        shown += [(seconds, decision.name) for decision in decisions.values() if decision.name]
    return shown


def person(name: str, photo: Path, reader: FaceReader) -> Person:
    return Person(name, date(2030, 1, 1), enroll([photo], reader))


def test_an_enrolled_person_is_visible_once_it_is_sure_and_covered_again_after_an_absence(
    looks: list[Look], reader: FaceReader
):
    shown = visible(looks, person("Grace", HOPPER, reader), person("Eileen", COLLINS, reader))
    assert {name for _, name in shown} == {"Grace"}
    times = [seconds for seconds, _ in shown]
    assert times[0] == pytest.approx(NEEDED_SECONDS, abs=0.11)  # looked at ten times a second
    assert times[-1] < 0.9  # she is back from 1.7 on, for less than it takes


def test_a_person_who_is_not_enrolled_is_never_visible(looks: list[Look], reader: FaceReader):
    assert visible(looks, person("Eileen", COLLINS, reader)) == []


def test_a_folder_of_photos_is_enrolled_as_one_person(tmp_path: Path, reader: FaceReader):
    image = cv2.imread(str(HOPPER))
    cv2.imwrite(str(tmp_path / "a.png"), image)
    cv2.imwrite(str(tmp_path / "b.png"), image[:, ::-1])
    single = [enroll([tmp_path / name], reader) for name in ("a.png", "b.png")]
    both = enroll([tmp_path], reader)
    assert np.linalg.norm(both) == pytest.approx(1, abs=1e-5)
    assert both @ single[0] == pytest.approx(both @ single[1], abs=1e-4)  # halfway between the two
