"""Does one task of an archive: a file, a part of one, or the joining of parts. One worker lives in one process."""

from __future__ import annotations

import shutil
import tempfile
import time
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from streamer.batch.glances import key_frames
from streamer.batch.joining import join_parts
from streamer.batch.manifest import ArchiveSettings, Record
from streamer.batch.originals import SourceFile
from streamer.batch.storage import fetch, fetched, local_path, publish, sha256_of, within
from streamer.errors import SourceError, StreamerError, one_line_of
from streamer.pipeline.kept_detections import KeptDetections
from streamer.pipeline.runner import protect
from streamer.settings import DEFAULT_DELAY
from streamer.sinks.encoding import HELD
from streamer.sinks.file_sink import open_sink
from streamer.sound.voice import Voice
from streamer.sources.file_source import open_source
from streamer.sources.picture_file import is_picture
from streamer.tally import Tally

if TYPE_CHECKING:
    from streamer.pipeline.anonymizer import Anonymizer
    from streamer.types import Codec, KnownPerson, Source

WORK = ".veil-work"  # folder of the output for what is not whole yet
PARTS = ".veil-parts"
PART_SUFFIX = ".mp4"  # holds every codec, and every time to the tick


@dataclass(frozen=True, slots=True)
class Task:
    """What a worker is to do.

    Attributes:
        name: Place in the output.
        source: What to read.
        part: Number of the part; None for a whole file.
        start, end: Seconds that the output covers, since the start of the file; None for its end.
        starts: When each of the parts that are to be joined begins; empty where nothing is joined.
        sums: SHA-256 of the source, and of what was made of it, of each of these parts.
        is_glance: Whether it is only to be found out who is in the part.
        known: Who is in the source, where that was found out; they become whom that says.
    """

    name: str
    source: str
    part: int | None = None
    start: Fraction = Fraction(0)
    end: Fraction | None = None
    starts: tuple[Fraction, ...] = ()
    sums: tuple[tuple[str, str], ...] = ()
    is_glance: bool = False
    known: tuple[KnownPerson, ...] = field(default=(), repr=False)


