"""`veil run`: builds what its options ask for, loops and reports. torch, av, cv2 and mediapipe load only then."""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from streamer.audit.run_log import guard_figures, open_audit
from streamer.cli.failures import (
    EXIT_INTERRUPTED,
    end_if_interrupted,
    errors_in_one_line,
    fail,
    interrupt,
    tell,
)
from streamer.cli.jobs.job import (
    DEFAULT,
    AuditOptions,
    ConsentOptions,
    DrawOptions,
    Job,
    ReadOptions,
    WriteOptions,
    preview_of,
)
from streamer.cli.jobs.opening import begin_loading, load_anonymizer, open_job_sink, open_job_source
from streamer.cli.jobs.values import always_of, key_of, seconds_of, wrong_usage
from streamer.cores import share_cores
from streamer.errors import SinkError, SourceError, one_line_of
from streamer.masking import mask_secrets
from streamer.settings import DEFAULT_DELAY, LEAST_FACE, LIVE_DELAY, MAX_FACE, Settings

if TYPE_CHECKING:
    from streamer.batch.inputs import FilePair
    from streamer.cli.progress import BatchReport, Report, Summary
    from streamer.pipeline.anonymizer import Anonymizer
    from streamer.sinks.delivery import Delivery
    from streamer.types import SafeFrame, Sink, Source

log = logging.getLogger(__name__)


def run(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE...",
            help="Videos, pictures, folders of them; or one that is live: 0, camera:NAME, screen:, a URL.",
        ),
    ],
    sink: Annotated[
        str,
        typer.Argument(metavar="SINK", help="A file, a folder, a URL to publish to, preview: or virtual-camera:."),
    ],
    also: Annotated[
        list[str] | None, typer.Option(metavar="SINK", help="Write to this too; can be repeated.", show_default=False)
    ] = None,
    beta: Annotated[float, typer.Option(min=0, max=1, help="0: most private; 1: most like the person.")] = DEFAULT.beta,
    model: Annotated[
        str, typer.Option(help="Weights: a name that `veil doctor` lists, or a file.")
    ] = DrawOptions.model,
    device: Annotated[
        Literal["auto", "cpu", "cuda"], typer.Option(help="Where the network runs.")
    ] = DrawOptions.device,
    mode: Annotated[
        Literal["generate", "cover"], typer.Option(help="Draw synthetic faces, or only cover: fast.")
    ] = DEFAULT.mode,
    cover: Annotated[
        Literal["solid", "mosaic"], typer.Option(help="What lies under a drawn face, and shows where none is.")
    ] = DEFAULT.cover,
    keep_audio: Annotated[bool, typer.Option("--keep-audio", help="Copy the sound. A voice identifies.")] = False,
    voice: Annotated[bool, typer.Option("--voice", help="Keep the sound, in another voice: not anonymous.")] = False,
    recursive: Annotated[bool, typer.Option("--recursive", help="Of a folder, what is in its folders too.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace SINK if it exists.")] = False,
    codec: Annotated[
        Literal["auto", "h264", "hevc", "vp9", "av1"], typer.Option(help="Of a video; auto: vp9 in webm, else h264.")
    ] = WriteOptions.codec,
    crf: Annotated[int, typer.Option(min=0, max=51, help="Quality: 18 is very good, 28 is small.")] = WriteOptions.crf,
    key: Annotated[
        Path | None, typer.Option(help="A file of 32 random bytes: the same key, the same strangers.")
    ] = None,
    stream: Annotated[
        str | None, typer.Option(metavar="NAME", help="Of what is filmed: another name, other strangers.")
    ] = DrawOptions.stream,
    epsilon: Annotated[
        float | None, typer.Option(help="Differential privacy of who becomes whom, per track.", show_default=False)
    ] = DEFAULT.epsilon,
    delta: Annotated[float, typer.Option(help="With what chance that may fail.")] = DEFAULT.delta,
    policy: Annotated[
        Literal["balanced", "strict"],
        typer.Option(help="strict: cover also what may be a face, and new scenes until a face is found."),
    ] = DEFAULT.policy,
    delay_ms: Annotated[
        float | None,
        typer.Option(
            min=0, max=10_000, show_default="500; 100 live", help="Look ahead, to cover a face before it is found."
        ),
    ] = None,
    min_face: Annotated[
        float | None,
        typer.Option(
            min=LEAST_FACE, max=MAX_FACE, show_default="20; 30 in video", help="Pixels: look everywhere for such faces."
        ),
    ] = DEFAULT.min_face,
    realtime: Annotated[bool, typer.Option("--realtime", help="Play SOURCE at its own pace, as if live.")] = False,
    transport: Annotated[
        Literal["auto", "tcp", "udp"], typer.Option(help="Of rtsp://; auto: UDP where the server refuses TCP.")
    ] = ReadOptions.transport,
    start: Annotated[
        str | None, typer.Option("--from", metavar="TIME", help="Begin at 90, 1:30 or 0:01:30.5.", show_default=False)
    ] = None,
    end: Annotated[str | None, typer.Option("--to", metavar="TIME", help="End there.", show_default=False)] = None,
    preview: Annotated[
        float | None,
        typer.Option(min=0.5, max=60, metavar="SECONDS", help="First so long from three places, to a file by SINK."),
    ] = ReadOptions.preview,
    always: Annotated[
        list[str] | None,
        typer.Option(metavar="X,Y,W,H", help="Cover this, too, in every frame: pixels, or all in %; can be repeated."),
    ] = None,
    expression: Annotated[
        float, typer.Option(min=0, max=1, help="Less: faces move less and slower, for movement identifies.")
    ] = DEFAULT.expression,
    no_mark: Annotated[
        bool, typer.Option("--no-mark", help="Do not say in the file that its faces were generated.")
    ] = False,
    mark_key: Annotated[
        Path | None, typer.Option(metavar="PEM", help="Sign it, with a C2PA manifest, by this key", show_default=False)
    ] = WriteOptions.mark_key,
    mark_cert: Annotated[
        Path | None, typer.Option(metavar="PEM", help="and this certificate with its chain.", show_default=False)
    ] = WriteOptions.mark_cert,
    keep: Annotated[
        Path | None, typer.Option(metavar="LIST", help="Who agreed to stay visible: `veil consent` makes the list.")
    ] = ConsentOptions.consents,
    keep_key: Annotated[Path | None, typer.Option(help="The key file of that list.")] = ConsentOptions.key,
    camera: Annotated[
        str | None, typer.Option(help="What is filmed with, as the list names it.")
    ] = ConsentOptions.camera,
    keep_recognizer: Annotated[str, typer.Option(help="What the list was made with.")] = ConsentOptions.recognizer,
    keep_crowd: Annotated[
        Path | None, typer.Option(help="Strangers, by that recogniser: `veil consent crowd`.", show_default=False)
    ] = ConsentOptions.crowd,
    audit: Annotated[
        Path | None, typer.Option(metavar="LOG", help="Write what was done, per second and without pictures.")
    ] = AuditOptions.log,
    audit_key: Annotated[
        Path | None, typer.Option(metavar="PEM", help="Sign the log with it: `veil audit-key` makes one.")
    ] = AuditOptions.key,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object and no progress.")] = False,
) -> None:
    """Replace every face of SOURCE and write the result to SINK; of several, each to a file in the folder SINK."""
    with errors_in_one_line():
        delay = DEFAULT_DELAY if delay_ms is None else delay_ms / 1000
        key_bytes, regions = key_of(key, "--key"), always_of(always or ())
        with wrong_usage():
            settings = Settings(
                beta, mode, cover, key_bytes, epsilon, delta, policy, delay, min_face, regions, expression
            )
        live_delay = LIVE_DELAY if delay_ms is None else delay
        job = Job(
            sources[0],
            sink,
            tuple(also or ()),
            ReadOptions(
                transport, realtime, recursive, seconds_of(start, "--from") or 0.0, seconds_of(end, "--to"), preview
            ),
            DrawOptions(settings, live_delay, model, device, stream),
            WriteOptions(keep_audio, voice, overwrite, codec, crf, not no_mark, mark_key, mark_cert),
            ConsentOptions(keep, keep_key, camera, keep_recognizer, keep_crowd),
            AuditOptions(audit, audit_key),
            quiet=as_json,
        )
        pairs = _pairs(sources, job)
        if preview and not _goes_on_after_preview(job):
            return
        _tell(anonymize_many(job, pairs) if pairs else anonymize(job), as_json=as_json)


