"""Opens what a run needs: its source, its outputs and its anonymizer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import typer

from streamer.errors import StreamerError
from streamer.masking import mask_secrets

if TYPE_CHECKING:
    from streamer.audit.log import AuditLog
    from streamer.cli.jobs.job import ConsentOptions, DrawOptions, Job, ReadOptions, WriteOptions
    from streamer.consent.filter import ConsentContext
    from streamer.pipeline.anonymizer import Anonymizer
    from streamer.pipeline.loading import Networks
    from streamer.region import Region
    from streamer.sinks.marks.credentials import Credentials
    from streamer.sound.changed import Heard
    from streamer.sound.voice import Voice
    from streamer.types import Sink, Source, Span, VideoInfo


def open_job_source(job: Job) -> Source:
    """Return the source; a recording that goes to where things are shown as they happen is played at its own pace."""
    from streamer.sinks.outputs import is_live_output
    from streamer.sources.file_source import open_source, parts_of
    from streamer.sources.pacing import Paced

    if job.reading.transport != "auto" and not job.source.lower().startswith("rtsp://"):
        raise typer.BadParameter("only of rtsp://", param_hint="--transport")
    source = open_source(job.source, job.reading.transport, recursive=job.reading.recursive)
    _check_regions(job.drawing.settings.always, source.info)
    if job.reading.preview or job.reading.start or job.reading.end is not None:
        source = parts_of(source, _parts(job.reading, source))
    is_shown = any(map(is_live_output, job.sinks))
    return Paced(source) if (job.reading.realtime or is_shown) and not source.info.is_live else source


def _check_regions(always: tuple[Region, ...], info: VideoInfo) -> None:
    """Say at once that a region lies outside the picture; of a folder, each picture that lacks it is covered whole."""
    from streamer.region import misfit

    size = (info.width, info.height)
    if always and not info.names and (reason := misfit(always, *size, first=size)):
        raise typer.BadParameter(reason.removeprefix("always: "), param_hint="--always")


def _parts(reading: ReadOptions, source: Source) -> tuple[Span, ...]:
    """Return what is taken of a video, or for a preview, where it is looked at."""
    from streamer.sources.excerpts import spread
    from streamer.sources.file_source import VideoSource
    from streamer.types import Span

    start, end = reading.start, reading.end
    if end is not None and end <= start:
        raise typer.BadParameter(f"ends at {end:g} s, before --from {start:g} s", param_hint="--to")
    if not reading.preview:
        return (Span(start, end),)
    length = source.length_seconds if isinstance(source, VideoSource) else None
    if length is None:
        raise typer.BadParameter("only of a video file that says how long it is", param_hint="--preview")
    end = min(length, length if end is None else end)
    if end <= start:
        raise typer.BadParameter(f"the video ends at {length:.1f} s", param_hint="--from")
    return spread(reading.preview, within=Span(start, end))


def open_job_sink(job: Job, source: Source, on_quit: Callable[[], None], audit: AuditLog | None) -> Sink:
    """Return the sink; `on_quit` is called when a preview window is closed."""
    from streamer.sinks.outputs import open_outputs
    from streamer.sources.address import live_address

    writing, is_file = job.writing, live_address(job.source) is None
    if writing.keep_audio and writing.voice:
        raise typer.BadParameter("changes the sound that --keep-audio copies: take one", param_hint="--voice")
    if writing.keep_audio and not is_file:
        reason = "only of a file; of what is live, or comes over the network, --voice keeps the sound in another voice"
        raise typer.BadParameter(reason, param_hint="--keep-audio")
    return open_outputs(
        job.sinks,
        source.info,
        source_path=job.source if is_file else None,
        keep_audio=writing.keep_audio,
        voice=_voice(job.drawing) if writing.voice else None,
        listen=_listening(job, source) if writing.voice and not is_file else None,
        codec=writing.codec,
        crf=writing.crf,
        overwrite=writing.overwrite,
        mark=writing.mark and job.drawing.settings.mode == "generate",
        credentials=_credentials(writing, audit),
        on_quit=on_quit,
    )


def _listening(job: Job, source: Source) -> Callable[[], Heard]:
    """Return what gives the sound of a live source to one output."""
    from streamer.sinks.outputs import has_sound
    from streamer.sources.live import LiveSource

    if not isinstance(source, LiveSource) or not source.audio_streams:
        raise typer.BadParameter(f"{mask_secrets(job.source)} gives no sound", param_hint="--voice")
    if not any(map(has_sound, job.sinks)):
        raise typer.BadParameter(
            f"{' and '.join(map(mask_secrets, job.sinks))} take no sound; `veil serve --voice` sends it by WebRTC",
            param_hint="--voice",
        )
    return lambda: source.listen().until


def _voice(drawing: DrawOptions) -> Voice:
    from streamer.sound.voice import Voice

    return Voice.of(drawing.settings.key, drawing.stream or "")


def _credentials(writing: WriteOptions, audit: AuditLog | None) -> Credentials | None:
    if writing.mark_key is None and writing.mark_cert is None:
        return None
    if not writing.mark:
        raise typer.BadParameter("signs the mark, which --no-mark leaves out", param_hint="--mark-key")
    if writing.mark_key is None or writing.mark_cert is None:
        raise typer.BadParameter("a key and its certificates belong together", param_hint="--mark-key, --mark-cert")
    from streamer.sinks.marks.credentials import Credentials

    return Credentials(
        writing.mark_key, writing.mark_cert, audit_sha256=lambda: audit.last_line_sha256 if audit else ""
    )


def load_anonymizer(job: Job, *, is_live: bool) -> Anonymizer:
    """Return the weights and settings of a job, which may be for what is live."""
    from models.checkpoint_errors import CheckpointError
    from streamer.pipeline.anonymizer import Anonymizer
    from streamer.pipeline.loading import without_collecting

    drawing, settings = job.drawing, job.drawing.settings
    if is_live:
        settings = replace(settings, delay_seconds=drawing.live_delay_seconds)
    try:
        with without_collecting():
            keeping = _consent_context(job.consent)
            return Anonymizer.load_with(settings, drawing.model, device=drawing.device, keeping=keeping)
    except CheckpointError as error:
        raise StreamerError(str(error)) from error
    except ValueError as error:  # such as weights that epsilon cannot be asked of
        raise typer.BadParameter(str(error)) from error


def begin_loading(job: Job) -> Anonymizer:
    """Return the settings of a job whose source is a video, and its weights, which load while it is searched.

    What that fails of is raised by whatever needs the weights, before the first frame is rendered.
    """
    from streamer.pipeline.anonymizer import Anonymizer

    drawing = job.drawing
    if drawing.settings.mode == "cover" or drawing.settings.epsilon is not None or job.consent.consents is not None:
        return load_anonymizer(job, is_live=False)  # nothing to load, or what else depends on it
    return Anonymizer.begin_loading(drawing.settings, lambda: _networks(drawing))


def _networks(drawing: DrawOptions) -> Networks:
    from models.checkpoint_errors import CheckpointError
    from streamer.pipeline.loading import load_networks, without_collecting

    try:
        with without_collecting():
            return load_networks(drawing.model, drawing.device)
    except CheckpointError as error:
        raise StreamerError(str(error)) from error


def _consent_context(options: ConsentOptions) -> ConsentContext | None:
    if options.consents is None:
        return None
    if options.key is None:
        raise typer.BadParameter("a consent list needs its key file", param_hint="--keep-key")
    from models.privacy import load_key
    from streamer.consent.cohort import SHIPPED_COHORT
    from streamer.consent.filter import ConsentContext

    return ConsentContext.load(
        options.consents,
        key=load_key(options.key),
        camera=options.camera,
        recognizer=options.recognizer,
        crowd=options.crowd or SHIPPED_COHORT,
    )
