"""Archives that the tests make, and what is in their outputs."""

import hashlib
import json
from pathlib import Path

import av
import numpy as np
from typer.testing import CliRunner, Result

from streamer.cli import main as cli
from streamer.types import Image


def batch(command: str, *arguments: str | Path) -> Result:
    return CliRunner().invoke(cli.app, ["batch", command, *map(str, arguments)])


def cover(*arguments: str | Path, command: str = "run") -> Result:
    return batch(command, *arguments, "--mode", "cover")


def records(out: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (out / "manifest.jsonl").read_text().splitlines()]


def frames_of(path: Path) -> list[tuple[object, str]]:
    """The time of every frame, and the hash of its decoded pixels."""
    with av.open(str(path)) as container:
        return [
            (frame.pts * frame.time_base, hashlib.sha256(frame.to_ndarray(format="rgb24").tobytes()).hexdigest())
            for frame in container.decode(video=0)
        ]


def files_below(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def first_picture(clip: Path) -> Image:
    """The first picture of a clip, at half its size."""
    with av.open(str(clip)) as container:
        return np.ascontiguousarray(next(container.decode(video=0)).to_ndarray(format="rgb24")[::2, ::2])
