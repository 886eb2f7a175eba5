"""How commands fail: every exception becomes one line on stderr and an exit code. Never quotes data or passwords."""

from __future__ import annotations

import io
import logging
import os
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import NoReturn

import typer

from streamer.errors import StreamerError, one_line_of
from streamer.masking import mask_secrets
from streamer.own_models import require_own_models

EXIT_WORLD, EXIT_INTERRUPTED = 1, 130  # 2, wrong usage, is typer's
OPTIONS = {  # of the command, by what the Python API calls them
    "pass overwrite=True": "allow --overwrite",
    "pass device='auto'": "use --device auto",
    "recursive=True": "--recursive",
}
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
        _check_models()
        yield
    except (typer.Exit, typer.BadParameter):
        raise
    except KeyboardInterrupt:
        fail(INTERRUPTED, EXIT_INTERRUPTED)
    except Exception as error:
        if _interrupted.is_set() and not isinstance(error, StreamerError | MemoryError):
            fail(INTERRUPTED, EXIT_INTERRUPTED)
        fail(one_line_of(error), EXIT_WORLD)
    finally:
        logging.getLogger("streamer").removeHandler(handler)


@contextmanager
def files_may_be_wrong() -> Iterator[None]:
    """Say which file of a training run is missing or damaged; their messages name files and no data."""
    try:
        yield
    except (OSError, ValueError) as error:
        raise StreamerError(str(error)) from error


@contextmanager
def interrupted_says(message: str) -> Iterator[None]:
    """Say something else than that nothing was written, where a signal ends what is in it."""
    try:
        yield
    except KeyboardInterrupt:
        fail(message, EXIT_INTERRUPTED)
    except Exception as error:
        if _interrupted.is_set() and not isinstance(error, StreamerError | MemoryError):
            fail(message, EXIT_INTERRUPTED)
        raise


def fail(message: str, code: int) -> NoReturn:
    """Print one line and exit with `code`."""
    if os.environ.get("VEIL_DEBUG"):
        typer.echo(mask_secrets(traceback.format_exc()), err=True)
    _say(message)
    raise typer.Exit(code)


def tell(text: str) -> None:
    """Print what a run has to say; that nobody reads it any more is no failure of the run, whose output is whole."""
    try:
        typer.echo(text)
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())  # Python flushes once more at its end
        os.close(nowhere)


def show_no_secrets() -> None:
    """Mask what Python itself prints: tracebacks, of threads too, and warnings of the libraries below."""

    def show(kind: type[BaseException], error: BaseException | None, trace: TracebackType | None) -> None:
        typer.echo(mask_secrets("".join(traceback.format_exception(kind, error, trace))), err=True, nl=False)

    sys.excepthook = show
    threading.excepthook = lambda failed: show(failed.exc_type, failed.exc_value, failed.exc_traceback)
    logging.lastResort = _EchoHandler(logging.WARNING)


def escape_what_a_console_lacks() -> None:
    """Let names that the encoding of the console lacks be escaped: by then the work is done and must not fail of it."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _check_models() -> None:
    try:
        require_own_models()
    except ImportError as error:
        raise StreamerError(str(error)) from error


def _say(message: str) -> None:
    with suppress(OSError):  # the terminal may be gone
        typer.echo(f"veil: {mask_secrets(_by_options(' '.join(message.split())))}", err=True)


def _by_options(message: str) -> str:
    """Return what a library says to a program as it is said to whoever typed the command."""
    for argument, option in OPTIONS.items():
        message = message.replace(argument, option)
    return message


class _EchoHandler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        _say(record.getMessage())
