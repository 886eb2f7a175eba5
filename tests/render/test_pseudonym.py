"""Who becomes whom: the same stranger for whoever comes back, another under another key, and what privacy costs."""

from collections.abc import Sequence

import pytest
import torch

from models.linear_refined import LinearRefined
from models.privacy import GaussianMechanism, PrivacyAccountant, PseudonymBook
from streamer.render.embed import FaceEmbedder
from streamer.render.pseudonym import Pseudonyms
from streamer.types import KnownPerson, Track
from tests.render.coloured_people import BLUE, GREEN, RED, ByColour, eigenfaces, frame, pseudonyms


@pytest.fixture
def model() -> LinearRefined:
    return eigenfaces()


def become(of: Pseudonyms, tracks: dict[int, tuple[int, int, int]]) -> list[int]:
    """Return the strangers of one frame's tracks, given the colour of each."""
    of.keep_only(set(tracks))
    image, faces = frame(*tracks.values())
    seen = [Track(number, face, 0.0) for number, face in zip(tracks, faces, strict=True)]
    torch.manual_seed(sum(map(sum, tracks.values())))
    return of.assign(image, seen, torch.rand(len(seen), 3, 32, 32), torch.zeros(len(seen), 468, 3)).tolist()


def test_whoever_comes_back_becomes_the_same_stranger(model: LinearRefined) -> None:
    stream = pseudonyms(model)
    first = become(stream, {1: RED})
    become(stream, {2: BLUE})
    assert become(stream, {3: RED}) == first
    assert become(stream, {4: GREEN}) != first


def test_two_faces_in_one_frame_are_two_people_however_alike(model: LinearRefined) -> None:
    stream = pseudonyms(model)
    one, two = become(stream, {1: RED, 2: RED})
    assert one != two
    assert become(stream, {1: RED, 2: RED}) == [one, two]


def test_a_track_keeps_its_stranger_whatever_it_shows_later(model: LinearRefined) -> None:
    stream = pseudonyms(model)
    assert become(stream, {1: RED}) == become(stream, {1: BLUE})


def test_the_same_key_gives_the_same_strangers_and_another_key_others(model: LinearRefined) -> None:
    people = {1: RED, 2: BLUE, 3: GREEN}
    mine, again, theirs = (become(pseudonyms(model, key * 32), people) for key in (b"a", b"a", b"b"))
    assert mine == again
    assert not set(mine) & set(theirs)


def test_a_stream_of_another_name_has_other_strangers_and_one_of_the_same_name_the_same(model: LinearRefined) -> None:
    made = {}
    for name in ("door", "yard", "door"):
        stream = pseudonyms(model)
        stream.reset(name)
        made.setdefault(name, []).append(become(stream, {1: RED, 2: BLUE}))
    assert made["door"][0] == made["door"][1]
    assert not set(made["door"][0]) & set(made["yard"][0])


def test_a_stream_without_a_name_is_named_by_the_first_picture_with_a_face(model: LinearRefined) -> None:
    stream = pseudonyms(model)
    first = become(stream, {1: RED}), become(stream, {2: BLUE})
    stream.reset(None)
    assert (become(stream, {1: RED}), become(stream, {2: BLUE})) == first
    stream.reset(None)
    assert become(stream, {1: BLUE}) != first[0]  # the first person again, in another recording


def test_a_release_does_not_come_again_under_the_same_key(model: LinearRefined) -> None:
    mechanism = GaussianMechanism(1e-3, 1e-5, bound=2.0)
    people = dict.fromkeys(range(20), RED)
    one, other = (become(pseudonyms(model, mechanism=mechanism), people) for _ in range(2))
    assert one != other


def test_each_track_is_one_release_however_long_it_lasts(model: LinearRefined) -> None:
    accountant, mechanism = PrivacyAccountant(), GaussianMechanism(2.0, 1e-5, bound=2.0)
    stream = pseudonyms(model, mechanism=mechanism, accountant=accountant)
    first = become(stream, {1: RED})
    assert all(become(stream, {1: RED}) == first for _ in range(5))
    assert accountant.releases == 1
    assert accountant.spent(1e-5) == pytest.approx(2.0)
    become(stream, {2: RED, 3: BLUE})
    assert accountant.releases == 3


