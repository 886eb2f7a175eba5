"""What tests ask of a server."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from tests.end_to_end.patience import PATIENCE_SECONDS
from tests.end_to_end.serving import SDP, Serving


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(test, PATIENCE_SECONDS))


async def wait_until_empty(server: Serving) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while server.peers.by_id:
            await asyncio.sleep(0.05)


async def json_of(server: Serving, method: str, path: str, **arguments: Any) -> tuple[int, Any]:  # noqa: ANN401 - JSON
    headers = {"Accept": "application/json"} | (SDP if "data" in arguments else {})
    async with server.client.request(method, server.url + path, headers=headers, **arguments) as response:
        return response.status, await response.json()
