"""`veil serve` with peers that are not ours: GStreamer's, and one that offers as Firefox does before it may film."""

from __future__ import annotations

import asyncio
import re
import subprocess
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.end_to_end.patience import PATIENCE_SECONDS
from tests.end_to_end.rtsp_servers import SYSTEM_PYTHON
from tests.end_to_end.serving import Playing, noise, peer, serving

SCRIPT = Path(__file__).with_name("webrtcbin.py")
IMPORTS = (
    "import gi; gi.require_version('Gst', '1.0'); gi.require_version('GstWebRTC', '1.0');"
    "gi.require_version('GstSdp', '1.0'); from gi.repository import Gst, GstWebRTC, GstSdp; Gst.init(None);"
    "assert all(map(Gst.ElementFactory.find, ('webrtcbin', 'nicesrc', 'vp8enc')))"
)


def has_webrtcbin() -> bool:
    asked = [SYSTEM_PYTHON, "-c", IMPORTS]
    return Path(SYSTEM_PYTHON).exists() and not subprocess.run(asked, capture_output=True, check=False).returncode


@asynccontextmanager
async def webrtcbin(kind: str, codec: str, url: str) -> AsyncIterator[asyncio.StreamReader]:
    """Yield what a peer of GStreamer's prints."""
    process = await asyncio.create_subprocess_exec(
        SYSTEM_PYTHON, str(SCRIPT), kind, codec, url, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert process.stdout is not None
    try:
        yield process.stdout
    finally:
        process.kill()
        await process.communicate()


async def until(said: asyncio.StreamReader, word: bytes) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        async for line in said:
            if line.strip() == word:
                return
            assert line.strip() not in (b"failed", b"closed")
    raise AssertionError("it ended")


@pytest.mark.skipif(
    not has_webrtcbin(),
    reason="needs webrtcbin (Debian: gstreamer1.0-nice gstreamer1.0-plugins-bad gir1.2-gst-plugins-bad-1.0)",
)
@pytest.mark.parametrize("codec", ["VP8", "H264"])
def test_gstreamer_sends_by_whip_and_watches_by_whep_though_its_certificate_is_rsa(codec: str) -> None:
    async def test() -> None:
        async with serving() as server, webrtcbin("whip", codec, server.url + "/whip/door") as sender:
            await until(sender, b"connected")
            async with webrtcbin("whep", codec, server.url + "/whep/door") as viewer:
                for word in (b"connected", b"frame", b"frame"):
                    await until(viewer, word)

    asyncio.run(test())


def unresolvable(sdp: str) -> str:
    """Return an offer whose addresses are names that only multicast DNS may know, as of Firefox, and all there are."""
    assert "a=end-of-candidates" in sdp
    return re.sub(
        r"(a=candidate:\S+ \d \w+ \d+ )\S+( \d+ typ host)", lambda m: f"{m[1]}{uuid.uuid4()}.local{m[2]}", sdp
    )


def test_a_peer_whose_addresses_nobody_can_resolve_finds_us_by_ours() -> None:
    async def test() -> None:
        async with serving() as server, peer(server, Playing([noise()]), sdp=unresolvable) as (_, received, said):
            assert re.search(r"a=candidate:\S+ 1 udp \d+ [\d.]+ \d+ typ host", said["sdp"])
            await received.until(lambda images: len(images) > 3)

    asyncio.run(test())
