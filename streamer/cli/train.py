"""The commands that make models: `veil extract` and `veil train`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

from streamer.cli.failures import EXIT_INTERRUPTED, errors_in_one_line, fail, files_may_be_wrong

if TYPE_CHECKING:
    from models.training.loop import RunConfig, TrainStep

train_app = typer.Typer(
    help="Train models on faces that `veil extract` prepared. Stop a run at any time; start it again to go on.",
    no_args_is_help=True,
)

PreparedData = Annotated[Path, typer.Argument(metavar="DATA", help="The folder that `veil extract` wrote.")]
Crops = Annotated[
    list[Path],
    typer.Argument(metavar="DATA...", help="Tars and folders of crops: `veil extract --align template`."),
]
Faces = Annotated[list[Path], typer.Argument(metavar="DATA...", help="What `veil extract` wrote, either way.")]
Run = Annotated[Path, typer.Option(help="For checkpoints and samples; a run found there goes on.")]
Minutes = Annotated[float | None, typer.Option(min=0, help="After which it ends by itself, to be started again.")]
Steps = Annotated[int | None, typer.Option(min=0, help="Where to stop.")]
Batch = Annotated[int | None, typer.Option(min=1, help="Crops a step.")]
Seed = Annotated[int | None, typer.Option(min=0, help="Of every chance in it.")]
EXTRACTED = {"mesh": "faces", "drawn": "pairs.npz"}  # else a tar
TensorBoard = Annotated[bool, typer.Option("--tensorboard", help="Write curves and samples for TensorBoard, too.")]


def extract(
    sources: Annotated[list[str], typer.Argument(metavar="SOURCE...", help="Videos, pictures, folders of pictures.")],
    out: Annotated[Path | None, typer.Option(help="What to write: by default a name in data/ that says what.")] = None,
    align: Annotated[
        Literal["mesh", "similarity", "template", "drawn"],
        typer.Option(
            help="mesh: a folder for `train linear`. drawn: people drawn as themselves and as strangers, for `train "
            "harmonizer`. For the other trainers a tar of crops: similarity, by five points, hair included; template: "
            "each pixel the same spot of a face, and nothing around it."
        ),
    ] = "mesh",
    size: Annotated[int | None, typer.Option(min=16, help="Side of a crop of a tar in pixels: 128.")] = None,
    flat: Annotated[bool, typer.Option("--flat-light", help="Even out the light of `--align template`.")] = False,
    seed: Annotated[int, typer.Option(min=0, help="Of all chances of `--align drawn`.")] = 0,
) -> None:
    """Prepare the faces of SOURCE... as training data. They are real: keep them as safe as the originals."""
    if align in EXTRACTED and size is not None:
        raise typer.BadParameter("the model says how large these crops are", param_hint="--size")
    if flat and align != "template":
        raise typer.BadParameter("needs --align template", param_hint="--flat-light")
    out = out or Path("data", EXTRACTED.get(align, "crops.tar"))
    with errors_in_one_line(), files_may_be_wrong():
        faces, crops = 0, partial(_crops, align=align, size=size or 128, flat=flat)
        others: dict[str, Callable[[list[str], Path], Iterator[int]]]
        others = {"mesh": _mesh_faces, "drawn": partial(_pairs, seed=seed)}
        for faces in others.get(align, crops)(sources, out):
            typer.echo(f"\r{faces} faces", nl=False, err=True)
    typer.echo(f"\n{faces} faces in {out}")


def _mesh_faces(sources: list[str], out: Path) -> Iterator[int]:
    from models.registry import load_face_model
    from streamer.training.extract import extract, named_frames

    model = load_face_model("linear-refined")
    return extract(named_frames(sources), out, template=model.template, crop_size=model.crop_size)


def _pairs(sources: list[str], out: Path, *, seed: int) -> Iterator[int]:
    from models.registry import load_face_model
    from streamer.training.extract import named_frames
    from streamer.training.pairs import extract_pairs

    return extract_pairs(named_frames(sources), out, model=load_face_model("textures").eval(), seed=seed)


def _crops(sources: list[str], out: Path, *, align: str, size: int, flat: bool) -> Iterator[int]:
    from models.face_model import DEFAULT_TEMPLATE
    from models.registry import load_face_model
    from streamer.render.cutter import face_alone
    from streamer.training.extract import extract_crops, named_frames

    template = DEFAULT_TEMPLATE
    if align == "template":
        template = face_alone(load_face_model("linear-refined").template, light="even" if flat else "kept")
    return extract_crops(named_frames(sources), out, template=template, crop_size=size)


@train_app.command("generator")
def train_generator(
    data: Crops,
    run: Run = Path("runs/generator"),
    size: Annotated[int | None, typer.Option(help="Side of the pictures in pixels: 64, 128 or 256.")] = None,
    width: Annotated[int | None, typer.Option(min=1, help="Channels at full size; less is faster.")] = None,
    channel_max: Annotated[int | None, typer.Option(min=1, help="Most channels at any size.")] = None,
    latent_size: Annotated[int | None, typer.Option(min=1, help="Numbers in a latent.")] = None,
    gamma: Annotated[float | None, typer.Option(min=0, help="Weight of the gradient penalty R1.")] = None,
    mapping_layers: Annotated[int | None, typer.Option(min=1, help="Layers between z and w.")] = None,
    mapping_rate: Annotated[float | None, typer.Option(min=0, help="Their rate, as a share of the rest's.")] = None,
    reconstruction: Annotated[
        float | None, typer.Option(min=0, help="Weight of drawing crops again from their principal components as z.")
    ] = None,
    adversarial_from: Annotated[int | None, typer.Option(min=0, help="Step until which only that is learnt.")] = None,
    steps: Steps = None,
    minutes: Minutes = None,
    batch: Batch = None,
    seed: Seed = None,
    tensorboard: TensorBoard = False,
) -> None:
    """Train StyleGAN2, which draws faces of nobody; the encoder comes next."""
    with errors_in_one_line(), files_may_be_wrong():
        from models.training.train_generator import GeneratorTrainConfig, train

        config = GeneratorTrainConfig(
            data=tuple(data),
            run=run,
            **_given(size=size, width=width, channel_max=channel_max, latent_size=latent_size, gamma=gamma),
            **_given(mapping_layers=mapping_layers, mapping_rate=mapping_rate),
            **_given(reconstruction=reconstruction, adversarial_from=adversarial_from),
            **_given(steps=steps, minutes=minutes, batch=batch, seed=seed),
        )
        _show(train(config), config, tensorboard=tensorboard)
    typer.echo(f"{run / 'generator.safetensors'}: use it with `veil train encoder --generator`")


@train_app.command("encoder")
def train_encoder(
    data: Crops,
    generator: Annotated[Path, typer.Option(help="Checkpoint of `veil train generator`, or an imported one's name.")],
    recognizer: Annotated[list[Path], typer.Option(help="A face recogniser's file or name; may be given repeatedly.")],
    run: Run = Path("runs/encoder"),
    discriminator: Annotated[Path | None, typer.Option(help="Of the generator: tells how alike pictures look.")] = None,
    lpips_heads: Annotated[
        Path | None, typer.Option(help="LPIPS 0.1, published weights; with --lpips-backbone.")
    ] = None,
    lpips_backbone: Annotated[Path | None, typer.Option(help="AlexNet or VGG16 for it, of torchvision.")] = None,
    width: Annotated[int | None, typer.Option(min=16, help="Channels of the encoder's first stage.")] = None,
    identity: Annotated[float | None, typer.Option(min=0, help="Weight of the identity loss.")] = None,
    outside: Annotated[float | None, typer.Option(min=0, help="Weight of pixels that the paste hides.")] = None,
    temporal: Annotated[float | None, typer.Option(min=0, help="Weight of steadiness over time.")] = None,
    codes: Annotated[Path | None, typer.Option(help="Of a generator with --reconstruction: latents to follow.")] = None,
    codes_until: Annotated[int | None, typer.Option(min=0, help="Step until which only they are followed.")] = None,
    joint_from: Annotated[int | None, typer.Option(min=0, help="Step from which the generator trains too.")] = None,
    steps: Steps = None,
    minutes: Minutes = None,
    batch: Batch = None,
    seed: Seed = None,
    tensorboard: TensorBoard = False,
) -> None:
    """Train a Private-Encoder for a generator: together they are a model for `veil run`."""
    with errors_in_one_line(), files_may_be_wrong():
        from models.training.train_encoder import EncoderTrainConfig, train

        config = EncoderTrainConfig(
            data=tuple(data),
            generator=generator,
            recognizers=tuple(recognizer),
            run=run,
            **_given(discriminator=discriminator, lpips_heads=lpips_heads, lpips_backbone=lpips_backbone),
            **_given(width=width, identity=identity, outside=outside, temporal=temporal, joint_from=joint_from),
            **_given(codes=codes, codes_until=codes_until),
            **_given(steps=steps, minutes=minutes, batch=batch, seed=seed),
        )
        _show(train(config), config, tensorboard=tensorboard)
    typer.echo(f"{run / 'private-encoder.safetensors'}: use it with `veil run --model`")


@train_app.command("strangers")
def train_strangers(
    model: Annotated[Path, typer.Argument(help="Checkpoint of `veil train encoder`.")],
    data: Crops,
    recognizer: Annotated[Path, typer.Option(help="A face recogniser's file or name.")],
    shape: Annotated[
        str, typer.Option(help="Weights whose strangers' shapes are taken; `none` keeps shapes.")
    ] = "linear-refined",
    directions: Annotated[int, typer.Option(min=1, help="Of the latents, that tell who somebody is.")] = 60,
    strangers: Annotated[int, typer.Option(min=1, help="How many to make.")] = 2048,
    seed: Annotated[int, typer.Option(min=0, help="Of who they are.")] = 0,
    out: Annotated[Path, typer.Option(help="The checkpoint to write.")] = Path("runs/private-encoder.safetensors"),
) -> None:
    """Give a Private-Encoder strangers: then keys, `--epsilon` and who comes back work with it as with the default."""
    with errors_in_one_line(), files_may_be_wrong():
        from models.checkpoint import weights_path
        from models.linear_refined import LinearRefined
        from models.pretrained.imported import load_recognizer
        from models.private_encoder.private_encoder import PrivateEncoder
        from models.registry import load_as
        from models.training.fits.fit_strangers import with_strangers
        from models.training.inputs.dataset import open_crops

        plain = load_as(PrivateEncoder, model).eval()
        made = with_strangers(
            plain,
            open_crops(data, plain.crop_size),
            load_recognizer(str(recognizer)),
            directions=directions,
            strangers=strangers,
            shape=None if shape == "none" else load_as(LinearRefined, weights_path(shape)).shape,
            seed=seed,
        )
        out.parent.mkdir(parents=True, exist_ok=True)
        made.save(out)
    typer.echo(f"{out}: use it with `veil run --model`")


@train_app.command("linear")
def train_linear(
    data: PreparedData,
    recognizer: Annotated[Path, typer.Option(help="MobileFaceNet state dict: what identity is measured with.")],
    run: Run = Path("runs/linear"),
    steps: Annotated[int, typer.Option(min=0, help="Where to stop.")] = 4000,
    minutes: Minutes = None,
    tensorboard: TensorBoard = False,
) -> None:
    """Train `linear-refined`, the default model."""
    with errors_in_one_line(), files_may_be_wrong():
        from models.training.train_linear import LinearTrainConfig, train

        config = LinearTrainConfig(data=data, recognizer=recognizer, run=run, steps=steps, **_given(minutes=minutes))
        _show(train(config), config, tensorboard=tensorboard)
    typer.echo(f"{run / 'linear-refined.safetensors'}: use it with `veil run --model`")


@train_app.command("refiner")
def train_refiner(
    data: Annotated[list[Path], typer.Argument(metavar="DATA...", help="Folders that `veil extract` wrote.")],
    teacher: Annotated[Path, typer.Option(help="Checkpoint of `veil train linear`, whose refiner is imitated.")],
    run: Run = Path("runs/refiner"),
    steps: Annotated[int, typer.Option(min=1, help="Where to stop; the learning rate ends there.")] = 3000,
    minutes: Minutes = None,
    tensorboard: TensorBoard = False,
) -> None:
    """Train a thinner refiner for `linear-refined`: the same faces in half of the time."""
    with errors_in_one_line(), files_may_be_wrong():
        from models.training.train_refiner import RefinerTrainConfig, train

        config = RefinerTrainConfig(data=tuple(data), teacher=teacher, run=run, steps=steps, **_given(minutes=minutes))
        _show(train(config), config, tensorboard=tensorboard)
    typer.echo(f"{run / 'linear-refined.safetensors'}: use it with `veil run --model`")


@train_app.command("harmonizer")
def train_harmonizer(
    data: Annotated[list[Path], typer.Argument(metavar="DATA...", help="Files of `veil extract --align drawn`.")],
    textures: Annotated[Path | None, typer.Option(help="Checkpoint whose harmonizer is replaced: else ours.")] = None,
    run: Run = Path("runs/harmonizer"),
    steps: Steps = None,
    minutes: Minutes = None,
    tensorboard: TensorBoard = False,
) -> None:
    """Train what makes the faces of `textures` belong to their frames."""
    with errors_in_one_line(), files_may_be_wrong():
        from models.training.train_harmonizer import HarmonizerTrainConfig, train

        given = _given(textures=textures, steps=steps, minutes=minutes)
        config = HarmonizerTrainConfig(data=tuple(data), run=run, **given)
        _show(train(config), config, tensorboard=tensorboard)
    typer.echo(f"{run / 'textures.safetensors'}: use it with `veil run --model`")


@train_app.command("identity")
def train_identity(
    data: Faces,
    teacher: Annotated[Path, typer.Option(help="MobileFaceNet state dict, which is imitated.")],
    run: Run = Path("runs/identity"),
    fine: Annotated[bool, typer.Option(help="The wider one, which chooses strangers, instead of `identity`.")] = False,
    steps: Annotated[int, typer.Option(min=1, help="Where to stop; the learning rate ends there.")] = 3000,
    minutes: Minutes = None,
    tensorboard: TensorBoard = False,
) -> None:
    """Train a small face recogniser that may be shipped, from one that may not."""
    with errors_in_one_line(), files_may_be_wrong():
        from models.training.train_identity import IdentityTrainConfig, train

        config = IdentityTrainConfig(
            data=tuple(data), teacher=teacher, run=run, fine=fine, steps=steps, **_given(minutes=minutes)
        )
        _show(train(config), config, tensorboard=tensorboard)
    typer.echo(f"{run / config.shipped}")


@train_app.command("textures")
def train_textures(
    donors: Annotated[
        list[Path],
        typer.Argument(metavar="DONORS...", help="Folders and tars of pictures of people who do not exist, or agreed."),
    ],
    labels: Annotated[
        Path | None,
        typer.Option(help="CSV file,sex,age,ancestry,…, as models/textures/donors.csv has it; else estimated."),
    ] = None,
    out: Annotated[Path, typer.Option(help="The checkpoint to write.")] = Path("runs/textures/textures.safetensors"),
    strangers: Annotated[int, typer.Option(min=1, help="How many to make of them, at most.")] = 2048,
) -> None:
    """Make `textures`: strangers composed of the faces in DONORS..., the same every time."""
    with errors_in_one_line(), files_may_be_wrong():
        from models.attributes.attributes import load_attributes
        from models.checkpoint import weights_path
        from models.pretrained.imported import load_recognizer
        from models.registry import load_as
        from models.textures import Textures
        from streamer.training.donors import read_labels
        from streamer.training.train_textures import train_textures as train

        steps = train(
            donors,
            out,
            labels=read_labels(labels) if labels else {},
            base=load_as(Textures, weights_path("textures")),
            recognizer=load_recognizer("identity"),
            attributes=load_attributes(),
            strangers=strangers,
        )
        for step in steps:
            total = f" of {step.total}" if step.total else ""
            typer.echo(f"\r{step.doing} {step.done}{total}   ", nl=False, err=True)
    typer.echo(f"\n{out}: use it with `veil run --model`")


@train_app.command("attributes")
def train_attributes(
    data: Crops,
    labels: Annotated[
        Path,
        typer.Option(help="CSV of file,sex,age,ancestry: 1 for male, 0 for female; unknown is empty."),
    ],
    recognizer: Annotated[Path, typer.Option(help="What `veil train identity` wrote; the classifier begins with it.")],
    run: Run = Path("runs/attributes"),
    steps: Annotated[int, typer.Option(min=1, help="Where to stop; the learning rate ends there.")] = 1000,
    minutes: Minutes = None,
    tensorboard: TensorBoard = False,
) -> None:
    """Train what tells sex, age, skin tone and ancestry of a face, by which strangers are chosen."""
    with errors_in_one_line(), files_may_be_wrong():
        from models.training.train_attributes import AttributeTrainConfig, train

        config = AttributeTrainConfig(
            data=tuple(data), labels=labels, recognizer=recognizer, run=run, steps=steps, **_given(minutes=minutes)
        )
        _show(train(config), config, tensorboard=tensorboard)
    typer.echo(f"{run / 'attributes.safetensors'}")


@train_app.command("inverter")
def train_inverter(
    photos: Annotated[list[Path], typer.Argument(metavar="PHOTOS...", help="Folders and tars of photos of anybody.")],
    cover: Annotated[str, typer.Option(help="What it undoes: blur_weak, blur_strong, mosaic, solid, ours.")],
    model: Annotated[str, typer.Option(help="Weights of `ours`.")] = "default",
    most: Annotated[int, typer.Option(min=16, help="Photos at most.")] = 4000,
    run: Run = Path("runs/inverter"),
    steps: Annotated[int, typer.Option(min=1, help="Where to stop; the learning rate ends there.")] = 2600,
    minutes: Minutes = None,
    seed: Annotated[int, typer.Option(min=0, help="Of keys, weights and order.")] = 0,
    tensorboard: TensorBoard = False,
) -> None:
    """Train an attacker who undoes a cover, for `veil evaluate attack --inverter`. RUN then holds faces."""
    with errors_in_one_line(), files_may_be_wrong():
        from models.pretrained.imported import load_recognizer
        from streamer.evaluate.attack.inverter_training import InverterTrainConfig, prepared, train
        from streamer.pipeline.anonymizer import Anonymizer

        config = InverterTrainConfig(run=run, cover=cover, steps=steps, seed=seed, **_given(minutes=minutes))
        crops = prepared(photos, config, Anonymizer.load(model), most=most, progress=_count_photos)
        typer.echo(err=True)
        _show(train(config, *crops, load_recognizer("identity")), config, tensorboard=tensorboard)
    typer.echo(f"{run / 'inverter.safetensors'}: use it with `veil evaluate attack --inverter`")


def _count_photos(done: int, total: int) -> None:
    typer.echo(f"\rcovered {done} of {total}   ", nl=False, err=True)


def _given(**options: Any) -> dict[str, Any]:  # noqa: ANN401 - fields of configurations
    """Return the options that were given; the others' defaults are the configuration's, which costs torch to read."""
    return {name: value for name, value in options.items() if value is not None}


def _show(steps: Iterator[TrainStep], config: RunConfig, *, tensorboard: bool) -> None:
    """Train with a bar on a terminal, and with a line a report elsewhere."""
    from models.training.train_command import report, to_tensorboard

    console = Console(stderr=True)
    columns = SpinnerColumn(), BarColumn(), TimeRemainingColumn(), TextColumn("{task.description}", markup=False)
    try:
        with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
            task = bar.add_task("", total=config.steps)
            for step in to_tensorboard(steps, config.run) if tensorboard else steps:
                bar.update(task, completed=step.step, description=report(step))
                if not console.is_terminal:
                    typer.echo(report(step))
    except KeyboardInterrupt:
        fail("interrupted; started again, it goes on from its last save", EXIT_INTERRUPTED)
