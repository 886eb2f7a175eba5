"""`veil verify` and `veil audit-key`: what they say, and their exit codes."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner, Result

from streamer.audit.log import AuditLog, GuardFigures
from streamer.cli.audit import make_key, verify_log
from streamer.types import FaceReport, SafeFrame

app = typer.Typer()
app.command("verify")(verify_log)
app.command("audit-key")(make_key)


def veil(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, list(map(str, arguments)))


@pytest.fixture
def key(tmp_path: Path) -> Path:
    (tmp_path / "public.pem").write_text(veil("audit-key", tmp_path / "key.pem").stdout)
    return tmp_path / "key.pem"


def write(path: Path, key: Path | None = None) -> Path:
    face = FaceReport(1, "mosaic", "small", np.zeros(4, np.float32))
    frame = SafeFrame(np.zeros((2, 2, 3), np.uint8), 0, 0, Fraction(1), (face,))
    with AuditLog(path, header={}, signing_key=key) as log:
        log.add(frame, dropped=2, guard=GuardFigures(1, 0.25, 0.4, 0))
    return path


def test_a_signed_log_is_intact_and_its_totals_are_told(tmp_path: Path, key: Path):
    result = veil("verify", write(tmp_path / "log", key), "--public-key", tmp_path / "public.pem")
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "intact: 3 lines; the run ended: complete",
        "signed with the key given",
        "1 seconds, 1 frames, 0 of them covered whole, 2 dropped",
        "1 face-frames: 1 mosaic",
        "guard: 1 comparisons, highest 0.250 of 0.400 allowed, 0 escalations",
    ]


def test_who_gives_no_key_is_told_which_one_signed(tmp_path: Path, key: Path):
    assert "--public-key checks that it is the key you expect" in veil("verify", write(tmp_path / "log", key)).stdout


def test_an_unsigned_log_is_said_to_be_unsigned_and_refused_where_a_key_is_given(tmp_path: Path, key: Path):
    result = veil("verify", write(tmp_path / "log"))
    assert result.exit_code == 0
    assert "not signed" in result.stdout
    result = veil("verify", tmp_path / "log", "--public-key", tmp_path / "public.pem")
    assert result.exit_code == 1
    assert "has no signature" in result.stdout


def test_an_unfinished_log_is_an_error_unless_it_is_allowed(tmp_path: Path):
    lines = write(tmp_path / "log").read_bytes().splitlines(keepends=True)
    (tmp_path / "log").write_bytes(b"".join(lines[:2]))
    result = veil("verify", tmp_path / "log")
    assert result.exit_code == 1
    assert result.stdout.startswith("intact up to line 2; not closed: the run was killed")
    assert veil("verify", tmp_path / "log", "--allow-unfinished").exit_code == 0


def test_a_changed_log_is_broken_even_if_it_may_be_unfinished(tmp_path: Path):
    (tmp_path / "log").write_bytes(write(tmp_path / "log").read_bytes().replace(b'"dropped":2', b'"dropped":0'))
    result = veil("verify", tmp_path / "log", "--allow-unfinished")
    assert result.exit_code == 1
    assert result.stdout.startswith("BROKEN: line 2 was changed: its checksum is another; intact up to line 1")


def test_a_log_that_is_missing_is_one_line_on_stderr(tmp_path: Path):
    result = veil("verify", tmp_path / "nowhere")
    assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (1, "", 1)


def test_a_key_is_not_made_twice(tmp_path: Path, key: Path):
    before = key.read_bytes()
    assert before.startswith(b"-----BEGIN PRIVATE KEY-----")
    result = veil("audit-key", key)
    assert result.exit_code == 1
    assert "never replaced" in result.stderr
    assert key.read_bytes() == before
