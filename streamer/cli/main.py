"""The `veil` command: parses, builds, loops and reports. torch, av, cv2 and mediapipe load only once work begins."""

from __future__ import annotations

import dataclasses
import gc
import json
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

import streamer
from streamer.cli import audit as cli_audit
from streamer.cli import batch as cli_batch
from streamer.cli import consent as cli_consent
from streamer.cli import evaluate as cli_evaluate
from streamer.cli import models as cli_models
from streamer.cli import serve as cli_serve
from streamer.cli import train as cli_train
from streamer.cli.failures import (
    EXIT_WORLD,
    errors_in_one_line,
    escape_what_a_console_lacks,
    interrupt,
    leave_no_core,
    show_no_secrets,
)
from streamer.cli.jobs.job import Job, WriteOptions
from streamer.cli.run import anonymize, run
from streamer.cores import share_cores
from streamer.errors import StreamerError

if TYPE_CHECKING:
    from streamer.cli.doctor import Finding
    from streamer.types import Mode

app = typer.Typer(
    name="veil",
    help="Replaces every face of a video by a synthetic one. What cannot be made anonymous is not written.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,  # they print local variables, and those hold pictures
)


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
def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Say what is installed, whether it fits together, and what is missing."""
    with errors_in_one_line():
        from streamer.cli.doctor import examine

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
        from streamer.cli.demo import contact_sheet, render_clip

        before, after, sheet = clip or str(out / "demo_input.mp4"), out / "demo_safe.mp4", out / "demo_sheet.png"
        _make_folder(out)
        if not clip:
            typer.echo(f"making a clip from a free photograph: {before}")
            render_clip(Path(before))
        report = anonymize(Job(before, str(after), writing=WriteOptions(overwrite=True)))
        contact_sheet(before, str(after), sheet, frames=report.summary.frames)
    typer.echo("\n".join(report.lines()))
    typer.echo(f"\nLook at {after}\n    and {sheet}: its left column shows real faces, do not publish it.")


@app.command()
def bench(
    sizes: Annotated[str, typer.Option(help="Such as 640x480,720p,1080p,4k.")] = "640x480,720p",
    faces: Annotated[str, typer.Option(help="How many in the picture, such as 1,2,4,8.")] = "1,4",
    modes: Annotated[Literal["both", "generate", "cover"], typer.Option(help="What to do with them.")] = "both",
    model: Annotated[str, typer.Option(help="Weights: a name that `veil doctor` lists, or a file.")] = "default",
    device: Annotated[Literal["auto", "cpu", "cuda"], typer.Option(help="Where the networks run.")] = "auto",
    frames: Annotated[int, typer.Option(min=2, help="Length of each clip.")] = 45,
    rounds: Annotated[int, typer.Option(min=1, help="How often each is measured, for the noise.")] = 3,
    compare: Annotated[
        Path | None, typer.Option(metavar="JSON", help="What --json said before.", show_default=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Measure frames per second and what each stage takes, on clips of one photograph; `make bench` adds deface."""
    with errors_in_one_line():
        from streamer.bench.measure import Plan, Row, machine, measure
        from streamer.bench.table import comparison, counts_of, lines_of, machine_line, read_rows, sizes_of
        from streamer.cli.demo import free_portrait

        try:
            chosen: tuple[Mode, ...] = ("generate", "cover") if modes == "both" else (modes,)
            plan = Plan(sizes_of(sizes), counts_of(faces), chosen, frames, rounds, model, device)
        except ValueError as error:
            raise typer.BadParameter(str(error)) from error
        old = read_rows(compare) if compare else []
        share_cores()
        ceilings = machine()
        if not as_json:
            typer.echo(machine_line(ceilings))

        def show(row: Row) -> None:
            if not as_json:
                typer.echo("\n".join(lines_of(row)))

        rows = measure(plan, free_portrait(), show)
        if as_json:
            typer.echo(json.dumps({"veil": streamer.__version__, "machine": ceilings, "rows": rows}))
        if compare:
            typer.echo("\n".join(comparison(old, rows)), err=as_json)


app.command()(run)
app.command()(cli_serve.serve)
app.command()(cli_train.extract)
app.add_typer(cli_batch.batch_app, name="batch")
app.add_typer(cli_train.train_app, name="train")
app.add_typer(cli_models.models_app, name="models")
app.command("verify")(cli_audit.verify_log)
app.command("audit-key")(cli_audit.make_key)
app.add_typer(cli_consent.consent_app, name="consent")
app.add_typer(cli_evaluate.evaluate_app, name="evaluate")


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
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):  # the last one is not known on Windows, and `nohup` ignores it
        if hasattr(signal, name) and (name != "SIGHUP" or signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN):
            signal.signal(getattr(signal, name), interrupt)
    show_no_secrets()
    escape_what_a_console_lacks()
    leave_no_core()
    os.environ.setdefault("SVT_LOG", "1")  # SVT-AV1 writes to stderr by itself: errors only
    try:
        app(prog_name="veil")
    finally:
        gc.freeze()  # nothing is left to free that the end of the process does not: Python would look through all of it
