"""Faces found in later frames are covered in earlier ones, as far as the delay reaches."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from streamer.faces.track import FaceTracker
from streamer.pipeline import lookahead
from streamer.pipeline.lookahead import NO_FACE_YET, LookAhead, Runners, between, grown
from streamer.settings import COAST_SECONDS
from streamer.types import Face, Frame, Policy, Track, TrackedFrame

RATE = 25
IMAGE = np.zeros((200, 400, 3), np.uint8)


def face(x: float = 100.0, *, mesh: bool = False) -> Face:
    points = np.full((468, 3), x, np.float32) if mesh else None
    return Face(np.float32([x, 50, x + 40, 90]), np.full((5, 2), x, np.float32), points, 0.9)


def seen(index: int, tracks: Sequence[Track] = (), *, starts_scene: bool = False, failed: str = "") -> TrackedFrame:
    return TrackedFrame(
        Frame(IMAGE, index, index, Fraction(1, RATE)), tuple(tracks), starts_scene or index == 0, failed
    )


def run(frames: Sequence[TrackedFrame], *, delay: float = 0.5, policy: Policy = "balanced") -> list[TrackedFrame]:
    return list(LookAhead(delay, policy)(frames))


def covered(frames: Sequence[TrackedFrame]) -> list[int]:
    return [frame.frame.index for frame in frames if frame.tracks]


def test_frames_come_out_once_in_order_whatever_the_delay():
    for delay in (0.0, 0.1, 5.0):
        assert [out.frame.index for out in run([seen(n) for n in range(30)], delay=delay)] == list(range(30))


def test_a_frame_is_held_back_for_the_delay_and_no_longer():
    ahead = LookAhead(0.2, "balanced")
    read = []

    def source() -> Iterator[TrackedFrame]:
        for n in range(30):
            read.append(n)
            yield seen(n)

    for out in ahead(source()):
        assert len(read) == min(out.frame.index + 6, 30)  # 5 frames of 40 ms later
        if out.frame.index == 20:
            break


def test_what_tracks_look_like_is_asked_once_in_order_and_not_before_a_frame_is_released():
    asked = list[int]()

    def describe(one: TrackedFrame) -> TrackedFrame:
        asked.append(one.frame.index)
        return one

    released = LookAhead(0.2, "balanced", describe)(seen(n) for n in range(12))
    assert [(out.frame.index, len(asked)) for out in released] == [(n, min(n + 6, 12)) for n in range(12)]
    assert asked == list(range(12))


def test_a_frame_of_which_it_could_not_be_told_is_covered_whole():
    frames = LookAhead(0.2, "balanced", lambda one: replace(one, failed="x" if one.frame.index == 3 else ""))
    assert [out.failed for out in frames(seen(n) for n in range(6))] == ["", "", "", "x", "", ""]


def test_a_new_face_is_covered_before_it_was_found_as_far_as_the_delay_reaches():
    frames = [seen(n, [Track(1, face(), 0.0)] if n >= 10 else []) for n in range(12)]
    assert covered(run(frames, delay=0.0)) == [10, 11]
    assert covered(run(frames, delay=0.1)) == [7, 8, 9, 10, 11]  # 0.1 s end with the third frame
    assert covered(run(frames, delay=0.2)) == [5, 6, 7, 8, 9, 10, 11]


def test_no_face_is_covered_further_back_than_it_could_have_been_missed():
    frames = [seen(n, [Track(1, face(), 0.0)] if n == 50 else []) for n in range(51)]
    out = run(frames, delay=5.0)
    assert covered(out)[0] == 50 - round(COAST_SECONDS * RATE)
    assert [frame.tracks[0].missed_seconds for frame in out[48:]] == pytest.approx([-0.08, -0.04, 0.0])


def test_at_two_frames_a_second_the_frame_before_is_covered_still():
    slow = [
        TrackedFrame(Frame(IMAGE, n, n, Fraction(1)), (Track(1, face(), 0.0),) if n == 2 else (), n == 0)
        for n in range(3)
    ]
    assert covered(run(slow, delay=1.0)) == [1, 2]


def test_who_ran_in_is_covered_on_the_way_and_not_far_outside_of_the_picture():
    frames = [seen(n) for n in range(10)] + [seen(10, [Track(1, face(300), 0.0)]), seen(11, [Track(1, face(250), 0.0)])]
    boxes = {out.frame.index: out.tracks[0].face.box for out in run(frames)}
    for index in range(10):  # 50 pixels a frame, from the right
        left, right = 300 + 50 * (10 - index), 340 + 50 * (10 - index)
        box = boxes[index]
        assert box[0] <= 300
        assert box[2] >= min(400, right) if left < 400 else box[2] >= 400
        assert box[2] <= 400 + 40 + 1e-3


def runner(index: int) -> Face:
    return face(20 + 50 * index)


def followed(faces: dict[int, list[Face]], *, frames: int, delay: float = 0.5) -> list[TrackedFrame]:
    """Return `frames` frames in which a tracker was shown `faces`, by index."""
    tracker, image = FaceTracker(), np.random.default_rng(0).integers(0, 256, IMAGE.shape, np.uint8)
    tracked = []
    for n in range(frames):
        tracks = tracker.update(faces.get(n, []), n / RATE, image)
        tracked.append(TrackedFrame(Frame(image, n, n, Fraction(1, RATE)), tuple(tracks), tracker.starts_scene))
    return run(tracked, delay=delay)


def covers(out: TrackedFrame, real: Face) -> bool:
    inside = (t.face.box for t in out.tracks)
    return any((box[:2] <= real.box[:2] + 1).all() and (box[2:] >= real.box[2:] - 1).all() for box in inside)


@pytest.mark.parametrize(("delay", "first"), [(0.12, 1), (0.5, 0)])  # 0.12 s before the second sighting begin with 1
def test_who_runs_is_covered_between_two_sightings_and_beyond_them(delay: float, first: int):
    """A face and a quarter a frame: the tracker makes two people of one."""
    out = followed({2: [runner(2)], 4: [runner(4)]}, frames=8, delay=delay)
    assert {t.id for frame in out for t in frame.tracks if t.missed_seconds == 0} == {1, 2}
    assert [covers(frame, runner(frame.frame.index)) for frame in out[first:]] == [True] * (8 - first)


def test_of_frames_not_held_back_those_after_a_leap_are_covered():
    out = followed({2: [runner(2)], 3: [runner(3)]}, frames=6, delay=0.0)
    assert [covers(frame, runner(frame.frame.index)) for frame in out] == [False, False, True, True, True, True]


def test_a_way_is_nobody_and_only_adds_to_what_is_covered(monkeypatch: pytest.MonkeyPatch):
    """Two who stand still, found in turns: as if one had run to the other."""
    faces = {5: [face(100)], 7: [face(200)], 9: [face(200)], 12: [face(100)]}
    with_ways = followed(faces, frames=20)
    monkeypatch.setattr(Runners, "__call__", lambda *_: [])
    for one, other in zip(with_ways, followed(faces, frames=20), strict=True):
        assert [(t.id, *t.face.box, t.missed_seconds) for t in one.tracks if t.id > 0] == [
            (t.id, *t.face.box, t.missed_seconds) for t in other.tracks
        ]
        assert all(t.face.mesh is None and t.missed_seconds != 0 for t in one.tracks if t.id < 0)
    assert {n for n, frame in enumerate(with_ways) if any(t.id < 0 for t in frame.tracks)} == {3, 4, 6, 8}


@pytest.mark.parametrize(
    "after",
    [
        {6: [face(330)]},  # farther than anybody runs
        {6: [face(160)], 7: [face(100)], 8: [face(160)]},  # each was seen where they are: after frame 8 nobody ran
        {15: [face(220)]},  # too long after
        {6: [replace(face(200), box=np.float32([180, 20, 250, 90]))]},  # much larger
        {6: [replace(face(200), score=0.4)]},  # doubtful
    ],
)
def test_who_does_not_run_gets_no_way(after: dict[int, list[Face]]):
    out = followed({5: [face(100)], **after}, frames=20)
    assert not any(t.id < 0 for frame in out[9:] for t in frame.tracks)
    if len(after) == 1:
        assert not any(t.id < 0 for frame in out for t in frame.tracks)


def test_a_doubtful_thing_where_somebody_ran_from_does_not_hide_that_they_ran():
    out = followed({2: [face(100)], 3: [face(160), replace(face(104), score=0.4)]}, frames=8)
    assert {t.id for t in out[3].tracks if t.missed_seconds == 0} == {1, 2}
    assert [covers(out[n], face(100 + 60 * (n - 2))) for n in (1, 4, 5)] == [True] * 3


def test_beyond_both_sightings_who_runs_is_as_large_as_in_the_nearer_one():
    large = replace(face(190), box=np.float32([170, 40, 230, 100]))
    runners = Runners()
    assert runners(seen(2, [Track(1, face(100), 0.0)])) == []
    (way,) = runners(seen(3, [Track(2, large, 0.0)]))
    for seconds, size in ((0.0, 40.0), (0.28, 60.0)):
        track = way.at(seconds)
        assert track is not None
        assert track.face.size == pytest.approx(size, rel=0.25)


def test_nobody_runs_across_a_cut_or_out_of_the_picture():
    cut = [seen(2, [Track(1, face(100), 0.0)]), seen(3, [Track(2, face(190), 0.0)], starts_scene=True)]
    out = run([*cut, seen(4)]) + followed({2: [face(250)], 3: [face(310)]}, frames=8)
    assert not any(t.id < 0 for frame in out[:3] for t in frame.tracks)
    assert [n for n, frame in enumerate(out[3:]) if any(t.id < 0 for t in frame.tracks)] == [0, 1, 4]
    assert all(t.face.box[0] < 400 for frame in out for t in frame.tracks)


def test_of_several_each_goes_one_way_the_shortest_first():
    a, b = face(100), face(250)
    out = followed({2: [a, b], 4: [face(170), face(320)]}, frames=5)
    ways = [t.face.box for t in out[3].tracks if t.id < 0]
    assert sorted(round(float(box[0] + box[2]) / 2) for box in ways) == [155, 305]


def test_a_cover_before_the_first_sighting_grows_the_further_back_it_is():
    out = run([seen(n, [Track(1, face(), 0.0)] if n == 4 else []) for n in range(5)])
    widths = [float(frame.tracks[0].face.box[2] - frame.tracks[0].face.box[0]) for frame in out]
    assert widths == sorted(widths, reverse=True)
    assert widths[-1] == 40
    assert all(frame.tracks[0].face.mesh is None for frame in out[:-1])


def test_the_second_sighting_tells_where_a_fast_face_came_from():
    step = 30.0  # pixels a frame: three quarters of its size
    frames = [seen(n, [Track(1, face(100 + step * n), 0.0)] if n >= 4 else []) for n in range(6)]
    for out in run(frames)[:4]:
        (track,) = out.tracks
        real = face(100 + step * out.frame.index).box
        assert (track.face.box[:2] <= real[:2]).all()
        assert (track.face.box[2:] >= real[2:]).all()


def test_nothing_is_covered_before_the_cut_that_a_face_came_with():
    frames = [seen(n, [Track(1, face(), 0.0)] if n >= 7 else [], starts_scene=n == 5) for n in range(8)]
    assert covered(run(frames)) == [5, 6, 7]


def test_nothing_is_covered_in_frames_of_another_size_where_places_mean_something_else():
    frames = [seen(n, [Track(1, face(), 0.0)] if n >= 10 else []) for n in range(12)]
    frames[:8] = [replace(s, frame=replace(s.frame, image=np.zeros((8, 8, 3), np.uint8))) for s in frames[:8]]
    assert covered(run(frames)) == [8, 9, 10, 11]


def test_a_short_gap_is_bridged_by_a_face_that_can_be_drawn():
    start, end = (Track(1, face(x, mesh=True), 0.0) for x in (100, 104))
    frames = [seen(0, [start]), seen(1, [Track(1, face(500), 0.04)]), seen(2, [end])]
    track = run(frames)[1].tracks[0]
    assert track.face.mesh is not None
    assert track.face.box.tolist() == [102, 50, 142, 90]
    assert track.face.mesh[0, 0] == 102
    assert track.missed_seconds == pytest.approx(0.04)


def test_a_long_gap_or_a_jump_is_bridged_by_a_cover_that_grew():
    start = Track(1, face(100, mesh=True), 0.0)
    jump = [seen(0, [start]), seen(1), seen(2, [Track(1, face(120, mesh=True), 0.0)])]
    long = [seen(0, [start]), *map(seen, range(1, 8)), seen(8, [Track(1, face(104, mesh=True), 0.0)])]
    for frames in (jump, long):
        (track,) = run(frames)[len(frames) // 2].tracks
        assert track.face.mesh is None
        assert track.face.box[0] < between(start.face, frames[-1].tracks[0].face, 0.5).box[0]


def test_a_face_covers_where_it_was_thought_to_be_as_well():
    """A track that coasts when the held frames begin keeps its cover there."""
    coasting = [seen(n, [Track(1, face(100), 0.04 * n)]) for n in range(1, 4)]
    (track,) = run([*coasting, seen(4, [Track(1, face(160), 0.0)])])[0].tracks
    assert track.face.box[0] <= 100
    assert track.face.box[2] >= 200


def test_a_frame_that_failed_stays_covered_whole():
    out = run([seen(0), seen(1, failed="ValueError"), seen(2, [Track(1, face(), 0.0)])])
    assert [frame.failed for frame in out] == ["", "ValueError", ""]


def test_strict_covers_a_scene_whole_until_its_first_face():
    frames = [seen(n, [Track(1, face(), 0.0)] if n in (1, 2) else [], starts_scene=n == 4) for n in range(7)]
    frames.append(seen(7, [Track(2, face(), 0.0)]))
    assert {frame.failed for frame in run(frames)} == {""}
    failed = [frame.failed for frame in run(frames, policy="strict")]
    assert failed == [NO_FACE_YET, "", "", "", NO_FACE_YET, NO_FACE_YET, NO_FACE_YET, ""]


def test_strict_does_not_cover_a_scene_whole_for_a_face_that_comes_later():
    frames = [seen(n, [Track(1, face(), 0.0)] if n == 40 else []) for n in range(41)]
    assert {frame.failed for frame in run(frames, policy="strict")} == {""}


def test_time_that_goes_back_lets_all_frames_go():
    frames = [seen(5), seen(6), seen(2, [Track(1, face(), 0.0)])]
    out = run(frames)
    assert [frame.frame.index for frame in out] == [5, 6, 2]
    assert covered(out) == [2]


def test_large_frames_are_held_back_less_long(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(lookahead, "HELD_BYTES", 3 * IMAGE.nbytes)
    frames = [seen(n, [Track(1, face(), 0.0)] if n >= 10 else []) for n in range(12)]
    assert covered(run(frames)) == [7, 8, 9, 10, 11]


def test_an_error_comes_after_the_frames_before_it():
    def broken() -> Iterator[TrackedFrame]:
        yield from (seen(0), seen(1))
        raise OSError("cable")

    out = LookAhead(1.0, "balanced")(broken())
    assert [next(out).frame.index, next(out).frame.index] == [0, 1]
    with pytest.raises(OSError, match="cable"):
        next(out)


@pytest.mark.parametrize("delay", [-0.1, float("nan"), float("inf")])
def test_an_impossible_delay_is_refused(delay: float):
    with pytest.raises(ValueError, match="delay"):
        LookAhead(delay, "balanced")


def test_grown_moves_every_side_out_by_the_same():
    assert grown(face(100), 0.5).box.tolist() == [88, 38, 152, 102]  # 0.6 sizes a second, 40 pixels


def test_a_doubtful_face_is_covered_where_it_was_seen_once_it_is_sure():
    def track(n: int, *, is_confirmed: bool) -> Track:
        return Track(1, face(100 + 10.0 * n), 0.0, is_confirmed=is_confirmed)

    frames = [seen(0), *(seen(n, [track(n, is_confirmed=n == 4)]) for n in (1, 2, 3, 4)), seen(5)]
    out = run(frames)
    assert covered(out)[-4:] == [1, 2, 3, 4]
    assert all(t.is_confirmed for frame in out for t in frame.tracks)
    assert out[2].tracks[0].face.box[0] == 120  # where it was, not where it would have been


def test_a_doubtful_face_that_stays_doubtful_is_not_covered():
    frames = [seen(n, [Track(1, face(), 0.0, is_confirmed=False)]) for n in range(20)]
    assert covered(run(frames)) == []


def test_a_face_hides_another_in_the_moment_before_that_one_was_found_too():
    frames = [seen(n, [Track(1, face(), 0.0, hides=n >= 20), Track(2, face(400), 0.0)]) for n in range(22)]
    out = run(frames, delay=1.0)
    assert [frame.frame.index for frame in out if frame.tracks[0].hides] == list(range(20 - 12, 22))  # .48 s
    assert not any(frame.tracks[1].hides for frame in out)


def test_a_face_hides_nobody_in_the_scene_before():
    frames = [seen(n, [Track(1, face(), 0.0, hides=n >= 20)], starts_scene=n == 18) for n in range(22)]
    assert [frame.frame.index for frame in run(frames, delay=1.0) if frame.tracks[0].hides] == [18, 19, 20, 21]
