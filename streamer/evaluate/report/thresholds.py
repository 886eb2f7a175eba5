"""What a release must hold to: thresholds on figures from a TOML file, and the verdict on what was measured.

Fails closed: a figure that is unknown or could not be measured breaks its threshold, and one whose interval reaches
past it is no pass: more must be measured. The format is explained in `examples/thresholds.toml`.
"""

from __future__ import annotations

import difflib
import hashlib
import math
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from streamer.errors import SourceError
from streamer.evaluate.figures import Figure, number

Section = Literal["images", "video", "attack", "tables"]
Bound = Literal["auto", "value", "interval"]
Outcome = Literal["pass", "fail", "too few", "none"]

KEYS = ("min", "max", "bound")


@dataclass(frozen=True, slots=True)
class Threshold:
    """What one figure must hold to.

    Attributes:
        name: Of the figure, such as "match_rate.dlib".
        least: What it must not fall below; -inf for anything.
        most: What it must not exceed; inf for anything.
        bound: What is held against them: the whole 95 % interval, or what was measured alone; "auto" is the interval
            of a figure that has one, and the value of another.
    """

    name: str
    least: float = -math.inf
    most: float = math.inf
    bound: Bound = "auto"

    def __str__(self) -> str:
        return self.written(number)

    def written(self, write: Callable[[float], str]) -> str:
        """Return the limits in words, each as `write` writes a number."""
        ends = [f"at least {write(self.least)}"] if self.least > -math.inf else []
        ends += [f"at most {write(self.most)}"] if self.most < math.inf else []
        return " and ".join(ends) + (" (the value alone)" if self.bound == "value" else "")


@dataclass(frozen=True, slots=True)
class Gate:
    """All that is asked of one command.

    Attributes:
        thresholds: In the order of the file; none where no file was given.
        source: The file they are from; "" for none.
        sha256: Of that file as it was read, in hex.
    """

    thresholds: tuple[Threshold, ...] = ()
    source: str = ""
    sha256: str = ""


@dataclass(frozen=True, slots=True)
class Check:
    """One threshold beside what was measured.

    Attributes:
        threshold: What was asked for.
        figure: What was measured; None where the evaluation knows no such figure.
        broken: Why it does not hold, in words; "" where it does.
        unsettled: Why it can neither hold nor be broken: the interval reaches past the limit; "" otherwise.
    """

    threshold: Threshold
    figure: Figure | None
    broken: str
    unsettled: str = ""

    @property
    def unmeasured(self) -> bool:
        """Whether nothing was measured that could hold it: it is broken, for nobody knows."""
        return self.figure is None or math.isnan(self.figure.value)

    @property
    def uncertain(self) -> bool:
        """Whether it holds by the value alone, as was asked for, but not all over the 95 % interval."""
        if self.broken or self.unsettled or self.figure is None or math.isnan(self.figure.low):
            return False
        return self.figure.low < self.threshold.least or self.figure.high > self.threshold.most


@dataclass(frozen=True, slots=True)
class Verdict:
    """Every threshold, checked.

    Attributes:
        checks: In the order of the file; none where no thresholds were given.
        source: The file they are from; "" for none.
        sha256: Of that file, in hex.
    """

    checks: tuple[Check, ...] = ()
    source: str = ""
    sha256: str = ""

    @property
    def broken(self) -> tuple[Check, ...]:
        """The checks that do not hold."""
        return tuple(check for check in self.checks if check.broken)

    @property
    def unsettled(self) -> tuple[Check, ...]:
        """The checks for which too little was measured."""
        return tuple(check for check in self.checks if check.unsettled)

    @property
    def outcome(self) -> Outcome:
        """Return "none" where nothing was asked: that is no pass, and neither is "too few"."""
        if not self.checks:
            return "none"
        if self.broken:
            return "fail"
        return "too few" if self.unsettled else "pass"

    def __str__(self) -> str:
        if not self.checks:
            return "no thresholds given"
        if self.broken:
            unmeasured = sum(check.unmeasured for check in self.broken)
            too_few = len(self.unsettled)
            kinds = {"broken": len(self.broken) - unmeasured, "not measured": unmeasured, "too few to pass": too_few}
            why = ", ".join(f"{count} {kind}" for kind, count in kinds.items() if count)
            fallen = len(self.broken) + too_few
            return f"FAIL: {fallen} of {len(self.checks)} thresholds of {self.source} do not hold: {why}"
        if self.unsettled:
            return f"TOO FEW TO PASS: {len(self.unsettled)} of {len(self.checks)} thresholds of {self.source} need more"
        return f"PASS: {len(self.checks)} of {len(self.checks)} thresholds of {self.source} hold"


