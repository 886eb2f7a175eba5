"""Of those who suit, some are tried on: who is least like the person, once drawn, is taken."""

from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor

from models.face_model import Sighting
from models.linear_refined import LinearRefined
from streamer.render.pseudonym import SHORTLIST, TRIED, Pseudonyms, Trial, TryOn
from streamer.types import Track
from tests.render.coloured_people import BLUE, GREEN, RED, ByBlue, Colour, eigenfaces, frame, pseudonyms

IMAGE, (FACE,) = frame(RED)


@pytest.fixture
def model() -> LinearRefined:
    return eigenfaces()


def noting(tried: list[int], colour_of: Callable[[int], Colour]) -> TryOn:
    """Return what notes in `tried` who is tried on, and draws each in the colour of the place where it stands there."""

    def try_on(track: Track, strangers: Sequence[int]) -> list[Trial]:
        places = range(len(tried), len(tried) + len(strangers))
        tried.extend(strangers)
        return [Trial((frame(colour_of(place))[0], FACE)) for place in places]

    return try_on


def chosen(of: Pseudonyms, try_on: TryOn, *, offered: int, kept: int = 1, track: int = 1) -> int:
    """Return who a red person becomes."""
    seen = [Track(track, FACE, 0.0)], torch.rand(1, 3, 32, 32), torch.zeros(1, 468, 3)
    return int(of.assign(IMAGE, *seen, try_on=try_on, offered=offered, kept=kept))


def test_of_those_tried_on_the_least_like_the_person_is_taken(model: LinearRefined) -> None:
    """Each stranger is drawn in a colour of its own; of red ones and a blue one, a red person becomes the blue one."""
    tried: list[int] = []
    one = chosen(pseudonyms(model), noting(tried, lambda place: BLUE if place == 2 else RED), offered=12)
    assert len(set(tried)) == len(tried)
    assert 3 <= len(tried) <= 12
    assert one == tried[2]


def taken(model: LinearRefined, *, kept: int, blue: Sequence[int]) -> set[int]:
    """Return which of those whom a red person tries on twelve keys take, of whom these are blue, the others red."""
    places: set[int] = set()
    for number in range(12):
        tried: list[int] = []
        try_on = noting(tried, lambda place: BLUE if place in blue else RED)
        one = chosen(pseudonyms(model, key=bytes([number]) * 32), try_on, offered=TRIED, kept=kept)
        places.add(tried.index(one))
    return places


def test_of_many_tried_on_the_key_takes_one_of_the_least_like(model: LinearRefined) -> None:
    """Or every key would take the same."""
    assert taken(model, kept=2, blue=(3, 7)) == {3, 7}
    assert taken(model, kept=4, blue=(3, 7)) == {3, 7}  # the others are taken for the person


def test_of_those_who_look_alike_one_counts(model: LinearRefined, monkeypatch: pytest.MonkeyPatch) -> None:
    assert taken(model, kept=3, blue=(3, 7, 9)) == {3, 7, 9}
    monkeypatch.setattr(model, "lookalikes", torch.zeros_like)
    assert taken(model, kept=3, blue=(3, 7, 9)) == {3}


