"""`veil serve` with real WebRTC peers: what they send comes back without faces, or not at all."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import logging
import queue
import threading
import time
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from aiortc.mediastreams import AudioStreamTrack
from av.video.frame import VideoFrame
from prometheus_client.parser import text_string_to_metric_families

from streamer.cli.demo import free_portrait
from streamer.evaluate.measures.coverage import UNCOVERED, detail_kept
from streamer.faces.detect import FaceDetector, Scanned
from streamer.faces.looks import Scan
from streamer.pipeline import stream as stream_module
from streamer.pipeline.anonymizer import Anonymizer
from streamer.render.batching import batched
from streamer.serve import sessions as peers_module
from streamer.serve.peer_filter import FaceFilter
from streamer.serve.room import Sound
from streamer.sinks.whip import WhipPublisher
from streamer.sources.file_source import open_source
from streamer.types import Face, Floats, Image, SafeFrame, TrackedFrame
from tests.end_to_end.patience import PATIENCE_SECONDS
from tests.end_to_end.serving import Playing, Serving, is_slate, noise, peer, serving
from tests.serve.asking import json_of, run, wait_until_empty


@pytest.fixture(scope="module")
def portrait(detector: FaceDetector) -> tuple[Image, Floats]:
    """A picture of 640x480 with a face, and where it is."""
    photo = cv2.resize(free_portrait(), (512, 600))[:480]
    image = np.ascontiguousarray(cv2.copyMakeBorder(photo, 0, 0, 64, 64, cv2.BORDER_CONSTANT, value=(60, 70, 80)))
    (face,) = detector(image)
    return image, face.box


def shown(image: Image, made: list[Image], box: Floats) -> list[int]:
    """Which of the pictures show the face of `image`."""
    same = (n for n, one in enumerate(made) if one.shape == image.shape)
    return [n for n in same if detail_kept(image, made[n], box) > UNCOVERED]


# Video


def test_a_face_comes_back_covered_and_viewers_see_no_other(portrait: tuple[Image, Floats]) -> None:
    image, box = portrait
    beside = np.s_[:60, 70:250]  # the flag

    def is_there(one: Image) -> bool:
        return bool(np.abs(one[beside].astype(int) - image[beside]).mean() < 20)

    async def test() -> None:
        async with serving() as server, peer(server, Playing([image])) as (_, received, said):
            await received.until(lambda images: len(images) >= 60)
            async with peer(server, path=f"/whep/{said['viewer']}") as (_, watched, _):
                await watched.until(lambda images: len(images) >= 20 and is_there(images[-1]))  # it is no slate
            assert {one.shape for one in received.images[30:] + watched.images} == {image.shape}
            assert shown(image, [image], box) == [0], "the check would not see it"
            assert shown(image, received.images + watched.images, box) == []

    run(test())


def test_a_session_draws_by_the_server_s_key_and_its_name() -> None:
    async def both() -> None:
        anonymizer = Anonymizer.load(mode="cover")
        async with (
            serving(anonymizer) as server,
            peer(server, Playing([noise()]), path="/whip/door"),
            peer(server, Playing([noise()])),
        ):
            assert [one.stream for one in server.peers.by_id.values()] == ["door", None]
            assert {one.anonymizer.key for one in server.peers.by_id.values()} == {anonymizer.key}

    run(both())


def test_the_same_pictures_to_one_name_become_the_same_strangers(portrait: tuple[Image, Floats]) -> None:
    # Under a key of its own, by which these names differ: of all keys one in 24 gives both the same of 24 strangers.
    anonymizer = Anonymizer.load(device="cpu", delay_seconds=0.0, key=bytes(32))
    made = []
    for name in ("door", "door", "yard"):
        first: queue.Queue[Image] = queue.Queue()
        faces = FaceFilter(anonymizer, lambda frame, *_: first.put(frame.image), stream=name)  # noqa: B023 - ends here
        frame = VideoFrame.from_ndarray(portrait[0], "rgb24")
        frame.pts = 0
        faces.source.put(frame, 0.0, 0.0)
        made.append(first.get(timeout=PATIENCE_SECONDS))
        faces.close()
    assert (made[0] == made[1]).all()
    assert (made[0] != made[2]).any()


def test_whip_in_whep_out_by_a_name(portrait: tuple[Image, Floats]) -> None:
    image, box = portrait

    async def test() -> None:
        async with serving() as server, peer(server, Playing([image]), path="/whip/door") as (_, back, said):
            async with peer(server, path="/whep/door") as (_, watched, viewer):
                await watched.until(lambda images: any(one.shape == image.shape for one in images[20:]))
                assert shown(image, watched.images, box) == []
                status, _ = await json_of(server, "GET", said["session"])
                assert status == 200
                async with server.client.delete(server.url + viewer["session"]) as response:
                    assert response.status == 200
            assert back.images == []  # WHIP only takes
            status, error = await json_of(server, "POST", "/whep/nobody", data=said["sdp"])
            assert (status, error) == (409, {"error": "nobody sends this video"})
            async with server.client.delete(server.url + said["session"]) as response:
                assert response.status == 200
            assert server.peers.by_id == {}

    run(test())


def test_who_waits_for_pictures_of_a_connection_that_is_over_is_told_so() -> None:
    async def test() -> None:
        async with serving() as server, peer(server, Playing([noise()])) as (connection, received, _):
            await connection.close()
            with pytest.raises(ConnectionError, match="over"):
                await received.until(lambda _: False)

    run(test())


def test_beta_and_mode_change_while_it_runs(portrait: tuple[Image, Floats]) -> None:
    image, box = portrait

    async def test() -> None:
        anonymizer = Anonymizer.load(delay_seconds=0.0, device="cpu")
        async with serving(anonymizer) as server, peer(server, Playing([image], rate=5)) as (_, received, said):
            tiers = await tiers_until(server, said["session"], "generated")
            status, now = await json_of(server, "PATCH", said["session"], json={"mode": "cover", "beta": 0.5})
            assert (status, now["mode"], now["beta"]) == (200, "cover", 0.5)
            tiers |= await tiers_until(server, said["session"], "mosaic")
            await json_of(server, "PATCH", said["session"], json={"mode": "generate"})
            await tiers_until(server, said["session"], "generated")
            assert "generated" in tiers
            assert shown(image, received.images, box) == []
            assert anonymizer.settings.mode == "generate"  # of this peer alone
            for wrong in ({"beta": 2}, {"mode": "none"}, {"beta": True}, {"other": 1}, [], {"beta": "x"}):
                status, error = await json_of(server, "PATCH", said["session"], json=wrong)
                assert status == 400, wrong
                assert error["error"]

    async def tiers_until(server: Serving, session: str, tier: str) -> set[str]:
        seen: set[str] = set()
        async with asyncio.timeout(PATIENCE_SECONDS):
            while tier not in seen:
                seen |= (await json_of(server, "GET", session))[1]["tiers"].keys()
                await asyncio.sleep(0.1)
        return seen

    run(test())


def test_a_server_that_only_covers_cannot_be_made_to_draw() -> None:
    async def test() -> None:
        async with serving() as server, peer(server, Playing([noise()])) as (_, _, said):
            status, error = await json_of(server, "PATCH", said["session"], json={"mode": "generate"})
            assert (status, error) == (400, {"error": "this server only covers"})

    run(test())


class Breaking(FaceDetector):
    """Fails in a third of all frames, and now and then for long."""

    calls = 0

    def __call__(self, image: Image, some: Sequence[Scan] | None = None, scanned: Scanned | None = None) -> list[Face]:
        Breaking.calls += 1
        if Breaking.calls % 3 == 0:
            raise RuntimeError(f"broken by {image[0, 0]}")
        if Breaking.calls % 20 == 0:
            time.sleep(0.9)
        return super().__call__(image, some, scanned)


def test_no_face_is_shown_or_logged_while_stages_break_and_sizes_change(
    portrait: tuple[Image, Floats], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    image, box = portrait
    small = cv2.resize(image, (320, 240), interpolation=cv2.INTER_AREA)
    monkeypatch.setattr(stream_module, "FaceDetector", Breaking)
    real, calls = stream_module.FaceAnonymizer.render, []

    def render(self: stream_module.FaceAnonymizer, seen: TrackedFrame) -> SafeFrame:
        calls.append(seen)
        if len(calls) % 40 == 39:
            raise MemoryError  # past every cover of the pipeline: the filter itself breaks, and begins anew
        return real(self, seen)

    monkeypatch.setattr(stream_module.FaceAnonymizer, "render", render)

    async def test() -> None:
        async with serving() as server:
            track = Playing([image] * 40 + [small] * 40)
            async with peer(server, track) as (_, received, said):
                await received.until(lambda images: len(images) >= 150)
                assert shown(image, received.images, box) == []
                assert shown(small, received.images, box / 2) == []
                assert {one.shape for one in received.images} >= {image.shape, small.shape}
                _, figures = await json_of(server, "GET", said["session"])
                assert figures["frames"] > 40
            async with server.client.get(server.url + "/metrics") as response:
                families = {f.name: f for f in text_string_to_metric_families(await response.text())}
            assert families["veil_frames_failed"].samples[0].value > 10

    caplog.set_level(logging.DEBUG, "streamer")
    run(test())
    assert "a filter pauses: MemoryError" in caplog.text
    assert "broken by" not in caplog.text


def test_a_peer_that_stops_sending_is_shown_a_slate_then_let_go(
    portrait: tuple[Image, Floats], monkeypatch: pytest.MonkeyPatch
) -> None:
    image, _ = portrait

    class Stopping(Playing):
        stopped = False

        async def recv(self) -> VideoFrame:
            while self.stopped:
                await asyncio.sleep(0.1)
            return await super().recv()

    async def test() -> None:
        track = Stopping([image])
        async with serving() as server, peer(server, track) as (_, received, _):
            await received.until(lambda images: any(not is_slate(one) for one in images))
            track.stopped = True
            await received.until(lambda images: is_slate(images[-1]))
            monkeypatch.setattr(peers_module, "IDLE_SECONDS", 1.0)
            await wait_until_empty(server)
        track.stopped = False  # for whoever still waits there

    run(test())


async def figures_of_a_face(server: Serving, session: str) -> dict[str, Any]:
    """Return what is said of a session as soon as a face is in its last frames."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while (figures := (await json_of(server, "GET", session))[1])["faces"] != 1:
            await asyncio.sleep(0.1)
    return figures


