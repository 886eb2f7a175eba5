"""The page of `veil serve` in a real Chromium whose camera plays a real face."""

from __future__ import annotations

import asyncio
from pathlib import Path

import cv2
import numpy as np
import pytest

from streamer.cli.demo import free_portrait
from streamer.evaluate.measures.coverage import UNCOVERED, detail_kept
from streamer.faces.detect import FaceDetector
from streamer.pipeline.anonymizer import Anonymizer
from streamer.serve.access import Access
from streamer.serve.relief import SIDES
from streamer.types import Image
from tests.end_to_end.browser import Chromium, Page, needs_chromium, write_y4m
from tests.end_to_end.patience import PATIENCE_SECONDS
from tests.end_to_end.serving import is_slate, serving
from tests.serve.test_serve import run

SIZES = [(640, 480), (1280, 720)]
SAMPLES = 40
TOKEN = "a token of the test"
WIDTH = "document.getElementById('video').videoWidth"
NOTE_WIDTHS = f"""window.widths = [];
    document.getElementById('video').addEventListener('resize', () => window.widths.push({WIDTH}))"""

pytestmark = needs_chromium


def scene(width: int, height: int) -> Image:
    """The portrait in a grey room."""
    photo = free_portrait()
    photo = cv2.resize(photo, (round(photo.shape[1] * height / photo.shape[0]), height), interpolation=cv2.INTER_AREA)
    image = np.full((height, width, 3), 90, np.uint8)
    left = (width - photo.shape[1]) // 2
    image[:, left : left + photo.shape[1]] = photo
    return image


def text(name: str) -> str:
    return f"document.getElementById('{name}').textContent"


async def start(page: Page, url: str, width: int, height: int) -> None:
    await page.go(url)
    await page.js(f"document.getElementById('size').value = '{width}x{height}'")
    await page.js("document.getElementById('toggle').click()")


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_every_picture_that_comes_back_is_covered_and_as_large_as_the_camera(
    chromium: Chromium, detector: FaceDetector, width: int, height: int, tmp_path: Path
) -> None:
    image = scene(width, height)
    (face,) = detector(image)
    camera = write_y4m(tmp_path / "camera.y4m", [image] * 30)

    samples: list[Image] = []

    async def test() -> None:
        async with serving() as server, chromium.page(camera) as page:
            await start(page, server.url, width, height)
            await page.js(NOTE_WIDTHS)
            await page.until(f"[{WIDTH}, ...window.widths].includes({width})")
            while len(samples) < SAMPLES or all(map(is_slate, samples)):
                samples.append(await page.video_frame())
                await asyncio.sleep(0.05)
            await page.until(f"{text('state')} === 'Live'")
            await page.until(f"{text('fps')} > 0")
            await page.js("document.getElementById('toggle').click()")
            await page.until(f"{text('state')} === 'Camera off'")
            async with asyncio.timeout(PATIENCE_SECONDS):
                while server.peers.by_id:
                    await asyncio.sleep(0.1)
            assert page.problems == []

    run(test())
    sizes = {(one.shape[1], one.shape[0]) for one in samples}  # smaller where the machine is too slow
    assert {size[0] for size in sizes} <= {width, *(side for side in SIDES if side < width)}
    shown = {size: cv2.resize(image, size, interpolation=cv2.INTER_AREA) for size in sizes}
    boxes = {size: face.box * size[0] / width for size in sizes}
    assert all(detail_kept(shown[size], shown[size], boxes[size]) > UNCOVERED for size in sizes)
    for one in samples:  # not while it is live: whoever judges in the loop of the server holds it up
        size = one.shape[1], one.shape[0]
        assert detail_kept(shown[size], one, boxes[size]) <= UNCOVERED
    assert min(np.abs(one[:, :50].astype(int) - 90).mean() for one in samples) < 5  # the room is there


def test_a_page_that_crashes_is_said_to_have_crashed(chromium: Chromium) -> None:
    async def test() -> None:
        async with chromium.page() as page:
            asked = asyncio.create_task(page.js("new Promise(() => {})"))
            await page.js("1")  # now both are on their way
            crash = asyncio.create_task(page.do("Page.crash"))
            for one in (asked, crash):
                with pytest.raises(ConnectionError, match="crashed"):
                    await one

    run(test())


def test_the_page_fits_a_desktop_and_a_phone_and_a_viewer_sees_the_same(chromium: Chromium, tmp_path: Path) -> None:
    camera = write_y4m(tmp_path / "camera.y4m", [scene(640, 480)] * 30)

    async def test() -> None:
        async with serving() as server, chromium.page(camera) as page:
            await page.resize(1280, 800)
            await start(page, server.url, 640, 480)
            await page.until(f"{text('faces')} === '1'")
            await fits(page, 1280, 800)
            await page.resize(390, 844, mobile=True)
            await fits(page, 390, 844)
            peer = await server.only_room()
            async with chromium.page(camera) as viewer:
                await viewer.go(f"{server.url}/?watch={peer.viewer_id}")
                await viewer.until(f"{WIDTH} > 0")
                assert not await viewer.js("document.getElementById('controls').checkVisibility()")
                assert viewer.problems == []

    async def fits(page: Page, width: int, height: int) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while (shot := await page.screenshot()).shape != (height, width, 3):
                await asyncio.sleep(0.1)
        assert await page.js("document.documentElement.scrollWidth") <= width
        assert await page.js("document.getElementById('toggle').getBoundingClientRect().bottom") <= height
        assert shot.std() > 20

    run(test())


def test_a_page_without_the_token_asks_for_it_and_controls_work(chromium: Chromium, tmp_path: Path) -> None:
    camera = write_y4m(tmp_path / "camera.y4m", [scene(640, 480)] * 30)
    anonymizer = Anonymizer.load(delay_seconds=0.0, device="cpu")

    async def test() -> None:
        access = Access(port=0, tokens=(TOKEN,))
        async with serving(anonymizer, access=access) as server, chromium.page(camera) as page:
            await start(page, server.url, 640, 480)
            await page.until("document.getElementById('token-row').checkVisibility()")
            assert "asks for a token" in await page.js(text("error"))
            await page.js(f"document.getElementById('token').value = '{TOKEN}'")
            await page.js("document.getElementById('toggle').click()")
            await page.until(f"{WIDTH} > 0")
            await page.js("document.querySelector('[name=mode][value=cover]').click()")
            await page.until(f"{text('tiers')} === 'mosaic 1'")
            peer = await server.only_room()
            await page.js("document.querySelector('[name=mode][value=generate]').click()")
            slide = "b.value = 0.5; b.dispatchEvent(new Event('input'))"
            await page.js(f"{{ const b = document.getElementById('privacy'); {slide} }}")
            async with asyncio.timeout(PATIENCE_SECONDS):
                while (peer.anonymizer.settings.mode, peer.anonymizer.settings.beta) != ("generate", 0.5):
                    await asyncio.sleep(0.1)

    run(test())
