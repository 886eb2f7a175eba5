"""What attackers achieved, as figures, tables, a chart; and what is wrong with an attacker who achieves too little."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from streamer.evaluate.attack.averaging import Recovered
from streamer.evaluate.attack.motion import Mover, expression_kept
from streamer.evaluate.covered.evidence import LEAST_PEOPLE, Cast, Evidence
from streamer.evaluate.figures import Cell, Chart, Figure, Findings, Problem, Table, mean_figure, number
from streamer.evaluate.measures.chance import Success
from streamer.evaluate.report.charts import bars

Links = dict[str, tuple[str, Figure, Figure]]  # by method: how, D_sys, and that of shuffled people

RECORDING = "the same recording again, darker, shifted and compressed"
TITLES = {
    "surroundings": "Surroundings: hair, outline, clothes and background alone, faces filled",
    "recognition": "Recognition: recognisers compare covered photos with photos of known people, and learn nothing",
    "parrot": "Parrot: covers photos of known people with the same method, learns, and names new photos",
    "linking": "Linking: which covered photo shows the person of another, without a photo of anybody",
    "inversion": "Inversion: a network undoes the cover, and recognisers name what it drew",
    "averaging": "Averaging: many frames of a clip laid over each other",
    "motion": "Motion: how lids, lips and brows move, and nothing of what they look like",
}
# What each attacker must reach, and where, or no figure of his says anything: rank-1, and D_sys.
MUST_BREAK = {
    "parrot.blur_weak": 0.8,
    "linking.blur_weak": 0.5,
    "inversion.blur_weak": 0.5,
    "surroundings.same_recording": 0.95,
    "linkability.unchanged": 0.5,
}
ATTACKED = tuple(attack for attack in TITLES if attack != "surroundings")  # by method


@dataclass(frozen=True, slots=True)
class Attempt:
    """The best attempt of one attacker on one method."""

    attack: str
    cover: str
    how: str
    success: Success


def findings_of(
    attempts: Sequence[Attempt],
    links: Links,
    titles: Mapping[str, str],
    cast: Cast,
    evidence: Evidence,
    recovered: Sequence[Recovered],
    moving: Sequence[Mover],
) -> Findings:
    """Return all that was found.

    Args:
        attempts: Of all attackers.
        links: What `linkability` returns, by method.
        titles: Of methods, by name.
        cast: Who was named, and of whom was learned.
        evidence: What was attacked.
        recovered: The people in clips.
        moving: Those of them who are seen for long.
    """
    figures = figures_of(attempts, links)
    for cover in moving[0].after if moving else ():
        figures[f"expression_kept.{cover}"] = expression_kept(moving, cover)
    attacks = [attack for attack in ATTACKED if any(attempt.attack == attack for attempt in attempts)]
    titles = {name: titles[name] for name in titles if any(attempt.cover == name for attempt in attempts)}
    named = {**titles, "same_recording": RECORDING}
    details = (_details(attempts, named, attack) for attack in ("surroundings", *attacks))
    return Findings(
        "Attacks",
        figures,
        tables=(_overview(attempts, titles, attacks), _owner(figures, titles), *details, _linking_table(links, titles)),
        charts=(_chart(attempts, titles, attacks),),
        problems=(*few(recovered, "averaging"), *few(moving, "motion"), *broken(figures)),
        settings={
            "people named": str(len(cast.probes)),
            "photos learned from": str(len(cast.public) + len(cast.known)),
            **{f"sha256 of all outputs, {titles[name]}": value for name, value in evidence.outputs.items()},
        },
        files=evidence.files,
    )


def figures_of(attempts: Sequence[Attempt], links: Links) -> dict[str, Figure]:
    """Return the figures that thresholds speak of."""
    figures: dict[str, Figure] = {}
    found = {(attempt.attack, attempt.cover): attempt.success for attempt in attempts}
    around = found.get(("surroundings", "solid"))
    for (attack, cover), success in found.items():
        figures[f"{attack}.{cover}"] = success.rank_one
        figures[f"{attack}_chance.{cover}"] = success.chance
        figures[f"{attack}_ahead.{cover}"] = success.ahead
        if (attack, "solid") in found and attack != "surroundings":
            figures[f"{attack}_over_solid.{cover}"] = _more(success.ahead_each, found[attack, "solid"].ahead_each)
        if around and attack == "parrot":
            figures[f"face_adds.{cover}"] = _more(success.hits, around.hits)
    if with_key := found.get(("parrot", "ours_same_key")):
        figures["parrot_key_adds.ours"] = _more(with_key.hits, found["parrot", "ours"].hits)
    for cover, (_, reached, shuffled) in links.items():
        figures[f"linkability.{cover}"], figures[f"linkability_chance.{cover}"] = reached, shuffled
    return figures


def _more(ours: Sequence[float], others: Sequence[float]) -> Figure:
    return mean_figure(np.subtract(ours, others))


def few(people: Sequence[Recovered] | Sequence[Mover], attack: str) -> list[Problem]:
    """Return the problem of clips that show too few people: whoever names one at random is right too often."""
    if not 0 < len(people) < LEAST_PEOPLE:
        return []
    names = tuple(person.name for person in people)
    return [Problem(f"{attack} needs {LEAST_PEOPLE} people in clips to be told from chance", names)]


def broken(figures: Mapping[str, Figure]) -> list[Problem]:
    """Return the problem of each attacker who cannot do what is known to be possible."""
    weak = [name for name, least in MUST_BREAK.items() if name in figures and figures[name].value < least]
    problems = [
        Problem(f"{name} reaches {figures[name]}, which must be {MUST_BREAK[name]:g}: trust no figure of it", (name,))
        for name in weak
    ]
    moved, luck = figures.get("motion.unchanged"), figures.get("motion_chance.unchanged")
    if moved and luck and moved.value <= luck.high:
        what = f"motion.unchanged reaches {moved}, and luck alone {number(luck.high)}: trust no figure of it"
        problems.append(Problem(what, ("motion.unchanged",)))
    return problems


def _overview(attempts: Sequence[Attempt], titles: Mapping[str, str], attacks: Sequence[str]) -> Table:
    cells = {(attempt.attack, attempt.cover): attempt.success.rank_one for attempt in attempts}
    rows = [(title, *(cells.get((attack, cover)) for attack in attacks)) for cover, title in titles.items()]
    around: list[tuple[Cell, ...]] = []
    if ("surroundings", "solid") in cells:
        around = [("surroundings alone, whatever the method", *(cells["surroundings", "solid"] for _ in attacks))]
    chance = {attempt.attack: attempt.success.chance for attempt in attempts}
    return Table(
        "Attacks: share of people named at the first guess",
        ("method", *attacks),
        (*rows, *around, ("blind guesses (95 % of them)", *(chance[attack] for attack in attacks))),
        "Each attacker's best attempt on each method. What an attacker reaches on the solid cover, or by surroundings "
        "alone, he has from hair, outline, clothes and background, which no method hides; averaging also from light "
        "and place of the clip, from which the person is known.",
    )


def _owner(figures: Mapping[str, Figure], titles: Mapping[str, str]) -> Table:
    """Return what an owner of the tool with photos of the people learns beyond surroundings, and what by the key."""
    key = figures.get("parrot_key_adds.ours")
    rows = [
        (
            title,
            figures[f"parrot.{cover}"],
            figures.get(f"face_adds.{cover}"),
            key if cover == "ours_same_key" else None,
        )
        for cover, title in titles.items()
        if f"parrot.{cover}" in figures
    ]
    return Table(
        "Imitation. What face and key add for an owner with photos",
        ("method", "people named (parrot)", "of that, by the face", "of that, by the key"),
        tuple(rows),
        "The parrot covers photos of known people by the same method and learns. By the face: the share of people whom "
        "it names less that named by hair, outline, clothes and background alone, person by person. By the key: the "
        "share named with the key less that without. 95 % intervals by bootstrap over people; one that holds 0 says "
        "that nothing was told apart.",
    )


def _details(attempts: Sequence[Attempt], titles: Mapping[str, str], attack: str) -> Table:
    rows = [
        (
            titles[attempt.cover],
            attempt.success.rank_one,
            attempt.success.chance,
            f"{attempt.success.p_value:.4f}",
            attempt.success.rank_five,
            attempt.success.ahead,
            attempt.how,
        )
        for attempt in attempts
        if attempt.attack == attack
    ]
    columns = ("method", "first guess", "chance", "p", "first five", "ahead of a wrong person (chance .5)", "best by")
    return Table(TITLES[attack], columns, tuple(rows))


def _linking_table(links: Links, titles: Mapping[str, str]) -> Table:
    rows = [(titles[cover], found, shuffled, how) for cover, (how, found, shuffled) in links.items()]
    return Table(
        "Unlinkability across keys (ISO/IEC 24745): D_sys, 0 fully unlinkable, 1 fully linkable",
        ("method", "D_sys", "of shuffled people (95 %)", "best by"),
        tuple(rows),
        "Gomez-Barrero et al. 2018, omega 1. Each photo of a person is covered under another key, but of the row where "
        "the key is known. Hair and surroundings link, too: compare with solid.",
    )


def _chart(attempts: Sequence[Attempt], titles: Mapping[str, str], attacks: Sequence[str]) -> Chart:
    cells = {(attempt.attack, attempt.cover): attempt.success.rank_one for attempt in attempts}
    unknown = Figure(float("nan"), note="not attacked")
    values = {title: [cells.get((a, cover), unknown) for a in attacks] for cover, title in titles.items()}
    png = bars(list(attacks), values, y_label="people named (lower is better)", unit="share")
    return Chart("People named at the first guess", png, "A cluster of bars for each attack, a bar for each method.")
