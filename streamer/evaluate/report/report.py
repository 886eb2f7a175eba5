"""The report: one self-contained page that shows all that was found, for somebody who has to sign for it.

It runs nothing and loads nothing: plots are inside it, and its own policy forbids the rest.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
from collections import defaultdict
from collections.abc import Iterable
from functools import partial
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from streamer.evaluate.figures import Figure, Findings, HashedFile, Table, number
from streamer.evaluate.report.cells import chance_cell, interval_cell
from streamer.evaluate.report.claims import (
    claims,
    counts_explained,
    in_short,
    is_chance,
    may_be_claimed,
    not_claimed,
    reservations,
    written,
)
from streamer.evaluate.report.glossary import by_topic, is_privacy, meaning_of, short_title
from streamer.evaluate.report.summary import as_dict
from streamer.evaluate.report.thresholds import Check, Threshold, Verdict
from streamer.evaluate.report.which import counted_files, numbers_of, problem_files

CONTROL = ("tar_before", "eer_before")  # that there is none is said first of all
TOLD = ("match_rate", "match_rate_any", "rank1", "rank5", "nearness", "pairing", "leak_rate")


def html(findings: Findings, verdict: Verdict, *, faces_shown: bool) -> str:
    """Return the page.

    Args:
        findings: What was found. Names in it may come from anyone: all text is escaped.
        verdict: What stands on top.
        faces_shown: Whether the worst faces in `findings` are uncovered; a banner then says so.
    """
    page, numbers = _environment().get_template("report.html"), numbers_of(findings)
    return page.render(
        findings=findings,
        verdict=verdict,
        faces_shown=faces_shown,
        in_short=in_short(findings.figures, numbers),
        reservations=reservations(findings.figures),
        may_be_claimed=may_be_claimed(findings.figures) if verdict.outcome != "fail" else "",
        claims=claims(findings.figures, numbers),
        kinds=_kinds(verdict),
        without_threshold=_without_threshold(findings.figures, verdict),
        report_sha256=hash_of_report(findings, verdict),
        counts_explained=counts_explained(findings.figures),
        counted=counted_files(findings),
        problem_files=problem_files(findings),
        not_claimed=not_claimed(findings.figures),
        unmeasured=_unmeasured(findings.figures),
        topics=by_topic({name: figure for name, figure in findings.figures.items() if not is_chance(name)}),
        places={file.name: number for number, file in enumerate(findings.files, 1)},
        files_sha256=hash_of_list(findings.files),
        tables=[table for table in findings.tables if not _repeats(table, findings.figures)],
    )


def hash_of_list(files: tuple[HashedFile, ...]) -> str:
    """Return one SHA-256 for all files, in hex: of the lines "original output name", as the list shows them."""
    lines = "".join(f"{file.original} {file.output} {file.name}\n" for file in files)
    return hashlib.sha256(lines.encode()).hexdigest()


def hash_of_report(findings: Findings, verdict: Verdict) -> str:
    """Return the SHA-256, in hex, of all that the report tells: of the line that `--json` writes, without its end."""
    return hashlib.sha256(json.dumps(as_dict(findings, verdict), allow_nan=False).encode()).hexdigest()


def _kinds(verdict: Verdict) -> dict[str, tuple[Check, ...]]:
    """Return the checks of privacy and those of usefulness, each where there are any."""
    kinds = {"Privacy": True, "Usefulness": False}
    found = {
        kind: tuple(check for check in verdict.checks if is_privacy(check.threshold.name) is privacy)
        for kind, privacy in kinds.items()
    }
    return {kind: checks for kind, checks in found.items() if checks}


def _without_threshold(figures: dict[str, Figure], verdict: Verdict) -> list[str]:
    """Return the titles of what the first page tells of privacy and no threshold asks for."""
    asked = {check.threshold.name for check in verdict.checks}
    told = [name for name in figures if name.partition(".")[0] in TOLD and not math.isnan(figures[name].value)]
    missing = [name.partition(".")[0] for name in told if name not in asked]
    return [short_title(name) for name in dict.fromkeys(missing)] if asked else []


def _unmeasured(figures: dict[str, Figure]) -> dict[str, list[str]]:
    """Return the titles of the figures that could not be measured, each once, by the reason why not."""
    titles: dict[str, dict[str, None]] = defaultdict(dict)
    for name, figure in figures.items():
        if math.isnan(figure.value) and not name.startswith(CONTROL):
            titles[figure.note][short_title(name).removesuffix(f" ({name.partition('.')[2]})")] = None
    return {why: list(each) for why, each in titles.items()}


def _repeats(table: Table, figures: dict[str, Figure]) -> bool:
    """Return whether a table only lists what the page explains already."""
    return all(row[0] in figures for row in table.rows)


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": number, "data": _data_uri, "count": _count, "unbroken": _unbroken}
    environment.filters["plain"] = _plain
    environment.globals |= {"meaning_of": meaning_of, "short_title": short_title, "written": written}
    environment.globals |= {"interval_cell": interval_cell, "chance_cell": chance_cell}
    environment.globals |= {"required": _required, "printed": _printed, "any_printed": _any_printed}
    environment.tests["figure"] = _is_figure
    return environment


def _printed(name: str, figure: Figure) -> bool:
    """Return whether a figure stands on paper: not what was not measured, nor what only scales others."""
    return not math.isnan(figure.value) and name.partition(".")[0] not in ("threshold", "delta")


def _any_printed(rows: Iterable[tuple[str, object, Figure]]) -> bool:
    return any(_printed(name, figure) for name, _, figure in rows)


def _required(threshold: Threshold) -> str:
    return threshold.written(partial(written, threshold.name))


def _data_uri(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


def _count(names: Iterable[object]) -> str:
    return f"{len(list(names)):,}"


def _unbroken(text: str) -> str:
    """Return the text with per cent on the line of their number."""
    return text.replace(" %", "\N{NO-BREAK SPACE}%")


def _plain(text: str) -> str:
    """Return what of a text may stand in a string of CSS, where nothing is escaped: letters, digits and plain signs."""
    return re.sub(r"[^\w .,:-]", "", text)[:60]


def _is_figure(cell: object) -> bool:
    return isinstance(cell, Figure)
