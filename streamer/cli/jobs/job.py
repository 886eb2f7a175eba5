"""What one run is told to do, as the options of `veil run` say it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import typer

if TYPE_CHECKING:
    from streamer.sources.address import Transport
    from streamer.types import Codec, Cover, Mode, Policy


@dataclass(frozen=True)
class Job:
    """What to run; the fields are the options of `veil run`."""

    source: str
    sink: str
    also: tuple[str, ...] = ()
    beta: float = 0.0
    model: str = "default"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    mode: Mode = "generate"
    cover: Cover = "mosaic"
    keep_audio: bool = False
    overwrite: bool = False
    codec: Codec = "auto"
    crf: int = 21
    key: Path | None = None
    stream: str | None = None
    epsilon: float | None = None
    delta: float = 1e-5
    policy: Policy = "balanced"
    delay_ms: float | None = None
    min_face: float | None = None
    realtime: bool = False
    transport: Transport = "auto"
    start: float = 0.0
    end: float | None = None
    preview: float | None = None
    always: tuple[str, ...] = ()
    mark: bool = True
    mark_key: Path | None = None
    mark_cert: Path | None = None
    keep: Path | None = None
    keep_key: Path | None = None
    camera: str | None = None
    keep_recognizer: str = "identity"
    keep_crowd: Path | None = None
    audit: Path | None = None
    audit_key: Path | None = None
    quiet: bool = False
    recursive: bool = False
    label: str = field(default="", repr=False)  # what the progress bar says of it


def preview_of(job: Job) -> Job:
    """Return the job that writes the preview of `job`, to a file beside its own.

    Raises:
        BadParameter: If it does not write a video file.
    """
    from streamer.sinks.file_sink import VIDEO_SUFFIXES

    sink = Path(job.sink)
    if "://" in job.sink or sink.suffix.lower() not in VIDEO_SUFFIXES:
        raise typer.BadParameter("needs a video file to write", param_hint="--preview")
    name = str(sink.with_name(f"{sink.stem}.preview{sink.suffix}"))
    return replace(job, sink=name, also=(), audit=None, audit_key=None, keep_audio=False, realtime=False)


def seconds_of(text: str | None, option: str) -> float | None:
    """Return the seconds in "90", "1:30" or "0:01:30.5"; None for None.

    Raises:
        BadParameter: If it is none of these; names the option.
    """
    if text is None:
        return None
    parts = text.split(":")
    try:
        numbers = [float(part) for part in parts]
    except ValueError:
        numbers = []
    if not 1 <= len(numbers) <= 3 or any(not 0 <= number < float("inf") for number in numbers):
        raise typer.BadParameter(f"expected seconds, or [H:]M:S, got {text!r}", param_hint=option)
    seconds = 0.0
    for number in numbers:
        seconds = 60 * seconds + number
    return seconds
