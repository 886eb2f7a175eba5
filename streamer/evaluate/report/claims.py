"""What may be claimed of figures, in sentences for somebody who signs: counts, per cent, intervals, and chance."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from streamer.evaluate.figures import Figure, number
from streamer.evaluate.report.glossary import ATTACKERS
from streamer.evaluate.report.which import Numbers, named

Figures = Mapping[str, Figure]

# Figures that are shares of 1, by the part of their name before the first dot.
SHARES = frozenset(
    {"match_rate", "match_rate_any", "match_rate_own_group", "rank1", "rank5", "de_identify_rate"}
    | {"tar_before", "tar_after", "eer_before", "eer_after", "found", "hog", "pairing", "covered_elsewhere"}
    | {*ATTACKERS, *(f"{name}_ahead" for name in ATTACKERS), "face_adds", "parrot_key_adds"}
)
CHANCE = "_chance"
NO_FILES: Numbers = {}
HITS = ("rank1", "rank5")
# What a reader compares: our output, what is left without a face at all, and a target that an attacker must break.
COVERS = {
    "ours": "in our output",
    "ours_same_key": "in our output, with the key in hand",
    "solid": "by hair, outline and surroundings alone, with the face filled",
    "blur_weak": "through a weak blur, which shows whether the attacker is any good",
}
# Of figures whose chance has another name than theirs: strangers of one's own group pass as often as all do, and the
# likeness of strangers is what a likeness is compared with.
SAME_CHANCE = {"match_rate_own_group": "match_rate_chance", "similarity": "delta"}
OWN = "identity"  # the recogniser by which Veil chooses its strangers
WITNESSES = {
    "dlib": "dlib is a public recogniser that Veil was never trained with.",
    OWN: f"{OWN} is Veil's own, and Veil chooses its strangers by it: of Veil's output it is no independent proof.",
}
LIMITS = (
    "Recognisers other than those named here, people who know the person, and software of the future.",
    "Pictures unlike these: of other people, cameras, light, sizes and poses.",
)
BESIDE_FACES = "Whether people are known by voice, body, gait, clothes, surroundings or text: only faces are changed."
NO_CONTROL = (
    "A control: how often the recognisers know these people from another, unaltered photo (it takes several photos of "
    "one person). Recognisers that would not know them anyway prove nothing."
)
ALARM = "do not call these pictures anonymous."
ATTACK_LIMIT = "An attacker who owns the tool and trains against it: needs a run of `veil evaluate attack`."
VIDEO_LIMIT = "Faces over time, and faces that stay uncovered in videos: needs a run of `veil evaluate video`."


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
    same = SAME_CHANCE.get(stem, "")
    names = (f"{stem}{CHANCE}{dot}{rest}", f"{stem}{CHANCE}", f"{same}{dot}{rest}", same)
    found = next((figures[each] for each in names if each in figures), None)
    return found if found is not None and not math.isnan(found.value) else None


def is_chance(name: str) -> bool:
    """Return whether a figure is but the chance of another."""
    return name.partition(".")[0].endswith(CHANCE)


def may_be_claimed(figures: Figures) -> str:
    """Return all that whoever signs may claim; "" where faces are recognised, or nobody knows."""
    found, chance = figures.get("match_rate_any"), chance_of("match_rate_any", figures)
    if found is None or chance is None or alarming(figures):
        return ""
    more = ", nor that they say nothing of the person: on average they do" if nearer(figures) else ""
    return (
        f"Of pictures like these at most {percent(found.high)} ({_people(found)}) are recognised by {_by(figures)}, "
        "with 95 % confidence. That does not say that nobody is recognised, nor that outputs cannot be linked to their "
        f"originals{more}."
    )


def claims(figures: Figures, numbers: Numbers = NO_FILES) -> list[str]:
    """Return what the figures say, one sentence or two for each question, the worst news as plain as the best.

    Args:
        figures: By name.
        numbers: By figure, which files of the list it counts.
    """
    return [
        *_recognised(figures, numbers),
        *_nearer(figures),
        *_searched(figures, numbers),
        *_paired(figures),
        *_control(figures),
        *_leaks(figures),
        *_attacked(figures),
        *_linked(figures),
        *_useful(figures),
    ]


def in_short(figures: Figures, numbers: Numbers = NO_FILES) -> str:
    """Return the one sentence that a reader takes away: whether faces are recognised, named or left uncovered."""
    found = figures.get("match_rate_any")
    if found is not None and not math.isnan(found.value):
        return _recognised_in_short(found, figures, named(numbers.get("match_rate_any", ())))
    if (leaks := figures.get("leak_rate")) is not None and not math.isnan(leaks.value):
        return f"{number(leaks.value)} of 10,000 faces in single frames are left uncovered."
    return _named_in_short(figures)


def _recognised_in_short(found: Figure, figures: Figures, which: str) -> str:
    """Return whether faces are recognised, or found by a search, more often than by chance."""
    counted, chance = f"{_faces(found)} recognised by {_by(figures)}{which}", chance_of("match_rate_any", figures)
    if chance is not None and _exceeds(found, chance):
        return f"{counted}, more than by chance: {ALARM}"
    ranks = {name: luck for name in figures if name.startswith("rank") and (luck := chance_of(name, figures))}
    if any(_exceeds(figures[name], luck) for name, luck in ranks.items()):
        return f"{counted}, and a search finds the right people more often than by chance: {ALARM}"
    if chance is None:
        return f"{counted}; how many would be by chance is not known."
    told = f"by chance it would be {round(chance.value * found.count, 1):g}"
    return (
        f"{counted}; {told}. Of such faces up to {percent(found.high)} may be, with 95 % certainty: {_people(found)}."
    )


def reservations(figures: Figures) -> str:
    """Return what a reader must know beside a headline that nobody is recognised; "" for nothing."""
    if alarming(figures):
        return ""
    told = []
    if names := nearer(figures):
        told += [f"on average outputs are measurably more like their person than strangers are (by {', '.join(names)})"]
    if _linked_by_background(figures):
        told += [f"{_counted(figures['pairing'])} are linked to their original by background"]
    return f"But {', and '.join(told)}." if told else ""


def _linked_by_background(figures: Figures) -> bool:
    """Return whether outputs are matched to their originals by background more often than by chance."""
    found, chance = figures.get("pairing"), chance_of("pairing", figures)
    return found is not None and chance is not None and _exceeds(found, chance)


def alarming(figures: Figures) -> bool:
    """Return whether faces are recognised, or found by a search, more often than by chance."""
    watched = [name for name in figures if name == "match_rate_any" or name.partition(".")[0] in HITS]
    chances = {name: chance_of(name, figures) for name in watched}
    return any(luck is not None and _exceeds(figures[name], luck) for name, luck in chances.items())


def nearer(figures: Figures) -> list[str]:
    """Return the recognisers to which outputs are, on average, measurably more like their person than strangers are."""
    names = (name.partition(".")[2] for name in figures if name.startswith("nearness."))
    return [name for name in names if _is_nearer(name, figures)]


def _is_nearer(recognizer: str, figures: Figures) -> bool:
    """Return whether the mean nearness is above that of strangers, or fewer faces than of strangers are unlike."""
    unlike = figures.get(f"de_identify_rate.{recognizer}")
    strangers = chance_of(f"de_identify_rate.{recognizer}", figures)
    fewer = unlike is not None and strangers is not None and unlike.value < strangers.low
    return figures[f"nearness.{recognizer}"].low > 0 or fewer


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
    linked = " Surroundings link outputs to their originals: see above." if _linked_by_background(figures) else ""
    control = any(name.startswith("tar_before.") and math.isnan(figure.value) for name, figure in figures.items())
    return [
        *([NO_CONTROL] if control else []),
        *LIMITS,
        f"{BESIDE_FACES}{linked}",
        *(() if is_attack else (ATTACK_LIMIT,)),
        *(() if is_video else (VIDEO_LIMIT,)),
    ]


def _recognised(figures: Figures, numbers: Numbers) -> Iterator[str]:
    found = figures.get("match_rate_any")
    if found is None or math.isnan(found.value):
        return
    chance, which = chance_of("match_rate_any", figures), named(numbers.get("match_rate_any", ()))
    yield (
        f"{_faces(found)} recognised as the person they were by {_by(figures)}{which}: {_interval(found)}. "
        f"{_beside_chance(found, chance)}"
    ) + "".join(f" {WITNESSES[name]}" for name in _recognizers(figures) if name in WITNESSES)


def _recognizers(figures: Figures) -> list[str]:
    return [name.partition(".")[2] for name in figures if name.startswith("match_rate.")]


def _by(figures: Figures) -> str:
    """Return who looked, and which of them is Veil's own."""
    names = [f"{name} (Veil's own recogniser)" if name == OWN else name for name in _recognizers(figures)]
    return " or ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _nearer(figures: Figures) -> Iterator[str]:
    """Say whether outputs are, on average, more like their person than strangers are, whoever is recognised or not."""
    measured = {name: figure for name, figure in figures.items() if not math.isnan(figure.low)}
    means = {name: figure for name, figure in measured.items() if name.startswith("nearness.")}
    if not means:
        return
    told = {
        name.partition(".")[2]: f"by {name.partition('.')[2]} {number(figure.value)} "
        f"({number(figure.low)} to {number(figure.high)})"
        for name, figure in means.items()
    }
    near = nearer(figures)
    groups = {
        "measurably more like their person than strangers are": [told[name] for name in told if name in near],
        "not told apart from strangers": [told[name] for name in told if name not in near],
    }
    heads = " and ".join(f"{head}: {', '.join(names)}" for head, names in groups.items() if names)
    yield (
        f"On average outputs are {heads}, where 0 is as alike as two strangers and 1 is recognised. Pose, light, hair "
        f"and background, which both pictures share, count in it; how much was not measured."
    )


