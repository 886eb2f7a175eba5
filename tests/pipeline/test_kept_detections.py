"""Detections that are kept: used as they were noted, only for what they were noted of, and by their owner alone."""

import hashlib
import stat
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from streamer.errors import AnonymizerError, SourceError
from streamer.pipeline.kept_detections import KeptDetections
from streamer.settings import Settings
from streamer.types import Face, Frame, Track, TrackedFrame, Traits
from tests.pipeline.framed import frame_of

COVER = Settings(mode="cover")
FRAMES = [frame_of(np.full((48, 64, 3), n, np.uint8), n) for n in range(4)]


def track(number: int, *, has_mesh: bool) -> Track:
    values = np.random.default_rng(number)
    mesh = values.random((468, 3), np.float32) if has_mesh else None
    box, points = values.random(4, np.float32), values.random((5, 2), np.float32)
    face = Face(box, points, mesh, 0.1 * number + 1 / 3, hides=number == 2, is_verified=number == 1)
    return Track(number, face, -0.04 * number, is_confirmed=number < 3, hides=number == 1)


def searched() -> Iterator[TrackedFrame]:
    """Two faces, none, one that is looked at twice, and one more."""
    yield TrackedFrame(FRAMES[0], (track(1, has_mesh=True), track(2, has_mesh=False)), starts_scene=True)
    yield TrackedFrame(FRAMES[1], (), starts_scene=False)
    for number in (1, 3):
        yield TrackedFrame(FRAMES[2], (track(number, has_mesh=number == 3),), starts_scene=False)
    yield TrackedFrame(FRAMES[3], (track(3, has_mesh=True),), starts_scene=True)


def flat(seen: TrackedFrame) -> list[object]:
    faces = [track.face for track in seen.tracks]
    arrays = [None if a is None else a.tolist() for face in faces for a in (face.box, face.landmarks, face.mesh)]
    kinds = [(f.score, f.hides, f.is_verified) for f in faces]
    tracks = [(t.id, t.missed_seconds, t.is_confirmed, t.hides) for t in seen.tracks]
    return [seen.frame.index, seen.starts_scene, seen.failed, arrays, kinds, tracks]


def replayed(kept: KeptDetections, frames: list[Frame] = FRAMES, settings: Settings = COVER) -> list[TrackedFrame]:
    found = kept.replayed(frames, settings)
    assert found is not None
    return list(found)


@pytest.fixture
def kept(tmp_path: Path) -> KeptDetections:
    made = KeptDetections(tmp_path / "faces", "a video", lambda: None)
    assert [flat(seen) for seen in made.noted(searched(), COVER)] == [flat(seen) for seen in searched()]
    return made


def file_of(kept: KeptDetections) -> Path:
    (file,) = kept.folder.iterdir()
    return file


def test_what_was_noted_comes_again_to_the_bit(kept: KeptDetections):
    assert [flat(seen) for seen in replayed(kept)] == [flat(seen) for seen in searched()]


def test_a_frame_that_was_searched_twice_is_one_frame(kept: KeptDetections):
    found = replayed(kept)
    assert found[2].frame is found[3].frame is FRAMES[2]


def test_without_a_folder_there_are_none(tmp_path: Path):
    assert KeptDetections(tmp_path / "faces", "a video", lambda: None).replayed(FRAMES, COVER) is None


def test_only_the_owner_may_read_them(kept: KeptDetections):
    assert stat.S_IMODE(file_of(kept).stat().st_mode) == 0o600
    assert stat.S_IMODE(kept.folder.stat().st_mode) == 0o700


def test_neither_pictures_nor_traits_are_in_them(tmp_path: Path):
    sizes = []
    for name, traits in (("without", None), ("with", Traits(1.0, 40.0, 20.0, (1.0, 0.0, 0.0, 0.0)))):
        known = KeptDetections(tmp_path / name, "a video", lambda: None)
        seen = (replace(one, tracks=tuple(replace(t, traits=traits) for t in one.tracks)) for one in searched())
        list(known.noted(seen, COVER))
        sizes.append(file_of(known).read_bytes())
    assert sizes[0] == sizes[1]
    assert len(sizes[0]) < 4 * 468 * 3 * 4  # three meshes, and little more


