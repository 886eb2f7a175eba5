"""The page over a call's life: the green room, links, other languages, and connections that come back by themselves."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from streamer.pipeline.anonymizer import Anonymizer
from streamer.serve.access import Access
from streamer.serve.app import WEB
from streamer.serve.room import Sound
from streamer.types import Image
from tests.end_to_end.browser import Chromium, Page, needs_chromium, write_y4m
from tests.end_to_end.patience import PATIENCE_SECONDS
from tests.end_to_end.rtsp_servers import free_port
from tests.end_to_end.serve.test_serve_browser import WIDTH, scene, start, text
from tests.end_to_end.serving import Playing, Serving, noise, peer, serving
from tests.serve.test_serve import run

AXE = os.environ.get("VEIL_AXE")  # axe.min.js, which .ci/run fetches
CLICK = "document.getElementById('{}').click()"

pytestmark = needs_chromium


@pytest.fixture
def camera(tmp_path: Path) -> Path:
    return write_y4m(tmp_path / "camera.y4m", [scene(640, 480)] * 30)


def shown(name: str) -> str:
    return f"document.getElementById('{name}').checkVisibility()"


@asynccontextmanager
async def live_page(chromium: Chromium, camera: Path) -> AsyncIterator[tuple[Serving, Page]]:
    async with serving() as server, chromium.page(camera) as page:
        await start(page, server.url, 640, 480)
        await page.until(f"{text('state')} === 'Live' && {WIDTH} > 0")  # less than 640 on a machine that is too slow
        yield server, page


def test_the_green_room_shows_the_camera_here_and_sends_nothing(chromium: Chromium, camera: Path) -> None:
    async def test() -> None:
        async with serving() as server, chromium.page(camera) as page:
            await page.go(server.url)
            await page.js(CLICK.format("check"))
            await page.until("document.getElementById('mine').videoWidth === 640")
            await page.until(f"{text('advice')}.includes('Good light')")
            assert await page.js(shown("mine"))
            assert await page.js(shown("guide"))
            assert server.peers.by_id == {}
            await page.js(CLICK.format("toggle"))
            await page.until(f"{WIDTH} > 0")
            assert not await page.js(shown("mine"))  # what is seen now comes from the server
            assert not await page.js("document.getElementById('mine').srcObject")

    run(test())


@pytest.mark.parametrize(("level", "said"), [(15, "Too dark"), (250, "Too bright")])
def test_the_green_room_says_what_is_wrong_with_the_light(
    chromium: Chromium, level: int, said: str, tmp_path: Path
) -> None:
    plain: Image = np.full((480, 640, 3), level, np.uint8)
    camera = write_y4m(tmp_path / "camera.y4m", [plain] * 30)

    async def test() -> None:
        async with serving() as server, chromium.page(camera) as page:
            await page.go(server.url)
            await page.js(CLICK.format("check"))
            await page.until(f"{text('advice')}.includes('{said}')")

    run(test())


ASKED = """
    window.asked = [];
    const get = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
    navigator.mediaDevices.getUserMedia = (what) => (window.asked.push(Boolean(what.audio)), get(what));
