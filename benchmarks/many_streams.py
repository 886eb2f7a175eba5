"""What many streams in one process cost: frames of each, CPU time of a frame, memory.

    python benchmarks/many_streams.py CLIP[,CLIP] [--streams 1,2,4,8,16] [--mode cover|generate] [--seconds 30]

Every stream reads its clip again and again, as fast as it can, and writes nothing; with several clips they take turns.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

from streamer.cores import share_cores
from streamer.pipeline.anonymizer import Anonymizer
from streamer.pipeline.runner import protect
from streamer.sources.file_source import open_source


def main() -> None:
    """Print a line for each number of streams, each measured in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clips", type=lambda text: text.split(","))
    parser.add_argument("--streams", default="1,2,4,8,16")
    parser.add_argument("--mode", choices=("generate", "cover"), default="cover")
    parser.add_argument("--seconds", type=float, default=30.0)
    options = parser.parse_args()
    if options.streams.isdigit():
        measure(options.clips, int(options.streams), mode=options.mode, seconds=options.seconds)
        return
    for count in options.streams.split(","):
        arguments = [",".join(options.clips), "--streams", count, "--mode", options.mode]
        subprocess.run([sys.executable, __file__, *arguments, "--seconds", str(options.seconds)], check=True)


def measure(clips: list[str], count: int, *, mode: str, seconds: float) -> None:
    """Print what so many streams cost in the second half of so many seconds."""
    share_cores()
    frames, stop = [0] * count, threading.Event()
    with Anonymizer.load(mode=mode) as anonymizer:
        threads = [
            threading.Thread(target=play, args=(clips[n % len(clips)], anonymizer, frames, n, stop))
            for n in range(count)
        ]
        for thread in threads:
            thread.start()
        time.sleep(seconds / 2)
        before, start = list(frames), (time.perf_counter(), time.process_time())
        time.sleep(seconds / 2)
        wall, cpu = time.perf_counter() - start[0], time.process_time() - start[1]
        rates = [(after - first) / wall for first, after in zip(before, list(frames), strict=True)]
        memory = resident_megabytes()
        stop.set()
        for thread in threads:
            thread.join()
    print(
        f"{count} streams: {min(rates):.1f} to {max(rates):.1f} frames a second each, {sum(rates):.1f} in all, "
        f"{1000 * cpu / max(1e-9, sum(rates) * wall):.1f} ms of CPU a frame, {cpu / wall:.2f} cores, {memory:.0f} MB",
        flush=True,
    )


def play(clip: str, anonymizer: Anonymizer, frames: list[int], number: int, stop: threading.Event) -> None:
    """Make the frames of a clip safe, again and again, and count them."""
    while not stop.is_set():
        with open_source(Path(clip)) as source, closing(protect(source, anonymizer)) as safe:
            for _ in safe:
                frames[number] += 1
                if stop.is_set():
                    break


def resident_megabytes() -> float:
    """Return what this process has in memory."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


if __name__ == "__main__":
    main()
