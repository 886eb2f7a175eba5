"""A face is cut out of a frame smaller, and lies where it lay."""

import numpy as np
import pytest

from streamer.render.cutter import shrunk
from streamer.types import Face, Image


def face(left: float, top: float, side: float) -> Face:
    landmarks = np.array([[0.3, 0.4], [0.7, 0.4], [0.5, 0.6], [0.4, 0.8], [0.6, 0.8]]) * side + (left, top)
    mesh = np.tile(np.append(landmarks[2], 7.0), (468, 1)).astype(np.float32)
    return Face(np.array([left, top, left + side, top + side], np.float32), landmarks.astype(np.float32), mesh, 1.0)


def marked(one: Face) -> Image:
    image = np.zeros((600, 800, 3), np.uint8)
    x, y = one.landmarks[2].astype(int)
    image[y - 8 : y + 8, x - 8 : x + 8] = 255
    return image


@pytest.mark.parametrize(("left", "top", "side"), [(300, 200, 180), (-40, 10, 180), (700, 500, 160), (100, 100, 50)])
def test_a_face_lies_where_it_lay_and_is_no_larger_than_asked(left: float, top: float, side: float) -> None:
    before = face(left, top, side)
    small, (after, same), scale = shrunk(marked(before), [before, before], 90.0)
    assert after.size == pytest.approx(min(90.0, side), abs=1.0)
    assert scale == pytest.approx(min(1.0, 90 / side))
    assert max(small.shape) < 300
    x, y = after.landmarks[2]
    if 0 <= x < small.shape[1] and 0 <= y < small.shape[0]:
        assert small[int(y), int(x), 0] > 200
    assert after.mesh is not None
    np.testing.assert_allclose(after.mesh[0], [x, y, 7.0 * scale], rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(after.box, same.box)


def test_the_frame_stays_as_it_is() -> None:
    one = face(10, 10, 40)
    image = marked(one)
    before = image.copy()
    shrunk(image, [one], 90.0)
    assert (image == before).all()
