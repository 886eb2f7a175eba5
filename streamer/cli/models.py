"""The commands about weights of others: `veil models`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from streamer.cli.failures import errors_in_one_line, files_may_be_wrong

models_app = typer.Typer(
    help="Use weights that others publish: Private-Encoder, pSp, StyleGAN2, ArcFace, CurricularFace.",
    no_args_is_help=True,
)


@models_app.command("import")
def import_model(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="The file as published. It runs no code of its own.")],
    name: Annotated[str | None, typer.Option(help="What to call it; by default what it is: psp-1024.")] = None,
) -> None:
    """Recognise, verify, convert and keep the weights at PATH; `veil models list` names them from then on."""
    with errors_in_one_line(), files_may_be_wrong():
        from models.pretrained.imported import import_weights

        model = import_weights(path, name)
        typer.echo(f"{model.name}: {model.description}")


@models_app.command("list")
def list_models() -> None:
    """List the imported weights, and whether each is as it was imported."""
    with errors_in_one_line(), files_may_be_wrong():
        from models.checkpoint import import_folder
        from models.pretrained.imported import stored_models

        models = stored_models()
        for model in models:
            typer.echo(f"{model.name:36}{model.description if model.intact else 'changed since; import it again'}")
        if not models:
            typer.echo(f"none in {import_folder()}; `veil models import PATH` adds one, `veil doctor` lists ours")
