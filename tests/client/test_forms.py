"""Arrays in the forms of msgpack-numpy and GR00T: read by our own allow-list, or named."""

import io
import pickle

import msgpack
import numpy as np
import pytest
from offboard_client import wire
from offboard_client.errors import BadMessage
from offboard_client.wire import read_forms, refuse_forms

ARRAYS = [
    np.arange(6, dtype="<f4").reshape(2, 3),
    np.array([True, False]),
    np.zeros((0, 7), "<f8"),
    np.array(3.5),
    np.arange(24, dtype="|u1").reshape(2, 3, 4),
    np.asfortranarray(np.arange(6, dtype=">i4").reshape(2, 3)),
    np.float16(np.ones(1)),
]


def encoded(array, text=False):
    """As msgpack-numpy 0.4.8 writes it, or one that was packed with keys of text."""
    made = {"nd": True, "type": array.dtype.str, "kind": b"", "shape": array.shape, "data": array.tobytes()}
    return made if text else {name.encode(): value for name, value in made.items()}


def npy(array, **how):
    file = io.BytesIO()
    np.lib.format.write_array(file, array, **how)
    return {"__ndarray_class__": True, "as_npy": file.getvalue()}


def read(value):
    """Across the wire, as a frontend reads it."""
    return read_forms(wire.decode(msgpack.packb(value)))


@pytest.mark.parametrize("array", ARRAYS, ids=lambda a: f"{a.dtype.str}{a.shape}")
@pytest.mark.parametrize(
    "form",
    [
        encoded,
        lambda a: encoded(a, text=True),
        npy,
        lambda a: npy(a, version=(2, 0)),
        lambda a: {name.encode(): value for name, value in npy(a).items()},
    ],
    ids=["msgpack_numpy", "text_keys", "npy1", "npy2", "npy_bytes_keys"],
)
def test_an_array_is_read_bit_for_bit(array, form):
    found = read({"images": {"wrist": form(array)}, "state": [form(array), 1.5]})
    for one in (found["images"]["wrist"], found["state"][0]):
        assert (one.dtype, one.shape) == (array.dtype, array.shape)
        np.testing.assert_array_equal(one, array)
        assert not one.flags.writeable
    assert found["state"][1] == 1.5


def test_a_scalar_is_read():
    value = np.float32(0.25)
    found = read({"grip": {b"nd": False, b"type": "<f4", b"data": value.tobytes()}})["grip"]
    assert (found, found.dtype) == (value, value.dtype)


PICKLE = pickle.dumps(np.array([print]))
STRUCTURED = np.zeros(2, [("a", "<f4"), ("b", "<i4")])


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ({**encoded(ARRAYS[0]), b"kind": b"O", b"data": PICKLE}, "kind 'O' is refused: its data is a pickle"),
        ({**encoded(ARRAYS[0]), b"kind": [b"O"]}, "it holds no plain numbers"),
        ({**encoded(ARRAYS[0]), b"kind": b"V", b"type": [[b"a", b"<f4"]]}, "kind 'V' is refused"),
        ({**encoded(ARRAYS[0]), b"type": "|O"}, r"dtype '\|O' is refused"),
        ({**encoded(ARRAYS[0]), b"type": "<c8"}, "dtype '<c8' is refused"),
        ({**encoded(ARRAYS[0]), b"type": 4}, "'dtype' as str"),
        ({**encoded(ARRAYS[0]), b"shape": [7]}, "28 bytes, and 24 came"),
        ({**encoded(ARRAYS[0]), b"shape": [-1]}, "whole numbers"),
        ({**encoded(ARRAYS[0]), b"shape": [1] * 9}, "9 dimensions"),
        ({**encoded(ARRAYS[0]), b"data": "text"}, "'data' as bytes"),
        ({b"nd": False, b"type": "<f8", b"data": b"123"}, "8 bytes, and 3 came"),
        ({b"complex": True, b"data": "(1+2j)"}, "form of a complex number"),
        (npy(np.array([print], object)), r"dtype '\|O' is refused"),
        (npy(STRUCTURED), "no header of an array of plain numbers"),
        (npy(np.array(["text"])), "dtype '<U4' is refused"),
        ({"__ndarray_class__": True, "as_npy": "text"}, "no npy file"),
        ({"__ndarray_class__": True}, "no npy file"),
        ({"__ndarray_class__": True, "as_npy": b"\x93NUMPY\1\0\xff\xff" + b"(" * 70000}, "no header of"),
        ({"__ndarray_class__": True, "as_npy": npy(ARRAYS[0])["as_npy"][:-1]}, "24 bytes, and 23 came"),
        ({"__ndarray_class__": True, "as_npy": npy(ARRAYS[0])["as_npy"][:40]}, "no header of"),
        ({"__ModalityConfig__": True, "as_json": "{}"}, "GR00T's form of a ModalityConfig"),
        ({b"__tensor__": True, b"data": b"", b"dtype": "float32", b"shape": [0]}, "dtype 'float32' is refused"),
        ({"__numpy__": "AAAA", "dtype": "<f4", "shape": [1]}, "json_numpy's form"),
    ],
)
def test_what_the_allow_list_refuses_is_named(value, says):
    with pytest.raises(BadMessage, match=f"^images/wrist: .*{says}"):
        read({"images": {"wrist": value}})


@pytest.mark.parametrize("value", [encoded(ARRAYS[0]), npy(ARRAYS[0])])
def test_where_they_are_not_read_they_are_named(value):
    with pytest.raises(BadMessage, match=r"^state: it comes in (msgpack-numpy|GR00T)'s form .*__ndarray__"):
        refuse_forms(wire.decode(msgpack.packb({"state": value})))


@pytest.mark.parametrize(
    "value", [{"nd": True}, {"nd": "x", "type": 1}, {"complex": True}, {b"nd": None}, {"images": {}}, [], 5, "text"]
)
def test_what_only_looks_like_one_stays_what_it_is(value):
    assert read({"x": value}) == {"x": value}
    refuse_forms({"x": value})
