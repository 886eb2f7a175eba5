"""ICE anew: a browser that changes its network goes on in the same session, whether it sends or watches."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from streamer.serve.ice_restart import CONNECT_SECONDS
from tests.end_to_end.browser import Chromium, needs_chromium, write_y4m
from tests.end_to_end.patience import PATIENCE_SECONDS
from tests.end_to_end.serve.firefox import firefox, needs_firefox
from tests.end_to_end.serve.test_serve_peers import SCRIPT, Driven
from tests.end_to_end.serving import Playing, Serving, noise, peer, serving
from tests.serve.test_serve import run

CAMERA = "{ video: { width: 320, height: 240 } }"


async def seen(page: Driven) -> dict[str, Any]:
    return dict(await page.js("seen()"))


async def until_frames(page: Driven, more: int) -> dict[str, Any]:
    """Wait until `more` frames have passed, and return what is seen then."""
    last = (await seen(page))["frames"]
    async with asyncio.timeout(PATIENCE_SECONDS):
        while (now := await seen(page))["frames"] < last + more:
            await asyncio.sleep(0.05)
    return now


async def begins_anew(page: Driven, server: Serving, kind: str) -> None:
    """Let a browser send or watch, begin ICE anew, and go on."""
    await page.go(server.url + "/healthz")
    await page.js(f"(() => {{ {SCRIPT} }})()")
    if kind == "whip":
        await page.js(f"peer('/whip/door', {CAMERA}, 'VP8')")
        await goes_on(page)
    else:
        async with peer(server, Playing([noise()]), path="/whip/door"):
            await page.js("peer('/whep/door', null, 'VP8')")
            await goes_on(page)


async def goes_on(page: Driven) -> None:
    before = await until_frames(page, 10)
    while not await has_moved(page, before["port"]):
        pass  # the server had given up before a busy machine's browser came: the page asks again as well
    after = await until_frames(page, 30)
    assert after["state"] == "connected"
    assert after["port"] not in (None, before["port"])  # moved again, if two were under way
    assert await page.js("fetch(session).then(({ status }) => status)") == 204


async def has_moved(page: Driven, port: int) -> bool:
    """Begin ICE anew, and return whether the server was reached at another port before it gave up."""
    await page.js("anew()")
    with suppress(TimeoutError):
        async with asyncio.timeout(2 * CONNECT_SECONDS):
            while (now := await seen(page)).get("port") in (None, port):  # none while Firefox changes over
                assert now["state"] == "connected"
                await asyncio.sleep(0.05)
            return True
    return False


@needs_chromium
@pytest.mark.parametrize("kind", ["whip", "whep"])
def test_a_browser_that_begins_ice_anew_goes_on_in_its_session(chromium: Chromium, kind: str, tmp_path: Path) -> None:
    camera = write_y4m(tmp_path / "camera.y4m", [noise()] * 30)

    async def test() -> None:
        async with serving() as server, chromium.page(camera) as page:
            await begins_anew(page, server, kind)

    run(test())


@needs_firefox
def test_firefox_begins_ice_anew_as_well(tmp_path: Path) -> None:
    async def test() -> None:
        async with serving() as server, firefox(tmp_path) as page:
            await begins_anew(page, server, "whip")

    run(test())
