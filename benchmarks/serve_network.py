"""How long a browser's call is interrupted when its network changes: for root, on Linux, with Chromium and `ip`.

    python -m benchmarks.serve_network [--rounds 3]

A namespace of the kernel is a laptop with two network cards, and this one the server that both lead to. Chromium in the
laptop sends its camera to `veil serve` and gets it back. Its first network is pulled while the second one is there
("handover"), and while there is none, which comes up after some seconds ("gap"). The table says how long no new picture
came, and whether the session was still the same one.
"""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from tests.end_to_end.browser import Page, browser, write_y4m
from tests.end_to_end.serve.test_serve_browser import WIDTH, start, text
from tests.end_to_end.serving import noise

LAPTOP = "veil-laptop"
SERVER = "10.77.0.1"  # of the server, by whichever network
LINKS = {"first": ("10.77.1.1", "10.77.1.2"), "second": ("10.77.2.1", "10.77.2.2")}  # addresses: server's, laptop's
GAP_SECONDS = 5.0
SETTLE_SECONDS = 5.0
PATIENCE_SECONDS = 60.0
NEWEST = "performance.now() - (window.newest ?? 0)"  # ms since a picture came
WATCH = """(() => { const video = document.getElementById("video");
  const next = () => { window.newest = performance.now(); video.requestVideoFrameCallback(next); };
  video.requestVideoFrameCallback(next); })()"""
SESSIONS = """window.sessions = []; const get = window.fetch;
  window.fetch = (what, how) => {
    if (String(what).includes("offer")) window.sessions.push(String(what));
    return get(what, how);
  };"""


def run(*command: str) -> None:
    """Run a command that must not fail."""
    subprocess.run(command, check=True)


def in_laptop(*command: str) -> None:
    """Run a command in the laptop."""
    run("ip", "netns", "exec", LAPTOP, *command)


@contextmanager
def networks() -> Iterator[None]:
    """Let there be a laptop with two networks to here, and take all of it away in the end."""
    run("ip", "netns", "add", LAPTOP)
    try:
        in_laptop("ip", "link", "set", "lo", "up")
        run("ip", "address", "add", f"{SERVER}/32", "dev", "lo")
        for name, (here, there) in LINKS.items():
            run("ip", "link", "add", f"veil-{name}", "type", "veth", "peer", "name", name, "netns", LAPTOP)
            run("ip", "address", "add", f"{here}/24", "dev", f"veil-{name}")
            run("ip", "link", "set", f"veil-{name}", "up")
            in_laptop("ip", "address", "add", f"{there}/24", "dev", name)
            connect(name)
        yield
    finally:
        run("ip", "netns", "delete", LAPTOP)  # and with it the networks
        subprocess.run(["ip", "address", "delete", f"{SERVER}/32", "dev", "lo"], check=False)


def connect(name: str) -> None:
    """Let the laptop reach the server by a network; by the first one rather."""
    here, _ = LINKS[name]
    metric = str(100 + list(LINKS).index(name))
    in_laptop("ip", "link", "set", name, "up")
    in_laptop("ip", "route", "replace", "default", "via", here, "metric", metric)


def pull(name: str) -> None:
    """Take a network from the laptop."""
    in_laptop("ip", "link", "set", name, "down")


@asynccontextmanager
async def server(folder: Path) -> AsyncIterator[str]:
    """Yield the address of a `veil serve` for the laptop, and its token."""
    token = folder / "token"
    token.write_text("of the benchmark, of which nobody has any use\n")
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "streamer", "serve", "--host", SERVER, "--port", "8443", "--token-file", token,
        "--self-signed", "--mode", "cover", stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    assert process.stdout
    try:
        while b"https://" not in (line := await asyncio.wait_for(process.stdout.readline(), PATIENCE_SECONDS)):
            assert line, "veil serve has ended"
        yield token.read_text().strip()
    finally:
        process.kill()
        await process.wait()


async def interrupted(page: Page) -> float:
    """Return for how many seconds no picture comes: the longest, until they have come for a while again."""
    longest, since = 0.0, time.monotonic()
    while time.monotonic() - since < SETTLE_SECONDS:
        silent = await page.js(NEWEST) / 1000
        if silent > 1:
            since = time.monotonic()
            assert silent < PATIENCE_SECONDS, "no picture comes any more"
        longest = max(longest, silent)
        await asyncio.sleep(0.05)
    return longest


async def measured(page: Page, *, has_gap: bool) -> tuple[float, bool]:
    """Return how long the pictures stop when the first network is pulled, and whether it is still the same session."""
    session = await page.js("window.sessions.length")
    if has_gap:
        pull("second")
        await asyncio.sleep(SETTLE_SECONDS)
    pull("first")
    if has_gap:
        await asyncio.sleep(GAP_SECONDS)
        connect("second")
        back = time.monotonic()
        await page.until(f"{NEWEST} < 200")
        seconds = time.monotonic() - back
        await asyncio.sleep(SETTLE_SECONDS)
    else:
        seconds = await interrupted(page)
    is_same = session == await page.js("window.sessions.length")
    connect("first")
    await asyncio.sleep(SETTLE_SECONDS)
    return seconds, is_same


async def drive(token: str, rounds: int) -> None:
    """In the laptop: print a table."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        camera = write_y4m(folder / "camera.y4m", [noise(480, 640)] * 30)
        async with browser(folder, camera) as page:
            await page.do("Page.addScriptToEvaluateOnNewDocument", source=SESSIONS)
            await page.go(f"https://{SERVER}:8443/")
            await page.js(f"sessionStorage.setItem('token', {token!r})")
            await start(page, f"https://{SERVER}:8443/", 640, 480)
            await page.until(f"{text('state')} === 'Live' && {WIDTH} === 640")
            await page.js(WATCH)
            await asyncio.sleep(SETTLE_SECONDS)
            print("| change | no picture, seconds | same session |\n|---|---|---|")
            for has_gap in [False, True] * rounds:
                seconds, is_same = await measured(page, has_gap=has_gap)
                what = "gap, from when the second one is there" if has_gap else "handover"
                print(f"| {what} | {seconds:.1f} | {'yes' if is_same else 'no'} |", flush=True)


async def serve_and_drive(rounds: int) -> None:
    """Here: serve, and let the laptop call."""
    with tempfile.TemporaryDirectory() as folder, networks():
        async with server(Path(folder)) as token:
            laptop = await asyncio.create_subprocess_exec(
                "ip", "netns", "exec", LAPTOP, sys.executable, __file__, "--token", token, "--rounds", str(rounds)
            )
            assert await laptop.wait() == 0, "the laptop has failed"


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--token", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.token:
        asyncio.run(drive(options.token, options.rounds))
    else:
        asyncio.run(serve_and_drive(options.rounds))


if __name__ == "__main__":
    main()
