"""The audit log: what it says, and that no change to it goes unnoticed."""

import ast
import hashlib
import json
import os
import re
import subprocess
import sys
import time
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.audit import log as audit
from streamer.audit.keys import create_signing_key, load_signing_key, public_pem
from streamer.audit.log import AuditLog, Figures, GuardFigures, canonical, sealed, settings_sha256
from streamer.audit.verify import Verification, verify
from streamer.errors import SinkError, SourceError
from streamer.masking import mask_secrets
from streamer.settings import Settings
from streamer.types import FaceReport, Frame, SafeFrame

BLACK = np.zeros((4, 4, 3), np.uint8)
BOX = np.array([11111, 22222, 33333, 44444], np.float32)
DRAWN = FaceReport(1, "generated", "", BOX)
SMALL = FaceReport(2, "mosaic", "small", BOX)


def is_complete(found: Verification) -> bool:
    """Whether the log is intact and was closed."""
    return not found.problem and not found.unfinished


def frame(index: int, *faces: FaceReport, failed: str = "") -> SafeFrame:
    """Return a frame of a clip of two frames a second."""
    return SafeFrame(BLACK, index, index, Fraction(1, 2), faces, failed)


def write(path: Path, *, frames: int = 5, key: Path | None = None) -> Path:
    with AuditLog(path, header={"model": "default"}, signing_key=key) as log:
        for index in range(frames):
            log.add(frame(index, DRAWN, SMALL), dropped=index % 2, guard=GuardFigures(1, 0.1 * index, 0.4, 0))
    return path


