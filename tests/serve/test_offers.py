"""Two thousand malformed offers: each is refused or answered, none holds the server up, and nothing stays of them."""

from __future__ import annotations

import asyncio
import gc
import random
import time

import pytest

from streamer.serve import access as access_module
from streamer.serve.sessions import Limits
from tests.end_to_end.serving import SDP, Playing, noise, peer, serving

OFFERS = 2000
LONGEST = 0.5  # seconds of the processor in one go of the loop: .005 as a rule, .09 seen on a busy machine
JUNK = ["", "0", "-1", "99999999999999999999", "a=", "m=", "é", "\x7f", "a" * 2000, "*", "%s", "[::]", "::", "/../"]


def mutated(sdp: str, chance: random.Random) -> bytes:
    """Return an offer with some of its lines, words or bytes changed."""
    lines = sdp.split("\r\n")
    for _ in range(chance.randint(1, 4)):
        n = chance.randrange(len(lines))
        words = lines[n].split(" ")
        change = chance.randrange(6)
        if change == 0:
            del lines[n]
        elif change == 1:
            lines.insert(n, chance.choice(lines))
        elif change == 2:
            words[chance.randrange(len(words))] = chance.choice(JUNK)
            lines[n] = " ".join(words)
        elif change == 3:
            lines[n] = lines[n][: chance.randrange(len(lines[n]) + 1)] + chance.choice(JUNK)
        elif change == 4:
            other = chance.randrange(len(lines))
            lines[n], lines[other] = lines[other], lines[n]
        else:
            lines[n] = lines[n] * chance.choice([2, 50])
        lines = lines or ["v=0"]
    body = bytearray("\r\n".join(lines).encode())
    if chance.random() < 0.2 and body:
        body[chance.randrange(len(body))] = chance.randrange(256)
    return bytes(body)


async def longest_go(until: asyncio.Event) -> float:
    """Return the longest time of the processor that the loop spent between two of its rounds."""
    longest, last = 0.0, time.thread_time()
    while not until.is_set():
        await asyncio.sleep(0)
        now = time.thread_time()
        longest, last = max(longest, now - last), now
    return longest


@pytest.mark.parametrize("seed", range(4))
def test_malformed_offers_do_no_harm(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access_module, "OFFERS", 10**9)
    chance = random.Random(seed)

    async def test() -> None:
        async with serving(limits=Limits(peers=4)) as server:
            async with peer(server, Playing([noise()])) as (connection, _, said):
                sdp = connection.localDescription.sdp
                await server.client.delete(server.url + said["session"])
            gc.freeze()  # as the server does
            stop = asyncio.Event()
            ticking = asyncio.create_task(longest_go(stop))
            answers: dict[int, int] = {}
            for _ in range(OFFERS // 4):
                body = mutated(sdp, chance)
                async with server.client.post(server.url + "/offer", data=body, headers=SDP) as response:
                    said = await response.json()
                if response.status == 201:
                    await server.client.delete(server.url + said["session"])
                answers[response.status] = answers.get(response.status, 0) + 1
            stop.set()
            gc.unfreeze()
            assert await ticking < LONGEST
            assert set(answers) <= {201, 400, 406, 413}, answers
            assert answers[400] > OFFERS // 16, answers
            assert server.peers.by_id == {}

    asyncio.run(test())
