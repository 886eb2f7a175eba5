"""What a run shows while it works, and what it says when it is done."""

from __future__ import annotations

import dataclasses
from collections import Counter
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, get_args

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, SpinnerColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from streamer.sinks.delivery import Delivery
from streamer.tally import Tally
from streamer.types import GuardReport, SafeFrame, Tier, VideoInfo

if TYPE_CHECKING:
    from streamer.faces.small_faces import Searched


@dataclass
class Summary:
    """Counts over the safe frames of one run.

    Attributes:
        tally: Of the frames written.
        tracks: Ids of all tracks seen; meaningless for unrelated pictures, where ids start anew.
        video_seconds: Length of what was written, by its own clock.
    """

    tally: Tally = field(default_factory=Tally)
    tracks: set[int] = field(default_factory=set)
    _next_index: int | None = None
    _first_seconds: float | None = None
    _last_seconds: float = 0.0

    def add(self, frame: SafeFrame) -> None:
        """Count one frame."""
        self.tally += Tally.of(frame, dropped=self.missed_before(frame))
        self._next_index = frame.index + 1
        self.tracks.update(face.track_id for face in frame.faces if face.track_id > 0)
        if self._first_seconds is None:
            self._first_seconds = frame.seconds
        self._last_seconds = frame.seconds

    def missed_before(self, frame: SafeFrame) -> int:
        """Return how many frames were left out between the last one and this."""
        return 0 if self._next_index is None else frame.index - self._next_index

    @property
    def frames(self) -> int:
        """How many were written."""
        return self.tally.frames

    @property
    def face_frames(self) -> int:
        """Faces counted once in each frame that shows them."""
        return self.tally.face_frames

    @property
    def video_seconds(self) -> float:
        """From the first frame to the end of the last, taking the last to be as long as the others on average."""
        if self._first_seconds is None or self.frames < 2:
            return 0.0
        return (self._last_seconds - self._first_seconds) * self.frames / (self.frames - 1)

    def by_tier(self) -> dict[Tier, dict[str, int]]:
        """Return face-frames as tier -> reason -> count, the best tier first, the commonest reason first."""
        tiers: dict[Tier, dict[str, int]] = {tier: {} for tier in get_args(Tier)}
        for (tier, reason), count in Counter(self.tally.faces).most_common():
            tiers[tier][reason] = count
        return {tier: reasons for tier, reasons in tiers.items() if reasons}


