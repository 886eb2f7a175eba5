"""What a run of many files says when it is done."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from streamer.cli.progress import Report


@dataclass
class BatchReport:
    """What became of each file.

    Attributes:
        sink: The folder that was written to, as it may be shown.
        count: How many files there were.
        reports: Of those that were written.
        failures: Why, by source, of the others.
    """

    sink: str
    count: int
    reports: list[Report] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)

    @property
    def failure(self) -> str:
        """How many files failed, in a line; "" if none did."""
        return f"{len(self.failures)} of {self.count} files could not be done" if self.failures else ""

    def as_dict(self) -> dict[str, Any]:
        """Return it for a script: plain values that JSON takes."""
        return {
            "sink": self.sink,
            "frames": sum(report.summary.frames for report in self.reports),
            "face_frames": sum(report.summary.face_frames for report in self.reports),
            "files": [report.as_dict() for report in self.reports],
            "failed": [{"source": source, "reason": reason} for source, reason in self.failures.items()],
        }

    def lines(self) -> list[str]:
        """Return it for a reader: a line a file, then what they are together."""
        summaries = [report.summary for report in self.reports]
        tiers = Counter[str]()
        for summary in summaries:
            tiers.update({tier: sum(reasons.values()) for tier, reasons in summary.by_tier().items()})
        rows = [("file", f"{report.sink}: {self._said_of(report)}") for report in self.reports]
        rows.append(("written", f"{len(self.reports)} of {self.count} files to {self.sink}"))
        rows.append(("frames", str(sum(summary.frames for summary in summaries))))
        faces = ", ".join(f"{count} {tier}" for tier, count in tiers.items())
        rows.append(("faces", f"{tiers.total()} face-frames" + (f" ({faces})" if faces else "")))
        if dropped := sum(bool(report.audio_streams) for report in self.reports if report.audio_packets is None):
            rows.append(("audio", f"dropped (of {dropped} files; a voice identifies a person; --keep-audio keeps it)"))
        if self.reports and self.reports[-1].privacy:
            rows.append(("privacy", self.reports[-1].privacy))
        return [f"{name:13}{text}" for name, text in rows]

    @staticmethod
    def _said_of(report: Report) -> str:
        summary = report.summary
        said = f"{summary.frames} frames, {summary.face_frames} face-frames"
        said += f", {summary.failures.total()} covered whole" if summary.failures else ""
        return said + "".join(f", {note}" for note in report.notes)
