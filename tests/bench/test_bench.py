"""`veil bench`: what is measured adds up, every stage is seen, and noise is not taken for a change."""

import json
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from streamer.bench.measure import compared
from streamer.bench.stages import ENTRANCES, STAGES, StageClock
from streamer.bench.table import comparison
from streamer.cli import main as cli
from streamer.errors import StreamerError

SMALL = ("--sizes", "320x240", "--faces", "1", "--frames", "6", "--rounds", "1")


def spin(seconds: float) -> None:
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


def test_a_stage_within_another_counts_for_itself_alone():
    clock = StageClock()
    with clock.within("draw"):
        spin(0.02)
        with clock.within("blend"):
            spin(0.04)
    clock.end_frame()
    (frame,) = clock.frames
    assert frame["draw"][1] == pytest.approx(0.02, abs=0.01)
    assert frame["blend"][1] == pytest.approx(0.04, abs=0.01)


def row(*rates: float, mode: str = "cover", cpu_ms: float = 20.0) -> dict[str, object]:
    return {"size": "64x64", "faces": 1, "mode": mode, "device": "cpu", "fps": list(rates), "cpu_ms": [cpu_ms] * 2}


def test_a_change_counts_only_beyond_what_the_rounds_differ():
    assert compared(row(10, 10, 10), row(12, 12, 12), "fps") == (pytest.approx(0.2), 0)
    assert compared(row(9, 10, 11), row(11, 12, 15), "fps") == (pytest.approx(0.2), pytest.approx(0.2 + 4 / 12))
    (line,) = comparison([row(9, 10, 11)], [row(11, 12, 15, cpu_ms=15), row(1, mode="generate")])
    assert "frames per second +20.0%, as before, within the noise (53.3%); CPU a frame -25.0%, less (0.0%)" in line
    (line,) = comparison([row(10, 10.1)], [row(5, 5.1)])
    assert "frames per second -49.8%, less" in line
    with pytest.raises(StreamerError, match="nothing to compare"):
        comparison([row(1)], [row(1, mode="generate")])


@pytest.mark.slow
def test_every_stage_of_a_run_is_measured_and_left_as_it_was(tmp_path: Path):
    from streamer.faces import detect

    before = detect._scanned
    result = CliRunner().invoke(cli.app, ["bench", *SMALL, "--json"])
    assert result.exit_code == 0, result.stderr
    said = json.loads(result.stdout)
    assert detect._scanned is before
    drawn, covered = said["rows"]
    assert (drawn["faces_found"], covered["faces_found"]) == (1, 1)
    assert set(drawn["stages"]) == set(STAGES)
    assert {"decode", "detect", "mesh", "track", "conceal", "encode"} <= set(covered["stages"])
    assert sum(stage["share"] for stage in drawn["stages"].values()) == pytest.approx(1, abs=0.01)
    assert set(ENTRANCES) < set(STAGES)
    (tmp_path / "old.json").write_text(result.stdout)
    again = CliRunner().invoke(cli.app, ["bench", *SMALL, "--modes", "cover", "--compare", str(tmp_path / "old.json")])
    assert "320x240  1 faces  cover    cpu: " in again.stdout.splitlines()[-1]


@pytest.mark.parametrize("options", [("--sizes", "3x"), ("--faces", "0"), ("--compare", "none.json")])
def test_what_cannot_be_measured_is_said(options: tuple[str, str]):
    result = CliRunner().invoke(cli.app, ["bench", *options])
    assert result.exit_code in (1, 2)
    assert result.stdout == ""