"""


def test_the_microphone_is_off_and_not_asked_for_until_its_switch_is_turned_on(
    chromium: Chromium, camera: Path
) -> None:
    async def test() -> None:
        async with serving(sound=Sound("another voice")) as server, chromium.page(camera) as page:
            await page.do("Page.addScriptToEvaluateOnNewDocument", source=ASKED)
            await start(page, server.url, 640, 480)
            await page.until(shown("voice"))
            assert await page.js(text("voice-text")) == "Send my voice, changed"
            assert not await page.js("document.getElementById('voice').checked")
            assert await page.js("window.asked") == [False]
            room = await server.only_room()
            assert room.audio is not None
            assert room.audio._received == 0
            await page.js(CLICK.format("voice"))
            async with asyncio.timeout(PATIENCE_SECONDS):
                while room.audio._received < 48_000:
                    await asyncio.sleep(0.05)
            assert await page.js("window.asked") == [False, True]
            await page.js(CLICK.format("voice"))
            async with asyncio.timeout(PATIENCE_SECONDS):  # what was under way comes, and then nothing
                quiet = 0
                while quiet < 10:
                    before = room.audio._received
                    await asyncio.sleep(0.05)
                    quiet = 0 if room.audio._received > before else quiet + 1

    run(test())


def test_a_region_is_placed_moved_and_removed_by_keyboard_and_pointer(chromium: Chromium, camera: Path) -> None:
    async def test() -> None:
        async with live_page(chromium, camera) as (server, page):
            room = await server.only_room()

            async def until_asked(*wanted: str) -> None:
                async with asyncio.timeout(PATIENCE_SECONDS):
                    while list(room.asked) != list(wanted):
                        await asyncio.sleep(0.05)

            async def press(key: str, modifiers: int = 0) -> None:
                for kind in ("keyDown", "keyUp"):
                    await page.do("Input.dispatchKeyEvent", type=kind, key=key, modifiers=modifiers)

            await page.js(CLICK.format("region"))
            await until_asked("35.0%,35.0%,30.0%,30.0%")
            await press("ArrowRight")  # as it is seen, which is mirrored
            await until_asked("33.0%,35.0%,30.0%,30.0%")
            await press("ArrowDown", modifiers=8)
            await until_asked("33.0%,35.0%,30.0%,32.0%")
            place = "document.querySelector('#regions button').getBoundingClientRect()"
            x, y = await page.js(f"[{place}.x + 20, {place}.y + 20]")
            for kind, at in (("mousePressed", x), ("mouseMoved", 0), ("mouseReleased", 0)):
                await page.do("Input.dispatchMouseEvent", type=kind, x=at, y=y, button="left", buttons=1, clickCount=1)
            await until_asked("70.0%,35.0%,30.0%,32.0%")
            await page.js("document.querySelector('#regions button').focus()")
            await press("Delete")
            await until_asked()

    run(test())


def test_a_page_whose_session_is_lost_comes_back_by_itself_and_so_does_who_watches(
    chromium: Chromium, camera: Path
) -> None:
    async def test() -> None:
        async with live_page(chromium, camera) as (server, page):
            room = await server.only_room()
            async with chromium.page(camera) as viewer:
                await viewer.go(f"{server.url}/r/{room.name}")
                await viewer.until(f"{WIDTH} > 0")
                await server.peers.close(room)  # both lose everything
                async with asyncio.timeout(PATIENCE_SECONDS):
                    while not (found := server.peers.room_of(str(room.name))) or not found.viewers:
                        await asyncio.sleep(0.1)
                assert found is not room
                for one in (page, viewer):
                    await one.until(f"{text('state')} === 'Live'")

    run(test())


def test_a_page_comes_back_by_itself_after_the_server_was_started_anew(chromium: Chromium, camera: Path) -> None:
    async def test() -> None:
        access = Access(port=free_port())
        async with chromium.page(camera) as page:
            async with serving(access=access) as server:
                await start(page, server.url, 640, 480)
                await page.until(f"{text('state')} === 'Live'")
            await page.until(f"{text('state')}.includes('connecting again')")
            async with serving(access=access) as server:
                await page.until(f"{text('state')} === 'Live'")
                assert len(server.peers.by_id) == 1
                await page.js(CLICK.format("toggle"))
                await page.until(f"{text('state')} === 'Camera off'")

    run(test())


def test_who_watches_is_told_that_the_sender_has_stopped_and_sees_it_come_back(
    chromium: Chromium, camera: Path
) -> None:
    async def test() -> None:
        async with serving() as server, chromium.page(camera) as viewer:
            await viewer.go(f"{server.url}/r/door")
            await viewer.until(f"{text('state')} === 'Connecting …'")
            async with peer(server, Playing([noise()]), path="/whip/door") as (_, _, said):
                await viewer.until(f"{WIDTH} === 320")
                await server.client.delete(server.url + said["session"])
                await viewer.until(f"{shown('hint')} && {text('hint')}.includes('has stopped')")
            async with peer(server, Playing([noise()]), path="/whip/door"):
                await viewer.until(f"!{shown('hint')} && {text('state')} === 'Live'")

    run(test())


def test_a_room_that_another_page_takes_over_is_left_to_it(chromium: Chromium, camera: Path) -> None:
    async def test() -> None:
        async with live_page(chromium, camera) as (server, page):
            room = await server.only_room()
            async with peer(server, Playing([noise()]), path=f"/offer?room={room.name}"):
                await page.until(f"{text('error')}.includes('taken over')")
                assert await page.js(text("state")) == "Something went wrong"
                assert len(server.peers.by_id) == 1

    run(test())


def scanned(image: Image) -> str:
    """Return what the QR code of a picture says; "" where none can be read."""
    return cv2.QRCodeDetectorAruco().detectAndDecode(np.ascontiguousarray(image))[0]


def test_the_viewer_link_can_be_scanned(chromium: Chromium, camera: Path) -> None:
    async def test() -> None:
        async with live_page(chromium, camera) as (server, page):
            room = await server.only_room()
            await page.js(CLICK.format("share"))
            await page.until(shown("qr"))
            async with asyncio.timeout(PATIENCE_SECONDS):
                while not (read := scanned(await page.screenshot())):  # a slow machine has not drawn all of it yet
                    await asyncio.sleep(0.1)
            assert read == f"{server.url}/r/{room.name}"

    run(test())


def test_camera_and_size_change_while_it_is_live_and_choices_are_remembered(chromium: Chromium, tmp_path: Path) -> None:
    camera = write_y4m(tmp_path / "camera.y4m", [scene(1280, 720)] * 30)

    async def test() -> None:
        async with live_page(chromium, camera) as (server, page):
            ((session, room),) = server.peers.by_id.items()
            name = await page.js("document.getElementById('room').value")
            choose = "document.getElementById('size').value = '1280x720';"
            await page.js(f"{choose} document.getElementById('size').dispatchEvent(new Event('change'))")
            async with asyncio.timeout(PATIENCE_SECONDS):
                while room._filter is None or room._filter.source.side <= 640:  # what comes: the page may get less
                    await asyncio.sleep(0.05)
            assert list(server.peers.by_id) == [session]
            await page.go(server.url)
            assert await page.js("document.getElementById('size').value") == "1280x720"
            assert await page.js("document.getElementById('room').value") == name

    run(test())


def test_a_slider_that_is_dragged_sends_five_changes_a_second_at_most(chromium: Chromium, camera: Path) -> None:
    async def test() -> None:
        anonymizer = Anonymizer.load(delay_seconds=0.0, device="cpu")
        async with serving(anonymizer) as server, chromium.page(camera) as page:
            await start(page, server.url, 640, 480)
            await page.until(f"{text('faces')} === '1'")
            room = await server.only_room()
            changes, real = [], room.control
            room.control = lambda **asked: (changes.append(asked), real(**asked))  # type: ignore[method-assign, assignment]
            drag = """(async () => { const one = document.getElementById('privacy'), start = performance.now();
                for (let n = 0; performance.now() - start < 1000; n++) {
                  one.value = 1 - (n % 20) / 20;
                  one.dispatchEvent(new Event('input'));
                  await new Promise((done) => setTimeout(done, 10));
                }
                one.value = 0.25; one.dispatchEvent(new Event('input')); return performance.now() - start; })()"""
            seconds = await page.js(drag) / 1000
            async with asyncio.timeout(PATIENCE_SECONDS):
                while not changes or changes[-1]["beta"] != 0.75:
                    await asyncio.sleep(0.05)
            assert 1 <= len(changes) <= 5 * (seconds + 0.2) + 1

    run(test())


def test_a_page_that_gets_no_picture_says_so_and_shows_no_sign_in_a_mirror(chromium: Chromium, camera: Path) -> None:
    async def test() -> None:
        async with live_page(chromium, camera) as (server, page):
            await page.until(f"{text('fps')} > 0 && !{shown('hint')}")
            room = await server.only_room()
            assert room._filter
            await asyncio.to_thread(room._filter.close)
            await page.until(f"{shown('hint')} && {text('hint')} === 'Waiting for the video …'")
            assert await page.js("getComputedStyle(document.getElementById('video')).visibility") == "hidden"

    run(test())


def test_what_buttons_say_fits_into_them_in_every_language_on_a_phone_on_its_side(chromium: Chromium) -> None:
    wide = """['check', 'toggle'].filter((id) => {
        const one = document.getElementById(id);
        return one.scrollWidth > one.clientWidth || one.clientHeight > 50; })"""

    async def test() -> None:
        async with serving() as server, chromium.page() as page:
            await page.go(server.url)
            await page.resize(844, 390, mobile=True)
            for language in ("en", "de", "fr", "es", "ja"):
                choose = "one.dispatchEvent(new Event('change'))"
                await page.js(
                    f"{{ const one = document.getElementById('language'); one.value = '{language}'; {choose} }}"
                )
                assert await page.js(wide) == [], language

    run(test())


def test_captions_are_in_the_colour_of_the_text_where_colours_are_forced(chromium: Chromium) -> None:
    async def test() -> None:
        async with serving() as server, chromium.page() as page:
            await page.go(server.url)
            await page.do("Emulation.setEmulatedMedia", features=[{"name": "forced-colors", "value": "active"}])
            said = "getComputedStyle(document.querySelector('#sample text')).fill"
            assert await page.js(f"{said} === getComputedStyle(document.body).color")

    run(test())


def words(chromium: Chromium) -> Any:  # noqa: ANN401 - what the page knows to say
    """The table of words, as JavaScript has it."""
    source = (WEB / "words.js").read_text()
    table = source[source.index("const words = {") : source.index("const order")].removeprefix("const words = ")

    async def read() -> str:
        async with serving() as server, chromium.page() as page:
            await page.go(server.url)
            return str(await page.js(f"JSON.stringify({table.strip().rstrip(';')})"))

    return json.loads(asyncio.run(read()))


def test_everything_is_said_in_every_language(chromium: Chromium) -> None:
    said = words(chromium)
    assert {len(each) for each in said.values()} == {5}
    assert all(all(each) for each in said.values())
    page = (WEB / "index.html").read_text()
    asked = {part.partition('"')[0] for mark in ('data-say="', 'data-say-label="') for part in page.split(mark)[1:]}
    assert asked <= set(said)

    async def test() -> None:
        async with serving() as server, chromium.page() as page:
            await page.go(server.url)
            await page.js("localStorage.setItem('language', 'de')")
            await page.go(server.url)
            assert await page.js(text("toggle")) == said["start"][1]
            assert await page.js("document.documentElement.lang") == "de"

    run(test())


@pytest.mark.skipif(AXE is None, reason="needs axe-core (npm pack axe-core) in $VEIL_AXE")
def test_nothing_of_the_page_is_out_of_reach(chromium: Chromium, camera: Path) -> None:
    axe = Path(str(AXE)).read_text()
    find = """axe.run().then(({ violations, passes }) => [passes.length, violations.map(({ id, nodes }) =>
        `${id}: ${nodes.map(({ target }) => target).join(' ')}`)])"""

    async def test() -> None:
        async with live_page(chromium, camera) as (_, page):
            await page.js(f"{axe}; 1")
            still = {"name": "prefers-reduced-motion", "value": "reduce"}
            await page.do("Emulation.setEmulatedMedia", features=[still])
            for size in ((1280, 800, False), (390, 844, True), (844, 390, True)):
                await page.resize(size[0], size[1], mobile=size[2])
                for theme in ("light", "dark"):
                    await page.js(f"document.documentElement.dataset.theme = '{theme}'")
                    passed, violations = await page.js(find)
                    assert passed > 20
                    assert violations == []

    run(test())
