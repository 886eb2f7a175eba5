"""More than five hundred damaged files go through the whole tool, in processes of their own."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from queue import Empty, SimpleQueue

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
