"""How many a server takes, how it starts and stops, and what it refuses to serve."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import aiohttp
import pytest

from streamer.serve import peer_connection
from streamer.serve import sessions as peers_module
from streamer.serve.ice_restart import transport_of
from streamer.serve.sessions import Limits
from streamer.sinks import webrtc
from tests.end_to_end.patience import PATIENCE_SECONDS
from tests.end_to_end.serving import SDP, Playing, Serving, noise, peer, serving
from tests.serve.asking import json_of, run, wait_until_empty

# Limits


def test_one_peer_too_many_is_sent_away_and_let_in_later() -> None:
    async def test() -> None:
        async with serving(limits=Limits(peers=1)) as server:
            async with peer(server, Playing([noise()])) as (connection, _, said):
                sdp = connection.localDescription.sdp
                async with server.client.post(server.url + "/offer", data=sdp, headers=SDP) as response:
                    assert (response.status, response.headers["Retry-After"]) == (503, "10")
                assert len(server.peers.by_id) == 1
                await json_of(server, "GET", said["session"])
                async with server.client.delete(server.url + said["session"]) as response:
                    assert response.status == 200
            async with peer(server, Playing([noise()])) as (_, received, _):
                await received.until(lambda images: len(images) > 3)

    run(test())


def test_a_connection_that_never_closes_keeps_nobody_waiting_and_lets_go_of_the_network(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(webrtc, "CLOSE_SECONDS", 0.2)

    async def never() -> None:
        await asyncio.Event().wait()

    async def test() -> None:
        async with serving() as server, peer(server, Playing([noise()])) as (_, received, said):
            await received.until(lambda images: len(images) > 3)
            (room,) = server.peers.by_id.values()
            assert room.link
            ways, close = transport_of(room.link.connection), room.link.connection.close
            monkeypatch.setattr(room.link.connection, "close", never)
            async with server.client.delete(server.url + said["session"]) as response:
                assert response.status == 200
            assert ways.state == "closed"
            await close()

    run(test())


@pytest.mark.parametrize("is_answered", [True, False], ids=["who calls again", "who is being answered"])
def test_a_server_that_ends_everybody_takes_nobody_new(is_answered: bool) -> None:
    async def test() -> None:
        async with serving() as server:
            async with peer(server, Playing([noise()])) as (connection, _, said):
                sdp = connection.localDescription.sdp
                await server.client.delete(server.url + said["session"])
            if is_answered:
                await server.peers.close_all()
            calling = asyncio.create_task(server.client.post(server.url + "/offer", data=sdp, headers=SDP))
            if not is_answered:
                while not server.peers._rooms:
                    await asyncio.sleep(0)
                await server.peers.close_all()
            async with await calling as response:
                assert response.status == 503
            assert not server.peers.by_id

    run(test())


def test_an_offer_without_a_peer_behind_it_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peer_connection, "CONNECT_SECONDS", 2.0)

    async def test() -> None:
        async with serving() as server:
            async with peer(server, Playing([noise()])) as (connection, _, _):
                sdp = connection.localDescription.sdp
            await wait_until_empty(server)
            began = time.monotonic()
            status, _ = await json_of(server, "POST", "/offer", data=sdp)
            assert status == 201
            await wait_until_empty(server)
            assert time.monotonic() - began > peer_connection.CONNECT_SECONDS

    run(test())


def test_peers_that_come_and_go_leave_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    async def visit(server: Serving, *, abruptly: bool) -> None:
        monkeypatch.setattr(peers_module, "IDLE_SECONDS", PATIENCE_SECONDS)
        async with peer(server, Playing([noise()])) as (connection, received, said):
            await received.until(lambda images: len(images) > 2)
            if abruptly:  # nothing is said: the server finds out by itself
                for transport in {t.sender.transport for t in connection.getTransceivers()}:
                    await transport.transport.stop()
                monkeypatch.setattr(peers_module, "IDLE_SECONDS", 1.0)
            else:
                async with server.client.delete(server.url + said["session"]) as response:
                    assert response.status == 200

    async def test() -> None:
        async with serving() as server:
            for n in range(10):
                await visit(server, abruptly=n % 2 == 1)
                await wait_until_empty(server)
                if n == 3:
                    await asyncio.sleep(0.3)
                    before = there_is()
            async with asyncio.timeout(PATIENCE_SECONDS):
                while any(now > then for now, then in zip(there_is(), before, strict=True)):
                    await asyncio.sleep(0.1)

    run(test())


def there_is() -> tuple[int, int, int]:
    """Tasks, threads that filter, and open files."""
    gc.collect()
    filters = [t for t in threading.enumerate() if t.name == "filter"]
    return len(asyncio.all_tasks()), len(filters), len(list(Path("/proc/self/fd").iterdir()))


# The command


def test_the_command_serves_until_it_is_told_to_stop() -> None:
    command = [sys.executable, "-m", "streamer", "serve", "--port", "0", "--mode", "cover"]
    token = os.environ | {"VEIL_TOKEN": "t" * 20}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=token) as server:
        assert server.stdout is not None
        url = server.stdout.readline().removeprefix("veil serves ").strip()
        try:
            run(ask(url))
        finally:
            server.send_signal(signal.SIGTERM)
        assert server.wait(PATIENCE_SECONDS) == 0


async def ask(url: str) -> None:
    async with aiohttp.ClientSession() as client:
        for path, status in {"/": 200, "/healthz": 200, "/readyz": 200, "/metrics": 401, "/app.js": 200}.items():
            async with client.get(url + path) as response:
                assert response.status == status, path
                assert "default-src 'none'" in response.headers["Content-Security-Policy"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--host", "0.0.0.0"], "can be reached by others"),
        (["--host", "0.0.0.0", "--self-signed"], "can be reached by others"),
        (["--cert", "c.pem"], "needs the private key"),
        (["--voice", "--keep-audio"], "--voice"),
        (["--turn", "turn:example.org"], "VEIL_TURN_SECRET"),
        (["--port", "1"], "cannot listen on 127.0.0.1:1"),
        (["--origin", "example.org"], "is no origin"),
        (["--token-file", "/nowhere"], "cannot read the token"),
    ],
)
def test_what_cannot_be_served_is_said_in_one_line(options: list[str], said: str) -> None:
    if "--port" in options and os.geteuid() == 0:
        pytest.skip("root may listen on every port")
    command = [sys.executable, "-m", "streamer", "serve", "--mode", "cover", *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE_SECONDS)
    assert done.returncode in (1, 2)
    assert said in done.stderr
    assert "Traceback" not in done.stderr
