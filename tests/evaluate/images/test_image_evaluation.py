"""`evaluate_images` on portraits, and the three dummies that tell whether its figures can be believed."""

from __future__ import annotations

import shutil
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import matplotlib as mpl
import numpy as np
import pytest

from streamer.errors import SourceError
from streamer.evaluate.figures import Findings
from streamer.evaluate.images.before_after import Judge, Original, nearest, place_of, similarity_of, subject
from streamer.evaluate.images.image_evaluation import evaluate_images
from streamer.evaluate.images.measurements import (
    NO_FACE,
    NO_FACE_LEFT,
    NO_OUTPUT,
    OTHER_SIZE,
    UNREADABLE,
    Measurements,
    measure,
    measure_methods,
)
from streamer.evaluate.images.pairing import SHUFFLED
from streamer.evaluate.images.photos import PhotoFile, find_photos
from streamer.evaluate.images.scores import figures_of
from streamer.evaluate.kept import Kept
from streamer.evaluate.measures.recognizers import Recognizer, load_recognizers
from streamer.pipeline.anonymizer import Anonymizer
from streamer.types import Face, Image
from tests.evaluate.images.measured import Blind

SHARED_FACES = Path(__file__).parents[4] / "shared" / "faces"
needs_shared = pytest.mark.skipif(not SHARED_FACES.is_dir(), reason="needs ../shared/faces")
MANY = 28  # photos of LFW, of 14 people


@pytest.fixture(scope="module")
def hopper() -> Image:
    picture = cv2.imread(str(Path(mpl.get_data_path()) / "sample_data" / "grace_hopper.jpg"))
    return np.asarray(cv2.resize(picture, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA), np.uint8)


