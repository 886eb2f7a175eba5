import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from streamer.cli.demo import Pose, Shot, render_clip
from streamer.errors import SourceError
from streamer.evaluate.figures import Findings
from streamer.evaluate.video.frame_pairs import OutputPairs, OwnPairs, frame_seconds, partners
from streamer.evaluate.video.steadiness import Reading
from streamer.evaluate.video.truth import TrueFace, Truth, read_truth, sha256_of
from streamer.evaluate.video.video_evaluation import evaluate_video, match_rates
from streamer.pipeline.anonymizer import Anonymizer
from streamer.settings import Settings
from streamer.sources.file_source import open_source
from streamer.types import Image
from tests.clips import SHARED_CLIPS, encode_clip
from tests.evaluate.video.annotating import write_truth

TRUTHS = Path(__file__).parents[2] / "truth"
HEAD = np.s_[170:520, 350:710]  # the photographed person's, in every frame
COUNT = 8
Change = Callable[[Image, int], Image]


@pytest.fixture(scope="module")
def portrait(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("video") / "portrait.mp4"
    render_clip(path, (Shot(COUNT / 30, (Pose(0.7, 0.56, 0.9),), (Pose(0.73, 0.56, 0.9),)),))
    return path


@pytest.fixture(scope="module")
def annotations(portrait: Path) -> Path:
    from streamer.evaluate.video.detector_ensemble import DetectorEnsemble, find_truth

    with DetectorEnsemble() as ensemble:
        truth = find_truth(portrait, ensemble)
    path = portrait.with_name("truth.json")
    write_truth(truth, path)
    return path


@pytest.fixture(scope="module")
def copied(portrait: Path, annotations: Path) -> Findings:
    return evaluate_video(portrait, output=portrait, annotations=annotations)


def changed(clip: Path, to: Path, change: Change, *, crf: int = 18, keep: slice = slice(None)) -> Path:
    """Encode what `change(image, index)` makes of each kept frame of `clip`, at its own time."""
    with open_source(clip) as source:
        frames = [(f.pts, change(f.image, f.index)) for f in source][keep]
        base, size = source.info.time_base, (source.info.width, source.info.height)
    options = {"crf": str(crf), "preset": "veryfast"}
    images = [image for _, image in frames]
    return encode_clip(to, pts=[p for p, _ in frames], time_base=base, size=size, pictures=images, options=options)


def scored(portrait: Path, annotations: Path, change: Change, **encoding: int) -> Findings:
    output = changed(portrait, portrait.with_name("output.mp4"), change, **encoding)
    return evaluate_video(portrait, output=output, annotations=annotations)


def same(image: Image, _: int) -> Image:
    return image


def solid(image: Image, _: int) -> Image:
    image = image.copy()
    image[HEAD] = 90
    return image


def white(image: Image, _: int) -> Image:
    image = image.copy()
    image[HEAD] = 255
    return image


def brightened(image: Image, _: int) -> Image:
    """Change the face so that no edge shows: most in its middle, nothing at its rim."""
    weight = np.zeros(image.shape[:2], np.float32)
    cv2.circle(weight, (525, 345), 40, 1, cv2.FILLED)
    weight = cv2.GaussianBlur(weight, (0, 0), 30)[..., None]
    return (image + 60 * weight).clip(0, 255).astype(np.uint8)


def blurred(sigma: float) -> Change:
    def change(image: Image, _: int) -> Image:
        image = image.copy()
        image[HEAD] = cv2.GaussianBlur(image[HEAD], (0, 0), sigma)
        return image

    return change


def test_the_ensemble_finds_the_portrait_in_every_frame_and_believes_it(annotations: Path):
    truth = read_truth(annotations)
    assert len(truth.frames) == COUNT
    for found in truth.frames.values():
        checked = [face for face in found if face.checked]
        assert len(checked) == 1
        assert checked[0].size > 100
        assert checked[0].yaw < 30


def test_a_copy_leaks_every_face_frame(copied: Findings):
    leak = copied.figures["leak_rate"]
    assert (leak.value, leak.count, copied.figures["leak_rate.80+px"].value) == (10_000, COUNT, 10_000)
    assert copied.figures["frames_missing"].value == 0
    assert not copied.problems


@pytest.mark.slow
@pytest.mark.parametrize("crf", [28, 35])
def test_a_copy_through_a_codec_leaks_every_face_frame_too(portrait: Path, annotations: Path, crf: int):
    assert scored(portrait, annotations, same, crf=crf).figures["leak_rate"].value == 10_000


@pytest.mark.slow
def test_a_copy_that_was_shifted_by_a_pixel_leaks_too(portrait: Path, annotations: Path):
    findings = scored(portrait, annotations, lambda image, _: np.roll(image, (1, 1), (0, 1)))
    assert findings.figures["leak_rate"].value == 10_000


@pytest.mark.slow
def test_a_solid_cover_leaks_nothing_and_says_how_little_that_proves(portrait: Path, annotations: Path):
    leak = scored(portrait, annotations, solid).figures["leak_rate"]
    assert leak.value == 0
    assert leak.count == COUNT
    assert leak.high == pytest.approx(10_000 * (1 - 0.025 ** (1 / COUNT)))  # Clopper and Pearson's for none of n


@pytest.mark.slow
def test_a_strong_blur_covers_and_one_of_a_pixel_does_not(portrait: Path, annotations: Path):
    assert scored(portrait, annotations, blurred(20)).figures["leak_rate"].value == 0
    assert scored(portrait, annotations, blurred(1)).figures["leak_rate"].value == 10_000


@pytest.mark.slow
def test_one_uncovered_frame_is_found_and_named(portrait: Path, annotations: Path):
    findings = scored(portrait, annotations, lambda image, index: image if index == 5 else solid(image, index))
    assert findings.figures["leak_rate"].value == pytest.approx(10_000 / COUNT)
    assert [row[0] for row in findings.tables[1].rows] == ["5"]


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["generate", "cover"])
def test_our_own_output_leaks_nothing(portrait: Path, annotations: Path, mode: str):
    anonymizer = Anonymizer.load(mode=mode, key=bytes(32))
    findings = evaluate_video(portrait, anonymizer=anonymizer, annotations=annotations)
    assert findings.figures["leak_rate"].value == 0
    assert findings.figures["frames"].value == COUNT


