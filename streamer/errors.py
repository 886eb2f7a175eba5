"""What can go wrong, as a caller must tell it apart.

StreamerError          the world is broken; the message is one line for the user
|- SourceError         cannot read the input
|- SinkError           cannot write the output
'- AnonymizerError     cannot make it anonymous; the frame must not be written
"""

from __future__ import annotations

import traceback
from pathlib import Path


class StreamerError(Exception):
    """Something outside the program failed; `str(error)` is one line that names it and says what to do."""


class SourceError(StreamerError):
    """The input is missing, not a video, or broke."""


class SinkError(StreamerError):
    """The output cannot be written."""


class AnonymizerError(StreamerError):
    """A frame cannot be made anonymous; it must not be written."""


def one_line_of(error: Exception) -> str:
    """Return what is said of an error; of one that is not ours only where it came from: its message may quote data."""
    if isinstance(error, StreamerError):
        return str(error)
    if isinstance(error, MemoryError):
        return "out of memory; close other programs, or scale the video down"
    place = traceback.extract_tb(error.__traceback__)[-1]
    where = f"{Path(place.filename).name}:{place.lineno}"
    return f"unexpected {type(error).__name__} at {where}; VEIL_DEBUG=1 shows more"
