"""The `veil` command: parses, builds, loops and reports. torch, av, cv2 and mediapipe load only once work begins."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

import streamer
from streamer import cli_audit, cli_consent, cli_evaluate, cli_models, cli_train
from streamer.cli_errors import EXIT_WORLD, end_if_interrupted, errors_in_one_line, interrupt
from streamer.errors import StreamerError
from streamer.settings import DEFAULT_DELAY, LIVE_DELAY

if TYPE_CHECKING:
    from streamer.audit import AuditLog, GuardFigures
    from streamer.doctor import Finding
    from streamer.keep import Keeping
    from streamer.pipeline import Anonymizer
    from streamer.progress import Report, Summary
    from streamer.sinks import FolderSink, PictureSink, VideoSink
    from streamer.types import Codec, Cover, Mode, Policy, SafeFrame, Source, VideoInfo

app = typer.Typer(
    name="veil",
    help="Replaces every face of a video by a synthetic one. What cannot be made anonymous is not written.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,  # they print local variables, and those hold pictures
)


@dataclass(frozen=True)
class Job:
    """What to run; the fields are the options of `veil run`."""

    source: str
    sink: str
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
    epsilon: float | None = None
    delta: float = 1e-5
    policy: Policy = "balanced"
    delay_ms: float | None = None
    realtime: bool = False
    keep: Path | None = None
    keep_key: Path | None = None
    camera: str | None = None
    keep_recognizer: str = "identity"
    keep_crowd: Path | None = None
    audit: Path | None = None
    audit_key: Path | None = None
    quiet: bool = False


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"veil {streamer.__version__}")
        raise typer.Exit


@app.callback()
def veil(
    version: Annotated[bool, typer.Option("--version", callback=_print_version, is_eager=True)] = False,
) -> None:
    """Replaces every face of a video by a synthetic one. What cannot be made anonymous is not written."""


@app.command()
def run(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="A video, a picture, or a folder of pictures.")],
    sink: Annotated[str, typer.Argument(metavar="SINK", help="Where to write: a file, or a folder for a folder.")],
    beta: Annotated[float, typer.Option(min=0, max=1, help="0 is most private, 1 most like the person.")] = Job.beta,
    model: Annotated[str, typer.Option(help="Weights: a name that `veil doctor` lists, or a file.")] = Job.model,
    device: Annotated[Literal["auto", "cpu", "cuda"], typer.Option(help="Where the network runs.")] = Job.device,
    mode: Annotated[
        Literal["generate", "cover"], typer.Option(help="Draw synthetic faces, or only cover: fast.")
    ] = Job.mode,
    cover: Annotated[
        Literal["solid", "mosaic"], typer.Option(help="What lies under a drawn face, and shows where none is.")
    ] = Job.cover,
    keep_audio: Annotated[bool, typer.Option("--keep-audio", help="Copy the sound. A voice identifies.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace SINK if it exists.")] = False,
    codec: Annotated[
        Literal["auto", "h264", "hevc", "vp9", "av1"], typer.Option(help="Of a video; auto: vp9 in webm, else h264.")
    ] = Job.codec,
    crf: Annotated[int, typer.Option(min=0, max=51, help="Quality: 18 is very good, 28 is small.")] = Job.crf,
    key: Annotated[
        Path | None, typer.Option(help="A file of 32 random bytes: the same key, the same strangers.")
    ] = Job.key,
    epsilon: Annotated[
        float | None, typer.Option(help="Differential privacy of who becomes whom, per track.", show_default=False)
    ] = Job.epsilon,
    delta: Annotated[float, typer.Option(help="With what chance that may fail.")] = Job.delta,
    policy: Annotated[
        Literal["balanced", "strict"],
        typer.Option(help="strict: cover also what may be a face, and new scenes until a face is found."),
    ] = Job.policy,
    delay_ms: Annotated[
        float | None,
        typer.Option(
            min=0, max=10_000, show_default="500; 100 live", help="Look ahead, to cover a face before it is found."
        ),
    ] = Job.delay_ms,
    realtime: Annotated[bool, typer.Option("--realtime", help="Play SOURCE at its own pace, as if live.")] = False,
    keep: Annotated[
        Path | None, typer.Option(metavar="LIST", help="Who agreed to stay visible: `veil consent` makes the list.")
    ] = Job.keep,
    keep_key: Annotated[Path | None, typer.Option(help="The key file of that list.")] = Job.keep_key,
    camera: Annotated[str | None, typer.Option(help="What is filmed with, as the list names it.")] = Job.camera,
    keep_recognizer: Annotated[str, typer.Option(help="What the list was made with.")] = Job.keep_recognizer,
    keep_crowd: Annotated[
        Path | None, typer.Option(help="Strangers, by that recogniser: `veil consent crowd`.", show_default=False)
    ] = Job.keep_crowd,
    audit: Annotated[
        Path | None, typer.Option(metavar="LOG", help="Write what was done, per second and without pictures.")
    ] = Job.audit,
    audit_key: Annotated[
        Path | None, typer.Option(metavar="PEM", help="Sign the log with it: `veil audit-key` makes one.")
    ] = Job.audit_key,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object and no progress.")] = False,
) -> None:
    """Replace every face of SOURCE and write the result to SINK."""
    job = Job(
        source, sink, beta, model, device, mode, cover, keep_audio, overwrite, codec, crf, key, epsilon, delta, policy,
        delay_ms, realtime, keep, keep_key, camera, keep_recognizer, keep_crowd, audit, audit_key, as_json,
    )  # fmt: skip
    with errors_in_one_line():
        report = _anonymize(job)
    typer.echo(json.dumps(report.as_dict()) if as_json else "\n".join(report.lines()))


@app.command()
def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Say what is installed, whether it fits together, and what is missing."""
    with errors_in_one_line():
        from streamer.doctor import examine

        findings = examine()
    typer.echo(_findings_as_json(findings) if as_json else "\n".join(map(_finding_line, findings)))
    if any(finding.broken for finding in findings):
        raise typer.Exit(EXIT_WORLD)


