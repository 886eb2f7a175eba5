"""Streams that come, stall, go and come back, from a real RTSP server; and where they go."""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path

import av
import numpy as np
import pytest

from streamer.cli.demo import Pose, Shot, render_clip
from streamer.errors import SourceError
from streamer.sources import live as live_source
from streamer.sources.address import Address, Transport, live_address
from streamer.sources.decoding import BLANK_GREY
from streamer.sources.file_source import open_source
from streamer.sources.live import LiveSource
from streamer.types import Frame
from tests.clips import damaged_clip
from tests.end_to_end.patience import PATIENCE_SECONDS
from tests.end_to_end.rtsp_servers import ffmpeg_listening, free_port, needs_ffmpeg, needs_rtsp_server, rtsp_server

FRAMES = 24  # that are waited for in a recording: a few more than it must have in the end


def is_blank(frame: Frame) -> bool:
    return bool((frame.image[:10] == BLANK_GREY).all())


def opened(url: str) -> LiveSource:
    address = live_address(url)
    assert address is not None
    return LiveSource(address)


def until(frames: Iterator[Frame], blank: bool) -> list[Frame]:
    """Read frames until one is blank, or not."""
    end, read = time.monotonic() + PATIENCE_SECONDS, []
    for frame in frames:
        read.append(frame)
        if is_blank(frame) == blank:
            return read
        assert time.monotonic() < end, "it took too long"
    raise AssertionError("the source ended")


