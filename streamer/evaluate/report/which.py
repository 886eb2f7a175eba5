"""Which files a figure speaks of: by their number in the list of files, for their names may name people."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from streamer.evaluate.figures import Findings, HashedFile
from streamer.evaluate.report.glossary import meaning_of

Numbers = Mapping[str, Sequence[int]]  # by figure: from 1, as the list of files counts

FEW = 10  # files of which a sentence gives the numbers


@dataclass(frozen=True, slots=True)
class Counted:
    """The files that one share counts.

    Attributes:
        title: Of the figure.
        ranges: Their numbers in the list of files, such as "1 to 3, 7".
        files: Number and file of each.
    """

    title: str
    ranges: str
    files: tuple[tuple[int, HashedFile], ...]


def numbers_of(findings: Findings) -> dict[str, list[int]]:
    """Return the numbers of the files that each share counts, by figure."""
    return {name: _numbers(files, findings) for name, files in findings.counted.items()}


def counted_files(findings: Findings) -> list[Counted]:
    """Return what `findings` count, file by file."""
    numbered = list(enumerate(findings.files, 1))
    found = sorted(numbers_of(findings).items(), key=lambda item: meaning_of(item[0]).order)
    return [
        Counted(meaning_of(name).title, in_ranges(which), tuple(numbered[n - 1] for n in which))
        for name, which in found
    ]


def problem_files(findings: Findings) -> dict[str, str]:
    """Return by problem which of the listed files it happened to, as numbers; "" where none is listed."""
    return {problem.what: in_ranges(_numbers(problem.names, findings)) for problem in findings.problems}


def named(numbers: Sequence[int]) -> str:
    """Return " (file 7)" or " (files 1 to 3, 7)" for a sentence; "" for none, and for more than `FEW`."""
    if not 0 < len(numbers) <= FEW:
        return ""
    return f" ({'file' if len(numbers) == 1 else 'files'} {in_ranges(numbers)})"


def in_ranges(numbers: Iterable[int]) -> str:
    """Return numbers in order, runs of three and more as "1 to 3"."""
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ", ".join(f"{run[0]} to {run[-1]}" if len(run) > 2 else ", ".join(map(str, run)) for run in runs)


def _numbers(names: Iterable[str], findings: Findings) -> list[int]:
    places = {file.name: number for number, file in enumerate(findings.files, 1)}
    return [places[name] for name in names if name in places]