def records(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


@pytest.fixture
def key(tmp_path: Path) -> Path:
    create_signing_key(tmp_path / "key.pem")
    return tmp_path / "key.pem"


@pytest.fixture
def public(key: Path) -> Path:
    path = key.with_name("public.pem")
    path.write_text(public_pem(load_signing_key(key).public_key()))
    return path


def test_every_second_of_media_time_has_a_line_and_the_end_has_the_totals(tmp_path: Path):
    header, *seconds, end = records(write(tmp_path / "log.jsonl"))
    assert (header["kind"], header["model"], header["format"], header["public_key"]) == ("header", "default", 1, None)
    assert [(line["second"], line["frames"], line["dropped"]) for line in seconds] == [(0, 2, 1), (1, 2, 1), (2, 1, 0)]
    assert [line["guard"]["highest"] for line in seconds] == pytest.approx([0.1, 0.3, 0.4])
    assert (end["reason"], end["seconds"], end["frames"], end["dropped"]) == ("complete", 3, 5, 2)
    assert (end["tiers"], end["reasons"]) == ({"generated": 5, "mosaic": 5}, {"small": 5})
    assert end["guard"]["compared"] == 5


def test_a_frame_covered_whole_is_counted_by_the_kind_of_failure_without_its_message(tmp_path: Path):
    with AuditLog(tmp_path / "log", header={}) as log:
        log.add(frame(0, failed="ValueError: a pixel's secret"))
    assert records(tmp_path / "log")[1]["whole"] == 1
    assert records(tmp_path / "log")[1]["failures"] == {"ValueError": 1}
    assert "pixel" not in (tmp_path / "log").read_text()


def test_no_place_of_a_face_gets_into_the_log(tmp_path: Path):
    hashes = {"previous", "seal"}  # which may hold any number by chance
    text = str([{name: line[name] for name in line.keys() - hashes} for line in records(write(tmp_path / "log"))])
    assert not any(number in text for number in ("11111", "22222", "33333", "44444"))


def test_each_line_carries_the_sha256_of_the_line_before(tmp_path: Path):
    lines = write(tmp_path / "log.jsonl").read_bytes().splitlines()
    previous = [json.loads(line)["previous"] for line in lines]
    assert previous == ["0" * 64, *(hashlib.sha256(line).hexdigest() for line in lines[:-1])]


def test_each_line_of_a_signed_log_is_signed_with_the_key_that_its_header_names(tmp_path: Path, key: Path):
    header, *_ = lines = records(write(tmp_path / "log.jsonl", key=key))
    public = Ed25519PublicKey.from_public_bytes(bytes.fromhex(header["public_key"]))
    for line in lines:
        content = json.dumps({name: line[name] for name in sorted(line) if name != "seal"}, separators=(",", ":"))
        public.verify(bytes.fromhex(line["seal"]), b"veil audit line\n" + content.encode())  # raises if it does not fit


@pytest.mark.parametrize(
    ("error", "reason"), [(KeyboardInterrupt, "interrupted"), (MemoryError, "failed: MemoryError")]
)
def test_the_end_says_why_a_run_ended(tmp_path: Path, error: type[BaseException], reason: str):
    with pytest.raises(error), AuditLog(tmp_path / "log", header={}) as log:  # noqa: PT012
        log.add(frame(0))
        raise error("not to be quoted")
    found = verify(tmp_path / "log")
    assert (is_complete(found), found.reason, found.frames) == (True, reason, 1)
    assert "quoted" not in (tmp_path / "log").read_text()


def test_passwords_and_queries_of_a_source_are_masked(tmp_path: Path):
    with AuditLog(tmp_path / "log", header={"source": "rtsp://ann:p@ss/w?rd@cam.local/1?token=abc#x", "beta": 0.5}):
        pass
    assert records(tmp_path / "log")[0]["source"] == "rtsp://***@cam.local/1?***"
    assert records(tmp_path / "log")[0]["beta"] == 0.5
    assert mask_secrets("/home/a@b/what?.mp4") == "/home/a@b/what?.mp4"


def test_the_hash_of_the_settings_tells_them_apart_but_not_their_key():
    one, other = settings_sha256(Settings(beta=0.5, key=b"a" * 32)), settings_sha256(Settings(beta=0.5, key=b"b" * 32))
    assert one == other
    assert one != settings_sha256(Settings(beta=0.25, key=b"a" * 32))


def test_the_log_writes_its_own_lines_only(tmp_path: Path):
    with pytest.raises(ValueError, match="previous"):
        AuditLog(tmp_path / "log", header={"previous": "x"})


def test_only_safe_frames_are_counted_and_only_while_the_log_is_open(tmp_path: Path):
    with AuditLog(tmp_path / "log", header={}) as log, pytest.raises(TypeError, match="Frame"):
        log.add(Frame(BLACK, 0, 0, Fraction(1)))
    with pytest.raises(SinkError, match="it is closed"):
        log.add(frame(0))


def test_a_file_that_exists_is_kept(tmp_path: Path):
    path = write(tmp_path / "log.jsonl")
    before = path.read_bytes()
    with pytest.raises(SinkError, match="it exists"), AuditLog(path, header={}):
        pass
    assert path.read_bytes() == before


def test_a_folder_that_is_missing_is_said_in_one_line(tmp_path: Path):
    with pytest.raises(SinkError, match="No such file"), AuditLog(tmp_path / "no" / "log", header={}):
        pass


def test_a_full_disk_ends_the_run_and_the_device_stays_a_device(tmp_path: Path):
    (tmp_path / "log").symlink_to("/dev/full")
    with pytest.raises(SinkError, match="the disk is full"), AuditLog(tmp_path / "log", header={}):
        pass
    assert (tmp_path / "log").is_symlink()
    assert Path("/dev/full").is_char_device()


FILL = """
import resource, signal, sys
from tests.audit.test_log import *
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # the kernel then fails the write, after a part of it
log = AuditLog(sys.argv[1], header={})
try:
    with log:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1500, 1500))
        for index in range(99):
            log.add(frame(index, DRAWN))
except SinkError as error:
    print(error)
"""


@pytest.mark.slow
def test_a_write_that_fails_halfway_leaves_no_half_line(tmp_path: Path):
    done = subprocess.run([sys.executable, "-c", FILL, tmp_path / "log"], capture_output=True, text=True, check=True)
    assert "File too large; the run ends" in done.stdout
    lines = (tmp_path / "log").read_bytes().splitlines(keepends=True)
    assert 1000 < sum(map(len, lines)) <= 1500
    found = verify(tmp_path / "log")
    assert (found.lines, found.problem) == (len(lines), "")
    assert found.unfinished.startswith("not closed")


def test_a_closed_pipe_ends_the_run(tmp_path: Path):
    os.mkfifo(tmp_path / "log")
    reader = os.open(tmp_path / "log", os.O_RDONLY | os.O_NONBLOCK)
    with pytest.raises(SinkError, match="Broken pipe"), AuditLog(tmp_path / "log", header={}) as log:  # noqa: PT012
        os.close(reader)
        log.add(frame(0))
        log.add(frame(2))


def test_an_interrupted_write_is_not_counted_and_the_log_stays_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    real, calls = os.write, []

    def interrupted(file: int, data: bytes) -> int:
        calls.append(data)
        written = real(file, data)
        if len(calls) == 2:
            raise KeyboardInterrupt  # as a signal that comes just after the system call
        return written

    monkeypatch.setattr(os, "write", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "log")
    found = verify(tmp_path / "log")
    assert (is_complete(found), found.reason, found.frames) == (True, "interrupted", 2)


KILLED = """
import sys, itertools
from tests.audit.test_log import *
with AuditLog(sys.argv[1], header={}, signing_key=Path(sys.argv[2])) as log:
    for index in itertools.count():
        log.add(frame(index, DRAWN))
"""


@pytest.mark.slow
def test_a_run_that_is_killed_leaves_a_log_that_verifies_up_to_its_last_line(tmp_path: Path, key: Path, public: Path):
    run = subprocess.Popen([sys.executable, "-c", KILLED, tmp_path / "log", key])
    while not (tmp_path / "log").exists() or (tmp_path / "log").stat().st_size < 20_000:
        assert run.poll() is None
        time.sleep(0.01)
    run.kill()
    run.wait()
    found = verify(tmp_path / "log", public)
    whole = (tmp_path / "log").read_bytes().count(b"\n")
    assert (found.problem, found.lines, found.frames) == ("", whole, 2 * (whole - 1))
    assert found.unfinished
    assert not is_complete(found)


def test_an_intact_log_is_complete_and_says_who_signed_it(tmp_path: Path, key: Path, public: Path):
    unsigned, signed = verify(write(tmp_path / "a")), verify(write(tmp_path / "b", key=key), public)
    assert (is_complete(unsigned), unsigned.signed_by) == (True, "")
    assert (is_complete(signed), signed.lines, signed.seconds, signed.frames) == (True, 5, 3, 5)
    assert signed.signed_by == records(tmp_path / "b")[0]["public_key"]
    assert signed.totals.tiers == {"generated": 5, "mosaic": 5}


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> dict[bool, bytes]:
    """A signed and an unsigned log."""
    folder = tmp_path_factory.mktemp("logs")
    create_signing_key(folder / "key.pem")
    signed = write(folder / "signed", key=folder / "key.pem").read_bytes()
    return {True: signed, False: write(folder / "unsigned").read_bytes()}


@pytest.mark.slow
@settings(max_examples=300)
@given(is_signed=st.booleans(), share=st.floats(0, 1, exclude_max=True), value=st.integers(0, 255))
def test_any_edit_of_one_byte_is_found(
    both: dict[bool, bytes], tmp_path_factory: pytest.TempPathFactory, is_signed: bool, share: float, value: int
):
    content = bytearray(both[is_signed])
    at = int(share * len(content))
    if content[at] == value:
        return
    content[at] = value
    path = tmp_path_factory.getbasetemp() / "edited"
    path.write_bytes(content)
    found = verify(path)
    assert not is_complete(found)
    assert found.lines <= content[:at].count(b"\n") + (content[at : at + 1] == b"\n")  # those before it at most


@settings(max_examples=60)
@given(is_signed=st.booleans(), share=st.floats(0, 1, exclude_max=True))
def test_any_truncation_is_found(
    both: dict[bool, bytes], tmp_path_factory: pytest.TempPathFactory, is_signed: bool, share: float
):
    content = both[is_signed][: int(share * len(both[is_signed]))]
    path = tmp_path_factory.getbasetemp() / "cut"
    path.write_bytes(content)
    found = verify(path)
    assert not is_complete(found)
    assert found.lines == content.count(b"\n")


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (lambda lines: lines[:2] + lines[3:], 3),
        (lambda lines: [*lines[:2], lines[1], *lines[2:]], 3),
        (lambda lines: [lines[0], lines[2], lines[1], *lines[3:]], 2),
        (lambda lines: lines[1:], 1),
        (lambda lines: [*lines, lines[-1]], 6),
        (lambda lines: [*lines, b"x"], 6),
        (lambda lines: [lines[0], b"[" * 100_000 + b"\n", *lines[2:]], 2),
        (lambda lines: [lines[0], b"x" * (2 << 20), *lines[2:]], 2),
    ],
    ids=["removed", "inserted", "moved", "headless", "appended", "half a line appended", "nested", "long"],
)
@pytest.mark.parametrize("is_signed", [True, False])
def test_the_changed_line_is_named(both, tmp_path: Path, change, line: int, is_signed: bool):  # noqa: ANN001
    (tmp_path / "log").write_bytes(b"".join(change(both[is_signed].splitlines(keepends=True))))
    found = verify(tmp_path / "log")
    assert found.problem.startswith(f"line {line} ")
    assert found.lines == line - 1


