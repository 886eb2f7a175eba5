"""Whoever comes into a live picture is covered from the first frame on, even if found two frames late."""

from collections.abc import Sequence

import pytest

from benchmarks.onset import Scene, entries, onsets, rendered
from streamer.evaluate.measures.coverage import UNCOVERED
from streamer.faces.detect import FaceDetector, Scanned
from streamer.faces.looks import Scan
from streamer.pipeline import stream as stream_module
from streamer.pipeline.anonymizer import Anonymizer
from streamer.settings import LIVE_DELAY
from streamer.types import Face, Image

LATE = 2  # frames
ENTRIES = 4


class LateDetector(FaceDetector):
    """Finds a face `LATE` frames after it could have."""

    seen = 0

    def __call__(self, image: Image, some: Sequence[Scan] | None = None, scanned: Scanned | None = None) -> list[Face]:
        faces = super().__call__(image, some, scanned)
        self.seen = self.seen + 1 if faces else 0
        return faces if self.seen > LATE else []


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    return rendered(entries(ENTRIES), tmp_path_factory.mktemp("onset") / "entries.mp4")


@pytest.mark.parametrize("delay", [LIVE_DELAY, 0.0])
def test_a_person_who_is_found_late_is_covered_by_the_delay(
    scene: Scene, delay: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream_module, "FaceDetector", LateDetector)
    found = onsets(scene, Anonymizer.load(mode="cover", delay_seconds=delay, device="cpu"))
    assert {onset.entry for onset in found} == set(range(ENTRIES))
    shown = [onset for onset in found if onset.kept > UNCOVERED]
    assert bool(shown) == (delay == 0), shown
