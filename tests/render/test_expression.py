from __future__ import annotations

from fractions import Fraction

import cv2
import numpy as np
import pytest

from streamer.cli.demo import free_portrait
from streamer.evaluate.measures.utility import expression_of
from streamer.faces.detect import FaceDetector
from streamer.pipeline.anonymizer import Anonymizer
from streamer.render.expression import ExpressionDamper
from streamer.settings import Settings
from streamer.types import Face, Floats, Frame, Image

RATE = 25.0
JAW = slice(400, 468)  # points that move


def face(opening: float, turn: float = 0.0, place: float = 0.0) -> Floats:
    """Return a made-up mesh in pixels, with its jaw down, turned in the picture, and moved aside."""
    mesh = np.random.default_rng(0).normal(0, 40, (468, 3)).astype(np.float32)
    mesh[JAW, 1] += opening
    cos, sin = np.cos(turn), np.sin(turn)
    return (mesh @ np.array([[cos, sin, 0], [-sin, cos, 0], [0, 0, 1]], np.float32) + 200 + place).astype(np.float32)


def played(share: float, openings: Floats) -> list[Floats]:
    damper = ExpressionDamper()
    return [damper(1, face(opening), n / RATE, share=share) for n, opening in enumerate(openings)]


def swing(meshes: list[Floats]) -> float:
    """Return how far the jaw goes up and down, without the beginning."""
    return float(np.std([mesh[JAW, 1].mean() for mesh in meshes[50:]]))


def test_all_of_the_movement_is_no_change_at_all():
    mesh = face(5)
    assert ExpressionDamper()(1, mesh, 0.0, share=1.0) is mesh


@pytest.mark.parametrize(("hertz", "least", "most"), [(0.25, 0.3, 0.6), (4.0, 0.02, 0.3)])
def test_slow_movement_is_halved_and_fast_movement_more(hertz: float, least: float, most: float):
    openings = 10 * np.sin(2 * np.pi * hertz * np.arange(400) / RATE)
    kept = swing(played(0.5, openings)) / swing(played(1.0, openings))
    assert least < kept < most


def test_at_nothing_a_face_stays_at_rest_while_the_head_goes_on():
    damper = ExpressionDamper()
    for n in range(100):
        turn, place = 0.004 * n, 2.0 * n
        drawn = damper(1, face(8 * (n % 2), turn, place), n / RATE, share=0.0)
    assert np.abs(drawn - face(4, turn, place)).max() < 2.5  # of 200 pixels that the head went


def test_a_frame_that_is_drawn_twice_is_drawn_the_same():
    damper = ExpressionDamper()
    for n in range(10):
        first = damper(1, face(n % 3), n / RATE, share=0.4)
        assert (damper(1, face(n % 3), n / RATE, share=0.4) == first).all()


def test_a_track_that_was_gone_or_forgotten_starts_with_its_own_mesh():
    damper = ExpressionDamper()
    for n in range(10):
        damper(1, face(0), n / RATE, share=0.2)
    assert damper(1, face(30), 5.0, share=0.2) == pytest.approx(face(30), abs=0.01)
    damper.keep_only(set())
    assert damper(1, face(0), 5.1, share=0.2) == pytest.approx(face(0), abs=0.01)


def test_a_share_out_of_range_is_refused():
    with pytest.raises(ValueError, match="expression must be in"):
        Settings(expression=1.5)


def opened(photo: Image, face: Face, gap: int) -> Image:
    """Return the photo with its mouth open: the chin goes down, and what is between the lips is dark."""
    assert face.mesh is not None
    line = round(float(face.mesh[[13, 14], 1].mean()))
    left, right = (round(float(face.mesh[n, 0])) for n in (61, 291))
    result = photo.copy()
    result[line + gap :] = photo[line : len(photo) - gap]
    result[line : line + gap] = photo[line]
    cv2.ellipse(
        result, ((left + right) // 2, line + gap // 2), ((right - left) // 2, gap // 2), 0, 0, 360, (40, 15, 15), -1
    )
    return result


@pytest.mark.slow
@pytest.mark.parametrize("model", ["linear-refined", "textures"])
def test_a_mouth_that_opens_stays_nearly_shut_where_little_of_movement_is_kept(model: str, detector: FaceDetector):
    photo = cv2.resize(free_portrait(), (240, 300), interpolation=cv2.INTER_AREA)
    loaded = Anonymizer.load(model, device="cpu", key=bytes(32))
    wide = opened(photo, detector(photo)[0], 16)
    opening = {}
    for share in (1.0, 0.1):
        stream = loaded.with_settings(Settings(key=bytes(32), expression=share)).begin_stream("one")
        pictures = [photo] * 5 + [wide] * 3
        frames = [Frame(picture, index=n, pts=n, time_base=Fraction(1, 25)) for n, picture in enumerate(pictures)]
        (face,) = detector(list(map(stream, frames))[-1].image)
        assert face.mesh is not None
        opening[share] = expression_of(face.mesh, np.zeros(2, np.float32)).mouth
    assert opening[0.1] < 0.6 * opening[1.0]
