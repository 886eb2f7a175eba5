"""Makes what other programs make of pictures: a HEIC of tiles, colour profiles."""

from __future__ import annotations

import io
import struct
from collections.abc import Sequence

import numpy as np
import pillow_heif
from PIL import Image as Pillow

from streamer.types import Image


def heic(image: Image, *, mode: str = "RGB") -> bytes:
    """Return a HEIC file of one picture."""
    file, data = pillow_heif.from_pillow(Pillow.fromarray(image).convert(mode)), io.BytesIO()
    file.save(data, quality=95)
    return data.getvalue()


def tiled_heic(tiles: Sequence[Image], *, columns: int, size: tuple[int, int]) -> bytes:
    """Return a HEIC file as telephones write it: square tiles of one size, row by row, cut to `size` (ISO 23008-12)."""
    files, side, count = [heic(tile) for tile in tiles], tiles[0].shape[0], len(tiles)
    at = files[0].index(b"hvcC")
    configuration = files[0][at - 4 : at - 4 + int.from_bytes(files[0][at - 4 : at])]
    payloads = [file[file.index(b"mdat") + 4 :] for file in files]
    grid = struct.pack(">BBBBHH", 0, 0, count // columns - 1, columns - 1, *size)
    kinds = [*[b"hvc1"] * count, b"grid"]
    entries = [_box("infe", struct.pack(">HH4sB", i, 0, kind, 0), version=2) for i, kind in enumerate(kinds, 1)]
    properties = configuration + _box("ispe", struct.pack(">II", side, side), version=0)
    properties += _box("ispe", struct.pack(">II", *size), version=0)
    used = b"".join(struct.pack(">HBBB", i, 2, 0x81, 2) for i in range(1, count + 1))
    used += struct.pack(">HBB", count + 1, 1, 3)
    references = _box("dimg", struct.pack(f">HH{count}H", count + 1, count, *range(1, count + 1)))

    def meta(start: int) -> bytes:
        places = struct.pack(">HHHHIII", count + 1, 1, 0, 1, 0, len(grid), 0)[:-4]
        for i, payload in enumerate(payloads, 1):
            places += struct.pack(">HHHHII", i, 0, 0, 1, start, len(payload))
            start += len(payload)
        return _box(
            "meta",
            _box("hdlr", struct.pack(">I4s12xB", 0, b"pict", 0), version=0)
            + _box("pitm", struct.pack(">H", count + 1), version=0)
            + _box("iinf", struct.pack(">H", count + 1) + b"".join(entries), version=0)
            + _box("iref", references, version=0)
            + _box("iprp", _box("ipco", properties) + _box("ipma", struct.pack(">I", count + 1) + used, version=0))
            + _box("idat", grid)
            + _box("iloc", struct.pack(">HH", 0x4400, count + 1) + places, version=1),
            version=0,
        )

    head = _box("ftyp", b"heic\0\0\0\0mif1heic")
    start = len(head) + len(meta(0)) + 8  # of the first payload
    return head + meta(start) + _box("mdat", b"".join(payloads))


def _box(kind: str, content: bytes, *, version: int | None = None) -> bytes:
    full = b"" if version is None else struct.pack(">I", version << 24)
    return struct.pack(">I4s", 8 + len(full) + len(content), kind.encode()) + full + content


def matrix_profile(red: Sequence[float], green: Sequence[float], blue: Sequence[float], *, gamma: float) -> bytes:
    """Return an ICC profile: XYZ (D50) of the primaries, and a gamma (ICC.1:2001-04, 6.3)."""

    def xyz(values: Sequence[float]) -> bytes:
        return b"XYZ \0\0\0\0" + np.round(np.array(values) * 65536).astype(">i4").tobytes()

    name = b"wide"
    tags = {
        b"desc": b"desc\0\0\0\0" + struct.pack(">I", len(name) + 1) + name + bytes(80),
        b"wtpt": xyz([0.9642, 1.0, 0.8249]),
        b"rXYZ": xyz(red), b"gXYZ": xyz(green), b"bXYZ": xyz(blue),
        **{b"%cTRC" % c: b"curv\0\0\0\0" + struct.pack(">IHH", 1, round(gamma * 256), 0) for c in b"rgb"},
    }  # fmt: skip
    table, content, start = struct.pack(">I", len(tags)), b"", 132 + 12 * len(tags)
    for tag, data in tags.items():
        padded = data + bytes(-len(data) % 4)
        table += struct.pack(">4sII", tag, start + len(content), len(data))
        content += padded
    kinds = (b"mntr", b"RGB ", b"XYZ ", b"acsp")
    head = struct.pack(">I4xI4s4s4s12x4s28xiii", start + len(content), 0x02100000, *kinds, 63190, 65536, 54061)
    return head.ljust(128, b"\0") + table + content
