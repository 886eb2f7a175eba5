"""The tasks of an archive that are still to be done: handed out one by one, and kept in its manifest."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from fractions import Fraction

from streamer.batch.manifest import Manifest, Record
from streamer.batch.storage import exists, remove, sha256_of, within
from streamer.batch.worker import PARTS, WORK, Task, part_place
from streamer.errors import SourceError
from streamer.types import KnownPerson

log = logging.getLogger(__name__)


class Work:
    """The tasks of an archive that are not done; for one thread.

    Attributes:
        total, finished: Tasks, those of this run alone.
    """

    def __init__(self, manifest: Manifest, out: str) -> None:
        self._manifest, self._out = manifest, out
        self._waiting: deque[Task] = deque()
        self._missing: dict[str, set[int]] = {}  # parts, by name
        self._later: dict[str, list[Task]] = {}  # parts that wait until it is known who is in all parts, by name
        self._people: dict[str, dict[int, Sequence[KnownPerson]]] = {}  # by name and part; never written
        self.total = self.finished = 0
        remove(within(out, WORK))  # of a run that was killed
        for name, record in manifest.sources.items():
            if name not in manifest.done or not exists(within(out, name)):
                self._add(name, record)

    def _add(self, name: str, record: Record) -> None:
        settings = self._manifest.header["settings"]
        starts = tuple(map(Fraction, record["starts"]))
        if not starts:
            preview = settings["preview_seconds"]
            self._push(Task(name, record["source"], end=Fraction(preview) if preview else None))
            return
        spans = enumerate(zip(starts, (*starts[1:], None), strict=True))
        parts = [Task(name, record["source"], number, start, end) for number, (start, end) in spans]
        missing = self._missing_of(parts)
        self._missing[name] = {task.part for task in missing if task.part is not None}
        if missing and settings["mode"] == "generate":
            self._glance_at(parts, missing)
            return
        for task in missing or [self._joining(name)]:
            self._push(task)

    def _glance_at(self, parts: Sequence[Task], missing: list[Task]) -> None:
        """Let all parts of a source be looked at before one is done: one person becomes one stranger in all of them.

        Those that are done, too: then the same strangers follow as before an interruption.
        """
        name = parts[0].name
        self._later[name], self._people[name] = missing, {}
        self._waiting.extend(replace(part, is_glance=True) for part in parts)
        self.total += len(missing)

    def _agree(self, glance: Task, record: Record) -> None:
        """Note who is in a part, nobody where that failed; after the last, let the parts follow."""
        assert glance.part is not None
        if record["kind"] == "failed":
            log.warning("%s: people may become others: %s", glance.name, record["reason"])
        found = self._people[glance.name]
        found[glance.part] = record.get("people", ())
        if len(found) == len(self._manifest.sources[glance.name]["starts"]):
            from streamer.batch.people import merged

            known = merged([found[part] for part in sorted(found)])
            del self._people[glance.name]
            self._waiting.extend(replace(task, known=known) for task in self._later.pop(glance.name))

    def _missing_of(self, parts: Sequence[Task]) -> list[Task]:
        """Return the parts that are not there as they were made, of the source as it is; what is there of them goes."""
        made = [self._manifest.parts.get((part.name, number)) for number, part in enumerate(parts)]
        source = ""
        if any(made):
            with suppress(SourceError):  # said when it is to be read; the parts may be as good as before
                source = sha256_of(parts[0].source)
        missing = [part for part, record in zip(parts, made, strict=True) if not self._is_done(part, record, source)]
        for part in missing:
            remove(self._place(part))
        return missing

    def _is_done(self, part: Task, record: Record | None, source: str) -> bool:
        if record is None or source not in ("", record["input_sha256"]):
            return False
        place = self._place(part)
        return exists(place) and sha256_of(place) == record["output_sha256"]

    def _place(self, part: Task) -> str:
        assert part.part is not None
        return part_place(self._out, part.name, part.part)

    def _joining(self, name: str) -> Task:
        record = self._manifest.sources[name]
        starts = tuple(map(Fraction, record["starts"]))
        made = (self._manifest.parts[name, number] for number in range(len(starts)))
        sums = tuple((part["input_sha256"], part["output_sha256"]) for part in made)
        return Task(name, record["source"], starts=starts, sums=sums)

    def _push(self, task: Task) -> None:
        self._waiting.append(task)
        self.total += 1

    def take(self) -> Task | None:
        """Return a task that can be done now, or None; another may follow from what is being done."""
        return self._waiting.popleft() if self._waiting else None

    def finish(self, task: Task, record: Record) -> None:
        """Keep what became of a task, and let what waited for it follow.

        Raises:
            StreamerError: If the manifest cannot be written.
        """
        if task.is_glance:
            self._agree(task, record)
            return
        self.finished += 1
        if task.starts and record["kind"] == "done":
            record = record | {"counts": self._counts(task)}
        self._manifest.add(record)
        if record["kind"] == "failed":
            self.total -= sum(each.name == task.name for each in self._waiting)
            self._waiting = deque(each for each in self._waiting if each.name != task.name)
            self._missing.pop(task.name, None)
        elif task.part is not None and task.name in self._missing:
            self._missing[task.name].discard(task.part)
            if not self._missing[task.name]:
                self._push(self._joining(task.name))
        elif task.starts:
            remove(within(self._out, f"{PARTS}/{task.name}"))

    def _counts(self, task: Task) -> dict[str, int]:
        counts: dict[str, int] = {}
        for number in range(len(task.starts)):
            for name, count in self._manifest.parts[task.name, number]["counts"].items():
                counts[name] = counts.get(name, 0) + count
        return counts

    def close(self) -> None:
        """Remove the folders of what was not whole; those of parts only where nothing more is to come."""
        remove(within(self._out, WORK))
        if not (self._manifest.sources.keys() - self._manifest.done.keys()):
            remove(within(self._out, PARTS))


def problems_of(manifest: Manifest, out: str) -> dict[str, str]:
    """Return what is wrong with the outputs of an archive, by name; {} if all are there and as they were written."""
    found = {}
    for name in sorted(manifest.sources):
        done, place = manifest.done.get(name), within(out, name)
        if done is None:
            found[name] = manifest.failed[name]["reason"] if name in manifest.failed else "not done"
        elif not exists(place):
            found[name] = "missing"
        elif sha256_of(place) != done["output_sha256"]:
            found[name] = "changed since it was written"
    return found


def status(manifest: Manifest) -> Record:
    """Return how far an archive has come: plain values that JSON takes."""
    counts: dict[str, int] = {}
    for record in manifest.done.values():
        for name, count in record["counts"].items():
            counts[name] = counts.get(name, 0) + count
    waiting = manifest.sources.keys() - manifest.done.keys() - manifest.failed.keys()
    parts = sum(max(1, len(record["starts"])) for record in manifest.sources.values())
    return {
        "sources": len(manifest.sources),
        "parts": parts,
        "done": len(manifest.done),
        "waiting": len(waiting),
        "failed": {name: record["reason"] for name, record in sorted(manifest.failed.items())},
        "bytes": sum(record["output_bytes"] for record in manifest.done.values()),
        "counts": dict(sorted(counts.items())),
    }
