"""What a layout reads is what the decoder reads, and what it does not know it leaves to the decoder."""

import struct
import weakref

import msgpack
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from offboard_client.wire import Layouts, decode, encode

DTYPES = ["?", "i1", "<i2", ">i4", "u1", "<u2", "u8", "<f2", ">f4", "<f8"]
NAMES = st.text(max_size=40).filter(lambda name: not name.startswith("__"))
NUMBERS = st.integers(-(2**63), 2**64 - 1) | st.floats()
ARRAYS = st.sampled_from(DTYPES).flatmap(
    lambda dtype: npst.arrays(dtype, npst.array_shapes(min_dims=0, min_side=0, max_side=5))
)
LEAVES = st.none() | st.booleans() | NUMBERS | st.text(max_size=50) | ARRAYS
OBSERVATIONS = st.dictionaries(
    NAMES, LEAVES | st.dictionaries(NAMES, LEAVES | st.dictionaries(NAMES, LEAVES, max_size=2), max_size=4), max_size=8
)
#: Layouts of one session, bytes of one beside its arrays, bytes of an array that is a view, messages that are let pass.
MOST, LARGEST, VIEWED, LONGEST_PAUSE = 4, 4096, 4096, 4096
PICTURE = np.arange(VIEWED, dtype=np.uint8)


def learnt(message, value=None):
    layouts = Layouts()
    for _ in range(2):
        layouts.learn(message, decode(message) if value is None else value)
    return layouts


def spelt(value):
    """All there is to say about a value: NaN, -0.0, byte order, and whether it can be written to."""
    if isinstance(value, dict):
        return [(name, spelt(part)) for name, part in value.items()]
    if isinstance(value, np.ndarray):
        return (value.dtype.str, value.shape, value.tobytes(), value.flags.writeable, value.flags.c_contiguous)
    return (type(value), struct.pack("d", value) if type(value) is float else value)


def other(value, draw):
    """Another number of the kind, another array of the dtype and shape, in maps as well."""
    if isinstance(value, dict):
        return {name: other(part, draw) for name, part in value.items()}
    if isinstance(value, np.ndarray):
        return np.frombuffer(draw(st.binary(min_size=value.nbytes, max_size=value.nbytes)), value.dtype).reshape(
            value.shape
        )
    return draw(NUMBERS) if type(value) in (int, float) else value


@given(OBSERVATIONS, st.data())
def test_a_message_with_other_numbers_is_read_as_the_decoder_reads_it(observation, data):
    first = encode(observation)
    layouts = learnt(first)
    assert spelt(layouts.read(first)) == spelt(decode(first))
    again = encode({name: other(value, data.draw) for name, value in observation.items()})
    assume(len(again) == len(first))
    found = layouts.read(again)  # a number may have come in another of msgpack's forms
    assert found is None or spelt(found) == spelt(decode(again))


@given(OBSERVATIONS, st.data())
def test_a_mutated_message_is_none_of_its_or_what_the_decoder_makes_of_it(observation, data):
    message = bytearray(encode({**observation, "seq": data.draw(st.integers(0, 2**40))}))
    layouts = learnt(bytes(message))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(message) - 1))
        how = data.draw(st.sampled_from(["byte", "cut", "more", "swap"]))
        if how == "byte":
            message[at] = data.draw(st.integers(0, 255))
        elif how == "cut":
            del message[max(1, at) :]
        elif how == "more":
            message[at:at] = data.draw(st.binary(min_size=1, max_size=3))
        else:
            message[at:] = message[at:][::-1]
    found = layouts.read(bytes(message))
    if found is not None:
        assert spelt(found) == spelt(decode(bytes(message)))


def test_every_byte_that_is_no_number_is_compared():
    observation = {"q": np.zeros(3, np.float32), "n": 300, "small": 5, "below": -3, "x": 0.5, "ok": True, "task": "go"}
    message = encode(observation)
    layouts = learnt(message)
    free = 3 * 4 + 2 + 1 + 1 + 8
    changed = 0
    for at in range(len(message)):
        one = bytearray(message)
        one[at] ^= 0x01
        found = layouts.read(bytes(one))
        if found is not None:
            changed += 1
            assert spelt(found) == spelt(decode(bytes(one)))
    assert changed == free


@pytest.mark.parametrize(("number", "wider"), [(0, 0xE0), (127, 0x80), (-1, 0x00), (-32, 0xDF)])
def test_a_number_in_its_first_byte_is_only_one_of_its_kind(number, wider):
    message = encode({"n": number})
    layouts = learnt(message)
    assert layouts.read(message) == {"n": number}
    assert layouts.read(message[:-1] + bytes([wider])) is None


