"""Real servers of streams for tests: GStreamer's RTSP server in the system's Python, and FFmpeg's that takes one."""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.end_to_end.patience import PATIENCE_SECONDS

SCRIPT = Path(__file__).with_name("gstreamer_server.py")
SYSTEM_PYTHON = "/usr/bin/python3"
IMPORTS = "import gi; gi.require_version('GstRtspServer', '1.0'); from gi.repository import GstRtspServer"


def _has_gstreamer() -> bool:
    asked = [SYSTEM_PYTHON, "-c", IMPORTS]
    return Path(SYSTEM_PYTHON).exists() and not subprocess.run(asked, capture_output=True, check=False).returncode


needs_rtsp_server = pytest.mark.skipif(
    not _has_gstreamer(), reason="needs an RTSP server (Debian: gir1.2-gst-rtsp-server-1.0 python3-gi)"
)
needs_ffmpeg = pytest.mark.skipif(not shutil.which("ffmpeg"), reason="needs ffmpeg (Debian: ffmpeg)")


def free_port() -> int:
    """Return a port that is free and stays so: below those that systems give to whoever asks for any."""
    while True:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as one, suppress(OSError):
            one.bind(("127.0.0.1", port))
            return port


class RtspServer:
    """Serves a clip in a loop, or with clip "" takes what is published; by a process that can be killed."""

    def __init__(self, clip: str, account: tuple[str, ...], protocol: str) -> None:
        self.port, self._clip, self._account, self._protocol = free_port(), clip, account, protocol
        self.url = f"rtsp://127.0.0.1:{self.port}/cam"
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        command = [SYSTEM_PYTHON, str(SCRIPT), str(self.port), self._protocol, self._clip, *self._account]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"

    def send(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


@contextmanager
def rtsp_server(clip: str, *account: str, protocol: str = "any") -> Iterator[RtspServer]:
    server = RtspServer(clip, account, protocol)
    server.start()
    try:
        yield server
    finally:
        server.kill()


def is_listened_at(port: int) -> bool:
    """Return whether a server listens there already, without a call: FFmpeg takes one alone."""
    sockets = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return any(local.endswith(f":{port:04X}") and state == "0A" for _, local, _, state, *_ in sockets)


@contextmanager
def ffmpeg_listening(out: Path) -> Iterator[str]:
    """Yield the address of an FFmpeg that takes one stream and writes it to `out`."""
    port = free_port()
    url = f"rtsp://127.0.0.1:{port}/hub"
    command = ["ffmpeg", "-v", "error", "-y", "-rtsp_flags", "listen", "-i", url, "-c", "copy", str(out)]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=os.environ)
    try:
        while not is_listened_at(port):
            assert process.poll() is None, "FFmpeg ended"
            time.sleep(0.05)
        yield url
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
