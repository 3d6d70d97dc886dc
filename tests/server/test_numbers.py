"""Every error that answers an observation carries its number, also of one that was never read."""

import json
import threading
from dataclasses import dataclass

import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from offboard_client import Busy, InferenceClient, InferTimeout, wire
from offboard_core import Codec, CodecEntry, CodecMeta, InferenceServer, hookimpl
from offboard_core.engine import ModelThread, ServiceTimeouts
from offboard_core.frontends import both_ends, find_seq
from puppets import PATIENCE, Door, Puppet, source
from robots import robot

pytestmark = pytest.mark.rule("L-13")

QUICK = ServiceTimeouts(close=0.2, linger=0.0)
QUERIES = ["dialect=offboard", "dialect=positronic", "dialect=offboard&layout=columns"]
PICTURE = np.zeros((100, 100, 3), np.uint8)


@pytest.fixture
def late(monkeypatch):
    """Once it is set, whatever has not been answered is too late."""
    passed, expire = threading.Event(), ModelThread.expire
    monkeypatch.setattr(ModelThread, "expire", lambda self, limit: expire(self, 0.0 if passed.is_set() else limit))
    return passed


def arrived(*robots):
    """What these have sent has been taken in."""
    for one in robots:
        assert one.connection.ping().wait(PATIENCE)


def frame(seq, text):
    """An observation as offboard's client sends it: its number last."""
    if text:
        return json.dumps({"robot_state.q": [0.1] * 200, "offboard.seq": seq})
    return bytes(wire.encode({"image.wrist": PICTURE, "offboard.seq": seq}))


@pytest.mark.parametrize("text", [False, True])
@pytest.mark.parametrize("query", QUERIES)
def test_a_timeout_of_what_was_never_read_carries_its_number(query, text, late):
    with Door() as door:
        served = source({"a": lambda: Puppet(doors={0: door})}, fps=10)
        with (
            InferenceServer({"": served}, port=0, limits=QUICK) as server,
            robot(server, query=query) as first,
            robot(server, query=query) as behind,
        ):
            first.opened()
            behind.opened()
            first.send(frame(7, text))
            assert door.entered.wait(PATIENCE)
            behind.send(frame(2**40, text))
            arrived(behind)
            late.set()
            for one, seq in ((first, 7), (behind, 2**40)):
                reply = one.receive()
                assert (reply["code"], reply["offboard.seq"]) == ("timeout", seq)
            door.open()


@dataclass(frozen=True)
class Slow(Codec):
    """Stops in the translation of an observation, which is when nobody else may use the serializer."""

    door: Door

    @property
    def meta(self):
        return CodecMeta(action_fps=10.0)

    def encode(self, observation):
        self.door.passing()
        return dict(observation)

    def decode(self, chunk, observation):
        return chunk


@pytest.mark.parametrize("text", [False, True])
@pytest.mark.parametrize("query", QUERIES)
def test_a_timeout_of_what_is_being_read_carries_its_number(query, text, late):
    class Plugin:
        @hookimpl
        def offboard_codecs(self):
            yield CodecEntry(name="slow", summary="Slow.", factory=lambda options, checkpoint: Slow(door))

    with Door() as door:
        served = source({"a": Puppet}, codec="slow", plugin=Plugin())
        with InferenceServer({"": served}, port=0, limits=QUICK) as server, robot(server, query=query) as one:
            one.opened()
            one.send(frame(-5, text))
            assert door.entered.wait(PATIENCE)
            late.set()
            reply = one.receive()
            assert (reply["code"], reply["offboard.seq"]) == ("timeout", -5)
            door.open()


