"""A real Chromium without a window, driven through its DevTools, with a camera that plays a clip of ours."""

from __future__ import annotations

import asyncio
import base64
import itertools
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import cv2
import numpy as np
import pytest

from streamer.types import Image
from tests.end_to_end.patience import PATIENCE_SECONDS

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="needs chromium (Debian: chromium)")
FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--mute-audio", "--no-first-run", "--disable-extensions",
    "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream", "--allow-loopback-in-peer-connection",
    "--autoplay-policy=no-user-gesture-required", "--ignore-certificate-errors", "--remote-debugging-port=0",
    "--disable-backgrounding-occluded-windows", "--disable-renderer-backgrounding",
    "--disable-background-timer-throttling",
    # Pages of its own, of which one, since timers are not throttled, was seen to keep a core busy for minutes.
    "--disable-features=WebUIOmniboxPopup,WebUIOmniboxAimPopup",
)  # fmt: skip


def write_y4m(path: Path, images: Iterable[Image], rate: int = 30) -> Path:
    """Write RGB pictures as the raw video that Chromium takes for a camera."""
    with path.open("wb") as file:
        for n, image in enumerate(images):
            height, width = image.shape[:2]
            if n == 0:
                file.write(f"YUV4MPEG2 W{width} H{height} F{rate}:1 Ip A1:1 C420mpeg2\n".encode())
            file.write(b"FRAME\n" + cv2.cvtColor(image, cv2.COLOR_RGB2YUV_I420).tobytes())
    return path


class Page:
    """One page of the browser."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket, self._ids = socket, itertools.count(1)
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self.problems: list[str] = []
        self._task = asyncio.create_task(self._listen())
        self._task.add_done_callback(self._end)

    async def _listen(self) -> None:
        async for message in self._socket:
            said = message.json()
            if "id" in said:
                asked = self._waiting.pop(said["id"])
                if not asked.done():  # who asked may have given up
                    asked.set_result(said)
            elif said["method"] in ("Runtime.exceptionThrown", "Log.entryAdded"):
                self.problems.append(str(said["params"]))
            elif said["method"] == "Inspector.targetCrashed":
                return

    def _end(self, _: asyncio.Task[None]) -> None:
        """Fail what waits for an answer: of a page that crashed none comes, and no word either."""
        for asked in self._waiting.values():
            if not asked.done():
                asked.set_exception(ConnectionError("the page has crashed, or its browser has ended"))

    async def do(self, method: str, **params: object) -> dict[str, Any]:
        """Return what the browser answers to a command of its DevTools."""
        number = next(self._ids)
        self._waiting[number] = asyncio.get_running_loop().create_future()
        await self._socket.send_json({"id": number, "method": method, "params": params})
        async with asyncio.timeout(PATIENCE_SECONDS):
            answer = await self._waiting[number]
        assert "error" not in answer, answer["error"]
        return dict(answer["result"])

    async def js(self, code: str) -> Any:  # noqa: ANN401 - whatever it is worth
        """Return the value of an expression, awaited."""
        answer = await self.do("Runtime.evaluate", expression=code, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    async def until(self, code: str) -> None:
        """Wait until an expression is true."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not await self.js(code):
                await asyncio.sleep(0.1)

    async def go(self, url: str) -> None:
        await self.do("Page.navigate", url=url)
        await self.until("document.readyState === 'complete' && location.href !== 'about:blank'")

    async def resize(self, width: int, height: int, *, mobile: bool = False) -> None:
        await self.do(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=mobile
        )

    async def screenshot(self) -> Image:
        """Return what the page looks like, RGB."""
        data = (await self.do("Page.captureScreenshot", format="png"))["data"]
        return cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR)[..., ::-1]

    async def video_frame(self) -> Image:
        """Return what the page's video shows, in its own size, RGB; while it has nothing to show, wait."""
        data = await self.js(  # read often: so the canvas is in the page's memory, and no other process is waited for
            """(async () => { const v = document.getElementById('video'), c = document.createElement('canvas');
            while (v.readyState < v.HAVE_CURRENT_DATA) await new Promise((done) => setTimeout(done, 50));
            c.width = v.videoWidth; c.height = v.videoHeight;
            c.getContext('2d', { willReadFrequently: true }).drawImage(v, 0, 0);
            return c.toDataURL('image/png').split(',')[1]; })()"""
        )
        return cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR)[..., ::-1]


class Chromium:
    """A browser; each of its pages has storage of its own, as if nobody had used the browser before."""

    def __init__(self, folder: Path, microphone: Path | None = None) -> None:
        """Start it.

        Args:
            folder: Where it keeps its profile.
            microphone: The WAV file that its microphone plays instead of beeps.
        """
        assert CHROMIUM
        profile = folder / "profile"
        profile.mkdir(parents=True, exist_ok=True)
        self._camera = profile / "camera.y4m"
        heard = () if microphone is None else (f"--use-file-for-fake-audio-capture={microphone}",)
        self._port_file = profile / "DevToolsActivePort"
        self._process = subprocess.Popen(
            [CHROMIUM, *FLAGS, *heard, f"--use-file-for-fake-video-capture={self._camera}",
             f"--user-data-dir={profile}", "about:blank"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip

    def __enter__(self) -> Chromium:
        return self

    def __exit__(self, *_: object) -> None:
        os.killpg(self._process.pid, 9)
        self._process.wait()

    @asynccontextmanager
    async def page(self, camera: Path | None = None) -> AsyncIterator[Page]:
        """Yield a new page; from now on the camera of every page plays `camera`, or is missing."""
        self._camera.unlink(missing_ok=True)
        if camera is not None:
            self._camera.symlink_to(camera)
        address = f"127.0.0.1:{await self._port()}"
        async with aiohttp.ClientSession() as client:
            async with client.get(f"http://{address}/json/version") as response:
                whole = (await response.json())["webSocketDebuggerUrl"]
            async with client.ws_connect(whole, max_msg_size=0) as socket:
                control = Page(socket)
                context = (await control.do("Target.createBrowserContext"))["browserContextId"]
                made = await control.do("Target.createTarget", url="about:blank", browserContextId=context)
                target = f"ws://{address}/devtools/page/{made['targetId']}"
                try:
                    async with client.ws_connect(target, max_msg_size=0) as own:
                        page = Page(own)
                        for domain in ("Inspector", "Page", "Runtime", "Log"):
                            await page.do(f"{domain}.enable")
                        yield page
                finally:
                    await control.do("Target.disposeBrowserContext", browserContextId=context)

    async def _port(self) -> int:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not self._port_file.exists() or not self._port_file.read_text().strip():
                await asyncio.sleep(0.1)
        return int(self._port_file.read_text().splitlines()[0])


@asynccontextmanager
async def browser(folder: Path, camera: Path, microphone: Path | None = None) -> AsyncIterator[Page]:
    """Yield the page of a browser of its own, whose microphone plays a WAV file."""
    with Chromium(folder, microphone) as chromium:
        async with chromium.page(camera) as page:
            yield page
