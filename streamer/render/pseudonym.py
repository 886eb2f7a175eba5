"""Decide who becomes whom: a stranger for each track, chosen once when it is first drawn, then kept.

The only stage that recognises people: those who come back in a stream become the same stranger again. Embeddings stay
in memory and end with the stream.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace

import torch

from models.face_model import Attributes, FaceModel, Sighting
from models.identity.recognizer import SAME_PERSON, FaceRecognizer
from models.privacy import GaussianMechanism, PrivacyAccountant, PseudonymBook, pseudonym_seed, stream_name
from streamer.render.embed import FaceEmbedder
from streamer.types import Face, Floats, Image, KnownPerson, Track

TRIED = 12  # of those who suit, foretold to be least like: tried on, and as many others where all are too like
SHORTLIST = 6  # of those tried on, the least like: finished, and shown to the reranker; the mean of both counts
MARGIN = 0.02  # cosine that somebody may be more like than the least like: of one alone all keys take the same
CLEAR = 0.05  # cosine of a stranger as drawn, as two recognisers see it, up to which one is as good as another
ALL_LIKE = 0.05  # of the least like of all tried on, from which on others are tried on who suit less
MOST_REJECTED = 48  # strangers whom somebody was found too like, and does not become again while there are others
TRIES_APART = 1_000_003  # between their seeds, so that one that is refused is followed by others


@dataclass(frozen=True, slots=True)
class Trial:
    """Somebody drawn as a stranger, to see how like them that is.

    Attributes:
        drawn: A picture `(h, w, 3)` uint8 RGB, and where the person is in it.
        finish: Makes of the picture, in place, what a stream would show, where that is not so yet since it takes long.
    """

    drawn: tuple[Image, Face]
    finish: Callable[[], None] | None = None


@dataclass(frozen=True, slots=True)
class _Tried:
    """A trial, and how like the person it is before it is finished: a cosine."""

    trial: Trial
    likeness: float


TryOn = Callable[[Track, Sequence[int]], Iterable[Trial]]  # somebody, drawn as each of some strangers


class Pseudonyms:
    """The strangers of one stream.

    Args:
        model: On `device`.
        device: Where its tensors are.
        key: Decides, with the stream and the person, which of the strangers that suit is taken; not for a mechanism.
        recognizer: Tells who comes back, and who is like whom; without it each track is somebody new.
        reranker: A finer one, which has the last word on who is like whom; not without a `recognizer`.
        mechanism: For differential privacy: strangers then depend on its releases, and on nothing else of the person.
        accountant: Told of each release.
        known: People whose stranger was fixed beforehand; they are looked for first.
        is_live: Whether somebody waits: then nobody is tried on where the model foretells who is little like whom.
    """

    def __init__(
        self,
        model: FaceModel,
        device: torch.device,
        *,
        key: bytes,
        recognizer: FaceRecognizer | None,
        reranker: FaceRecognizer | None = None,
        mechanism: GaussianMechanism | None,
        accountant: PrivacyAccountant,
        known: Sequence[KnownPerson] = (),
        is_live: bool = False,
    ) -> None:
        self._model, self._device, self._key, self._is_live = model, device, key, is_live
        self._mechanism, self._accountant = mechanism, accountant
        self._embedder = FaceEmbedder(recognizer, device) if recognizer else None
        self._known = known if recognizer else ()
        self._reranker = FaceEmbedder(reranker, device) if reranker else None
        self.reset(None)

    def reset(self, stream: str | None) -> None:
        """Forget whom it met; the next stream has this name, or one that follows from the first picture with a face."""
        self._stream = stream
        self._book = PseudonymBook(SAME_PERSON, [person.embedding for person in self._known])
        self._people: dict[int, int] = {}  # person of each living track
        self._strangers: dict[int, int] = {}  # stranger of each person
        self._rejected: dict[int, deque[int]] = {}  # strangers whom each person was found too like

    def keep_only(self, alive: set[int]) -> None:
        """Forget all tracks but those; their people are remembered."""
        self._people = {track: person for track, person in self._people.items() if track in alive}

    def reject(self, tracks: Sequence[int]) -> None:
        """Make others of tracks whose strangers were too like them; not where that would be one more release."""
        if self._mechanism:
            return
        for track in tracks:
            person = self._people.pop(track)
            rejected = self._rejected.pop(person, deque[int](maxlen=MOST_REJECTED))
            rejected.append(self._strangers.pop(person))
            self._rejected[person] = rejected  # to the end, as the last
            if len(self._rejected) > PseudonymBook.MAX_PEOPLE:
                del self._rejected[next(iter(self._rejected))]

    def assign(
        self,
        image: Image,
        tracks: Sequence[Track],
        crops: torch.Tensor,
        meshes: torch.Tensor,
        *,
        try_on: TryOn | None = None,
        offered: int = 1,
        kept: int = 1,
    ) -> torch.Tensor:
        """Return the pseudonym of each track, `(N,)` int64.

        Args:
            image: `(H, W, 3)` uint8 RGB, the frame.
            tracks: N, seen in it.
            crops: `(N, 3, S, S)` RGB in [-1, 1].
            meshes: `(N, 468, 3)`.
            try_on: Draws a track as strangers who suit: one of those least like the person is taken.
            offered: Of how many who suit, at most, those to try on are taken.
            kept: Of how many, no two of whom look alike (`FaceModel.lookalikes`), the key takes one: of one alone all
                keys would take the same.
        """
        new = [row for row, track in enumerate(tracks) if track.id not in self._people]
        if new and self._mechanism:
            self._release(image, [tracks[row] for row in new], crops[new], meshes[new], mechanism=self._mechanism)
        elif new:
            self._choose(
                image, [tracks[row] for row in new], crops[new], meshes[new], try_on=try_on, offered=offered, kept=kept
            )
        chosen = [self._strangers[self._people[track.id]] for track in tracks]
        return torch.tensor(chosen, dtype=torch.int64, device=self._device)

    def _release(
        self,
        image: Image,
        tracks: list[Track],
        crops: torch.Tensor,
        meshes: torch.Tensor,
        *,
        mechanism: GaussianMechanism,
    ) -> None:
        """Choose strangers by one noisy release per track; each track is somebody new, as far as this knows."""
        numbers = [track.id for track in tracks]
        sighting = Sighting(crops, meshes, self._embed(image, tracks))
        coordinates = self._model.identity_coordinates(sighting).cpu().numpy()
        noisy = mechanism.release(coordinates)
        self._accountant.record(mechanism, len(tracks))
        nearest = self._model.nearest_strangers(torch.from_numpy(noisy).float().to(self._device))
        for track, stranger in zip(numbers, nearest.tolist(), strict=True):
            self._remember(track, person=track, stranger=stranger)

    def _choose(
        self,
        image: Image,
        tracks: list[Track],
        crops: torch.Tensor,
        meshes: torch.Tensor,
        *,
        try_on: TryOn | None,
        offered: int,
        kept: int,
    ) -> None:
        """Choose strangers that suit, or those that people who come back had before."""
        embeddings = self._embed(image, tracks)
        self._stream = stream_name(image) if self._stream is None else self._stream
        for row, track in enumerate(tracks):
            person = track.id if embeddings is None else self._identify(embeddings[row].cpu().numpy())
            stranger = self._stranger_of(person)
            if stranger is None:
                part = slice(row, row + 1)
                embedding = None if embeddings is None else embeddings[part]
                rejected = self._rejected.get(person, ())
                seen = Sighting(crops[part], meshes[part], embedding, self._attributes(track), min(len(rejected), 1))
                seed = pseudonym_seed(self._key, stream=self._stream, person=person) + len(rejected)
                suiting = self._suiting(seen, seed, image, track, try_on, offered=offered, rejected=rejected)
                stranger = self._pick(suiting, seed, kept)
            self._remember(track.id, person=person, stranger=stranger)

    def _stranger_of(self, person: int) -> int | None:
        """Return who a person has become, or is to become; None where that is to be chosen."""
        if person < len(self._known) and person not in self._strangers and person not in self._rejected:
            return self._known[person].stranger
        return self._strangers.get(person)

    def _suiting(
        self,
        seen: Sighting,
        seed: int,
        image: Image,
        track: Track,
        try_on: TryOn | None,
        *,
        offered: int,
        rejected: Collection[int],
    ) -> list[int]:
        """Return strangers who suit and are unlike the person once drawn, at least one; the least like come first."""
        if try_on is None or seen.embeddings is None:
            seeds = [seed + TRIES_APART * n for n in range(len(rejected) + 1)]
            return self._others(seen, seeds, rejected)[:1]
        seeds = [seed + TRIES_APART * n for n in range(2 * offered)]
        suit = self._others(seen, seeds[:offered], rejected)
        other = self._others(replace(seen, leniency=seen.leniency + 1), seeds[offered:], rejected)
        foretold = self._foretold(seen, suit + other)
        if self._is_live and foretold:
            return sorted(foretold, key=foretold.__getitem__)
        suit, other = (sorted(some, key=lambda stranger: foretold.get(stranger, 0.0)) for some in (suit, other))
        tried = self._tried(seen, suit[:TRIED], track, try_on)
        more = [stranger for stranger in other if stranger not in tried][:TRIED]
        if more and min(one.likeness for one in tried.values()) > ALL_LIKE:
            tried |= self._tried(seen, more, track, try_on)
        shortlist = sorted(tried, key=lambda stranger: tried[stranger].likeness)[:SHORTLIST]
        trials = [tried[stranger].trial for stranger in shortlist]
        found = dict(zip(shortlist, self._finished(seen.embeddings, trials, image, track), strict=True))
        ordered = sorted(found, key=found.__getitem__)
        most = max(CLEAR, found[ordered[0]] + MARGIN)
        return [stranger for stranger in ordered if found[stranger] <= most]

    def _others(self, seen: Sighting, seeds: Sequence[int], rejected: Collection[int]) -> list[int]:
        """Return the strangers of `seeds`, each once, but for those `rejected` while there are others."""
        numbers = self._model.pseudonyms(seen, torch.tensor(seeds, device=self._device)).tolist()
        return [number for number in dict.fromkeys(numbers) if number not in rejected] or numbers[:1]

    def _foretold(self, seen: Sighting, strangers: Sequence[int]) -> dict[int, float]:
        """Return `FaceModel.foretold` of each of `strangers`; nothing where the model does not tell."""
        numbers = self._model.foretold(seen, torch.tensor(strangers, device=self._device))
        return {} if numbers is None else dict(zip(strangers, numbers.tolist(), strict=True))

    def _tried(self, seen: Sighting, strangers: Sequence[int], track: Track, try_on: TryOn) -> dict[int, _Tried]:
        """Return, of `strangers` once they are drawn, the `SHORTLIST` who are least like the person."""
        assert seen.embeddings is not None  # there is an embedder
        trials = list(try_on(track, strangers))
        likeness: list[float] = self._like(seen.embeddings, trials).tolist()
        rows = sorted(range(len(trials)), key=likeness.__getitem__)[:SHORTLIST]
        return {strangers[row]: _Tried(trials[row], likeness[row]) for row in rows}

    def _finished(self, embedding: torch.Tensor, trials: Sequence[Trial], image: Image, track: Track) -> list[float]:
        """Return how like the person of an embedding `(1, D)` trials are as a stream would show them."""
        for trial in trials:
            if trial.finish:
                trial.finish()
        likeness = self._like(embedding, trials)
        if self._reranker:
            own, *others = self._reranker([(image, track.face), *(trial.drawn for trial in trials)])
            likeness = (likeness + torch.stack(others) @ own) / 2
        result: list[float] = likeness.tolist()
        return result

    def _like(self, embedding: torch.Tensor, trials: Sequence[Trial]) -> torch.Tensor:
        """Return the cosines `(N,)` of what N trials drew with the person of an embedding `(1, D)`."""
        assert self._embedder is not None  # it made that
        return self._embedder(trial.drawn for trial in trials) @ embedding[0]

    def _pick(self, strangers: list[int], seed: int, kept: int) -> int:
        """Return one of the first `kept` strangers of whom no two look alike."""
        looks: list[int] = self._model.lookalikes(torch.tensor(strangers, device=self._device)).tolist()
        distinct = [strangers[looks.index(look)] for look in dict.fromkeys(looks)][:kept]
        return distinct[seed % len(distinct)]

    def _identify(self, embedding: Floats) -> int:
        return self._book.identify(embedding, exclude=set(self._people.values()))

    def _attributes(self, track: Track) -> Attributes | None:
        if track.traits is None:
            return None
        values = (track.traits.sex, track.traits.age, track.traits.skin, track.traits.ancestry)
        return Attributes(*(torch.tensor([value], device=self._device) for value in values))

    def _embed(self, image: Image, tracks: list[Track]) -> torch.Tensor | None:
        return self._embedder([(image, track.face) for track in tracks]) if self._embedder else None

    def _remember(self, track: int, *, person: int, stranger: int) -> None:
        self._people[track] = person
        self._strangers[person] = self._strangers.pop(person, stranger)  # to the end, as the last that came
        visible = set(self._people.values())
        while len(self._strangers) > PseudonymBook.MAX_PEOPLE + len(visible):
            del self._strangers[next(number for number in self._strangers if number not in visible)]