class Worker:
    """Weights and settings of an archive; for one task at a time.

    Args:
        settings: What is done to every source.
        out: Where outputs are written.
        device: Where networks run.
        detections: A folder to keep detections in, for other settings to use; None to keep none.

    Raises:
        StreamerError: If the weights cannot be loaded.
    """

    def __init__(self, settings: ArchiveSettings, out: str, device: str, detections: Path | None = None) -> None:
        self._settings, self._out, self._detections = settings, out, detections
        self._open = ExitStack()
        self._anonymizer = self._open.enter_context(load(settings, device))

    def close(self) -> None:
        """Release the detectors."""
        self._open.close()

    def do(self, task: Task) -> Record:
        """Do a task and return what became of it; whatever is wrong with one source is no other's affair."""
        began = time.perf_counter()
        folder = self._scratch()
        try:
            with fetched(task.source) as path:
                if task.is_glance:
                    return self._glance(task, path)
                original = SourceFile.of(path)
                record = self._join(task, original, folder) if task.starts else self._cover(task, original, folder)
        except (Exception, MemoryError) as error:
            reason = one_line_of(error)
            if task.part is not None:
                reason += f" (in the part from {float(task.start):.1f} s)"
            return {"kind": "failed", "name": task.name, "reason": reason}
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        kind = {"kind": "done"} if task.part is None else {"kind": "part", "part": task.part}
        return {**kind, "name": task.name, "seconds": round(time.perf_counter() - began, 3), **record}

    def _scratch(self) -> Path:
        """Return a new folder: on the disk of the output, where that is one, so that a finished file only moves."""
        base = local_path(within(self._out, WORK))
        if base:
            base.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(prefix="veil-", dir=base))

    def _glance(self, task: Task, path: Path) -> Record:
        """Return the people in a part: not for the manifest, as embeddings identify."""
        frames = key_frames(path, start=task.start, end=task.end)
        people = self._anonymizer.people_in(frames, stream=f"{task.name} part {task.part}")
        return {"kind": "people", "name": task.name, "part": task.part, "people": people}

    def _cover(self, task: Task, original: SourceFile, folder: Path) -> Record:
        is_part = task.part is not None
        target = folder / f"out{PART_SUFFIX if is_part else Path(task.name).suffix}"
        tally = Tally()
        with self._opened(original.path, task) as source:
            whole = is_part or source.info.spans or source.info.names
            sink = open_sink(
                target,
                source.info,
                source_path=None if is_part else original.path,
                keep_audio=self._settings.keep_audio and not whole,
                voice=None if whole else self._voice(task),
                codec="auto" if source.info.names else _codec(self._settings.codec, task.name),
                crf=self._settings.crf,
                mark=self._settings.mode == "generate",
            )
            kept = self._kept(original, task)
            protected = protect(source, self._anonymizer, stream=task.name, kept=kept, known=task.known)
            with sink, closing(protected) as frames:
                for frame in frames:
                    sink.write(frame)
                    tally += Tally.of(frame)
        output = part_place(self._out, task.name, task.part) if task.part is not None else within(self._out, task.name)
        return self._published(target, output, original, **_counts(tally))

    def _kept(self, original: SourceFile, task: Task) -> KeptDetections | None:
        if self._detections is None:
            return None
        return KeptDetections(self._detections, f"{original.sha256} from {task.start} to {task.end}", original.check)

    def _opened(self, path: Path, task: Task) -> Source:
        """Return the source; of a video what the task takes of it."""
        start, end = float(task.start), None if task.end is None else float(task.end)
        if (start or end is not None) and not is_picture(path):
            return open_source(path, start_seconds=start, end_seconds=end)
        return open_source(path)

    def _join(self, task: Task, original: SourceFile, folder: Path) -> Record:
        target = folder / f"out{Path(task.name).suffix}"
        parts = [(self._made(task, number, original, folder), start) for number, start in enumerate(task.starts)]
        keep_audio, voice = self._settings.keep_audio, self._voice(task)
        join_parts(parts, target, source=original.path, keep_audio=keep_audio, voice=voice)
        return self._published(target, within(self._out, task.name), original)

    def _made(self, task: Task, number: int, original: SourceFile, folder: Path) -> Path:
        """Return a part that is what was made, of this source; raises SourceError if one of them is another now."""
        path = fetch(part_place(self._out, task.name, number), folder / f"{number}{PART_SUFFIX}")
        if task.sums[number] != (original.sha256, sha256_of(str(path))):
            reason = f"it or its part {number} changed since that was done; the same command does the part again"
            raise SourceError(f"cannot join {original.path}: {reason}")
        return path

    def _voice(self, task: Task) -> Voice | None:
        return Voice.of(self._settings.key, task.name) if self._settings.voice else None

    @staticmethod
    def _published(target: Path, output: str, original: SourceFile, **counts: int) -> Record:
        original.check()
        record = {
            "input_sha256": original.sha256,
            "output_sha256": sha256_of(str(target)),
            "output_bytes": target.stat().st_size,
            "counts": dict(sorted(counts.items())),
        }
        publish(target, output)
        return record


def load(settings: ArchiveSettings, device: str) -> Anonymizer:
    """Return weights and settings; raises StreamerError if they cannot be loaded."""
    from models.checkpoint_errors import CheckpointError
    from streamer.pipeline.anonymizer import Anonymizer

    try:
        return Anonymizer.load(
            settings.model,
            beta=settings.beta,
            device=device,
            mode=settings.mode,
            cover=settings.cover,
            key=settings.key,
            policy=settings.policy,
            delay_seconds=DEFAULT_DELAY,
            min_face=settings.min_face,
        )
    except (CheckpointError, ValueError) as error:
        raise StreamerError(str(error)) from error


def part_place(out: str, name: str, part: int) -> str:
    """Return where a part is kept until all parts are there."""
    return within(out, f"{PARTS}/{name}/{part:05d}{PART_SUFFIX}")


def _codec(codec: Codec, name: str) -> Codec:
    """Return the codec of an output, which "auto" leaves to its container: a part may lie in another one."""
    return codec if codec != "auto" else HELD[Path(name).suffix.lower()][0]


def _counts(tally: Tally) -> dict[str, int]:
    by_tier = {f"faces_{tier}": count for tier, count in tally.tiers.items()}
    return {"frames": tally.frames, "faces": tally.face_frames, "frames_covered_whole": tally.whole, **by_tier}
