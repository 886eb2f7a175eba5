"""What `veil run --audit` logs of itself: the header, and the guard of each frame."""

from __future__ import annotations

import dataclasses
import hashlib
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from streamer.errors import StreamerError
from streamer.masking import mask_secrets

if TYPE_CHECKING:
    from streamer.audit.log import AuditLog, GuardFigures
    from streamer.cli.jobs.job import Job
    from streamer.types import SafeFrame


def open_audit(job: Job) -> AbstractContextManager[AuditLog | None]:
    """Return the log of a run, or what stands for none."""
    if job.auditing.log is None:
        if job.auditing.key is not None:
            raise typer.BadParameter("signs the log of --audit, which was not asked for", param_hint="--audit-key")
        return nullcontext()
    from streamer.audit.log import AuditLog, settings_sha256

    model = "" if job.drawing.settings.mode == "cover" else job.drawing.model
    header = {
        "source": mask_secrets(job.source) if "://" in job.source else Path(job.source).name,
        "model": model,
        "model_sha256": weights_sha256(model) if model else "",
        "settings_sha256": settings_sha256(shown(job)),
        "sound": job.sound,
    }
    return AuditLog(job.auditing.log, header=header, signing_key=job.auditing.key)


def shown(job: Job) -> Job:
    """Return `job` as it may be hashed: whoever has the log could try passwords until the hash is right."""
    also = tuple(map(mask_secrets, job.also))
    return dataclasses.replace(job, source=mask_secrets(job.source), sink=mask_secrets(job.sink), also=also)


def weights_sha256(model: str) -> str:
    """Return the SHA-256 of a model's weights, as hex.

    Raises:
        StreamerError: If they are missing or cannot be read.
    """
    from models.checkpoint import weights_path
    from models.checkpoint_errors import CheckpointError

    try:
        with weights_path(model).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except (CheckpointError, OSError) as error:
        raise StreamerError(str(error)) from error


def guard_figures(frame: SafeFrame) -> GuardFigures | None:
    """Return what the guard found in a frame; None if it compared nothing."""
    guard = frame.guard
    if not guard.compared:
        return None
    from models.identity.recognizer import TOO_LIKE
    from streamer.audit.log import GuardFigures

    return GuardFigures(
        guard.compared, guard.highest if guard.highest > -1 else None, TOO_LIKE, escalations=guard.escalated
    )
