"""`veil evaluate attack`: four attackers against our anonymiser and against blur, mosaic and solid covers.

Each is to name people. A success counts beside what blind guesses achieve, beside the solid cover, where nothing but
hair, outline and surroundings is left, and beside the weak blur, where an attacker who fails is no attacker.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast as typed

import numpy as np

from models.identity.recognizer import CompactRecognizer
from models.pretrained.imported import load_recognizer
from streamer.evaluate.attack.averaging import Recovered, name_them, recover
from streamer.evaluate.attack.covers import Cover, covers_of
from streamer.evaluate.attack.evidence import LEAST_PEOPLE, Album, Cast, Evidence, Sitting, Views, cast_of, chosen
from streamer.evaluate.attack.imitation import ParrotConfig, imitate
from streamer.evaluate.attack.inversion import InversionConfig, undo
from streamer.evaluate.attack.linking import link
from streamer.evaluate.figures import Chart, Figure, Findings, Problem, Table, mean_figure
from streamer.evaluate.images.photos import find_photos
from streamer.evaluate.measures.chance import Indices, Scores, Success, best
from streamer.evaluate.measures.recognizers import Recognizer
from streamer.evaluate.report.charts import bars
from streamer.pipeline.anonymizer import Anonymizer

Progress = Callable[[str, int, int], None]

WORKS = 0.8  # rank-1 on a weak blur, below which the parrot is no attacker
TITLES = {
    "parrot": "Parrot: covers photos of known people with the same method, learns, and names new photos",
    "linking": "Linking: which covered photo shows the person of another, without a photo of anybody",
    "inversion": "Inversion: a network undoes the cover, and recognisers name what it drew",
    "averaging": "Averaging: many frames of a clip laid over each other",
}


@dataclass(frozen=True, slots=True)
class AttackConfig:
    """How much is spent on the attack.

    Attributes:
        people: At most so many are named; each has two photos or more, of which three are used.
        public: At most so many people with one photo, of whom the attacker learns.
        parrot, inversion: How networks are trained; their seeds are replaced by `seed`.
        seed: Of everything.
    """

    people: int = 100
    public: int = 100
    parrot: ParrotConfig = field(default_factory=ParrotConfig)
    inversion: InversionConfig = field(default_factory=InversionConfig)
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Attempt:
    """The best attempt of one attacker on one method."""

    attack: str
    cover: str
    how: str
    success: Success


def evaluate_attacks(
    photos: Path,
    *,
    clips: Sequence[Path],
    anonymizer: Anonymizer,
    recognizers: Sequence[Recognizer],
    config: AttackConfig,
    progress: Progress,
) -> Findings:
    """Return what four attackers achieve; "attack.parrot.ours" is the share of people whom the parrot names.

    Args:
        photos: Folder or tar with two photos or more of some people, and others (`find_photos`).
        clips: Videos, for averaging; none leaves that out.
        anonymizer: Ours. Its key is not used: keys are drawn from the seed.
        recognizers: The attacker's.
        config: The effort.
        progress: Told what is being done, and how many of how many are.

    Raises:
        SourceError: If there are too few people with two photos, or a clip cannot be read.
    """
    covers, sitting = covers_of(anonymizer, seed=config.seed), Sitting(recognizers)
    album = _album(photos, covers, sitting, config=config, progress=progress)
    evidence = album.evidence()
    cast = cast_of(evidence.people, seed=config.seed)
    attempts = _on_photos(evidence, cast, sitting, config=config, progress=progress)
    recovered = _recovered(clips, covers, sitting, progress=progress)
    strangers = evidence.before.rows(np.concatenate([cast.public, cast.probes]))
    attempts += _on_clips(recovered, strangers, recognizers, seed=config.seed)
    return _findings(attempts, covers, cast, (*album.problems(), *_few(recovered)))


def _album(
    photos: Path, covers: Sequence[Cover], sitting: Sitting, *, config: AttackConfig, progress: Progress
) -> Album:
    files = chosen(find_photos(photos), most_people=config.people, most_public=config.public, seed=config.seed)
    album = Album(sitting, covers)
    for number, photo in enumerate(files, 1):
        album.add(photo)
        progress("covering photos", number, len(files))
    return album


def _on_photos(
    evidence: Evidence, cast: Cast, sitting: Sitting, *, config: AttackConfig, progress: Progress
) -> list[Attempt]:
    recognizer = typed(CompactRecognizer, load_recognizer("identity"))
    truth, before = np.arange(len(cast.probes)), evidence.before
    parrot, inversion = replace(config.parrot, seed=config.seed), replace(config.inversion, seed=config.seed)
    attempts: list[Attempt] = []
    for number, (cover, after) in enumerate(evidence.after.items(), 1):
        tries: dict[str, dict[str, Scores]] = {
            "parrot": imitate(before, after, cast, recognizer=recognizer, config=parrot),
            "linking": link(before, after, cast),
            "inversion": undo(before, after, cast, recognizer=recognizer, judges=sitting.recognizers, config=inversion),
        }
        attempts += [_best(attack, cover, scores, truth, config.seed) for attack, scores in tries.items()]
        progress("attacking methods", number, len(evidence.after))
    return attempts


def _best(attack: str, cover: str, scores: dict[str, Scores], truth: Indices, seed: int) -> Attempt:
    return Attempt(attack, cover, *best(scores, truth, seed=seed))


def _recovered(
    clips: Sequence[Path], covers: Sequence[Cover], sitting: Sitting, *, progress: Progress
) -> list[Recovered]:
    recordings = [cover for cover in covers if cover.name != "ours_same_key"]  # in one recording, a key is a key
    recovered: list[Recovered] = []
    for number, clip in enumerate(clips, 1):
        recovered += recover(clip, recordings, sitting)
        progress("averaging clips", number, len(clips))
    return recovered


def _on_clips(
    recovered: Sequence[Recovered], strangers: Views, recognizers: Sequence[Recognizer], *, seed: int
) -> list[Attempt]:
    if not recovered:
        return []
    named = name_them(recovered, strangers, recognizers)
    truth = np.arange(len(recovered))
    covers = dict.fromkeys(cover for cover, _ in named)
    return [
        _best("averaging", cover, {how: s for (which, how), s in named.items() if which == cover}, truth, seed)
        for cover in covers
    ]


def _findings(
    attempts: Sequence[Attempt], covers: Sequence[Cover], cast: Cast, problems: Sequence[Problem]
) -> Findings:
    titles = {cover.name: cover.title for cover in covers}
    figures = _figures(attempts)
    attacks = list(dict.fromkeys(attempt.attack for attempt in attempts))
    learned = len(cast.public) + len(cast.known)
    tables = [_overview(attempts, titles, attacks), *(_details(attempts, titles, attack) for attack in attacks)]
    return Findings(
        "Attacks",
        figures,
        tables=tuple(tables),
        charts=(_chart(attempts, titles, attacks),),
        problems=(*problems, *_broken(figures)),
        settings={"people named": str(len(cast.probes)), "photos learned from": str(learned)},
    )


def _figures(attempts: Sequence[Attempt]) -> dict[str, Figure]:
    """Return the figures that thresholds speak of."""
    figures: dict[str, Figure] = {}
    solid = {attempt.attack: attempt.success for attempt in attempts if attempt.cover == "solid"}
    for attempt in attempts:
        name, found = f"{attempt.attack}.{attempt.cover}", attempt.success
        figures[name] = found.rank_one
        figures[f"{attempt.attack}_chance.{attempt.cover}"] = found.chance
        figures[f"{attempt.attack}_ahead.{attempt.cover}"] = found.ahead
        difference = np.subtract(found.ahead_each, solid[attempt.attack].ahead_each)
        figures[f"{attempt.attack}_over_solid.{attempt.cover}"] = mean_figure(difference)
    return figures


def _few(recovered: Sequence[Recovered]) -> list[Problem]:
    """Return the problem of clips that show too few people: whoever names one at random is right too often."""
    if not 0 < len(recovered) < LEAST_PEOPLE:
        return []
    names = tuple(person.name for person in recovered)
    return [Problem(f"averaging needs {LEAST_PEOPLE} people in clips to be told from chance", names)]


def _broken(figures: dict[str, Figure]) -> list[Problem]:
    """Return the problem of an attacker who cannot do what is known to be possible."""
    if figures["parrot.blur_weak"].value >= WORKS:
        return []
    return [Problem(f"the parrot names under {WORKS:.0%} through a weak blur: trust no figure here", ("blur_weak",))]


def _overview(attempts: Sequence[Attempt], titles: dict[str, str], attacks: Sequence[str]) -> Table:
    cells = {(attempt.attack, attempt.cover): attempt.success.rank_one for attempt in attempts}
    rows = [(title, *(cells.get((attack, cover)) for attack in attacks)) for cover, title in titles.items()]
    chance = {attempt.attack: attempt.success.chance for attempt in attempts}
    return Table(
        "Attacks: share of people named at the first guess",
        ("method", *attacks),
        (*rows, ("blind guesses (95 % of them)", *(chance[attack] for attack in attacks))),
        "Each attacker's best attempt on each method. What an attacker reaches on the solid cover he has from hair, "
        "outline and surroundings; averaging also from light and place of the clip, from which the person is known.",
    )


def _details(attempts: Sequence[Attempt], titles: dict[str, str], attack: str) -> Table:
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


def _chart(attempts: Sequence[Attempt], titles: dict[str, str], attacks: Sequence[str]) -> Chart:
    cells = {(attempt.attack, attempt.cover): attempt.success.rank_one for attempt in attempts}
    unknown = Figure(float("nan"), note="not attacked")
    values = {title: [cells.get((a, cover), unknown) for a in attacks] for cover, title in titles.items()}
    png = bars(attacks, values, y_label="people named (lower is better)", unit="share")
    return Chart("People named at the first guess", png, "A cluster of bars for each attack, a bar for each method.")