@app.command()
def demo(
    clip: Annotated[
        str, typer.Argument(metavar="[CLIP]", help="A video of yours; without it, a clip is made.", show_default=False)
    ] = "",
    out: Annotated[Path, typer.Option(help="The folder to write to.")] = Path("out"),
) -> None:
    """Show it at work: an anonymised video, and a sheet of pictures before and after."""
    with errors_in_one_line():
        from streamer.demo import contact_sheet, render_clip

        before, after, sheet = clip or str(out / "demo_input.mp4"), out / "demo_safe.mp4", out / "demo_sheet.png"
        _make_folder(out)
        if not clip:
            typer.echo(f"making a clip from a free photograph: {before}")
            render_clip(Path(before))
        report = _anonymize(Job(before, str(after), overwrite=True))
        contact_sheet(before, str(after), sheet, frames=report.summary.frames)
    typer.echo("\n".join(report.lines()))
    typer.echo(f"\nLook at {after}\n    and {sheet}: its left column shows real faces, do not publish it.")


app.command()(cli_train.extract)
app.add_typer(cli_train.train_app, name="train")
app.add_typer(cli_models.models_app, name="models")
app.command("verify")(cli_audit.verify_log)
app.command("audit-key")(cli_audit.make_key)
app.add_typer(cli_consent.consent_app, name="consent")
app.add_typer(cli_evaluate.evaluate_app, name="evaluate")


def _anonymize(job: Job) -> Report:
    """Do the whole job; on any exception no output is left behind."""
    from streamer.live import Paced
    from streamer.progress import Report, Summary
    from streamer.sources import open_source

    summary = Summary()
    with open_source(job.source) as source:
        # Before the weights: a wrong path is said at once.
        with _audit(job) as audit, _open_sink(job, source.info) as sink:
            anonymizer = _load(job)
            start = time.perf_counter()
            for frame in _watched(Paced(source) if job.realtime else source, anonymizer, summary, quiet=job.quiet):
                if audit:  # before it is written, so that nothing is that was not counted
                    audit.add(frame, dropped=summary.missed_before(frame), guard=_guard_figures(frame))
                sink.write(frame)
        seconds = time.perf_counter() - start
        return Report(
            job.source,
            job.sink,
            str(anonymizer.device or "cpu"),
            summary,
            seconds,
            source.corrupt_packets,
            source.audio_streams,
            sink.audio_packets if job.keep_audio else None,
            unrelated=bool(source.info.names),
            privacy=anonymizer.privacy,
        )