@pytest.mark.parametrize(
    "other", [{"policy": "strict"}, {"min_face": 20.0}, {"mode": "generate"}, {"delay_seconds": 0.1}]
)
def test_what_was_searched_otherwise_does_not_count(kept: KeptDetections, other: dict[str, object]):
    assert kept.replayed(FRAMES, replace(COVER, **other)) is None  # type: ignore[arg-type]


@pytest.mark.parametrize("other", [{"cover": "solid"}, {"beta": 0.5}, {"expression": 0.5}])
def test_another_way_of_hiding_uses_them(kept: KeptDetections, other: dict[str, object]):
    assert len(replayed(kept, settings=replace(COVER, **other))) == 5  # type: ignore[arg-type]


def test_another_video_is_searched(kept: KeptDetections):
    assert replace(kept, video="another").replayed(FRAMES, COVER) is None


def test_what_is_damaged_or_open_to_others_does_not_count(kept: KeptDetections):
    file = file_of(kept)
    content = file.read_bytes()
    file.write_bytes(content[:40] + bytes([content[40] ^ 1]) + content[41:])
    assert kept.replayed(FRAMES, COVER) is None
    file.write_bytes(content[:-1])
    assert kept.replayed(FRAMES, COVER) is None
    file.write_bytes(content)
    file.chmod(0o622)
    assert kept.replayed(FRAMES, COVER) is None


def test_those_of_another_video_do_not_count_under_this_one_s_name(kept: KeptDetections):
    other = replace(kept, video="another")
    list(other.noted((replace(seen, tracks=()) for seen in searched()), COVER))
    ours, theirs = sorted(kept.folder.iterdir(), key=lambda file: -file.stat().st_size)
    theirs.replace(ours)
    assert kept.replayed(FRAMES, COVER) is None


def test_what_ends_within_an_entry_does_not_count_though_its_sum_is_right(kept: KeptDetections):
    file = file_of(kept)
    content = file.read_bytes()
    for cut in (content[:length] for length in (8, 25, 2000)):
        file.write_bytes(cut + hashlib.sha256(kept._asked(COVER) + cut).digest())
        assert kept.replayed(FRAMES, COVER) is None


def test_a_folder_that_others_may_write_to_is_refused(kept: KeptDetections):
    kept.folder.chmod(0o770)
    with pytest.raises(AnonymizerError, match="others may write to it; give it to yourself alone"):
        kept.replayed(FRAMES, COVER)


@pytest.mark.parametrize("frames", [FRAMES[:3], [*FRAMES, frame_of(FRAMES[0].image, 4)], FRAMES[1:]])
def test_other_frames_than_those_searched_end_it(kept: KeptDetections, frames: list[Frame]):
    with pytest.raises(AnonymizerError, match="not those of this video"):
        replayed(kept, frames)


def test_a_search_that_failed_or_was_left_is_not_kept(tmp_path: Path):
    kept = KeptDetections(tmp_path / "faces", "a video", lambda: None)
    list(kept.noted((replace(seen, failed="failed" * (seen.frame.index == 1)) for seen in searched()), COVER))
    assert kept.replayed(FRAMES, COVER) is None
    left = kept.noted(searched(), COVER)
    next(left)
    left.close()
    assert list(kept.folder.iterdir()) == []


def test_a_search_of_what_was_changed_meanwhile_is_not_kept(tmp_path: Path):
    def changed() -> None:
        raise SourceError("it changed")

    kept = KeptDetections(tmp_path / "faces", "a video", changed)
    with pytest.raises(SourceError, match="it changed"):
        list(kept.noted(searched(), COVER))
    assert list(kept.folder.iterdir()) == []


def test_a_place_that_cannot_be_written_is_said(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(AnonymizerError, match="cannot keep detections"):
        list(KeptDetections(tmp_path / "file", "a video", lambda: None).noted(searched(), COVER))
