"""What `--export-hifd` writes, read and scored by `hifd` itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from streamer.evaluate.export.hifd import HifdExport, gaze_direction
from streamer.evaluate.images.before_after import NO_ERROR, Judged, Original
from streamer.evaluate.images.photos import PhotoFile
from streamer.evaluate.measures.recognizers import DlibRecognizer
from streamer.evaluate.measures.utility import Expression
from streamer.types import Face, Floats
from tests.evaluate.images.measured import CosineJudge

FIVE = np.array([[30, 40], [60, 40], [45, 60], [35, 75], [55, 75]], np.float32)  # eyes 30 pixels apart


def looking(*, pose: tuple[float, float, float] = (0, 0, 0), gaze: tuple[float, float] = (0, 0)) -> Expression:
    return Expression(np.array(pose, np.float32), np.array(gaze, np.float32), np.zeros(2, np.float32), 0.0, FIVE)


def original(name: str, embedding: list[float], expression: Expression) -> Original:
    image = np.zeros((100, 90, 3), np.uint8)
    face = Face(np.array([20, 20, 70, 90], np.float32), FIVE, None, 1.0)
    photo = PhotoFile(name, name, ("made",), Path())
    seen = {"made": np.array(embedding, np.float32)}
    return Original(photo, image, face, image, embeddings=seen, hog=True, expression=expression)


def judged(embedding: list[float], *, points: Floats | None = None, expression: Expression | None = None) -> Judged:
    seen = np.array(embedding, np.float32)
    return Judged(
        embeddings={"made": seen}, features=seen, ssim=1.0, mse=0.0, hog=True, found=points is not None,
        landmarks=0.0, error=NO_ERROR, expression=expression, points=points,
    )  # fmt: skip


def exported(folder: Path, method: str) -> HifdExport:
    """Two photos: one whose face moved by 1.5 of the eyes' 30 pixels and looks 45 degrees aside, one without a face."""
    export = HifdExport(folder, method, [CosineJudge()])
    aside = judged([0, 1], points=FIVE + np.array([1.5, 0], np.float32), expression=looking(pose=(45, 0, 0)))
    export.add(original("one", [1, 0], looking()), None, aside)
    export.add(original("two", [0, 1], looking()), None, judged([0, -1]))
    export.write()
    return export


def test_hifd_validates_what_is_written_and_scores_it_as_worked_out_by_hand(tmp_path: Path):
    hifd = pytest.importorskip("hifd", reason="needs hifd (PyPI)")
    exported(tmp_path / "out", "veil")
    files = {
        "methods_config": str(tmp_path / "out/methods.yaml"),
        "estimators_config": str(tmp_path / "out/estimators.yaml"),
    }
    from hifd.io import validate_pair

    for path in sorted((tmp_path / "out" / "original").rglob("*.json")):
        pair = tmp_path / "out" / "methods" / "veil" / path.relative_to(tmp_path / "out" / "original")
        validate_pair(str(path), str(pair))
    scored = hifd.run_pipeline(**files, data_dir=str(tmp_path / "out"), out_dir=str(tmp_path / "scores"))
    row = scored.composite_df.iloc[0]
    assert row["method"] == "veil"
    assert row["P"] == pytest.approx((0.5 + 1) / 2)  # a right angle, and the opposite
    assert row["U1"] == pytest.approx((0.5 + 0) / 2)  # half of hifd's tolerance, a tenth of 30 pixels; and a lost face
    assert row["U2"] == pytest.approx((0.5 + 0) / 2)  # half of its 90 degrees; and a lost face


def test_methods_of_several_runs_stand_side_by_side(tmp_path: Path):
    hifd = pytest.importorskip("hifd", reason="needs hifd (PyPI)")
    for method in ("blur", "veil"):
        exported(tmp_path, method)
    files = {"methods_config": str(tmp_path / "methods.yaml"), "estimators_config": str(tmp_path / "estimators.yaml")}
    scored = hifd.run_pipeline(**files, data_dir=str(tmp_path), out_dir=str(tmp_path / "scores"))
    assert list(scored.composite_df["method"]) == ["blur", "veil"]


def test_the_folder_is_for_its_owner_alone(tmp_path: Path):
    exported(tmp_path / "out", "veil")
    assert (tmp_path / "out").stat().st_mode & 0o077 == 0


def test_gaze_is_that_of_the_head_and_of_the_eyes_in_it():
    np.testing.assert_allclose(gaze_direction(looking()), [0, 0, -1], atol=1e-7)
    np.testing.assert_allclose(gaze_direction(looking(pose=(90, 0, 0))), [1, 0, 0], atol=1e-7)
    np.testing.assert_allclose(gaze_direction(looking(pose=(0, 90, 0))), [0, -1, 0], atol=1e-7)  # up
    half = gaze_direction(looking(gaze=(0.2, 0)))  # asin(2.5 x .2) is 30 degrees
    np.testing.assert_allclose(half, [0.5, 0, -np.sqrt(0.75)], atol=1e-6)
    np.testing.assert_allclose(gaze_direction(looking(gaze=(0, 0.2))), [0, 0.5, -np.sqrt(0.75)], atol=1e-6)  # down
    rolled = gaze_direction(looking(pose=(0, 0, 90), gaze=(0.2, 0)))  # the head's right is the picture's down
    np.testing.assert_allclose(rolled, [0, 0.5, -np.sqrt(0.75)], atol=1e-6)
    turned = gaze_direction(looking(pose=(-30, 0, 0), gaze=(0.2, 0)))  # eyes that stay on the camera
    np.testing.assert_allclose(turned, [0, 0, -1], atol=1e-6)


def test_dlibs_embeddings_are_written_about_the_mean_of_the_originals():
    dlib = DlibRecognizer()
    rows, originals = np.array([[2, 10]], np.float32), np.array([[0, 10], [2, 10]], np.float32)
    np.testing.assert_allclose(dlib.centered(rows, originals=originals), [[1, 0]])
