"""What an image file may cost: no more than its pixels, whatever else it holds."""

import io
import struct
import zlib

import msgpack
import numpy as np
import pytest
from offboard_client import wire
from offboard_client.errors import BadMessage
from offboard_client.wire import ImageBudget, decode, decode_plain
from PIL import Image

GREY = np.repeat(np.arange(0, 128, 2, dtype=np.uint8)[None], 64, axis=0)


def saved(kind, image=None, **options):
    out = io.BytesIO()
    (image or Image.fromarray(GREY)).save(out, kind, **options)
    return out.getvalue()


def chunk(kind, data=b""):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def with_chunks(*chunks, at=33):
    """A PNG with these after its header, or before its end (``at`` -12)."""
    png = saved("PNG")
    return png[:at] + b"".join(chunks) + png[at:]


def with_scans(times, **options):
    """A JPEG whose last scan comes so many times more."""
    data = saved("JPEG", **options)
    scan = data[data.rindex(b"\xff\xda") : -2]
    return data[:-2] + scan * times + data[-2:]


@pytest.mark.rule("E-17")
@pytest.mark.parametrize("options", [{"progressive": True}, {}], ids=["progressive", "baseline"])
def test_scans_are_bounded(options):
    plain = wire.decode_image(saved("JPEG", **options))
    with pytest.raises(BadMessage, match="more than 32 scans"):
        wire.decode_image(with_scans(40, **options))
    assert np.abs(wire.decode_image(with_scans(0, **options)).astype(int) - plain).max() == 0
    photo = Image.fromarray(np.stack([GREY, GREY.T, GREY[::-1]], -1))
    assert wire.decode_image(saved("JPEG", photo, progressive=True)).shape == (64, 64, 3)


@pytest.mark.rule("E-17")
@pytest.mark.parametrize(
    "padding",
    [b"\xff\xfe\x00\x02" * 9000, b"\xff\xe1\x00\x02" * 9000, b"\xff" * 9000, b"\xff\x01" * 9000],
    ids=["comments", "application", "fill", "bare"],
)
def test_what_stands_before_a_jpegs_pixels_is_bounded(padding):
    data = saved("JPEG")
    with pytest.raises(BadMessage, match=r"more than 8,192 segments"):
        wire.decode_image(data[:2] + padding + data[2:])


@pytest.mark.rule("E-17")
@pytest.mark.parametrize("at", [33, -12], ids=["before", "after"])
@pytest.mark.parametrize("kind", [b"tEXt", b"abCd", b"IDAT"])
def test_a_pngs_chunks_are_bounded(kind, at):
    with pytest.raises(BadMessage, match=r"more than 8,192 chunks"):
        wire.decode_image(with_chunks(*[chunk(kind)] * 9000, at=at))


@pytest.mark.rule("E-17")
@pytest.mark.parametrize("marker", [0xC3, 0xC5, 0xC9, 0xCA])
def test_a_jpeg_of_rare_coding_is_refused(marker):
    data = bytearray(saved("JPEG"))
    data[data.index(b"\xff\xc0") + 1] = marker
    with pytest.raises(BadMessage, match="baseline"):
        wire.decode_image(bytes(data))


@pytest.mark.rule("E-17")
def test_metadata_is_not_read():
    """Pillow refuses the first three for what they hold, and unpacks a mebibyte for each of the others."""
    bomb = zlib.compress(b"x" * 2**21, 9)
    packed = zlib.compress(b"x" * (2**20 - 1), 9)
    for evil in (
        with_chunks(chunk(b"zTXt", b"k\0\0" + bomb)),
        with_chunks(chunk(b"iTXt", b"k\0\1\0\0\0" + bomb)),
        with_chunks(*[chunk(b"zTXt", b"k\0\0" + packed)] * 70),
        with_chunks(*[chunk(b"iCCP", b"k\0\0" + packed)] * 70),
        with_chunks(*[chunk(b"zTXt", b"k\0\0" + packed)] * 70, at=-12),
    ):
        assert np.array_equal(wire.decode_image(evil)[..., 0], GREY)
    exif = b"Exif\0\0" + b"\xff" * 60000
    data = saved("JPEG")
    padded = data[:2] + (b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif) * 50 + data[2:]
    assert np.array_equal(wire.decode_image(padded), wire.decode_image(data))
    with Image.open(io.BytesIO(wire.essence(padded))) as image:
        assert "exif" not in image.info
    with Image.open(io.BytesIO(wire.essence(with_chunks(chunk(b"zTXt", b"k\0\0" + packed))))) as image:
        assert image.text == {}


def test_colours_are_read_as_the_application_says():
    """Adobe's segment tells CMYK stored upside down, and RGB stored without conversion."""
    cmyk = Image.new("CMYK", (8, 8), (0, 255, 255, 0))
    assert tuple(wire.decode_image(saved("JPEG", cmyk, quality=95))[4, 4]) == pytest.approx((255, 0, 0), abs=3)
    kept = saved("JPEG", Image.new("RGB", (8, 8), (250, 10, 20)), quality=95, keep_rgb=True)
    assert tuple(wire.decode_image(kept)[4, 4]) == pytest.approx((250, 10, 20), abs=3)


def test_of_an_animation_the_first_frame_is_taken():
    frames = [Image.new("RGB", (8, 8), (level, 0, 0)) for level in (10, 200)]
    data = saved("PNG", frames[0], save_all=True, append_images=frames[1:])
    assert b"acTL" in data
    assert (wire.decode_image(data)[..., 0] == 10).all()


def test_bytes_between_the_segments_of_a_jpeg_are_passed_over():
    data = saved("JPEG")
    assert np.array_equal(wire.decode_image(data[:2] + b"\0" * 10 + data[2:]), wire.decode_image(data))


@pytest.mark.rule("E-16")
def test_one_budget_holds_for_all_images_of_a_message():
    budget = ImageBudget()
    for _ in range(2):
        budget.take(4096, 4096)
    with pytest.raises(BadMessage, match=r"more than 33,554,432 pixels together"):
        budget.take(1, 1)
    frame = wire.encode_image(np.zeros((8, 8, 3), np.uint8))
    two = msgpack.packb([{b"__jpeg__": True, b"frames": [frame], b"ndim": 3}] * 2)
    decode(two, budget=ImageBudget(2 * 128 * 128))
    with pytest.raises(BadMessage, match="together"):
        decode(two, budget=ImageBudget(2 * 128 * 128 - 1))
    budget = ImageBudget(3 * 128 * 128)
    decode(two, budget=budget)
    wire.decode_image(frame, budget)
    with pytest.raises(BadMessage, match="together"):
        wire.decode_image(frame, budget)


def test_what_is_read_plainly_makes_no_array_and_no_image(monkeypatch):
    monkeypatch.setattr("offboard_client.wire.images.decode_image", lambda *_: pytest.fail("an image was decoded"))
    for marker in (
        {b"__jpeg__": True, b"frames": [wire.encode_image(np.zeros((8, 8, 3), np.uint8))], b"ndim": 3},
        {"__jpeg__": True, "frames": [b"x"], "ndim": 3},
        {b"__ndarray__": True, b"data": b"", b"dtype": "|O", b"shape": [2**40, 0]},
        {b"__npgeneric__": True, b"data": 1, b"dtype": "<f4"},
    ):
        assert decode_plain(msgpack.packb({"x": marker})) == {"x": marker}
