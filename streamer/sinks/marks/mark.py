"""Says in a file, so that programs can read it, that faces in it were generated: IPTC's digital source type, as XMP.

IPTC defines `compositeWithTrainedAlgorithmicMedia` as a mix of captured and generated elements: what a drawn face in a
filmed scene is. The European AI Act (Article 50(2)) asks for a mark that machines can read.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from pathlib import Path

from av.container.input import InputContainer
from av.container.output import OutputContainer

import streamer
from streamer.types import SafeFrame

SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
NOTE = "Faces in this were replaced by generated ones"
TOOL = f"Veil {streamer.__version__}"
XMP = f"""<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
 xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmlns:dc="http://purl.org/dc/elements/1.1/" xmp:CreatorTool="{TOOL}"
 Iptc4xmpExt:DigitalSourceType="{SOURCE_TYPE}">
<dc:description><rdf:Alt><rdf:li xml:lang="x-default">{NOTE}</rdf:li></rdf:Alt></dc:description>
</rdf:Description></rdf:RDF></x:xmpmeta>
<?xpacket end="r"?>""".encode()
XMP_BOX = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")  # the type of XMP's box in MP4 and QuickTime
TAGS = {"comment": NOTE, "DigitalSourceType": SOURCE_TYPE}  # of a container
TAGS_BY_NAME = "+use_metadata_tags"  # or MP4 and QuickTime hold only the tags that they have codes for
BOXED = (".mp4", ".mov")
TIFF_DESCRIPTION, TIFF_XMP = 270, 700
ASCII, BYTE = 2, 1


def shows_generated(frame: SafeFrame) -> bool:
    """Return whether a face was drawn in a frame."""
    return any(face.tier == "generated" for face in frame.faces)


def marked(data: bytes) -> bytes:
    """Return a picture file with the mark; one of a kind that has no place for it, such as BMP, as it is."""
    for start, add in _KINDS.items():
        if data.startswith(start):
            return add(data)
    return data


def is_marked(container: InputContainer) -> bool:
    """Return whether a container carries the tags."""
    return SOURCE_TYPE in container.metadata.values()


def add_tags(container: OutputContainer) -> None:
    """Let a container carry the tags; before its first packet, and after its other options are set."""
    container.metadata.update(TAGS)
    flags = container.container_options.get("movflags", "")
    container.container_options["movflags"] = flags + TAGS_BY_NAME


def append_xmp(path: Path) -> None:
    """Add the mark to the end of a whole MP4 or QuickTime file, as a box that players pass over; others have no place.

    Raises:
        OSError: If it cannot be written.
    """
    if path.suffix.lower() not in BOXED:
        return
    with path.open("ab") as file:
        file.write(struct.pack(">I4s", 24 + len(XMP), b"uuid") + XMP_BOX + XMP)


def _in_png(data: bytes) -> bytes:
    start = 8 + 25  # after the signature and the header
    text = b"XML:com.adobe.xmp\0\0\0\0\0" + XMP
    comment = b"Comment\0" + NOTE.encode()
    return data[:start] + _chunk(b"iTXt", text) + _chunk(b"tEXt", comment) + data[start:]


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def _in_jpeg(data: bytes) -> bytes:
    start = 2
    if data[2:4] == b"\xff\xe0":  # JFIF, which comes first
        start += 2 + int.from_bytes(data[4:6])
    xmp = b"http://ns.adobe.com/xap/1.0/\0" + XMP
    segments = b"".join(
        marker + struct.pack(">H", 2 + len(content)) + content
        for marker, content in ((b"\xff\xe1", xmp), (b"\xff\xfe", NOTE.encode()))
    )
    return data[:start] + segments + data[start:]


def _in_webp(data: bytes) -> bytes:
    """Make the simple file an extended one, which alone has a place for XMP; other kinds stay as they are."""
    if data[8:16] == b"WEBPVP8 ":  # lossy
        width, height = (int.from_bytes(data[at : at + 2], "little") % 0x4000 - 1 for at in (26, 28))
        alpha = 0
    elif data[8:16] == b"WEBPVP8L":  # lossless
        bits = int.from_bytes(data[21:25], "little")
        width, height, alpha = bits & 0x3FFF, bits >> 14 & 0x3FFF, bits >> 28 & 1
    else:
        return data
    sizes = width.to_bytes(3, "little") + height.to_bytes(3, "little")
    extended = struct.pack("<4sIB3x", b"VP8X", 10, 0x04 | alpha << 4) + sizes
    body = b"WEBP" + extended + data[12:] + _even(struct.pack("<4sI", b"XMP ", len(XMP)) + XMP)
    return struct.pack("<4sI", b"RIFF", len(body)) + body


def _in_tiff(data: bytes) -> bytes:
    """Write the list of tags anew at the end, with the mark among them."""
    (start,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, start)
    entries = [data[start + 2 + 12 * n : start + 14 + 12 * n] for n in range(count)]
    data = _even(data)
    for tag, kind, content in ((TIFF_DESCRIPTION, ASCII, NOTE.encode() + b"\0"), (TIFF_XMP, BYTE, XMP)):
        entries = [entry for entry in entries if int.from_bytes(entry[:2], "little") != tag]
        entries.append(struct.pack("<HHII", tag, kind, len(content), len(data)))
        data += _even(content)
    entries.sort(key=lambda entry: int.from_bytes(entry[:2], "little"))
    listed = struct.pack("<H", len(entries)) + b"".join(entries) + bytes(4)
    return data[:4] + struct.pack("<I", len(data)) + data[8:] + listed


def _even(data: bytes) -> bytes:
    return data + bytes(len(data) % 2)


_KINDS: dict[bytes, Callable[[bytes], bytes]] = {
    b"\x89PNG": _in_png, b"\xff\xd8\xff": _in_jpeg, b"RIFF": _in_webp, b"II*\0": _in_tiff
}  # fmt: skip
