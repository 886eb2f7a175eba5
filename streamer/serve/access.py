"""Who may talk to the server, and how: addresses, TLS, tokens, origins, limits. Knows nothing of video."""

from __future__ import annotations

import asyncio
import base64
import hashlib
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
KEPT_HEADERS = ("Retry-After", "Allow", "WWW-Authenticate", "Accept-Post", "Accept-Patch")
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
        tokens: What a client must show one of as `Authorization: Bearer`; none lets everybody in.
        certificate: PEM file of the chain, "self-signed" for one made at the start, None for no TLS.
        key: PEM file of its private key.
        origins: Further addresses at which browsers reach it, "https://veil.example.org".
        proxies: Addresses of reverse proxies, whose `X-Forwarded-For` is believed.

    Raises:
        StreamerError: If others than this machine could reach it without token and TLS, or an address is none.
    """

    host: str = "127.0.0.1"
    port: int = 8080
    tokens: tuple[str, ...] = ()
    certificate: Path | Literal["self-signed"] | None = None
    key: Path | None = None
    origins: tuple[str, ...] = ()
    proxies: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if any(len(token) < LEAST_TOKEN or not token.isascii() for token in self.tokens):
            raise StreamerError(f"a token needs {LEAST_TOKEN} ASCII characters or more")
        if isinstance(self.certificate, Path) and self.key is None:
            raise StreamerError("--cert needs the private key: --key-file")
        for origin in self.origins:
            parts = urlsplit(origin)
            if parts.scheme not in ("http", "https") or not parts.netloc or parts.path.strip("/"):
                raise StreamerError(f"{origin} is no origin; expected https://host or https://host:port")
        if is_loopback(self.host):
            return
        if not self.tokens or self.certificate is None:
            raise StreamerError(
                f"{self.host} can be reached by others: give --token-file, and --cert with --key-file or --self-signed"
            )
        if self.host in ("0.0.0.0", "::") and not self.origins:
            raise StreamerError(f"{self.host} is no address to visit: say by which it is reached, with --origin")

    @property
    def scheme(self) -> str:
        """ "http" or "https"."""
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

    def owner(self, request: web.Request) -> str | None:
        """Return the token that a request shows; None where none is asked for.

        Raises:
            HTTPUnauthorized: If it is wrong or missing.
        """
        if not self.tokens:
            return None
        scheme, _, shown = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
        is_bearer = scheme.lower() == "bearer"
        given = shown.strip().encode()
        same = [token for token in self.tokens if hmac.compare_digest(given, token.encode())]  # all of them: no timing
        if not same or not is_bearer:
            raise web.HTTPUnauthorized(headers={hdrs.WWW_AUTHENTICATE: "Bearer"}, text="wrong token, or none")
        return same[0]

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


def read_tokens(path: Path) -> tuple[str, ...]:
    """Return the tokens in a file, one a line.

    Raises:
        StreamerError: If it cannot be read.
    """
    try:
        lines = path.read_text(encoding="ascii").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise StreamerError(f"cannot read the token {path}: {getattr(error, 'strerror', 'not ASCII')}") from error
    return tuple(line.strip() for line in lines if line.strip())


def viewer_key(owner: str | None, name: str) -> str | None:
    """Return by what the room of a name is watched without a token: the same each time, and a secret of its owner's.

    None where no tokens are: there its name is enough.
    """
    if owner is None:
        return None
    digest = hmac.new(owner.encode(), b"viewers of " + name.encode(), hashlib.sha256).digest()
    return base64.urlsafe_b64encode(digest[:24]).decode()


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
            headers = {name: error.headers[name] for name in KEPT_HEADERS if name in error.headers}
            response = web.json_response({"error": error.text or error.reason}, status=error.status, headers=headers)
        except Exception as error:  # only its type: its message may quote what was sent
            log.error("a request failed: %s", type(error).__name__)
            response = web.json_response({"error": "it failed"}, status=500)
        response.headers.update(HEADERS | cross_origin(access, request))
        if request.secure:
            response.headers["Strict-Transport-Security"] = "max-age=31536000"
        return response

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        _check_place(access, request)
        if request.method == hdrs.METH_POST and (wait := limit.wait(_address(access, request))):
            raise web.HTTPTooManyRequests(headers={"Retry-After": str(math.ceil(wait))}, text="too many offers")
        if request.method == hdrs.METH_OPTIONS:  # a browser asks before it sends the token
            return await handler(request)
        if not is_open(request):
            access.owner(request)
        if request.method in CHANGES:
            await _read(request)
        return await handler(request)

    return [answer_errors, check]


def cross_origin(access: Access, request: web.Request) -> dict[str, str]:
    """Return what tells a browser that the page it shows may read the answer (Fetch, section 3.3)."""
    origin = request.headers.get(hdrs.ORIGIN)
    if origin is None or not _is_allowed(access, request, origin):
        return {}
    return {
        "Access-Control-Allow-Origin": origin,
        "Access-Control-Allow-Methods": "GET, POST, PATCH, DELETE, OPTIONS",
        "Access-Control-Allow-Headers": "Authorization, Content-Type, If-Match",
        "Access-Control-Expose-Headers": "Location, ETag, Link, Retry-After, Accept-Post, Accept-Patch",
        "Access-Control-Max-Age": "600",
        "Vary": "Origin",
    }


def _check_place(access: Access, request: web.Request) -> None:
    """Refuse what calls this server by a foreign name, or comes from a foreign page."""
    port = _port(request) or access.port
    if request.headers.get(hdrs.HOST, "").lower() not in access.allowed_hosts(port):
        raise web.HTTPForbidden(text="this name is none of this server's")
    origin = request.headers.get(hdrs.ORIGIN)
    if origin is not None and not _is_allowed(access, request, origin):
        raise web.HTTPForbidden(text="this page may not talk to this server")


def _is_allowed(access: Access, request: web.Request, origin: str) -> bool:
    return origin.lower() in access.allowed_origins(_port(request) or access.port)


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
