"""Video in, video out, with every face replaced. Importing this loads nothing heavy; using a name does."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from streamer.own_models import require_own_models

if TYPE_CHECKING:
    from streamer.api.program import Anonymizer
    from streamer.cores import share_cores
    from streamer.errors import AnonymizerError, SinkError, SourceError, StreamerError
    from streamer.pipeline.runner import protect
    from streamer.sinks.file_sink import open_sink
    from streamer.sources.file_source import open_source
    from streamer.types import Frame, SafeFrame

__version__ = "0.1.0"

__all__ = [
    "Anonymizer",
    "AnonymizerError",
    "Frame",
    "SafeFrame",
    "SinkError",
    "SourceError",
    "StreamerError",
    "open_sink",
    "open_source",
    "protect",
    "share_cores",
]

_HOME = {
    "Anonymizer": "streamer.api.program",
    "AnonymizerError": "streamer.errors",
    "Frame": "streamer.types",
    "SafeFrame": "streamer.types",
    "SinkError": "streamer.errors",
    "SourceError": "streamer.errors",
    "StreamerError": "streamer.errors",
    "open_sink": "streamer.sinks.file_sink",
    "open_source": "streamer.sources.file_source",
    "protect": "streamer.pipeline.runner",
    "share_cores": "streamer.cores",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401 - PEP 562: the type is that of the name asked for
    if name not in _HOME:
        raise AttributeError(f"module 'streamer' has no attribute {name!r}")
    require_own_models()
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
