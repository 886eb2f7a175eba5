"""What each of many senders of one `veil serve` gets: frames a second, its first one, its longest wait.

    python -m benchmarks.serve_many CLIP [--peers 1,2,4,8,16] [--mode cover|generate] [--rate 15] [--seconds 20]

The server is a process of its own. Its peers are aiortc's, in this one; they send packets that were encoded before, and
count the frames that come back without decoding them, so that the cores are the server's.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import time
from contextlib import AsyncExitStack
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import aiortc.rtcrtpreceiver
import av
import numpy as np
from aiortc import MediaStreamTrack
from aiortc.mediastreams import MediaStreamError
from av.video.frame import VideoFrame

from benchmarks.serve_soak import server_process
from streamer.serve.access import OFFER_SECONDS, OFFERS
from streamer.sources.file_source import open_source
from streamer.types import Image
from tests.end_to_end.serving import Received, peer

FRAMES = 150  # of the clip, at most
SIZE = (640, 480)
LOOK_SECONDS = 0.005
TICKS = os.sysconf("SC_CLK_TCK")


class Encoded(MediaStreamTrack):
    """The packets of a clip again and again, at a rate."""

    kind = "video"

    def __init__(self, packets: list[bytes], rate: int) -> None:
        super().__init__()
        self._packets, self._rate, self._count, self._start = packets, rate, 0, time.monotonic()

    async def recv(self) -> Any:  # noqa: ANN401 - aiortc sends packets as they are
        """Return the next packet when it is time."""
        if self.readyState != "live":
            raise MediaStreamError
        await asyncio.sleep(max(0.0, self._start + self._count / self._rate - time.monotonic()))
        packet = av.Packet(self._packets[self._count % len(self._packets)])
        packet.pts, packet.time_base = self._count, Fraction(1, self._rate)
        self._count += 1
        return packet


class Uncoded:
    """In place of a decoder: a frame of two pixels says that one came."""

    def decode(self, _: object) -> list[VideoFrame]:
        """Return a frame, whatever came."""
        return [VideoFrame(2, 2, "rgb24")]


class Counted:
    """When the frames of a peer came, in seconds, to `LOOK_SECONDS`."""

    def __init__(self) -> None:
        self.times: list[float] = []

    async def watch(self, received: Received) -> None:
        """Note every frame, until cancelled."""
        while True:
            self.times += [time.monotonic()] * (len(received.images) - len(self.times))
            await asyncio.sleep(LOOK_SECONDS)


def cpu_seconds(pid: int) -> float:
    """Return what a process has taken of the processor."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def megabytes(pid: int) -> float:
    """Return what a process has in memory."""
    return int(re.findall(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[0]) / 1024


def encoded(clip: Path, rate: int) -> list[bytes]:
    """Return the first frames of a clip in VP8, a key frame a second."""
    with open_source(clip) as source:
        images = [frame.image for frame, _ in zip(source, range(FRAMES), strict=False)]
    codec: Any = av.CodecContext.create("libvpx", "w")
    codec.width, codec.height, codec.pix_fmt, codec.bit_rate = *SIZE, "yuv420p", 900_000
    codec.time_base, codec.framerate, codec.gop_size = Fraction(1, rate), Fraction(rate), rate
    codec.options = {"deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0"}
    packets = [packet for n, image in enumerate(images) for packet in codec.encode(_frame(image, n))]
    return [bytes(packet) for packet in [*packets, *codec.encode(None)]]


def _frame(image: Image, number: int) -> VideoFrame:
    frame = VideoFrame.from_ndarray(image, "rgb24").reformat(*SIZE, "yuv420p")
    frame.pts = number
    return frame


async def measure(packets: list[bytes], count: int, *, mode: str, rate: int, seconds: float) -> None:
    """Print a row of the table."""
    async with server_process(mode, peers=count) as (pid, server), AsyncExitStack() as stack:
        counted, asked = [Counted() for _ in range(count)], []
        for n, one in enumerate(counted):
            await asyncio.sleep(OFFER_SECONDS if n >= OFFERS - 1 else 0.1)
            asked.append(time.monotonic())
            track = Encoded(packets, rate)
            _, received, _ = await stack.enter_async_context(peer(server, track))
            stack.callback(asyncio.create_task(one.watch(received)).cancel)
        async with asyncio.timeout(60):
            while not all(one.times for one in counted):
                await asyncio.sleep(0.1)
        firsts = [one.times[0] - start for one, start in zip(counted, asked, strict=True)]
        start, cpu = time.monotonic(), (cpu_seconds(pid), time.process_time())
        await asyncio.sleep(seconds)
        wall, took = time.monotonic() - start, cpu_seconds(pid) - cpu[0]
        own, memory = time.process_time() - cpu[1], megabytes(pid)
        times = [[start, *(at for at in one.times if at >= start), start + wall] for one in counted]
    rates = [(len(each) - 2) / wall for each in times]
    waits = [max(b - a for a, b in pairwise(each)) for each in times]
    per_frame = 1000 * took / max(1e-9, sum(rates) * wall)
    print(
        f"| {count} | {min(rates):.1f} to {max(rates):.1f} | {np.median(firsts):.2f} s, {max(firsts):.2f} s "
        f"| {max(waits):.2f} s | {took / wall:.2f} | {own / wall:.2f} | {per_frame:.1f} ms | {memory:.0f} MB |",
        flush=True,
    )


async def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clip", type=Path)
    parser.add_argument("--peers", default="1,2,4,8,16")
    parser.add_argument("--mode", choices=("cover", "generate"), default="cover")
    parser.add_argument("--rate", type=int, default=15)
    parser.add_argument("--seconds", type=float, default=20.0)
    options = parser.parse_args()
    aiortc.rtcrtpreceiver.get_decoder = lambda _: Uncoded()  # type: ignore[assignment, return-value]
    packets = encoded(options.clip, options.rate)
    print("| peers | each, frames a second | first frame: median, last | longest wait | cores: server", end=" ")
    print("| peers | CPU a frame | memory |\n|---|---|---|---|---|---|---|---|")
    for count in map(int, options.peers.split(",")):
        await measure(packets, count, mode=options.mode, rate=options.rate, seconds=options.seconds)


if __name__ == "__main__":
    asyncio.run(main())