@pytest.fixture(scope="module")
def portraits(tmp_path_factory: pytest.TempPathFactory, hopper: Image) -> Path:
    """Three pictures of Grace Hopper (BGR, as OpenCV writes), which matplotlib ships."""
    folder = tmp_path_factory.mktemp("portraits") / "before"
    folder.mkdir()
    for name, picture in (("plain", hopper), ("mirrored", hopper[:, ::-1]), ("dark", hopper // 2)):
        cv2.imwrite(str(folder / f"{name}.png"), picture)
    return folder


@pytest.fixture(scope="module")
def recognizers() -> list[Recognizer]:
    return load_recognizers(["identity"])


@pytest.fixture
def copies(portraits: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(portraits, tmp_path / "after"))


def problems_of(findings: Findings) -> dict[str, tuple[str, ...]]:
    return {problem.what: problem.names for problem in findings.problems}


def test_a_photo_shows_the_largest_face_that_is_sure_not_a_larger_one_that_may_be_none() -> None:
    def face(size: float, score: float, *, has_mesh: bool = True) -> Face:
        mesh = np.zeros((468, 3), np.float32) if has_mesh else None
        return Face(np.float32([0, 0, size, size]), np.zeros((5, 2), np.float32), mesh, score)

    doubtful, near, far, flat = face(105, 0.44), face(95, 1.0), face(40, 0.9), face(200, 1.0, has_mesh=False)
    assert subject([far, doubtful, near, flat]) is near
    assert subject([doubtful, flat]) is doubtful
    assert subject([flat]) is None


@pytest.mark.slow
def test_a_tool_that_returns_its_input_keeps_everything_and_hides_nobody(
    portraits: Path, copies: Path, recognizers: list[Recognizer]
):
    figures = evaluate_images(portraits, outputs=copies, recognizers=recognizers).figures
    for name in ("ssim", "hog", "found", "similarity.identity", "rank1.identity", "pairing"):
        assert figures[name].value == pytest.approx(1), name
    for name in ("mse", "landmarks", "pose", "gaze", "eyes", "mouth", "expression"):
        assert figures[name].value == pytest.approx(0, abs=1e-6), name
    assert figures["ssim"].count == 3


@pytest.mark.slow
def test_our_own_pipeline_is_measured_with_how_it_covered_each_face(portraits: Path, recognizers: list[Recognizer]):
    anonymizer = Anonymizer.load(key=bytes(32))
    findings = evaluate_images(portraits, anonymizer=anonymizer, recognizers=recognizers, limit=1)
    assert findings.figures["similarity.identity"].value < 0.5
    assert findings.figures["hog"].value == 1
    tiers = next(table for table in findings.tables if table.title == "How faces were covered")
    assert [row[:2] for row in tiers.rows] == [("generated", "1")]


@pytest.mark.slow
def test_every_bad_input_is_named_and_the_rest_is_measured(
    portraits: Path, tmp_path: Path, hopper: Image, recognizers: list[Recognizer]
):
    before, after = Path(shutil.copytree(portraits, tmp_path / "before")), tmp_path / "after"
    cv2.imwrite(str(before / "nobody.png"), np.full_like(hopper, 90))
    (before / "broken.png").write_bytes(b"broken")
    cv2.imwrite(str(before / "no output.png"), hopper)
    cv2.imwrite(str(before / "broken output.png"), hopper)
    shutil.copytree(before, after)
    (after / "no output.png").unlink()
    (after / "broken output.png").write_bytes(b"broken")
    cv2.imwrite(str(after / "stranger.png"), hopper)
    cv2.imwrite(str(after / "dark.png"), cv2.resize(hopper, None, fx=0.5, fy=0.5))
    cv2.imwrite(str(after / "mirrored.png"), np.full_like(hopper, 90))
    findings = evaluate_images(before, outputs=after, recognizers=recognizers)
    found = problems_of(findings)
    assert found["originals without an output"] == ("before/no output.png",)
    assert found["output of no original"] == ("after/stranger.png",)
    assert found[NO_FACE] == ("before/nobody.png",)
    assert found[UNREADABLE] == ("before/broken.png",)
    assert found[f"output {UNREADABLE}"] == ("before/broken output.png",)
    assert found[OTHER_SIZE] == ("before/dark.png",)
    assert found[NO_FACE_LEFT] == ("before/mirrored.png",)
    assert findings.settings["outputs"].startswith("after: made beforehand; this report does not know with which tool")
    assert findings.settings["recognisers"].startswith("identity: Veil's own, by which Veil chooses its strangers")
    assert findings.settings["false accept rate"].startswith("0.001, by the usual thresholds of the recognisers")
    assert findings.settings["groups"] == "no labels: everybody is one group"
    assert findings.figures["pairing_chance"].value == 0.5
    assert findings.figures["found"].count == 2  # plain, and mirrored, of which no face is left
    assert findings.figures["found"].value == 0.5


@pytest.mark.slow
def test_an_original_that_the_other_detector_does_not_see_is_named_and_counts_in_no_figure_of_it(
    portraits: Path, copies: Path, recognizers: list[Recognizer], monkeypatch: pytest.MonkeyPatch
):
    original = Judge.original

    def unseen(judge: Judge, photo: PhotoFile) -> Original | None:
        seen = original(judge, photo)
        return replace(seen, hog=seen.hog and "dark" not in photo.name) if seen else None

    monkeypatch.setattr(Judge, "original", unseen)
    findings = evaluate_images(portraits, outputs=copies, recognizers=recognizers)
    unseen_by_it = problems_of(findings)["another detector finds no face in the original: not counted for it"]
    assert [Path(name).name for name in unseen_by_it] == ["dark.png"]
    assert findings.figures["hog"].count == 2


@pytest.mark.slow
def test_what_was_measured_is_not_measured_again(
    portraits: Path, copies: Path, tmp_path: Path, recognizers: list[Recognizer]
):
    cv2.imwrite(str(copies / "dark.png"), np.zeros((9, 9, 3), np.uint8))
    kept = Kept(tmp_path / "kept", "x")
    first = evaluate_images(portraits, outputs=copies, recognizers=recognizers, kept=kept)
    again = evaluate_images(portraits, outputs=copies, recognizers=[Blind(recognizers[0])], kept=kept)
    assert repr(again.figures) == repr(first.figures)
    assert (again.worst, again.files, again.problems) == (first.worst, first.files, first.problems)
    shutil.copy(copies / "mirrored.png", copies / "plain.png")
    with pytest.raises(AssertionError, match="measured again"):  # another output
        evaluate_images(portraits, outputs=copies, recognizers=[Blind(recognizers[0])], kept=kept)


def test_a_folder_of_other_pictures_is_refused(portraits: Path, tmp_path: Path, recognizers: list[Recognizer]):
    cv2.imwrite(str(tmp_path / "other.png"), np.zeros((9, 9, 3), np.uint8))
    with pytest.raises(SourceError, match="has the name of one of the 3 originals"):
        evaluate_images(portraits, outputs=tmp_path, recognizers=recognizers)


@pytest.mark.slow
def test_photos_without_any_face_are_an_error_that_counts_them(tmp_path: Path, recognizers: list[Recognizer]):
    cv2.imwrite(str(tmp_path / "a.png"), np.full((90, 90, 3), 90, np.uint8))
    with pytest.raises(SourceError, match="1 no face found in the original"):
        evaluate_images(tmp_path, outputs=tmp_path, recognizers=recognizers)


def test_either_outputs_or_an_anonymizer_must_be_given(portraits: Path, recognizers: list[Recognizer]):
    with pytest.raises(ValueError, match="either outputs"):
        evaluate_images(portraits, recognizers=recognizers)


@pytest.mark.slow
def test_of_the_worst_faces_only_landmarks_are_drawn_unless_they_were_asked_for(
    portraits: Path, copies: Path, recognizers: list[Recognizer], hopper: Image
):
    judge = Judge(recognizers)
    original = judge.original(find_photos(portraits)[2])
    judge.close()
    assert original is not None
    assert original.photo.name == "before/plain.png"
    for shown in (False, True):
        findings = evaluate_images(portraits, outputs=copies, recognizers=recognizers, show_faces=shown)
        specimen = next(one for one in findings.worst if one.name == "before/plain.png")
        for png in (specimen.before, specimen.after):
            crop = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR_RGB)
            assert (crop == original.crop).all() == shown
            assert ((crop == 255).all(axis=2).mean() > 0.9) == (not shown)  # a few dots on white
            assert (crop != 255).any()
    assert "structure kept 1" in findings.worst[0].why


@pytest.mark.slow
def test_a_method_that_gives_nothing_is_counted(portraits: Path, recognizers: list[Recognizer]):
    judge = Judge(recognizers)
    photos = find_photos(portraits)
    m, problems = measure(photos, lambda original: None if "dark" in original.photo.name else original.image, judge)
    judge.close()
    assert len(m) == 2
    assert [(problem.what, problem.names) for problem in problems] == [(NO_OUTPUT, ("before/dark.png",))]


@pytest.mark.slow
def test_an_output_of_another_size_is_refused_by_the_judge(portraits: Path, recognizers: list[Recognizer]):
    judge = Judge(recognizers)
    original = judge.original(find_photos(portraits)[0])
    assert original is not None
    with pytest.raises(ValueError, match="output must be"):
        judge.judge(original, original.image[:-1])
    judge.close()


def test_the_nearest_face_is_the_one_over_which_it_lies():
    def at(x: float) -> Face:
        points = np.array([[x - 5, 0], [x + 5, 0], [x, 5], [x - 4, 9], [x + 4, 9]], np.float32)
        return Face(np.array([x - 10, -10, x + 10, 15], np.float32), points, None, 1.0)

    assert nearest([at(30), at(2), at(-9)], at(0)) is not None
    found = nearest([at(30), at(2), at(-9)], at(0))
    assert found is not None
    assert found.landmarks[2, 0] == 2
    assert nearest([at(30)], at(0)) is None


def test_the_thumbnail_weighs_the_background_alone():
    image = np.zeros((160, 160, 3), np.uint8)
    face = Face(np.array([40, 50, 80, 100], np.float32), np.zeros((5, 2), np.float32), None, 1.0)
    weight = place_of(image, face)[1].reshape(16, 16)
    expected = np.ones((16, 16))
    expected[5:10, 4:8] = 0
    np.testing.assert_allclose(weight, expected)


def test_ssim_is_that_of_our_own_metric(hopper: Image):
    import torch

    from models.metrics import ssim

    other = cv2.GaussianBlur(hopper, (0, 0), 3)
    pictures = [torch.from_numpy(p.copy()).permute(2, 0, 1)[None] / 255 for p in (hopper, other)]
    ours = float(ssim(*pictures))
    # scikit-image counts borders in; ours only places where the whole window lies in the picture.
    assert similarity_of(hopper, np.asarray(other, np.uint8)) == pytest.approx(ours, abs=0.01)


@pytest.fixture(scope="module")
def lfw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photos of people of whom there are two."""
    folder = tmp_path_factory.mktemp("shared")
    with tarfile.open(SHARED_FACES / "eval-lfw.tar") as tar:
        members = {member.name: member for member in tar if member.name.endswith(".jpg")}
        second = [name for name in members if name.endswith("_0002.jpg")]
        both = [name.replace("_0002", f"_000{number}") for name in second for number in (1, 2)]
        chosen = [members[name] for name in both if name in members][:MANY]
        tar.extractall(folder, chosen, filter="data")
    return folder / "lfw"


def solid(original: Original) -> Image:
    covered = original.image.copy()
    x1, y1, x2, y2 = (max(0, int(value)) for value in original.face.box)
    margin = (x2 - x1) // 2  # hair and ears tell people apart, too
    covered[max(0, y1 - margin) : y2 + margin, max(0, x1 - margin) : x2 + margin] = 0
    return covered


@pytest.fixture(scope="module")
def dummies(lfw: Path, recognizers: list[Recognizer]) -> dict[str, Measurements]:
    judge = Judge(recognizers)
    methods: dict[str, Callable[[Original], Image]] = {"same": lambda original: original.image, "solid": solid}
    found = measure_methods(find_photos(lfw), methods, judge)
    judge.close()
    return {name: m for name, (m, _) in found.items()}


@pytest.mark.slow
@needs_shared
def test_of_real_people_the_input_matches_always_and_solid_squares_by_chance(
    dummies: dict[str, Measurements], recognizers: list[Recognizer]
):
    same, hidden = (figures_of(dummies[name], recognizers) for name in ("same", "solid"))
    people = len(set(dummies["same"].people))
    assert people >= 12
    assert same["rank1.identity"].value == 1
    assert same["ssim"].value == pytest.approx(1)
    assert same["similarity.identity"].value == pytest.approx(1)
    assert same["tar_after.identity"].value == pytest.approx(same["tar_before.identity"].value)
    assert same["eer_before.identity"].value < 0.15
    assert hidden["rank1.identity"].low <= 1 / people
    assert hidden["eer_after.identity"].value > 0.35
    assert abs(hidden["similarity.identity"].value) < 0.25
    assert hidden["found"].value < 0.3


@pytest.mark.slow
@needs_shared
def test_real_outputs_under_the_wrong_names_are_caught(lfw: Path, tmp_path: Path, recognizers: list[Recognizer]):
    files = sorted(lfw.iterdir())[:8]
    for file, other in zip(files, files[2:] + files[:2], strict=True):
        shutil.copy(file, tmp_path / other.name)
    findings = evaluate_images(lfw, outputs=tmp_path, recognizers=recognizers)
    assert SHUFFLED in problems_of(findings)
    assert findings.problems[0].what == SHUFFLED
    assert findings.figures["pairing"].value < 0.2
