"""Where videos are taken apart: at key frames alone, and only where every time is sure."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av

from streamer.batch.splitting import chosen, cuts

LENGTH = Fraction(10)


def seconds(*values: float) -> list[Fraction]:
    return list(map(Fraction, values))


def test_a_part_ends_at_the_key_frame_that_came_early_near_its_end():
    keys = seconds(0, 4, 8, 9, 12, 16, 20, 24, 28)
    assert chosen(keys, Fraction(30), LENGTH) == seconds(
        9, 20
    )  # 9 follows 8 by a second: a scene cut; 20 is nearest to 19


def test_without_a_key_frame_near_it_the_next_one_is_taken():
    assert chosen(seconds(0, 2, 18, 36), Fraction(40), LENGTH) == seconds(18, 36)


def test_no_part_is_much_shorter_than_asked_for():
    assert chosen(seconds(0, 10, 14), Fraction(14.5), LENGTH) == []
    assert chosen(seconds(0, 10, 18), Fraction(19), LENGTH) == seconds(10)
    assert chosen(seconds(0, 19.5), Fraction(20), LENGTH) == []


def test_a_video_is_cut_at_its_key_frames_told_from_its_start(clip: Callable[..., Path]):
    path = clip(pts=range(5, 65), options={"g": "8", "keyint_min": "8", "sc_threshold": "0"})
    found = cuts(str(path), 2.0, name="clip")
    with av.open(str(path)) as container:
        keys = [packet.pts * packet.time_base for packet in container.demux(video=0) if packet.is_keyframe]
    assert len(found) == 2
    assert {at + keys[0] for at in found} < set(keys)


def test_a_short_video_and_one_whose_times_may_be_wrong_stay_whole(clip: Callable[..., Path], tmp_path: Path):
    assert cuts(str(clip("short.mp4", pts=range(12))), 1.0, name="short") == []
    assert cuts(str(clip("gap.mp4", pts=[*range(10), *range(200, 210)])), 1.0, name="gap") == []
    assert cuts(str(clip("raw.ts", pts=range(60))), 1.0, name="raw") == []
    (tmp_path / "none.mp4").write_text("none")
    assert cuts(str(tmp_path / "none.mp4"), 1.0, name="none") == []
