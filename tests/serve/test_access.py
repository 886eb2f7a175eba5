"""Who may talk to the server: everything else is refused, as the documentation says, over real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import signal
import ssl
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from streamer.errors import StreamerError
from streamer.serve import access as access_module
from streamer.serve import app as app_module
from streamer.serve.access import MAX_BODY, Access, OfferLimit, read_tokens
from streamer.serve.certificate import self_signed
from streamer.serve.ice import IceServers
from streamer.serve.sdp.offer_check import OfferError, checked_offer
from tests.end_to_end.patience import PATIENCE_SECONDS
from tests.end_to_end.rtsp_servers import free_port
from tests.end_to_end.serving import SDP, Playing, Serving, noise, peer, serving
from tests.serve.test_serve import run

TOKEN = "a token of the test"
GUARDED = Access(port=0, tokens=(TOKEN,), origins=("https://veil.example.org",))
BEARER = {"Authorization": f"Bearer {TOKEN}"}


async def status(server: Serving, method: str, path: str, **headers: str) -> int:
    wanted = SDP if method == "POST" else {}
    async with server.client.request(method, server.url + path, headers=wanted | headers) as response:
        return response.status


# Names, pages, tokens


def test_only_the_token_opens_what_is_not_public() -> None:
    async def test() -> None:
        async with serving(access=GUARDED) as server:
            for path in ("/", "/app.js", "/style.css", "/healthz", "/readyz"):
                assert await status(server, "GET", path) == 200
            for path in ("/metrics", "/ice", "/nothing"):
                assert await status(server, "GET", path) == 401
                assert await status(server, "GET", path, Authorization="Bearer wrong") == 401
                assert await status(server, "GET", path, Authorization=TOKEN) == 401
            assert await status(server, "GET", "/metrics", **BEARER) == 200
            assert await status(server, "POST", "/offer") == 401
            assert await status(server, "POST", "/whip/door") == 401
            assert await status(server, "POST", "/whep/door") == 401  # a name can be guessed
            assert await status(server, "POST", "/whep/" + "x" * 32) == 400  # an id is a secret; this is no offer
            assert await status(server, "GET", "/sessions/" + "x" * 32) == 404

    run(test())


def test_a_foreign_name_or_page_is_refused_even_with_the_token() -> None:
    async def test() -> None:
        async with serving(access=GUARDED) as server:
            for host in ("evil.example", "127.0.0.1", "localhost:1", "127.0.0.1.evil.example:80", ""):
                assert await status(server, "GET", "/", Host=host, **BEARER) == 403, host
            for origin in ("https://evil.example", "null", "https://veil.example.org.evil.example", "http://localhost"):
                assert await status(server, "POST", "/offer", Origin=origin, **BEARER) == 403, origin
            assert await status(server, "GET", "/", Host="veil.example.org") == 200
            assert await status(server, "POST", "/offer", Origin="https://veil.example.org", **BEARER) == 400
            assert await status(server, "POST", "/offer", Origin=server.url, **BEARER) == 400

    run(test())


def test_every_answer_carries_the_headers_and_errors_say_nothing_of_the_request() -> None:
    async def test() -> None:
        async with serving(access=GUARDED) as server:
            for path in ("/", "/nothing<script>", "/metrics"):
                async with server.client.get(server.url + path, headers=BEARER) as response:
                    assert response.headers["X-Content-Type-Options"] == "nosniff"
                    assert "frame-ancestors 'none'" in response.headers["Content-Security-Policy"]
                    assert "script>" not in await response.text() or path == "/"

    run(test())


# Sizes and speeds


def test_a_body_that_is_too_large_is_refused_whole_or_in_chunks() -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield b"a" * (MAX_BODY // 8)

    async def test() -> None:
        async with serving() as server:
            for body in (b"a" * (MAX_BODY + 1), chunks()):
                async with server.client.post(server.url + "/offer", data=body) as response:
                    assert response.status == 413

    run(test())


def test_who_sends_a_byte_a_second_is_cut_off_and_others_are_served(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app_module, "KEEPALIVE_SECONDS", 2.0)
    monkeypatch.setattr(app_module, "LINGER_SECONDS", 1.0)
    monkeypatch.setattr(access_module, "BODY_SECONDS", 2.0)
    head = b"POST /offer HTTP/1.1\r\nHost: localhost:%d\r\nContent-Length: 1000\r\n\r\n"

    async def dribble(port: int, start: bytes) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(start)
        answer = bytearray()
        reading = asyncio.create_task(read_all(reader, answer))
        while not reading.done():
            with contextlib.suppress(ConnectionError):
                writer.write(b"a")
                await writer.drain()
            await asyncio.sleep(0.1)
        writer.close()
        return bytes(answer)

    async def read_all(reader: asyncio.StreamReader, answer: bytearray) -> None:
        with contextlib.suppress(ConnectionError):  # whom more was sent to than they read hang up like this
            while chunk := await reader.read(1000):
                answer += chunk

    async def test() -> None:
        async with serving() as server:
            port = int(server.url.rpartition(":")[2])
            async with asyncio.timeout(PATIENCE_SECONDS):
                slow = [dribble(port, b"GET / HTTP/1.1\r\nX-Slow: "), dribble(port, head % port)]
                one, other, *_ = await asyncio.gather(*slow, *(status(server, "GET", "/healthz") for _ in range(20)))
            assert b"200" not in one
            assert b"408" in other

    run(test())


def test_an_address_that_offers_too_often_waits() -> None:
    now = 0.0
    limit = OfferLimit(lambda: now)
    assert [limit.wait("a") for _ in range(12)] == [0.0] * 10 + [2.0, 2.0]
    assert limit.wait("b") == 0.0
    now = 2.0
    assert [limit.wait("a") for _ in range(2)] == [0.0, 2.0]
    now = 100.0
    assert [limit.wait("a") for _ in range(11)] == [0.0] * 10 + [2.0]


def test_offers_are_limited_by_address_and_a_proxy_speaks_for_others() -> None:
    async def test() -> None:
        async with serving(access=Access(port=0, proxies=("127.0.0.1",))) as server:
            forwarded = {"X-Forwarded-For": "9.9.9.9, 1.2.3.4"}
            found = [await status(server, "POST", "/offer", **forwarded) for _ in range(11)]
            assert found == [400] * 10 + [429]
            assert await status(server, "POST", "/offer", **{"X-Forwarded-For": "1.2.3.4, 1.2.3.5"}) == 400

    run(test())


# TLS


def test_a_self_signed_server_speaks_tls_only_and_says_its_fingerprint(caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> None:
        async with serving(access=Access(port=0, certificate="self-signed")) as server:
            url = server.url.replace("http:", "https:")
            async with server.client.get(url, ssl=False) as response:
                assert response.status == 200
                assert response.headers["Strict-Transport-Security"]
            fingerprint = bytes.fromhex(caplog.text.rpartition("certificate: ")[2].strip().replace(":", ""))
            async with server.client.get(url, ssl=aiohttp.Fingerprint(fingerprint)) as response:
                assert response.status == 200
            with pytest.raises(aiohttp.ClientConnectorCertificateError):
                await server.client.get(url)
            with pytest.raises(aiohttp.ClientError):
                await server.client.get(server.url)

    run(test())


def test_a_certificate_that_is_none_is_said(tmp_path: Path) -> None:
    (tmp_path / "c.pem").write_text("none")
    with pytest.raises(StreamerError, match=r"cannot use .*c\.pem"):
        Access(certificate=tmp_path / "c.pem", key=tmp_path / "c.pem").ssl_context()
    with pytest.raises(StreamerError, match="No such file"):
        Access(certificate=tmp_path / "no.pem", key=tmp_path / "c.pem").ssl_context()
    context = Access(certificate="self-signed").ssl_context()
    assert context is not None
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"host": "192.168.1.2"}, "can be reached by others"),
        ({"host": "192.168.1.2", "tokens": (TOKEN,)}, "can be reached by others"),
        ({"host": "::", "certificate": "self-signed"}, "can be reached by others"),
        ({"host": "0.0.0.0", "tokens": (TOKEN,), "certificate": "self-signed"}, "--origin"),
        ({"tokens": ("short",)}, "16 ASCII characters"),
        ({"origins": ("https://a/b",)}, "is no origin"),
    ],
)
def test_what_would_be_open_to_others_is_refused(options: dict[str, object], reason: str) -> None:
    with pytest.raises(StreamerError, match=reason):
        Access(**options)  # type: ignore[arg-type]


def test_a_network_with_token_and_tls_is_served() -> None:
    given = Access("192.168.1.2", 443, (TOKEN,), "self-signed")
    assert given.allowed_hosts(443) == {"192.168.1.2:443", "192.168.1.2"}
    assert "https://192.168.1.2" in given.allowed_origins(443)


def test_a_token_is_read_without_the_end_of_its_line(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(TOKEN + "\n")
    assert read_tokens(tmp_path / "token") == (TOKEN,)


# TURN


def test_turn_gets_credentials_that_expire_and_nothing_is_asked_of_strangers() -> None:
    assert IceServers().configuration().iceServers == []
    (server,) = IceServers(turn=("turn:turn.example.org:3478",), secret="s").as_list()
    assert int(server["username"].partition(":")[0]) > 1_700_000_000
    assert "secret" not in repr(IceServers(secret="s"))
    assert server["credential"] != IceServers(turn=("turn:a",), secret="other").as_list()[0]["credential"]


# Offers


async def an_offer() -> str:
    async with serving() as server, peer(server, Playing([noise()])) as (connection, _, _):
        return str(connection.localDescription.sdp)


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("v=0", "v=1", "begins with v=0"),
        ("a=fingerprint:", "a=thumbprint:", "fingerprint"),
        ("a=ice-ufrag", "a=ice-other", "credentials"),
        ("m=video", "m=text", "malformed"),
        ("m=video", "m=audio", "no video"),
        ("s=-", "s=\x01", "none of SDP"),
        ("s=-", "nothing", "none of SDP"),
        ("s=-", "s=" + "a" * 3000, "lines"),
        ("s=-", "s=-\r\na=x" * 2000, "lines"),
        ("a=mid:0", "a=mid:0" + "\r\na=candidate:1 1 udp 1 1.2.3.4 9 typ host" * 101, "candidates"),
        ("m=video", "m=audio 9 RTP/AVP 0\r\n" * 4 + "m=video", "1 to 4 media"),
    ],
)
def test_an_offer_that_no_browser_makes_is_refused(old: str, new: str, reason: str) -> None:
    sdp = asyncio.run(an_offer())
    assert checked_offer(sdp.encode())
    assert old in sdp
    with pytest.raises(OfferError, match=reason):
        checked_offer(sdp.replace(old, new, 3 if old == "a=fingerprint:" else 1).encode())


@pytest.mark.parametrize("body", [b"", b"\xff", b"v=0", b"v=0\r\n" + b"a" * MAX_BODY])
def test_a_body_that_is_no_offer_is_refused(body: bytes) -> None:
    with pytest.raises(OfferError):
        checked_offer(body)


# Behind a proxy


@pytest.mark.skipif(not shutil.which("nginx"), reason="needs nginx (Debian: nginx-light)")
def test_the_example_for_nginx_works_as_written(tmp_path: Path) -> None:
    front = free_port()
    written = (Path(__file__).parents[2] / "examples" / "nginx.conf").read_text()
    certificate(tmp_path / "front.pem")

    async def test() -> None:
        given = Access(port=0, tokens=(TOKEN,), origins=(f"https://127.0.0.1:{front}",), proxies=("127.0.0.1",))
        async with serving(access=given) as server:
            served = written.replace("127.0.0.1:8080", server.url.removeprefix("http://"))
            served = served.replace("listen 443", f"listen 127.0.0.1:{front}")
            served = re.sub(r"/etc/letsencrypt/\S+\.pem", str(tmp_path / "front.pem"), served)
            start_nginx(tmp_path, served)
            try:
                through = Serving(f"https://127.0.0.1:{front}", server.peers, client_of_tests())
                async with through.client:
                    for path in ("/", "/readyz"):
                        assert await status(through, "GET", path) == 200
                    assert await status(through, "POST", "/offer", Origin=through.url) == 401
                    assert await status(through, "POST", "/offer", Origin="https://evil.example", **BEARER) == 403
                    through.client.headers.update(BEARER)
                    async with peer(through, Playing([noise()])) as (_, received, _):
                        await received.until(lambda images: len(images) > 5)
            finally:
                os.kill(int((tmp_path / "pid").read_text()), signal.SIGQUIT)

    run(test())


def client_of_tests() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=False))


def start_nginx(folder: Path, server: str) -> None:
    main = f"pid {folder}/pid; error_log {folder}/error.log; events {{}}\n"
    temporary = "client_body", "proxy", "fastcgi", "uwsgi", "scgi"
    kinds = " ".join(f"{kind}_temp_path {folder}/{kind};" for kind in temporary)
    (folder / "nginx.conf").write_text(f"{main} http {{ access_log off; {kinds}\n{server} }}")
    subprocess.run(["nginx", "-c", folder / "nginx.conf", "-p", folder], check=True, capture_output=True)


def certificate(file: Path) -> None:
    """Write a key and a certificate for this machine."""
    made: list[bytes] = []

    class Context:
        def load_cert_chain(self, path: str) -> None:
            made.append(Path(path).read_bytes())

    self_signed(Context(), ["127.0.0.1"])  # type: ignore[arg-type]
    file.write_bytes(made[0])
