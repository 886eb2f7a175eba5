"""A name belongs to its token: who sends comes back at once, who watches stays and is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
import numpy as np
import pytest
from aiortc import RTCPeerConnection

from streamer.pipeline.anonymizer import Anonymizer
from streamer.serve import sessions as peers_module
from streamer.serve.access import Access, viewer_key
from streamer.serve.peer_filter import Received as Source
from streamer.serve.room import Room
from streamer.types import Image, SafeFrame
from tests.end_to_end.patience import PATIENCE_SECONDS
from tests.end_to_end.serving import SDP, Playing, Received, Serving, is_slate, peer, serving
from tests.serve.test_serve import run

OWNER, OTHER = "a token of the test", "another token, of others"
ONE, TWO = np.full((240, 320, 3), 60, np.uint8), np.full((240, 320, 3), 200, np.uint8)


def shows(image: Image) -> Any:  # noqa: ANN401 - a function of pictures
    """Whether the last picture that came is of this one's colour."""
    return lambda images: bool(images) and abs(float(images[-1].mean()) - image.mean()) < 20


async def until_shown(received: Received, image: Image) -> None:
    await received.until(shows(image))


async def said_of(server: Serving, path: str) -> tuple[int, Any]:
    async with server.client.get(server.url + path, headers={"Accept": "application/json"}) as response:
        return response.status, await response.json()


@dataclass
class Watched:
    """A name that somebody sends to, and one who watches it."""

    server: Serving
    sending: RTCPeerConnection
    session: str
    watching: RTCPeerConnection
    received: Received
    viewer: str


@asynccontextmanager
async def watched_name() -> AsyncIterator[Watched]:
    async with (
        serving() as server,
        peer(server, Playing([ONE]), path="/whip/door") as (sending, _, sender),
        peer(server, path="/whep/door") as (watching, received, viewer),
    ):
        await until_shown(received, ONE)
        yield Watched(server, sending, sender["session"], watching, received, viewer["session"])


async def until_said(one: Watched, state: str) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while await said_of(one.server, one.viewer) != (200, {"sender": state}):
            await asyncio.sleep(0.05)


def test_who_comes_back_takes_the_name_over_at_once_and_viewers_stay() -> None:
    async def test() -> None:
        async with watched_name() as one, peer(one.server, Playing([TWO]), path="/whip/door") as (_, _, new):
            await until_shown(one.received, TWO)
            assert one.watching.connectionState == "connected"
            assert (await said_of(one.server, one.session))[0] == 410  # another one has it now
            async with one.server.client.delete(one.server.url + one.session) as response:
                assert response.status == 410
            assert (await said_of(one.server, new["session"]))[0] == 200
            assert list(one.server.peers.by_id) == [new["session"].rpartition("/")[2]]

    run(test())


def test_an_offer_that_cannot_be_answered_takes_nothing_over() -> None:
    async def test() -> None:
        async with serving() as server, peer(server, Playing([ONE]), path="/whip/door") as (sending, _, said):
            broken = sending.localDescription.sdp.replace("a=rtcp-mux\r\n", "")
            async with server.client.post(server.url + "/whip/door", data=broken, headers=SDP) as response:
                assert response.status == 400
            assert (await said_of(server, said["session"]))[0] == 200

    run(test())


def test_who_watches_is_told_that_the_sender_has_stopped_and_sees_it_come_back() -> None:
    async def test() -> None:
        async with watched_name() as one:
            await until_said(one, "live")
            async with one.server.client.delete(one.server.url + one.session) as response:
                assert response.status == 200
            await until_said(one, "stopped")
            async with peer(one.server, Playing([TWO]), path="/whip/door"):
                await until_shown(one.received, TWO)
                await until_said(one, "live")
            assert one.watching.connectionState == "connected"

    run(test())


def test_a_sender_that_is_cut_off_is_said_to_have_stopped() -> None:
    async def test() -> None:
        async with watched_name() as one:
            await one.sending.getTransceivers()[0].sender.transport.transport.stop()  # without a word
            await until_said(one, "stopped")

    run(test())


