"""JPEG and PNG: what is decoded, what is refused before it is decoded, and how an image is shrunk."""

import io
import struct
import subprocess
import sys
import tracemalloc
import zlib

import msgpack
import numpy as np
import PIL
import pytest
from offboard_client import wire
from offboard_client.errors import BadMessage
from offboard_client.wire import decode
from PIL import Image

PILLOW = tuple(map(int, PIL.__version__.split(".")[:2]))


def smooth(height, width):
    """A picture without hard edges, so that JPEG changes it little."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([x * 255 // width, y * 255 // height, (x + y) * 255 // (width + height)], -1).astype(np.uint8)


def encoded(image, kind="PNG", **options):
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def forged_jpeg(width, height):
    """A small JPEG whose header claims another size."""
    data = bytearray(wire.encode_image(smooth(8, 8)))
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = struct.pack(">HH", height, width)
    return bytes(data)


def forged_png(width, height):
    data = bytearray(encoded(Image.fromarray(smooth(8, 8))))
    data[16:24] = struct.pack(">II", width, height)
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    return bytes(data)


def test_an_image_survives_jpeg_within_a_few_grey_levels():
    image = smooth(48, 64)
    found = wire.decode_image(wire.encode_image(image, quality=95))
    assert found.shape == (48, 64, 3)
    assert found.dtype == np.uint8
    assert not found.flags.writeable
    assert np.abs(found.astype(int) - image).max() < 12


def test_png_is_exact():
    image = smooth(5, 7)
    assert np.array_equal(wire.decode_image(encoded(Image.fromarray(image))), image)


@pytest.mark.parametrize("mode", ["L", "1", "P"])
@pytest.mark.parametrize("kind", ["PNG"])
def test_grey_and_palette_become_rgb(mode, kind):
    picture = Image.fromarray(smooth(16, 16)).convert(mode)
    found = wire.decode_image(encoded(picture, kind))
    assert np.array_equal(found, np.asarray(picture.convert("RGB")))


def test_cmyk_jpegs_become_rgb():
    red = Image.new("RGB", (16, 16), (255, 0, 0)).convert("CMYK")
    found = wire.decode_image(encoded(red, "JPEG", quality=95))
    assert np.abs(found.astype(int) - (255, 0, 0)).max() < 12


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_alpha_is_refused(mode):
    with pytest.raises(BadMessage, match="alpha"):
        wire.decode_image(encoded(Image.new(mode, (4, 4))))


def test_a_transparent_colour_is_refused():
    with pytest.raises(BadMessage, match="alpha"):
        wire.decode_image(encoded(Image.new("P", (4, 4)), transparency=0))


def test_sixteen_bits_are_refused():
    with pytest.raises(BadMessage, match="8 bits"):
        wire.decode_image(encoded(Image.fromarray(np.zeros((4, 4), np.uint16))))
    rgb16 = bytearray(encoded(Image.new("RGB", (1, 1))))
    rgb16[24] = 16
    rgb16[29:33] = struct.pack(">I", zlib.crc32(rgb16[12:29]))
    with pytest.raises(BadMessage, match="8 bits"):
        wire.decode_image(bytes(rgb16))


@pytest.mark.rule("E-14")
@pytest.mark.parametrize("forge", [forged_jpeg, forged_png])
@pytest.mark.parametrize("size", [(30000, 30000), (12000, 12000), (8193, 1), (1, 8193), (4097, 4096)])
def test_a_forged_size_is_refused_without_memory(forge, size):
    evil = forge(*size)
    assert len(evil) < 2000
    tracemalloc.start()
    try:
        for read in (wire.decode_image, wire.image_size):
            with pytest.raises(BadMessage, match="8192 pixels a side"):
                read(evil)
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


@pytest.mark.rule("E-14")
def test_a_forged_size_costs_the_process_no_memory():
    # tracemalloc does not see what Pillow allocates in C; the process's own peak does.
    code = (
        "import resource, sys\nimport numpy as np\nfrom offboard_client import BadMessage, wire\n"
        "wire.decode_image(wire.encode_image(np.zeros((8, 8, 3), np.uint8)))\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "try:\n    wire.decode_image(sys.stdin.buffer.read())\nexcept BadMessage:\n"
        "    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000)"
    )
    if sys.platform == "win32":
        pytest.skip("the resource module is POSIX")
    evil = forged_jpeg(30000, 30000)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], input=evil, capture_output=True, timeout=600, check=False
    )
    assert done.stdout.split() == [b"True"], done.stderr


@pytest.mark.parametrize("data", [b"", b"not an image", b"\xff\xd8\xff", encoded(Image.new("RGB", (4, 4)), "GIF")])
def test_what_is_not_jpeg_or_png_is_refused(data):
    with pytest.raises(BadMessage, match="not a JPEG or PNG"):
        wire.decode_image(data)


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_a_truncated_image_is_refused_unless_every_pixel_came(kind):
    whole = encoded(Image.fromarray(smooth(16, 16)), kind)
    pixels = wire.decode_image(whole)
    refused = 0
    for end in range(len(whole)):
        try:
            found = wire.decode_image(whole[:end])
        except BadMessage:
            refused += 1
        else:
            assert np.array_equal(found, pixels)
    assert refused >= len(whole) - 20  # what follows the pixels of a PNG


@pytest.mark.parametrize(
    "array",
    [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8)],
)
def test_only_rgb_images_are_encoded_and_shrunk(array):
    for use in (wire.encode_image, lambda a: wire.shrink(a, 2, 2)):
        with pytest.raises(BadMessage, match="uint8 RGB"):
            use(array)


def with_size(data, height, width):
    data = bytearray(data)
    at = max(data.find(frame) for frame in (b"\xff\xc0", b"\xff\xc2"))
    data[at + 5 : at + 9] = struct.pack(">HH", height, width)
    return bytes(data)


def without_half(data):
    return data[: len(data) // 2] + b"\xff\xd9"


def with_zeros(data):
    at = data.index(b"\xff\xda") + 100
    return data[:at] + bytes(400) + data[at + 400 :]


def without_a_restart(data):
    at = data.index(b"\xff\xd0")
    return data[:at] + data[at + 2 :]


DAMAGE = {
    "half of it, with an end put on": without_half,
    "nothing, with an end put on": lambda data: data[: data.index(b"\xff\xda") + 14] + b"\xff\xd9",
    "a header that says it is taller": lambda data: with_size(data, 96, 64),
    "one that says it is lower": lambda data: with_size(data, 24, 64),
    "one that says it is wider": lambda data: with_size(data, 48, 128),
    "one that says it is narrower": lambda data: with_size(data, 48, 32),
    "zeros in its midst": with_zeros,
}
NOISE = np.random.default_rng(0).normal(0, 20, (48, 64, 3))
NOISY = Image.fromarray((smooth(48, 64) + NOISE).clip(0, 255).astype(np.uint8))


@pytest.mark.rule("E-17")
@pytest.mark.parametrize("progressive", [False, True], ids=["baseline", "progressive"])
@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_jpeg_is_no_picture_of_anything(damage, progressive):
    """Decoders fill up with grey what they do not find, and say so to nobody who does not ask."""
    whole = encoded(NOISY, "JPEG", progressive=progressive)
    assert wire.decode_image(whole).shape == (48, 64, 3)
    with pytest.raises(BadMessage, match=r"cannot be decoded \(.*\): it is damaged, cut short or coded in a rare way"):
        wire.decode_image(damage(whole))


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_a_damaged_jpeg_of_other_colours_is_none_either(mode):
    with pytest.raises(BadMessage, match="damaged, cut short"):
        wire.decode_image(without_half(encoded(NOISY.convert(mode), "JPEG")))


@pytest.mark.skipif(PILLOW < (10, 2), reason="Pillow writes restart markers since 10.2")
def test_a_restart_that_is_lost_shifts_the_picture():
    with pytest.raises(BadMessage, match="damaged, cut short"):
        wire.decode_image(without_a_restart(encoded(NOISY, "JPEG", restart_marker_blocks=4)))


@pytest.mark.parametrize("padding", [b"\0", b"\0\0", b"\x12" * 16])
def test_the_bytes_that_cameras_put_before_the_end_damage_nothing(padding):
    whole = encoded(NOISY, "JPEG")
    padded = whole[:-2] + padding + whole[-2:]
    assert np.array_equal(wire.decode_image(padded), wire.decode_image(whole))
    with pytest.raises(BadMessage, match="damaged, cut short"):
        wire.decode_image(without_half(whole)[:-2] + padding + b"\xff\xd9")


@pytest.mark.parametrize(("mode", "subsampling"), [("RGB", 0), ("RGB", 1), ("RGB", 2), ("L", 0), ("CMYK", 0)])
@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("size", [(64, 48), (61, 43), (1, 1)])
def test_a_jpegs_pixels_are_pillows(mode, subsampling, progressive, size):
    data = encoded(NOISY.resize(size).convert(mode), "JPEG", progressive=progressive, subsampling=subsampling)
    expected = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    assert np.array_equal(wire.decode_image(data), expected)


@pytest.mark.parametrize("quality", [0, 96])
def test_the_quality_is_checked(quality):
    with pytest.raises(ValueError, match="quality"):
        wire.encode_image(smooth(4, 4), quality)


@pytest.mark.parametrize(
    ("size", "limit", "expected"),
    [
        ((480, 640), (224, 224), (168, 224)),
        ((720, 1280), (224, 224), (125, 224)),  # int(), not round(): 720 * 0.175 is a little less than 126
        ((640, 480), (224, 224), (224, 168)),
        ((100, 7), (50, 50), (50, 3)),
        ((1000, 2), (10, 10), (10, 1)),
        ((224, 224), (224, 224), (224, 224)),
        ((100, 100), (224, 224), (100, 100)),
    ],
)
def test_shrinking_keeps_the_aspect_and_never_enlarges(size, limit, expected):
    image = smooth(*size)
    found = wire.shrink(image, *limit)
    assert found.shape == (*expected, 3)
    if size == expected:
        assert np.array_equal(found, image)
    else:
        resized = Image.fromarray(image).resize((expected[1], expected[0]), Image.Resampling.BILINEAR)
        assert np.array_equal(found, np.asarray(resized))


def jpeg_marker(frames, **parts):
    return msgpack.packb({b"__jpeg__": True, b"frames": frames, **{k.encode(): v for k, v in parts.items()}})


@pytest.mark.rule("E-4")
def test_positronics_jpeg_frames_are_arrays():
    frame = wire.encode_image(smooth(16, 24))
    pixels = wire.decode_image(frame)
    assert np.array_equal(decode(jpeg_marker([frame], ndim=3)), pixels)
    assert np.array_equal(decode(jpeg_marker([frame] * 3, ndim=4)), np.stack([pixels] * 3))
    assert decode(jpeg_marker([frame] * 4, shape=[2, 2, 16, 24, 3])).shape == (2, 2, 16, 24, 3)
    assert decode(jpeg_marker([], shape=[0, 16, 24, 3])).shape == (0, 16, 24, 3)
    assert not decode(jpeg_marker([frame], ndim=3)).flags.writeable


@pytest.mark.rule("E-4", "E-14")
def test_jpeg_frames_that_do_not_fit_their_marker_are_refused():
    frame, other = wire.encode_image(smooth(16, 24)), wire.encode_image(smooth(24, 16))
    for evil in [
        jpeg_marker([frame, frame], ndim=3),
        jpeg_marker([], ndim=4),
        jpeg_marker([frame], ndim=5),
        jpeg_marker([frame, other], ndim=4),
        jpeg_marker([frame] * 2, shape=[2, 24, 16, 3]),
        jpeg_marker([frame], shape=[-1, 16, 24, 3]),
        jpeg_marker([forged_jpeg(30000, 30000)], ndim=3),
        jpeg_marker([forged_jpeg(4096, 4096)] * 3, ndim=4),
    ]:
        with pytest.raises(BadMessage):
            decode(evil)
