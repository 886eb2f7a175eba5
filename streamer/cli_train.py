"""The commands that make models: `veil extract` and `veil train`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from streamer.cli_errors import errors_in_one_line, files_may_be_wrong

train_app = typer.Typer(
    help="Train models on faces that `veil extract` prepared. Stop a run at any time; start it again to go on.",
    no_args_is_help=True,
)
TrainingData = Annotated[Path, typer.Argument(metavar="DATA", help="What `veil extract` wrote.")]


def extract(
    sources: Annotated[list[str], typer.Argument(metavar="SOURCE...", help="Videos, pictures, folders of pictures.")],
    out: Annotated[Path, typer.Option(help="The folder to write to. It holds real faces.")] = Path("data/faces"),
) -> None:
    """Prepare the faces of SOURCE... as training data. They are real: keep the folder as safe as the originals."""
    with errors_in_one_line():
        from models.face_model import load_face_model
        from streamer.extract import extract as extract_faces
        from streamer.extract import named_frames

        model = load_face_model("default")
        faces = 0
        for faces in extract_faces(named_frames(sources), out, template=model.template, crop_size=model.crop_size):
            typer.echo(f"\r{faces} faces", nl=False, err=True)
    typer.echo(f"\n{faces} faces in {out}")


@train_app.command("linear")
def train_linear(
    data: TrainingData,
    recognizer: Annotated[Path, typer.Option(help="MobileFaceNet state dict: what identity is measured with.")],
    run: Annotated[Path, typer.Option(help="For checkpoints; a run found there goes on.")] = Path("runs/linear"),
    steps: Annotated[int, typer.Option(min=0, help="Where to stop.")] = 4000,
) -> None:
    """Train `linear-refined`, the default model."""
    with errors_in_one_line(), files_may_be_wrong():
        from models.train_linear import LinearTrainConfig, train

        for step in train(LinearTrainConfig(data, recognizer, run, steps=steps)):
            losses = "  ".join(f"{name} {value:.3f}" for name, value in step.losses.items())
            typer.echo(f"step {step.step}  {losses}")
    typer.echo(f"{run / 'linear-refined.safetensors'}: use it with `veil run --model`")


@train_app.command("identity")
def train_identity(
    data: TrainingData,
    teacher: Annotated[Path, typer.Option(help="MobileFaceNet state dict, which is imitated.")],
    run: Annotated[Path, typer.Option(help="For checkpoints; a run found there goes on.")] = Path("runs/identity"),
    steps: Annotated[int, typer.Option(min=1, help="Where to stop; the learning rate ends there.")] = 3000,
) -> None:
    """Train a small face recogniser that may be shipped, from one that may not."""
    with errors_in_one_line(), files_may_be_wrong():
        from models.train_identity import IdentityTrainConfig, train

        for step in train(IdentityTrainConfig(data, teacher, run, steps=steps)):
            typer.echo(f"step {step.step}  1 - cosine {step.loss:.3f}")
    typer.echo(f"{run / 'identity.safetensors'}")
