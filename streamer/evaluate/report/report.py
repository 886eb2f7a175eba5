"""The report: one self-contained page that shows all that was found, for somebody who has to sign for it.

It runs nothing and loads nothing: plots are inside it, and its own policy forbids the rest.
"""

from __future__ import annotations

import base64
import hashlib
import math
from collections import defaultdict
from collections.abc import Iterable
from functools import partial
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from streamer.evaluate.figures import Figure, Findings, HashedFile, Table, number
from streamer.evaluate.report.claims import chance_of, claims, in_short, is_chance, not_claimed, written
from streamer.evaluate.report.glossary import by_topic, meaning_of
from streamer.evaluate.report.thresholds import Threshold, Verdict


def html(findings: Findings, verdict: Verdict, *, faces_shown: bool) -> str:
    """Return the page.

    Args:
        findings: What was found. Names in it may come from anyone: all text is escaped.
        verdict: What stands on top.
        faces_shown: Whether the worst faces in `findings` are uncovered; a banner then says so.
    """
    page = _environment().get_template("report.html")
    return page.render(
        findings=findings,
        verdict=verdict,
        faces_shown=faces_shown,
        in_short=in_short(findings.figures),
        claims=claims(findings.figures),
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


def _unmeasured(figures: dict[str, Figure]) -> dict[str, list[str]]:
    """Return the titles of the figures that could not be measured, each once, by the reason why not."""
    titles: dict[str, dict[str, None]] = defaultdict(dict)
    for name, figure in figures.items():
        if math.isnan(figure.value):
            titles[figure.note][meaning_of(name).title.removesuffix(f" ({name.partition('.')[2]})")] = None
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
    environment.globals |= {"meaning_of": meaning_of, "chance_of": chance_of, "written": written}
    environment.globals["required"] = _required
    environment.tests["figure"] = _is_figure
    return environment


def _required(threshold: Threshold) -> str:
    return threshold.written(partial(written, threshold.name))


def _data_uri(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


def _count(names: Iterable[object]) -> str:
    return f"{len(list(names)):,}"


def _unbroken(text: str) -> str:
    """Return the text with per cent on the line of their number."""
    return text.replace(" %", "\N{NO-BREAK SPACE}%")


def _is_figure(cell: object) -> bool:
    return isinstance(cell, Figure)
