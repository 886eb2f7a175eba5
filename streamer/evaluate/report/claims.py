"""What may be claimed of figures, in sentences for somebody who signs: counts, per cent, intervals, and chance."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from streamer.evaluate.figures import Figure, number
from streamer.evaluate.report.glossary import ATTACKERS

Figures = Mapping[str, Figure]

# Figures that are shares of 1, by the part of their name before the first dot.
SHARES = frozenset(
    {"match_rate", "match_rate_any", "match_rate_own_group", "rank1", "rank5", "de_identify_rate"}
    | {"tar_before", "tar_after", "eer_before", "eer_after", "found", "hog", "pairing", "covered_elsewhere"}
    | {*ATTACKERS, *(f"{name}_ahead" for name in ATTACKERS), "face_adds", "parrot_key_adds"}
)
CHANCE = "_chance"
HITS = {"rank1": "as its first hit", "rank5": "among its first five hits"}
# What a reader compares: our output, what is left without a face at all, and a target that an attacker must break.
COVERS = {
    "ours": "in our output",
    "ours_same_key": "in our output, with the key in hand",
    "solid": "by hair, outline and surroundings alone, with the face filled",
    "blur_weak": "through a weak blur, which shows whether the attacker is any good",
}
LIMITS = (
    "Recognisers other than those named here, people who know the person, and software of the future.",
    "Voice, body, gait, clothes, surroundings, and text in the picture: only faces are changed.",
    "Pictures unlike these: of other people, cameras, light, sizes and poses.",
)
ALARM = "do not call these pictures anonymous."
ATTACK_LIMIT = "An attacker who owns the tool and trains against it: `veil evaluate attack` measures that."
VIDEO_LIMIT = "Faces over time, and faces that stay uncovered in videos: `veil evaluate video` measures that."


def percent(value: float) -> str:
    """Return a share as per cent: .0188 is "1.88 %", .000883 is "0.09 %"."""
    rounded = round(100 * value, 2)
    return f"{number(rounded or 100 * value)} %"


def written(name: str, value: float) -> str:
    """Return the value of the figure called `name`, in per cent where it is a share."""
    stem = name.partition(".")[0].removesuffix(CHANCE)
    return percent(value) if stem in SHARES and not math.isnan(value) else number(value)


def chance_of(name: str, figures: Figures) -> Figure | None:
    """Return what guessing would reach of the figure called `name`, or None where that is not known."""
    stem, dot, rest = name.partition(".")
    found = figures.get(f"{stem}{CHANCE}{dot}{rest}") or figures.get(f"{stem}{CHANCE}")
    return found if found is not None and not math.isnan(found.value) else None


def is_chance(name: str) -> bool:
    """Return whether a figure is but the chance of another."""
    return name.partition(".")[0].endswith(CHANCE)


def claims(figures: Figures) -> list[str]:
    """Return what the figures say, one sentence or two for each question, the worst news as plain as the best."""
    return [
        *_recognised(figures),
        *_searched(figures),
        *_leaks(figures),
        *_attacked(figures),
        *_linked(figures),
        *_useful(figures),
    ]


def in_short(figures: Figures) -> str:
    """Return the one sentence that a reader takes away: whether faces are recognised, named or left uncovered."""
    found = figures.get("match_rate_any")
    if found is not None and not math.isnan(found.value):
        return _recognised_in_short(found, figures)
    if (leaks := figures.get("leak_rate")) is not None and not math.isnan(leaks.value):
        return f"{number(leaks.value)} of 10,000 faces in single frames are left uncovered."
    return _named_in_short(figures)


def _recognised_in_short(found: Figure, figures: Figures) -> str:
    """Return whether faces are recognised, or found by a search, more often than by chance."""
    counted, chance = f"{_counted(found)} faces are recognised by {_by(figures)}", chance_of("match_rate_any", figures)
    if chance is not None and _exceeds(found, chance):
        return f"{counted}, more than by chance: {ALARM}"
    ranks = {name: luck for name in figures if name.startswith("rank") and (luck := chance_of(name, figures))}
    if any(_exceeds(figures[name], luck) for name, luck in ranks.items()):
        return f"{counted}, and a search finds the right people more often than by chance: {ALARM}"
    if chance is None:
        return f"{counted}; how many would be by chance is not known."
    told = f"by chance it would be {round(chance.value * found.count, 1):g}, too near to tell apart"
    return f"{counted}; {told}; these are too few faces to claim less than {percent(found.high)}."


def _named_in_short(figures: Figures) -> str:
    """Return whether any attacker names people in our output; "" where none was tried."""
    tried = {f"{attack}.ours": title for attack, (title, _) in ATTACKERS.items() if f"{attack}.ours" in figures}
    chances = {name: chance_of(name, figures) for name in tried}
    ahead = [name for name, chance in chances.items() if chance is not None and _exceeds(figures[name], chance)]
    if not any(chances.values()):
        return ""
    if not ahead:
        return "No attacker names more people in our output than by chance."
    most = max(ahead, key=lambda name: figures[name].value)
    return f"{tried[most]} names {_counted(figures[most])} people in our output, more than by chance."


def not_claimed(figures: Figures) -> list[str]:
    """Return what nobody may claim from these figures, in sentences."""
    is_attack = any(name.partition(".")[0] in ATTACKERS for name in figures)
    is_video = "leak_rate" in figures
    return [*LIMITS, *(() if is_attack else (ATTACK_LIMIT,)), *(() if is_video else (VIDEO_LIMIT,))]


def _recognised(figures: Figures) -> Iterator[str]:
    found = figures.get("match_rate_any")
    if found is None or math.isnan(found.value):
        return
    chance = chance_of("match_rate_any", figures)
    yield (
        f"{_counted(found)} faces are recognised as the person they were by {_by(figures)}: {_interval(found)}. "
        f"{_beside_chance(found, chance)}"
    ) + (f" {_floor(found)}" if chance and not _exceeds(found, chance) else "")


def _by(figures: Figures) -> str:
    """Return who looked."""
    names = [name.partition(".")[2] for name in figures if name.startswith("match_rate.")]
    return names[0] if len(names) == 1 else f"any of {len(names)} recognisers"


def _searched(figures: Figures) -> Iterator[str]:
    for name, found in figures.items():
        rank, _, recognizer = name.partition(".")
        if rank in HITS and not math.isnan(found.value):
            yield (
                f"A search through all originals with {recognizer} has the right person {HITS[rank]} for "
                f"{_counted(found)} faces: {_interval(found)}. {_beside_chance(found, chance_of(name, figures))}"
            )


def _leaks(figures: Figures) -> Iterator[str]:
    found = figures.get("leak_rate")
    if found is None or math.isnan(found.value):
        return
    yield (
        f"Of 10,000 faces in single frames, {number(found.value)} are left uncovered: 95 % interval "
        f"{number(found.low)} to {number(found.high)}, of {found.count:,} that were looked at."
    )


def _attacked(figures: Figures) -> Iterator[str]:
    for attack, (title, does) in ATTACKERS.items():
        for cover, circumstance in COVERS.items():
            found = figures.get(f"{attack}.{cover}")
            if found is not None and not math.isnan(found.value):
                yield (
                    f"{title}, an attacker who {does}, names {_counted(found)} people {circumstance}: "
                    f"{_interval(found)}. {_beside_chance(found, chance_of(f'{attack}.{cover}', figures))}"
                )


def _linked(figures: Figures) -> Iterator[str]:
    found, shuffled = figures.get("linkability.ours"), figures.get("linkability_chance.ours")
    if found is None or shuffled is None:
        return
    told = "more than" if _exceeds(found, shuffled) else "not told apart from"
    yield (
        f"Two outputs of one person under different keys are linked with a D_sys of {number(found.value)} (95 % "
        f"interval {number(found.low)} to {number(found.high)}; 0 is fully unlinkable, 1 fully linkable). That is "
        f"{told} shuffled people, whose luck reaches {number(shuffled.high)}."
    )


def _useful(figures: Figures) -> Iterator[str]:
    found = figures.get("hog")
    if found is not None and not math.isnan(found.value):
        yield f"Another detector still finds a face in {_counted(found)}: {_interval(found)}."


def _counted(found: Figure) -> str:
    return f"{round(found.value * found.count):,} of {found.count:,}"


def _interval(found: Figure) -> str:
    return f"{percent(found.value)} (95 % interval {percent(found.low)} to {percent(found.high)})"


def _floor(found: Figure) -> str:
    """Return the least share that so few faces allow to claim."""
    return f"With {_counted(found)} faces nothing less than {percent(found.high)} can be claimed."


def _beside_chance(found: Figure, chance: Figure | None) -> str:
    if chance is None:
        return "Chance is not known: too few pairs of strangers."
    expected = f"chance is {number(chance.value * found.count)} of {found.count:,} ({percent(chance.value)})"
    if math.isnan(chance.high):
        return f"{expected[0].upper()}{expected[1:]}."
    told = "more than chance" if _exceeds(found, chance) else "not told apart from chance"
    return f"That is {told}: {expected}, and luck alone reaches {percent(chance.high)}."


def _exceeds(found: Figure, chance: Figure) -> bool:
    """Return whether a rate is above what luck alone reaches."""
    return found.value > (chance.value if math.isnan(chance.high) else chance.high)
