"""What stands in the cells beside a value: its interval and its chance, or why it has none."""

from __future__ import annotations

import math

from streamer.evaluate.figures import Figure
from streamer.evaluate.report.claims import Figures, chance_of, written

NO_GUESS = "no guess"  # a measure of the picture or of movement: there is nothing that guessing could reach
BY_DEFINITION = {"nearness": "0, by the scale"}
UNKNOWN = {"nearest": "not measured"}
TWO_SIDED = ("de_identify_rate",)  # of these too little tells as much as too much


def interval_cell(name: str, figure: Figure) -> str:
    """Return the interval of the figure called `name` in words, or why it has none."""
    if math.isnan(figure.value):
        return ""
    if math.isnan(figure.low):
        return "none: one face" if name.startswith("nearest") else "none"
    return f"{written(name, figure.low)} to {written(name, figure.high)}"


def chance_cell(name: str, figures: Figures) -> str:
    """Return what guessing or strangers would reach of the figure called `name`, or why that has no sense."""
    stem = name.partition(".")[0]
    if stem in BY_DEFINITION:
        return BY_DEFINITION[stem]
    chance = chance_of(name, figures)
    if chance is None:
        guessed = f"{stem}_chance" in figures or any(each.startswith(f"{stem}_chance.") for each in figures)
        return UNKNOWN.get(stem, "not known" if guessed else NO_GUESS)
    if math.isnan(chance.high):
        return written(name, chance.value)
    ends = f"{written(name, chance.low)} to " if stem in TWO_SIDED else "up to "
    return f"{written(name, chance.value)} ({ends}{written(name, chance.high)})"
