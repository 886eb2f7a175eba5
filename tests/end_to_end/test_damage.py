"""More than five hundred damaged files go through the whole tool, in processes of their own."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from queue import Empty, SimpleQueue

import av
import pytest

from streamer.sources.file_source import open_source
from tests.clips import damaged_clip, encode_clip
from tests.end_to_end.damage import CLIPS, FRAMES, damaged, make_clips, work
from tests.end_to_end.patience import PATIENCE_SECONDS

COPIES = 33  # of each clip
WORKERS = 2


@dataclass(frozen=True)
class Outcome:
    """What came of one file: how the run ended, the frames in its output, and those that could be decoded."""

    name: str
    end: str
    written: int = 0
    decodable: int = 0


def outcomes(orders: SimpleQueue[tuple[Path, Path]]) -> Iterator[Outcome]:
    """Yield what comes of each order, in a process that is replaced when it crashes or hangs."""
    context = multiprocessing.get_context("spawn")
    process, pipe = None, None
    while True:
        try:
            order = orders.get_nowait()
        except Empty:
            break
        if process is None:
            pipe, end = context.Pipe()
            process = context.Process(target=work, args=(end,), daemon=True)
            process.start()
            end.close()
        pipe.send(order)
        try:
            is_answered = pipe.poll(PATIENCE_SECONDS)
            outcome = Outcome(order[0].name, *pipe.recv()) if is_answered else Outcome(order[0].name, "hung")
        except EOFError:
            outcome = Outcome(order[0].name, "crashed")
        if outcome.end in ("hung", "crashed"):
            process.kill()
            process = None
        yield outcome
    if process is not None:
        pipe.send(None)
        process.join()


def test_no_damaged_file_crashes_hangs_or_loses_frames_in_silence(tmp_path: Path) -> None:
    whole = make_clips(tmp_path)
    orders: SimpleQueue[tuple[Path, Path]] = SimpleQueue()
    suffixes = cycle((".mkv", ".mp4"))
    for clip in whole:
        orders.put((clip, tmp_path / f"{clip.name}.whole.mkv"))
        for number in range(COPIES):
            harmed = damaged(clip, tmp_path / f"{clip.stem}.{number}{clip.suffix}", number)
            orders.put((harmed, tmp_path / f"{clip.name}.{number}{next(suffixes)}"))
    assert orders.qsize() > 500
    with ThreadPoolExecutor(WORKERS) as pool:
        found = [outcome for some in pool.map(list, [outcomes(orders) for _ in range(WORKERS)]) for outcome in some]
    assert len(found) == len(whole) * (1 + COPIES)
    assert [outcome for outcome in found if outcome.end not in ("done", "error")] == []
    assert [outcome for outcome in found if outcome.written < outcome.decodable] == []
    assert {outcome.written for outcome in found if outcome.name in CLIPS} == {FRAMES}
    ends = [outcome.end for outcome in found]
    assert min(ends.count("done"), ends.count("error")) > 50, "the damage is too little or too much to tell anything"


def test_frames_of_which_a_part_was_lost_are_damaged_up_to_the_next_key_frame(tmp_path: Path) -> None:
    """What the decoder puts there is of other frames: half a face may be left where none is found."""
    path = damaged_clip(tmp_path / "clip.mkv", at=13, key_frames=10, frames=30)
    with open_source(path) as source:
        assert [frame.index for frame in source if frame.is_damaged] == list(range(13, 20))
        assert source.damaged_frames == 7
    with open_source(path) as source:
        source.skip_to(1.5)  # what is skipped was damaged
        assert [frame.seconds for frame in source if frame.is_damaged] == [1.5, 1.6, 1.7, 1.8, 1.9]


def test_frames_that_are_shown_before_the_one_they_follow_from_are_damaged_with_it(tmp_path: Path) -> None:
    """The fifth packet is that of frame 8, of which those before it are made: they come after it."""
    path = damaged_clip(tmp_path / "clip.mkv", at=5, key_frames=20, frames=40, b_frames=3)
    with open_source(path) as source:
        assert [frame.index for frame in source if frame.is_damaged] == list(range(5, 20))


@pytest.mark.parametrize(("b_frames", "wrong"), [(0, set(range(6, 20))), (3, {5, 6, 7, *range(9, 20)})])
def test_frames_that_follow_from_a_packet_that_is_lost_are_damaged(
    tmp_path: Path, b_frames: int, wrong: set[int]
) -> None:
    """Others that were not shown yet are taken for damaged, too."""
    path = damaged_clip(tmp_path / "clip.mkv", at=5, key_frames=20, frames=40, b_frames=b_frames, whole=True)
    with open_source(path) as source:
        damaged = {round(10 * frame.seconds) for frame in source if frame.is_damaged}
        assert source.corrupt_packets == 1
    assert wrong <= damaged <= set(range(1, 20))


@pytest.mark.parametrize(("codec", "suffix"), [("mpeg4", "avi"), ("flv", "flv"), ("h263p", "avi"), ("wmv2", "avi")])
def test_what_is_drawn_before_the_first_key_frame_is_damaged(codec: str, suffix: str, tmp_path: Path) -> None:
    """Such decoders begin with any frame, on grey: a face grows out of it that no detector knows at first."""
    whole, cut = tmp_path / f"whole.{suffix}", tmp_path / f"cut.{suffix}"
    encode_clip(whole, pts=range(30), codec=codec, options={"g": "10", "sc_threshold": "1000000000"})
    with av.open(str(whole)) as source, av.open(str(cut), "w") as sink:
        stream = sink.add_stream_from_template(source.streams.video[0])
        for packet in list(source.demux(video=0))[1:]:
            packet.stream = stream
            sink.mux(packet)
    for path, wrong in ((whole, 0), (cut, 9)):
        with open_source(path) as source:
            assert [frame.index for frame in source if frame.is_damaged] == list(range(wrong))