def test_a_room_ends_a_while_after_its_sender(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers_module, "STAY_SECONDS", 0.5)

    async def test() -> None:
        async with watched_name() as one:
            await one.server.client.delete(one.server.url + one.session)
            async with asyncio.timeout(PATIENCE_SECONDS):
                while (await said_of(one.server, one.viewer))[0] != 404:
                    await asyncio.sleep(0.05)
            assert one.server.peers.room_of("door") is None

    run(test())


def test_a_name_is_its_token_s_and_another_one_s_when_it_is_free() -> None:
    async def post(server: Serving, token: str, sdp: str) -> aiohttp.ClientResponse:
        headers = SDP | {"Authorization": f"Bearer {token}"}
        async with server.client.post(server.url + "/whip/door", data=sdp, headers=headers) as response:
            return response

    async def test() -> None:
        async with serving(access=Access(port=0, tokens=(OWNER, OTHER))) as server:
            server.client.headers["Authorization"] = f"Bearer {OWNER}"
            async with peer(server, Playing([ONE]), path="/whip/door") as (sending, _, said):
                sdp = sending.localDescription.sdp
                refused = await post(server, OTHER, sdp)
                assert (refused.status, refused.headers["Retry-After"]) == (409, "10")
                assert (await said_of(server, said["session"]))[0] == 200
                await server.client.delete(server.url + said["session"])
                assert (await post(server, OTHER, sdp)).status == 201
                assert (await post(server, OWNER, sdp)).status == 409

    run(test())


def test_a_viewer_link_is_a_secret_that_stays_the_same_for_a_name_and_token() -> None:
    async def link() -> str:
        async with serving(access=Access(port=0, tokens=(OWNER,))) as server:
            server.client.headers["Authorization"] = f"Bearer {OWNER}"
            async with peer(server, Playing([ONE]), path="/offer?room=door") as (sending, _, said):
                del server.client.headers["Authorization"]
                sdp = sending.localDescription.sdp
                for path, status in (("/whep/door", 401), (f"/whep/{said['viewer']}", 201)):
                    async with server.client.post(server.url + path, data=sdp, headers=SDP) as response:
                        assert response.status == status
                async with server.client.get(server.url + "/r/door") as response:
                    assert response.status == 200  # the page; it shows nothing by itself
                return said["viewer"]

    assert asyncio.run(link()) == asyncio.run(link()) == viewer_key(OWNER, "door")
    assert len({viewer_key(OWNER, "door"), viewer_key(OWNER, "yard"), viewer_key(OTHER, "door")}) == 3
    assert viewer_key(None, "door") is None


def test_a_room_of_the_page_is_a_name_too_and_a_bad_one_is_refused() -> None:
    async def test() -> None:
        async with serving() as server, peer(server, Playing([ONE]), path="/offer?room=door") as (sending, _, said):
            assert said["viewer"] == "door"  # without tokens a name is enough
            async with peer(server, path="/whep/door") as (_, watched, _):
                await until_shown(watched, ONE)
            sdp = sending.localDescription.sdp
            for name in ("", "a b", "x" * 24, "../x"):
                path = server.url + "/offer"
                async with server.client.post(path, params={"room": name}, data=sdp, headers=SDP) as response:
                    assert response.status == 400, name

    run(test())


# Regions that are always covered

LEFT = "0%,0%,50%,100%"
STRIPES: Image = np.zeros((240, 320, 3), np.uint8)  # narrower than what a cover is made of
STRIPES[:, np.arange(320) % 16 < 8] = 220


def halves(image: Image) -> tuple[float, float]:
    """How much there is to see on the left, and on the right."""
    middle = image.shape[1] // 2
    return float(image[:, : middle - 8].std()), float(image[:, middle + 8 :].std())


def is_of_stripes(image: Image) -> bool:
    return image.shape == (240, 320, 3) and not is_slate(image)


def is_left_covered(image: Image) -> bool:
    left, right = halves(image)
    return left < 0.6 * right


