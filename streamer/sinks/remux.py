"""A process that passes packets on to the network: a script that imports nothing of ours, video in NUT on its input.

For each packet of video that the other side took it writes a byte to its output.

A process of its own, because FFmpeg keeps Python from running while it connects to a server, for seconds or for ever.
The first line of the input is JSON: url, format, options. The url is not an argument, as those show in lists of
processes and may hold a password.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from typing import Any, BinaryIO

import av
from av.container.input import InputContainer

AT_ONCE = {"probesize": "4096", "analyzeduration": "0"}


def main() -> int:
    """Pass on what comes until it ends; print one line without the url on failure."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the end comes through the pipe
    pipe = open(0, "rb", buffering=0)  # noqa: SIM115 - buffered reads would wait until their buffer is full
    order = json.loads(_line(pipe))
    try:
        with av.open(pipe, "r", format="nut", options=AT_ONCE) as source:
            _pass_on(source, order)
    except (av.FFmpegError, OSError) as error:
        sys.stderr.write(f"{error.strerror or type(error).__name__}\n")
        return 1
    return 0


def _pass_on(source: InputContainer, order: dict[str, Any]) -> None:
    with av.open(order["url"], "w", format=order["format"], options=order["options"]) as target:
        streams = [target.add_stream_from_template(stream) for stream in source.streams]
        for packet in source.demux():
            if packet.size:
                packet.stream = streams[packet.stream_index]
                target.mux(packet)
                if packet.stream.type == "video":
                    os.write(1, b".")


def _line(pipe: BinaryIO) -> bytes:
    line = b""
    while not line.endswith(b"\n"):
        if not (byte := pipe.read(1)):
            raise EOFError
        line += byte
    return line


if __name__ == "__main__":
    sys.exit(main())
