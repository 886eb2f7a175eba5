"""The command, run in this process."""

from pathlib import Path

from typer.testing import CliRunner, Result

from streamer.cli import main as cli

COVER = ("--mode", "cover")


def veil(*arguments: str | Path) -> Result:
    return CliRunner().invoke(cli.app, list(map(str, arguments)))