def _goes_on_after_preview(job: Job) -> bool:
    """Write the preview of a job, and return whether the whole of it is wanted then; nobody to ask wants it not."""
    preview = preview_of(job)
    _tell(anonymize(preview), as_json=job.quiet)
    if not job.quiet and _is_somebody_there():
        return typer.confirm(f"Look at {preview.sink}. Go on with all of it?")
    log.info("%s is a preview; the same command without --preview does all of it", preview.sink)
    return False


def _is_somebody_there() -> bool:
    return sys.stdin.isatty()


def _tell(report: Report | BatchReport, *, as_json: bool) -> None:
    tell(json.dumps(report.as_dict()) if as_json else "\n".join(report.lines()))
    if report.failure:
        raise SinkError(report.failure)


def _pairs(sources: list[str], job: Job) -> list[FilePair]:
    """Return the files of a run of many, or nothing if one source, such as a folder of pictures, is all there is."""
    if len(sources) == 1 and not Path(sources[0]).is_dir():
        return []
    from streamer.batch.inputs import holds_videos, pairs_of

    if len(sources) == 1 and not holds_videos(Path(sources[0]), recursive=job.reading.recursive):
        return []
    part = job.reading
    single = {"--also": job.also, "--audit": job.auditing.log, "--from": part.start, "--to": part.end}
    single["--preview"] = part.preview
    for option, value in single.items():
        if value:
            raise typer.BadParameter("takes one source; run them one by one", param_hint=option)
    return pairs_of(sources, job.sink, recursive=job.reading.recursive, with_sound=job.writing.keep_audio)


