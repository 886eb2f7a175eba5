"""The routes of `veil serve`: the page, its offers, WHIP in (RFC 9725), WHEP out, control, health and metrics."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import os
import re
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler
from multidict import CIMultiDict

from streamer.errors import StreamerError
from streamer.serve.access import MAX_BODY, Access, OfferLimit, guard, viewer_key
from streamer.serve.ice import IceServers
from streamer.serve.peer_connection import BusyError, Direction, PeerConnection
from streamer.serve.prometheus import TYPE
from streamer.serve.room import Room, asked_regions
from streamer.serve.sdp.fragments import TYPE as FRAGMENT
from streamer.serve.sdp.fragments import parsed
from streamer.serve.sdp.offer_check import CodecError, OfferError, checked_offer
from streamer.serve.sessions import FullError, NobodyError, Peers, TakenError

log = logging.getLogger(__name__)

WEB = Path(__file__).parent / "web"
FILES = {"/": "index.html"} | {f"/{file.name}": file.name for file in WEB.iterdir() if file.name != "index.html"}
KEEPALIVE_SECONDS = 15.0
LINGER_SECONDS = 10.0  # for which more of a request is read that was refused: hung up on at once, nobody reads why
RETRY_SECONDS = 10  # that a client who found no room is told to wait
SOON_SECONDS = 2  # that one is who came too early
NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
SDP = "application/sdp"
JSON = "application/json"
UNGUESSABLE = 24  # characters, at least, of an id that is a secret


class Server:
    """What answers requests.

    Args:
        access: Whose token is shown.
        peers: Who is connected; made once the event loop runs.
    """

    def __init__(self, access: Access, peers: Peers, ice: IceServers) -> None:
        self._access, self._peers, self._ice = access, peers, ice

    def routes(self) -> list[web.RouteDef]:
        """Return every route."""
        return [
            *(web.get(path, self._file) for path in FILES),
            web.get("/r/{name}", self._room_page),
            web.get("/healthz", self._healthz),
            web.get("/readyz", self._readyz),
            web.get("/metrics", self._metrics),
            web.get("/ice", self._ice_servers),
            *self._endpoint("/offer", self._offer),
            *self._endpoint("/whip/{name}", self._whip),
            *self._endpoint("/whep/{name}", self._whep),
            *self._resource("/sessions/{id}", show=self._show, change=self._change, end=self._end),
            *self._resource("/viewers/{id}", show=self._watched, change=self._change_viewer, end=self._leave),
        ]

    def _endpoint(self, path: str, post: Handler) -> list[web.RouteDef]:
        """Return the routes of what takes offers: RFC 9725, section 4.2, and alike of WHEP."""
        return [web.post(path, post), web.options(path, _offers_wanted), web.get(path, _nothing, allow_head=True)]

    def _resource(self, path: str, *, show: Handler, change: Handler, end: Handler) -> list[web.RouteDef]:
        """Return the routes of a session."""
        return [
            web.get(path, show, allow_head=True), web.patch(path, change), web.delete(path, end),
            web.options(path, _fragments_wanted),
        ]  # fmt: skip

    async def _file(self, request: web.Request) -> web.StreamResponse:
        return web.FileResponse(WEB / FILES[request.path])

    async def _room_page(self, _: web.Request) -> web.StreamResponse:
        return web.FileResponse(WEB / "index.html")

    async def _healthz(self, _: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def _readyz(self, _: web.Request) -> web.Response:
        is_ready = not self._peers.is_draining
        return web.Response(text="ready\n" if is_ready else "about to stop\n", status=200 if is_ready else 503)

    async def _metrics(self, _: web.Request) -> web.Response:
        return web.Response(body=self._peers.metrics.text(), headers={hdrs.CONTENT_TYPE: TYPE})

    async def _ice_servers(self, _: web.Request) -> web.Response:
        return web.json_response({"iceServers": self._ice.as_list()})

    # Offers

    async def _offer(self, request: web.Request) -> web.Response:
        """Take the page's video, and send it back safe."""
        name = _checked_name(request.query["room"]) if "room" in request.query else None
        try:
            regions = asked_regions(request.query.getall("always", []))
        except ValueError as error:
            raise web.HTTPBadRequest(text=str(error)) from error
        room, link, answer = await self._opened(request, "sendrecv", name=name, stream=None)
        if regions:  # before the first frame comes: that is after the answer
            room.cover_always(regions)
        body = {"sdp": answer, "session": f"/sessions/{link.id}", "viewer": room.viewer_id}
        return web.json_response(body, status=201, headers={hdrs.ETAG: link.etag})

    async def _whip(self, request: web.Request) -> web.Response:
        """Take the video of OBS and its like, to be watched at /whep by the same name (RFC 9725, section 4)."""
        name = _checked_name(request.match_info["name"])
        _, link, answer = await self._opened(request, "recvonly", name=name, stream=name)
        return self._created(answer, f"/sessions/{link.id}", link)

    async def _whep(self, request: web.Request) -> web.Response:
        """Send the safe video of a room to one who watches (draft-ietf-wish-whep)."""
        sdp = await self._sdp(request)
        with self._refusals():
            viewer, answer = await self._peers.view(request.match_info["name"], sdp)
        return self._created(answer, f"/viewers/{viewer.id}", viewer)

    async def _opened(
        self, request: web.Request, direction: Direction, *, name: str | None, stream: str | None
    ) -> tuple[Room, PeerConnection, str]:
        sdp, owner = await self._sdp(request), self._access.owner(request)
        key = viewer_key(owner, name) or name if name else None
        with self._refusals():
            return await self._peers.open(sdp, direction, name=name, owner=owner, viewer_id=key, stream=stream)

    async def _sdp(self, request: web.Request) -> str:
        if request.content_type != SDP:
            raise web.HTTPUnsupportedMediaType(headers={"Accept-Post": SDP}, text=f"an offer is {SDP}")
        with self._refusals():
            return checked_offer(await request.read())

    def _created(self, answer: str, location: str, link: PeerConnection) -> web.Response:
        headers = CIMultiDict({hdrs.LOCATION: location, hdrs.CONTENT_TYPE: SDP, hdrs.ETAG: link.etag})
        for server in self._ice.as_list():
            said = "".join(f'; {name}="{server[name]}"' for name in ("username", "credential") if name in server)
            kind = '; credential-type="password"' if said else ""
            headers.add("Link", f'<{server["urls"]}>; rel="ice-server"{said}{kind}')
        return web.Response(body=answer.encode(), status=201, headers=headers)  # as bytes: no charset is added

    @contextmanager
    def _refusals(self) -> Iterator[None]:
        """Say why an offer is not taken, in terms of HTTP."""
        refused = self._peers.metrics.refused.labels
        try:
            yield
        except NobodyError as error:
            raise web.HTTPConflict(headers=_retry(SOON_SECONDS), text=str(error)) from error
        except TakenError as error:
            refused("taken").inc()
            raise web.HTTPConflict(headers=_retry(RETRY_SECONDS), text=str(error)) from error
        except FullError as error:
            refused("full").inc()
            raise web.HTTPServiceUnavailable(headers=_retry(RETRY_SECONDS), text=str(error)) from error
        except CodecError as error:
            refused("bad offer").inc()
            raise web.HTTPNotAcceptable(text=str(error)) from error
        except OfferError as error:
            refused("bad offer").inc()
            raise web.HTTPBadRequest(text=str(error)) from error

    # Sessions

    async def _show(self, request: web.Request) -> web.Response:
        room, link = self._sender(request)
        return _shown(request, room.as_dict(), link)

    async def _change(self, request: web.Request) -> web.Response:
        room, link = self._sender(request)
        if request.content_type != JSON:
            return await self._reach(request, link)
        try:
            asked = json.loads(await request.read())
            beta, mode, always = asked.get("beta"), asked.get("mode"), asked.get("always")
            if set(asked) - {"beta", "mode", "always"} or isinstance(beta, bool):
                raise ValueError("only beta, mode and always can be changed")
            regions = None if always is None else asked_regions(list(map(str, always)))
            room.control(beta=None if beta is None else float(beta), mode=mode)
            if regions is not None:
                room.cover_always(regions)
        except (ValueError, TypeError, AttributeError, RecursionError) as error:
            is_ours = type(error) is ValueError
            reason = str(error) if is_ours else "expected an object of beta, mode and always"
            raise web.HTTPBadRequest(text=reason) from error
        return web.json_response(room.as_dict())

    async def _end(self, request: web.Request) -> web.Response:
        room, _ = self._sender(request)
        await self._peers.part(room)
        return web.Response()

    async def _watched(self, request: web.Request) -> web.Response:
        room, link = self._viewer(request)
        return _shown(request, {"sender": "stopped" if room.is_quiet else "live"}, link)

    async def _change_viewer(self, request: web.Request) -> web.Response:
        return await self._reach(request, self._viewer(request)[1])

    async def _leave(self, request: web.Request) -> web.Response:
        await self._peers.leave(*self._viewer(request))
        return web.Response()

    async def _reach(self, request: web.Request, link: PeerConnection) -> web.Response:
        """Take further addresses of a peer, or begin ICE anew (RFC 9725, section 4.3)."""
        if request.content_type != FRAGMENT:
            raise web.HTTPUnsupportedMediaType(headers={"Accept-Patch": FRAGMENT}, text=f"ICE is changed by {FRAGMENT}")
        with self._refusals():
            fragment = parsed(await request.read())
        match = request.headers.get(hdrs.IF_MATCH)
        if match is None:
            raise web.HTTPPreconditionRequired(text="If-Match is needed: an ETag, or * to begin ICE anew")
        if match not in ("*", link.etag):
            raise web.HTTPPreconditionFailed(text="this ICE session is over")
        if not link.is_restart(fragment):
            await link.trickle(fragment)
            return web.Response(status=204)
        try:
            answer = await link.restart(fragment)
        except BusyError:
            raise web.HTTPConflict(headers=_retry(SOON_SECONDS), text="it is not connected yet") from None
        headers = {hdrs.CONTENT_TYPE: FRAGMENT, hdrs.ETAG: link.etag}
        return web.Response(body=answer.encode(), headers=headers)

    def _sender(self, request: web.Request) -> tuple[Room, PeerConnection]:
        number = request.match_info["id"]
        room = self._peers.by_id.get(number)
        if room is None or room.link is None:
            if number in self._peers.replaced:
                raise web.HTTPGone(text="somebody else sends by this name now")
            raise web.HTTPNotFound(text="no such session")
        return room, room.link

    def _viewer(self, request: web.Request) -> tuple[Room, PeerConnection]:
        room = self._peers.room_of_viewer(request.match_info["id"])
        if room is None:
            raise web.HTTPNotFound(text="no such viewer")
        return room, room.viewers[request.match_info["id"]]