def test_without_noise_the_release_leads_to_the_stranger_most_like_the_person(model: LinearRefined) -> None:
    """At an absurd epsilon nothing is hidden: the choice really does depend on the released coordinates."""
    stream = pseudonyms(model, mechanism=GaussianMechanism(1e12, 0.5, bound=1e3))
    image, faces = frame(RED)
    directions = torch.nn.functional.normalize(model.strangers[:, :4], dim=1)
    nearest = (directions @ directions.T).fill_diagonal_(-1.0).max(dim=1).values
    alone = int(nearest.argmin())  # what noise is left may not lead to a neighbour
    latents = torch.randn(1, 8)
    latents[:, :4] = model.strangers[alone, :4] * 0.5
    crops = model.decode(latents).repeat_interleave(2, 2).repeat_interleave(2, 3)
    assert stream.assign(image, [Track(1, faces[0], 0.0)], crops, torch.zeros(1, 468, 3)).tolist() == [alone]


def test_memory_does_not_grow_with_the_people_who_pass(model: LinearRefined, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PseudonymBook, "MAX_PEOPLE", 3)
    stream = pseudonyms(model, mechanism=GaussianMechanism(1.0, 1e-5, bound=2.0))
    for track in range(20):
        become(stream, {track: RED})
    assert len(stream._strangers) <= 4
    assert len(stream._people) == 1


def met(*colours: tuple[int, int, int], strangers: Sequence[int]) -> list[KnownPerson]:
    """Return people of these colours, and whom they are to become."""
    image, faces = frame(*colours)
    found = FaceEmbedder(ByColour(), torch.device("cpu"))([(image, face) for face in faces]).numpy()
    return [KnownPerson(embedding, stranger) for embedding, stranger in zip(found, strangers, strict=True)]


def test_whoever_is_known_becomes_the_stranger_that_was_fixed_in_whatever_order_people_come(
    model: LinearRefined,
) -> None:
    known = met(RED, BLUE, strangers=[491, 492])
    one, other = (pseudonyms(model, known=known) for _ in range(2))
    assert become(one, {1: GREEN, 2: BLUE, 3: RED})[1:] == [492, 491]
    assert become(other, {1: RED}) == [491]
    assert become(other, {2: BLUE}) == [492]
    other.reset("another")
    assert become(other, {1: RED}) == [491]


def test_whoever_is_not_known_never_takes_the_place_of_somebody_known(model: LinearRefined) -> None:
    known = met(RED, strangers=[491])
    stream = pseudonyms(model, known=known)
    green = become(stream, {1: GREEN})
    assert green != [491]
    assert become(stream, {2: RED}) == [491]
    assert become(stream, {3: GREEN}) == green


def test_a_known_person_whose_stranger_is_refused_becomes_another_for_the_rest_of_the_stream(
    model: LinearRefined,
) -> None:
    stream = pseudonyms(model, known=met(RED, strangers=[491]))
    assert become(stream, {1: RED}) == [491]
    stream.reject([1])
    other = become(stream, {1: RED})
    assert other != [491]
    assert become(stream, {2: RED}) == other


def test_where_nobody_else_is_left_a_refused_stranger_comes_again(
    model: LinearRefined, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model, "pseudonyms", lambda sighting, seeds: seeds % 2)
    stream = pseudonyms(model)
    for track in range(1, 5):
        become(stream, {track: RED})
        stream.reject([track])
    assert become(stream, {5: RED})[0] in (0, 1)


def test_known_people_are_not_forgotten_however_many_others_pass(
    model: LinearRefined, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PseudonymBook, "MAX_PEOPLE", 2)
    stream = pseudonyms(model, known=met(RED, strangers=[491]))
    for track, colour in enumerate([RED, BLUE, GREEN, (250, 250, 0), (0, 250, 250), (250, 0, 250), RED], start=1):
        last = become(stream, {track: colour})
    assert last == [491]
