"""What a user names as a live source: an address of the network, a camera, a screen. Knows how FFmpeg calls them."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import parse_qsl

from streamer.errors import SourceError
from streamer.masking import encoding_advice, mask_secrets

# What FFmpeg may open on behalf of an address: never a file, never another protocol that a playlist names.
PROTOCOLS = {
    "rtsp": "rtsp,rtp,tcp,udp",
    "rtsps": "rtsps,rtsp,rtp,tls,tcp,udp",
    "rtmp": "rtmp,tcp",
    "rtmps": "rtmps,rtmp,tls,tcp",
    "http": "http,https,httpproxy,tls,tcp,crypto",
    "https": "http,https,httpproxy,tls,tcp,crypto",
    "udp": "udp",
    "srt": "srt",
}
FORMATS = {"linux": "video4linux2,v4l2", "darwin": "avfoundation", "win32": "dshow"}  # of cameras, by platform
# How much is looked at before the first picture: microseconds, bytes. What was looked at is kept, because it holds the
# first key frame, and some cameras send the next one 40 s later.
SOON = {"analyzeduration": "1000000", "probesize": "1000000"}
Transport = Literal["auto", "tcp", "udp"]
TRANSPORTS: dict[Transport, dict[str, str]] = {  # of RTSP; over UDP what gets lost smears
    "auto": {"rtsp_transport": "tcp+udp", "rtsp_flags": "prefer_tcp"},  # UDP where the server refuses TCP
    "tcp": {"rtsp_transport": "tcp"},
    "udp": {"rtsp_transport": "udp"},
}
CAMERA_SETTINGS = {"size": "video_size", "fps": "framerate"}
URL = re.compile(r"(\w\w+)://", re.ASCII)


@dataclass(frozen=True, slots=True)
class Address:
    """Where frames come from as they happen.

    Attributes:
        label: As it may be shown: without user and password.
        url, format: FFmpeg's; format None lets it see for itself.
        attempts: Options to try in this order, until one set opens.
    """

    label: str
    url: str
    format: str | None
    attempts: tuple[Mapping[str, str], ...]

    def __repr__(self) -> str:
        return f"Address({self.label!r})"


def live_address(text: str, transport: Transport = "auto") -> Address | None:
    """Return the address that `text` names, or None for a path.

    "0" and "camera:0" are the first camera, "camera:NAME" is one by name, "screen:" is what the screen shows; a camera
    takes "?size=1280x720&fps=30". Schemes: those of `PROTOCOLS`; `transport` counts for rtsp:// alone.

    Raises:
        SourceError: If there is no such camera, or the scheme is none of those.
    """
    name, _, settings = text.partition("?")
    if name.isdigit() or name.startswith(("camera:", "/dev/video")):
        return _camera(name.removeprefix("camera:"), _settings(settings))
    if name.startswith("screen:"):
        return _screen(name.removeprefix("screen:"), _settings(settings))
    found = URL.match(text)
    return _network(text, found[1].lower(), transport) if found else None


def _network(url: str, scheme: str, transport: Transport) -> Address:
    label = mask_secrets(url)
    if advice := encoding_advice(url):
        raise SourceError(f"cannot open {label}: {advice}")
    if scheme not in PROTOCOLS:
        raise SourceError(f"cannot open {label}: {scheme} is none of {', '.join(PROTOCOLS)}")
    options = SOON | {"protocol_whitelist": PROTOCOLS[scheme]}
    if scheme in ("rtsp", "rtsps"):
        options |= TRANSPORTS[transport if scheme == "rtsp" else "tcp"]  # what goes over UDP is not encrypted
    return Address(label, url, None, (options,))


def _camera(name: str, settings: dict[str, str]) -> Address:
    kind = FORMATS.get(sys.platform)
    if kind is None:
        raise SourceError(f"cannot open camera {name}: no cameras are known on {sys.platform}")
    fast = {"framerate": "30"} | settings
    # Raw pictures fill the bus of a USB camera: at 720p often 10 a second, where MJPEG gives 30.
    squeezed = {"vcodec" if sys.platform == "win32" else "input_format": "mjpeg"} | fast
    attempts = (fast, settings) if sys.platform == "darwin" else (squeezed, fast, settings)
    return Address(f"camera {name}", _camera_url(name), kind, attempts)


def _camera_url(name: str) -> str:
    if sys.platform == "win32":
        return f"video={name}"
    if sys.platform == "darwin":
        return f"{name}:none"
    if name.startswith("/dev/"):
        return name
    return f"/dev/video{name}" if name.isdigit() else _device_named(name, Path("/sys/class/video4linux"))


def _device_named(name: str, devices: Path) -> str:
    known = {file.read_text().strip(): file.parent.name for file in sorted(devices.glob("*/name"), reverse=True)}
    matching = [device for said, device in known.items() if name.lower() in said.lower()]
    if not matching:
        raise SourceError(f"no camera is called {name}; there are: {', '.join(known) or 'none'}")
    return f"/dev/{matching[-1]}"


def _screen(name: str, settings: dict[str, str]) -> Address:
    kinds = {
        "linux": ("x11grab", name or ":0"), "darwin": ("avfoundation", f"{name or 'Capture screen 0'}:none"),
        "win32": ("gdigrab", name or "desktop"),
    }  # fmt: skip
    if sys.platform not in kinds:
        raise SourceError(f"cannot open the screen: none is known on {sys.platform}")
    kind, url = kinds[sys.platform]
    return Address(f"screen {name}".strip(), url, kind, ({"framerate": "30"} | settings,))


def _settings(query: str) -> dict[str, str]:
    """Return FFmpeg's options for "size=640x480&fps=30"."""
    given = dict(parse_qsl(query))
    if unknown := set(given) - set(CAMERA_SETTINGS):
        raise SourceError(f"a camera has no setting {', '.join(sorted(unknown))}; known: {', '.join(CAMERA_SETTINGS)}")
    return {CAMERA_SETTINGS[name]: value for name, value in given.items()}