def anonymize_many(job: Job, pairs: list[FilePair]) -> BatchReport:
    """Do one job a file, with weights that are loaded once; a file that fails is said and does not stop the others."""
    from streamer.batch.inputs import output_folders
    from streamer.cli.progress import BatchReport

    report = BatchReport(mask_secrets(job.sink), len(pairs))
    share_cores()
    try:
        with output_folders(pairs), load_anonymizer(job, is_live=job.reading.realtime) as anonymizer:
            for number, pair in enumerate(pairs, 1):
                label = f"{number}/{len(pairs)} {pair.source.name}"
                _add(report, replace(job, source=str(pair.source), sink=str(pair.sink), label=label), anonymizer)
    except KeyboardInterrupt:
        fail(f"interrupted; {len(report.reports)} of {len(pairs)} files were written", EXIT_INTERRUPTED)
    return report


def _add(report: BatchReport, job: Job, anonymizer: Anonymizer) -> None:
    try:
        report.reports.append(anonymize(job, anonymizer))
    except (typer.BadParameter, typer.Exit):
        raise
    except Exception as error:
        end_if_interrupted()
        reason = one_line_of(error)
        report.failures[job.source] = reason
        log.warning("%s", reason if Path(job.source).name in reason else f"{job.source}: {reason}")


def anonymize(job: Job, loaded: Anonymizer | None = None) -> Report:
    """Do the whole job; on any exception no output is left behind.

    Of several outputs some may be lost without one: the report tells which.

    Args:
        loaded: Weights and settings of `job`, where they are loaded already.
    """
    from streamer.cli.progress import Report, Summary
    from streamer.sinks.fanout import LostOutputError

    share_cores()
    summary = Summary()
    with open_job_source(job) as source:
        # Before the weights: a wrong path is said at once.
        with (
            suppress(LostOutputError),
            open_audit(job) as audit,
            open_job_sink(job, source, interrupt, audit) as sink,
        ):
            anonymizer = loaded or _loading(job, source)
            start = time.perf_counter()
            with _ending_well(source), closing(_watched(source, anonymizer, summary, job=job)) as frames:
                for frame in frames:
                    if audit:  # before it is written, so that nothing is that was not counted
                        audit.add(frame, dropped=summary.missed_before(frame), guard=guard_figures(frame))
                    sink.write(frame)
        seconds = time.perf_counter() - start
        return Report(
            mask_secrets(job.source),
            ", ".join(map(mask_secrets, job.sinks)),
            str(anonymizer.device or "cpu"),
            summary,
            seconds,
            source.corrupt_packets,
            source.audio_streams,
            None if job.sound == "dropped" else sink.audio_packets,
            audio_failures=sink.audio_failures,
            has_other_voice=job.writing.voice,
            unrelated=bool(source.info.names),
            privacy=anonymizer.privacy,
            notes=(*source.info.notes, *_said(anonymizer.settings)),
            deliveries=_deliveries(job, sink, summary),
            searched=anonymizer.search.report(unrelated=bool(source.info.names)),
        )


def _loading(job: Job, source: Source) -> Anonymizer:
    """Return the weights and settings of a job, loaded; those of a video load while it is searched."""
    if source.info.is_live or source.info.names:
        return load_anonymizer(job, is_live=source.info.is_live)
    return begin_loading(job)


def _said(settings: Settings) -> list[str]:
    """Return in words what was done to every frame, whatever was found in it."""
    count = len(settings.always)
    return [f"{count} {'region' if count == 1 else 'regions'} covered in every frame"] if count else []


def _deliveries(job: Job, sink: Sink, summary: Summary) -> tuple[Delivery, ...]:
    from streamer.sinks.delivery import Delivery
    from streamer.sinks.fanout import Fanout

    if isinstance(sink, Fanout):
        return sink.deliveries
    return (Delivery(mask_secrets(job.sink), "done", summary.frames),)


@contextmanager
def _ending_well(source: Source) -> Iterator[None]:
    """Let a live stream end with a signal or the loss of its source, so that what was recorded until then is kept.

    A recording that is played as if it were live ends so with a signal alone: it is there to be read again.
    """
    from streamer.sources.pacing import Paced

    try:
        yield
    except KeyboardInterrupt:
        if not source.info.is_live:
            raise
    except SourceError as error:
        if not source.info.is_live or isinstance(source, Paced):
            raise
        log.warning("%s", error)


def _watched(source: Source, anonymizer: Anonymizer, summary: Summary, *, job: Job) -> Generator[SafeFrame]:
    """Yield the safe frames; each is counted and shown in a bar once it has been dealt with."""
    from rich.console import Console

    from streamer.cli.progress import ProgressBar
    from streamer.pipeline.runner import protect

    console = Console(stderr=True, quiet=job.quiet)
    safe = protect(source, anonymizer, stream=job.drawing.stream)
    with ProgressBar(source.info, console, job.label) as bar, closing(safe) as frames:
        for frame in frames:
            yield frame
            summary.add(frame)
            bar.update(summary)
            end_if_interrupted()
