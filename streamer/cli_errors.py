"""How commands fail: every exception becomes one line on stderr and an exit code. Never quotes the data."""

from __future__ import annotations

import logging
import os
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NoReturn

import typer

from streamer.errors import StreamerError

EXIT_WORLD, EXIT_INTERRUPTED = 1, 130  # 2, wrong usage, is typer's
INTERRUPTED = "interrupted; nothing was written"


_interrupted = threading.Event()


def interrupt(*_: object) -> NoReturn:
    """Handle a signal to end. What it breaks on its way, such as an import half done, counts as interrupted too."""
    _interrupted.set()
    raise KeyboardInterrupt


def leave_no_core() -> None:
    """Let no crash write memory to disk: it holds frames. Where the system knows no such limit nothing is done."""
    with suppress(ImportError, OSError):
        import resource  # not on Windows

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def end_if_interrupted() -> None:
    """Raise again what a library may have swallowed: a signal can arrive anywhere, in the middle of an import too."""
    if _interrupted.is_set():
        raise KeyboardInterrupt


@contextmanager
def errors_in_one_line() -> Iterator[None]:
    """Turn every exception into one line on stderr and an exit code, and our warnings into lines."""
    handler = _EchoHandler(logging.WARNING)
    logging.getLogger("streamer").addHandler(handler)
    try:
        yield
    except (typer.Exit, typer.BadParameter):
        raise
    except KeyboardInterrupt:
        fail(INTERRUPTED, EXIT_INTERRUPTED)
    except StreamerError as error:
        fail(str(error), EXIT_WORLD)
    except MemoryError:
        fail("out of memory; close other programs, or scale the video down", EXIT_WORLD)
    except Exception as error:
        if _interrupted.is_set():
            fail(INTERRUPTED, EXIT_INTERRUPTED)
        # Not its message: that may quote the data, and the data are faces.
        place = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{Path(place.filename).name}:{place.lineno}"
        fail(f"unexpected {type(error).__name__} at {where}; VEIL_DEBUG=1 shows more", EXIT_WORLD)
    finally:
        logging.getLogger("streamer").removeHandler(handler)


@contextmanager
def files_may_be_wrong() -> Iterator[None]:
    """Say which file of a training run is missing or damaged; their messages name files and no data."""
    try:
        yield
    except (OSError, ValueError) as error:
        raise StreamerError(str(error)) from error


def fail(message: str, code: int) -> NoReturn:
    """Print one line and exit with `code`."""
    if os.environ.get("VEIL_DEBUG"):
        traceback.print_exc()
    typer.echo(f"veil: {' '.join(message.split())}", err=True)
    raise typer.Exit(code)


class _EchoHandler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        typer.echo(f"veil: {record.getMessage()}", err=True)
