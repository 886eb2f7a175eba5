"""A live stream in which everything breaks now and then shows nobody, and goes on."""

from pathlib import Path

import pytest

from benchmarks.faults import MIN_SIZE, Faults, Looped, play, witness

SHARED = Path(__file__).parents[3] / "shared"
SECONDS = 5.0
STAGES = ("detect", "scan", "track", "conceal", "draw")


def broken_run(clip: Path, out: Path, recognizer: Path | None) -> None:
    source, faults = Looped(clip, SECONDS), Faults(seed=1, rate=10)
    played = play(source, out, faults, pace=lambda looped: looped)
    for what in ("detection dropped", "no number", *(f"{stage} raised" for stage in STAGES)):
        assert faults.counts[what], f"nothing was {what}: {faults.counts}"
    assert played.frames == len(list(source))
    assert {"generated", "mosaic", "frame"} <= played.tiers.keys()
    compared, recognised = witness(recognizer).judge(source, out)
    assert compared > 20, f"no faces of {MIN_SIZE} pixels"
    assert recognised == []


def test_nobody_is_shown_while_every_stage_breaks(portrait_clip: Path, tmp_path: Path) -> None:
    broken_run(portrait_clip, tmp_path / "out.mkv", None)


@pytest.mark.skipif(not SHARED.exists(), reason="needs ../shared: clips and a recogniser")
def test_nobody_of_a_real_clip_is_recognised_while_every_stage_breaks(tmp_path: Path) -> None:
    broken_run(SHARED / "clips" / "signing_640x480.mkv", tmp_path / "out.mkv", SHARED / "weights" / "mobilefacenet.pt")