async def _offers_wanted(_: web.Request) -> web.Response:
    return web.Response(headers={"Accept-Post": SDP, hdrs.ALLOW: "OPTIONS, GET, HEAD, POST"})


async def _fragments_wanted(_: web.Request) -> web.Response:
    return web.Response(headers={"Accept-Patch": FRAGMENT, hdrs.ALLOW: "OPTIONS, GET, HEAD, PATCH, DELETE"})


async def _nothing(_: web.Request) -> web.Response:
    return web.Response(status=204)


def _shown(request: web.Request, figures: dict[str, Any], link: PeerConnection) -> web.Response:
    """Return figures to who asks for JSON; to others nothing, as of a session of WHIP (RFC 9725, section 4.1)."""
    if JSON not in request.headers.get(hdrs.ACCEPT, ""):
        return web.Response(status=204, headers={hdrs.ETAG: link.etag})
    return web.json_response(figures, headers={hdrs.ETAG: link.etag})


def _checked_name(name: str) -> str:
    if not NAME.fullmatch(name) or len(name) >= UNGUESSABLE:
        raise web.HTTPBadRequest(text=f"a name has 1 to {UNGUESSABLE - 1} letters, digits, - and _")
    return name


def _retry(seconds: int) -> dict[str, str]:
    return {hdrs.RETRY_AFTER: str(seconds)}


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
    runner = await started(access, Server(access, peers, ice))
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
    runner = web.AppRunner(app, keepalive_timeout=KEEPALIVE_SECONDS, lingering_time=LINGER_SECONDS, access_log=None)
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
    return path in FILES or path.startswith("/r/") or path in ("/healthz", "/readyz") or is_secret
