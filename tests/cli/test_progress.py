import io
import json
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from rich.console import Console

from streamer.cli.progress import ProgressBar, Report, Summary
from streamer.types import FaceReport, SafeFrame, Tier, VideoInfo

PICTURE = np.zeros((2, 2, 3), np.uint8)
INFO = VideoInfo(2, 2, Fraction(25), Fraction(1, 25), 3)


def safe(index: int, *faces: tuple[int, Tier, str], failed: str = "") -> SafeFrame:
    box = np.zeros(4, np.float32)
    reports = tuple(FaceReport(track, tier, reason, box) for track, tier, reason in faces)
    return SafeFrame(PICTURE, index, index, Fraction(1, 25), reports, failed)


@pytest.fixture
def summary() -> Summary:
    summary = Summary()
    summary.add(safe(0, (1, "mosaic", "small"), (2, "generated", "")))
    summary.add(safe(1, (2, "generated", ""), (3, "mosaic", "turned"), (4, "mosaic", "turned")))
    summary.add(safe(2, failed="RuntimeError"))
    return summary


def report(summary: Summary, *, seconds: float = 0.06, unrelated: bool = False) -> Report:
    return Report("a.mp4", "b.mp4", "cpu", summary, seconds, 2, 1, None, unrelated)


def test_a_summary_counts_frames_faces_and_tracks(summary: Summary):
    assert (summary.frames, summary.face_frames, summary.tracks) == (3, 5, {1, 2, 3, 4})
    assert summary.tally.failures == {"RuntimeError": 1}


def test_where_somebody_may_have_run_is_a_face_frame_and_no_further_track(summary: Summary):
    summary.add(safe(3, (-1, "mosaic", "coasting"), (2, "generated", "")))
    assert (summary.face_frames, summary.tracks) == (7, {1, 2, 3, 4})


def test_face_frames_are_told_apart_by_tier_and_reason_best_tier_first(summary: Summary):
    assert list(summary.by_tier().items()) == [("generated", {"": 2}), ("mosaic", {"turned": 2, "small": 1})]


def test_the_length_of_a_video_includes_its_last_frame(summary: Summary):
    assert summary.video_seconds == pytest.approx(3 / 25)


@pytest.mark.parametrize("frames", [0, 1])
def test_no_length_is_known_from_less_than_two_frames(frames: int):
    summary = Summary()
    for index in range(frames):
        summary.add(safe(index))
    assert summary.video_seconds == 0
    assert report(summary).real_time_factor is None


def test_a_report_is_one_json_object_with_every_count(summary: Summary):
    assert json.loads(json.dumps(report(summary).as_dict())) == {
        "source": "a.mp4",
        "sink": "b.mp4",
        "outputs": [],
        "device": "cpu",
        "frames": 3,
        "face_frames": 5,
        "tracks": 4,
        "covered": {"generated": {"": 2}, "mosaic": {"turned": 2, "small": 1}},
        "frames_covered_whole": {"RuntimeError": 1},
        "seconds": 0.06,
        "fps": 50.0,
        "real_time_factor": 2.0,
        "corrupt_packets": 2,
        "audio": "dropped (1 stream; a voice identifies a person; --voice changes it, --keep-audio keeps it)",
        "audio_streams": 1,
        "audio_packets": None,
        "audio_failures": [],
        "voice": None,
        "frames_dropped": 0,
        "guard": {"compared": 0, "escalated": 0, "highest": -1.0},
        "differential_privacy": None,
        "notes": [],
        "searched": None,
    }


def test_a_report_says_the_same_to_a_reader(summary: Summary):
    text = "\n".join(report(summary).lines())
    for part in ("50.0 fps on cpu, 2.00 times real time", "5 face-frames of 4 tracks", "3 (2 turned, 1 small)"):
        assert part in text
    for part in ("2 corrupt packets", "frames covered whole: 1 (1 RuntimeError)", "dropped (1 stream;", "b.mp4"):
        assert part in text


def test_what_was_done_to_every_picture_is_said(summary: Summary):
    one = replace(report(summary), notes=("deinterlaced", "cut to 40x30, as the file says"))
    assert "picture      deinterlaced, cut to 40x30, as the file says" in one.lines()
    assert one.as_dict()["notes"] == ["deinterlaced", "cut to 40x30, as the file says"]


@pytest.mark.parametrize(
    ("streams", "packets", "said"),
    [
        (0, None, "none in the source"),
        (0, 0, "none in the source"),
        (2, None, "dropped (2 streams; a voice identifies a person; --voice changes it, --keep-audio keeps it)"),
        (1, 431, "431 packets of 1 stream copied: a voice identifies a person"),
        (1, 0, "0 packets of 1 stream copied: a voice identifies a person"),
    ],
)
def test_what_became_of_the_sound_is_said_in_numbers(summary: Summary, streams: int, packets: int | None, said: str):
    one = Report("a.mp4", "b.mp4", "cpu", summary, 1.0, 0, streams, packets, unrelated=False)
    assert one.lines()[-1] == f"audio        {said}"
    assert one.as_dict()["audio"] == said


def test_another_voice_is_said_and_where_it_was_lost(summary: Summary):
    one = Report("a", "b", "cpu", summary, 1.0, 0, 1, 90, has_other_voice=True, unrelated=False)
    assert one.lines()[-1] == "audio        1 stream in another voice: disguised, not anonymous"
    lost = replace(one, audio_failures=("out of memory, at 3.2 s",))
    assert lost.lines()[-1].endswith("LOST from there on: out of memory, at 3.2 s")
    assert (lost.as_dict()["voice"], lost.as_dict()["audio_failures"]) == ("another", ["out of memory, at 3.2 s"])


def test_pictures_of_a_folder_have_no_tracks_and_no_time(summary: Summary):
    pictures = report(summary, unrelated=True)
    assert pictures.as_dict()["tracks"] is None
    assert pictures.real_time_factor is None
    assert not [line for line in pictures.lines() if "track" in line or "real time" in line]


def test_the_bar_is_silent_where_there_is_no_terminal(summary: Summary):
    console = Console(file=io.StringIO(), force_terminal=False)
    with ProgressBar(INFO, console) as bar:
        bar.update(summary)
    assert console.file.getvalue() == ""


@pytest.mark.parametrize(("count", "shown"), [(3, "3/3 frames"), (None, "3/? frames")])
def test_the_bar_shows_frames_rate_and_faces_per_frame(summary: Summary, count: int | None, shown: str):
    console = Console(file=io.StringIO(), force_terminal=True, width=120)
    info = VideoInfo(2, 2, Fraction(25), Fraction(1, 25), count)
    with ProgressBar(info, console) as bar:
        bar.update(summary)
    text = console.file.getvalue()
    assert shown in text
    assert "1.7 faces/frame" in text
    assert "fps" in text
