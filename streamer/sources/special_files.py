"""Paths that are no regular files: pipes, devices, sockets."""

from __future__ import annotations

import stat
from pathlib import Path

KINDS = {
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def special_kind(path: Path) -> str:
    """Return "a pipe", "a socket" or "a device"; "" for a file, a folder, and what is not there."""
    try:
        return KINDS.get(stat.S_IFMT(path.stat().st_mode), "")
    except OSError:  # said by whoever opens it
        return ""