def test_two_sessions_at_once_keep_coverage_and_say_what_they_shed(portrait: tuple[Image, Floats]) -> None:
    image, box = portrait

    async def test() -> None:
        anonymizer = Anonymizer.load(delay_seconds=0.0, device="cpu")
        anonymizer = anonymizer.with_model(batched(anonymizer.model))
        async with (
            serving(anonymizer) as server,
            peer(server, Playing([image])) as (_, one, first),
            peer(server, Playing([image])) as (_, other, second),
        ):
            for received in (one, other):
                await received.until(lambda images: len(images) >= 80)
            assert shown(image, one.images + other.images, box) == []
            for said in (first, second):
                figures = await figures_of_a_face(server, said["session"])
                assert figures["eased"] or figures["tiers"] == {"generated": 1}, figures

    run(test())


def is_wide(image: Image) -> bool:
    """Whether a picture is of the clip, in whatever size a slow server sends it: a slate before the first is 4:3."""
    return image.shape[1] * 9 == image.shape[0] * 16


def test_a_sink_publishes_by_whip_and_calls_again(portrait_clip: Path) -> None:
    async def test() -> None:
        async with serving() as server:
            sink = WhipPublisher(f"whip:{server.url}/whip/door")
            sending = asyncio.create_task(asyncio.to_thread(send, sink))
            try:
                for _ in range(2):  # the second time after the server has hung up
                    room = await server.only_room()
                    async with peer(server, path="/whep/door") as (_, watched, _):
                        await watched.until(lambda images: any(map(is_wide, images)))
                    await server.peers.close(room)
            finally:
                stop.set()
            await sending
            await wait_until_empty(server)

    stop = threading.Event()

    def send(sink: WhipPublisher) -> None:
        safe = list(Anonymizer.load(mode="cover").frames(open_source(portrait_clip)))
        with sink:
            for n in itertools.count():
                if stop.is_set():
                    return
                one = safe[n % len(safe)]
                sink.write(dataclasses.replace(one, index=n, pts=n * 3000, time_base=Fraction(1, 90_000)))
                time.sleep(1 / 30)

    run(test())


# Sound


def test_sound_is_dropped_unless_it_was_asked_for() -> None:
    async def kinds(sound: Sound) -> list[str]:
        tracks = Playing([noise()]), AudioStreamTrack()
        async with serving(sound=sound) as server, peer(server, *tracks) as (connection, received, _):
            await received.until(lambda images: len(images) > 3)
            return [f"{t.kind} {t.currentDirection}" for t in connection.getTransceivers()]

    async def test() -> None:
        assert await kinds(Sound()) == ["video sendrecv", "audio inactive"]
        assert await kinds(Sound("kept")) == ["video sendrecv", "audio sendrecv"]
        assert await kinds(Sound("another voice")) == ["video sendrecv", "audio sendrecv"]

    run(test())
