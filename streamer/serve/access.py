"""Who may talk to the server, and how: addresses, TLS, tokens, origins, limits. Knows nothing of video."""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import logging
import math
import ssl
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler, Middleware

from streamer.errors import StreamerError
from streamer.serve.certificate import self_signed

log = logging.getLogger(__name__)

MAX_BODY = 64 << 10  # bytes: an offer of a browser has 6 KB
BODY_SECONDS = 10.0  # for a request to arrive
LEAST_TOKEN = 16  # characters
OFFERS, OFFER_SECONDS = 10, 2.0  # of one address: at once, and from one to the next when those are used up
MAX_ADDRESSES = 10_000  # that are remembered
CHANGES = frozenset({hdrs.METH_POST, hdrs.METH_PATCH, hdrs.METH_DELETE})
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; media-src 'self' blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "camera=(self), microphone=(self), geolocation=(), display-capture=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}

@dataclass(frozen=True, slots=True)
class Access:
    """What the server answers to.

    Attributes:
        host, port: Where it listens.
        token: What a client must show as `Authorization: Bearer`; None lets everybody in.
        certificate: PEM file of the chain, "self-signed" for one made at the start, None for no TLS.
        key: PEM file of its private key.
        origins: Further addresses at which browsers reach it, "https://veil.example.org".
        proxies: Addresses of reverse proxies, whose `X-Forwarded-For` is believed.

    Raises:
        StreamerError: If others than this machine could reach it without token and TLS, or an address is none.
    """

    host: str = "127.0.0.1"
    port: int = 8080
    token: str | None = None
    certificate: Path | Literal["self-signed"] | None = None
    key: Path | None = None
    origins: tuple[str, ...] = ()
    proxies: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.token is not None and (len(self.token) < LEAST_TOKEN or not self.token.isascii()):
            raise StreamerError(f"a token needs {LEAST_TOKEN} ASCII characters or more")
        if isinstance(self.certificate, Path) and self.key is None:
            raise StreamerError("--cert needs the private key: --key-file")
        for origin in self.origins:
            parts = urlsplit(origin)
            if parts.scheme not in ("http", "https") or not parts.netloc or parts.path.strip("/"):
                raise StreamerError(f"{origin} is no origin; expected https://host or https://host:port")
        if is_loopback(self.host):
            return
        if self.token is None or self.certificate is None:
            raise StreamerError(
                f"{self.host} can be reached by others: give --token-file, and --cert with --key-file or --self-signed"
            )
        if self.host in ("0.0.0.0", "::") and not self.origins:
            raise StreamerError(f"{self.host} is no address to visit: say by which it is reached, with --origin")

    @property
    def scheme(self) -> str:
        """"http" or "https"."""
        return "https" if self.certificate else "http"

    def url_at(self, port: int) -> str:
        """Return where to go with a browser."""
        return self.origins[0] if self.origins else f"{self.scheme}://{_bracketed(self.host)}:{port}"

    def allowed_hosts(self, port: int) -> frozenset[str]:
        """Return what a request may call this server, so that no foreign name can be pointed at it."""
        names = ("127.0.0.1", "localhost", "[::1]") if is_loopback(self.host) else (_bracketed(self.host),)
        standard = {"http": 80, "https": 443}[self.scheme]
        own = {f"{name}:{port}" for name in names} | (set(names) if port == standard else set())
        return frozenset(own | {urlsplit(origin).netloc.lower() for origin in self.origins})

    def allowed_origins(self, port: int) -> frozenset[str]:
        """Return the pages that may talk to it."""
        own = {f"{self.scheme}://{host}" for host in self.allowed_hosts(port)}
        return frozenset(own | {origin.rstrip("/").lower() for origin in self.origins})

    def ssl_context(self) -> ssl.SSLContext | None:
        """Return what TLS needs; None without.

        Raises:
            StreamerError: If the certificate cannot be read, or does not fit its key.
        """
        if self.certificate is None:
            return None
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if self.certificate == "self-signed":
            names = [self.host, *(urlsplit(origin).hostname or "" for origin in self.origins)]
            self_signed(context, names)
            return context
        try:
            context.load_cert_chain(self.certificate, self.key)
        except (OSError, ssl.SSLError) as error:
            raise StreamerError(f"cannot use {self.certificate}: {error.strerror or error}") from error
        return context


