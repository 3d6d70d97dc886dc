"""A reply that differs from the one before only in its numbers is to the byte what the encoder makes of it."""

import itertools
import math
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from offboard_client import wire
from offboard_client.errors import BadMessage, Busy, DialectUnsupported
from offboard_client.wire import SEQ
from offboard_core import Chunk, CodecMeta
from offboard_core.frontends.v1 import V1

CODEC = SimpleNamespace(meta=CodecMeta())
DTYPES = st.sampled_from(("<f4", ">f4", "<f8", "<f2", "<i8", "|u1", "|b1"))
SHAPES = arrays.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=6) | st.sampled_from(
    ((37, 2), (2048,), (4096, 1))
)
TIMING = st.fixed_dictionaries(
    {name: st.floats(0, 1e6) for name in ("decode_ms", "infer_ms", "total_ms")} | {"batch": st.integers(1, 300)}
)
SEQS = st.none() | st.sampled_from((0, 1, 127, 128, 65535, 65536, 2**32, 2**63, -1, -129)) | st.integers(0, 2**64 - 1)


@st.composite
def actions(draw):
    dtype, shape = np.dtype(draw(DTYPES)), draw(SHAPES)
    data = np.random.default_rng(draw(st.integers(0, 9))).bytes(dtype.itemsize * math.prod(shape))
    made = np.frombuffer(data, dtype).reshape(shape)
    return made[..., ::-1] if draw(st.booleans()) else np.asfortranarray(made) if draw(st.booleans()) else made


@st.composite
def chunks(draw):
    action = draw(actions())
    times = draw(st.none() | st.sampled_from(("<f8", "<f4")))
    if draw(st.integers(0, 3)) == 3:
        action = {"target_joints": action, "target_grip": action}
    length = len(action["target_grip"]) if isinstance(action, dict) else len(action)
    return Chunk(action, None if times is None else np.arange(length, dtype=times))


RESULTS = chunks() | st.sampled_from((None, Busy("later")))
REPLIES = st.tuples(RESULTS, TIMING, SEQS, st.sampled_from(([], [], [], ["50 % of it"])))


def serializer(query=b"dialect=offboard&layout=columns"):
    return V1().connect({"path": "/api/v1/session", "query_string": query, "headers": []}).serializer(CODEC)


def by_the_encoder(result, timing, seq, warnings):
    if isinstance(result, Chunk):
        columns = {"action": result.action} | ({} if result.timestamp is None else {"timestamp": result.timestamp})
        frame = {"result": {"columns": columns} if len(result) else []}
    else:
        frame = {"result": None} if result is None else {"error": result.text, "code": result.code}
    more = ({"warnings": warnings} if warnings else {}) | ({} if seq is None else {SEQ: seq})
    return wire.encode(frame | {"timing": timing} | more)


@given(st.lists(REPLIES, min_size=1, max_size=6))
def test_every_reply_is_what_the_encoder_makes_of_it(replies):
    one = serializer()
    for result, timing, seq, warnings in [each for each in replies for _ in range(2)]:
        observation = {} if seq is None else {SEQ: seq}
        assert one.write(result, timing, observation, warnings) == by_the_encoder(result, timing, seq, warnings)


@pytest.mark.parametrize("times", [None, np.arange(50) / 10])
def test_the_encoder_is_asked_once_for_a_form(times, monkeypatch):
    asked = []
    monkeypatch.setattr(wire, "encode", lambda value, encode=wire.encode: (asked.append(value), encode(value))[1])
    monkeypatch.setattr(wire.Encoder, "whole", lambda *_: pytest.fail("it was asked for a whole reply"))
    one = serializer()
    for seq in range(5):
        written = one.write(Chunk(np.full((50, 8), seq, "<f4"), times), {"infer_ms": float(seq)}, {SEQ: seq}, [])
        assert wire.decode(written)["result"]["columns"]["action"][0, 0] == seq
    assert len([value for value in asked if isinstance(value, dict)]) == 1


@pytest.mark.parametrize("dtype", [complex, object])
def test_what_has_no_form_on_the_wire_is_refused_as_ever(dtype):
    one = serializer()
    for _ in range(2):
        with pytest.raises(BadMessage, match="no form on the wire"):
            one.write(Chunk(np.zeros((4, 4), dtype)), {}, {SEQ: 1}, [])


def test_other_layouts_and_dialects_are_written_as_they_were():
    chunk = Chunk(np.zeros((2, 7)), np.arange(2.0))
    assert isinstance(wire.decode(serializer(b"dialect=offboard").write(chunk, {}, {SEQ: 1}, []))["result"], list)
    with pytest.raises(DialectUnsupported, match="Positronic's rows"):
        serializer(b"dialect=positronic&layout=columns").write(chunk, {}, {SEQ: 1}, [])


def test_another_dtype_or_shape_is_another_form():
    one, made = (
        serializer(),
        [np.ones(shape, dtype) for shape in ((4, 6), (6, 4), (4, 3, 2)) for dtype in ("<f4", "<i4")],
    )
    for times in (None, "<f8", "<f4"):
        for action in [one_of_two for pair in itertools.product(made, made) for one_of_two in pair]:
            chunk = Chunk(action, None if times is None else np.arange(len(action), dtype=times))
            assert one.write(chunk, {}, {SEQ: 1}, []) == by_the_encoder(chunk, {}, 1, [])


def test_what_was_asked_as_text_is_answered_as_text():
    one, chunk = serializer(), Chunk(np.zeros((4, 4)))
    assert isinstance(one.write(chunk, {}, {SEQ: 1}, []), bytes)
    observation, _ = one.read(wire.encode_text({SEQ: 2}))
    assert isinstance(one.write(chunk, {}, observation, []), str)
