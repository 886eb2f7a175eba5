"""How late, how smooth and how large a browser gets its own video back: `veil serve` beside plain aiortc, in one run.

    python -m benchmarks.serve_latency [--size 640x480] [--seconds 15] [--ways NAME...]

A real Chromium sends a portrait with the number of each frame in black and white blocks below it, and reads the number
from what it sends and from what comes back at the same moment: the difference is the latency of the whole loop. "Added"
is that of the server alone: from a frame's arrival to its leaving. "Drawn" is how often a face was, not only covered.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from aiohttp import web
from aiortc import RTCPeerConnection, RTCSessionDescription

from streamer.cli.demo import free_portrait
from streamer.cores import share_cores
from streamer.pipeline.anonymizer import Anonymizer
from streamer.serve.sdp.answer import with_start_bitrate
from streamer.types import Image
from tests.end_to_end.browser import browser, write_y4m
from tests.end_to_end.serving import ALONE, serving

FRAMES, RATE = 240, 30
BITS, BLOCK = 8, 24  # of the number, and pixels of a block
WARM_UP = 4.0  # seconds
PLAY = """(async () => {
  const [width, height] = [%d, %d], bits = %d, block = %d;
  const camera = await navigator.mediaDevices.getUserMedia({ video: { width, height, frameRate: 30 } });
  const pc = new RTCPeerConnection();
  camera.getTracks().forEach((track) => pc.addTrack(track, camera));
  const video = (stream) => Object.assign(document.body.appendChild(document.createElement("video")),
    { srcObject: stream, autoplay: true, muted: true, playsInline: true, width: 160 }); // small: showing it costs
  const sent = video(camera);
  let back = null;
  pc.ontrack = ({ track }) => { back = video(new MediaStream([track])); };
  await pc.setLocalDescription(await pc.createOffer());
  while (pc.iceGatheringState !== "complete") await new Promise((done) => setTimeout(done, 50));
  const headers = { "Content-Type": "application/sdp" };
  const response = await fetch("/offer", { method: "POST", headers, body: pc.localDescription.sdp });
  await pc.setRemoteDescription({ type: "answer", sdp: (await response.json()).sdp });
  const canvas = new OffscreenCanvas(bits * block, block);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  const number = (element) => {
    context.drawImage(element, 0, -(height - block), width, height); // as large as it was, if it comes back smaller
    const pixels = context.getImageData(0, 0, canvas.width, canvas.height).data;
    let value = 0;
    for (let bit = 0; bit < bits; bit++)
      value |= (pixels[4 * ((block / 2) * canvas.width + bit * block + block / 2)] > 127) << bit;
    return value;
  };
  window.measured = { pairs: [], started: 0 };
  setInterval(async () => {
    if (!back?.videoWidth) return;
    window.measured.pairs.push([number(sent), number(back)]);
    for (const report of (await pc.getStats()).values())
      if (report.type === "inbound-rtp" && report.kind === "video") window.measured.frames = report.framesDecoded;
    window.measured.size = [back.videoWidth, back.videoHeight];
  }, 50);
})()"""


@dataclass(frozen=True)
class Loop:
    """What one way of sending video back is like."""

    size: str
    fps: float
    p50: float
    p95: float


def numbered(width: int, height: int) -> list[Image]:
    """Return the frames of the camera: a portrait, and a strip with the number of the frame."""
    size = (round(512 * (height - BLOCK) / 600), height - BLOCK)
    photo = cv2.resize(free_portrait(), size, interpolation=cv2.INTER_AREA)
    scene = np.full((height, width, 3), 90, np.uint8)
    left = (width - photo.shape[1]) // 2
    scene[: height - BLOCK, left : left + photo.shape[1]] = photo
    images = []
    for n in range(FRAMES):
        image = scene.copy()
        for bit in range(BITS):
            image[-BLOCK:, bit * BLOCK : (bit + 1) * BLOCK] = 255 * (n >> bit & 1)
        images.append(image)
    return images


@asynccontextmanager
async def plain() -> AsyncIterator[str]:
    """Serve what aiortc's own example does: every frame goes back as it came."""
    connections = []

    async def offer(request: web.Request) -> web.Response:
        connection = RTCPeerConnection(ALONE)
        connections.append(connection)
        connection.on("track", connection.addTrack)
        await connection.setRemoteDescription(RTCSessionDescription(await request.text(), "offer"))
        await connection.setLocalDescription(await connection.createAnswer())
        return web.json_response({"sdp": with_start_bitrate(connection.localDescription.sdp)})

    async def page(_: web.Request) -> web.Response:
        return web.Response(text="<body></body>", content_type="text/html")

    app = web.Application()
    app.add_routes([web.get("/", page), web.post("/offer", offer)])
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        for connection in connections:
            await connection.close()
        await runner.cleanup()