@pytest.mark.slow  # it waits more than it works
@needs_rtsp_server
def test_a_stream_that_dies_or_freezes_is_replaced_by_blank_frames_and_comes_back(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with rtsp_server("ball") as server, opened(server.url) as source:
        assert (source.info.width, source.info.height, source.info.is_live) == (320, 240, True)
        assert 25 < float(source.info.rate or 0) < 35
        frames = iter(source)
        read = until(frames, blank=False)
        assert read[0].pts == 0, "a recording would begin with a pause"
        for _ in range(2):
            server.kill()
            read += until(frames, blank=True)
            with ThreadPoolExecutor(1) as beside:
                beside.submit(server.start)
                read += until(frames, blank=False)
        server.send(signal.SIGSTOP)
        read += until(frames, blank=True)
        server.send(signal.SIGCONT)
        read += until(frames, blank=False)
    pts = [frame.pts for frame in read]
    assert all(np.diff(pts) > 0)
    assert {frame.image.shape for frame in read} == {(240, 320, 3)}
    assert np.diff([frame.seconds for frame in read]).max() < 3.0, "the output stopped"
    assert caplog.text.count("is gone") >= 2


@pytest.mark.slow  # it waits more than it works
@needs_rtsp_server
def test_a_wrong_password_is_refused_and_never_shown(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with rtsp_server("ball", "ann", "right") as server:
        with pytest.raises(SourceError) as refused:
            opened(server.url.replace("//", "//ann:wr0ng@"))
        assert "wr0ng" not in str(refused.value) + repr(refused.value) + caplog.text
        assert "Unauthorized" in str(refused.value)
        with opened(server.url.replace("//", "//ann:right@")) as source:
            assert source.info.width == 320
            assert "right" not in repr(live_address(server.url.replace("//", "//ann:right@")))


@pytest.mark.slow  # it waits more than it works
@needs_rtsp_server
@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_a_server_that_bears_one_transport_alone_is_heard_over_that(protocol: Transport) -> None:
    refused: Transport = "udp" if protocol == "tcp" else "tcp"
    with rtsp_server("ball", protocol=protocol) as server:
        for transport in ("auto", protocol):
            with open_source(server.url, transport) as source:
                assert source.info.width == 320
        with pytest.raises(SourceError, match="cannot open"):
            open_source(server.url, refused)


@pytest.mark.slow  # it waits more than it works
@needs_rtsp_server
def test_a_camera_with_one_key_frame_in_minutes_starts_with_it(clip: Callable[..., Path]) -> None:
    once = clip("once.mkv", pts=range(4000), options={"g": "9999", "sc_threshold": "0", "bf": "0"})
    with rtsp_server(str(once)) as server:
        start = time.monotonic()
        with opened(server.url) as source:
            assert (source.info.width, source.corrupt_packets) == (64, 0)
            assert not is_blank(next(iter(source)))
        assert time.monotonic() - start < 390, "the next key frame comes after 400 s"


def without_first_key_frame(clip: Path, joined: Path) -> list[bytes]:
    """Return the packets of an MPEG-TS of `clip` as who joins it after its first key frame gets them."""
    with av.open(str(clip)) as source, av.open(str(joined), "w", "mpegts") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for n, packet in enumerate(source.demux(video=0)):
            if n and packet.size:
                packet.stream = stream
                target.mux(packet)
    data = joined.read_bytes()
    return [data[n : n + 188] for n in range(0, len(data), 188)]


def test_who_joins_between_two_key_frames_waits_for_the_next_as_long_as_something_comes(
    clip: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    gop = str(2 * live_source.MAX_FAILURES)
    options = {"g": gop, "keyint_min": gop, "sc_threshold": "0", "bf": "0"}
    joined = clip("long.mp4", pts=range(int(gop) + 20), options=options)
    packets = without_first_key_frame(joined, tmp_path / "joined.ts")
    monkeypatch.setattr(live_source, "OPEN_SECONDS", 1.0)
    monkeypatch.setattr(live_source, "STALL_SECONDS", 2.0)

    def send() -> None:
        with suppress(OSError), listening.accept()[0] as connection:  # it is left before the end
            for n, packet in enumerate(packets):  # in 5 s and more: longer than a silent stream is awaited
                connection.sendall(packet)
                time.sleep(0.1 if n % (len(packets) // 50) == 0 else 0.0)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=send, daemon=True).start()
        url = f"tcp://127.0.0.1:{listening.getsockname()[1]}"
        with LiveSource(Address("joined", url, "mpegts", ({"analyzeduration": "100000"},))) as source:
            assert (source.info.width, source.info.height) == (64, 48)
            assert source.corrupt_packets == 0
    assert "is gone" not in caplog.text


def test_frames_of_which_a_part_was_lost_are_left_out_up_to_the_next_key_frame(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_source, "OPEN_SECONDS", 1.0)  # it is called again once it has ended
    monkeypatch.setattr(live_source, "STALL_SECONDS", 1.0)
    content = damaged_clip(tmp_path / "clip.mkv", at=3, key_frames=6, frames=12).read_bytes()
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def send() -> None:
            with suppress(OSError), listening.accept()[0] as connection:
                connection.sendall(content)

        threading.Thread(target=send, daemon=True).start()
        url = f"tcp://127.0.0.1:{listening.getsockname()[1]}"
        with LiveSource(Address("lossy", url, "matroska", ({},))) as source:
            last = time.monotonic() + PATIENCE_SECONDS
            while source.corrupt_packets < 1 and time.monotonic() < last:
                time.sleep(0.02)
            assert source.corrupt_packets == 1


def test_a_server_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_source, "OPEN_SECONDS", 0.5)
    monkeypatch.setattr(live_source, "STALL_SECONDS", 0.5)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        with pytest.raises(SourceError, match="is it on, are address and password right"):
            opened(f"rtsp://ann:secret@127.0.0.1:{silent.getsockname()[1]}/cam")


@pytest.mark.slow
@pytest.mark.slow  # it waits more than it works
@needs_rtsp_server
def test_connections_that_come_and_go_leave_no_thread_or_descriptor() -> None:
    def there_is() -> tuple[int, int]:
        return len(list(Path("/proc/self/fd").iterdir())), threading.active_count()

    with rtsp_server("ball") as server, opened(server.url) as source:
        frames = iter(source)
        for n in range(4):
            until(frames, blank=False)
            if n == 1:
                before = there_is()
            server.kill()
            until(frames, blank=True)
            server.start()
        until(frames, blank=False)
        end = time.monotonic() + PATIENCE_SECONDS
        while any(now > then for now, then in zip(there_is(), before, strict=True)):
            assert time.monotonic() < end, (there_is(), before)
            time.sleep(0.1)  # a call that was given up ends once FFmpeg returns


def veil_run(*arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "streamer", "run", *map(str, arguments), "--mode", "cover", "--json"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.fixture(scope="module")
def face_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five seconds of a face in H.264, in the container that the server reads."""
    path = tmp_path_factory.mktemp("face") / "face.mkv"
    render_clip(path, (Shot(2.5, (Pose(0.7, 0.56, 0.9),), (Pose(0.9, 0.56, 0.9),)),) * 2)
    return path


def part_in(folder: Path) -> Path:
    """What is being recorded there; until it is, nothing of that name."""
    return next(folder.glob("kept.*.part.*"), folder / "kept")


def frames_in(path: Path) -> int:
    """Return how many pictures there are in a recording so far."""
    try:
        with av.open(str(path)) as container:
            return sum(packet.size > 0 for packet in container.demux(video=0))
    except (av.FFmpegError, IndexError):  # it has not begun
        return 0


def wait_for(is_there: Callable[[], bool], run: subprocess.Popen[str]) -> None:
    end = time.monotonic() + PATIENCE_SECONDS
    while not is_there():
        assert run.poll() is None, run.communicate()
        assert time.monotonic() < end, "the recording does not grow"
        time.sleep(0.1)


@pytest.mark.slow
@pytest.mark.slow  # it waits more than it works
@needs_rtsp_server
@needs_ffmpeg
def test_from_one_server_to_another_with_a_recording_that_survives_a_kill(face_clip: Path, tmp_path: Path) -> None:
    hub = tmp_path / "hub.mkv"
    with rtsp_server(str(face_clip)) as server, ffmpeg_listening(hub) as url:
        run = veil_run(server.url, url, "--also", tmp_path / "kept.mkv", "--overwrite")
        try:
            wait_for(lambda: min(frames_in(part_in(tmp_path)), frames_in(hub)) >= FRAMES, run)
        finally:
            run.send_signal(signal.SIGKILL)
            run.communicate()
    assert not (tmp_path / "kept.mkv").exists()
    with open_source(part_in(tmp_path)) as source:
        kept = list(source)
    with open_source(hub) as source:
        sent = list(source)
    assert min(len(kept), len(sent)) > 20
    assert kept[0].image.shape == sent[0].image.shape == (720, 1280, 3)


@pytest.mark.slow
@pytest.mark.slow  # it waits more than it works
@needs_rtsp_server
def test_a_live_run_ends_well_with_sigterm_and_keeps_what_it_recorded(face_clip: Path, tmp_path: Path) -> None:
    with rtsp_server(str(face_clip)) as server:
        run = veil_run(server.url, tmp_path / "kept.mp4", "--audit", tmp_path / "log")
        try:
            wait_for(lambda: frames_in(part_in(tmp_path)) >= FRAMES, run)
        finally:
            run.send_signal(signal.SIGTERM)
            _, said = run.communicate(timeout=PATIENCE_SECONDS)
    assert run.returncode == 0, said
    with open_source(tmp_path / "kept.mp4") as source:
        assert len(list(source)) > 20
    verified = [sys.executable, "-m", "streamer", "verify", str(tmp_path / "log")]
    assert subprocess.run(verified, capture_output=True, check=False).returncode == 0


def test_a_window_without_a_screen_is_one_line(portrait_clip: Path) -> None:
    bare = {name: value for name, value in os.environ.items() if name not in ("DISPLAY", "WAYLAND_DISPLAY")}
    command = [sys.executable, "-m", "streamer", "run", str(portrait_clip), "preview:", "--mode", "cover"]
    done = subprocess.run(command, capture_output=True, text=True, env=bare, check=False)
    assert (done.returncode, done.stderr) == (1, "veil: cannot open a window: there is no screen\n")


@pytest.mark.slow
def test_a_server_that_is_not_there_does_not_stop_the_other_outputs_but_is_a_failure(
    portrait_clip: Path, tmp_path: Path
) -> None:
    run = veil_run(portrait_clip, f"rtsp://ann:secret@127.0.0.1:{free_port()}/x", "--also", tmp_path / "kept.mp4")
    printed, said = run.communicate(timeout=PATIENCE_SECONDS)
    assert "secret" not in said + printed
    assert run.returncode == 1
    assert said.splitlines()[-1].startswith("veil: rtsp://***@127.0.0.1")
    assert said.splitlines()[-1].endswith("took no frame: Connection refused")
    lost, kept = json.loads(printed)["outputs"]
    assert (lost["state"], lost["frames"], lost["reason"][-18:]) == ("failed", 0, "Connection refused")
    with open_source(tmp_path / "kept.mp4") as source:
        assert kept == {"sink": str(tmp_path / "kept.mp4"), "state": "done", "frames": len(list(source)), "reason": ""}


@pytest.mark.slow
@pytest.mark.parametrize("address", ["rtmp://127.0.0.1:{}/live/S3CRET", "whip:http://127.0.0.1:{}/whip/room"])
def test_an_only_output_that_never_took_a_frame_is_a_failure(address: str, portrait_clip: Path) -> None:
    run = veil_run(portrait_clip, address.format(free_port()))
    printed, said = run.communicate(timeout=PATIENCE_SECONDS)
    assert run.returncode == 1
    assert "took no frame: " in said.splitlines()[-1]
    assert "S3CRET" not in said + printed
    assert [output["state"] for output in json.loads(printed)["outputs"]] == ["failed"]


@pytest.mark.slow
@needs_ffmpeg
def test_what_a_server_took_is_counted(portrait_clip: Path, tmp_path: Path) -> None:
    hub = tmp_path / "hub.mkv"
    with ffmpeg_listening(hub) as url:
        run = veil_run(portrait_clip, url)
        printed, said = run.communicate(timeout=PATIENCE_SECONDS)
    assert run.returncode == 0, said
    (output,) = json.loads(printed)["outputs"]
    assert 0 < output["frames"] <= 12
    assert (output["state"], output["reason"]) == ("done", "")


def test_what_is_published_begins_with_its_first_key_frame(clip: Callable[..., Path], tmp_path: Path) -> None:
    sent = clip("sent.nut", pts=range(12), options={"bf": "0", "g": "50", "sc_threshold": "0"})
    order = {"url": str(tmp_path / "got.mkv"), "format": "matroska", "options": {}}
    command = [sys.executable, "-m", "streamer.sinks.remux"]
    subprocess.run(command, input=json.dumps(order).encode() + b"\n" + sent.read_bytes(), check=True)
    with av.open(order["url"]) as got:
        assert [packet.is_keyframe for packet in got.demux(video=0) if packet.size] == [True] + [False] * 11


LEAVES = """
import ctypes, sys
from streamer.sources.address import live_address
from streamer.sources.live import LiveSource

with LiveSource(live_address(sys.argv[1])) as source:
    next(iter(source))
    print("ready", flush=True)
    input()
libc = ctypes.CDLL(None)
libc.on_exit(libc.sleep, None)  # goes on, as many seconds as the status says, when Python has gone
sys.exit(1)
"""


@pytest.mark.slow
@needs_rtsp_server
def test_whoever_leaves_a_server_that_is_silent_ends_as_it_means_to() -> None:
    with rtsp_server("ball") as server, ExitStack() as started:
        command = [sys.executable, "-c", LEAVES, server.url]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        runs = []
        for _ in range(4):  # one after the other: four that start at once may get no picture in time
            run = started.enter_context(subprocess.Popen(command, text=True, **pipes))
            started.callback(run.kill)
            runs.append(run)
            assert run.stdout
            assert run.stdout.readline() == "ready\n"
        server.send(signal.SIGSTOP)
        time.sleep(0.3)  # longer than FFmpeg sleeps between two looks at the clock
        for run in runs:
            run.communicate("\n", timeout=PATIENCE_SECONDS)
            time.sleep(0.025)
        server.send(signal.SIGCONT)
    assert [run.returncode for run in runs] == 4 * [1]
