"""CenterFace's network, as MediaPipe runs it."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from streamer.errors import AnonymizerError
from streamer.faces import center_face_graphs
from streamer.faces.center_face import CenterFace
from streamer.faces.center_face_graphs import SHAPES, CenterFaceGraphs
from streamer.pool import Shared
from streamer.types import Image


@pytest.mark.parametrize(
    ("size", "at", "peak", "means"),
    [
        (
            (96, 128),
            (12, 12),
            [0.7517, 2.4104, 2.1826, -0.0476, -0.0679, 0.3170, 0.2651, 0.3161, 0.7418, 0.4994, 0.5092, 0.6879, 0.3028],
            [0.0131, 1.6223, 1.3857, -0.0127, 0.0017, 0.3579, 0.2888, 0.3511, 0.6799, 0.5321, 0.4515, 0.7306, 0.3341],
        ),
        (
            (160, 96),
            (9, 20),
            [0.8011, 2.5503, 2.5200, -0.0889, 0.1178, 0.2993, 0.2978, 0.2979, 0.7472, 0.5087, 0.5241, 0.6959, 0.3373],
            [0.0203, 1.5979, 1.4887, -0.0053, 0.0048, 0.3634, 0.3083, 0.3529, 0.6753, 0.5279, 0.4686, 0.7209, 0.3540],
        ),
    ],
)
def test_it_tells_what_the_authors_file_tells_in_opencv(
    hopper: Image, size: tuple[int, int], at: tuple[int, int], peak: list[float], means: list[float]
):
    """The numbers are those of `centerface_bnmerged.onnx` in OpenCV 4.11, in 32 bits; ours has 8."""
    maps = np.concatenate(CenterFaceGraphs().run(cv2.resize(hopper, size, interpolation=cv2.INTER_AREA)))
    assert maps.shape == (15, size[1] // 4, size[0] // 4)
    assert np.unravel_index(maps[0].argmax(), maps[0].shape) == at
    np.testing.assert_allclose(maps[:13, *at], peak, atol=0.04)
    np.testing.assert_allclose(maps[:13].mean(axis=(1, 2)), means, atol=0.02)


def test_shapes_that_were_given_up_come_again(hopper: Image):
    graphs = CenterFaceGraphs()
    pictures = [np.ascontiguousarray(hopper[:32, : 32 * n]) for n in range(1, SHAPES + 3)]
    first = [np.concatenate(graphs.run(picture)) for picture in pictures]
    again = [np.concatenate(graphs.run(picture)) for picture in pictures]
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_graph_has_no_thread_of_its_own(hopper: Image):
    graphs, pictures = CenterFaceGraphs(), [np.ascontiguousarray(hopper[:32, : 32 * n]) for n in (1, 2, 3)]
    before = len(list(Path("/proc/self/task").iterdir()))
    for picture in pictures:
        graphs.run(picture)
    assert len(list(Path("/proc/self/task").iterdir())) == before


def test_a_network_that_was_closed_says_so(hopper: Image):
    shared = Shared(CenterFaceGraphs, limit=1)
    closed, other = CenterFace(shared), CenterFace(shared)
    closed.close()
    with pytest.raises(AnonymizerError, match="small faces is closed"):
        closed(hopper, (0, 0, 512, 512), (64, 64))
    other(hopper, (0, 0, 512, 512), (64, 64))


def test_a_graph_that_failed_is_replaced(hopper: Image):
    graphs, picture = CenterFaceGraphs(), np.ascontiguousarray(hopper[:64, :64])
    before = graphs.run(picture)
    graphs._graphs[64, 64]._graph.close()
    with pytest.raises(AnonymizerError, match="MediaPipe"):
        graphs.run(picture)
    np.testing.assert_array_equal(graphs.run(picture)[0], before[0])


def test_damaged_weights_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    damaged = tmp_path / "center-face.tflite"
    monkeypatch.setattr(center_face_graphs, "WEIGHTS", damaged)
    with pytest.raises(AnonymizerError, match="cannot be read; reinstall"):
        CenterFaceGraphs()
    damaged.write_bytes(b"no network")
    with pytest.raises(AnonymizerError, match="sha256 does not match; reinstall"):
        CenterFaceGraphs()
