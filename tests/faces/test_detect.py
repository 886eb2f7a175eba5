"""Detection on one public photograph (Grace Hopper, shipped with matplotlib) and exact boxes for the arithmetic."""

from __future__ import annotations

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import cv2
import numpy as np
import pytest

from streamer.errors import AnonymizerError
from streamer.faces import detect
from streamer.faces.detect import (
    FaceDetector,
    agrees,
    estimated_points,
    five_points,
)
from streamer.types import Face, Floats, Image
from tests.end_to_end.patience import PATIENCE_SECONDS
from tests.faces.placed import place, sure

# Read off the photograph by eye: pupils, nose tip, mouth corners.
HOPPER_POINTS = np.array([[221, 191], [308, 187], [267, 243], [233, 277], [303, 273]], np.float32)
BETWEEN_EYES = 87.0
CLIPS = Path(__file__).parents[3] / "shared" / "clips"


def only(faces: list[Face]) -> Face:
    assert len(sure(faces)) == 1
    return sure(faces)[0]


def off(face: Face, points: Floats) -> float:
    """Largest distance of a landmark from `points`, in distances of the eyes."""
    between = np.linalg.norm(points[1] - points[0])
    return float(np.linalg.norm(face.landmarks - points, axis=1).max() / between)


# Real faces


def test_a_face_has_box_landmarks_and_mesh_where_the_eye_sees_them(detector: FaceDetector, hopper: Image):
    face = only(detector(hopper))
    assert off(face, HOPPER_POINTS) < 0.1
    assert face.box == pytest.approx([165, 158, 362, 340], abs=15)  # ears, brow and chin, by eye
    assert face.mesh is not None
    assert face.mesh.shape == (468, 3)
    assert {a.dtype for a in (face.box, face.landmarks, face.mesh)} == {np.dtype(np.float32)}


def test_the_nose_is_nearer_than_the_ears(detector: FaceDetector, hopper: Image):
    mesh = only(detector(hopper)).mesh
    assert mesh is not None
    depth = mesh[[234, 454], 2] - mesh[1, 2]
    assert (depth > 0.4 * BETWEEN_EYES).all()
    assert (depth < 2.5 * BETWEEN_EYES).all()  # in pixels, not in shares of the frame


