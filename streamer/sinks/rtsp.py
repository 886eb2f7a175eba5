"""Publishes to a server of the network: RTSP, RTMP, SRT, UDP. What the server does never reaches the stream.

Frames are encoded here, without delay, and passed on by a child process (`streamer.sinks.remux`), which is started
again when the server is gone.
"""

from __future__ import annotations

import json
import logging
import os
import select
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import av
from av.container.output import OutputContainer

from streamer.backoff import LONGEST_WAIT, Backoff
from streamer.errors import SinkError
from streamer.masking import mask_secrets
from streamer.sinks.copied import seconds_of
from streamer.sinks.delivery import RemoteSink
from streamer.sinks.encoding import CodecSetup, VideoEncoder
from streamer.sound.changed import Heard, LiveSound
from streamer.sound.voice import Voice
from streamer.sources.address import URL
from streamer.types import SafeFrame, VideoInfo

log = logging.getLogger(__name__)

MUXERS = {"rtsp": "rtsp", "rtsps": "rtsp", "rtmp": "flv", "rtmps": "flv", "srt": "mpegts", "udp": "mpegts"}
# By its path and with -P: nothing of the working directory is run, whatever it is called.
REMUX = (sys.executable, "-P", str(Path(__file__).with_name("remux.py")))
KEY_SECONDS = 1  # from one key frame to the next: who joins waits for one
# No frame waits for a later one, as it would for each thread that has a frame of its own (FFmpeg's default, whatever is
# tuned); each key frame carries what a decoder needs to begin there.
LIVE_H264 = CodecSetup(
    "libx264",
    {
        "preset": "superfast", "tune": "zerolatency", "thread_type": "slice", "bf": "0",
        "x264-params": "repeat-headers=1",
    },
)  # fmt: skip
WRITE_SECONDS = 5.0  # that the child may take no data; then it hangs
END_SECONDS = 10.0  # that it may take at the end, to start, connect and pass on what is left of a short video
LOST_SECONDS = 1.0  # that it may take to say why it takes no more


def publishes_to(target: str) -> bool:
    """Return whether `target` is an address that can be published to."""
    found = URL.match(target)
    return found is not None and found[1].lower() in MUXERS


class Publisher(RemoteSink):
    """A sink of the network; frames that come while the server is away are left out.

    Args:
        url: "rtsp://", "rtmp://", "srt://" or "udp://".
        info: Of the source.
        voice, heard: Of its sound, as of `streamer.sound.changed.LiveSound`; None to leave it out.

    Attributes:
        audio_packets, audio_failures: As of `streamer.sinks.part_sink.PartSink`.

    Raises:
        SinkError: On leaving it without an exception, if the server took no frame at all.
    """

    def __init__(
        self, url: str, info: VideoInfo, *, crf: int, voice: Voice | None = None, heard: Heard | None = None
    ) -> None:
        self.audio_packets = 0
        self.audio_failures = tuple[str, ...]()
        self._sound = (voice, heard) if voice and heard else None
        self._url, self._info, self._crf = url, info, crf
        self._label = mask_secrets(url)
        self._link: _Link | None = None
        self._call_at, self._backoff = 0.0, Backoff()

    def __enter__(self) -> Self:
        self._call()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._link:
            self._close_link(END_SECONDS if kind is None else LOST_SECONDS)
        if kind is None and not self.frames_taken:
            raise SinkError(f"{self._label} took no frame: {self.trouble or 'it did not answer'}")

    def write(self, frame: SafeFrame) -> None:
        """Send one frame, or leave it out while there is no server.

        Raises:
            TypeError: If it is anything but a `SafeFrame`.
        """
        if not isinstance(frame, SafeFrame):
            raise TypeError(f"only a SafeFrame may be written, got {type(frame).__name__}")
        now = time.monotonic()
        if self._link is None:
            if now < self._call_at:
                return
            self._call()
        assert self._link is not None
        try:
            self._link.send(frame)
        except (av.FFmpegError, OSError) as error:
            self._hang_up(error, now)
        else:
            self.frames_taken += self._link.newly_taken()
            self.audio_packets += self._link.newly_heard()
            self.audio_failures = self._link.audio_failures
            if self._link.age > LONGEST_WAIT:
                self._backoff.reset()

    def _call(self) -> None:
        try:
            self._link = _Link(self._url, self._info, crf=self._crf, sound=self._sound)
        except OSError as error:
            raise SinkError(f"cannot publish to {self._label}: {error.strerror}") from error

    def _hang_up(self, error: Exception, now: float) -> None:
        self.trouble = self._close_link(LOST_SECONDS) or getattr(error, "strerror", None) or type(error).__name__
        log.warning("%s takes nothing: %s; calling again", self._label, self.trouble)
        self._call_at = now + self._backoff.next_wait()

    def _close_link(self, seconds: float) -> str:
        """End the link; return what it said of the reason, or ""."""
        assert self._link is not None
        link, self._link = self._link, None
        reason = link.close(seconds)
        self.frames_taken += link.newly_taken()
        self.trouble = reason or self.trouble
        return reason


