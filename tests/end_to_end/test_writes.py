"""What a run writes: its output and its log, and nothing else. Watched from outside, by the system calls it makes."""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

CALLS = "openat,open,creat,write,pwrite64,writev,pwritev,pwritev2,sendfile,copy_file_range,execve,memfd_create"
OPENED = re.compile(r'(?:openat\([^,]*, |open\(|creat\()"([^"]*)", (\S*)')
WRITTEN = re.compile(r"(?:write|pwrite64|writev|pwritev2?|sendfile|copy_file_range)\(\d+<([^>]*)>.* = (\d+)$")
HARMLESS = re.compile(r"/dev/(null|tty|shm/sem\.)|/proc/self/|pipe:|socket:|anon_inode:|.*/fontlist-|.*/\.?matplotlib")


def trace_is_possible() -> bool:
    """Whether the kernel lets system calls be watched here."""
    command = ["strace", "-o", "/dev/null", "true"]
    return bool(shutil.which("strace")) and not subprocess.run(command, capture_output=True, check=False).returncode


@pytest.mark.skipif(not shutil.which("strace"), reason="needs strace (Debian: strace)")
@pytest.mark.skipif(bool(shutil.which("strace")) and not trace_is_possible(), reason="the kernel forbids strace")
def test_a_run_writes_its_output_and_its_log_and_nothing_else(portrait_clip: Path, tmp_path: Path) -> None:
    trace, out, log = tmp_path / "trace", tmp_path / "out.mp4", tmp_path / "log.jsonl"
    veil = [sys.executable, "-B", "-m", "streamer", "run", str(portrait_clip), str(out), "--audit", str(log)]
    watched = ["strace", "-f", "-y", "-qq", "-s", "8", "-e", f"trace={CALLS}", "-o", str(trace), *veil]
    subprocess.run(watched, check=True, capture_output=True)
    opened, written = writes(trace)
    part = next(Path(path) for path in opened if re.fullmatch(r"out\.\w{8}\.part\.mp4", Path(path).name))
    assert written.pop(str(part)) > 1000, "the trace misses what is written for certain"
    assert written.pop(str(log)) > 100
    stray = {path for path in opened - {str(part), str(log)} if not HARMLESS.match(path)}
    # Python looks for shared libraries by a compiler, and tries by four bytes whether a folder takes files.
    assert {path: written[path] for path in stray if written[path] > 4} == {}
    assert [path for path in stray if Path(path).exists()] == []
    assert {path for path in written if not HARMLESS.match(path)} <= stray | {str(part), str(log)}


def writes(trace: Path) -> tuple[set[str], dict[str, int]]:
    """Return the files that were opened for writing, and how many bytes went into each, other programs' left out."""
    opened: set[str] = set()
    written: dict[str, int] = defaultdict(int)
    others: set[str] = set()
    for number, line in enumerate(trace.read_text(errors="replace").splitlines()):
        process, _, call = line.partition(" ")
        if call.lstrip().startswith("execve(") and number and "= 0" in call:
            others.add(process)
        if process in others:
            continue
        if (found := OPENED.search(call)) and re.search("O_WRONLY|O_RDWR|O_CREAT", call) and "= -1" not in call:
            opened.add(found[1])
        if found := WRITTEN.search(call):
            written[found[1]] += int(found[2])
    return opened, written


@pytest.mark.parametrize(("name", "frame"), [("out.mp4", 5), ("out.mkv", 0), ("out", 11)])
def test_a_run_that_is_killed_leaves_nothing_under_the_final_name_and_a_log_that_verifies(
    name: str, frame: int, portrait_clip: Path, tmp_path: Path
) -> None:
    killer = tmp_path / "killer.py"
    killer.write_text(
        "import os, signal\n"
        "from streamer.cli import main as cli\nfrom streamer.pipeline.stream import FaceAnonymizer\n"
        "real = FaceAnonymizer.render\n"
        "def render(stream, seen):\n"
        f"    if seen.frame.index == {frame}:\n        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return real(stream, seen)\n"
        "FaceAnonymizer.render = render\ncli.main()\n"
    )
    log = tmp_path / "log.jsonl"
    command = [sys.executable, killer, "run", portrait_clip, tmp_path / name, "--mode", "cover", "--audit", log]
    root = {"PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(command, capture_output=True, check=False, env=os.environ | root)
    assert done.returncode == -signal.SIGKILL
    assert not (tmp_path / name).exists()
    verify = [sys.executable, "-m", "streamer", "verify", str(log)]
    assert subprocess.run(verify, capture_output=True, check=False).returncode == 1  # it was not closed
    assert subprocess.run([*verify, "--allow-unfinished"], capture_output=True, check=False).returncode == 0
    again = [sys.executable, "-m", "streamer", "run", portrait_clip, tmp_path / name, "--mode", "cover", "--overwrite"]
    assert subprocess.run(again, capture_output=True, check=False).returncode == 0
    rest = {path.name for path in tmp_path.iterdir() if ".part" not in path.suffixes}
    assert rest == {"killer.py", "log.jsonl", name}


def test_no_crash_leaves_memory_on_disk() -> None:
    code = "import resource; from streamer.cli.failures import leave_no_core as f; f(); print(resource.getrlimit(4))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "(0, 0)\n"
