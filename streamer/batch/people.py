"""Lets the parts of one video agree who is in it, and whom each person becomes in all of them.

What is handed around holds embeddings, which identify: it stays in memory, of this process and the workers, and ends
with the run.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

import numpy as np

from models.identity.recognizer import SAME_PERSON
from models.privacy import PseudonymBook
from streamer.types import KnownPerson


def merged(parts: Sequence[Sequence[KnownPerson]]) -> tuple[KnownPerson, ...]:
    """Return the people of all parts, those seen most first; whoever is in several becomes one stranger.

    That of the part in which they were seen most. Of too many people those seen least are left out.

    Args:
        parts: Who was found in each, in the order of time.
    """
    people = list(chain.from_iterable(parts))
    while True:
        joined = _joined(sorted(people, key=lambda person: -person.looks))
        if len(joined) == len(people) or not joined:
            return tuple(joined)
        people = joined


def _joined(people: Sequence[KnownPerson]) -> list[KnownPerson]:
    """Join everybody with the first who is like them; one matrix product for each who is left."""
    embeddings = np.array([person.embedding for person in people], np.float64)
    looks = np.array([person.looks for person in people])
    free, joined = np.ones(len(people), bool), list[KnownPerson]()
    for number, person in enumerate(people):
        if not free[number]:
            continue
        if len(joined) == PseudonymBook.MAX_PEOPLE:
            break
        same = free & (embeddings @ embeddings[number] > SAME_PERSON)
        same[number] = True
        free &= ~same
        mean = looks[same] @ embeddings[same]
        unit = (mean / np.linalg.norm(mean)).astype(np.float32)
        joined.append(KnownPerson(unit, person.stranger, int(looks[same].sum())))
    return joined