async def measured(url: str, camera: Path, width: int, height: int, *, seconds: float) -> Loop:
    """Return what a browser gets from `url`."""
    with tempfile.TemporaryDirectory() as folder:
        async with browser(Path(folder), camera) as page:
            await page.go(url)
            await page.js(PLAY % (width, height, BITS, BLOCK))
            await page.until("window.measured.size")
            await asyncio.sleep(WARM_UP)
            before = await page.js("window.measured")
            await asyncio.sleep(seconds)
            after = await page.js("window.measured")
    pairs = np.array(after["pairs"][len(before["pairs"]) :])
    late = (pairs[:, 0] - pairs[:, 1]) % FRAMES
    milliseconds = late[late < FRAMES // 2] * 1000 / RATE
    # Whole frames are counted: spread over one each, they tell percentiles between two.
    spread = milliseconds + np.random.default_rng(0).uniform(-0.5, 0.5, len(milliseconds)) * 1000 / RATE
    p50, p95 = np.percentile(spread, (50, 95))
    return Loop("x".join(map(str, after["size"])), (after["frames"] - before["frames"]) / seconds, p50, p95)


async def filtered(way: str, camera: Path, width: int, height: int, *, seconds: float) -> tuple[Loop, str, str]:
    """Return the same for a mode and a delay of `veil serve`, and its latency and share of drawn faces."""
    mode, _, delay = way.partition(", ")
    anonymizer = Anonymizer.load(mode=mode, delay_seconds=float(delay[:-3] or 0) / 1000, device="cpu")
    latencies, drawn = [], []
    async with serving(anonymizer) as server:
        task = asyncio.create_task(measured(server.url, camera, width, height, seconds=seconds))
        await asyncio.sleep(WARM_UP + seconds / 2)
        while not task.done():
            for peer in server.peers.by_id.values():
                latencies.append(1000 * peer.meter.latency)
                drawn.append("generated" in peer.meter.as_dict()["tiers"])
            await asyncio.sleep(0.1)
        return await task, f"{np.median(latencies):.0f}", f"{np.mean(drawn):.0%}"


async def main() -> None:
    """Print a table."""
    share_cores()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", nargs="*", default=["640x480", "1280x720"])
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--ways", nargs="*", default=["plain aiortc", "cover", "cover, 100 ms", "generate, 100 ms"])
    options = parser.parse_args()
    print(f"| way | size | fps | loop p50 ms | p95 | added p50 ms | drawn |\n{'|---' * 7}|")
    with tempfile.TemporaryDirectory() as folder:
        for size in options.size:
            width, height = map(int, size.split("x"))
            camera = write_y4m(Path(folder) / f"{size}.y4m", numbered(width, height), RATE)
            for way in options.ways:
                more: tuple[str, ...] = ()
                if way == "plain aiortc":
                    async with plain() as url:
                        loop = await measured(url, camera, width, height, seconds=options.seconds)
                else:
                    loop, *more = await filtered(way, camera, width, height, seconds=options.seconds)
                cells = way, loop.size, f"{loop.fps:.1f}", f"{loop.p50:.0f}", f"{loop.p95:.0f}", *more
                print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    asyncio.run(main())