@pytest.mark.rule("L-6")
@pytest.mark.parametrize("text", [False, True])
def test_an_observation_too_many_is_refused_under_its_own_number(text):
    with Door() as door:
        served = source({"a": lambda: Puppet(doors={0: door})}, fps=10)
        with InferenceServer({"": served}, port=0) as server, robot(server, query="dialect=offboard") as one:
            one.opened()
            one.send(frame(1, text))
            assert door.entered.wait(PATIENCE)
            one.send(frame(2, text))
            arrived(one)
            door.open()
            replies = [one.receive(), one.receive()]
    assert ["result" in reply for reply in replies] == [True, False]
    assert [reply["offboard.seq"] for reply in replies] == [1, 2]
    assert replies[1]["code"] == Busy.code


@pytest.mark.parametrize("query", QUERIES)
def test_what_cannot_be_decoded_is_refused_under_its_number(query):
    odd = {b"__ndarray__": True, b"data": b"", b"dtype": "|O", b"shape": [0]}
    served = source({"a": Puppet}, fps=10)
    with InferenceServer({"": served}, port=0) as server, robot(server, query=query) as one:
        one.opened()
        for seq, frame in (
            (3, msgpack.packb({"image.wrist": odd, "offboard.seq": 3})),
            (4, msgpack.packb({"offboard.seq": 4, "image.wrist": odd})),
            (5, '{"robot_state.q": [NaN], "offboard.seq": 5}'),
            (6, msgpack.packb({"type": "x" * 600, "offboard.seq": 6})),
        ):
            reply = one.ask(frame)
            assert (reply["code"], reply["offboard.seq"]) == ("bad_message", seq)
        # A number that was left over would be the next one's.
        assert "offboard.seq" not in one.ask({})


def test_the_clients_go_on_after_it(late):
    with Door() as door:
        served = source({"a": lambda: Puppet(doors={0: door})}, fps=10)
        with (
            InferenceServer({"": served}, port=0, limits=QUICK) as server,
            InferenceClient(server.host, server.port) as client,
            client.new_session() as first,
            client.new_session() as behind,
        ):

            def ask():
                with pytest.raises(InferTimeout):
                    first.infer({"robot_state.q": np.zeros(7)})

            asking = threading.Thread(target=ask)
            asking.start()
            assert door.entered.wait(PATIENCE)
            late.set()
            with pytest.raises(InferTimeout, match="did not answer"):
                behind.infer({"image.wrist": PICTURE})
            asking.join(PATIENCE)
            late.clear()
            door.open()
            assert len(behind.infer({"image.wrist": PICTURE})) == 2


numbers = st.integers(-(2**63), 2**63 - 1)
names = st.dictionaries(st.text(max_size=20), st.one_of(st.integers(0, 9), st.text(max_size=300)), max_size=40)


@given(names, numbers, st.booleans(), st.booleans())
def test_the_first_or_last_name_is_found_however_long_the_frame_is(others, seq, last, text):
    others.pop("offboard.seq", None)
    number = {"offboard.seq": seq}
    value = {**others, **number} if last else {**number, **others}
    made = json.dumps(value) if text else bytes(wire.encode(value))
    assert find_seq(made) == find_seq(both_ends(made)) == seq


@given(st.one_of(st.binary(max_size=200), st.text(max_size=200), names.map(json.dumps)))
def test_what_has_no_number_has_none(frame):
    if "offboard.seq" not in (frame if isinstance(frame, str) else frame.decode("latin-1")):
        assert find_seq(frame) is None


@pytest.mark.parametrize(
    "value",
    [
        {"a": {"offboard.seq": 3}, "b": 1},
        {"task": "offboard.seq", "n": 3},
        {"task": '"offboard.seq": 3}', "n": "x"},
        {"offboard.seq": None},
        {"offboard.seq": 1.5},
        {"offboard.seq": "7"},
        {},
    ],
)
def test_what_only_looks_like_one_is_none(value):
    assert find_seq(json.dumps(value)) is None
    assert find_seq(bytes(wire.encode(value))) is None


@pytest.mark.parametrize("cut", range(1, 24))
def test_a_cut_off_frame_has_none_and_breaks_nothing(cut):
    whole = bytes(wire.encode({"offboard.seq": 2**40}))
    assert find_seq(whole[:-cut]) is None