@dataclass(frozen=True, slots=True)
class Report:
    """All there is to say about a finished run.

    Attributes:
        source, sink: As the user named them.
        device: What the network ran on.
        summary: What was counted.
        seconds: Wall-clock time of the work. The weights that draw a video load meanwhile; else they are there before.
        corrupt_packets: Packets of the source that could not be decoded and were left out.
        audio_streams: Streams of sound in the source.
        audio_packets: Packets of them that were copied, or made in another voice; None where sound is dropped.
        audio_failures: Why sound ended before its end, of each stream that did.
        has_other_voice: Whether sound that is not dropped is in another voice.
        unrelated: Whether the frames are pictures of a folder, without time or tracks.
        privacy: What differential privacy was spent, in words; "" where none was asked for.
        deliveries: What became of each output.
        notes: What was done to every picture before it was searched, in words.
        searched: How small a face was looked for.
    """

    source: str
    sink: str
    device: str
    summary: Summary
    seconds: float
    corrupt_packets: int
    audio_streams: int
    audio_packets: int | None
    audio_failures: tuple[str, ...] = field(default=(), kw_only=True)
    has_other_voice: bool = field(default=False, kw_only=True)
    unrelated: bool
    privacy: str = ""
    notes: tuple[str, ...] = ()
    deliveries: tuple[Delivery, ...] = ()
    searched: Searched | None = None

    @property
    def failure(self) -> str:
        """Why outputs are lost, in a line; "" if none is."""
        return "; ".join(each.reason for each in self.deliveries if each.state == "failed")

    @property
    def fps(self) -> float:
        """Frames per second of wall-clock time."""
        return self.summary.frames / max(self.seconds, 1e-9)

    @property
    def real_time_factor(self) -> float | None:
        """Seconds of video per second of work; above 1 it would keep up live. None for pictures."""
        if self.unrelated or not self.summary.video_seconds:
            return None
        return self.summary.video_seconds / max(self.seconds, 1e-9)

    @property
    def audio(self) -> str:
        """What became of the sound, in words."""
        if not self.audio_streams:
            return "none in the source"
        streams = _count(self.audio_streams, "stream")
        if self.audio_packets is None:
            return f"dropped ({streams}; a voice identifies a person; --voice changes it, --keep-audio keeps it)"
        if not self.has_other_voice:
            return f"{_count(self.audio_packets, 'packet')} of {streams} copied: a voice identifies a person"
        lost = "".join(f"; LOST from there on: {reason}" for reason in self.audio_failures)
        return f"{streams} in another voice: disguised, not anonymous{lost}"

    def as_dict(self) -> dict[str, Any]:
        """Return it for a script: plain values that JSON takes."""
        summary = self.summary
        factor = self.real_time_factor
        return {
            "source": self.source,
            "sink": self.sink,
            "outputs": [dataclasses.asdict(delivery) for delivery in self.deliveries],
            "device": self.device,
            "frames": summary.frames,
            "face_frames": summary.face_frames,
            "tracks": None if self.unrelated else len(summary.tracks),
            "covered": summary.by_tier(),
            "frames_covered_whole": dict(summary.tally.failures),
            "frames_dropped": summary.tally.dropped,
            "seconds": round(self.seconds, 3),
            "fps": round(self.fps, 2),
            "real_time_factor": None if factor is None else round(factor, 3),
            "corrupt_packets": self.corrupt_packets,
            "notes": list(self.notes),
            "searched": dataclasses.asdict(self.searched) if self.searched else None,
            "audio": self.audio,
            "audio_streams": self.audio_streams,
            "audio_packets": self.audio_packets,
            "audio_failures": list(self.audio_failures),
            "voice": "another" if self.has_other_voice else None,
            "differential_privacy": self.privacy or None,
            "guard": dataclasses.asdict(summary.tally.guard),
        }

    def lines(self) -> list[str]:
        """Return it for a reader."""
        return [f"{name:13}{text}" for name, text in self._rows()]

    def _outputs(self) -> list[tuple[str, str]]:
        if all(each.state == "done" for each in self.deliveries):
            return [("written", self.sink)]
        said = {"done": "written", "interrupted": "with gaps", "failed": "FAILED"}
        return [
            (said[each.state], f"{each.sink}: {_count(each.frames, 'frame')}{each.reason and '; '}{each.reason}")
            for each in self.deliveries
        ]

    def _rows(self) -> list[tuple[str, str]]:
        summary, factor = self.summary, self.real_time_factor
        speed = f"{self.fps:.1f} fps on {self.device}"
        followed = "" if self.unrelated else f" of {_count(len(summary.tracks), 'track')}"
        rows = [
            *self._outputs(),
            ("frames", f"{summary.frames} in {self.seconds:.1f} s"),
            ("speed", speed if factor is None else f"{speed}, {factor:.2f} times real time"),
            ("faces", f"{_count(summary.face_frames, 'face-frame')}{followed}"),
            *((f"  {tier}", _reasons(reasons)) for tier, reasons in summary.by_tier().items()),
        ]
        if self.searched:
            rows.append(("searched", str(self.searched)))
        if self.notes:
            rows.append(("picture", ", ".join(self.notes)))
        if summary.tally.failures:
            rows.append(("whole", f"frames covered whole: {_reasons(dict(summary.tally.failures))}"))
        if summary.tally.dropped:
            rows.append(("dropped", f"{_count(summary.tally.dropped, 'frame')} for which there was no time"))
        if self.corrupt_packets:
            rows.append(("dropped", f"{_count(self.corrupt_packets, 'corrupt packet')} of the source"))
        rows.append(("audio", self.audio))
        if summary.tally.guard.compared:
            rows.append(("guard", _guard(summary.tally.guard)))
        elif self.privacy:
            rows.append(("guard", "none with --epsilon: no face is compared with the person"))
        if self.privacy:
            rows.append(("privacy", self.privacy))
        return rows


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
            rows.append(("audio", f"dropped (of {dropped} files; a voice identifies a person; --voice changes it)"))
        if self.reports and self.reports[-1].privacy:
            rows.append(("privacy", self.reports[-1].privacy))
        return [f"{name:13}{text}" for name, text in rows]

    @staticmethod
    def _said_of(report: Report) -> str:
        summary = report.summary
        said = f"{summary.frames} frames, {summary.face_frames} face-frames"
        said += f", {summary.tally.whole} covered whole" if summary.tally.failures else ""
        return said + "".join(f", {note}" for note in report.notes)


class ProgressBar:
    """A bar on stderr with frames per second, time to go and faces per frame; silent when stderr is no terminal."""

    def __init__(self, info: VideoInfo, console: Console, label: str = "") -> None:
        self._progress = Progress(
            SpinnerColumn("line"),  # plain characters: not every terminal has others
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.completed}/{task.fields[total_text]} frames"),
            _FramesPerSecond(),
            TextColumn("{task.fields[faces]:.1f} faces/frame"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        total_text = "?" if info.frame_count is None else str(info.frame_count)
        self._task = self._progress.add_task(label, total=info.frame_count, total_text=total_text, faces=0.0)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def update(self, summary: Summary) -> None:
        """Show the counts so far."""
        self._progress.update(self._task, completed=summary.frames, faces=summary.face_frames / max(summary.frames, 1))


class _FramesPerSecond(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text("- fps" if task.speed is None else f"{task.speed:.1f} fps")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _guard(guard: GuardReport) -> str:
    compared = f"{_count(guard.compared, 'face')} compared with the person, {guard.escalated} replaced as too alike"
    return compared + (f"; likeness up to {guard.highest:.2f}" if guard.highest > -1 else "")


def _reasons(counts: dict[str, int]) -> str:
    """Return `12 (5 small, 3 turned)`; "" is no reason."""
    total = sum(counts.values())
    named = ", ".join(f"{count} {reason}" for reason, count in counts.items() if reason)
    return f"{total} ({named})" if named else str(total)
