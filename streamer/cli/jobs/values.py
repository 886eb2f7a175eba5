"""Parses the values of options; one that means nothing is wrong usage, which names the option."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import typer

from streamer.region import Region, regions_of


@contextmanager
def wrong_usage(option: str | None = None) -> Iterator[None]:
    """Turn a value out of range into wrong usage: what typer lets pass, such as a beta that is not a number.

    Raises:
        BadParameter: Names the option.
    """
    try:
        yield
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=option) from error


def seconds_of(text: str | None, option: str) -> float | None:
    """Return the seconds in "90", "1:30" or "0:01:30.5"; None for None.

    Raises:
        BadParameter: If it is none of these; names the option.
    """
    if text is None:
        return None
    parts = text.split(":")
    try:
        numbers = [float(part) for part in parts]
    except ValueError:
        numbers = []
    if not 1 <= len(numbers) <= 3 or any(not 0 <= number < float("inf") for number in numbers):
        raise typer.BadParameter(f"expected seconds, or [H:]M:S, got {text!r}", param_hint=option)
    seconds = 0.0
    for number in numbers:
        seconds = 60 * seconds + number
    return seconds


def key_of(file: Path | None, option: str) -> bytes | None:
    """Return the key in a file; None for None.

    Raises:
        BadParameter: If it cannot be read, or is no key.
    """
    if file is None:
        return None
    from models.privacy import load_key

    with wrong_usage(option):
        return load_key(file)


def always_of(values: Iterable[str]) -> tuple[Region, ...]:
    """Return the regions of `--always`.

    Raises:
        BadParameter: If one of them is none.
    """
    with wrong_usage("--always"):
        return regions_of(values)