@pytest.mark.parametrize("scale", [0.2, 0.5, 1.6])
def test_a_scaled_image_gives_scaled_landmarks(detector: FaceDetector, hopper: Image, scale: float):
    scaled = cv2.resize(hopper, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    assert off(only(detector(scaled)), only(detector(hopper)).landmarks * scale) < 0.06


def test_a_very_large_face_is_sampled_without_an_offset(detector: FaceDetector, hopper: Image):
    large = cv2.resize(hopper[100:400, 100:400], None, fx=4, fy=4, interpolation=cv2.INTER_CUBIC)
    small = only(detector(hopper[100:400, 100:400])).landmarks
    assert np.abs(only(detector(large)).landmarks / 4 - small).max() < 0.03 * BETWEEN_EYES


def test_a_shifted_image_gives_shifted_landmarks(detector: FaceDetector, hopper: Image):
    shifted = place(hopper, width=700, height=700, at=(150, 60))
    assert off(only(detector(shifted)), only(detector(hopper)).landmarks + np.array([150, 60])) < 0.05


@pytest.mark.parametrize("degrees", [-20, 20, 40])
def test_a_rotated_image_gives_rotated_landmarks(detector: FaceDetector, hopper: Image, degrees: float):
    rotation = cv2.getRotationMatrix2D((256, 300), degrees, 1.0)
    rotated = cv2.warpAffine(hopper, rotation, (512, 600))
    face = only(detector(rotated))
    assert face.mesh is not None
    assert off(face, only(detector(hopper)).landmarks @ rotation[:, :2].T + rotation[:, 2]) < 0.08


def test_a_mirrored_face_still_has_its_image_left_eye_first(detector: FaceDetector, hopper: Image):
    landmarks = only(detector(hopper[:, ::-1])).landmarks
    mirrored = HOPPER_POINTS[[1, 0, 2, 4, 3]] * (-1, 1) + (hopper.shape[1], 0)
    assert np.abs(landmarks - mirrored).max() < 0.1 * BETWEEN_EYES


def test_a_face_without_colour_is_found(detector: FaceDetector, hopper: Image):
    grey = np.repeat(cv2.cvtColor(hopper, cv2.COLOR_RGB2GRAY)[..., None], 3, axis=2)
    assert off(only(detector(grey)), HOPPER_POINTS) < 0.1


def test_a_face_in_the_dark_has_a_mesh(detector: FaceDetector, hopper: Image):
    face = only(detector((hopper * 0.03).astype(np.uint8)))
    assert face.mesh is not None
    assert off(face, HOPPER_POINTS) < 0.12


@pytest.mark.parametrize("cut", [220, 250])
def test_a_face_cut_by_the_frame_is_found_and_its_box_reaches_the_border(
    detector: FaceDetector, hopper: Image, cut: int
):
    face = only(detector(np.ascontiguousarray(hopper[:, cut:])))
    assert face.box[0] <= 0
    assert face.box[2] == pytest.approx(362 - cut, abs=25)


def test_a_small_face_in_a_large_image_is_found_by_the_tiles_only(detector: FaceDetector, hopper: Image):
    small = cv2.resize(hopper, (256, 300), interpolation=cv2.INTER_AREA)
    large = place(small, width=4000, height=3000, at=(3100, 1900))
    assert off(detector(large)[0], HOPPER_POINTS / 2 + np.array([3100, 1900])) < 0.12
    with FaceDetector(max_tiles=1) as untiled:
        assert sure(untiled(large)) == []


def test_twenty_faces_are_twenty(detector: FaceDetector, hopper: Image):
    person = cv2.resize(hopper, (256, 300), interpolation=cv2.INTER_AREA)
    faces = sure(detector(np.tile(person, (4, 5, 1))))
    assert len(faces) == 20
    cells = {(int(face.landmarks[2, 0] // 256), int(face.landmarks[2, 1] // 300)) for face in faces}
    assert cells == {(column, row) for column in range(5) for row in range(4)}


# No face, odd images


def test_noise_and_flat_images_hold_no_face(detector: FaceDetector):
    noise = np.random.default_rng(0).integers(0, 256, (480, 640, 3), dtype=np.uint8)
    assert detector(noise) == []
    assert detector(np.zeros((480, 640, 3), np.uint8)) == []
    assert detector(np.full((720, 1280, 3), 255, np.uint8)) == []


@pytest.mark.parametrize("shape", [(1, 1, 3), (3, 500, 3), (500, 2, 3), (8, 8, 3), (20, 3000, 3)])
def test_an_image_too_small_for_a_face_holds_none(detector: FaceDetector, shape: tuple[int, int, int]):
    assert sure(detector(np.full(shape, 90, np.uint8))) == []


def test_an_image_is_not_modified_and_earlier_images_are_forgotten(detector: FaceDetector, hopper: Image):
    before = hopper.copy()
    first = only(detector(hopper))
    detector(np.zeros((300, 900, 3), np.uint8))
    again = only(detector(hopper))
    assert (hopper == before).all()
    assert (first.box == again.box).all()
    assert (first.landmarks == again.landmarks).all()


def test_a_view_of_an_image_is_as_good_as_a_copy(detector: FaceDetector, hopper: Image):
    wide = np.concatenate([hopper, hopper[::-1]], axis=1)[:, ::-1]
    for view in (wide[:, 512:], wide[::4, 512::4]):  # the second one is not resized
        assert not view.flags.c_contiguous
        assert (only(detector(view)).box == only(detector(view.copy())).box).all()


@pytest.mark.parametrize(
    "image",
    [np.zeros((10, 10), np.uint8), np.zeros((10, 10, 4), np.uint8), np.zeros((10, 10, 3)), np.zeros((0, 9, 3), "u1")],
)
def test_what_is_no_rgb_image_is_refused(detector: FaceDetector, image: Image):
    with pytest.raises(ValueError, match=r"image must be \(H, W, 3\) uint8, got"):
        detector(image)


@pytest.mark.skipif(not CLIPS.is_dir(), reason="shared/clips is absent")
def test_people_in_a_street_are_found_by_the_tiles(detector: FaceDetector):
    import av

    with av.open(str(CLIPS / "street_1080p.mp4")) as container:
        image = next(container.decode(video=0)).to_ndarray(format="rgb24")
    with FaceDetector(max_tiles=1) as untiled:
        assert len(sure(detector(image))) >= len(sure(untiled(image))) + 3


@pytest.mark.slow
@pytest.mark.skipif(not CLIPS.is_dir(), reason="shared/clips is absent")
def test_light_gives_more_meshes_on_a_dark_stage(detector: FaceDetector, monkeypatch: pytest.MonkeyPatch):
    import av

    with av.open(str(CLIPS / "stage_dark_640x360.mp4")) as container:
        images = [f.to_ndarray(format="rgb24") for n, f in enumerate(container.decode(video=0)) if n % 20 == 0]

    def meshes() -> int:
        return sum(face.mesh is not None for image in images for face in detector(image))

    lit = meshes()
    monkeypatch.setattr(detect, "MAX_GAIN", 1.0)
    assert lit > meshes()


# The mesh and the detector


def test_sampling_counts_from_the_corner_of_a_pixel():
    ramp = np.tile(np.arange(100, 250, dtype=np.uint8)[:, None], (150, 1, 3))
    sampled = detect.sample(ramp, np.array([[0.5, 0, 20], [0, 0.5, 10]], np.float32))
    middles = 100 + (np.arange(192) + 0.5) / 2 + 20 - 0.5  # pixel x of the ramp is 100 + x at x + 0.5
    assert np.abs((sampled[..., 0] - middles).mean(axis=0)).mean() <= 0.3
    assert abs((sampled[..., 0] - middles).mean()) < 0.1


def test_the_box_of_a_face_covers_both_what_the_detector_and_what_the_mesh_saw(
    detector: FaceDetector, hopper: Image, monkeypatch: pytest.MonkeyPatch
):
    face = only(detector(hopper))
    monkeypatch.setattr(detect, "MESH_PRESENCE", 1.1)
    detected = only(detector(hopper))
    assert face.mesh is not None
    assert (face.box[:2] <= np.minimum(detected.box[:2], face.mesh[[152, 234, 454, 66], :2].min(axis=0))).all()
    assert (face.box[2:] >= np.maximum(detected.box[2:], face.mesh[[152, 234, 454, 66], :2].max(axis=0))).all()
    assert face.score > detected.score


def test_depth_is_in_pixels(detector: FaceDetector, hopper: Image):
    one = only(detector(hopper)).mesh
    two = only(detector(cv2.resize(hopper, None, fx=2, fy=2))).mesh
    assert one is not None
    assert two is not None
    assert np.ptp(two[:, 2]) == pytest.approx(2 * np.ptp(one[:, 2]), rel=0.1)


def test_a_mesh_beside_the_detection_is_left_out(
    detector: FaceDetector, hopper: Image, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(detect, "MESH_AGREEMENT", 1.1)
    assert only(detector(hopper)).mesh is None


def test_a_large_face_is_averaged_down_and_not_picked_from():
    image = np.random.default_rng(0).integers(100, 256, (768, 768, 3), dtype=np.uint8)  # light enough to stay as it is
    sampled = detect.sample(image, np.array([[4, 0, 0], [0, 4, 0]], np.float32))
    averages = image.reshape(192, 4, 192, 4, 3).mean(axis=(1, 3))
    assert np.abs(sampled - averages).max() <= 1


def test_a_mesh_that_the_model_doubts_is_left_out(
    detector: FaceDetector, hopper: Image, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(detect, "MESH_PRESENCE", 1.1)
    face = only(detector(hopper))
    assert face.mesh is None
    assert off(face, HOPPER_POINTS) < 0.2  # estimated from the detector's keypoints


def test_a_mesh_off_the_face_does_not_agree():
    mesh = np.zeros((468, 3), np.float32)
    mesh[:, :2] = np.random.default_rng(0).uniform(100, 200, (468, 2))
    mesh[[234, 454, 152, 66], :2] = (100, 150), (200, 150), (150, 200), (150, 100)
    box = np.array([100, 100, 200, 200], np.float32)
    assert agrees(mesh, box)
    assert agrees(mesh, box + 20)
    assert not agrees(mesh, box + 40)  # IoU .22
    assert not agrees(mesh, (box - 150) * 2 + 150)  # four times the area


def test_only_the_best_faces_get_a_mesh_when_there_are_too_many(
    detector: FaceDetector, hopper: Image, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(detect, "MAX_MESHES", 1)
    faces = sure(detector(np.tile(hopper, (1, 2, 1))))
    assert sorted(face.mesh is None for face in faces) == [False, True]


def test_five_points_are_the_means_that_the_template_names():
    mesh = np.arange(468 * 3, dtype=np.float32).reshape(468, 3)
    expected = [
        [(33 + 133 + 159 + 145) / 4 * 3 + k for k in (0, 1)],
        [(362 + 263 + 386 + 374) / 4 * 3 + k for k in (0, 1)],
    ]
    expected += [[3 * n + k for k in (0, 1)] for n in (1, 61, 291)]
    assert five_points(mesh) == pytest.approx(np.array(expected))


def test_estimated_mouth_corners_lie_beside_the_mouth_along_the_eyes():
    keypoints = np.array([[100, 100], [200, 150], [140, 170], [120, 210], [60, 110], [250, 170]], np.float32)
    points = estimated_points(keypoints)
    assert points[:3] == pytest.approx(keypoints[:3])
    assert points[3:].mean(axis=0) == pytest.approx(keypoints[3])
    assert points[4] - points[3] == pytest.approx(0.828 * (keypoints[1] - keypoints[0]))  # .2235 / .27


# Life and failure


def test_importing_the_module_does_not_import_mediapipe():
    code = "import sys, streamer.faces.detect; sys.exit('mediapipe' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])


def test_a_closed_detector_fails_closed(hopper: Image):
    detector = FaceDetector()
    detector.close()
    detector.close()
    with pytest.raises(AnonymizerError, match="closed"):
        detector(hopper)


def test_what_failed_once_is_thrown_away_and_the_next_image_is_searched(hopper: Image):
    with FaceDetector() as detector:
        before = only(detector(hopper))
        with detector._running() as networks:
            networks._clock = -1000  # MediaPipe takes no time that is over, and nothing at all after that
        with pytest.raises(AnonymizerError, match="MediaPipe did not run"):
            detector(hopper)
        assert (only(detector(hopper)).box == before.box).all()


def test_an_image_that_cannot_be_sampled_leaves_no_answers_for_the_next(hopper: Image, monkeypatch: pytest.MonkeyPatch):
    def fail(*_: object) -> Image:
        raise MemoryError

    with FaceDetector() as detector:
        with monkeypatch.context() as patch:
            patch.setattr(detect, "sample", fail)
            with pytest.raises(MemoryError):
                detector(hopper)
        only(detector(hopper))


@pytest.mark.slow
def test_threads_that_share_a_detector_find_what_one_finds(hopper: Image):
    images = [hopper, np.zeros((200, 200, 3), np.uint8), place(hopper, width=1200, height=800, at=(600, 100))]
    with FaceDetector() as detector, ThreadPoolExecutor(6) as threads:
        alone = [[tuple(face.box) for face in detector(image)] for image in images]
        together = list(threads.map(detector, images * 8))
    assert [[tuple(face.box) for face in faces] for faces in together] == alone * 8


def test_a_detector_may_be_closed_while_it_searches(hopper: Image):
    detector = FaceDetector()
    with ThreadPoolExecutor(1) as threads:
        searched = threads.submit(detector, hopper)
        detector.close()
        with suppress(AnonymizerError):  # if it was closed before
            assert only(searched.result()).score > 0.5


def test_closing_waits_for_a_search_that_has_begun(hopper: Image, monkeypatch: pytest.MonkeyPatch):
    begun, go_on, done = threading.Event(), threading.Event(), list[str]()

    def slow(*_: object) -> Image:
        begun.set()
        assert go_on.wait(PATIENCE_SECONDS)
        done.append("searched")
        return np.zeros((192, 192, 3), np.uint8)

    def close() -> None:
        detector.close()
        done.append("closed")

    monkeypatch.setattr(detect, "sample", slow)
    detector = FaceDetector()
    with ThreadPoolExecutor(2) as threads:
        searched = threads.submit(detector, hopper)
        assert begun.wait(PATIENCE_SECONDS)
        closed = threads.submit(close)
        with pytest.raises(TimeoutError):
            closed.result(timeout=0.05)
        go_on.set()
        searched.result()
    assert done[-1] == "closed"
