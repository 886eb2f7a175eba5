"""Browsers that send by WHIP and watch by WHEP, by the book and in every codec that they have in common with us."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, Protocol

import pytest
from aiortc import RTCPeerConnection, RTCRtpSender

from streamer.serve.sdp.offer_check import codecs_of
from tests.end_to_end.browser import Chromium, needs_chromium, write_y4m
from tests.end_to_end.patience import PATIENCE_SECONDS
from tests.end_to_end.serve.firefox import firefox, needs_firefox
from tests.end_to_end.serving import Playing, Serving, noise, peer, serving
from tests.serve.test_serve import run

SCRIPT = Path(__file__).with_name("browser_peer.js").read_text()


class Driven(Protocol):
    async def go(self, url: str) -> None: ...
    async def js(self, code: str) -> Any: ...  # noqa: ANN401 - whatever it is worth


async def sends(page: Driven, server: Serving, codec: str) -> None:
    """Let a browser send in one codec, and stop."""
    await page.js(f"peer('/whip/door', {{ video: true }}, '{codec}')")
    await frames(page, codec)
    room = await server.only_room()
    async with asyncio.timeout(PATIENCE_SECONDS):
        while room.meter.as_dict()["frames"] < 5:
            await asyncio.sleep(0.05)
    await page.js("fetch(session, { method: 'DELETE' }).then(() => pc.close())")


async def watches(page: Driven, server: Serving, codec: str) -> None:
    """Let a browser watch in one codec."""
    async with peer(server, Playing([noise()]), path="/whip/door"):
        await page.js(f"peer('/whep/door', null, '{codec}')")
        await frames(page, codec)


async def prepare(page: Driven, server: Serving) -> None:
    await page.go(server.url + "/healthz")
    await page.js(f"(() => {{ {SCRIPT} }})()")


async def frames(page: Driven, codec: str) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while (now := await page.js("seen()"))["frames"] < 5:
            await asyncio.sleep(0.05)
    assert now["codec"] == f"video/{codec}"


def in_codec(connection: RTCPeerConnection, codec: str) -> None:
    known = RTCRtpSender.getCapabilities("video").codecs
    wanted = [one for one in known if one.mimeType == f"video/{codec}"]
    for transceiver in connection.getTransceivers():
        transceiver.setCodecPreferences(wanted)


@pytest.mark.parametrize("codec", ["VP8", "H264"])
def test_aiortc_sends_and_watches(codec: str) -> None:
    async def test() -> None:
        async with (
            serving() as server,
            peer(server, Playing([noise()]), path="/whip/door", prepare=lambda one: in_codec(one, codec)) as sender,
            peer(server, path="/whep/door", prepare=lambda one: in_codec(one, codec)) as (_, received, said),
        ):
            await received.until(lambda images: len(images) > 5)
            for answer in (sender[2]["sdp"], said["sdp"]):
                assert codecs_of(answer) == [codec]

    run(test())


@needs_chromium
@pytest.mark.parametrize("codec", ["VP8", "H264"])
def test_chromium_sends_and_watches(chromium: Chromium, codec: str, tmp_path: Path) -> None:
    camera = write_y4m(tmp_path / "camera.y4m", [noise()] * 30)

    async def test() -> None:
        async with serving() as server, chromium.page(camera) as page:
            await prepare(page, server)
            await sends(page, server, codec)
            await watches(page, server, codec)

    run(test())


@needs_firefox
def test_firefox_sends_in_vp8_and_watches_in_h264_as_well(tmp_path: Path) -> None:
    async def test() -> None:
        async with serving() as server, firefox(tmp_path) as page:
            await prepare(page, server)
            await sends(page, server, "VP8")
            for codec in ("VP8", "H264"):
                await watches(page, server, codec)

    run(test())
