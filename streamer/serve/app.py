"""The routes of `veil serve`: the page, its offers, WHIP in (RFC 9725), WHEP out, control, health and metrics."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import os
import re
import signal
from collections.abc import Callable
from pathlib import Path

from aiohttp import hdrs, web

from streamer.errors import StreamerError
from streamer.serve.access import MAX_BODY, Access, OfferLimit, guard
from streamer.serve.ice import IceServers
from streamer.serve.offers import OfferError, checked_offer
from streamer.serve.prometheus import TYPE
from streamer.serve.sessions import Direction, FullError, Peer, Peers

log = logging.getLogger(__name__)

WEB = Path(__file__).parent / "web"
FILES = {"/": "index.html", "/app.js": "app.js", "/style.css": "style.css"}
KEEPALIVE_SECONDS = 15.0
RETRY_SECONDS = 10  # that a client who found no room is told to wait
NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
SDP = "application/sdp"
UNGUESSABLE = 24  # characters, at least, of an id that is a secret


class Server:
    """What answers requests.

    Args:
        peers: Who is connected; made once the event loop runs.
    """

    def __init__(self, peers: Peers, ice: IceServers) -> None:
        self._peers, self._ice = peers, ice

    def routes(self) -> list[web.RouteDef]:
        """Return every route."""
        return [
            *(web.get(path, self._file) for path in FILES),
            web.get("/healthz", self._healthz),
            web.get("/readyz", self._readyz),
            web.get("/metrics", self._metrics),
            web.get("/ice", self._ice_servers),
            web.post("/offer", self._offer),
            web.post("/whip/{name}", self._whip),
            web.post("/whep/{viewer_id}", self._whep),
            web.get("/sessions/{id}", self._show),
            web.patch("/sessions/{id}", self._control),
            web.delete("/sessions/{id}", self._end),
            web.delete("/viewers/{id}", self._leave),
        ]

    async def _file(self, request: web.Request) -> web.StreamResponse:
        return web.FileResponse(WEB / FILES[request.path])

    async def _healthz(self, _: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def _readyz(self, _: web.Request) -> web.Response:
        is_ready = not self._peers.is_draining
        return web.Response(text="ready\n" if is_ready else "about to stop\n", status=200 if is_ready else 503)

    async def _metrics(self, _: web.Request) -> web.Response:
        return web.Response(body=self._peers.metrics.text(), headers={hdrs.CONTENT_TYPE: TYPE})

    async def _ice_servers(self, _: web.Request) -> web.Response:
        return web.json_response({"iceServers": self._ice.as_list()})

    async def _offer(self, request: web.Request) -> web.Response:
        """Take the page's video, and send it back safe."""
        peer, answer = await self._opened(request, "sendrecv")
        body = {"sdp": answer, "session": f"/sessions/{peer.id}", "viewer": peer.viewer_id}
        return web.json_response(body, status=201)

    async def _whip(self, request: web.Request) -> web.Response:
        """Take the video of OBS and its like, to be watched at /whep by the same name (RFC 9725, section 4)."""
        name = request.match_info["name"]
        if not NAME.fullmatch(name) or len(name) >= UNGUESSABLE:
            raise web.HTTPBadRequest(text=f"a name has 1 to {UNGUESSABLE - 1} letters, digits, - and _")
        peer, answer = await self._opened(request, "recvonly", name=name)
        return _created(answer, f"/sessions/{peer.id}")

    async def _whep(self, request: web.Request) -> web.Response:
        """Send the safe video of a peer to one who watches (draft-ietf-wish-whep)."""
        sdp = self._sdp(await request.read())
        try:
            viewer, answer = await self._peers.view(request.match_info["viewer_id"], sdp)
        except KeyError:
            raise web.HTTPNotFound(text="nobody sends this video") from None
        except FullError as error:
            raise self._full(error) from error
        except OfferError as error:
            raise self._bad(error) from error
        return _created(answer, f"/viewers/{viewer.id}")

    async def _show(self, request: web.Request) -> web.Response:
        return web.json_response(self._peer(request).as_dict())

    async def _control(self, request: web.Request) -> web.Response:
        """Change beta or mode: `{"beta": 0.5, "mode": "cover"}`."""
        peer = self._peer(request)
        if request.content_type != "application/json":  # trickle ICE; candidates come in the offer
            raise web.HTTPMethodNotAllowed("PATCH", ["GET", "DELETE"], text="only application/json changes a session")
        try:
            asked = json.loads(await request.read())
            beta, mode = asked.get("beta"), asked.get("mode")
            if set(asked) - {"beta", "mode"} or isinstance(beta, bool):
                raise ValueError("only beta and mode can be changed")
            peer.control(beta=None if beta is None else float(beta), mode=mode)
        except (ValueError, TypeError, AttributeError, RecursionError) as error:
            is_ours = type(error) is ValueError
            raise web.HTTPBadRequest(text=str(error) if is_ours else "expected an object of beta and mode") from error
        return web.json_response(peer.as_dict())

    async def _end(self, request: web.Request) -> web.Response:
        await self._peers.close(self._peer(request))
        return web.Response()

    async def _leave(self, request: web.Request) -> web.Response:
        peer = self._peers.peer_of_viewer(request.match_info["id"])
        if peer is None:
            raise web.HTTPNotFound(text="no such viewer")
        await self._peers.leave(peer, request.match_info["id"])
        return web.Response()

    async def _opened(
        self, request: web.Request, direction: Direction, name: str | None = None
    ) -> tuple[Peer, str]:
        sdp = self._sdp(await request.read())
        try:
            return await self._peers.open(sdp, direction, name=name)
        except FullError as error:
            raise self._full(error) from error
        except OfferError as error:
            raise self._bad(error) from error

    def _sdp(self, body: bytes) -> str:
        try:
            return checked_offer(body)
        except OfferError as error:
            raise self._bad(error) from error

    def _bad(self, error: OfferError) -> web.HTTPException:
        self._peers.metrics.refused.labels("bad offer").inc()
        return web.HTTPBadRequest(text=str(error))

    def _full(self, error: FullError) -> web.HTTPException:
        self._peers.metrics.refused.labels("full").inc()
        return web.HTTPServiceUnavailable(headers={hdrs.RETRY_AFTER: str(RETRY_SECONDS)}, text=str(error))

    def _peer(self, request: web.Request) -> Peer:
        peer = self._peers.by_id.get(request.match_info["id"])
        if peer is None:
            raise web.HTTPNotFound(text="no such session")
        return peer


