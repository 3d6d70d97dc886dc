"""What of a JPEG or PNG file its pixels need, and no file that costs far more than it weighs.

Pillow reads metadata in Python, and all of it: a megabyte of padding costs it a second, 60 KB of packed text 64 MB.
"""

from __future__ import annotations

from ..errors import BadMessage

#: Segments or chunks of one file. libpng makes a chunk of every 8 KB.
MAX_PARTS = 8192
#: A scan of thirty bytes costs as much time as the whole image; progressive files have about ten.
MAX_SCANS = 32
_PNG_MAGIC, _JPEG_MAGIC = b"\x89PNG\r\n\x1a\n", b"\xff\xd8"
#: PNG: header, palette, pixels, end; and transparency, for which a file is refused.
_CHUNKS = {b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS"}
_FILL, _SCAN = 0xFF, 0xDA
#: JPEG: markers without a length.
_BARE = {0x00, 0x01, *range(0xD0, 0xDA)}
#: JPEG: the frames of every camera, baseline to progressive; the others are lossless, hierarchical or arithmetic.
_FRAMES, _OTHER_FRAMES = {0xC0, 0xC1, 0xC2}, {0xC3, *range(0xC5, 0xC8), *range(0xC9, 0xCC), *range(0xCD, 0xD0)}
#: JPEG: comments and what applications add, save JFIF's and Adobe's, which say how colours are stored.
_METADATA = {*range(0xE1, 0xF0), 0xFE} - {0xEE}


def essence(data: bytes) -> bytes:
    """The file without what its pixels do not need. What is no JPEG or PNG comes back as it is.

    Raises BadMessage for more than :data:`MAX_PARTS` parts or :data:`MAX_SCANS` scans, or a JPEG of rare coding.
    """
    if data.startswith(_PNG_MAGIC):
        return _png(data)
    return _jpeg(data) if data.startswith(_JPEG_MAGIC) else data


def _png(data: bytes) -> bytes:
    view, at = memoryview(data), len(_PNG_MAGIC)
    kept = [view[:at]]
    for _ in range(MAX_PARTS):
        end = at + 12 + int.from_bytes(view[at : at + 4], "big")
        kind = data[at + 4 : at + 8]
        if kind in _CHUNKS:
            kept.append(view[at:end])
        if kind == b"IEND" or end >= len(data):
            return b"".join(kept)
        at = end
    raise BadMessage(f"the PNG has more than {MAX_PARTS:,} chunks: save it anew")


def _jpeg(data: bytes) -> bytes:
    view, at = memoryview(data), len(_JPEG_MAGIC)
    kept = [view[:at]]
    for _ in range(MAX_PARTS):
        at = data.find(b"\xff", at)
        if not 0 <= at < len(data) - 4:
            return b"".join(kept)  # cut short, which the decoder will say
        kind = data[at + 1]
        if kind == _FILL:
            at += 1
            continue
        if kind in _BARE:
            at += 2
            continue
        if kind == _SCAN:
            if data.count(b"\xff\xda", at) > MAX_SCANS:
                raise BadMessage(f"the JPEG has more than {MAX_SCANS} scans: save it as baseline, not progressive")
            return b"".join([*kept, view[at:]])
        if kind in _OTHER_FRAMES:
            raise BadMessage("the JPEG is coded as decoders rarely know it (not baseline or progressive Huffman)")
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if kind not in _METADATA:
            kept.append(view[at:end])
        at = end
    raise BadMessage(f"the JPEG has more than {MAX_PARTS:,} segments or padding bytes: save it anew")
