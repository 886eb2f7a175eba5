"""Sample sheets: many pictures in one, as a PNG, with nothing but the standard library."""

from __future__ import annotations

import struct
import zlib

import torch
from torch import Tensor

_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def grid(pictures: Tensor, columns: int) -> Tensor:
    """Return `(N, 3, H, W)` pictures in [-1, 1] as one `(3, rows * H, columns * W)` uint8, row by row.

    Raises:
        ValueError: If `columns` does not divide N.
    """
    count, channels, height, width = pictures.shape
    if count % columns:
        raise ValueError(f"{count} pictures do not fill rows of {columns}")
    pixels = ((pictures.float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    rows = pixels.view(-1, columns, channels, height, width)
    return rows.permute(2, 0, 3, 1, 4).reshape(channels, -1, columns * width).cpu()


def png(picture: Tensor) -> bytes:
    """Return a PNG file of a `(3, H, W)` uint8 RGB picture (ISO 15948: 8 bits, no filter, one chunk of data)."""
    _, height, width = picture.shape
    pixels = picture.permute(1, 2, 0).reshape(height, 3 * width)
    filtered = torch.cat([torch.zeros(height, 1, dtype=torch.uint8), pixels], dim=1)  # filter type 0 before each row
    header = struct.pack(">2I5B", width, height, 8, 2, 0, 0, 0)  # bits, RGB, deflate, filter method, no interlace
    data = zlib.compress(filtered.numpy().tobytes())
    return _SIGNATURE + _chunk(b"IHDR", header) + _chunk(b"IDAT", data) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