async def serve(
    access: Access, peers: Peers, ice: IceServers, *, drain_seconds: float, on_ready: Callable[[int], None]
) -> None:
    """Serve until SIGINT or SIGTERM; then take nobody new, and give those who are there `drain_seconds`.

    Args:
        access, peers, ice: See there.
        on_ready: Called with the port once the server listens.

    Raises:
        StreamerError: If it cannot listen there.
    """
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    # Only the type, as of every error here; aiortc leaves those of a broken offer to the loop.
    loop.set_exception_handler(lambda _, said: log.warning("ignored: %s", type(said.get("exception")).__name__))
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    runner = await started(access, Server(peers, ice))
    gc.freeze()  # what is loaded by now stays: looking for garbage in it held everybody up for 150 ms, now and then
    try:
        on_ready(runner.addresses[0][1])
        await stop.wait()
        peers.is_draining = True
        end = loop.time() + drain_seconds
        stop.clear()
        while peers.by_id and loop.time() < end and not stop.is_set():  # a second signal ends it at once
            await asyncio.sleep(0.1)
    finally:
        await peers.close_all()
        await runner.cleanup()


async def started(access: Access, server: Server) -> web.AppRunner:
    """Return what listens, and serves.

    Raises:
        StreamerError: If it cannot listen there.
    """
    app = web.Application(
        middlewares=guard(access, is_open=needs_no_token, limit=OfferLimit()), client_max_size=MAX_BODY
    )
    app.add_routes(server.routes())
    context = access.ssl_context()
    # aiohttp also closes who has not sent all the head of a request by then. Its log would show secret addresses.
    runner = web.AppRunner(app, keepalive_timeout=KEEPALIVE_SECONDS, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, access.host, access.port, ssl_context=context).start()
    except OSError as error:
        await runner.cleanup()
        reason = os.strerror(error.errno) if error.errno else error.strerror
        raise StreamerError(f"cannot listen on {access.host}:{access.port}: {reason}") from error
    return runner


def needs_no_token(request: web.Request) -> bool:
    """Return whether a request shows nothing, or its address is a secret by itself."""
    path = request.path
    is_secret = path.startswith(("/sessions/", "/viewers/", "/whep/")) and len(path.split("/")[2]) >= UNGUESSABLE
    return path in FILES or path in ("/healthz", "/readyz") or is_secret


def _created(answer: str, location: str) -> web.Response:
    headers = {hdrs.LOCATION: location, hdrs.CONTENT_TYPE: SDP, hdrs.ETAG: '"1"'}
    return web.Response(text=answer, status=201, headers=headers)
