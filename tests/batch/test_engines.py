"""Archives in processes of their own: killed ones go on, and Ray does what this process does."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from tests.batch.archives import batch, cover, files_below, first_picture, frames_of, records
from tests.clips import encode_clip
from tests.end_to_end.patience import PATIENCE_SECONDS

pytestmark = pytest.mark.slow

KEYS = {"g": "8", "keyint_min": "8", "sc_threshold": "0"}
IN_PARTS = ("--part-minutes", "0.02")


@pytest.fixture
def folder(tmp_path: Path, portrait_clip: Path) -> Path:
    """Four clips of a face, one of them long, and a file that is none."""
    inside = tmp_path / "in"
    inside.mkdir()
    face = first_picture(portrait_clip)
    size = (face.shape[1], face.shape[0])
    for name, count in (("a", 12), ("b", 12), ("c", 12), ("long", 36)):
        encode_clip(inside / f"{name}.mp4", pts=range(count), pictures=[face] * count, size=size, options=KEYS)
    (inside / "bad.mp4").write_text("no video")
    return inside


RUN = "from streamer.cli.main import main; main()"
KILLED = f"""
import os, signal
from streamer.batch.manifest import Manifest
from streamer.pipeline.stream import FaceAnonymizer
add, render, done = Manifest.add, FaceAnonymizer.render, []

def added(manifest, *records):
    add(manifest, *records)
    done.extend(record for record in records if record["kind"] == "done")

def rendered(stream, seen):
    if done and seen.frame.index == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    return render(stream, seen)

Manifest.add, FaceAnonymizer.render = added, rendered
{RUN}
"""


def start(code: str, folder: Path, out: Path, *options: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", code, "batch", "run", str(folder), "--out", str(out), "--mode", "cover", *options]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_until(happens: Callable[[], object], running: subprocess.Popen[str]) -> None:
    end = time.monotonic() + PATIENCE_SECONDS
    while not happens():
        assert running.poll() is None, "the run was over before"
        assert time.monotonic() < end
        time.sleep(0.02)


def is_one_done(out: Path) -> bool:
    manifest = out / "manifest.jsonl"
    return manifest.exists() and '"kind": "done"' in manifest.read_text()


def workers_of(run: int) -> list[int]:
    """Return the actors of Ray that do a task for a process now: its children's children."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            title = (folder / "cmdline").read_text()
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            grandparent = int(Path(f"/proc/{parent}/stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError):  # it has ended
            continue
        if title.startswith("ray::Worker.do") and grandparent == run:
            found.append(int(folder.name))
    return found


def stopped_in_a_task(run: subprocess.Popen[str]) -> list[int]:
    """Stop an actor of Ray in the middle of a task, so that it cannot finish it; return it, if there was one."""
    for worker in workers_of(run.pid):
        with suppress(ProcessLookupError):
            os.kill(worker, signal.SIGSTOP)
            wait_until(lambda: " T " in Path(f"/proc/{worker}/stat").read_text(), run)  # noqa: B023 - ends here
            if worker in workers_of(run.pid):
                return [worker]
            os.kill(worker, signal.SIGCONT)
    return []


def assert_same(out: Path, expected: Path) -> None:
    names = ["a.mp4", "b.mp4", "c.mp4", "long.mp4"]
    assert files_below(out) == [*names, "manifest.jsonl"]
    assert [frames_of(out / name) for name in names] == [frames_of(expected / name) for name in names]
    assert {record["name"] for record in records(out) if record["kind"] == "done"} == set(names)
    assert {record["name"] for record in records(out) if record["kind"] == "failed"} == {"bad.mp4"}


def test_a_run_that_was_killed_goes_on_and_ends_as_one_that_was_not(folder: Path, tmp_path: Path):
    cover(folder, "--out", tmp_path / "expected", *IN_PARTS)
    out = tmp_path / "out"
    killed = start(KILLED, folder, out, *IN_PARTS)
    said = killed.communicate(timeout=PATIENCE_SECONDS)
    assert killed.returncode == -signal.SIGKILL, said
    finished = {record["name"] for record in records(out) if record["kind"] == "done"}
    assert 0 < len(finished) < 4
    assert set(files_below(out)) >= finished
    assert cover(folder, "--out", out, *IN_PARTS).exit_code == 1  # of bad.mp4
    assert_same(out, tmp_path / "expected")
    done = [record["name"] for record in records(out) if record["kind"] == "done"]
    assert len(done) == len(set(done))


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="finds the workers of Ray in /proc")
def test_ray_does_a_lost_worker_s_task_again_and_the_outputs_are_the_same(folder: Path, tmp_path: Path):
    pytest.importorskip("ray", reason="Ray is not installed: pip install ray")
    cover(folder, "--out", tmp_path / "expected", *IN_PARTS)
    out = tmp_path / "out"
    run = start(RUN, folder, out, "--engine", "ray", "--workers", "2", *IN_PARTS)
    lost: list[int] = []
    wait_until(lambda: lost.extend(stopped_in_a_task(run)) or lost, run)
    wait_until(lambda: is_one_done(out), run)  # by the other one
    os.kill(lost[0], signal.SIGKILL)
    said = run.communicate(timeout=PATIENCE_SECONDS)
    assert run.returncode == 1, said
    assert "bad.mp4: Invalid data" in said[1]
    assert_same(out, tmp_path / "expected")
    assert batch("verify", "--out", out).exit_code == 1  # of bad.mp4
