"""The binary encoding: the bytes that openpi and Positronic write, and nothing that could hurt a decoder."""

import contextlib
import subprocess
import sys
import tracemalloc

import msgpack
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from offboard_client.errors import BadMessage
from offboard_client.wire import Encoder, WireLimits, decode, encode

GOLDEN = [
    (
        {"x": np.array([1, 2], np.float32)},
        "81a17884c40b5f5f6e6461727261795f5fc3c40464617461c4080000803f00000040c4056474797065a33c6634c40573686170659102",
    ),
    ({"x": np.uint8(3)}, "81a17883c40d5f5f6e7067656e657269635f5fc3c4046461746103c4056474797065a37c7531"),
    ({"status": "ready", "meta": {}}, "82a6737461747573a57265616479a46d65746180"),
]
DTYPES = ["?", "i1", "i2", "<i4", ">i8", "u1", "<u2", ">u4", "u8", "<f2", ">f4", "<f8"]
# A map that holds the name of a marker is a marker.
names = st.text().filter(lambda name: not name.startswith("__"))
plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(names, inner, max_size=5),
    max_leaves=20,
)
arrays = st.sampled_from(DTYPES).flatmap(lambda dtype: npst.arrays(dtype, npst.array_shapes(min_dims=0, min_side=0)))


def marker(**parts):
    return msgpack.packb({b"__ndarray__": True, **{name.encode(): part for name, part in parts.items()}})


@pytest.mark.rule("E-1", "E-2")
@pytest.mark.parametrize(("value", "golden"), GOLDEN)
def test_the_bytes_are_those_of_openpi_and_positronic(value, golden):
    assert encode(value).hex() == golden
    np.testing.assert_equal(decode(bytes.fromhex(golden)), value)


def test_an_encoder_writes_the_same_bytes_again_and_again():
    encoder = Encoder()
    for value, golden in [*GOLDEN, *GOLDEN]:
        with encoder.encode(value) as view:
            assert view.hex() == golden


def test_an_encoder_survives_what_it_cannot_encode():
    encoder = Encoder()
    with pytest.raises(BadMessage):
        encoder.encode({"x": object()})
    with pytest.raises(BadMessage):
        encoder.whole({"y": [1, object()]})
    with encoder.encode({"x": 1}) as view:
        assert decode(view) == {"x": 1} == decode(encoder.whole({"x": 1}))


@given(plain)
def test_plain_data_comes_back(value):
    assert decode(encode(value)) == value


@given(arrays)
def test_arrays_come_back_with_their_dtype_shape_and_byte_order(array):
    found = decode(encode([array]))[0]
    assert found.dtype == array.dtype
    assert found.dtype.str == array.dtype.str
    assert found.shape == array.shape
    assert found.tobytes() == array.tobytes()
    assert not found.flags.writeable


@pytest.mark.parametrize("array", [np.arange(24).reshape(2, 3, 4).T, np.arange(10)[::2], np.asfortranarray(np.eye(3))])
def test_arrays_that_are_not_contiguous_arrive_in_c_order(array):
    found = decode(encode({"x": array}))["x"]
    assert np.array_equal(found, array)
    assert found.flags.c_contiguous


def test_scalars_keep_their_dtype():
    scalars = [np.bool_(True), np.int8(-1), np.uint64(2**64 - 1), np.float32(0.5), np.float16(2)]
    for scalar in scalars:
        found = decode(encode(scalar))
        assert found == scalar
        assert found.dtype == scalar.dtype


def test_tuples_and_read_only_maps_are_lists_and_maps():
    from types import MappingProxyType

    assert decode(encode(MappingProxyType({"shape": (1, 2)}))) == {"shape": [1, 2]}


@pytest.mark.rule("E-3")
def test_markers_with_str_keys_are_read():
    array = msgpack.packb({"__ndarray__": True, "data": b"\1\2", "dtype": "|u1", "shape": [2]})
    scalar = msgpack.packb({"__npgeneric__": True, "data": 1.5, "dtype": "<f4"})
    assert decode(array).tolist() == [1, 2]
    assert decode(scalar) == np.float32(1.5)