def test_a_line_from_elsewhere_in_the_log_is_told_by_its_number(both: dict[bool, bytes], tmp_path: Path):
    lines = both[False].splitlines(keepends=True)
    (tmp_path / "log").write_bytes(b"".join([*lines[:2], *lines[3:]]))
    assert verify(tmp_path / "log").problem.startswith("line 3 is line 4 of its log")


@pytest.mark.parametrize(
    "edit",
    [
        lambda end: end.replace(b'"seal":', b'"seal": '),
        lambda end: end.replace(b"{", b'{"dropped":7,', 1),  # a second value of that name, which JSON lets pass
        lambda end: re.sub(rb'(?<="seal":")\w+', lambda seal: seal[0].upper(), end),
    ],
    ids=["space", "twice", "capitals"],
)
@pytest.mark.parametrize("is_signed", [True, False])
def test_what_means_the_same_but_was_not_written_is_found(both, tmp_path: Path, edit, is_signed: bool):  # noqa: ANN001
    *lines, end = both[is_signed].splitlines(keepends=True)
    (tmp_path / "log").write_bytes(b"".join([*lines, edit(end)]))
    assert verify(tmp_path / "log").problem.startswith("line 5 was changed")


def test_a_line_that_was_sealed_anew_breaks_the_chain_at_the_next(both: dict[bool, bytes], tmp_path: Path):
    lines = both[False].splitlines()
    forged = json.loads(lines[2]) | {"whole": 0, "frames": 9}
    del forged["seal"]
    lines[2] = sealed(forged, None)
    (tmp_path / "log").write_bytes(b"\n".join([*lines, b""]))
    assert verify(tmp_path / "log").problem.startswith("line 4 does not continue the line before")


