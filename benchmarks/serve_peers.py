"""Who can send to `veil serve` and watch it, in which codec, and how long everything takes: two tables.

    python -m benchmarks.serve_peers [--rounds 3]

Real peers on this machine: aiortc, Chromium, Firefox and GStreamer's webrtcbin. "First frame" counts from the offer to
the first safe frame in the server (of who sends) or to the first decoded one (of who watches). ICE anew counts from the
browser's PATCH to frames over the new port, "gap" is the longest time without a frame meanwhile. The other times are of
the pages that people see.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import numpy as np

from streamer.types import Image
from tests.end_to_end.browser import Page, browser, write_y4m
from tests.end_to_end.rtsp_servers import free_port
from tests.end_to_end.serve.firefox import firefox
from tests.end_to_end.serve.test_serve_foreign import until, webrtcbin
from tests.end_to_end.serve.test_serve_peers import SCRIPT, Driven, in_codec
from tests.end_to_end.serving import Playing, Serving, noise, peer, serving

CODECS = ("VP8", "H264")
STEP = 0.01  # seconds from one look to the next
PATIENCE = 30.0  # seconds
DARK, BRIGHT = np.full((240, 320, 3), 40, np.uint8), np.full((240, 320, 3), 210, np.uint8)
STATE = "document.getElementById('state').textContent"
HINT = "document.getElementById('hint').textContent"
LIGHT = """(() => { const v = document.getElementById('video'), c = new OffscreenCanvas(8, 8), x = c.getContext('2d');
    x.drawImage(v, 0, 0, 8, 8); return x.getImageData(4, 4, 1, 1).data[0]; })()"""


async def since(start: float, reached: Callable[[], Awaitable[bool]]) -> float:
    """Return the seconds from `start` until something is so."""
    async with asyncio.timeout(PATIENCE):
        while not await reached():
            await asyncio.sleep(STEP)
    return time.monotonic() - start


async def frames_of(server: Serving) -> int:
    """Return how many safe frames there were of the one who sends."""
    return sum(room.meter.as_dict()["frames"] for room in server.peers.by_id.values())


# First frames


async def aiortc_sends(server: Serving, codec: str) -> float:
    """Return how long aiortc takes to a safe frame in the server."""
    start = time.monotonic()
    async with peer(server, Playing([noise()]), path="/whip/door", prepare=partial(in_codec, codec=codec)):
        return await since(start, lambda: is_past(server, 0))


async def aiortc_watches(server: Serving, codec: str) -> float:
    """Return how long aiortc takes to a frame that it watches."""
    start = time.monotonic()
    async with peer(server, path="/whep/door", prepare=partial(in_codec, codec=codec)) as (_, received, _):
        await received.until(lambda images: bool(images))
        return time.monotonic() - start


async def is_past(server: Serving, count: int) -> bool:
    """Return whether more safe frames than that have left the server."""
    return await frames_of(server) > count


async def gstreamer_sends(server: Serving, codec: str) -> float:
    """Return the same of GStreamer, with the start of its process."""
    start = time.monotonic()
    async with webrtcbin("whip", codec, server.url + "/whip/door"):
        return await since(start, lambda: is_past(server, 0))


async def gstreamer_watches(server: Serving, codec: str) -> float:
    """Return the same of GStreamer as a viewer."""
    start = time.monotonic()
    async with webrtcbin("whep", codec, server.url + "/whep/door") as said:
        await until(said, b"frame")
        return time.monotonic() - start


async def browser_sends(server: Serving, codec: str, *, page: Driven) -> float:
    """Return the same of a browser."""
    start = time.monotonic()
    await page.js(f"peer('/whip/door', {{ video: true }}, '{codec}')")
    seconds = await since(start, lambda: is_past(server, 0))
    await page.js("fetch(session, { method: 'DELETE' }).then(() => pc.close())")
    return seconds


async def browser_watches(_: Serving, codec: str, *, page: Driven) -> float:
    """Return the same of a browser as a viewer."""
    start = time.monotonic()
    await page.js(f"peer('/whep/door', null, '{codec}')")
    seconds = await since(start, lambda: has_frames(page, 0))
    await page.js("fetch(session, { method: 'DELETE' }).then(() => pc.close())")
    return seconds


async def has_frames(page: Driven, count: int) -> bool:
    """Return whether a browser has sent or decoded more frames than that."""
    return bool((await page.js("seen()"))["frames"] > count)


Way = Callable[[Serving, str], Awaitable[float]]


async def first_frames(name: str, sends: Way, watches: Way, *, rounds: int) -> None:
    """Print the rows of one kind of peer."""
    for codec in CODECS:
        for kind, way in (("sends", sends), ("watches", watches)):
            took, failure = [], ""
            for _ in range(rounds):
                async with serving() as server:
                    try:
                        took.append(await measured(server, codec, kind, way))
                    except (TimeoutError, AssertionError) as error:
                        failure = type(error).__name__
                        break
            cell = failure or f"{statistics.median(took):.2f} s ({min(took):.2f} to {max(took):.2f})"
            print(f"| {name} | {codec} | {kind} | {cell} |", flush=True)


async def measured(server: Serving, codec: str, kind: str, way: Way) -> float:
    """Return what one way takes; somebody sends already where it watches."""
    if kind == "sends":
        return await way(server, codec)
    async with peer(server, Playing([noise()]), path="/whip/door"):
        await since(time.monotonic(), lambda: is_past(server, 5))
        return await way(server, codec)


async def first_frames_of_browser(name: str, page: Driven, *, rounds: int) -> None:
    """Print the rows of a browser."""

    async def on_page(server: Serving, codec: str, way: Callable[..., Awaitable[float]]) -> float:
        await page.go(server.url + "/healthz")
        await page.js(f"(() => {{ {SCRIPT} }})()")
        return await way(server, codec, page=page)

    await first_frames(name, partial(on_page, way=browser_sends), partial(on_page, way=browser_watches), rounds=rounds)


# ICE anew


async def ice_anew(name: str, page: Driven, *, rounds: int) -> None:
    """Print how long a browser takes to begin ICE anew, in both directions."""
    for kind in ("whip", "whep"):
        took, gaps = [], []
        for _ in range(rounds):
            async with serving() as server:
                await page.go(server.url + "/healthz")
                await page.js(f"(() => {{ {SCRIPT} }})()")
                if kind == "whip":
                    await page.js("peer('/whip/door', { video: true }, 'VP8')")
                    one = await anew(page)
                else:
                    async with peer(server, Playing([noise()]), path="/whip/door"):
                        await page.js("peer('/whep/door', null, 'VP8')")
                        one = await anew(page)
                took.append(one[0])
                gaps.append(one[1])
                await page.js("pc.close()")
        cells = f"{statistics.median(took):.2f} s", f"{max(gaps):.2f} s at most"
        print(f"| {name}, {'sends' if kind == 'whip' else 'watches'} | {' | '.join(cells)} |", flush=True)


async def anew(page: Driven) -> tuple[float, float]:
    """Return the seconds until the new way is used, and the longest without a frame."""
    await since(time.monotonic(), lambda: has_frames(page, 20))
    before = await page.js("seen()")
    start = last = time.monotonic()
    frames, gap, went_over = before["frames"], 0.0, 0.0
    await page.js("anew()")
    while time.monotonic() - start < 5:
        now = await page.js("seen()")
        if now["frames"] > frames:
            gap, last, frames = max(gap, time.monotonic() - last), time.monotonic(), now["frames"]
            if now["port"] != before["port"] and not went_over:
                went_over = last - start
        await asyncio.sleep(STEP)
    assert went_over
    return went_over, gap


# The pages


@asynccontextmanager
async def two_pages(url: str, folder: Path, camera: Path) -> AsyncIterator[tuple[Page, Page]]:
    """Yield a page that is live, and one that watches it."""
    async with browser(folder / "sender", camera) as sender, browser(folder / "viewer", camera) as viewer:
        await sender.go(url)
        await sender.js("document.getElementById('room').value = 'door'")
        start = time.monotonic()
        await sender.js("document.getElementById('toggle').click()")
        await sender.until("document.getElementById('video').videoWidth > 0")
        print(f"| page: from the click to its own safe video | {time.monotonic() - start:.2f} s |")
        await viewer.go(f"{url}/r/door")
        await viewer.until(f"{STATE} === 'Live'")
        yield sender, viewer


async def takeover(folder: Path, camera: Path) -> None:
    """Print how long a viewer waits for who takes a name over, and for the word that nobody sends."""
    dark = Playing([DARK])
    async with serving() as server, browser(folder, camera) as viewer, peer(server, dark, path="/whip/door"):
        await viewer.go(f"{server.url}/r/door")
        await viewer.until(f"{STATE} === 'Live'")
        await viewer.until(f"{LIGHT} < 80")
        start = time.monotonic()
        async with peer(server, Playing([BRIGHT]), path="/whip/door") as (_, _, said):
            seconds = await since(start, lambda: viewer.js(f"{LIGHT} > 150"))
            print(f"| takeover: from the offer to its picture on the viewer's page | {seconds:.2f} s |")
            start = time.monotonic()
            await server.client.delete(server.url + said["session"])
            seconds = await since(start, lambda: viewer.js(f"{HINT}.includes('has stopped')"))
            print(f"| sender stops: until the viewer's page says so | {seconds:.2f} s |")


async def vanished(folder: Path, camera: Path) -> None:
    """Print the same of a sender that is cut off without a word."""
    async with serving() as server, browser(folder / "viewer", camera) as viewer:
        async with browser(folder / "sender", camera) as sender:
            await sender.go(server.url)
            await sender.js("document.getElementById('room').value = 'door'")
            await sender.js("document.getElementById('toggle').click()")
            await viewer.go(f"{server.url}/r/door")
            await viewer.until(f"{STATE} === 'Live'")
            start = time.monotonic()  # its process is killed now
        seconds = await since(start, lambda: viewer.js(f"{HINT}.includes('has stopped')"))
        print(f"| sender is killed: until the viewer's page says so | {seconds:.2f} s |")


async def restarted(folder: Path, camera: Path) -> None:
    """Print how long both pages take to come back after SIGTERM and a new start of the server."""
    port = free_port()
    command = [
        sys.executable,
        "-m",
        "streamer",
        "serve",
        "--port",
        str(port),
        "--mode",
        "cover",
        "--drain-seconds",
        "0",
    ]
    url = f"http://127.0.0.1:{port}"
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=os.environ)
    try:
        await until_ready(url)
        async with two_pages(url, folder, camera) as (sender, viewer):
            process.send_signal(signal.SIGTERM)
            start = time.monotonic()
            seconds = await since(start, lambda: viewer.js(f"{HINT}.includes('has stopped')"))
            print(f"| server gets SIGTERM: until the viewer's page says that nothing comes | {seconds:.2f} s |")
            await asyncio.to_thread(process.wait, 20)
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=os.environ)
            await until_ready(url)
            start = time.monotonic()
            for name, page in (("sender", sender), ("viewer", viewer)):
                seconds = await since(start, lambda page=page: page.js(f"{STATE} === 'Live'"))  # type: ignore[misc]
                print(f"| it is started again: until the {name}'s page is live, without a click | {seconds:.2f} s |")
    finally:
        process.terminate()
        process.wait(20)


async def until_ready(url: str) -> None:
    """Wait until a server answers."""
    while subprocess.run(["curl", "-sf", f"{url}/readyz"], capture_output=True, check=False).returncode:
        await asyncio.sleep(0.1)


def pictures() -> list[Image]:
    """Return a camera's pictures, without faces: it is the connections that are measured."""
    return [noise(480, 640, seed) for seed in range(2)] * 15


async def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        camera = write_y4m(folder / "camera.y4m", pictures())
        print("| peer | codec | direction | first frame: median (all) |\n|---|---|---|---|")
        await first_frames("aiortc", aiortc_sends, aiortc_watches, rounds=rounds)
        if Path("/usr/bin/python3").exists():
            await first_frames("GStreamer", gstreamer_sends, gstreamer_watches, rounds=rounds)
        async with browser(folder / "chromium", camera) as page:
            await first_frames_of_browser("Chromium", page, rounds=rounds)
        if shutil.which("firefox-esr"):
            async with firefox(folder / "firefox") as fox:
                await first_frames_of_browser("Firefox", fox, rounds=rounds)
        print("\n| ICE anew | new way after | gap |\n|---|---|---|")
        async with browser(folder / "again", camera) as page:
            await ice_anew("Chromium", page, rounds=rounds)
        if shutil.which("firefox-esr"):
            async with firefox(folder / "fox-again") as fox:
                await ice_anew("Firefox", fox, rounds=rounds)
        print("\n| what | time |\n|---|---|")
        await takeover(folder / "takeover", camera)
        await vanished(folder / "vanished", camera)
        await restarted(folder / "restarted", camera)


if __name__ == "__main__":
    asyncio.run(main())