@pytest.mark.rule("E-9")
@pytest.mark.parametrize(
    "dtype", ["|O", "O", "|V8", "<c8", "<U2", "|S8", "<M8[ns]", "<f16", "f4,f4", "float32", "", "=f4"]
)
def test_only_plain_number_dtypes_are_decoded(dtype):
    with pytest.raises(BadMessage, match="dtype"):
        decode(marker(data=b"12345678", dtype=dtype, shape=[1]))


def test_a_dtype_of_objects_does_not_crash_the_process():
    code = (
        "import msgpack\nfrom offboard_client import BadMessage\nfrom offboard_client.wire import decode\n"
        "evil = msgpack.packb({b'__ndarray__': True, b'data': b'12345678', b'dtype': '|O', b'shape': [1]})\n"
        "try:\n    print(decode(evil)[0])\nexcept BadMessage:\n    print('refused')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=600, check=False)
    assert (done.returncode, done.stdout) == (0, "refused\n"), done.stderr


@pytest.mark.rule("E-10")
@pytest.mark.parametrize(
    "shape", [[-1], [-1, -2], [1] * 9, [2.0], [True, 2], ["2"], [None], [0, 2**63], [2**64 - 1, 0]]
)
def test_impossible_shapes_are_refused(shape):
    with pytest.raises(BadMessage, match=r"shape|dimensions"):
        decode(marker(data=b"12", dtype="|u1", shape=shape))


@pytest.mark.rule("E-11")
@pytest.mark.parametrize(("size", "shape"), [(7, [2]), (9, [2]), (0, [1]), (8, []), (8, [2**40, 2**40]), (4, [0])])
def test_data_is_exactly_as_long_as_its_shape_says(size, shape):
    with pytest.raises(BadMessage, match="bytes"):
        decode(marker(data=bytes(size), dtype="<f4", shape=shape))


@pytest.mark.parametrize(
    "value",
    [
        {b"__ndarray__": True},
        {b"__ndarray__": True, b"data": "text", b"dtype": "|u1", b"shape": [4]},
        {b"__ndarray__": True, b"data": b"", b"dtype": 5, b"shape": [0]},
        {b"__ndarray__": True, b"data": b"", b"dtype": "|u1", b"shape": 0},
        {b"__npgeneric__": True, b"data": 256, b"dtype": "|u1"},
        {b"__npgeneric__": True, b"data": 1.5, b"dtype": "<i4"},
        {b"__npgeneric__": True, b"data": True, b"dtype": "<i4"},
        {b"__npgeneric__": True, b"data": 1, b"dtype": "|b1"},
        {b"__npgeneric__": True, b"dtype": "<f4"},
        {b"__npgeneric__": True, b"data": b"12345678", b"dtype": "|O"},
        {b"__jpeg__": True, b"frames": "x", b"ndim": 3},
        {b"__jpeg__": True, b"frames": [1], b"ndim": 3},
        {b"__jpeg__": True, b"frames": [], b"ndim": 3},
    ],
)
def test_broken_markers_are_refused(value):
    with pytest.raises(BadMessage):
        decode(msgpack.packb(value))


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "cut short"),
        (b"\xc1", "not a msgpack"),
        (b"\x01\x02", "follow"),
        (b"\xa2\xff\xff", "UTF-8"),
        (b"\x81\x01\x02", "map key"),
        (b"\x81\x91\x01\x02", "map key"),
        (b"\x82\xa1a\x01\xa1a\x02", "twice"),
        (b"\xd6\xff\x00\x00\x00\x01", "timestamps"),
        (b"\xc7\x00\x05", "extension"),
        (b"\xd4\x01\x00", "extension"),
        (b"\xdd\xff\xff\xff\xff", "cut short|list"),
        (b"\xdf\xff\xff\xff\xff", "cut short|map"),
        (b"\xc6\xff\xff\xff\xff", "cut short|max_bin_len"),
    ],
)
def test_what_is_not_one_plain_message_is_refused(data, says):
    with pytest.raises(BadMessage, match=says):
        decode(data)


