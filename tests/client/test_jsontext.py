"""Text frames: JSON as RFC 8259 has it, bounded like binary frames."""

import contextlib
import json
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from offboard_client.errors import BadMessage
from offboard_client.wire import WireLimits, decode_text, encode_text

plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(), inner, max_size=5),
    max_leaves=20,
)


@given(plain)
def test_plain_data_comes_back(value):
    assert decode_text(encode_text(value)) == value


@pytest.mark.rule("E-6")
def test_arrays_are_nested_lists():
    value = {
        "result": [{"action": np.eye(2, dtype=np.float32)}],
        "n": np.int64(3),
        "ok": np.bool_(True),
        "f": np.float64(0.1),
    }
    assert json.loads(encode_text(value)) == {"result": [{"action": [[1, 0], [0, 1]]}], "n": 3, "ok": True, "f": 0.1}


@pytest.mark.parametrize(
    "value",
    [float("nan"), np.array([np.inf]), np.float32("nan"), b"bytes", {"x": object()}, {(1, 2): 3}, np.array([1j])],
)
def test_what_json_cannot_say_is_refused(value):
    with pytest.raises(BadMessage, match="JSON"):
        encode_text({"x": value})


def test_a_value_that_contains_itself_is_refused():
    value: list = []
    value.append(value)
    with pytest.raises(BadMessage):
        encode_text(value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        ("{'a': 1}", "not JSON"),
        ('{"a": 1} x', "not JSON"),
        ('{"a": NaN}', "NaN"),
        ('{"a": -Infinity}', "Infinity"),
        ('{"a": 1e999}', "finite"),
        ('{"a": -1e999}', "finite"),
        ('{"a": 1, "a": 2}', "twice"),
        ('{"a": 123456789012345678901}', "64 bits"),
        ('{"a": ' + "9" * 100_000 + "}", "64 bits"),
        ('{"a": "\\ud800"}', "surrogate"),
        ('{"\\udc00": 1}', "surrogate"),
        ("[" * 33 + "]" * 33, "nested"),
        ("[" * 5000 + "]" * 5000, "nested"),
        ('{"a":' * 5000 + "1" + "}" * 5000, "nested"),
        ("[" * 99_999, "not JSON|nested"),
    ],
)
def test_what_is_not_json_is_refused(text, says):
    with pytest.raises(BadMessage, match=says):
        decode_text(text)


def test_a_whole_surrogate_pair_is_one_character():
    assert decode_text('"\\ud83e\\udd16"') == "\U0001f916"


@pytest.mark.rule("E-13")
@pytest.mark.parametrize("entry", ["[]", "{}", '"ab"', "1.5", "1"])
def test_many_small_values_are_refused_before_they_are_built(entry):
    evil = "[" + ",".join([entry] * 2_000_000) + "]"
    tracemalloc.start()
    try:
        with pytest.raises(BadMessage, match="holds more"):
            decode_text(evil)
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


def test_the_limits_are_those_that_were_set():
    small = WireLimits(message_bytes=100, elements=10, map_keys=2, depth=2)
    decode_text('{"a": [1, 2], "b": 3}', small)
    for text, says in [
        (" " * 101, "100"),
        ('{"a":1,"b":2,"c":3}', "map"),
        ("[[[]]]", "nested"),
        ("[1,1,1,1,1,1,1,1,1,1,1,1]", "more"),
    ]:
        with pytest.raises(BadMessage, match=says):
            decode_text(text, small)


@pytest.mark.parametrize("examples", [300, pytest.param(2000, marks=pytest.mark.slow)])
def test_random_text_raises_nothing_but_bad_message(examples):
    @given(st.text() | st.text('{}[]",:0123456789.eE+-\\unulltrefas'))
    @settings(max_examples=examples)
    def read(text):
        with contextlib.suppress(BadMessage):
            decode_text(text)

    read()
