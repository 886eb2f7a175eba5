"""Opens what a run needs: its source, its outputs and its anonymizer."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import typer

from streamer.errors import StreamerError
from streamer.settings import DEFAULT_DELAY, LIVE_DELAY

if TYPE_CHECKING:
    from streamer.audit.log import AuditLog
    from streamer.cli.jobs.job import Job
    from streamer.consent.filter import ConsentContext
    from streamer.pipeline.anonymizer import Anonymizer
    from streamer.sinks.marks.credentials import Credentials
    from streamer.types import Sink, Source, Span, VideoInfo


def open_job_source(job: Job) -> Source:
    """Return the source; a recording that goes to where things are shown as they happen is played at its own pace."""
    from streamer.sinks.outputs import is_live_output
    from streamer.sources.file_source import open_source, parts_of
    from streamer.sources.pacing import Paced

    if job.transport != "auto" and not job.source.lower().startswith("rtsp://"):
        raise typer.BadParameter("only of rtsp://", param_hint="--transport")
    source = open_source(job.source, job.transport, recursive=job.recursive)
    _check_regions(job, source.info)
    if job.preview or job.start or job.end is not None:
        source = parts_of(source, _parts(job, source))
    is_shown = any(map(is_live_output, (job.sink, *job.also)))
    return Paced(source) if (job.realtime or is_shown) and not source.info.is_live else source


def _check_regions(job: Job, info: VideoInfo) -> None:
    """Say at once that a region lies outside the picture; of a folder, each picture that lacks it is covered whole."""
    from streamer.region import misfit, regions_of

    if not job.always or info.names:
        return
    size = (info.width, info.height)
    try:
        reason = misfit(regions_of(job.always), *size, first=size)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--always") from error
    if reason:
        raise typer.BadParameter(reason.removeprefix("always: "), param_hint="--always")


def _parts(job: Job, source: Source) -> tuple[Span, ...]:
    """Return what is taken of a video, or for a preview, where it is looked at."""
    from streamer.sources.excerpts import spread
    from streamer.sources.file_source import VideoSource
    from streamer.types import Span

    if job.end is not None and job.end <= job.start:
        raise typer.BadParameter(f"ends at {job.end:g} s, before --from {job.start:g} s", param_hint="--to")
    if not job.preview:
        return (Span(job.start, job.end),)
    length = source.length_seconds if isinstance(source, VideoSource) else None
    if length is None:
        raise typer.BadParameter("only of a video file that says how long it is", param_hint="--preview")
    end = min(length, length if job.end is None else job.end)
    if end <= job.start:
        raise typer.BadParameter(f"the video ends at {length:.1f} s", param_hint="--from")
    return spread(job.preview, within=Span(job.start, end))


def open_job_sink(job: Job, info: VideoInfo, on_quit: Callable[[], None], audit: AuditLog | None) -> Sink:
    """Return the sink; `on_quit` is called when a preview window is closed."""
    from streamer.sinks.outputs import open_outputs
    from streamer.sources.address import live_address

    is_file = live_address(job.source) is None
    if job.keep_audio and not is_file:
        reason = "only of a file; what is live, or comes over the network, gives no sound"
        raise typer.BadParameter(reason, param_hint="--keep-audio")
    return open_outputs(
        (job.sink, *job.also),
        info,
        source_path=job.source if is_file else None,
        keep_audio=job.keep_audio,
        codec=job.codec,
        crf=job.crf,
        overwrite=job.overwrite,
        mark=job.mark and job.mode == "generate",
        credentials=_credentials(job, audit),
        on_quit=on_quit,
    )


def _credentials(job: Job, audit: AuditLog | None) -> Credentials | None:
    if job.mark_key is None and job.mark_cert is None:
        return None
    if not job.mark:
        raise typer.BadParameter("signs the mark, which --no-mark leaves out", param_hint="--mark-key")
    if job.mark_key is None or job.mark_cert is None:
        raise typer.BadParameter("a key and its certificates belong together", param_hint="--mark-key, --mark-cert")
    from streamer.sinks.marks.credentials import Credentials

    return Credentials(job.mark_key, job.mark_cert, audit_sha256=lambda: audit.last_line_sha256 if audit else "")


def load_anonymizer(job: Job, *, is_live: bool) -> Anonymizer:
    """Return the weights and settings of a job, which may be for what is live."""
    from models.checkpoint_errors import CheckpointError
    from models.privacy import load_key
    from streamer.pipeline.anonymizer import Anonymizer

    try:
        return Anonymizer.load(
            job.model,
            beta=job.beta,
            device=job.device,
            mode=job.mode,
            cover=job.cover,
            key=load_key(job.key) if job.key else None,
            epsilon=job.epsilon,
            delta=job.delta,
            policy=job.policy,
            delay_seconds=_delay_seconds(job, is_live=is_live),
            min_face=job.min_face,
            keeping=_keeping(job),
            always=job.always,
        )
    except CheckpointError as error:
        raise StreamerError(str(error)) from error
    except ValueError as error:  # what typer lets pass, such as a beta that is not a number
        raise typer.BadParameter(str(error)) from error


def _keeping(job: Job) -> ConsentContext | None:
    if job.keep is None:
        return None
    if job.keep_key is None:
        raise typer.BadParameter("a consent list needs its key file", param_hint="--keep-key")
    from models.privacy import load_key
    from streamer.consent.cohort import SHIPPED_COHORT
    from streamer.consent.filter import ConsentContext

    return ConsentContext.load(
        job.keep,
        key=load_key(job.keep_key),
        camera=job.camera,
        recognizer=job.keep_recognizer,
        crowd=job.keep_crowd or SHIPPED_COHORT,
    )


def _delay_seconds(job: Job, *, is_live: bool) -> float:
    if job.delay_ms is not None:
        return job.delay_ms / 1000
    return LIVE_DELAY if is_live else DEFAULT_DELAY