class _Link:
    """One encoder and the child that passes its packets on."""

    def __init__(self, url: str, info: VideoInfo, *, crf: int, sound: tuple[Voice, Heard] | None) -> None:
        self._url, scheme = url, url.partition(":")[0].lower()
        options = {"rtsp_transport": "tcp"} if MUXERS[scheme] == "rtsp" else {}
        order = {"url": url, "format": MUXERS[scheme], "options": options}
        self._child = subprocess.Popen(
            REMUX, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0
        )
        self._taken = self._heard = 0
        self._started = time.monotonic()
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        os.set_blocking(self._child.stdout.fileno(), False)
        pipe = _Pipe(self._child.stdin.fileno())
        pipe.write(json.dumps(order).encode() + b"\n")
        self._container: OutputContainer = av.open(pipe, "w", format="nut", options={"flush_packets": "1"})
        keyed = CodecSetup(LIVE_H264.name, LIVE_H264.options | {"g": str(round((info.rate or 25) * KEY_SECONDS))})
        self._video = VideoEncoder(self._container, info, encoder=keyed, crf=crf)
        self._sound = LiveSound(self._container, *sound) if sound else None

    @property
    def age(self) -> float:
        """Seconds since it was started."""
        return time.monotonic() - self._started

    @property
    def audio_failures(self) -> tuple[str, ...]:
        """Why sound ended early, if it did."""
        return tuple(self._sound.failures) if self._sound else ()

    def send(self, frame: SafeFrame) -> None:
        for packet in self._video.encode(frame):
            for heard in self._sound.until(seconds_of(packet)) if self._sound else ():
                self._container.mux(heard)
                self._heard += 1
            self._container.mux(packet)

    def newly_heard(self) -> int:
        """Return how many packets of sound were sent since this was asked last."""
        heard, self._heard = self._heard, 0
        return heard

    def newly_taken(self) -> int:
        """Return how many frames the server took since this was asked last."""
        stdout = self._child.stdout
        if stdout is not None and not stdout.closed:
            with suppress(BlockingIOError):
                self._taken += len(os.read(stdout.fileno(), 1 << 16))
        taken, self._taken = self._taken, 0
        return taken

    def close(self, seconds: float) -> str:
        """End the child, in so many seconds at most; return what it said of the reason, in a line, or ""."""
        with suppress(av.FFmpegError, OSError):
            self._container.close()
        assert self._child.stdin is not None
        self._child.stdin.close()
        self._child.stdin = None  # `communicate` would close it once more
        try:
            taken, said = self._child.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            self._child.kill()
            taken, said = self._child.communicate()
        self._taken += len(taken)
        lines = said.decode(errors="replace").replace(self._url, mask_secrets(self._url)).split("\n")
        return next((mask_secrets(line) for line in reversed(lines) if line.strip()), "")


class _Pipe:
    """What FFmpeg writes to: a pipe whose reader may hang, but not for ever."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        os.set_blocking(descriptor, False)

    def write(self, data: bytes) -> int:
        """Write all of `data`.

        Raises:
            OSError: If the reader is gone, or takes nothing for `WRITE_SECONDS`.
        """
        rest = memoryview(data)
        while rest:
            _, ready, _ = select.select([], [self._descriptor], [], WRITE_SECONDS)
            if not ready:
                raise TimeoutError(0, "it hangs")
            rest = rest[os.write(self._descriptor, rest) :]
        return len(data)