def _searched(figures: Figures, numbers: Numbers) -> Iterator[str]:
    for name, first in figures.items():
        rank, _, recognizer = name.partition(".")
        if rank != "rank1" or math.isnan(first.value):
            continue
        five = figures.get(f"rank5.{recognizer}")
        yield (
            f"A search by {recognizer} through all {first.count:,} originals has the right person first for "
            f"{_counted(first)} faces{named(numbers.get(name, ()))}: {_interval(first)}. "
            f"{_beside_chance(first, chance_of(name, figures))}"
        ) + (f" Among the first five for {_five(five, chance_of(f'rank5.{recognizer}', figures))}" if five else "")


def _five(found: Figure, chance: Figure | None) -> str:
    return f"{_counted(found)}: {_interval(found)}. {_beside_chance(found, chance)}"


def _paired(figures: Figures) -> Iterator[str]:
    found = figures.get("pairing")
    if found is not None and not math.isnan(found.value):
        yield (
            f"Linked by surroundings: {_counted(found)} outputs are matched to their own original by background, the "
            f"face left out: {_interval(found)}. {_beside_chance(found, chance_of('pairing', figures))} So many can be "
            f"matched by whoever has the originals, whatever the face shows."
        )


def _control(figures: Figures) -> Iterator[str]:
    known = {name: each for name, each in figures.items() if not math.isnan(each.value)}
    told = [
        f"by {name.partition('.')[2]} {_interval(each)}"
        for name, each in known.items()
        if name.startswith("tar_before.")
    ]
    if told:
        yield f"Control: of pairs of unaltered photos of one person are taken for one person {', '.join(told)}."


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
        yield (
            f"Usefulness: of {found.count:,} originals in which another detector (dlib's HOG) finds a face, it finds "
            f"one in {round(found.value * found.count):,} outputs: {_interval(found)}."
        )


