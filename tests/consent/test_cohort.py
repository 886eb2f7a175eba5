"""The crowd of strangers: the bar that it sets, and a file that is refused where it does not fit."""

from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from streamer.consent.cohort import MARGIN, Cohort, cohort_of, load_cohort, write_cohort
from streamer.consent.entries import RecognizerId
from streamer.errors import SinkError, SourceError
from streamer.types import Floats

MADE_WITH = RecognizerId("identity", "ab" * 32)


def unit(count: int, size: int = 16) -> Floats:
    vectors = np.random.default_rng(0).normal(size=(count, size)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_the_bar_is_the_threshold_or_a_margin_over_the_nearest_stranger():
    crowd = Cohort(0.6, np.eye(4, dtype=np.float32)[:2])
    faces = np.array([[0, 0, 1, 0], [0.8, 0, 0.6, 0], [0.4, 0, 0, 0.917], [0, 1, 0, 0]], np.float32)
    assert crowd.thresholds(faces) == pytest.approx([0.6, 0.8 + MARGIN, 0.6, 1 + MARGIN])


def test_the_threshold_of_a_crowd_is_passed_by_one_pair_of_its_strangers_in_ten_thousand():
    embeddings = unit(200)
    crowd = cohort_of(embeddings)
    scores = [float(a @ b) for i, a in enumerate(embeddings) for b in embeddings[:i]]
    assert sum(score > crowd.threshold + 1e-6 for score in scores) == len(scores) // 10_000 == 1


def test_a_crowd_of_too_few_is_refused():
    with pytest.raises(ValueError, match="at least 150 different people, got 149"):
        cohort_of(unit(149))


def test_a_crowd_is_read_back_in_half_precision(tmp_path: Path):
    crowd = Cohort(0.65, unit(20))
    write_cohort(tmp_path / "crowd", crowd, MADE_WITH)
    read = load_cohort(tmp_path / "crowd", MADE_WITH)
    assert read.threshold == 0.65
    np.testing.assert_allclose(read.embeddings, crowd.embeddings, atol=2**-11)  # half of float16's last digit at 1


def test_a_crowd_of_another_recognizer_is_refused(tmp_path: Path):
    write_cohort(tmp_path / "crowd", Cohort(0.65, unit(20)), MADE_WITH)
    with pytest.raises(SourceError, match="not of the recogniser mine"):
        load_cohort(tmp_path / "crowd", RecognizerId("mine", "cd" * 32))


@pytest.mark.parametrize(
    ("embeddings", "threshold"),
    [
        (unit(20) * 2, "0.65"),
        (np.full((20, 16), np.nan), "0.65"),
        (unit(20)[0], "0.65"),
        (unit(20)[:0], "0.65"),
        (unit(20), "1.5"),
        (unit(20), "nan"),
        (unit(20), "high"),
    ],
)
def test_a_damaged_crowd_is_refused(tmp_path: Path, embeddings: Floats, threshold: str):
    metadata = {"sha256": MADE_WITH.sha256, "threshold": threshold}
    content = safetensors.numpy.save({"embeddings": embeddings.astype(np.float16)}, metadata)
    (tmp_path / "crowd").write_bytes(content)
    with pytest.raises(SourceError, match="damaged"):
        load_cohort(tmp_path / "crowd", MADE_WITH)


def test_what_is_no_crowd_is_said(tmp_path: Path):
    with pytest.raises(SourceError, match="cannot read"):
        load_cohort(tmp_path / "nowhere", MADE_WITH)
    (tmp_path / "crowd").write_bytes(b"nonsense")
    with pytest.raises(SourceError, match="no crowd"):
        load_cohort(tmp_path / "crowd", MADE_WITH)
    safetensors.numpy.save_file({"other": unit(2)}, tmp_path / "crowd")
    with pytest.raises(SourceError, match="no crowd"):
        load_cohort(tmp_path / "crowd", MADE_WITH)
    with pytest.raises(SinkError, match="cannot write"):
        write_cohort(tmp_path / "no" / "crowd", Cohort(0.65, unit(20)), MADE_WITH)
