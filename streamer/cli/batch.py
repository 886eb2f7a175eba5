"""`veil batch`: an archive, by this process or a Ray cluster. Kept in a manifest, so that a run can be killed."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from streamer.cli.failures import errors_in_one_line, interrupted_says, tell
from streamer.cli.jobs.values import key_of
from streamer.cores import share_cores
from streamer.errors import StreamerError

if TYPE_CHECKING:
    from streamer.batch.engines import Finished
    from streamer.batch.manifest import ArchiveSettings, Manifest, Record
    from streamer.batch.work import Work
    from streamer.batch.worker import Task
    from streamer.types import Codec, Cover, Mode, Policy

log = logging.getLogger(__name__)

batch_app = typer.Typer(
    help="Do an archive of many files, here or on a cluster; long ones in parts.", no_args_is_help=True
)

PREVIEW = "preview"  # the folder of one: a small archive in the output

Sources = Annotated[
    list[str], typer.Argument(metavar="SOURCE...", help="Files and folders, here or at s3://, gs:// and others.")
]
Out = Annotated[str, typer.Option(metavar="DIR", help="Where outputs and manifest are written; a URL, too.")]
ModeOption = Annotated[Literal["generate", "cover"], typer.Option(help="Draw synthetic faces, or only cover.")]
Model = Annotated[str, typer.Option(help="Weights: a name that `veil doctor` lists, or a file.")]
Beta = Annotated[float, typer.Option(min=0, max=1, help="0 is most private, 1 most like the person.")]
CoverOption = Annotated[Literal["solid", "mosaic"], typer.Option(help="What lies under a drawn face.")]
PolicyOption = Annotated[Literal["balanced", "strict"], typer.Option(help="strict: cover also what may be a face.")]
Key = Annotated[Path | None, typer.Option(help="32 random bytes, one file for the archive; needed to draw faces.")]
MinFace = Annotated[
    float | None,
    typer.Option(min=8, max=200, help="Search everywhere for faces at least this wide, in pixels.", show_default="30"),
]
CodecOption = Annotated[Literal["auto", "h264", "hevc", "vp9", "av1"], typer.Option(help="Of the videos.")]
Crf = Annotated[int, typer.Option(min=0, max=51, help="Quality: 18 is very good, 28 is small.")]
KeepAudio = Annotated[bool, typer.Option("--keep-audio", help="Copy the sound. A voice identifies.")]
VoiceOption = Annotated[bool, typer.Option("--voice", help="Keep the sound, in another voice: not anonymous.")]
Preview = Annotated[
    float | None, typer.Option(metavar="SECONDS", min=0.1, help="Only the first seconds of each, to DIR/preview.")
]
Recursive = Annotated[bool, typer.Option("--recursive", help="Of a folder, what is in its folders too.")]
PartMinutes = Annotated[float, typer.Option(min=0.01, help="Split longer videos into parts of about that.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


@dataclass(frozen=True)
class Archive:
    """What `plan` and `run` are told alike; the fields are their options."""

    sources: list[str]
    out: str
    mode: Mode
    model: str
    beta: float
    cover: Cover
    policy: Policy
    key: Path | None
    min_face: float | None
    codec: Codec
    crf: int
    keep_audio: bool
    voice: bool
    preview: float | None
    recursive: bool
    part_minutes: float

    @property
    def folder(self) -> str:
        """Where it is written."""
        from streamer.batch.storage import within

        return within(self.out, PREVIEW) if self.preview else self.out

    def locked(self) -> AbstractContextManager[None]:
        """Keep other runs out of where it is written."""
        from streamer.batch.storage import locked

        return locked(self.folder)

    def settings(self) -> ArchiveSettings:
        """Return what is done to every source."""
        from streamer.batch.manifest import ArchiveSettings

        if self.keep_audio and self.voice:
            raise typer.BadParameter("changes the sound that --keep-audio copies: take one", param_hint="--voice")
        if self.key is None and self.mode == "generate":
            reason = "an archive needs one, for the same strangers in all its files: head -c 32 /dev/urandom > FILE"
            raise typer.BadParameter(reason, param_hint="--key")
        return ArchiveSettings(
            self.mode, self.model, self.beta, self.cover, self.policy, self.min_face, self.codec, self.crf,
            self.keep_audio and not self.preview, self.voice and not self.preview, self.preview,
            key_of(self.key, "--key"),
        )  # fmt: skip

    def begun(self, settings: ArchiveSettings) -> Manifest:
        """Return the manifest, with all there is to do in it."""
        from streamer.audit.run_log import weights_sha256
        from streamer.batch.manifest import Manifest
        from streamer.batch.planning import begin, check_places, plan

        sources = plan(self.sources, self.folder, recursive=self.recursive, with_sound=settings.keep_audio)
        weights = "" if self.mode == "cover" else weights_sha256(self.model)
        manifest = Manifest(self.folder)
        check_places(sources, self.folder, manifest)
        begin(manifest, sources, settings, model_sha256=weights, part_seconds=60 * self.part_minutes)
        return manifest


@batch_app.command("plan")
def plan_archive(
    sources: Sources,
    out: Out,
    mode: ModeOption = "generate",
    model: Model = "default",
    beta: Beta = 0.0,
    cover: CoverOption = "mosaic",
    policy: PolicyOption = "balanced",
    key: Key = None,
    min_face: MinFace = None,
    codec: CodecOption = "auto",
    crf: Crf = 21,
    keep_audio: KeepAudio = False,
    voice: VoiceOption = False,
    preview: Preview = None,
    recursive: Recursive = False,
    part_minutes: PartMinutes = 10.0,
    as_json: AsJson = False,
) -> None:
    """Write the manifest: what is read, what it becomes, where long videos are split. Nothing else is done."""
    archive = Archive(
        sources, out, mode, model, beta, cover, policy, key, min_face, codec, crf, keep_audio, voice, preview,
        recursive, part_minutes,
    )  # fmt: skip
    with errors_in_one_line(), archive.locked():
        _tell(archive.begun(archive.settings()), as_json=as_json)


@batch_app.command("run")
def run_archive(
    sources: Sources,
    out: Out,
    mode: ModeOption = "generate",
    model: Model = "default",
    beta: Beta = 0.0,
    cover: CoverOption = "mosaic",
    policy: PolicyOption = "balanced",
    key: Key = None,
    min_face: MinFace = None,
    codec: CodecOption = "auto",
    crf: Crf = 21,
    keep_audio: KeepAudio = False,
    voice: VoiceOption = False,
    preview: Preview = None,
    recursive: Recursive = False,
    part_minutes: PartMinutes = 10.0,
    engine: Annotated[Literal["local", "ray"], typer.Option(help="This process, or actors of Ray.")] = "local",
    device: Annotated[Literal["auto", "cpu", "cuda"], typer.Option(help="Where the networks run.")] = "auto",
    ray_address: Annotated[
        str, typer.Option(metavar="ADDRESS", help="Of a cluster; without one, Ray starts here.", show_default=False)
    ] = "",
    workers: Annotated[int, typer.Option(min=0, help="Actors of Ray.", show_default="as many as have room")] = 0,
    cpus: Annotated[float, typer.Option(min=0.1, help="Cores that each actor takes.")] = 1.0,
    gpus: Annotated[float, typer.Option(min=0, help="GPUs that each actor takes: 0.25 lets four share one.")] = 0.0,
    cache_detections: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Keep where faces are, for other settings. It tells who was where."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Process what is left of the archive. After an interruption the same command continues."""
    archive = Archive(
        sources, out, mode, model, beta, cover, policy, key, min_face, codec, crf, keep_audio, voice, preview,
        recursive, part_minutes,
    )  # fmt: skip
    with errors_in_one_line(), interrupted_says("interrupted; the same command goes on"), archive.locked():
        from streamer.batch.engines import Cluster, run_here, run_on_ray
        from streamer.batch.work import Work

        settings = archive.settings()
        manifest = archive.begun(settings)
        work = Work(manifest, archive.folder)
        detections = cache_detections and cache_detections.absolute()
        try:
            with _progress(work, quiet=as_json) as finished:
                if engine == "local":
                    share_cores()
                    run_here(work, settings, archive.folder, device=device, finished=finished, detections=detections)
                else:
                    cluster = Cluster(ray_address, workers, cpus, gpus)
                    run_on_ray(
                        work, settings, archive.folder,
                        device=device, cluster=cluster, finished=finished, detections=detections,
                    )  # fmt: skip
        finally:
            work.close()
        _tell(manifest, as_json=as_json)
        if manifest.failed:
            raise StreamerError(f"{len(manifest.failed)} of {len(manifest.sources)} sources could not be done")