@pytest.mark.slow
def test_a_flickering_output_flickers_more_than_a_steady_one(portrait: Path, annotations: Path, copied: Findings):
    def flash(image: Image, index: int) -> Image:
        return np.asarray(cv2.convertScaleAbs(image, alpha=1 - 0.2 * (index % 2)), np.uint8)

    flashing = scored(portrait, annotations, flash)
    assert copied.figures["flicker_ratio"].value == pytest.approx(1)
    assert flashing.figures["flicker_ratio"].value > 4
    assert flashing.figures["shimmer_ratio"].value > 4


@pytest.mark.slow
def test_an_output_that_slides_flickers_but_does_not_shimmer(portrait: Path, annotations: Path, copied: Findings):
    sliding = scored(portrait, annotations, lambda image, index: np.roll(image, 2 * index, 1))
    assert copied.figures["shimmer_ratio"].value == pytest.approx(1)
    assert sliding.figures["shimmer_ratio"].value < 1.5
    assert sliding.figures["flicker_ratio"].value > 1.5 * sliding.figures["shimmer_ratio"].value


@pytest.mark.slow
def test_a_trembling_output_has_more_jitter_than_a_steady_one(portrait: Path, annotations: Path, copied: Findings):
    trembling = scored(portrait, annotations, lambda image, index: np.roll(image, 8 * (index % 2), 1))
    assert copied.figures["jitter_ratio"].value == pytest.approx(1)
    assert trembling.figures["jitter_ratio"].value > 4


@pytest.mark.slow
def test_a_hard_edge_is_a_seam_and_a_copy_has_none(portrait: Path, annotations: Path, copied: Findings):
    assert math.isnan(copied.figures["seam"].value)
    soft, hard = (scored(portrait, annotations, change).figures["seam_ratio"] for change in (brightened, white))
    assert soft.value < 1.1
    assert hard.value > 1.5


@pytest.mark.slow
def test_lost_frames_are_counted_and_named(portrait: Path, annotations: Path):
    output = changed(portrait, portrait.with_name("lost.mp4"), same, keep=slice(0, 5))
    findings = evaluate_video(portrait, output=output, annotations=annotations)
    assert findings.figures["frames_missing"].value == 3
    assert findings.figures["leak_rate"].count == 5
    assert ("frame 5", "frame 6", "frame 7") in [problem.names for problem in findings.problems]


@pytest.mark.slow
def test_another_frame_size_is_named_and_scaled(portrait: Path, annotations: Path):
    with open_source(portrait) as source:
        half = [cv2.resize(f.image, (640, 360), interpolation=cv2.INTER_AREA) for f in source]
    output = encode_clip(portrait.with_name("half.mp4"), size=(640, 360), pictures=half, options={"crf": "12"})
    findings = evaluate_video(portrait, output=output, annotations=annotations)
    assert "1280x720 in the original, 640x360 in the output" in findings.problems[0].what
    assert findings.figures["leak_rate"].count == COUNT


def test_an_output_that_cannot_be_read_is_an_error_that_names_it(portrait: Path, annotations: Path, tmp_path: Path):
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video")
    with pytest.raises(SourceError, match=r"broken\.mp4"):
        evaluate_video(portrait, output=broken, annotations=annotations)


def test_annotations_of_another_clip_are_refused(portrait: Path, annotations: Path, tmp_path: Path):
    write_truth(replace(read_truth(annotations), sha256="0" * 64), tmp_path / "other.json")
    with pytest.raises(SourceError, match=r"other\.json are of another file"):
        evaluate_video(portrait, output=portrait, annotations=tmp_path / "other.json")


def test_an_output_and_an_anonymizer_are_one_too_many(portrait: Path, annotations: Path):
    with pytest.raises(ValueError, match="either"):
        evaluate_video(portrait, annotations=annotations)
    both = Anonymizer(None, None, Settings(mode="cover"))
    with pytest.raises(ValueError, match="either"):
        evaluate_video(portrait, output=portrait, anonymizer=both, annotations=annotations)


