"""The commands about audit logs: `veil verify`, `veil audit-key`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streamer.cli.failures import EXIT_WORLD, errors_in_one_line

if TYPE_CHECKING:
    from streamer.audit.log import Figures
    from streamer.audit.verify import Verification


def verify_log(
    log: Annotated[Path, typer.Argument(metavar="LOG", help="What `veil run --audit` wrote.")],
    public_key: Annotated[
        Path | None, typer.Option(metavar="PEM", help="The key that must have signed it; `veil audit-key` printed it.")
    ] = None,
    allow_unfinished: Annotated[
        bool, typer.Option("--allow-unfinished", help="Accept a log without an end, as a killed run leaves it.")
    ] = False,
) -> None:
    """Check that LOG is as it was written, to its end: exit code 0 if it is, 1 if not."""
    with errors_in_one_line():
        from streamer.audit.verify import verify

        found = verify(log, public_key)
    typer.echo("\n".join([_verdict(found), *_signature(found, key_given=public_key is not None), *_content(found)]))
    if found.problem or (found.unfinished and not allow_unfinished):
        raise typer.Exit(EXIT_WORLD)


def make_key(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="Where to; a file that exists is never replaced.")],
) -> None:
    """Make a key that signs audit logs, and print its public half: give that to those who verify them."""
    with errors_in_one_line():
        from streamer.audit.keys import create_signing_key, public_pem

        typer.echo(public_pem(create_signing_key(path)), nl=False)


def _verdict(found: Verification) -> str:
    if found.problem:
        return f"BROKEN: {found.problem}; intact up to line {found.lines}"
    if found.unfinished:
        return f"intact up to line {found.lines}; {found.unfinished}"
    return f"intact: {found.lines} lines; the run ended: {found.reason}"


def _signature(found: Verification, *, key_given: bool) -> list[str]:
    if not found.lines:
        return []
    if not found.signed_by:
        return ["not signed: anyone who can write the file can rewrite it"]
    if key_given:
        return ["signed with the key given"]
    return [f"signed with {found.signed_by}; --public-key checks that it is the key you expect"]


def _content(found: Verification) -> list[str]:
    totals = found.totals
    frames = f"{totals.frames} frames, {totals.whole} of them covered whole, {totals.dropped} dropped"
    rows = [
        f"{found.seconds} seconds, {frames}",
        f"{totals.face_frames} face-frames: {_counts(totals.tiers)}",
    ]
    return rows + _guard(totals) if found.lines else []


def _guard(totals: Figures) -> list[str]:
    if totals.guard is None:
        return []
    highest = "none" if totals.guard.highest is None else f"{totals.guard.highest:.3f}"
    return [
        f"guard: {totals.guard.compared} comparisons, highest {highest} of {totals.guard.threshold:.3f} allowed, "
        f"{totals.guard.escalations} escalations"
    ]


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items())) or "none"
