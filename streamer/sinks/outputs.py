"""Opens what a run writes to: files, pictures, servers, a window, a virtual camera, or several of them at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from streamer.errors import SinkError
from streamer.masking import encoding_advice, mask_secrets
from streamer.sinks.display import PreviewWindow, VirtualCamera
from streamer.sinks.fanout import Fanout
from streamer.sinks.file_sink import open_sink
from streamer.sinks.rtsp import MUXERS, Publisher, publishes_to
from streamer.sound.changed import Heard
from streamer.sound.voice import Voice
from streamer.sources.address import URL
from streamer.types import Codec, Sink, VideoInfo

if TYPE_CHECKING:
    from streamer.sinks.marks.credentials import Credentials

PREVIEW, CAMERA, WHIP = "preview:", "virtual-camera:", "whip:"


def open_outputs(
    targets: Sequence[str],
    info: VideoInfo,
    *,
    source_path: str | Path | None,
    keep_audio: bool,
    voice: Voice | None,
    listen: Callable[[], Heard] | None = None,
    codec: Codec,
    crf: int,
    overwrite: bool,
    mark: bool,
    credentials: Credentials | None,
    on_quit: Callable[[], None],
) -> Sink:
    """Return the sink that writes to all of `targets`: paths, addresses, "preview:" and "virtual-camera:".

    Args:
        info: Of the source.
        source_path, keep_audio, voice, codec, crf, overwrite, mark, credentials: See
            `streamer.sinks.file_sink.open_sink`.
        listen: Of a live source, returns its sound for one of them, as of `streamer.sound.changed.LiveSound`.
        on_quit: Called when a preview window is closed.

    Raises:
        SinkError: If one of them cannot be written.
    """
    windows = [PreviewWindow(on_quit) for target in targets if target == PREVIEW]
    sinks: list[tuple[str, Sink]] = []
    for target in (target for target in targets if target != PREVIEW):
        heard = listen() if listen and has_sound(target) else None
        sink = _open_streaming(target, info, crf=crf, voice=voice, heard=heard) or open_sink(
            target, info,
            source_path=source_path, keep_audio=keep_audio, voice=voice, heard=heard, codec=codec, crf=crf,
            overwrite=overwrite, mark=mark, credentials=credentials,
        )  # fmt: skip
        sinks.append((mask_secrets(target), sink))
    if len(targets) == 1 and sinks and not info.is_live:
        return sinks[0][1]  # the ordinary case needs no thread
    return Fanout(sinks, windows=windows, is_live=info.is_live)


def is_live_output(target: str) -> bool:
    """Return whether `target` shows what happens now, so that frames must come at their own pace."""
    return target == PREVIEW or target.startswith((CAMERA, WHIP)) or publishes_to(target)


def has_sound(target: str) -> bool:
    """Return whether `target` takes the sound of what is live."""
    return target != PREVIEW and not target.startswith((CAMERA, WHIP))


def _open_streaming(target: str, info: VideoInfo, *, crf: int, voice: Voice | None, heard: Heard | None) -> Sink | None:
    if target.startswith(CAMERA):
        return VirtualCamera(target.removeprefix(CAMERA), info)
    if (URL.match(target) or target.startswith(WHIP)) and (advice := encoding_advice(target)):
        raise SinkError(f"cannot publish to {mask_secrets(target)}: {advice}")
    if target.startswith(WHIP):
        from streamer.sinks.whip import WhipPublisher  # aiortc takes half a second to load

        return WhipPublisher(target)
    if publishes_to(target):
        return Publisher(target, info, crf=crf, voice=voice, heard=heard)
    if URL.match(target):
        raise SinkError(f"cannot publish to {mask_secrets(target)}: expected {', '.join(MUXERS)}")
    return None
