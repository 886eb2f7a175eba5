"""The attacker who links: two recordings of people he does not know, and the question who of one is who of the other.

Nobody's photo is needed for this, only two covered faces of one person; a match makes a pseudonym into a trail.
"""

from __future__ import annotations

from streamer.evaluate.attack.linear_map import Doubles, cosines, described, mapped
from streamer.evaluate.covered.evidence import Cast, Views
from streamer.evaluate.measures.chance import Scores


def link(before: Views, after: Views, cast: Cast) -> dict[str, Scores]:
    """Return the scores `(K, K)` of each probe with each person's other covered photos, attempt by attempt.

    Args:
        before: Of the photos; those of the public alone are learned from.
        after: Of the same, covered: probes in one recording, the known people's photos in the other.
        cast: Who plays which part.
    """
    views = link_views(before, after, cast)
    return {name: cast.by_person(cosines(rows[cast.probes], rows[cast.known])) for name, rows in views.items()}


def link_views(before: Views, after: Views, cast: Cast) -> dict[str, Doubles]:
    """Return what is compared of all covered photos, `(N, D)`, attempt by attempt; `link` says of what."""
    return {"recognisers": described(after.embeddings), "linear map": mapped(before, after, cast.public)}
