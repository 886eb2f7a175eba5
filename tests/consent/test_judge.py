"""Who stays visible: only who is clearly enrolled, and every doubt covers at once."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date

import numpy as np
import pytest

from streamer.consent.cohort import MARGIN, Cohort
from streamer.consent.entries import ConsentList, Person
from streamer.consent.judge import FRESH_SECONDS, NEEDED, NEEDED_SECONDS, ConsentJudge, Decision
from streamer.consent.quality import Observation
from streamer.types import Face, Floats, Track

STEP = 0.15  # seconds between sightings; five of them are 0.6 seconds
EXPIRES = date(2027, 1, 31)


def axis(*values: float) -> Floats:
    """Return the unit vector in 6 dimensions that begins like this."""
    vector = np.zeros(6, np.float32)
    vector[: len(values)] = values
    return vector / np.linalg.norm(vector)


ANN, BOB, STRANGER = axis(1), axis(0, 1), axis(0, 0, 1)
CROWD = Cohort(0.6, np.stack([axis(0, 0, 0, 1), axis(0, 0, 0, 0, 1)]))
PEOPLE = (Person("Ann", EXPIRES, ANN), Person("Bob", EXPIRES, BOB))


def like(vector: Floats, cosine: float) -> Floats:
    """Return a unit vector of that cosine to `vector`, and of none to anybody else."""
    return cosine * vector + np.sqrt(1 - cosine**2) * axis(0, 0, 0, 0, 0, 1)


def sighting(embedding: Floats, **flaws: float) -> Observation:
    good = Observation(embedding, size=100, sideways=0, nod=0.6, contrast=50, sharpness=0.05)
    return replace(good, **flaws)


def track(number: int = 1, missed_seconds: float = 0.0) -> Track:
    return Track(number, Face(np.zeros(4, np.float32), np.zeros((5, 2), np.float32), None, 1.0), missed_seconds)


class Stream:
    """A stream whose track 1 is looked at every `STEP` seconds."""

    def __init__(self, people: Sequence[Person] = PEOPLE, today: Callable[[], date] = lambda: EXPIRES) -> None:
        self.judge = ConsentJudge(ConsentList(tuple(people), {}), CROWD, today=today)
        self.seconds = 0.0

    def sees(self, *embeddings: Floats, number: int = 1, **flaws: float) -> Decision:
        for embedding in embeddings:
            self.seconds += STEP
            self.judge.observe(number, sighting(embedding, **flaws), seconds=self.seconds)
            decision = self.judge.decide([track(number)], seconds=self.seconds)[number]
        return decision


@pytest.fixture
def sure() -> Stream:
    """A stream in which Ann has just been confirmed."""
    stream = Stream()
    assert stream.sees(*[ANN] * NEEDED).name == "Ann"
    return stream


def test_nobody_is_visible_before_several_sightings_agree():
    stream = Stream()
    decisions = [stream.sees(ANN) for _ in range(NEEDED)]
    assert decisions == [Decision(None, "not sure yet")] * (NEEDED - 1) + [Decision("Ann", "")]


def test_many_sightings_in_a_moment_are_not_enough():
    judge = ConsentJudge(ConsentList(PEOPLE, {}), CROWD, today=lambda: EXPIRES)
    times = np.arange(0, NEEDED_SECONDS - 0.01, 0.01)
    assert len(times) > 5 * NEEDED
    names = {judge.observe(1, sighting(ANN), seconds=float(seconds)).name for seconds in times}
    assert names == {None}
    assert judge.observe(1, sighting(ANN), seconds=NEEDED_SECONDS).name == "Ann"


def test_one_sighting_that_disagrees_covers_at_once_and_all_begins_anew(sure: Stream):
    assert sure.sees(STRANGER) == Decision(None, "unknown")
    assert sure.sees(*[ANN] * (NEEDED - 1)) == Decision(None, "not sure yet")
    assert sure.sees(ANN).name == "Ann"


def test_who_turns_out_to_be_another_enrolled_person_is_covered_until_that_is_sure(sure: Stream):
    assert sure.sees(BOB) == Decision(None, "not sure yet")
    assert sure.sees(*[BOB] * (NEEDED - 1)).name == "Bob"


@pytest.mark.parametrize(("cosine", "name"), [(0.61, "Ann"), (0.59, None), (np.nan, None)])
def test_a_face_must_be_over_the_threshold(cosine: float, name: str | None):
    assert Stream().sees(*[like(ANN, cosine)] * NEEDED).name == name


@pytest.mark.parametrize(("ahead", "name"), [(MARGIN + 0.02, "Ann"), (MARGIN - 0.02, None)])
def test_a_face_between_two_enrolled_people_is_ambiguous(ahead: float, name: str | None):
    both = axis(0.7 + ahead / 2, 0.7 - ahead / 2)
    gap = float(both @ ANN - both @ BOB)
    decision = Stream().sees(*[both] * NEEDED)
    assert decision.name == name, gap
    assert decision.reason in ("", "ambiguous")


@pytest.mark.parametrize(("crowd_cosine", "name"), [(0.5, "Ann"), (0.7, None)])
def test_a_face_that_is_as_like_a_stranger_of_the_crowd_is_unknown(crowd_cosine: float, name: str | None):
    face = axis(np.sqrt(1 - crowd_cosine**2), 0, 0, crowd_cosine)  # cosine to Ann .87 and .71
    assert Stream().sees(*[face] * NEEDED).name == name


def test_an_enrolled_person_who_looks_like_the_crowd_needs_a_better_likeness():
    common = Person("Eve", EXPIRES, axis(0.6, 0, 0, 0.8))  # cosine .8 to a stranger of the crowd
    off = like(common.embedding, 0.93)
    assert Stream([common]).sees(*[off] * NEEDED).name is None
    assert Stream().sees(*[like(ANN, 0.93)] * NEEDED).name == "Ann"


@pytest.mark.parametrize(
    ("flaws", "reason"),
    [
        ({"size": 63}, "small"),
        ({"sideways": -0.3}, "turned"),
        ({"nod": 0.3}, "turned"),
        ({"contrast": 10}, "dim"),
        ({"sharpness": 0.001}, "blurred"),
        ({"size": np.nan}, "small"),
        ({"sideways": np.nan}, "turned"),
    ],
)
def test_a_poor_sighting_covers_while_it_lasts_and_proves_nothing(flaws: dict[str, float], reason: str, sure: Stream):
    assert Stream().sees(*[ANN] * 20, **flaws) == Decision(None, reason)
    assert sure.sees(ANN, **flaws) == Decision(None, reason)


def test_after_a_moment_of_poor_sightings_a_good_one_suffices_and_after_a_longer_one_not():
    for gap, name in [(FRESH_SECONDS * 0.9, "Ann"), (FRESH_SECONDS * 1.1, None)]:
        stream = Stream()
        stream.sees(*[ANN] * NEEDED)
        stream.judge.observe(1, sighting(ANN, size=10), seconds=stream.seconds + gap / 2)
        assert stream.judge.observe(1, sighting(ANN), seconds=stream.seconds + gap).name == name


def test_a_decision_holds_for_the_frame_of_its_sighting_alone(sure: Stream):
    assert sure.judge.decide([track()], seconds=sure.seconds)[1].name == "Ann"
    assert sure.judge.decide([track()], seconds=sure.seconds + 0.01)[1] == Decision(None, "not looked at")


def test_who_takes_the_place_of_the_one_of_two_that_went_is_covered(sure: Stream):
    """Somebody in a mirror goes, and a stranger comes in their own place: nobody has looked at them yet."""
    for _ in range(NEEDED):
        sure.seconds += STEP
        for number in (1, 2):
            sure.judge.observe(number, sighting(ANN), seconds=sure.seconds)
        sure.judge.decide([track(1), track(2)], seconds=sure.seconds)
    sure.seconds += STEP
    assert sure.judge.decide([track(1)], seconds=sure.seconds)[1].name is None
    sure.judge.observe(1, sighting(ANN), seconds=sure.seconds)
    assert sure.judge.decide([track(1)], seconds=sure.seconds)[1] == Decision(None, "not sure yet")


def test_of_two_that_are_taken_for_one_person_either_must_be_confirmed_anew(sure: Stream):
    for _ in range(NEEDED - 1):  # who comes is not confirmed, yet: how often they were seen counts as little
        sure.seconds += STEP
        for number in (1, 2):
            sure.judge.observe(number, sighting(ANN), seconds=sure.seconds)
        sure.judge.decide([track(1), track(2)], seconds=sure.seconds)
    assert sure.sees(ANN, number=2) == Decision(None, "not sure yet")


def test_a_face_on_another_covers_it_at_once_and_all_begins_anew(sure: Stream):
    sure.judge.doubt(1, seconds=sure.seconds)
    assert sure.judge.decide([track()], seconds=sure.seconds)[1] == Decision(None, "another face lies on it")
    assert sure.sees(*[ANN] * (NEEDED - 1)).name is None
    assert sure.sees(ANN).name == "Ann"


def test_time_that_goes_backwards_begins_anew(sure: Stream):
    sure.seconds = 0.0
    assert sure.sees(ANN) == Decision(None, "not sure yet")


def test_a_track_that_coasts_is_covered_and_must_be_confirmed_anew(sure: Stream):
    assert sure.judge.decide([track(missed_seconds=0.03)], seconds=sure.seconds + 0.03)[1].name is None
    sure.seconds += 0.03
    assert sure.sees(*[ANN] * (NEEDED - 1)).name is None
    assert sure.sees(ANN).name == "Ann"


def test_a_track_that_was_never_looked_at_is_covered(sure: Stream):
    assert sure.judge.decide([track(7)], seconds=sure.seconds)[7] == Decision(None, "not looked at")


def test_two_tracks_of_one_person_are_both_covered(sure: Stream):
    for _ in range(NEEDED):
        sure.seconds += STEP
        for number in (1, 2):
            sure.judge.observe(number, sighting(ANN), seconds=sure.seconds)
        decisions = sure.judge.decide([track(1), track(2)], seconds=sure.seconds)
    assert decisions == {1: Decision(None, "ambiguous"), 2: Decision(None, "ambiguous")}


def test_two_people_are_visible_side_by_side_and_a_stranger_beside_them_is_not():
    stream = Stream()
    for _ in range(NEEDED):
        stream.seconds += STEP
        for number, who in enumerate([ANN, BOB, STRANGER, STRANGER], 1):
            stream.judge.observe(number, sighting(who), seconds=stream.seconds)
        decisions = stream.judge.decide([track(number) for number in (1, 2, 3, 4)], seconds=stream.seconds)
    assert [decisions[number].name for number in (1, 2, 3, 4)] == ["Ann", "Bob", None, None]
    assert decisions[3].reason == "unknown"


def test_a_consent_that_expires_at_midnight_covers_at_midnight():
    clock = [EXPIRES]
    stream = Stream(today=lambda: clock[0])
    assert stream.sees(*[ANN] * NEEDED).name == "Ann"
    clock[0] = date(2027, 2, 1)
    assert stream.sees(ANN) == Decision(None, "expired")


def test_what_is_no_number_is_nobody_even_with_nobody_else_enrolled():
    assert Stream(PEOPLE[:1]).sees(*[like(ANN, np.nan)] * NEEDED).name is None


def test_an_empty_list_keeps_nobody():
    assert Stream(people=()).sees(*[ANN] * 10) == Decision(None, "unknown")


def test_each_change_is_logged_by_name_and_nothing_else_is(caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.INFO, logger="streamer"):
        stream = Stream()
        stream.sees(*[ANN] * 20, STRANGER, STRANGER, *[ANN] * NEEDED)
        stream.judge.decide([], seconds=stream.seconds)
    assert [record.getMessage() for record in caplog.records] == [
        "track 1: Ann stays visible",
        "track 1: covered: unknown",
        "track 1: Ann stays visible",
        "track 1: covered: gone",
    ]


def test_what_is_forgotten_does_not_fill_the_memory():
    stream = Stream()
    for number in range(500):
        stream.sees(ANN, number=number)
    assert len(stream.judge._evidence) == 1
    assert len(stream.judge._said) == 1
