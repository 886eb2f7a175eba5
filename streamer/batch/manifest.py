"""The manifest of an archive: JSON lines that say what is to be done, with which settings, and what became of it.

Only the process that hands out the work writes it. A run that is killed, or finds the disk full, may leave half a line,
which counts as none; where there is no other, nothing was begun.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass, field
from typing import Any

from streamer.audit.log import settings_sha256
from streamer.batch.records import is_record
from streamer.batch.storage import exists, file_system, within
from streamer.errors import StreamerError
from streamer.types import Codec, Cover, Mode, Policy

VERSION = 1
NAME = "manifest.jsonl"
KEY_PURPOSE = b"veil archive key:"

Record = dict[str, Any]


@dataclass(frozen=True)
class ArchiveSettings:
    """What is done to every source of an archive.

    Attributes:
        key: One for the archive: who becomes whom follows from it on every machine.
        preview_seconds: Do only so much of each video; None for all of it.
        mode, model, beta, cover, policy, min_face: See `streamer.settings.Settings`.
        voice: Whether sound is kept, in another voice.
        codec, crf, keep_audio: See `streamer.sinks.file_sink.open_sink`.
    """

    mode: Mode = "generate"
    model: str = "default"
    beta: float = 0.0
    cover: Cover = "mosaic"
    policy: Policy = "balanced"
    min_face: float | None = None
    codec: Codec = "auto"
    crf: int = 21
    keep_audio: bool = False
    voice: bool = False
    preview_seconds: float | None = None
    key: bytes | None = field(default=None, repr=False)

    def header(self, model_sha256: str) -> Record:
        """Return the first line of a manifest; of the key only what tells it from another."""
        public = {name: value for name, value in dataclasses.asdict(self).items() if name != "key"}
        key_id = hashlib.sha256(KEY_PURPOSE + self.key).hexdigest()[:16] if self.key else ""
        return {
            "kind": "archive",
            "version": VERSION,
            "settings": public,
            "settings_sha256": settings_sha256(self),
            "model_sha256": model_sha256,
            "key_id": key_id,
        }


class Manifest:
    """The records of an archive, by what they are about.

    Attributes:
        header: The first record; {} of an archive that was not begun.
        sources: By name: what to read, and at which seconds a long one is split.
        parts: By name and number: parts that are done.
        done: By name: outputs that are whole, with their hashes.
        failed: By name: why, of those that could not be done when last tried.
    """

    def __init__(self, out: str) -> None:
        """Read the manifest in the folder `out`, if there is one.

        Raises:
            StreamerError: If it cannot be read, is of another version, or a line of it is no record.
        """
        self._url = within(out, NAME)
        self.header: Record = {}
        self.sources: dict[str, Record] = {}
        self.parts: dict[tuple[str, int], Record] = {}
        self.done: dict[str, Record] = {}
        self.failed: dict[str, Record] = {}
        self._ends_torn = False
        if exists(self._url):
            self._read()

    def add(self, *records: Record) -> None:
        """Write records, and keep them.

        Raises:
            StreamerError: If they cannot be written.
        """
        text = "".join(json.dumps(record, sort_keys=True, allow_nan=False) + "\n" for record in records)
        files, path = file_system(self._url)
        try:
            files.makedirs(path.rpartition("/")[0], exist_ok=True)
            with files.open(path, "ab" if files.exists(path) else "wb") as file:
                file.write((("\n" if self._ends_torn else "") + text).encode())
        except (OSError, ValueError, NotImplementedError) as error:
            raise StreamerError(f"cannot write {self._url}: {getattr(error, 'strerror', None) or error}") from error
        self._ends_torn = False
        for record in records:
            self._keep(record)

    def _read(self) -> None:
        files, path = file_system(self._url)
        try:
            data = files.cat_file(path)
        except OSError as error:
            raise StreamerError(f"cannot read {self._url}: {error.strerror or error}") from error
        self._ends_torn = bool(data) and not data.endswith(b"\n")
        for number, line in enumerate(data.splitlines(), 1):
            try:
                record = json.loads(line)
            except (ValueError, RecursionError):  # a run was killed as it wrote this
                continue
            self._check(record, number)
            self._keep(record)

    def _check(self, record: Any, number: int) -> None:  # noqa: ANN401 - whatever JSON takes
        """Raise a StreamerError if that is no record, or not of this version; the first is the header."""
        is_header = isinstance(record, dict) and record.get("kind") == "archive"
        is_other = record.get("version") != VERSION if is_header else not self.header
        if is_other:
            raise StreamerError(f"{self._url} is no manifest of this version; choose another --out")
        if not is_record(record):
            reason = f"line {number} is no record of an archive; remove that line, or choose another --out"
            raise StreamerError(f"cannot read {self._url}: {reason}")

    def _keep(self, record: Record) -> None:
        kind, name = record.get("kind"), record.get("name", "")
        if kind == "archive":
            self.header = record
        elif kind == "source":
            self.sources[name] = record
        elif kind == "part":
            self.parts[name, record["part"]] = record
        elif kind == "done":
            self.done[name] = record
            self.failed.pop(name, None)
        elif kind == "failed":
            self.failed[name] = record
