"""What can go wrong, as a caller must tell it apart.

StreamerError          the world is broken; the message is one line for the user
|- SourceError         cannot read the input
|- SinkError           cannot write the output
'- AnonymizerError     cannot make it anonymous; the frame must not be written
"""

from __future__ import annotations


class StreamerError(Exception):
    """Something outside the program failed; `str(error)` is one line that names it and says what to do."""


class SourceError(StreamerError):
    """The input is missing, not a video, or broke."""


class SinkError(StreamerError):
    """The output cannot be written."""


class AnonymizerError(StreamerError):
    """A frame cannot be made anonymous; it must not be written."""