def test_a_region_that_is_asked_for_with_the_offer_is_covered_from_the_first_frame() -> None:
    async def test() -> None:
        async with serving() as server:
            path = f"/offer?room=door&always={LEFT.replace('%', '%25')}"
            async with peer(server, Playing([STRIPES]), path=path) as (_, received, _):
                await received.until(lambda images: sum(map(is_of_stripes, images)) > 5)
            assert all(map(is_left_covered, filter(is_of_stripes, received.images)))

    run(test())


def test_a_region_can_be_covered_and_shown_again_while_live() -> None:
    async def test() -> None:
        async with serving() as server, peer(server, Playing([STRIPES])) as (_, received, said):
            await received.until(lambda images: bool(images) and is_of_stripes(images[-1]))
            for always, is_covered in (([LEFT], True), ([], False)):
                url = server.url + said["session"]
                async with server.client.patch(url, json={"always": always}) as response:
                    assert (await response.json())["always"] == always
                await received.until(
                    lambda images, wanted=is_covered: (
                        is_of_stripes(images[-1]) and is_left_covered(images[-1]) == wanted
                    )
                )
            (room,) = server.peers.by_id.values()
            assert room.anonymizer.settings.always == ()

    run(test())


def test_who_takes_a_name_over_is_shown_no_more_than_the_server_says() -> None:
    async def test() -> None:
        async with serving() as server:
            async with peer(server, Playing([STRIPES]), path="/offer?room=door") as (_, _, said):
                url = server.url + said["session"]
                async with server.client.patch(url, json={"beta": 1.0, "always": [LEFT]}) as response:
                    assert response.status == 200
            async with peer(server, Playing([STRIPES]), path="/offer?room=door") as (_, received, said):
                await received.until(lambda images: bool(images) and is_of_stripes(images[-1]))
                assert all(map(is_left_covered, filter(is_of_stripes, received.images)))
                assert (await said_of(server, said["session"]))[1]["beta"] == 0.0

    run(test())


def test_what_is_held_back_of_one_sender_is_not_shown_when_another_sends(monkeypatch: pytest.MonkeyPatch) -> None:
    """By what the server shows, in its order: on a slow machine the last of one before comes late to a viewer."""
    shown: list[float | None] = []  # mean brightness; None where another sends from then on
    publish, begin = Room._publish, Source.begin

    def published(self: Room, frame: SafeFrame, dropped: int, latency: float, captured: float) -> None:
        shown.append(float(frame.image.mean()))
        publish(self, frame, dropped, latency, captured)

    def begun(self: Source) -> None:
        begin(self)
        shown.append(None)

    monkeypatch.setattr(Room, "_publish", published)
    monkeypatch.setattr(Source, "begin", begun)

    async def test() -> None:
        held = Anonymizer.load(mode="cover", delay_seconds=0.5)
        async with (
            serving(held) as server,
            peer(server, Playing([ONE]), path="/whip/door") as (sending, _, _),
            peer(server, path="/whep/door") as (_, received, _),
        ):
            await until_shown(received, ONE)
            await sending.close()
            await received.until(lambda images: is_slate(images[-1]))
            async with peer(server, Playing([TWO]), path="/whip/door"):
                await until_shown(received, TWO)

    run(test())
    assert shown.count(None) == 1
    before, later = shown[: shown.index(None)], shown[shown.index(None) + 1 :]
    assert before == pytest.approx([60.0] * len(before), abs=20)
    assert later
    assert later == pytest.approx([200.0] * len(later), abs=20)


@pytest.mark.parametrize("always", [["1,2,3,4"], ["120%,0%,10%,10%"], ["x"], [LEFT] * 9, "left", 3])
def test_regions_that_are_none_are_refused(always: object) -> None:
    async def test() -> None:
        async with (
            serving() as server,
            peer(server, Playing([STRIPES])) as (_, _, said),
            server.client.patch(server.url + said["session"], json={"always": always}) as response,
        ):
            assert response.status == 400

    run(test())