def read_thresholds(path: Path, section: Section) -> Gate:
    """Return the thresholds of one section of a TOML file, in its order, and the hash of the file.

    Args:
        path: Such as `examples/thresholds.toml`.
        section: The command they are for. Other sections are checked for mistakes, and otherwise left alone.

    Raises:
        SourceError: If the file cannot be read, has a mistake in it, or asks nothing of this section: a gate that
            checks nothing must not look like one that passes.
    """
    try:
        raw = path.read_bytes()
        content = tomllib.loads(raw.decode())
    except (OSError, UnicodeDecodeError) as error:
        raise SourceError(f"cannot read the thresholds {path}: {getattr(error, 'strerror', 'not UTF-8')}") from error
    except tomllib.TOMLDecodeError as error:
        raise SourceError(f"{path} is not TOML: {error}; write 0.01, not .01") from error
    sections = {name: _section(path, name, content[name]) for name in content}
    if not sections.get(section):
        raise SourceError(f"{path} has no thresholds under [{section}], so nothing would be checked; add one")
    return Gate(tuple(sections[section]), str(path), hashlib.sha256(raw).hexdigest())


def check(figures: Mapping[str, Figure], thresholds: Sequence[Threshold], source: str, sha256: str = "") -> Verdict:
    """Return the verdict on `figures`.

    Args:
        figures: By name, as in `Findings`.
        thresholds: What they must hold to.
        source: The file these are from, for the reader.
        sha256: Of that file.
    """
    return Verdict(tuple(_check(threshold, figures) for threshold in thresholds), source, sha256)


def _check(threshold: Threshold, figures: Mapping[str, Figure]) -> Check:
    figure = figures.get(threshold.name)
    if figure is None:
        return Check(threshold, None, f"no such figure{_meant(threshold.name, figures)}")
    if math.isnan(figure.value):
        return Check(threshold, figure, f"not measured: {figure.note}" if figure.note else "not measured")
    has_interval = not (math.isnan(figure.low) or math.isnan(figure.high))
    if threshold.bound == "interval" and not has_interval:
        return Check(threshold, figure, "has no interval to check")
    if threshold.bound == "value" or not has_interval:
        return Check(threshold, figure, _past(threshold, figure.value, figure.value))
    if figure.high < threshold.least or figure.low > threshold.most:
        return Check(threshold, figure, _past(threshold, figure.value, figure.value))
    return Check(threshold, figure, "", _past(threshold, figure.low, figure.high))


def _past(threshold: Threshold, low: float, high: float) -> str:
    """Return how far a range reaches past the limits, in words; "" where it does not."""
    if low < threshold.least:
        return f"{low:.6g} is below {threshold.least:.6g}"
    return f"{high:.6g} is above {threshold.most:.6g}" if high > threshold.most else ""


def _section(path: Path, section: str, content: object) -> list[Threshold]:
    if section not in get_args(Section):
        raise SourceError(f"{path}: unknown section [{section}]{_meant(section, get_args(Section))}")
    if not isinstance(content, dict):
        raise SourceError(f"{path}: {section} must be a section, [{section}]")
    return [_threshold(path, f"[{section}] {name}", name, limits) for name, limits in _leaves(content)]


def _leaves(content: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield names and limits; match_rate.dlib without quotes is a table in a table to TOML, and is put together."""
    for key, value in content.items():
        if isinstance(value, dict) and value and all(isinstance(inner, dict) for inner in value.values()):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _threshold(path: Path, where: str, name: str, limits: object) -> Threshold:
    if not isinstance(limits, dict):
        raise SourceError(f"{path}: {where} must be such as {{ max = 0.01 }}, not {limits!r}")
    for key in limits:
        if key not in KEYS:
            raise SourceError(f"{path}: {where} has an unknown key {key!r}{_meant(key, KEYS)}")
    if not {"min", "max"} & limits.keys():
        raise SourceError(f"{path}: {where} needs min or max")
    least, most = (_limit(path, where, limits, key) for key in ("min", "max"))
    bound = limits.get("bound", "auto")
    if bound not in get_args(Bound):
        raise SourceError(f'{path}: {where}: bound must be "auto", "value" or "interval", not {bound!r}')
    if least > most:
        raise SourceError(f"{path}: {where}: min {least:g} is above max {most:g}")
    return Threshold(name, least, most, bound)


def _limit(path: Path, where: str, limits: Mapping[str, object], key: str) -> float:
    value = limits.get(key, -math.inf if key == "min" else math.inf)
    if isinstance(value, bool) or not isinstance(value, int | float) or (key in limits and not math.isfinite(value)):
        raise SourceError(f"{path}: {where}: {key} must be a number, not {value!r}")
    return float(value)


def _meant(name: str, known: Mapping[str, Any] | tuple[str, ...]) -> str:
    close = difflib.get_close_matches(name, list(known), 1)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; known are {', '.join(known)}" if len(known) <= len(KEYS) + 1 else ""  # figures are too many to list
