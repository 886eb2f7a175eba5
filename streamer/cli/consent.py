"""The commands about who stays visible: `veil consent`."""

from __future__ import annotations

from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streamer.cli.failures import errors_in_one_line
from streamer.errors import StreamerError

if TYPE_CHECKING:
    from streamer.consent.quality import FaceReader

consent_app = typer.Typer(
    help="Who agreed to stay visible (`veil run --keep`): unknown and doubtful faces are covered all the same.",
    no_args_is_help=True,
)

ListPath = Annotated[Path, typer.Argument(metavar="LIST", help="The consent list, such as consent.toml.")]
Recognizer = Annotated[str, typer.Option(help="What knows them: `identity`, an imported recogniser, or a file.")]


@consent_app.command("new-key")
def new_key(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="Where to; a file that exists is never replaced.")],
) -> None:
    """Make a key for consent lists. Who has it and a list can read whom a face is like; who lost it enrols anew."""
    with errors_in_one_line():
        from models.privacy import new_key
        from streamer.audit.keys import write_secret

        write_secret(path, new_key())


@consent_app.command("add")
def add(
    path: ListPath,
    name: Annotated[str, typer.Option(help="Who it is; it is logged when they are shown.")],
    photo: Annotated[list[Path], typer.Option(help="A photo of them alone; three or more are best. Not stored.")],
    key: Annotated[Path, typer.Option(help="The key file; `veil consent new-key` makes one.")],
    expires: Annotated[datetime, typer.Option(formats=["%Y-%m-%d"], help="The last day on which they are visible.")],
    camera: Annotated[list[str] | None, typer.Option(help="Where only; by default everywhere.")] = None,
    recognizer: Recognizer = "identity",
) -> None:
    """Enrol somebody who agreed: their embedding is kept, encrypted; the photos are not."""
    with errors_in_one_line():
        from streamer.consent.enroll import enroll
        from streamer.consent.entries import Consent, read_consents, seal, unseal, write_consents
        from streamer.consent.quality import recognizer_id

        consents = read_consents(path) if path.exists() else []
        if name in [consent.name for consent in consents]:
            raise StreamerError(f"{name} is enrolled already; `veil consent remove` first")
        reader, secret, today = _reader(recognizer), _key(key), date.today()
        for other in consents:
            unseal(other, secret, path)  # a list has one key
        try:
            consent = Consent(name, today, expires.date(), tuple(camera or ()), recognizer_id(recognizer))
        except ValueError as error:
            raise typer.BadParameter(str(error)) from error
        write_consents(path, [*consents, seal(consent, enroll(photo, reader), secret)])
    typer.echo(f"{name} may stay visible until {consent.expires}")


@consent_app.command("list")
def list_consents(path: ListPath) -> None:
    """List who is enrolled; that needs no key."""
    with errors_in_one_line():
        from streamer.consent.entries import read_consents

        consents = read_consents(path)
    for consent in consents:
        where = ", ".join(consent.cameras) or "every camera"
        state = "expired" if date.today() > consent.expires else "until"
        typer.echo(f"{consent.name:24}{state} {consent.expires}, {where}, known by {consent.recognizer.name}")


@consent_app.command("remove")
def remove(path: ListPath, name: Annotated[str, typer.Option(help="Whose consent ends.")]) -> None:
    """Take somebody out; the next run covers them."""
    with errors_in_one_line():
        from streamer.consent.entries import read_consents, write_consents

        consents = read_consents(path)
        rest = [consent for consent in consents if consent.name != name]
        if len(rest) == len(consents):
            raise StreamerError(f"{name} is not in {path}; `veil consent list` says who is")
        write_consents(path, rest)


@consent_app.command("crowd")
def make_crowd(
    photos: Annotated[list[Path], typer.Argument(metavar="PHOTOS...", help="A folder of 150 or more: one a person.")],
    out: Annotated[Path, typer.Option(help="Where to.")],
    recognizer: Recognizer = "identity",
) -> None:
    """Make the crowd of strangers that a recogniser of your own is compared with; the photos are not stored.

    Take people like those your cameras see, each once, none of them enrolled; children too, if children come by: to
    a recogniser they are all alike, unless the crowd has some.
    """
    with errors_in_one_line():
        from streamer.consent.cohort import cohort_of, write_cohort
        from streamer.consent.enroll import embed_strangers
        from streamer.consent.quality import recognizer_id

        embeddings = embed_strangers(photos, _reader(recognizer))
        try:
            crowd = cohort_of(embeddings)
        except ValueError as error:
            raise StreamerError(str(error)) from error
        write_cohort(out, crowd, recognizer_id(recognizer))
    typer.echo(f"{len(embeddings)} strangers; a face is somebody's from a cosine of {crowd.threshold:.3f} on")


def _reader(recognizer: str) -> FaceReader:
    import torch

    from models.checkpoint_errors import CheckpointError
    from models.pretrained.imported import load_recognizer
    from streamer.consent.quality import FaceReader

    try:
        return FaceReader(load_recognizer(recognizer), torch.device("cpu"))
    except CheckpointError as error:
        raise StreamerError(str(error)) from error


def _key(path: Path) -> bytes:
    from models.privacy import load_key

    try:
        return load_key(path)
    except ValueError as error:
        raise StreamerError(str(error)) from error
