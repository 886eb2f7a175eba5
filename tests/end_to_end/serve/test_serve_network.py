"""The page on a network that changes, flaps or goes: the call stays the same one."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from aiohttp import web

from streamer.serve.app import Server
from streamer.serve.ice_restart import CONNECT_SECONDS, IceRestart, transport_of
from streamer.serve.peer_connection import PeerConnection
from streamer.serve.sdp.fragments import Fragment
from tests.end_to_end.browser import Chromium, Page, needs_chromium, write_y4m
from tests.end_to_end.patience import PATIENCE_SECONDS
from tests.end_to_end.serve.test_serve_browser import WIDTH, start, text
from tests.end_to_end.serving import Serving, noise, serving
from tests.serve.test_serve import run

pytestmark = [needs_chromium, pytest.mark.slow]


@pytest.fixture
def camera(tmp_path: Path) -> Path:
    return write_y4m(tmp_path / "camera.y4m", [noise(480, 640)] * 30)


async def begin(page: Page, server: Serving) -> PeerConnection:
    """Let a page be live, and return its connection."""
    await start(page, server.url, 640, 480)
    return await live(page, server)


async def live(page: Page, server: Serving) -> PeerConnection:
    """Wait until a page is live, and return its connection."""
    await page.until(f"{text('state')} === 'Live' && {WIDTH} > 0")
    link = (await server.only_room()).link
    assert link is not None
    return link


async def until_anew(link: PeerConnection, etag: str, *, server: Serving | None = None) -> bool:
    """Wait until ICE has begun anew, and the peer was reached by it: False if it has left `server` instead."""
    old = transport_of(link.connection)._connection
    async with asyncio.timeout(PATIENCE_SECONDS):
        while link.etag == etag or transport_of(link.connection)._connection is old:
            if server and link.id not in server.peers.by_id:
                return False
            await asyncio.sleep(0.05)
    return True


async def silent_until_anew(page: Page, server: Serving, link: PeerConnection) -> None:
    """Go silent; where a machine is too slow for the server's limit the page calls again, and then once more."""
    while not await until_anew(link, await go_silent(link), server=server):
        link = await live(page, server)


async def change_until_anew(page: Page, link: PeerConnection) -> None:
    """Let the network change, again and again where the machine is too slow for the server's limit."""
    etag = link.etag
    while True:
        await page.js("dispatchEvent(new Event('online'))")
        try:
            await asyncio.wait_for(until_anew(link, etag), 2 * CONNECT_SECONDS)
        except TimeoutError:
            etag = link.etag
        else:
            return


async def go_silent(link: PeerConnection) -> str:
    """Let nothing more reach a peer by the way there is, though ICE finds nothing wrong; return the ETag."""

    async def lost(_: bytes) -> None:
        pass

    transport_of(link.connection)._send = lost
    return link.etag


def test_a_way_by_which_nothing_comes_any_more_is_replaced_before_the_browser_notices(
    chromium: Chromium, camera: Path
) -> None:
    async def test() -> None:
        async with serving() as server, chromium.page(camera) as page, chromium.page(camera) as eye:
            link = await begin(page, server)
            room = await server.only_room()
            await eye.go(f"{server.url}/r/{room.name}")
            await eye.until(f"{text('state')} === 'Live' && {WIDTH} > 0")  # a page that never got anything waits for it
            (viewer,) = room.viewers.values()
            etags = [await go_silent(one) for one in (link, viewer)]
            await asyncio.gather(until_anew(link, etags[0]), until_anew(viewer, etags[1]))
            for one in (page, eye):
                await one.until(f"{text('state')} === 'Live'")
            assert room.link is link
            assert list(room.viewers.values()) == [viewer]

    run(test())


def test_a_way_that_takes_long_to_find_is_not_given_up_for_the_next_attempt(
    chromium: Chromium, camera: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect = IceRestart.connect

    async def connect_late(restart: IceRestart) -> None:
        await asyncio.sleep(4)
        await connect(restart)

    async def test() -> None:
        async with serving() as server, chromium.page(camera) as page:
            await silent_until_anew(page, server, await begin(page, server))
            await page.until(f"{text('state')} === 'Live'")

    monkeypatch.setattr(IceRestart, "connect", connect_late)
    run(test())


def test_a_server_that_answers_late_is_waited_for_at_the_start_and_when_the_network_changes(
    chromium: Chromium, camera: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer, shown, asked = IceRestart.offer, Server._show, []

    async def offer_late(restart: IceRestart, remote: Fragment) -> Fragment:
        await asyncio.sleep(3)
        return await offer(restart, remote)

    async def show_late(server: Server, request: web.Request) -> web.Response:
        asked.append(request)
        if len(asked) == 1:
            await asyncio.sleep(3)
        return await shown(server, request)

    monkeypatch.setattr(IceRestart, "offer", offer_late)
    monkeypatch.setattr(Server, "_show", show_late)

    async def test() -> None:
        async with serving() as server, chromium.page(camera) as page:
            await silent_until_anew(page, server, await begin(page, server))
            await page.until(f"{text('state')} === 'Live'")

    run(test())


def test_a_network_that_changes_twice_in_a_moment_is_followed_both_times(chromium: Chromium, camera: Path) -> None:
    async def test() -> None:
        async with serving() as server, chromium.page(camera) as page:
            link = await begin(page, server)
            await change_until_anew(page, link)
            await change_until_anew(page, link)  # too soon for the server, which says when
            await page.until(f"{text('state')} === 'Live'")

    run(test())


def test_a_server_out_of_reach_for_seconds_does_not_end_the_session(chromium: Chromium, camera: Path) -> None:
    async def test() -> None:
        async with serving() as server, chromium.page(camera) as page:
            link = await begin(page, server)
            away = {"latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
            await page.do("Network.enable")
            await page.do("Network.emulateNetworkConditions", offline=True, **away)
            await page.until(f"{text('state')}.includes('Connection lost')")
            await page.do("Network.emulateNetworkConditions", offline=False, **away)
            await page.until(f"{text('state')} === 'Live'")
            assert list(server.peers.by_id) == [link.id]

    run(test())
