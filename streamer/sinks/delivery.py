"""What became of each output of a run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["done", "interrupted", "failed"]


@dataclass(frozen=True, slots=True)
class Delivery:
    """What became of one output.

    Attributes:
        sink: As it may be shown.
        state: "interrupted" if it was away for a while, so that frames are missing.
        frames: How many it took.
        reason: Why it is not "done"; else "".
    """

    sink: str
    state: State
    frames: int
    reason: str = ""


class RemoteSink:
    """What a sink derives from that loses frames while the other side is away.

    Attributes:
        frames_taken: Frames that the other side took.
        trouble: Why it last took none; "" if it always did.
    """

    frames_taken: int = 0
    trouble: str = ""
