"""How far sound and picture are apart when they come back to a browser from `veil serve --voice`.

    python -m benchmarks.serve_voice [--seconds 40] [--ways NAME...]

A real Chromium's camera flashes and its microphone plays a burst of a voice, every two seconds. Its page measures how
long a flash takes from the camera to the safe video, and a burst from the microphone to the sound that comes back: the
difference is how much later the sound is than the picture of the same moment.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import wave
from pathlib import Path

import numpy as np

from streamer.cores import share_cores
from streamer.pipeline.anonymizer import Anonymizer
from streamer.serve.room import Sound
from streamer.types import Image
from tests.end_to_end.browser import browser, write_y4m
from tests.end_to_end.serve.test_serve_browser import scene, start, text
from tests.end_to_end.serving import serving

RATE, PERIOD_SECONDS, BURST_SECONDS, FLASH_FRAMES = 48_000, 2, 0.08, 5
BLOCK = 120  # pixels of the corner that flashes
WARM_UP_SECONDS = 10.0
LATE_MS = 1500.0  # after which what comes back belongs to the next one
MEASURE = """(async () => {
  const seen = (window.seen = { camera: [], picture: [], microphone: [], sound: [] });
  const look = (element, times) => {
    const context = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
    let was = true;
    const next = (now, { expectedDisplayTime }) => {
      const scale = element.videoWidth / 640, block = 120 * scale;
      context.drawImage(element, block * 0.3, block * 0.3, block * 0.4, block * 0.4, 0, 0, 1, 1);
      const is = context.getImageData(0, 0, 1, 1).data[0] > 128;
      if (is && !was) times.push(expectedDisplayTime);
      was = is;
      element.requestVideoFrameCallback(next);
    };
    element.requestVideoFrameCallback(next);
  };
  const sounds = new AudioContext({ sampleRate: 48000 });
  const hear = (stream, times) => {
    const size = 256, node = sounds.createScriptProcessor(size, 1, 1);
    let loud = -1;
    node.onaudioprocess = (event) => event.inputBuffer.getChannelData(0).forEach((sample, n) => {
      const at = event.playbackTime + n / 48000;
      if (Math.abs(sample) > 0.05) {
        if (at - loud > 0.5) times.push(1000 * at);
        loud = at;
      }
    });
    sounds.createMediaStreamSource(stream).connect(node).connect(sounds.destination);
  };
  const camera = Object.assign(document.createElement("video"), { srcObject: window.taken.video, muted: true });
  await camera.play();
  look(camera, seen.camera);
  look(document.getElementById("video"), seen.picture);
  hear(window.taken.audio, seen.microphone);
  hear(document.getElementById("video").srcObject, seen.sound);
})()"""
TAKEN = """
  window.taken = {};
  const get = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
  const kept = async (what) => (window.taken[what.audio ? "audio" : "video"] = await get(what));
  navigator.mediaDevices.getUserMedia = kept;
"""


def flashing() -> list[Image]:
    """Return the frames of the camera: a portrait, and a corner that is bright for some frames."""
    dark, bright = scene(640, 480), scene(640, 480)
    dark[:BLOCK, :BLOCK], bright[:BLOCK, :BLOCK] = 0, 255
    return [bright] * FLASH_FRAMES + [dark] * (30 * PERIOD_SECONDS - FLASH_FRAMES)


def write_bursts(path: Path) -> Path:
    """Write what the microphone hears: the harmonics of a voice at 150 Hz for a moment, then silence."""
    seconds = np.arange(PERIOD_SECONDS * RATE) / RATE
    voice = sum(np.sin(2 * np.pi * 150 * k * seconds) / k for k in range(1, 20))
    samples = np.where(seconds < BURST_SECONDS, 0.4 * voice, 0)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes((samples * 32767).astype("<i2").tobytes())
    return path


def delays(sent: list[float], back: list[float]) -> list[float]:
    """Return how long what was sent took to come back, in milliseconds."""
    return [min(later) - one for one in sent if (later := [two for two in back if 0 < two - one < LATE_MS])]


async def offsets(way: str, folder: Path, *, seconds: float) -> str:
    """Return a row of the table for a mode and a delay of `veil serve`."""
    mode, _, delay = way.partition(", ")
    anonymizer = Anonymizer.load(mode=mode, delay_seconds=float(delay[:-3] or 0) / 1000, device="cpu")
    camera, microphone = write_y4m(folder / "camera.y4m", flashing()), write_bursts(folder / "microphone.wav")
    async with serving(anonymizer, sound=Sound("another voice")) as server, browser(folder, camera, microphone) as page:
        await page.do("Page.addScriptToEvaluateOnNewDocument", source=TAKEN)
        await start(page, server.url, 640, 480)
        await page.until(f"{text('state')} === 'Live' && document.getElementById('voice').checkVisibility()")
        await page.js("document.getElementById('voice').click()")
        await page.until("Boolean(window.taken.audio)")
        await asyncio.sleep(WARM_UP_SECONDS)
        await page.js(MEASURE)
        await asyncio.sleep(seconds)
        seen = await page.js("window.seen")
        (room,) = server.peers.by_id.values()
        latency = 1000 * room.meter.latency
    picture, sound = delays(seen["camera"], seen["picture"]), delays(seen["microphone"], seen["sound"])
    later = np.array(sound) - np.median(picture)
    low, middle, high = np.percentile(later, (10, 50, 90))
    cells = way, f"{latency:.0f} ms", f"{np.median(picture):.0f} ms", f"{np.median(sound):.0f} ms"
    return f"| {' | '.join(cells)} | {middle:+.0f} ms ({low:+.0f} to {high:+.0f}) | {len(picture)}, {len(sound)} |"


async def main() -> None:
    """Print a table."""
    share_cores()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=40.0)
    parser.add_argument("--ways", nargs="*", default=["cover, 0 ms", "cover, 100 ms", "generate, 100 ms"])
    options = parser.parse_args()
    print(f"| way | in the server | picture | sound | sound later (10 to 90 %) | flashes, bursts |\n{'|---' * 6}|")
    for way in options.ways:
        with tempfile.TemporaryDirectory() as folder:
            print(await offsets(way, Path(folder), seconds=options.seconds), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
