"""Recordings that a web server holds: what comes by HTTP and has an end."""

from __future__ import annotations

import base64
import io
import urllib.request
from dataclasses import dataclass
from http.client import HTTPException
from typing import BinaryIO, Literal
from urllib.parse import unquote, urlsplit, urlunsplit

import av
from av.container.input import InputContainer

from streamer.errors import SourceError
from streamer.sources.address import Address

OPEN_SECONDS, STALL_SECONDS = 5.0, 3.0  # to connect; without a byte
BLOCK = 64 << 10  # bytes asked for at once
PARTIAL = 206


@dataclass(frozen=True, slots=True)
class Recording:
    """A file that a web server holds; shown without secrets."""

    address: Address

    def __str__(self) -> str:
        return self.address.label

    def open(self, mode: Literal["rb"]) -> BinaryIO:
        """Return its bytes once more, for what FFmpeg does not tell; `mode` as of `Path.open`.

        Raises:
            OSError: If the server does not give them in parts.
        """
        assert mode == "rb"
        return io.BufferedReader(_Ranges(self.address.url), BLOCK)


def is_web(address: Address) -> bool:
    """Return whether what is there may have an end."""
    return address.url.lower().startswith(("http://", "https://"))


def opened(address: Address) -> InputContainer:
    """Return what is at an address of the web; it has a duration if it has an end.

    Raises:
        SourceError: If it cannot be opened.
    """
    (options,) = address.attempts
    try:
        return av.open(
            address.url, options=dict(options), timeout=(OPEN_SECONDS, STALL_SECONDS), metadata_errors="replace"
        )
    except av.FFmpegError as error:  # never its message, which carries the address with its password
        reason = f"{error.strerror or type(error).__name__}; is it there, are address and password right?"
        raise SourceError(f"cannot open {address.label}: {reason}") from error


class _Ranges(io.RawIOBase):
    """A file that a web server gives in parts.

    Raises:
        OSError: If it does not, here or on reading.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        account = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}"
        self._account = base64.b64encode(account.encode()).decode() if parts.username else ""
        self._url = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], fragment=""))
        self._at = 0
        _, self._size = self._part(0, 1)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        return self._at

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]  # of what io hands in
        end = min(self._at + len(buffer), self._size)
        if self._at >= end:
            return 0
        data, _ = self._part(self._at, end)
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)

    def _part(self, start: int, end: int) -> tuple[bytes, int]:
        """Return the bytes from `start` up to `end`, and how many there are in all."""
        request = urllib.request.Request(self._url, headers={"Range": f"bytes={start}-{end - 1}"})
        if self._account:  # for this server alone, not for one that it sends us to
            request.add_unredirected_header("Authorization", f"Basic {self._account}")
        try:
            with urllib.request.urlopen(request, timeout=STALL_SECONDS) as response:
                if response.status != PARTIAL:
                    raise OSError("the server gives no parts")
                return response.read(end - start), int(response.headers["Content-Range"].rpartition("/")[2])
        except (HTTPException, ValueError, TypeError) as error:
            raise OSError(f"the server's answer is none ({type(error).__name__})") from error