@batch_app.command("status")
def show_status(out: Out, as_json: AsJson = False) -> None:
    """Say how far the archive in DIR has come."""
    with errors_in_one_line():
        _tell(_existing(out), as_json=as_json)


@batch_app.command("verify")
def verify_archive(out: Out, as_json: AsJson = False) -> None:
    """Check that every output in DIR is there, and as it was written: exit code 0 if so, 1 if not."""
    with errors_in_one_line():
        from streamer.batch.work import problems_of

        manifest = _existing(out)
        problems = problems_of(manifest, out)
        if as_json:
            tell(json.dumps({"sources": len(manifest.sources), "problems": problems}))
        else:
            tell("\n".join(f"{name}: {problem}" for name, problem in problems.items()) or "every output is as written")
        if problems:
            raise StreamerError(f"{len(problems)} of {len(manifest.sources)} outputs are missing or changed")


def _existing(out: str) -> Manifest:
    from streamer.batch.manifest import Manifest

    manifest = Manifest(out)
    if not manifest.header:
        raise StreamerError(f"there is no archive in {out}: `veil batch plan` begins one")
    return manifest


@contextmanager
def _progress(work: Work, *, quiet: bool) -> Iterator[Finished]:
    """Show a bar over all tasks of a run, on a terminal; say of each that failed why."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True, quiet=quiet)
    columns = (BarColumn(), TextColumn("{task.completed}/{task.total} files and parts"), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        shown = bar.add_task("", total=work.total)

        def finished(task: Task, record: Record) -> None:
            bar.update(shown, completed=work.finished, total=work.total)
            if record["kind"] == "failed":
                reason = record["reason"]
                log.warning("%s", reason if task.source in reason else f"{task.source}: {reason}")

        yield finished


def _tell(manifest: Manifest, *, as_json: bool) -> None:
    from streamer.batch.work import status

    found = status(manifest)
    if as_json:
        return tell(json.dumps(found))
    rows = [
        ("sources", f"{found['sources']} in {found['parts']} parts"),
        ("done", f"{found['done']}, {found['bytes']} bytes"),
        ("waiting", str(found["waiting"])),
        *((name.replace("_", " "), str(count)) for name, count in found["counts"].items()),
        *(("failed", f"{name}: {reason}") for name, reason in found["failed"].items()),
    ]
    tell("\n".join(f"{name:22}{text}" for name, text in rows))