def _open_sink(job: Job, info: VideoInfo) -> VideoSink | PictureSink | FolderSink:
    from streamer.sinks import open_sink

    return open_sink(
        job.sink,
        info,
        source_path=job.source,
        keep_audio=job.keep_audio,
        codec=job.codec,
        crf=job.crf,
        overwrite=job.overwrite,
    )


def _watched(source: Source, anonymizer: Anonymizer, summary: Summary, *, quiet: bool) -> Iterator[SafeFrame]:
    """Yield the safe frames; each is counted and shown in a bar once it has been dealt with."""
    from rich.console import Console

    from streamer.progress import ProgressBar
    from streamer.protection import protect

    with ProgressBar(source.info, Console(stderr=True, quiet=quiet)) as bar:
        for frame in protect(source, anonymizer):
            yield frame
            summary.add(frame)
            bar.update(summary)
            end_if_interrupted()


def _audit(job: Job) -> AbstractContextManager[AuditLog | None]:
    """Return the log of a run, or what stands for none."""
    if job.audit is None:
        if job.audit_key is not None:
            raise typer.BadParameter("signs the log of --audit, which was not asked for", param_hint="--audit-key")
        return nullcontext()
    from streamer.audit import AuditLog, settings_sha256

    header = {
        "source": Path(job.source).name if "://" not in job.source else job.source,
        "model": "" if job.mode == "cover" else job.model,
        "model_sha256": "" if job.mode == "cover" else _sha256(job.model),
        "settings_sha256": settings_sha256(job),
    }
    return AuditLog(job.audit, header=header, signing_key=job.audit_key)


def _sha256(model: str) -> str:
    from models.checkpoint import weights_path
    from models.errors import CheckpointError

    try:
        with weights_path(model).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except (CheckpointError, OSError) as error:
        raise StreamerError(str(error)) from error


def _guard_figures(frame: SafeFrame) -> GuardFigures | None:
    guard = frame.guard
    if not guard.compared:
        return None
    from models.identity import SAME_PERSON
    from streamer.audit import GuardFigures

    return GuardFigures(
        guard.compared, guard.highest if guard.highest > -1 else None, SAME_PERSON, escalations=guard.escalated
    )


def _load(job: Job) -> Anonymizer:
    from models.errors import CheckpointError
    from models.privacy import load_key
    from streamer.pipeline import Anonymizer

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
            delay_seconds=_delay_seconds(job),
            keeping=_keeping(job),
        )
    except CheckpointError as error:
        raise StreamerError(str(error)) from error
    except ValueError as error:  # what typer lets pass, such as a beta that is not a number
        raise typer.BadParameter(str(error)) from error


def _keeping(job: Job) -> Keeping | None:
    if job.keep is None:
        return None
    if job.keep_key is None:
        raise typer.BadParameter("a consent list needs its key file", param_hint="--keep-key")
    from models.privacy import load_key
    from streamer.crowd import SHIPPED_CROWD
    from streamer.keep import Keeping

    return Keeping.load(
        job.keep,
        key=load_key(job.keep_key),
        camera=job.camera,
        recognizer=job.keep_recognizer,
        crowd=job.keep_crowd or SHIPPED_CROWD,
    )


def _delay_seconds(job: Job) -> float:
    if job.delay_ms is not None:
        return job.delay_ms / 1000
    return LIVE_DELAY if job.realtime else DEFAULT_DELAY


def _make_folder(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StreamerError(f"cannot make the folder {path}: {error.strerror}; choose another with --out") from error


def _findings_as_json(findings: list[Finding]) -> str:
    ok = not any(finding.broken for finding in findings)
    return json.dumps({"ok": ok, "findings": [dataclasses.asdict(finding) for finding in findings]})


def _finding_line(finding: Finding) -> str:
    mark = "ok" if finding.ok else "BROKEN" if finding.needed else "absent"
    return f"{mark:8}{finding.name:24}{finding.value}"


def main() -> None:
    """Run the command line; a polite request to end counts as Ctrl-C, so that it too leaves no partial output."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, interrupt)
    os.environ.setdefault("SVT_LOG", "1")  # SVT-AV1 writes to stderr by itself: errors only
    app(prog_name="veil")