def test_annotations_come_back_as_they_were_written(tmp_path: Path):
    faces = (
        TrueFace(np.array([1, 2, 31, 42], np.float32), 25.0),
        TrueFace(np.array([-5, 0, 9, 12], np.float32), math.nan, checked=False),
    )
    write_truth(Truth("a.mp4", "ab" * 32, 64, 48, {0: (), 3: faces}), tmp_path / "truth.json")
    truth = read_truth(tmp_path / "truth.json")
    assert (truth.clip, truth.sha256, truth.width, truth.height) == ("a.mp4", "ab" * 32, 64, 48)
    assert list(truth.frames) == [0, 3]
    assert truth.frames[0] == ()
    first, second = truth.frames[3]
    assert first.box.tolist() == [1, 2, 31, 42]
    assert first.yaw == 25
    assert first.checked
    assert first.size == 40
    assert second.box.tolist() == [-5, 0, 9, 12]
    assert math.isnan(second.yaw)
    assert not second.checked


@pytest.mark.parametrize(
    "text",
    [
        "{",
        '{"clip": "a", "sha256": "", "width": 1, "height": 1, "frames": [0], "columns": ["frame"], "faces": []}',
        '{"clip": "a", "sha256": "", "width": 1, "height": 1, "frames": [0], "columns": '
        '["frame", "x1", "y1", "x2", "y2", "yaw", "checked"], "faces": [[0, 9, 0, 1, 5, 0, 1]]}',
    ],
    ids=["no JSON", "other columns", "a box without an inside"],
)
def test_annotations_that_are_not_as_described_are_named(tmp_path: Path, text: str):
    path = tmp_path / "bad.json"
    path.write_text(text)
    with pytest.raises(SourceError, match=r"bad\.json"):
        read_truth(path)


def test_as_many_frames_pair_by_index_whatever_their_times():
    assert partners(np.array([0.0, 0.1, 0.2]), np.array([5.0, 6.0, 9.0])) == [0, 1, 2]


def test_another_frame_rate_pairs_by_time():
    before, after = np.arange(6) / 30, np.arange(3) / 15  # every second frame was dropped
    assert partners(before, after) == [0, None, 1, None, 2, None]
    assert partners(after, before) == [0, 2, 4]


def test_an_output_that_starts_elsewhere_is_moved_to_the_start():
    assert partners(np.arange(4) / 10, 7 + np.arange(3) / 10) == [0, 1, 2, None]


def test_own_pairs_hold_each_frame_beside_its_safe_one(portrait: Path):
    pairs = list(OwnPairs(portrait, Anonymizer(None, None, Settings(mode="cover", cover="solid"))))
    assert [pair.before.index for pair in pairs] == list(range(COUNT))
    middle = np.s_[310:390, 490:560]
    for pair in pairs:
        assert pair.after is not None
        assert pair.after[middle].max() == 0
        assert pair.before.image[middle].max() > 0


def test_output_pairs_give_none_for_a_frame_the_output_lacks(portrait: Path, tmp_path: Path):
    output = changed(portrait, tmp_path / "short.mp4", same, keep=slice(2, COUNT))
    assert len(frame_seconds(output)) == COUNT - 2
    pairs = list(OutputPairs(portrait, output))
    assert [pair.after is None for pair in pairs] == [True, True] + (COUNT - 2) * [False]


@pytest.mark.skipif(not SHARED_CLIPS.is_dir(), reason="needs ../shared/clips")
@pytest.mark.parametrize("path", sorted(TRUTHS.glob("*.json")), ids=lambda path: path.stem)
def test_the_annotations_are_of_the_shared_clips(path: Path):
    truth = read_truth(path)
    clip = SHARED_CLIPS / truth.clip
    assert truth.sha256 == sha256_of(clip)
    with open_source(clip) as source:
        assert (truth.width, truth.height) == (source.info.width, source.info.height)
    boxes = np.array([face.box for faces in truth.frames.values() for face in faces]).reshape(-1, 4)
    assert (boxes[:, :2] < (truth.width, truth.height)).all()
    assert (boxes[:, 2:] > 0).all()


def test_every_shared_clip_is_annotated():
    assert len(list(TRUTHS.glob("*.json"))) == 13


def test_faces_that_a_mesh_fits_are_matched_apart_from_what_is_only_ever_covered() -> None:
    def matches(values: list[float], *, has_mesh: bool) -> list[Reading]:
        return [Reading("match", "made", 1, n, n / 25, value, math.nan, has_mesh) for n, value in enumerate(values)]

    readings = matches([0.1, 0.2, 0.6, 0.3], has_mesh=True) + matches([0.9, 0.1], has_mesh=False)
    rates = match_rates(readings, {"made": 0.5})
    assert {name: (figure.value, figure.count) for name, figure in rates.items()} == {
        "match_rate.made": (0.25, 4),
        "match_rate_no_mesh.made": (0.5, 2),
    }
    assert math.isnan(match_rates(readings, {})["match_rate.made"].value)
