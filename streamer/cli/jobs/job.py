"""What one run is told to do, in the groups in which `veil run` says it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import typer

from streamer.settings import LIVE_DELAY, Settings

if TYPE_CHECKING:
    from streamer.sources.address import Transport
    from streamer.types import Codec


DEFAULT = Settings()


@dataclass(frozen=True)
class ReadOptions:
    """How the source is read, and what of it.

    Attributes:
        transport: Of `rtsp://`.
        realtime: Whether a recording is played at its own pace.
        recursive: Whether of a folder what is in its folders is read, too.
        start, end: Seconds; `end` None for the end of the recording.
        preview: So many seconds from three places are all that is taken; None for everything.
    """

    transport: Transport = "auto"
    realtime: bool = False
    recursive: bool = False
    start: float = 0.0
    end: float | None = None
    preview: float | None = None


@dataclass(frozen=True)
class DrawOptions:
    """What is done to faces, and with what.

    Attributes:
        settings: Of a recording.
        live_delay_seconds: `settings.delay_seconds` of what is live.
        model: A name that `veil doctor` lists, or a file.
        device: Where the networks run.
        stream: By what name strangers are drawn (`Anonymizer.frames`).
    """

    settings: Settings = DEFAULT
    live_delay_seconds: float = LIVE_DELAY
    model: str = "default"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    stream: str | None = None


@dataclass(frozen=True)
class WriteOptions:
    """How the outputs are written: as `streamer.sinks.outputs.open_outputs` has it.

    Attributes:
        voice: Whether sound is kept, in the voice that follows from key and stream.
        mark: Whether what is drawn is marked as generated; signed where both `mark_key` and `mark_cert` are there.
    """

    keep_audio: bool = False
    voice: bool = False
    overwrite: bool = False
    codec: Codec = "auto"
    crf: int = 21
    mark: bool = True
    mark_key: Path | None = None
    mark_cert: Path | None = None


@dataclass(frozen=True)
class ConsentOptions:
    """Who stays visible: as `streamer.consent.filter.ConsentContext.load` has it; nobody without a list."""

    consents: Path | None = None
    key: Path | None = None
    camera: str | None = None
    recognizer: str = "identity"
    crowd: Path | None = None


@dataclass(frozen=True)
class AuditOptions:
    """Where what was done is logged, and the key that the log is signed with; no log without a place."""

    log: Path | None = None
    key: Path | None = None


@dataclass(frozen=True)
class Job:
    """What to run: from where to where, and how.

    Attributes:
        sink, also: The outputs.
        quiet: Whether no progress is shown.
        label: What the progress bar says of it.
    """

    source: str
    sink: str
    also: tuple[str, ...] = ()
    reading: ReadOptions = ReadOptions()
    drawing: DrawOptions = DrawOptions()
    writing: WriteOptions = WriteOptions()
    consent: ConsentOptions = ConsentOptions()
    auditing: AuditOptions = AuditOptions()
    quiet: bool = False
    label: str = field(default="", repr=False)

    @property
    def sinks(self) -> tuple[str, ...]:
        """All outputs."""
        return (self.sink, *self.also)

    @property
    def sound(self) -> Literal["dropped", "copied", "another voice"]:
        """What becomes of it."""
        return "another voice" if self.writing.voice else "copied" if self.writing.keep_audio else "dropped"


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
    reading = replace(job.reading, realtime=False)
    writing = replace(job.writing, keep_audio=False, voice=False)
    return replace(job, sink=name, also=(), reading=reading, writing=writing, auditing=AuditOptions())
