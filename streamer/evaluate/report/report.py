"""The report: one self-contained page that shows all that was found, for somebody who has to sign for it.

It runs nothing and loads nothing: plots are inside it, and its own policy forbids the rest.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from streamer.evaluate.figures import Figure, Findings, Table, number
from streamer.evaluate.report.glossary import by_topic, meaning_of
from streamer.evaluate.report.thresholds import Verdict


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
        topics=by_topic(findings.figures),
        tables=[table for table in findings.tables if not _repeats(table, findings.figures)],
    )


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
    environment.filters |= {"number": number, "data": _data_uri, "count": _count}
    environment.globals["meaning_of"] = meaning_of
    environment.tests["figure"] = _is_figure
    return environment


def _data_uri(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


def _count(names: Iterable[object]) -> str:
    return f"{len(list(names)):,}"


def _is_figure(cell: object) -> bool:
    return isinstance(cell, Figure)
