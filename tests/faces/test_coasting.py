"""A face that is lost for a moment stays covered, where it may be."""

from __future__ import annotations

import numpy as np
import pytest

from streamer.faces import track
from streamer.faces.track import FaceTracker, TrackState, predicted
from tests.faces.moving import SCENE, centre, face, ids, show

# Coasting


def test_a_lost_face_coasts_for_half_a_second_and_no_longer():
    tracker = FaceTracker()
    show(tracker, 0.0, face(100))
    missed = [[t.missed_seconds for t in show(tracker, step / 8)] for step in range(1, 7)]
    assert missed == [[0.125], [0.25], [0.375], [0.5], [], []]


def test_a_face_that_is_lost_in_the_first_frame_after_a_long_gap_is_covered_in_that_one():
    tracker = FaceTracker()
    show(tracker, 0.0, face(100))
    assert [t.missed_seconds for t in show(tracker, 2.5)] == [2.5]
    assert tracker.starts_scene
    assert show(tracker, 5.0) == []
    show(tracker, 7.5, face(100))
    assert ids(show(tracker, 10.0, face(100))) == [3]  # nobody is known again
    assert ids(show(tracker, 12.5, scene=np.rot90(SCENE).copy())) == []  # past a cut nothing is where it was


def test_a_lost_face_that_comes_back_keeps_its_id():
    tracker = FaceTracker()
    show(tracker, 0.0, face(100))
    show(tracker, 0.4)
    (track_,) = show(tracker, 0.5, face(104))
    assert track_.id == 1
    assert track_.missed_seconds == 0


def test_a_coasting_face_has_no_mesh_and_a_box_that_grows():
    tracker = FaceTracker()
    show(tracker, 0.0, face(100, size=40))
    widths = []
    for seconds in (0.25, 0.5):
        (track_,) = show(tracker, seconds)
        assert track_.face.mesh is None
        widths.append(track_.face.box[2] - track_.face.box[0])
    assert widths == pytest.approx([40 * (1 + 2 * 0.6 * 0.25), 40 * (1 + 2 * 0.6 * 0.5)])


def test_a_coasting_face_moves_on_and_slows_down():
    tracker = FaceTracker()
    for step in range(31):  # 100 pixels per second for a second
        show(tracker, step / 30, face(100 + 100 * step / 30))
    (soon,), (later,) = show(tracker, 1.1), show(tracker, 1.5)
    assert 206 < centre(soon)[0] < 210  # a tenth of a second at 100 pixels per second, a little damped
    assert centre(soon)[0] < centre(later)[0] < 230  # never further than velocity times the time constant
    assert later.face.landmarks[2] == pytest.approx(centre(later), abs=1e-3)


def test_predicted_is_the_integral_of_a_velocity_that_decays():
    trail = TrackState(1, face(100), np.array([80, -40], np.float32), 2.0, 0.5, 0, np.zeros(2, np.float32), 2.0)
    moments = (np.arange(100_000) + 0.5) / 100_000 * 0.4
    travelled = np.exp(-moments / track.DAMPING_SECONDS).mean() * 0.4
    assert centre(predicted(trail, 2.4)) == pytest.approx([100 + 80 * travelled, 100 - 40 * travelled], abs=1e-3)


def test_a_glimpse_of_a_doubtful_face_does_not_coast_for_half_a_second():
    tracker = FaceTracker()
    show(tracker, 0.0, face(100, score=0.55))
    assert len(show(tracker, 0.1)) == 1
    assert show(tracker, 0.2) == []


def test_a_doubtful_face_seen_twice_coasts_in_full():
    tracker = FaceTracker()
    show(tracker, 0.0, face(100, score=0.55))
    show(tracker, 0.1, face(100, score=0.35))
    assert len(show(tracker, 0.6)) == 1


def test_at_one_frame_per_second_a_lost_face_is_covered_for_one_frame():
    tracker = FaceTracker()
    show(tracker, 0.0, face(100))
    assert [t.missed_seconds for t in show(tracker, 1.0)] == [1.0]
    assert show(tracker, 2.0) == []


def test_a_lost_face_behind_a_seen_one_is_hidden_and_returns_when_they_part():
    tracker = FaceTracker()
    show(tracker, 0.0, face(100, size=40), face(180, size=60))
    assert ids(show(tracker, 0.1, face(140, size=60), face(100, size=40))) == [1, 2]
    assert ids(show(tracker, 0.2, face(104, size=60))) == [2]
    assert ids(show(tracker, 0.3, face(150, size=60))) == [1, 2]


def test_a_seen_face_hides_a_lost_one_behind_it_and_for_half_a_second_more():
    tracker = FaceTracker()
    show(tracker, 0.0, face(140, size=60), face(100, size=40))
    seen = [show(tracker, 0.1 * n, face(104, size=60), face(300))[-2:] for n in range(1, 14)]
    hiding = [[track.hides for track in tracks] for tracks in seen]
    assert hiding == [[True, False]] * 10 + [[False, False]] * 3  # it coasts until .5, which counts until 1.0


def test_a_lost_face_half_behind_a_seen_one_stays_covered():
    tracker = FaceTracker()
    show(tracker, 0.0, face(100), face(125))
    assert ids(show(tracker, 0.1, face(125))) == [1, 2]


def test_a_face_on_a_jumpy_box_is_not_thrown_when_lost():
    tracker = FaceTracker()
    for step in range(60):
        show(tracker, step / 60, face(100 + (step % 2)))  # one pixel of noise is 60 pixels per second between frames
    (lost,) = show(tracker, 1.2)
    assert abs(centre(lost)[0] - 100.5) < 5