def test_those_foretold_to_be_least_like_are_tried_on(model: LinearRefined, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of all who suit, those of the highest numbers, and each once where others are tried on as well."""
    offers: list[int] = []
    pseudonyms_of = model.pseudonyms

    def noted(sighting: Sighting, seeds: Tensor) -> Tensor:
        numbers = pseudonyms_of(sighting, seeds)
        offers.extend(numbers.tolist())
        return numbers

    monkeypatch.setattr(model, "pseudonyms", noted)
    monkeypatch.setattr(model, "foretold", lambda sighting, numbers: -numbers.float())
    tried: list[int] = []
    chosen(pseudonyms(model), noting(tried, lambda place: RED), offered=200)
    first, second = offers[:200], offers[200:]
    assert tried[:TRIED] == sorted(set(first), reverse=True)[:TRIED]
    assert tried[TRIED:]
    assert set(tried[TRIED:]) <= set(second) - set(tried[:TRIED])


def test_live_nobody_is_tried_on_where_the_model_foretells(
    model: LinearRefined, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[int] = []
    try_on = noting(tried, lambda place: RED)
    chosen(pseudonyms(model, is_live=True), try_on, offered=12)
    assert tried
    tried.clear()
    monkeypatch.setattr(model, "pseudonyms", lambda sighting, seeds: seeds % 40)
    monkeypatch.setattr(model, "foretold", lambda sighting, numbers: (numbers - 7).abs())
    stream = pseudonyms(model, is_live=True)
    first = chosen(stream, try_on, offered=200)
    others: set[int] = set()
    for _ in range(2):
        stream.reject([1])
        others.add(chosen(stream, try_on, offered=200))
    assert not tried
    assert (first, others) == (7, {6, 8})


def test_nobody_is_tried_on_twice_where_there_is_nobody_else(
    model: LinearRefined, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model, "pseudonyms", lambda sighting, seeds: seeds % 2)
    tried: list[int] = []
    chosen(pseudonyms(model), noting(tried, lambda place: RED), offered=12)
    assert sorted(tried) == [0, 1]


def test_where_all_who_suit_are_like_the_person_others_are_tried_on_as_well(
    model: LinearRefined, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    pseudonyms_of = model.pseudonyms

    def noted(sighting: Sighting, seeds: Tensor) -> Tensor:
        asked.append(sighting.leniency)
        return pseudonyms_of(sighting, seeds)

    monkeypatch.setattr(model, "pseudonyms", noted)
    (place,) = taken(model, kept=4, blue=(TRIED + 3,))
    assert place == TRIED + 3
    assert asked[:2] == [0, 1]


def test_a_stranger_who_is_refused_does_not_come_again_while_there_are_others(model: LinearRefined) -> None:
    """Of 12 strangers tried on all are as unlike the person, and each is refused."""
    stream = pseudonyms(model)
    became: set[int] = set()
    for track in range(1, 9):
        became.add(chosen(stream, noting([], lambda place: BLUE), offered=12, track=track))
        stream.reject([track])
    assert len(became) == 8


def test_the_reranker_has_a_say_among_those_the_recogniser_finds_least_like(model: LinearRefined) -> None:
    """To a red person green and blue are equally unlike, but not to the reranker, which looks at blue.
    The violet one is blue, too, but as red as the person: he is not among those it is asked about."""
    colours = [GREEN] * SHORTLIST + [(250, 0, 200)]
    colours[5] = BLUE
    tried: list[int] = []
    of = pseudonyms(model, reranker=ByBlue())
    one = chosen(of, noting(tried, colours.__getitem__), offered=SHORTLIST + 1)
    assert len(tried) == SHORTLIST + 1
    assert one == tried[5]


def test_what_the_least_like_would_look_like_when_finished_decides(model: LinearRefined) -> None:
    """Green ones turn red when they are finished, all but one; who is more like to begin with is not finished."""
    tried: list[int] = []
    finished: list[int] = []

    def trial(place: int) -> Trial:
        picture = frame((250, 0, 200) if place == 1 else GREEN)[0]  # one is more like, and is not finished

        def finish() -> None:
            finished.append(place)
            picture[:] = frame(GREEN if place == 5 else RED)[0]

        return Trial((picture, FACE), finish)

    def try_on(track: Track, strangers: Sequence[int]) -> list[Trial]:
        tried.extend(strangers)
        return [trial(place) for place in range(len(strangers))]

    one = chosen(pseudonyms(model), try_on, offered=SHORTLIST + 1)
    assert len(tried) == SHORTLIST + 1
    assert sorted(finished) == [0, *range(2, SHORTLIST + 1)]
    assert one == tried[5]
