"""`veil evaluate attack`: attackers against our anonymiser and against blur, mosaic and solid covers.

Each is to name people. A success counts beside what blind guesses achieve, beside the solid cover, where nothing but
hair, outline and surroundings is left, and beside a target that it must break, or it is no attacker.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import cast as typed

import numpy as np

from models.checkpoint import file_sha256
from models.identity.recognizer import CompactRecognizer
from models.pretrained.imported import load_recognizer
from streamer.errors import SourceError
from streamer.evaluate.attack.attack_report import Attempt, Links, findings_of
from streamer.evaluate.attack.averaging import Recovered, name_them, recover
from streamer.evaluate.attack.imitation import ImitationConfig, imitate, recognize
from streamer.evaluate.attack.inversion import InversionConfig, Inverter, undo
from streamer.evaluate.attack.inverter_training import read_inverter
from streamer.evaluate.attack.linking import link, link_views
from streamer.evaluate.attack.motion import Mover, movers, name_movers
from streamer.evaluate.attack.surroundings import recognize_around, recognize_recording
from streamer.evaluate.attack.unlinkability import linkability
from streamer.evaluate.covered.covers import Cover, OursStill, covers_of
from streamer.evaluate.covered.evidence import LEAST_PEOPLE, Album, Cast, Evidence, Sitting, Views, cast_of, chosen
from streamer.evaluate.figures import Findings
from streamer.evaluate.images.photos import find_photos
from streamer.evaluate.kept import Arrays, Kept
from streamer.evaluate.measures.chance import Indices, Scores, best
from streamer.evaluate.measures.recognizers import Recognizer
from streamer.pipeline.anonymizer import Anonymizer

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class AttackConfig:
    """How much is spent on the attack.

    Attributes:
        people: How many are named at most; each has two photos or more, of which three are used.
        public: How many people with one photo there are at most, of whom the attacker learns.
        imitation, inversion: How networks are trained; their seeds are replaced by `seed`.
        inverters: Files of networks that were trained before, each for one method (`veil train inverter`).
        seed: Of everything.
        kept: Folder of what is done already, so that an attack that was cut off goes on; None keeps nothing.
    """

    people: int = 100
    public: int = 100
    imitation: ImitationConfig = field(default_factory=ImitationConfig)
    inversion: InversionConfig = field(default_factory=InversionConfig)
    inverters: tuple[Path, ...] = ()
    seed: int = 0
    kept: Path | None = None


def evaluate_attacks(
    photos: Path,
    *,
    clips: Sequence[Path],
    anonymizer: Anonymizer,
    recognizers: Sequence[Recognizer],
    config: AttackConfig,
    settings: Mapping[str, str],
    progress: Progress,
) -> Findings:
    """Return what attackers achieve; "parrot.ours" is the share of people whom the imitator names.

    Args:
        photos: Folder or tar with two photos or more of some people, and others (`find_photos`).
        clips: Videos, for averaging and for movement; none leaves these out.
        anonymizer: Ours. Its key is not used: keys are drawn from the seed.
        recognizers: The attacker's.
        config: The effort.
        settings: Of `anonymizer`: what was kept of others is not used.
        progress: Told what is being done, and how many of how many are.

    Raises:
        SourceError: If there are too few people with two photos, or a clip cannot be read.
        CheckpointError: If an inverter cannot be used.
    """
    inverters = dict(map(read_inverter, config.inverters))
    covers, sitting = covers_of(anonymizer, seed=config.seed), Sitting(recognizers)
    if unknown := inverters.keys() - {cover.name for cover in covers}:
        raise SourceError(f"an inverter undoes {min(unknown)}, which is not among {', '.join(c.name for c in covers)}")
    kept = Kept(config.kept, repr((sorted(settings.items()), config.seed, [r.name for r in recognizers])))
    album = _album(photos, covers, sitting, kept, config=config, progress=progress)
    evidence = album.evidence()
    cast = cast_of(evidence.people, seed=config.seed)
    attempts = _on_surroundings(evidence, cast, seed=config.seed)
    attempts += _on_photos(evidence, cast, sitting, inverters, kept, config=config, progress=progress)
    links = _links(evidence, cast, seed=config.seed, progress=progress)
    recovered = _recovered(clips, covers, sitting, kept, progress=progress)
    strangers = evidence.before.rows(np.concatenate([cast.public, cast.probes]))
    attempts += _on_clips(recovered, strangers, recognizers, seed=config.seed)
    moving = _moving(clips, covers, OursStill(anonymizer, seed=config.seed), sitting, kept, progress=progress)
    attempts += _on_movement(moving, seed=config.seed)
    titles = {cover.name: cover.title for cover in covers} | {OursStill.name: OursStill.title}
    found = findings_of(attempts, links, titles, cast, evidence, recovered, moving)
    return replace(found, problems=(*album.problems(), *found.problems), settings={**found.settings, **_hashes(config)})


def _album(
    photos: Path, covers: Sequence[Cover], sitting: Sitting, kept: Kept, *, config: AttackConfig, progress: Progress
) -> Album:
    files = chosen(find_photos(photos), most_people=config.people, most_public=config.public, seed=config.seed)
    album = Album(sitting, covers, kept)
    for number, photo in enumerate(files, 1):
        album.add(photo)
        progress("covering photos", number, len(files))
    return album


def _on_surroundings(evidence: Evidence, cast: Cast, *, seed: int) -> list[Attempt]:
    truth = np.arange(len(cast.probes))
    recording, each = recognize_recording(evidence)
    return [
        _best("surroundings", "solid", recognize_around(evidence, cast), truth, seed),
        _best("surroundings", "same_recording", recording, each, seed),
    ]


def _on_photos(
    evidence: Evidence,
    cast: Cast,
    sitting: Sitting,
    inverters: Mapping[str, Inverter],
    kept: Kept,
    *,
    config: AttackConfig,
    progress: Progress,
) -> list[Attempt]:
    truth = np.arange(len(cast.probes))
    shown = repr((evidence.people, evidence.files, config.imitation, config.inversion, _hashes(config)))
    attempts: list[Attempt] = []
    for number, (cover, after) in enumerate(evidence.after.items(), 1):
        tried = partial(_tries, evidence.before, after, cast, sitting, inverters.get(cover), config)
        scores = kept.once(f"attempts on {cover} {evidence.outputs[cover]} {shown}", tried)
        for attack in dict.fromkeys(name.partition("\n")[0] for name in scores):
            each = {name.partition("\n")[2]: found for name, found in scores.items() if name.startswith(f"{attack}\n")}
            attempts.append(_best(attack, cover, each, truth, config.seed))
        progress("attacking methods", number, len(evidence.after))
    return attempts


def _tries(
    before: Views, after: Views, cast: Cast, sitting: Sitting, trained: Inverter | None, config: AttackConfig
) -> Arrays:
    """Return the scores of every attempt on one method, named by attack and attempt."""
    recognizer = typed(CompactRecognizer, load_recognizer("identity"))
    imitation = replace(config.imitation, seed=config.seed)
    inversion = replace(config.inversion, seed=config.seed)
    tries: dict[str, dict[str, Scores]] = {
        "recognition": recognize(before, after, cast),
        "parrot": imitate(before, after, cast, recognizer=recognizer, config=imitation),
        "linking": link(before, after, cast),
        "inversion": undo(
            before, after, cast, recognizer=recognizer, judges=sitting.recognizers, config=inversion, trained=trained
        ),
    }
    return {f"{attack}\n{how}": scores for attack, each in tries.items() for how, scores in each.items()}


def _hashes(config: AttackConfig) -> dict[str, str]:
    return {f"inverter sha256 of {path.name}": file_sha256(path) for path in config.inverters}


def _links(evidence: Evidence, cast: Cast, *, seed: int, progress: Progress) -> Links:
    links: Links = {}
    for number, (cover, after) in enumerate(evidence.after.items(), 1):
        links[cover] = linkability(link_views(evidence.before, after, cast), cast, seed=seed)
        progress("linking across keys", number, len(evidence.after))
    return links


def _best(attack: str, cover: str, scores: dict[str, Scores], truth: Indices, seed: int) -> Attempt:
    return Attempt(attack, cover, *best(scores, truth, seed=seed))


def _recovered(
    clips: Sequence[Path], covers: Sequence[Cover], sitting: Sitting, kept: Kept, *, progress: Progress
) -> list[Recovered]:
    recordings = [cover for cover in covers if cover.name != "ours_same_key"]  # in one recording, a key is a key
    recovered: list[Recovered] = []
    for number, clip in enumerate(clips, 1):
        recovered += recover(clip, recordings, sitting, kept, number)
        progress("averaging clips", number, len(clips))
    return recovered


def _moving(
    clips: Sequence[Path], covers: Sequence[Cover], still: Cover, sitting: Sitting, kept: Kept, *, progress: Progress
) -> list[Mover]:
    recordings = [cover for cover in covers if cover.name != "ours_same_key"] + [still]
    people: list[Mover] = []
    for number, clip in enumerate(clips, 1):
        people += movers(clip, recordings, sitting, kept, number)
        progress("watching movement", number, len(clips))
    return people


def _on_movement(people: Sequence[Mover], *, seed: int) -> list[Attempt]:
    if len(people) < LEAST_PEOPLE:
        return []
    return [_best("motion", cover, *name_movers(people, cover), seed) for cover in people[0].after]


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