@pytest.mark.parametrize(
    "value",
    [
        {"jpeg": b"\xff\xd8"},
        {"list": [1, 2]},
        {"map of many": {str(i): i for i in range(40)}},
        {"maps in maps": {"a": {str(i): {"b": 1} for i in range(40)}}},
        {"deep": {"a": {"a": {"a": {"jpeg": b""}}}}},
        {"bytes in a map": {"a": b"1234"}},
        {"scalar": np.float32(1)},
        {f"name {i}": i for i in range(40)},
        {"task": "x" * LARGEST},
    ],
    ids=lambda value: next(iter(value))[:20],
)
def test_what_is_no_map_of_texts_numbers_and_arrays_is_not_learnt(value):
    message = encode(value)
    assert learnt(message).read(message) is None


@pytest.mark.parametrize("keys", [str, str.encode])
def test_arrays_are_learnt_in_either_spelling(keys):
    marker = {"__ndarray__": True, "data": b"1234", "dtype": "<f4", "shape": [1]}
    message = msgpack.packb({"q": {keys(name): part for name, part in marker.items()}})
    assert spelt(learnt(message).read(message)) == spelt(decode(message))


def test_what_came_once_is_not_learnt():
    message = encode({"n": 1})
    layouts = Layouts()
    layouts.learn(message, {"n": 1})
    assert layouts.read(message) is None


def test_maps_in_a_map_are_made_anew_each_time():
    message = encode({"result": {"columns": {"action": PICTURE[:8]}}, "timing": {"infer_ms": 0.5, "more": {}}, "n": 1})
    layouts = learnt(message)
    one, two = layouts.read(message), layouts.read(message)
    assert spelt(one) == spelt(decode(message))
    one["timing"]["infer_ms"] = one["timing"]["more"]["x"] = 3
    assert spelt(two) == spelt(layouts.read(message)) == spelt(decode(message))


def test_names_are_those_that_the_caller_made_of_them():
    message = encode({"prompt": "go", "q": PICTURE})
    assert list(learnt(message, {"task": "go", "q": PICTURE}).read(message)) == ["task", "q"]


def test_large_bytes_are_views_and_all_else_is_copied():
    message = encode({"image": PICTURE, "q": PICTURE[:8], "depth": np.zeros(VIEWED, np.float32)})
    whole = np.frombuffer(message, np.uint8)
    for data in (message, memoryview(message)):
        found = learnt(data).read(data)
        assert [np.shares_memory(found[name], whole) for name in ("image", "q", "depth")] == [True, False, False]
        assert not any(array.flags.writeable for array in found.values())
        assert found["depth"].flags.aligned


def test_what_can_be_written_to_is_left_to_the_decoder():
    message = encode({"image": PICTURE})
    layouts = learnt(message)
    assert layouts.read(message) is not None
    for data in (bytearray(message), memoryview(bytearray(message))):
        assert layouts.read(data) is None
        assert learnt(data, decode(message)).read(message) is None


def test_a_layout_keeps_no_message_and_no_array():
    owner = np.frombuffer(encode({"image": PICTURE, "n": 1}), np.uint8).copy()
    message = owner.data.toreadonly()
    value = decode(message)
    gone = [weakref.ref(owner), weakref.ref(value["image"])]
    layouts = learnt(message, value)
    assert layouts.read(message) is not None
    del owner, message, value
    assert [one() for one in gone] == [None, None]
    assert layouts.read(encode({"image": PICTURE, "n": 2}))["n"] == 2


def test_a_handful_is_kept_and_the_oldest_goes():
    layouts, messages = Layouts(), [encode({f"image {i}": PICTURE[i:]}) for i in range(2 * MOST)]
    for message in messages:
        for _ in range(20):  # enough of them to repay it
            if layouts.read(message) is None:
                layouts.learn(message, decode(message))
    assert [layouts.read(message) is not None for message in messages] == [False] * MOST + [True] * MOST


def test_of_those_that_nothing_is_like_only_the_last_is_kept():
    layouts, messages = Layouts(), [encode({f"image {i}": PICTURE[i:]}) for i in range(2 * MOST)]
    for message in messages:
        for _ in range(LONGEST_PAUSE):
            if layouts.read(message) is not None:
                break
            layouts.learn(message, decode(message))
    assert [layouts.read(message) is not None for message in messages] == [False] * (2 * MOST - 1) + [True]


def test_two_kinds_in_turn_are_both_learnt():
    layouts, messages = Layouts(), [encode({"image": PICTURE, "q": PICTURE[:8]}), encode({"q": PICTURE[:8]})]
    for message in messages * 4:
        if layouts.read(message) is None:
            layouts.learn(message, decode(message))
    assert all(layouts.read(message) is not None for message in messages)


@pytest.mark.parametrize("alike", [0, 1, 7])
def test_who_is_seldom_alike_is_looked_at_more_and_more_seldom(alike):
    looked = []

    class Value(dict):
        def items(self):
            looked.append(self)
            return super().items()

    layouts, same = Layouts(), encode({"q": PICTURE[:8]})
    read = 0
    for i in range(10_000):
        for message, value in [(same, {"q": PICTURE[:8]})] * alike + [
            (encode({"task": f"{i:08}"}), {"task": f"{i:08}"})
        ]:
            if layouts.read(message) is None:
                layouts.learn(message, Value(value))
            else:
                read += 1
    assert 1 <= len(looked) <= 15 + read // 4