def counts_explained(figures: Figures) -> list[str]:
    """Return why some figures are taken over fewer faces than others, in sentences."""
    found, hog = figures.get("found"), figures.get("hog")
    if found is None or math.isnan(found.value):
        return []
    lost = found.count - round(found.value * found.count)
    rest = f"is taken over the other {found.count - lost:,}" if lost < found.count else "could not be measured"
    told = [f"In {lost:,} of {found.count:,} outputs no face is found: what eyes, nose, mouth and head do {rest}."]
    unseen = found.count - hog.count if hog is not None else 0
    seen = f"Of {found.count:,} originals the other detector finds no face in {unseen:,}; for it, the rest count."
    return [*(told if lost else []), *([seen] if unseen else [])]


def _faces(found: Figure) -> str:
    return f"{_counted(found)} faces {'is' if round(found.value * found.count) == 1 else 'are'}"


def _counted(found: Figure) -> str:
    return f"{round(found.value * found.count):,} of {found.count:,}"


def _interval(found: Figure) -> str:
    return f"{percent(found.value)} (95 % interval {percent(found.low)} to {percent(found.high)})"


def _people(found: Figure) -> str:
    """Return the upper end of an interval as people: "3 to 4 of 200"."""
    most = round(found.high * found.count, 6)
    ends = dict.fromkeys((math.floor(most), math.ceil(most)))
    return f"{' to '.join(f'{end:,}' for end in ends)} of {found.count:,}"


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
