"""A real Firefox without a window, driven by WebDriver BiDi, with the camera that it makes up itself."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.end_to_end.patience import PATIENCE_SECONDS

FIREFOX = shutil.which("firefox-esr") or shutil.which("firefox")
needs_firefox = pytest.mark.skipif(FIREFOX is None, reason="needs firefox (Debian: firefox-esr)")
CHOICES = {
    "media.navigator.streams.fake": "true",
    "media.navigator.permission.disabled": "true",
    "media.autoplay.default": "0",
    # H.264 by the system's FFmpeg, without a plug-in that would be fetched: Firefox takes that for hardware. It is
    # enough to watch: x264 holds back more frames than the camera is given time for, and none is ever sent.
    "media.webrtc.hw.h264.enabled": "true",
    "gfx.blacklist.webrtc.hw.acceleration.h264": "1",
    "app.update.enabled": "false",
    "datareporting.policy.dataSubmissionEnabled": "false",
    "network.captive-portal-service.enabled": "false",
    "network.connectivity-service.enabled": "false",
}


class FirefoxPage:
    """The one page of a Firefox."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket, self._ids, self._context = socket, itertools.count(1), ""

    async def do(self, method: str, **params: object) -> dict[str, Any]:
        """Return what the browser answers to a command."""
        number = next(self._ids)
        await self._socket.send_json({"id": number, "method": method, "params": params})
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                said = await self._socket.receive_json()
                if said.get("id") == number:
                    assert said["type"] == "success", said
                    return dict(said["result"])

    async def begin(self) -> None:
        """Take the page that is there."""
        await self.do("session.new", capabilities={})
        tree = await self.do("browsingContext.getTree")
        self._context = tree["contexts"][0]["context"]

    async def go(self, url: str) -> None:
        await self.do("browsingContext.navigate", context=self._context, url=url, wait="complete")

    async def js(self, code: str) -> Any:  # noqa: ANN401 - whatever it is worth
        """Return the value of an expression, awaited, by way of JSON."""
        code = f"(async () => JSON.stringify((await ({code})) ?? null))()"
        answer = await self.do("script.evaluate", expression=code, target={"context": self._context}, awaitPromise=True)
        assert answer["type"] == "success", answer["exceptionDetails"]["text"]
        return json.loads(answer["result"]["value"])


@asynccontextmanager
async def firefox(folder: Path) -> AsyncIterator[FirefoxPage]:
    """Yield the page of a new Firefox."""
    assert FIREFOX
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "user.js").write_text("".join(f'user_pref("{name}", {value});\n' for name, value in CHOICES.items()))
    process = await asyncio.create_subprocess_exec(
        FIREFOX, "--headless", "--no-remote", "--profile", str(folder), "--remote-debugging-port", "0", "about:blank",
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    assert process.stderr is not None
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while b"WebDriver BiDi listening on " not in (line := await process.stderr.readline()):
                assert line, "it ended"
        address = line.decode().rpartition(" ")[2].strip()
        async with aiohttp.ClientSession() as client, client.ws_connect(f"{address}/session", max_msg_size=0) as socket:
            page = FirefoxPage(socket)
            await page.begin()
            yield page
    finally:
        os.killpg(process.pid, 9)
        await process.communicate()
