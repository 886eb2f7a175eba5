"""Tracking on exact synthetic boxes: ids, coasting, cuts, and that neither order nor frame rate matters."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.faces.track import CUT_CORRELATION, FaceTracker, TrackState, alone, correlation, match, thumbnail
from streamer.types import Face, Floats, Image
from tests.faces.moving import SCENE, centre, face, ids, show

OTHER_SCENE: Image = np.random.default_rng(2).integers(0, 256, (90, 160, 3), dtype=np.uint8)


# Ids


def test_ids_count_from_one_from_the_left_and_stay():
    tracker = FaceTracker()
    assert ids(show(tracker, 0.0, face(300), face(100))) == [1, 2]
    tracks = show(tracker, 0.1, face(102), face(298))
    assert [(t.id, centre(t)[0]) for t in tracks] == [(1, 102), (2, 298)]


def test_a_seen_track_is_the_detected_face_itself():
    seen = face(100)
    (track_,) = show(FaceTracker(), 0.0, seen)
    assert track_.face is seen
    assert track_.missed_seconds == 0.0


def test_no_faces_give_no_tracks():
    tracker = FaceTracker()
    assert show(tracker, 0.0) == []
    assert show(tracker, 0.1) == []


def test_a_new_face_gets_a_new_id():
    tracker = FaceTracker()
    show(tracker, 0.0, face(100))
    assert ids(show(tracker, 0.1, face(400), face(100))) == [1, 2]


def test_an_id_is_not_reused_after_its_face_left():
    tracker = FaceTracker()
    show(tracker, 0.0, face(100))
    show(tracker, 1.0)
    assert show(tracker, 1.1) == []
    assert ids(show(tracker, 1.2, face(100))) == [2]


def test_two_faces_that_cross_keep_their_ids():
    tracker = FaceTracker()
    for step in range(41):  # 10 sizes per second towards each other, 30 pixels apart in height
        seconds = step / 40
        tracks = show(tracker, seconds, face(100 + 400 * seconds, 85), face(500 - 400 * seconds, 115))
        assert ids(tracks) == [1, 2]
    assert centre(tracks[0])[0] == 500
    assert centre(tracks[1])[0] == 100


def test_a_small_fast_face_is_followed_without_any_overlap():
    tracker = FaceTracker()
    for step in range(10):  # 25 pixels per frame, 20 pixels wide, at 10 frames per second
        assert ids(show(tracker, step / 10, face(50 + 25 * step, size=20))) == [1]


def test_a_face_far_away_is_someone_else():
    tracker = FaceTracker()
    show(tracker, 0.0, face(100))
    assert [t.id for t in show(tracker, 0.1, face(400)) if t.missed_seconds == 0] == [2]


def test_even_after_a_while_a_face_is_not_found_further_than_its_neighbours():
    tracker = FaceTracker()
    show(tracker, 0.0, face(100, size=40))
    show(tracker, 0.25)
    assert ids(show(tracker, 0.5, face(180, size=40))) == [1, 2]  # two sizes away; 1 coasts


def test_a_face_of_another_size_at_the_same_place_is_someone_else():
    tracker = FaceTracker()
    show(tracker, 0.0, face(100, size=20))
    assert [t.id for t in show(tracker, 0.1, face(100, size=90)) if t.missed_seconds == 0] == [2]


def test_the_nearer_face_continues_the_track():
    tracker = FaceTracker()
    show(tracker, 0.0, face(100))
    tracks = show(tracker, 0.1, face(125), face(105))
    assert centre(tracks[0])[0] == 105
    assert ids(tracks) == [1, 2]


def test_a_sure_face_goes_before_a_nearer_doubtful_one():
    tracker = FaceTracker()
    show(tracker, 0.0, face(100))
    (only,) = show(tracker, 0.1, face(101, score=0.4), face(110))
    assert only.id == 1
    assert centre(only)[0] == 110


def test_a_doubtful_face_starts_no_track_but_continues_one():
    tracker = FaceTracker()
    assert show(tracker, 0.0, face(100, score=0.4)) == []
    show(tracker, 0.1, face(100, score=0.6))
    (track_,) = show(tracker, 0.2, face(100, score=0.4))
    assert track_.id == 1
    assert track_.missed_seconds == 0


def test_the_third_sighting_of_a_doubtful_face_on_its_way_makes_a_track_of_it():
    tracker = FaceTracker()
    hints = [tracker.update([face(100 + 20 * n, score=0.4)], 0.1 * n, SCENE) for n in range(3)]
    assert [[(t.id, t.is_confirmed) for t in tracks] for tracks in hints] == [[(1, False)], [(1, False)], [(1, True)]]
    assert [track.id for track in show(tracker, 0.4)] == [1]  # it coasts


def test_doubtful_faces_here_and_there_make_no_track():
    tracker = FaceTracker()
    for n in range(24):
        assert show(tracker, 0.1 * n, face(100 + 400 * (n % 6), score=0.4)) == []


def test_a_doubtful_face_that_stays_where_it_is_makes_no_track():
    tracker = FaceTracker()
    for n in range(24):
        assert show(tracker, 0.1 * n, face(100 + n % 2, score=0.4)) == []


def test_a_doubtful_face_on_the_body_below_a_sure_one_makes_no_track():
    tracker = FaceTracker()
    for n in range(6):
        seen = show(tracker, 0.1 * n, face(100, 100), face(90 + 10 * n, 180, score=0.4))
        assert ids(seen) == [1]


def test_a_doubtful_face_takes_nothing_from_a_sure_track():
    tracker = FaceTracker()
    show(tracker, 0.0, face(100), face(125, score=0.4))
    (track_,) = show(tracker, 0.1, face(115))
    assert track_.id == 1
    assert centre(track_)[0] == 115


def test_a_doubtful_face_that_the_mesh_fits_is_a_face():
    tracker = FaceTracker()
    fits = replace(face(100, score=0.4), mesh=np.zeros((468, 3), np.float32))
    assert len(show(tracker, 0.0, fits)) == 1


def test_a_mesh_that_fits_the_hair_beside_a_face_makes_no_track():
    tracker = FaceTracker()
    hair = replace(face(130, 110, score=0.4), mesh=np.zeros((468, 3), np.float32))
    for n in range(5):
        assert ids(show(tracker, 0.1 * n, face(100, 100), hair)) == [1]


def test_of_two_faces_equally_near_the_same_one_continues_in_any_order():
    for faces in ((face(90), face(110)), (face(110), face(90))):
        tracker = FaceTracker()
        show(tracker, 0.0, face(100))
        assert [(t.id, centre(t)[0]) for t in show(tracker, 0.1, *faces)] == [(1, 90), (2, 110)]


def test_a_picture_alone_shows_what_a_stream_shows_in_its_first_frame():
    hair = replace(face(130, 110, score=0.4), mesh=np.zeros((468, 3), np.float32))
    fits = replace(face(400, score=0.4), mesh=np.zeros((468, 3), np.float32))
    faces = [face(300), hair, face(100, score=0.5), fits, face(200, score=0.4)]
    for score in (0.5, 0.3):
        followed = show(FaceTracker(score), 0.0, *faces)
        assert [(t.id, t.face) for t in alone(faces, score)] == [(t.id, t.face) for t in followed]
    assert [centre(t)[0] for t in alone(faces)] == [100, 300, 400]


# Cuts, gaps, clocks


def test_a_scene_cut_ends_coasting_and_starts_new_ids():
    tracker = FaceTracker()
    show(tracker, 0.0, face(100), face(300))
    assert ids(show(tracker, 0.1, face(100), scene=OTHER_SCENE)) == [3]


def test_black_bars_that_all_scenes_have_hide_no_cut():
    one, other = (np.pad(scene, ((15, 15), (0, 0), (0, 0))) for scene in (SCENE, OTHER_SCENE))
    assert correlation(thumbnail(one), thumbnail(other)) > CUT_CORRELATION
    tracker = FaceTracker()
    show(tracker, 0.0, face(100), scene=one)
    assert ids(show(tracker, 0.1, face(100), scene=one)) == [1]
    assert ids(show(tracker, 0.2, face(100), scene=other)) == [2]


def test_a_camera_flash_is_no_cut():
    tracker = FaceTracker()
    show(tracker, 0.0, face(100))
    flash = np.clip(SCENE.astype(int) // 2 + 120, 0, 255).astype(np.uint8)
    assert ids(show(tracker, 0.03, scene=flash)) == [1]


def test_a_black_frame_is_no_cut_but_the_scene_after_it_is_compared_with_the_one_before():
    black = np.zeros_like(SCENE)
    for after, expected in ((SCENE, [1]), (OTHER_SCENE, [])):
        tracker = FaceTracker()
        show(tracker, 0.0, face(100))
        assert ids(show(tracker, 0.1, scene=black)) == [1]
        assert ids(show(tracker, 0.2, scene=after)) == expected


@pytest.mark.parametrize("seconds", [0.9, 3.1])
def test_time_going_back_or_jumping_over_two_seconds_forgets_all(seconds: float):
    tracker = FaceTracker()
    show(tracker, 1.0, face(100))
    assert ids(show(tracker, seconds, face(100))) == [2]


def test_two_frames_of_the_same_time_are_one_moment():
    tracker = FaceTracker()
    for seconds in (0.0, 0.1, 0.1):
        assert ids(show(tracker, seconds, face(100 + 20 * seconds))) == [1]


@pytest.mark.parametrize("seconds", [math.nan, math.inf])
def test_a_time_that_is_none_is_refused(seconds: float):
    with pytest.raises(ValueError, match="seconds must be finite"):
        show(FaceTracker(), seconds, face(100))


def test_a_new_size_of_frame_is_no_cut_and_takes_the_faces_along():
    tracker = FaceTracker()
    scene = np.kron(SCENE[::10, ::10], np.ones((20, 20, 1), np.uint8))
    show(tracker, 0.0, face(300, 200), scene=scene)
    (lost,) = show(tracker, 0.1, scene=scene[::2, ::2])
    assert (lost.id, *centre(lost)) == (1, 150, 100)
    assert ids(show(tracker, 0.2, face(152, 101, size=20), scene=scene[::2, ::2])) == [1]


@pytest.mark.parametrize("shape", [(1, 1, 3), (2, 900, 3), (1080, 1920, 3)])
def test_a_thumbnail_has_one_size(shape: tuple[int, int, int]):
    assert thumbnail(np.zeros(shape, np.uint8)).shape == (24, 24)


def test_correlation_is_pearsons():
    a, b = np.random.default_rng(0).random((2, 24, 24)).astype(np.float32)
    assert correlation(a, b) == pytest.approx(np.corrcoef(a.ravel(), b.ravel())[0, 1], abs=1e-5)


@pytest.mark.slow
def test_memory_is_bounded_by_what_coasts():
    tracker = FaceTracker()
    for step in range(300):  # a new face each time, far from the last
        tracks = show(tracker, step / 30, face(1000.0 * step))
    assert len(tracker._states) == len(tracks) <= 17


# Properties

Place = tuple[int, int, int, float]  # x, y, size, score
places = st.lists(
    st.tuples(st.integers(0, 500), st.integers(0, 300), st.sampled_from([20, 30, 45]), st.sampled_from([0.4, 0.6])),
    max_size=6,
    unique=True,
)


@settings(max_examples=50)
@given(data=st.data(), frames=st.lists(places, min_size=2, max_size=4))
def test_the_order_of_faces_changes_nothing(data: st.DataObject, frames: list[list[Place]]):
    one, other = FaceTracker(), FaceTracker()
    for step, frame in enumerate(frames):
        faces = [face(x, y, size=size, score=score) for x, y, size, score in frame]
        shuffled = data.draw(st.permutations(faces))
        a, b = show(one, step / 15, *faces), show(other, step / 15, *shuffled)
        assert [(t.id, tuple(t.face.box), t.missed_seconds) for t in a] == [
            (t.id, tuple(t.face.box), t.missed_seconds) for t in b
        ]


@pytest.mark.slow
@settings(max_examples=50)
@given(velocities=st.lists(st.tuples(st.floats(-150, 150), st.floats(-60, 60)), min_size=1, max_size=4))
def test_ids_and_places_do_not_depend_on_the_frame_rate(velocities: list[tuple[float, float]]):
    """The same motion at 10 and 60 frames per second, lost from second 1.0 to 1.3, seen at the same moments."""

    def follow(rate: int) -> dict[float, list[tuple[int, Floats]]]:
        tracker, moments = FaceTracker(), {}
        for step in range(2 * rate + 1):
            seconds = step / rate
            faces = [face(500 * n + vx * seconds, vy * seconds) for n, (vx, vy) in enumerate(velocities)]
            tracks = show(tracker, seconds, *([] if 1.0 < seconds < 1.3 else faces))
            moments[round(seconds, 3)] = [(t.id, centre(t)) for t in tracks]
        return moments

    slow, fast = follow(10), follow(60)
    for moment, tracks in slow.items():
        assert [i for i, _ in tracks] == [i for i, _ in fast[moment]] == list(range(1, len(velocities) + 1))
        for (_, a), (_, b) in zip(tracks, fast[moment], strict=True):
            assert np.abs(a - b).max() < 0.5


@settings(max_examples=50)
@given(frames=st.lists(places, min_size=1, max_size=6))
def test_every_sure_face_is_in_exactly_one_track_and_ids_are_unique(frames: list[list[Place]]):
    tracker = FaceTracker()
    for step, frame in enumerate(frames):
        faces = [face(x, y, size=size, score=score) for x, y, size, score in frame]
        tracks = show(tracker, step / 20, *faces)
        assert len(set(ids(tracks))) == len(tracks)
        for sure in (f for f in faces if f.score >= 0.5):
            assert sum(t.face is sure for t in tracks) == 1


def test_match_pairs_each_trail_with_at_most_one_face():
    still = np.zeros(2, np.float32)
    trails = [TrackState(n, face(100 + 5 * n), still, 0.0, 0.5, 0, still, 0.0) for n in (1, 2)]
    one = replace(face(107), score=0.9)
    assert match(trails, [one], 0.1) == {1: one}
    assert match([], [one], 0.1) == match(trails, [], 0.1) == {}


def doubted(x: float, *, score: float = 0.4, is_verified: bool = False) -> Face:
    return replace(face(x, score=score), mesh=None, is_verified=is_verified)


def test_what_was_sure_once_and_is_only_doubted_since_is_no_face_for_long():
    tracker = FaceTracker()
    show(tracker, 0.0, doubted(100, score=0.6))
    seen = {n: bool(show(tracker, n / 10, doubted(100))) for n in range(1, 20)}
    assert all(seen[n] for n in range(1, 6))
    assert not any(seen[n] for n in range(6, 20))


def test_what_was_verified_once_is_a_face_as_long_as_anything_is_seen_there():
    tracker = FaceTracker()
    show(tracker, 0.0, doubted(100, score=0.6, is_verified=True))
    assert all(show(tracker, n / 10, doubted(100)) for n in range(1, 30))


def test_what_is_doubted_and_walks_stays_a_face():
    tracker = FaceTracker()
    show(tracker, 0.0, doubted(100, score=0.6))
    assert all(show(tracker, n / 10, doubted(100 + 8 * n)) for n in range(1, 30))


def test_what_is_doubted_and_drifts_is_no_face():
    tracker = FaceTracker()
    assert not any(show(tracker, n / 10, doubted(100 + 0.5 * n)) for n in range(60))  # 30 pixels of 40 in six seconds


def test_what_was_never_clear_is_covered_for_a_glimpse_only_but_known_again():
    tracker = FaceTracker()
    for n in range(3):
        show(tracker, n / 10, doubted(100, score=0.6))
    assert [bool(show(tracker, seconds)) for seconds in (0.3, 0.4, 0.5)] == [True, False, False]
    (again,) = show(tracker, 0.6, doubted(100, score=0.6))
    assert again.id == 1


def test_a_verified_face_is_to_be_verified_anew_after_a_second():
    tracker = FaceTracker()
    show(tracker, 0.0, doubted(100, score=0.6, is_verified=True))
    for n in range(1, 15):
        show(tracker, n / 10, doubted(100))
        assert bool(tracker.verified(n / 10)) == (n <= 10)
