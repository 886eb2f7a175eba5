"""Writes findings as files: one page of markdown, a CSV for each table, a PNG for each chart."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from streamer.errors import SinkError
from streamer.evaluate.figures import Chart, Findings, Problem, Table, csv_text, markdown

Titled = TypeVar("Titled", Table, Chart)

PAGE, PROBLEMS = "tables.md", "problems.csv"


def write_tables(findings: Findings, out: Path) -> list[Path]:
    """Write findings into a folder; older files of the same names are replaced.

    The page says how many photos could not be measured and why; their names are in `problems.csv`.

    Returns:
        The files: tables.md first.

    Raises:
        SinkError: If one cannot be written.
    """
    files = {PAGE: _page(findings).encode(), PROBLEMS: _problems(findings.problems).encode()}
    files |= {f"{name}.csv": csv_text(table).encode() for name, table in _named(findings.tables)}
    files |= {f"{name}.png": chart.png for name, chart in _named(findings.charts)}
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            (out / name).write_bytes(content)
    except OSError as error:
        raise SinkError(f"cannot write {error.filename}: {error.strerror}; choose another folder") from error
    return [out / name for name in files]


def slug(title: str) -> str:
    """Return the name of a file from what stands before a title's first full stop: "Table 1. Picture" is table-1."""
    return re.sub(r"[^a-z0-9]+", "-", title.partition(". ")[0].lower()).strip("-")


def _named(items: Sequence[Titled]) -> Iterator[tuple[str, Titled]]:
    """Yield each item with a name of its own; of the same titles the second is called -2."""
    seen: Counter[str] = Counter()
    for item in items:
        name = slug(item.title)
        seen[name] += 1
        yield (name if seen[name] == 1 else f"{name}-{seen[name]}"), item


def _page(findings: Findings) -> str:
    return "\n".join(_parts(findings))


def _parts(findings: Findings) -> Iterator[str]:
    yield f"# {findings.title}\n"
    yield "| | |\n|---|---|"
    yield "\n".join(f"| {name} | {_cell(value)} |" for name, value in findings.settings.items()) + "\n"
    yield "In brackets are 95 % intervals. ↓: less is better, ↑: more is better.\n"
    for problem in findings.problems:
        yield f"- {problem.what}: {len(problem.names)} (names in {PROBLEMS})"
    yield "\n## Tables\n"
    yield from map(markdown, findings.tables)
    yield "## Figures\n"
    for name, chart in _named(findings.charts):
        yield f"### {chart.title}\n\n![{_alternative(chart.text)}]({name}.png)\n"


def _problems(problems: tuple[Problem, ...]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(("problem", "name"))
    writer.writerows((problem.what, name) for problem in problems for name in problem.names)
    return out.getvalue()


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _alternative(text: str) -> str:
    return text.replace("[", "(").replace("]", ")").replace("\n", " ")
