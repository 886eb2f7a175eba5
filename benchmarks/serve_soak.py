"""Whether `veil serve` lasts: memory and descriptors of a real server while peers come and go, and over a long call.

    python -m benchmarks.serve_soak CLIP [--cycles 200] [--minutes 30] [--mode cover|generate] [--plot FILE]

First `--cycles` peers connect, get some pictures and leave, every second one without a word. Then one peer sends the
clip in a loop for `--minutes`. The server is a process of its own; its memory is what it keeps in RAM (RSS).
"""

from __future__ import annotations

import argparse
import asyncio
import re
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import numpy as np
from aiortc import RTCPeerConnection

from streamer.serve.access import OFFER_SECONDS
from streamer.sources.file_source import open_source
from tests.end_to_end.serving import Playing, Serving, peer

SAMPLE_SECONDS = 5.0
CYCLE_FRAMES = 5
SETTLE_CYCLES = 20  # of which memory says nothing: libraries load, pools fill


@dataclass(frozen=True)
class Sample:
    """The state of the server at one moment: MiB, descriptors, threads, frames sent so far."""

    seconds: float
    mib: float
    descriptors: int
    threads: int
    frames: int


@asynccontextmanager
async def server_process(mode: str, *, peers: int = 8) -> AsyncIterator[tuple[int, Serving]]:
    """Yield the process id of a server, and what peers need to talk to it."""
    command = [sys.executable, "-m", "streamer", "serve", "--port", "0", "--mode", mode, "--max-peers", str(peers)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().removeprefix("veil serves ").strip()
        try:
            async with aiohttp.ClientSession() as client:
                yield process.pid, Serving(url, None, client)  # type: ignore[arg-type]
        finally:
            process.terminate()


async def sampled(pid: int, server: Serving, start: float) -> Sample:
    """Return how the server is now."""
    proc = Path("/proc") / str(pid)
    status = (proc / "status").read_text()
    mib = int(re.findall(r"VmRSS:\s+(\d+)", status)[0]) / 1024
    threads = int(re.findall(r"Threads:\s+(\d+)", status)[0])
    async with server.client.get(server.url + "/metrics") as response:
        frames = float(re.findall(r"^veil_frames_total (\S+)", await response.text(), re.M)[0])
    descriptors = len(list((proc / "fd").iterdir()))
    return Sample(time.monotonic() - start, mib, descriptors, threads, round(frames))


async def cycle(server: Serving, track: Playing, *, abruptly: bool) -> None:
    """Connect, see some pictures, leave."""
    async with peer(server, Playing(track.images)) as (connection, received, said):
        await received.until(lambda images: len(images) >= CYCLE_FRAMES)
        if abruptly:
            await vanish(connection)
        else:
            async with server.client.delete(server.url + said["session"]) as response:
                assert response.status == 200


async def vanish(connection: RTCPeerConnection) -> None:
    """Close the sockets without a word."""
    for transport in {one.sender.transport for one in connection.getTransceivers()}:
        await transport.transport.stop()


async def cycles(pid: int, server: Serving, track: Playing, *, count: int) -> None:
    """Print how the server is before and after many peers."""
    start, samples = time.monotonic(), []
    for n in range(count):
        began = time.monotonic()
        await cycle(server, track, abruptly=n % 2 == 1)
        samples.append(await sampled(pid, server, start))
        await asyncio.sleep(max(0.0, OFFER_SECONDS - (time.monotonic() - began)))  # what one address may
        if n % 20 == 19:
            print(f"  {n + 1} cycles: {samples[-1].mib:.0f} MiB, {samples[-1].descriptors} descriptors", flush=True)
    await asyncio.sleep(40)  # until those who vanished are missed
    end = await sampled(pid, server, start)
    first = samples[min(SETTLE_CYCLES, count - 1)]
    print(f"{count} cycles: {first.mib:.0f} -> {end.mib:.0f} MiB ({100 * (end.mib / first.mib - 1):+.1f} %)")
    print(f"descriptors {samples[0].descriptors} -> {end.descriptors}, threads {samples[0].threads} -> {end.threads}")


async def call(pid: int, server: Serving, track: Playing, *, minutes: float) -> list[Sample]:
    """Return samples of a long call."""
    start, samples = time.monotonic(), []
    async with peer(server, track) as (_, received, _):
        while time.monotonic() - start < 60 * minutes:
            await asyncio.sleep(SAMPLE_SECONDS)
            samples.append(await sampled(pid, server, start))
            received.images.clear()
    return samples


def report(samples: list[Sample], plot: Path | None) -> None:
    """Print the slope of memory over frames, and draw it."""
    later = samples[len(samples) // 6 :]  # the first sixth warms up
    frames, mib = np.array([s.frames for s in later]), np.array([s.mib for s in later])
    slope = float(np.polyfit(frames, mib, 1)[0]) * 1000
    print(f"{later[-1].seconds / 60:.0f} min, {later[-1].frames} frames: {mib[0]:.0f} -> {mib[-1]:.0f} MiB,", end=" ")
    print(f"slope {slope:+.3f} MiB per 1,000 frames; descriptors {later[0].descriptors} -> {later[-1].descriptors}")
    if plot is None:
        return
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 3))
    axes.plot([s.frames for s in samples], [s.mib for s in samples], color="#2a7f62")
    axes.set(xlabel="frames", ylabel="MiB in RAM", ylim=(0, 1.15 * max(s.mib for s in samples)))
    axes.set_title(f"veil serve, one call: {slope:+.3f} MiB per 1,000 frames", fontsize=10)
    figure.savefig(plot, dpi=110, bbox_inches="tight")


async def main() -> None:
    """Run both."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clip", type=Path)
    parser.add_argument("--cycles", type=int, default=200)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--rate", type=int, default=15)
    parser.add_argument("--mode", choices=("cover", "generate"), default="generate")
    parser.add_argument("--plot", type=Path)
    options = parser.parse_args()
    with open_source(options.clip) as source:
        track = Playing([frame.image for frame in source], options.rate)
    async with server_process(options.mode) as (pid, server):
        if options.cycles:
            await cycles(pid, server, track, count=options.cycles)
        if options.minutes:
            report(await call(pid, server, track, minutes=options.minutes), options.plot)


if __name__ == "__main__":
    asyncio.run(main())