def test_totals_that_do_not_add_up_are_found(both: dict[bool, bytes], tmp_path: Path):
    *lines, end = both[False].splitlines()
    forged = json.loads(end) | {"frames": 9}
    del forged["seal"]
    (tmp_path / "log").write_bytes(b"\n".join([*lines, sealed(forged, None), b""]))
    assert verify(tmp_path / "log").problem.startswith("line 5 says other totals")


def test_a_log_written_anew_with_another_key_is_not_taken_for_ours(tmp_path: Path, public: Path):
    create_signing_key(tmp_path / "other.pem")
    path = write(tmp_path / "forged", key=tmp_path / "other.pem")
    assert is_complete(verify(path))  # it is signed, by somebody
    assert verify(path, public).problem.startswith("line 1 is signed with another key")
    assert verify(write(tmp_path / "unsigned"), public).problem.startswith("line 1 has no signature")


def test_a_log_of_another_format_asks_for_an_update(tmp_path: Path):
    header = {"kind": "header", "format": 2, "public_key": None, "line": 1, "previous": "0" * 64}
    (tmp_path / "log").write_bytes(sealed(header, None) + b"\n")
    assert "format 2, this version of veil reads 1; update" in verify(tmp_path / "log").problem


@pytest.mark.slow
@settings(max_examples=100)
@given(st.dictionaries(st.text(max_size=8), st.none() | st.integers() | st.text(max_size=8), max_size=4))
def test_a_well_sealed_line_of_nonsense_is_a_problem_and_no_crash(tmp_path_factory: pytest.TempPathFactory, extra):  # noqa: ANN001
    path = tmp_path_factory.getbasetemp() / "nonsense"
    path.write_bytes(sealed({"line": 1, "previous": "0" * 64} | extra, None) + b"\n")
    assert verify(path).problem


def test_an_empty_file_is_no_log_and_a_missing_one_is_named(tmp_path: Path):
    (tmp_path / "log").touch()
    assert verify(tmp_path / "log").problem == "line 1 is missing: this is no audit log"
    with pytest.raises(SourceError, match="nowhere"):
        verify(tmp_path / "nowhere")


counts = st.dictionaries(st.sampled_from("abc"), st.integers(1, 9))
guards = st.builds(GuardFigures, st.integers(0, 9), st.none() | st.floats(-1, 1), st.just(0.4), st.integers(0, 9))
all_figures = st.builds(
    Figures, st.integers(0, 9), st.integers(0, 9), st.integers(0, 9), counts, counts, counts, st.none() | guards
)


@given(all_figures, all_figures, all_figures)
def test_figures_add_up_in_any_grouping_and_survive_the_log(a: Figures, b: Figures, c: Figures):
    assert (a + b) + c == a + (b + c)
    assert a + Figures() == replace(a) == Figures.from_record(json.loads(canonical(a.record())))


def test_the_audit_log_never_looks_at_a_picture():
    tree = ast.parse(Path(audit.__file__).read_text())
    names = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    assert not names & {"image", "box", "landmarks", "mesh"}
