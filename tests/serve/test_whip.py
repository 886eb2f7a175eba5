"""WHIP as RFC 9725 has it and WHEP as its draft does: what a client that goes by the book is answered."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import aiohttp
import pytest
from aiortc import RTCPeerConnection

from streamer.serve import peer_connection
from streamer.serve.ice import IceServers
from streamer.serve.ice_restart import IceRestart
from streamer.serve.sdp.fragments import Fragment, parsed
from streamer.serve.sdp.offer_check import CodecError, OfferError, checked_offer
from tests.end_to_end.patience import PATIENCE_SECONDS
from tests.end_to_end.serving import SDP, Playing, Serving, noise, peer, serving
from tests.serve.test_access import BEARER, GUARDED
from tests.serve.test_serve import run

FRAGMENT = {"Content-Type": "application/trickle-ice-sdpfrag"}
PAGE = "https://veil.example.org"
CANDIDATE = "a=candidate:1 1 udp 2130706431 127.0.0.1 40000 typ host"
MEDIUM = "m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:0"
OTHER = f"a=ice-ufrag:abcd\r\na=ice-pwd:abcdefghijklmnopqrstuv\r\n{MEDIUM}\r\n{CANDIDATE}\r\n"


async def ask(server: Serving, method: str, path: str, body: str = "", **headers: str) -> aiohttp.ClientResponse:
    async with server.client.request(method, server.url + path, data=body or None, headers=headers) as response:
        await response.read()
        return response


def same_session(connection: RTCPeerConnection) -> str:
    """A fragment of the ICE session that a peer has."""
    sdp = connection.localDescription.sdp
    said = [re.search(rf"a=ice-{name}:\S+", sdp)[0] for name in ("ufrag", "pwd")]  # type: ignore[index]
    return "\r\n".join([*said, "m=video 9 UDP/TLS/RTP/SAVPF 96", "a=mid:0", CANDIDATE, "a=end-of-candidates", ""])


def test_what_is_no_offer_is_refused_with_the_type_that_is_wanted() -> None:
    async def test() -> None:
        async with serving() as server:
            for path in ("/whip/door", "/whep/door", "/offer"):
                for kind in ("text/plain", "application/json", "application/sdpx"):
                    refused = await ask(server, "POST", path, "v=0", **{"Content-Type": kind})
                    assert (refused.status, refused.headers["Accept-Post"]) == (415, "application/sdp")
                asked = await ask(server, "OPTIONS", path)
                assert (asked.status, asked.headers["Accept-Post"]) == (200, "application/sdp")
                assert (await ask(server, "GET", path)).status == 204
                for method in ("PUT", "DELETE", "PATCH"):
                    assert (await ask(server, method, path)).status == 405

    run(test())


def test_an_answer_is_sdp_without_charset_and_its_session_goes_by_the_book() -> None:
    async def test() -> None:
        async with serving() as server, peer(server, Playing([noise()]), path="/whip/door") as (connection, _, said):
            sdp = connection.localDescription.sdp
            taken = await ask(server, "POST", "/whip/other", sdp, **SDP)
            assert (taken.status, taken.headers["Content-Type"]) == (201, "application/sdp")
            assert re.fullmatch(r'"\w+"', taken.headers["ETag"])
            session = said["session"]
            asked = await ask(server, "OPTIONS", session)
            assert (asked.status, asked.headers["Accept-Patch"]) == (200, FRAGMENT["Content-Type"])
            nothing = await ask(server, "GET", session)
            assert (nothing.status, nothing.headers.get("Content-Type")) == (204, None)
            for method in ("POST", "PUT"):
                assert (await ask(server, method, session)).status == 405
            ended = await ask(server, "DELETE", session, **{"If-Match": '"any"'})  # of no matter for a DELETE
            assert ended.status == 200
            assert (await ask(server, "DELETE", session)).status == 404

    run(test())


def test_candidates_are_trickled_under_the_etag_of_their_session() -> None:
    async def test() -> None:
        async with serving() as server, peer(server, Playing([noise()]), path="/whip/door") as (connection, _, said):
            session, etag = said["session"], said["etag"]
            more = same_session(connection)
            for match, status in (({}, 428), ({"If-Match": '"other"'}, 412), ({"If-Match": etag}, 204)):
                answer = await ask(server, "PATCH", session, more, **FRAGMENT, **match)
                assert (answer.status, answer.headers.get("ETag")) == (status, None)
            wrong = await ask(server, "PATCH", session, more, **{"Content-Type": "application/sdp", "If-Match": etag})
            assert (wrong.status, wrong.headers["Accept-Patch"]) == (415, FRAGMENT["Content-Type"])
            for body in ("nonsense", "a=ice-ufrag:abcd\r\n", "\xff", "a=x\r\n" * 500, f"{CANDIDATE}\r\n" * 101):
                assert (await ask(server, "PATCH", session, body, **FRAGMENT, **{"If-Match": etag})).status == 400

    run(test())


def test_a_session_that_is_not_connected_yet_is_begun_anew_later() -> None:
    async def test() -> None:
        async with serving() as server, peer(server, Playing([noise()])) as (connection, _, _):
            taken = await ask(server, "POST", "/whip/door", connection.localDescription.sdp, **SDP)
            early = await ask(server, "PATCH", taken.headers["Location"], OTHER, **FRAGMENT, **{"If-Match": "*"})
            assert (early.status, early.headers["Retry-After"]) == (409, "2")

    run(test())


def test_ice_begins_anew_only_now_and_then_and_an_attempt_that_reaches_nobody_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(peer_connection, "RESTART_SECONDS", PATIENCE_SECONDS)

    def sockets() -> int:
        return len([one for one in Path("/proc/self/fd").iterdir() if one.is_socket()])

    async def test() -> None:
        async with serving() as server, peer(server, Playing([noise()]), path="/whip/door") as (_, _, said):
            (room,) = server.peers.by_id.values()
            while room.meter.as_dict()["frames"] < 3:
                await asyncio.sleep(0.05)
            before = sockets()
            begun = await ask(server, "PATCH", said["session"], OTHER, **FRAGMENT, **{"If-Match": "*"})
            assert (begun.status, begun.headers["Content-Type"]) == (200, FRAGMENT["Content-Type"])
            assert begun.headers["ETag"] != said["etag"]
            third = OTHER.replace("abcd", "abce")
            again = await ask(server, "PATCH", said["session"], third, **FRAGMENT, **{"If-Match": "*"})
            assert (again.status, again.headers["Retry-After"]) == (409, "2")
            assert sockets() > before  # of the attempt, which nobody answers
            frames = room.meter.as_dict()["frames"]
            while room.meter.as_dict()["frames"] < frames + 3:  # meanwhile it goes on as it was
                await asyncio.sleep(0.05)
            assert room.link
            await room.link._give_up()
            assert sockets() == before

    run(test())


def test_while_ice_is_about_to_begin_anew_it_does_not_begin_once_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peer_connection, "RESTART_SECONDS", 0.0)
    gathered, offer = asyncio.Event(), IceRestart.offer

    async def offer_late(attempt: IceRestart, remote: Fragment) -> Fragment:
        await gathered.wait()  # as at a STUN server that does not answer
        return await offer(attempt, remote)

    monkeypatch.setattr(IceRestart, "offer", offer_late)

    async def test() -> None:
        async with serving() as server, peer(server, Playing([noise()]), path="/whip/door") as (_, _, said):
            (room,) = server.peers.by_id.values()
            assert room.link
            while room.link.connection.connectionState != "connected":
                await asyncio.sleep(0.05)
            headers = FRAGMENT | {"If-Match": "*"}
            first = asyncio.create_task(ask(server, "PATCH", said["session"], OTHER, **headers))
            while not room.link._is_restarting:
                await asyncio.sleep(0)
            again = await ask(server, "PATCH", said["session"], OTHER.replace("abcd", "abce"), **headers)
            assert (again.status, again.headers["Retry-After"]) == (409, "2")
            gathered.set()
            assert ((await first).status, (await first).headers["ETag"]) == (200, room.link.etag)

    run(test())


def test_who_watches_what_nobody_sends_is_told_when_to_ask_again() -> None:
    async def test() -> None:
        async with serving() as server, peer(server, Playing([noise()])) as (connection, _, _):
            early = await ask(server, "POST", "/whep/door", connection.localDescription.sdp, **SDP)
            assert (early.status, early.headers["Retry-After"]) == (409, "2")

    run(test())


def test_a_page_of_a_listed_origin_is_let_in_by_its_browser_and_no_other() -> None:
    async def test() -> None:
        async with serving(access=GUARDED) as server:
            wish = {"Origin": PAGE, "Access-Control-Request-Method": "POST"}
            asked = await ask(server, "OPTIONS", "/whip/door", **wish)  # a browser sends no token with this
            assert asked.status == 200
            assert asked.headers["Access-Control-Allow-Origin"] == PAGE
            assert {"Authorization", "Content-Type", "If-Match"} <= set(words(asked, "Access-Control-Allow-Headers"))
            assert {"POST", "PATCH", "DELETE"} <= set(words(asked, "Access-Control-Allow-Methods"))
            refused = await ask(server, "POST", "/whip/door", "", Origin=PAGE, **SDP)
            assert (refused.status, refused.headers["Access-Control-Allow-Origin"]) == (401, PAGE)
            assert {"Location", "ETag", "Link"} <= set(words(refused, "Access-Control-Expose-Headers"))
            assert refused.headers["Vary"] == "Origin"
            for method in ("OPTIONS", "POST"):
                foreign = await ask(server, method, "/whip/door", "", Origin="https://evil.example", **SDP, **BEARER)
                assert foreign.status == 403
                assert "Access-Control-Allow-Origin" not in foreign.headers

    def words(response: aiohttp.ClientResponse, name: str) -> list[str]:
        return response.headers[name].split(", ")

    run(test())


def test_the_token_is_asked_for_by_its_scheme_whose_name_has_no_case() -> None:
    async def test() -> None:
        async with serving(access=GUARDED) as server:
            refused = await ask(server, "POST", "/whip/door", "", **SDP)
            assert (refused.status, refused.headers["WWW-Authenticate"]) == (401, "Bearer")
            token = GUARDED.tokens[0]
            shown = {f"{scheme} {token}": 400 for scheme in ("bearer", "BEARER", "Bearer")}
            shown |= dict.fromkeys((f"Basic {token}", token, "Bearer", f"Bearer {token}x", f"Bearer x{token}"), 401)
            for said, status in shown.items():
                assert (await ask(server, "POST", "/whip/door", **SDP, Authorization=said)).status == status

    run(test())


def test_stun_and_turn_are_named_in_the_answer() -> None:
    ice = IceServers(("stun:stun.example.org",), ("turn:turn.example.org?transport=udp",), "secret")

    async def test() -> None:
        async with serving(ice=ice) as server, peer(server, Playing([noise()])) as (connection, _, _):
            taken = await ask(server, "POST", "/whip/door", connection.localDescription.sdp, **SDP)
            stun, turn = taken.headers.getall("Link")
            assert stun == '<stun:stun.example.org>; rel="ice-server"'
            asked = r'<turn:\S+>; rel="ice-server"; username="\d+:\w+"; credential="\S+"; credential-type="password"'
            assert re.fullmatch(asked, turn)

    run(test())


async def an_offer() -> str:
    connection = RTCPeerConnection()
    connection.addTransceiver("video", direction="sendonly")
    await connection.setLocalDescription(await connection.createOffer())
    await connection.close()
    return str(connection.localDescription.sdp)


@pytest.mark.parametrize("algorithm", ["SHA-256", "Sha-256"])
def test_the_name_of_a_hash_has_no_case(algorithm: str) -> None:
    sdp = asyncio.run(an_offer())
    assert "a=fingerprint:sha-256" in sdp
    assert checked_offer(sdp.replace("a=fingerprint:sha-256", f"a=fingerprint:{algorithm}").encode())


def test_the_codecs_that_are_offered_in_vain_are_named() -> None:
    sdp = asyncio.run(an_offer())
    other = re.sub(r"(a=rtpmap:\d+ )(VP8|H264)/", lambda m: m[1] + {"VP8": "AV1", "H264": "VP9"}[m[2]] + "/", sdp)
    with pytest.raises(CodecError, match=r"VP8 or H264 .* is needed, offered is AV1, VP9"):
        checked_offer(other.encode())

    async def test() -> None:
        async with serving() as server:
            assert (await ask(server, "POST", "/whip/door", other, **SDP)).status == 406

    run(test())


def test_a_fragment_says_what_its_writer_meant() -> None:
    read = parsed(OTHER.encode())
    assert (read.ufrag, read.password, len(read.candidates)) == ("abcd", "abcdefghijklmnopqrstuv", 1)
    assert parsed(read.text("0").encode()) == read
    tcp = CANDIDATE.replace("udp", "tcp").replace("40000", "9") + " tcptype active"
    assert parsed(f"{tcp}\r\n{CANDIDATE}\r\n".encode()) == Fragment("", "", read.candidates)
    with pytest.raises(OfferError):
        parsed(OTHER.replace("abcd\r", "ab cd\r").encode())
