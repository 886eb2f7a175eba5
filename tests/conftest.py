"""Fixtures shared by the tests; and a skip that would hide something is a failure."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest

from tests.clips import encode_clip

if TYPE_CHECKING:
    from streamer.consent.quality import FaceReader
    from streamer.faces.detect import FaceDetector
    from streamer.pipeline.anonymizer import Anonymizer
    from streamer.types import Face, Image
    from tests.end_to_end.browser import Chromium

WAITING = {"end_to_end", "serve"}  # folders of tests
SLOW_SECONDS = 1.0  # of the processor; whoever takes as much is marked
SETUP_SECONDS = pytest.StashKey[float]()
BUSY = 2.0  # times as many a machine takes that does other work, too: from there on a test without its mark fails


hypothesis.settings.register_profile("any machine", deadline=None)  # a try waits where a machine stands still
hypothesis.settings.load_profile("any machine")


def _forbidden(reason: str) -> bool:
    """Return whether this machine promised what the skipped test lacked."""
    needs_clips = "VEIL_REQUIRE_SHARED" in os.environ and "shared" in reason
    needs_peer = "VEIL_REQUIRE_PEERS" in os.environ and "(Debian: " in reason
    needs_gpu = "FAIL_WITHOUT_CUDA" in os.environ and "cuda" in reason.lower()
    return needs_clips or needs_peer or needs_gpu


def _fail_if_forbidden(report: pytest.TestReport | pytest.CollectReport) -> None:
    if report.skipped and isinstance(report.longrepr, tuple) and _forbidden(report.longrepr[2]):
        report.outcome = "failed"
        report.longrepr = f"skipped where skipping is not allowed: {report.longrepr[2]}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Refuse a forbidden skip of a test."""
    report = yield
    _fail_if_forbidden(report)
    return report


def _cpu_seconds() -> float:
    """Return what this process and those it waited for have used so far: other work on the machine does not count."""
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None]:
    """Note what the fixtures cost that were made for a test: those of its module are made for whichever comes first."""
    before = _cpu_seconds()
    yield
    item.stash[SETUP_SECONDS] = _cpu_seconds() - before


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None]:
    """Fail a test that takes over a second and is not marked as slow: `make check` would come to take minutes."""
    before = _cpu_seconds() - item.stash[SETUP_SECONDS]
    yield
    used = _cpu_seconds() - before
    if item.config.getoption("--no-unmarked") and used > BUSY * SLOW_SECONDS and not item.get_closest_marker("slow"):
        pytest.fail(f"took {used:.1f} s of the processor: make it faster, or mark it @pytest.mark.slow")


def is_waiting(path: Path) -> bool:
    """Return whether a test talks to processes, peers and browsers."""
    return bool(WAITING & set(path.relative_to(Path(__file__).parent).parts))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark as slow what talks to processes, peers and browsers: it waits more than it works."""
    for item in items:
        if is_waiting(item.path):
            item.add_marker("slow")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let CI hold tests to their marks; on a machine that is slow they may be as slow."""
    parser.addoption("--no-unmarked", action="store_true", help="fail a test over a second that is not marked slow")


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Refuse a forbidden skip of a whole module."""
    report = yield
    _fail_if_forbidden(report)
    return report


@pytest.fixture(scope="session")
def portrait_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a real clip of 12 frames with sound: a photographed face for 9, and nobody for 3."""
    from streamer.cli.demo import Pose, Shot, render_clip

    path = tmp_path_factory.mktemp("portrait") / "clip.mp4"
    render_clip(path, (Shot(0.3, (Pose(0.7, 0.56, 0.9),), (Pose(0.8, 0.56, 0.9),)), Shot(0.1)))
    return path


@pytest.fixture(scope="session")
def hopper() -> Image:
    """Return Rear Admiral Grace Hopper, `(600, 512, 3)` RGB: a photograph in the public domain."""
    from streamer.cli.demo import free_portrait
    from streamer.types import read_only

    return read_only(free_portrait())


@pytest.fixture(scope="session")
def detector() -> Iterator[FaceDetector]:
    """Return one for all tests that only ask it."""
    from streamer.faces.detect import FaceDetector

    with FaceDetector() as opened:
        yield opened


@pytest.fixture(scope="session")
def face(hopper: Image, detector: FaceDetector) -> Face:
    """Return her face."""
    return max(detector(hopper), key=lambda face: face.score)


@pytest.fixture(scope="session")
def reader() -> FaceReader:
    """Return what reads how clear a face is and whose."""
    import torch

    from models.pretrained.imported import load_recognizer
    from streamer.consent.quality import FaceReader

    return FaceReader(load_recognizer("identity"), torch.device("cpu"))


@pytest.fixture(scope="session")
def anonymizer() -> Anonymizer:
    """Return the default weights, loaded once."""
    from streamer.pipeline.anonymizer import Anonymizer

    return Anonymizer.load(device="cpu", key=b"k" * 32)


@pytest.fixture(scope="session")
def coverer() -> Anonymizer:
    """Return what only covers."""
    from streamer.pipeline.anonymizer import Anonymizer

    return Anonymizer.load(mode="cover", device="cpu")


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    """Return one for all tests that only open pages of it."""
    from tests.end_to_end.browser import Chromium

    with Chromium(tmp_path_factory.mktemp("chromium")) as started:
        yield started


@pytest.fixture
def clip(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that encodes a clip of a given name in the test's folder, with `encode_clip`'s keywords."""

    def make(name: str = "clip.mp4", **properties: Any) -> Path:  # noqa: ANN401 - of `encode_clip`
        return encode_clip(tmp_path / name, **properties)

    return make


@pytest.fixture(autouse=True)
def no_imported_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights that a developer has imported are none of a test's."""
    monkeypatch.setenv("VEIL_MODELS", str(tmp_path / "imported"))


@pytest.fixture(autouse=True)
def patient_server(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a server give a slow machine's peers as long to connect, and to send, as tests wait for it."""
    if is_waiting(request.path):
        from streamer.serve import peer_connection, sessions
        from tests.end_to_end.patience import PATIENCE_SECONDS

        monkeypatch.setattr(peer_connection, "CONNECT_SECONDS", PATIENCE_SECONDS)
        monkeypatch.setattr(sessions, "IDLE_SECONDS", PATIENCE_SECONDS)
