"""One count of frames, whoever reads it."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from streamer.tally import Tally
from streamer.types import FaceReport, GuardReport, SafeFrame

BOX = np.zeros(4, np.float32)
FACES = (FaceReport(1, "generated", "", BOX), FaceReport(2, "mosaic", "small", BOX), FaceReport(3, "mosaic", "", BOX))
FRAME = SafeFrame(np.zeros((2, 2, 3), np.uint8), 0, 0, Fraction(1), FACES, guard=GuardReport(2, 1, 0.25))

counts = st.integers(0, 9)
faces = st.dictionaries(st.tuples(st.sampled_from(["generated", "mosaic"]), st.sampled_from(["", "a", "b"])), counts)
failures = st.dictionaries(st.sampled_from(["x", "y"]), counts)
tallies = st.builds(Tally, counts, counts, faces, failures, st.builds(GuardReport, counts, counts, st.floats(-1, 1)))


def test_a_frame_is_counted_with_its_faces_and_what_was_dropped_before_it():
    tally = Tally.of(FRAME, dropped=2)
    assert (tally.frames, tally.dropped, tally.face_frames, tally.whole) == (1, 2, 3, 0)
    assert (tally.tiers, tally.reasons) == ({"generated": 1, "mosaic": 2}, {"small": 1})
    assert tally.guard == GuardReport(2, 1, 0.25)


def test_a_frame_covered_whole_is_counted_by_why():
    tally = Tally.of(replace(FRAME, failed="too large")) + Tally.of(replace(FRAME, failed="too large"))
    assert (tally.frames, tally.whole, tally.failures) == (2, 2, {"too large": 2})


@given(tallies, tallies, tallies)
def test_tallies_add_up_in_any_grouping(a: Tally, b: Tally, c: Tally):
    assert (a + b) + c == a + (b + c)
    assert (a + b).face_frames == a.face_frames + b.face_frames == sum((a + b).tiers.values())