def is_loopback(host: str) -> bool:
    """Return whether only this machine reaches `host`."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def read_token(path: Path) -> str:
    """Return the token in a file, without the end of its line.

    Raises:
        StreamerError: If it cannot be read.
    """
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise StreamerError(f"cannot read the token {path}: {getattr(error, 'strerror', 'not ASCII')}") from error


class OfferLimit:
    """Lets each address make `OFFERS` offers at once, then one every `OFFER_SECONDS`: a token bucket."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._full_at: OrderedDict[str, float] = OrderedDict()  # when the bucket of an address is full again

    def wait(self, address: str) -> float:
        """Count an offer of `address`; return 0, or in how many seconds it may make one."""
        now = self._clock()
        full_at = max(now, self._full_at.pop(address, now))
        wait = full_at - now - (OFFERS - 1) * OFFER_SECONDS
        self._full_at[address] = full_at + OFFER_SECONDS if wait <= 0 else full_at
        if len(self._full_at) > MAX_ADDRESSES:
            self._full_at.popitem(last=False)
        return max(0.0, wait)


def guard(access: Access, *, is_open: Callable[[web.Request], bool], limit: OfferLimit) -> list[Middleware]:
    """Return what stands before every handler, as aiohttp middlewares.

    Args:
        access: What is allowed.
        is_open: Whether a request needs no token.
        limit: For offers, which are what is posted.
    """

    @web.middleware
    async def answer_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            response = await handler(request)
        except web.HTTPException as error:
            headers = {name: error.headers[name] for name in ("Retry-After", "Allow") if name in error.headers}
            response = web.json_response({"error": error.text or error.reason}, status=error.status, headers=headers)
        except Exception as error:  # only its type: its message may quote what was sent
            log.error("a request failed: %s", type(error).__name__)
            response = web.json_response({"error": "it failed"}, status=500)
        response.headers.update(HEADERS)
        if request.secure:
            response.headers["Strict-Transport-Security"] = "max-age=31536000"
        return response

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        _check_place(access, request)
        if request.method == hdrs.METH_POST and (wait := limit.wait(_address(access, request))):
            raise web.HTTPTooManyRequests(headers={"Retry-After": str(math.ceil(wait))}, text="too many offers")
        if not is_open(request):
            _check_token(access, request)
        if request.method in CHANGES:
            await _read(request)
        return await handler(request)

    return [answer_errors, check]


def _check_place(access: Access, request: web.Request) -> None:
    """Refuse what calls this server by a foreign name, or comes from a foreign page."""
    port = _port(request) or access.port
    if request.headers.get(hdrs.HOST, "").lower() not in access.allowed_hosts(port):
        raise web.HTTPForbidden(text="this name is none of this server's")
    origin = request.headers.get(hdrs.ORIGIN)
    if origin is not None and origin.lower() not in access.allowed_origins(port):
        raise web.HTTPForbidden(text="this page may not talk to this server")


def _check_token(access: Access, request: web.Request) -> None:
    if access.token is None:
        return
    shown = request.headers.get(hdrs.AUTHORIZATION, "")
    if not hmac.compare_digest(shown.encode(), f"Bearer {access.token}".encode()):
        raise web.HTTPUnauthorized(text="wrong token, or none")


async def _read(request: web.Request) -> None:
    """Read the body, which aiohttp keeps; it refuses one that is too large."""
    try:
        async with asyncio.timeout(BODY_SECONDS):
            await request.read()
    except TimeoutError:
        raise web.HTTPRequestTimeout(text="the request did not arrive in time") from None


def _address(access: Access, request: web.Request) -> str:
    remote = request.remote or ""
    if remote in access.proxies:
        return request.headers.get("X-Forwarded-For", remote).rpartition(",")[2].strip()
    return remote


def _port(request: web.Request) -> int:
    """Return the port that the request came to: known only once the server listens, where 0 was asked for."""
    socket = request.transport.get_extra_info("sockname") if request.transport else None
    return int(socket[1]) if socket else 0


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
