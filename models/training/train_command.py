"""The trainers as plain programs, `python -m models.training.train_generator ...`, where there is nothing but torch.

`veil train` does the same with a progress bar. Under `torchrun` the first process speaks for all.
"""

from __future__ import annotations

import argparse
import dataclasses
import inspect
import re
import sys
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from types import NoneType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from models.training.loop import RunConfig, TrainStep

Config = TypeVar("Config", bound=RunConfig)

_SIMPLE = (int, float, str, Path)


def main(config_type: type[Config], train: Callable[[Config], Iterator[TrainStep]]) -> None:
    """Parse a configuration from the command line, train, and print one line a report."""
    values = vars(_parser(config_type).parse_args())
    with_tensorboard = values.pop("tensorboard")
    try:
        config = config_type(**values)
        steps = train(config)
        for step in to_tensorboard(steps, config.run) if with_tensorboard else steps:
            sys.stdout.write(f"{report(step)}\n")
            sys.stdout.flush()
    except (OSError, ValueError) as error:
        sys.exit(f"error: {' '.join(str(error).split())}")


def report(step: TrainStep) -> str:
    """Return a report as one line."""
    losses = "  ".join(f"{name} {value:.4g}" for name, value in step.losses.items())
    return f"step {step.step}  {step.images} images  {step.images_per_second:.1f}/s  {losses}".rstrip()


def to_tensorboard(steps: Iterator[TrainStep], folder: Path) -> Iterator[TrainStep]:
    """Yield `steps`, each after its losses and samples were written for TensorBoard in `folder`.

    Raises:
        ValueError: If TensorBoard is not installed; before the first step.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ValueError("TensorBoard is not installed; run `pip install tensorboard`") from error
    first = next(steps, None)
    if first is None:  # not the first process
        return
    with SummaryWriter(str(folder)) as writer:
        for step in chain([first], steps):
            for name, value in step.losses.items():
                writer.add_scalar(f"loss/{name}", value, step.step)
            writer.add_scalar("images_per_second", step.images_per_second, step.step)
            if step.samples is not None:
                writer.add_image("samples", step.samples, step.step)
            yield step


def _parser(config_type: type[RunConfig]) -> argparse.ArgumentParser:
    """Return a parser with an option for every field; `data` is positional."""
    described = _descriptions(config_type)
    parser = argparse.ArgumentParser(description=(config_type.__doc__ or "").partition("\n")[0])
    hints = get_type_hints(config_type)
    for field in dataclasses.fields(config_type):
        options = _reading(hints[field.name])
        if not options:  # a dataclass of its own: not for the command line
            continue
        text = described.get(field.name, "").replace("%", "%%")
        if field.name == "data":
            parser.add_argument("data", help=text, **options)
            continue
        if field.default is dataclasses.MISSING:
            options["required"] = True
        else:
            options["default"] = field.default
            text = f"{text} Default: {field.default}."
        parser.add_argument(f"--{field.name.replace('_', '-')}", help=text, **options)
    parser.add_argument("--tensorboard", action="store_true", help="Write scalars and samples for TensorBoard.")
    return parser


def _reading(hint: Any) -> dict[str, Any]:  # noqa: ANN401 - a type, or one of typing's special forms
    """Return how argparse reads a value of type `hint`; nothing if it cannot."""
    if hint in _SIMPLE:
        return {"type": hint}
    if get_origin(hint) is tuple and get_args(hint)[0] in _SIMPLE:
        count = "+" if Ellipsis in get_args(hint) else len(get_args(hint))
        return {"type": get_args(hint)[0], "nargs": count, "action": _Tuple}
    optional = [part for part in get_args(hint) if part is not NoneType]
    return {"type": optional[0]} if len(optional) == 1 and optional[0] in _SIMPLE else {}


class _Tuple(argparse.Action):
    """Keeps several values as a tuple, which a frozen configuration wants."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,  # noqa: ANN401 - as argparse has it
        option_string: str | None = None,
    ) -> None:
        """Set the tuple."""
        setattr(namespace, self.dest, tuple(values))


def _descriptions(config_type: type) -> dict[str, str]:
    """Return what the docstrings of the class and those it derives from say of each attribute."""
    described: dict[str, str] = {}
    for parent in reversed(config_type.__mro__):
        text = inspect.cleandoc(parent.__doc__ or "").partition("Attributes:\n")[2]
        for entry in re.finditer(r"^ {4}(\w[\w, ]*): (.*(?:\n {8}.*)*)", text, re.MULTILINE):
            for name in entry[1].split(", "):
                described[name] = " ".join(entry[2].split())
    return described