@pytest.mark.rule("E-13")
def test_sixteen_mebibytes_of_empty_maps_are_refused_before_they_are_built():
    maps = b"\x80" * 2**24
    in_lists = b"\xdc\x1f\xff" + (b"\xdc\x1f\xff" + b"\x80" * 8191) * 2048
    for evil in (b"\xdd" + len(maps).to_bytes(4, "big") + maps, in_lists):
        tracemalloc.start()
        try:
            with pytest.raises(BadMessage, match=r"list|holds more"):
                decode(evil)
            assert tracemalloc.get_traced_memory()[1] < 32 * 2**20
        finally:
            tracemalloc.stop()


@pytest.mark.rule("E-13")
def test_headers_that_claim_more_than_the_message_holds_reserve_little():
    # Each list says that it has 8,000 entries, and begins with the next one.
    evil = b"\xdc\x1f\x40" * 1000 + b"\x80" * 2**16
    tracemalloc.start()
    try:
        with pytest.raises(BadMessage):
            decode(evil)
        assert tracemalloc.get_traced_memory()[1] < 80 * 2**20
    finally:
        tracemalloc.stop()


@pytest.mark.rule("E-13")
@pytest.mark.parametrize("depth", [33, 500, 1000, 5000, 100_000])
@pytest.mark.parametrize("level", [b"\x91", b"\x81\xa1a"])
def test_nesting_is_limited(depth, level):
    with pytest.raises(BadMessage, match="nested"):
        decode(level * depth + b"\x01")


@pytest.mark.parametrize("level", [b"\x91", b"\x81\xa1a"])
def test_nesting_up_to_the_limit_is_fine(level):
    decode(level * 32 + b"\x01")


@pytest.mark.rule("E-13")
def test_the_limits_are_those_that_were_set():
    small = WireLimits(message_bytes=2000, elements=20, list_length=10, map_keys=4, depth=3)
    decode(encode([1] * 10), small)
    for value, says in [
        ([1] * 11, "list"),
        ({str(i): i for i in range(5)}, "map"),
        ([[1, 2, 3]] * 6, "holds more"),
        ([[[[1]]]], "nested"),
        (b"x" * 2001, "2,000"),
    ]:
        with pytest.raises(BadMessage, match=says):
            decode(encode(value), small)


@given(plain | arrays)
@settings(max_examples=60)
def test_every_truncation_is_refused(value):
    whole = encode([value])
    for end in range(len(whole)):
        with pytest.raises(BadMessage):
            decode(whole[:end])


@pytest.mark.parametrize("examples", [300, pytest.param(2000, marks=pytest.mark.slow)])
def test_random_bytes_raise_nothing_but_bad_message(examples):
    @given(st.binary(max_size=200))
    @settings(max_examples=examples)
    def read(data):
        with contextlib.suppress(BadMessage):
            decode(data)

    read()


@pytest.mark.parametrize("examples", [150, pytest.param(2000, marks=pytest.mark.slow)])
def test_a_damaged_message_raises_nothing_but_bad_message(examples):
    @given(arrays, st.data())
    @settings(max_examples=examples, suppress_health_check=list(HealthCheck))
    def read(array, draw):
        whole = bytearray(encode({"image.wrist": array, "task": "pick", "state": {"q": [1.5, 2]}}))
        for _ in range(draw.draw(st.integers(1, 3))):
            whole[draw.draw(st.integers(0, len(whole) - 1))] = draw.draw(st.integers(0, 255))
        with contextlib.suppress(BadMessage):
            decode(whole)

    read()


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ({"a": [1, {"b": {1, 2}}]}, r"value\['a'\]\[1\]\['b'\].*set"),
        ({"x": np.array([object()])}, r"value\['x'\].*dtype object"),
        ({"x": np.array([1j])}, "complex"),
        ({"x": np.array(["a"])}, "dtype <U1"),
        ({"x": np.zeros(2, "V4")}, "dtype"),
        ({"x": np.datetime64("2026-01-01")}, "dtype"),
        ({"x": 2**70}, r"value\['x'\]"),
        ({"x": 1j}, "complex"),
        ({"s": "\ud800"}, "surrogates"),
        ({"x": np.ma.array([1, 2], mask=[0, 1])}, "mask"),
    ],
)
def test_what_has_no_form_on_the_wire_is_named(value, says):
    with pytest.raises(BadMessage, match=says):
        encode(value)


def test_a_value_that_contains_itself_is_refused():
    value: list = []
    value.append(value)
    with pytest.raises(BadMessage, match="contains itself"):
        encode(value)
