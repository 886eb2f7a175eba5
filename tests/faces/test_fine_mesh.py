"""The fine mesh finds lips, lids and irises where the coarse one roughly has them, on its caller's thread."""

from pathlib import Path

import numpy as np
import pytest

from streamer.cli.demo import Pose, Shot, render_clip
from streamer.errors import AnonymizerError
from streamer.faces.detect import FaceDetector
from streamer.faces.fine_mesh import EYES, LIPS, FineMesh
from streamer.sources.file_source import open_source
from streamer.types import Face, Image


@pytest.fixture(scope="module")
def portrait(tmp_path_factory: pytest.TempPathFactory, detector: FaceDetector) -> tuple[Image, Face]:
    path: Path = tmp_path_factory.mktemp("demo") / "clip.mp4"
    pose = (Pose(0.8, 0.56, 0.9),)
    render_clip(path, (Shot(0.1, pose, pose),))
    with open_source(str(path)) as source:
        image = next(iter(source)).image
        return image, max(detector(image), key=lambda face: face.size)


def test_lips_and_lids_are_about_where_they_were_and_nothing_else_moves(portrait: tuple[Image, Face]):
    image, face = portrait
    assert face.mesh is not None
    fine = FineMesh()(image, face.mesh)
    moved = np.linalg.norm(fine[:468, :2] - face.mesh[:, :2], axis=1) / face.size
    assert fine.shape == (478, 3)
    assert 0 < moved[list(LIPS)].mean() < 0.03
    untouched = np.setdiff1d(np.arange(468), [*LIPS, *EYES[0], *EYES[1]])
    assert (moved[untouched] == 0).all()


def test_the_irises_lie_between_the_corners_of_the_eyes(portrait: tuple[Image, Face]):
    image, face = portrait
    assert face.mesh is not None
    fine = FineMesh()(image, face.mesh)
    for iris, (a, b) in ((468, (33, 133)), (473, (362, 263))):
        along = fine[b, :2] - fine[a, :2]
        share = (fine[iris, :2] - fine[a, :2]) @ along / (along @ along)
        assert 0.25 < share < 0.75


def test_after_a_failure_it_starts_anew(portrait: tuple[Image, Face]):
    image, face = portrait
    assert face.mesh is not None
    network = FineMesh()
    first = network(image, face.mesh)
    assert network._pool is not None
    with network._pool.borrowed() as graph:
        graph._clock = -5  # a time before that of the last picture, which MediaPipe takes for broken
    with pytest.raises(AnonymizerError, match="lids and lips"):
        network(image, face.mesh)
    np.testing.assert_allclose(network(image, face.mesh), first, atol=0.01)


def test_it_has_no_thread_of_its_own(portrait: tuple[Image, Face]):
    image, face = portrait
    assert face.mesh is not None
    network, before = FineMesh(), threads()
    network(image, face.mesh)
    assert threads() <= before  # others' may end


def threads() -> set[str]:
    return {task.name for task in Path("/proc/self/task").iterdir()}
