"""Parts of a recording: which frames, at which times, with what around them, and with which sound."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import pytest

from streamer import SourceError, open_sink, open_source
from streamer.sources.excerpts import Excerpts, spread
from streamer.sources.file_source import parts_of
from streamer.types import Frame, Span
from tests.clips import picture, safe

LONG = {"pts": range(120), "options": {"g": "10", "bf": "2"}}  # 12 seconds, a key frame each


def shade(frame: Frame) -> int:
    """Which of 24 `picture`s it is."""
    return round((float(frame.image[-8:, -8:].mean()) - 30) / 8)


def shown(source: Excerpts) -> list[Frame]:
    return [frame for frame in source if not frame.is_context]


@pytest.mark.parametrize("name", ["clip.mp4", "clip.mkv", "clip.ts", "clip.avi"])
def test_a_part_has_the_frames_of_its_time_and_begins_at_0(clip: Callable[..., Path], name: str):
    path = clip(name, **LONG | ({"options": {"g": "10", "bf": "0"}} if name.endswith("avi") else {}))
    with open_source(path) as source:
        expected = [shade(frame) for frame in source if 7.0 <= frame.seconds < 8.0]
    with open_source(path, start_seconds=7.0, end_seconds=8.0) as source:
        frames = shown(source)
    assert [shade(frame) for frame in frames] == expected
    assert expected[:3] == ([21, 22, 23] if name == "clip.avi" else [22, 23, 0])  # AVI's decoder is a frame late
    assert [round(frame.seconds, 3) for frame in frames] == [n / 10 for n in range(10)]
    assert [frame.index for frame in frames] == list(range(10))
    assert source.info.frame_count == 10


def test_what_lies_two_seconds_before_and_half_a_second_after_is_searched_too(clip: Callable[..., Path]):
    with open_source(clip(**LONG), start_seconds=7.0, end_seconds=8.0) as source:
        context = [shade(frame) for frame in source if frame.is_context]
    assert context == [n % 24 for n in (*range(50, 70), 80, 81, 82, 83, 84)]


def test_of_two_frames_a_second_one_on_either_side_is_searched(clip: Callable[..., Path]):
    path = clip(pts=range(0, 120, 10), context={"framerate": Fraction(1)})
    with open_source(path, start_seconds=5, end_seconds=7) as source:
        kinds = [frame.is_context for frame in source]
    assert kinds[0]
    assert kinds[-1]
    assert kinds.count(False) == 2


def test_a_file_without_an_index_is_read_from_its_beginning(clip: Callable[..., Path]):
    path = clip("clip.h264", **LONG | {"options": {"g": "10", "bf": "0"}})
    with open_source(path, start_seconds=7.0, end_seconds=7.5) as source:
        assert len(shown(source)) > 0


def test_several_parts_follow_each_other_with_a_pause(clip: Callable[..., Path]):
    with parts_of(open_source(clip(**LONG)), [Span(6.0, 6.3), Span(1.0, 1.2)]) as source:
        frames = list(source)
    assert [shade(f) for f in frames if not f.is_context] == [n % 24 for n in (60, 61, 62, 10, 11)]
    times = [frame.seconds for frame in frames]
    assert times == sorted(set(times))


def test_a_part_without_an_end_goes_to_that_of_the_recording(clip: Callable[..., Path]):
    with open_source(clip(**LONG), start_seconds=11.5) as source:
        assert len(shown(source)) == 5


def test_a_part_after_the_end_is_an_error(clip: Callable[..., Path]):
    with (
        open_source(clip(**LONG), start_seconds=60) as source,
        pytest.raises(SourceError, match="no picture from 60 s on"),
    ):
        list(source)


@pytest.mark.parametrize(("start", "end"), [(3, 3), (4, 3), (-1, 3), (float("nan"), None)])
def test_a_part_that_is_none_is_refused(clip: Callable[..., Path], start: float, end: float | None):
    with pytest.raises(ValueError, match="begin before it ends"):
        open_source(clip(), start_seconds=start, end_seconds=end)


def test_a_picture_has_no_parts(tmp_path: Path):
    import cv2

    cv2.imwrite(str(tmp_path / "a.png"), picture(1))
    with pytest.raises(SourceError, match="only a part of a video file"):
        open_source(tmp_path / "a.png", end_seconds=1)


def test_a_preview_looks_at_three_places():
    assert spread(3, within=Span(0, 60)) == (Span(8.5, 11.5), Span(28.5, 31.5), Span(48.5, 51.5))
    assert spread(3, within=Span(2, 10)) == (Span(2, 10),)


@pytest.mark.parametrize("name", ["clip.mp4", "clip.mkv"])
def test_only_the_sound_of_the_part_is_kept_and_in_time(clip: Callable[..., Path], tmp_path: Path, name: str):
    path = clip(name, **LONG, audio=("aac",), audio_seconds=12.0, samples=1024)
    out = tmp_path / f"out-{name}"
    with (
        open_source(path, start_seconds=7, end_seconds=8) as source,
        open_sink(out, source.info, source_path=path, keep_audio=True) as sink,
    ):
        assert isinstance(source, Excerpts)
        for frame in shown(source):
            sink.write(safe(frame))
    whole, part = packets(path), packets(out)
    assert 46 <= len(part) <= 48  # 1024 of 48,000 a second
    begins = [content for _, content in whole].index(part[0][1])
    assert [content for _, content in part] == [content for _, content in whole[begins : begins + len(part)]]
    for (before, _), (after, _) in zip(whole[begins:], part, strict=False):
        assert abs(before - 7 - after) < 2e-3


def packets(path: Path) -> list[tuple[float, bytes]]:
    with av.open(str(path)) as container:
        return [
            (float(p.pts * p.time_base), bytes(p)) for p in container.demux(audio=0) if p.size and p.pts is not None
        ]


def test_parts_take_no_sound(clip: Callable[..., Path], tmp_path: Path):
    path = clip(audio=("aac",))
    with (
        parts_of(open_source(path), [Span(0, 0.2), Span(0.5, 0.8)]) as source,
        pytest.raises(ValueError, match="one part"),
    ):
        open_sink(tmp_path / "out.mp4", source.info, source_path=path, keep_audio=True)
