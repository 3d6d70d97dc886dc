"""vla-eval's wire: what is not its client's, and several shards side by side."""

import asyncio
import contextlib
import itertools
import json
from contextlib import AsyncExitStack

import msgpack
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from offboard_client.errors import BadMessage
from offboard_core import Field
from offboard_vla_eval.frontend import VLAEvalConnection
from offboard_vla_eval.messages import is_live, look, read_observation
from puppets import Door, Puppet, count_up, reached, source, until
from robots import connect_to, get
from taken_in import taken_in
from vla_eval.protocol.messages import Message, MessageType, pack_message, unpack_message
from vla_eval.protocol.numpy_codec import set_image_format
from vla_eval_harness import run, shard, speaking, url
from waits import PATIENCE
from websockets.exceptions import ConnectionClosed

pytestmark = pytest.mark.timeout(2 * PATIENCE)


def packed(kind, payload=None, seq=1):
    return pack_message(Message(MessageType(kind), {} if payload is None else payload, seq))


def raw(**entries):
    return msgpack.packb({"type": "observation", "payload": {}, "seq": 9, "timestamp": 1.5} | entries)


STATE = {"states": np.zeros(2)}


class Shard:
    """A socket, and whole messages as vla-eval packs and unpacks them."""

    def __init__(self, server, query=""):
        self._opening = connect_to(url(server, query))

    def send(self, frame):
        self.socket.send(frame)

    def hear(self):
        return unpack_message(self.socket.recv(timeout=PATIENCE))

    def ask(self, frame):
        self.send(frame)
        return self.hear()

    def silent(self):
        with pytest.raises(TimeoutError):
            self.socket.recv(timeout=0)

    def __enter__(self):
        self.socket = self._opening.__enter__()
        return self

    def __exit__(self, *raised):
        self._opening.__exit__(*raised)


@pytest.fixture(scope="module")
def server():
    with speaking(source({"it": Puppet}, inputs={"states": Field(shape=(2,), dtype="float32")})) as server:
        yield server


def test_nothing_is_said_before_the_client_does_and_only_hello_and_observations_are_answered(server):
    with Shard(server) as shard:
        hello = shard.ask(packed("hello", {"protocol_version": 1, "harness_version": "0.8.0"}, 41))
        assert (hello.type, hello.seq, hello.payload["protocol_version"]) == ("hello", 41, 1)
        for kind in ("episode_start", "episode_end", "error", "episode_start"):
            shard.send(packed(kind, {"task": {"name": "x" * 2000}}))
        action = shard.ask(packed("observation", STATE, 70_000))
        assert (action.type, action.seq) == ("action", 70_000)
        np.testing.assert_array_equal(action.payload["actions"], [1.0] * 3)
        shard.silent()


def test_what_clients_complain_of_does_not_fill_the_log(server, caplog):
    with Shard(server) as shard:
        for number in range(200):
            shard.send(packed("error", {"error": f"no {number % 150}"}))
            if number % 20 == 0:
                assert shard.ask(packed("observation", STATE)).type == "action"
    told = [record for record in caplog.records if "a vla-eval client says" in record.getMessage()]
    assert 1 <= len(told) <= 50


@pytest.mark.parametrize("form", ["png", "jpeg", "raw"])
def test_an_image_comes_as_the_array_that_it_was(form):
    policy, picture = Puppet(), np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)
    set_image_format(form)
    try:
        frame = packed("observation", {"images": {"primary": picture}})
    finally:
        set_image_format("png")
    with speaking(source({"it": lambda: policy})) as server, Shard(server) as shard:
        assert shard.ask(frame).type == "action"
    seen = policy.episodes[0].seen[0]["images/primary"]
    assert (seen.shape, seen.dtype) == (picture.shape, np.uint8)
    assert np.abs(seen.astype(int) - picture).max() == 0 or form == "jpeg"


PNG = {"__image__": True, "format": "png", "data": b"\x89PNG\r\n\x1a\n", "shape": [1, 1, 3]}


@pytest.mark.parametrize(
    ("frame", "seq", "says"),
    [
        pytest.param("text", 0, "a text frame; vla-eval's messages are msgpack", id="text"),
        pytest.param(b"", 0, "cut short", id="empty"),
        pytest.param(b"\xc1", 0, "not a msgpack message", id="no msgpack"),
        pytest.param(msgpack.packb([1, 2]), 0, "this is a list", id="a list"),
        pytest.param(
            raw(type="dance"), 9, "the type of a message is 'dance'; a client sends hello, episode_start", id="type"
        ),
        pytest.param(raw(type="action"), 9, "the type of a message is 'action'", id="ours"),
        pytest.param(raw(type=7), 9, "the type of a message is 7", id="type 7"),
        pytest.param(raw(type=["x"]), 9, "the type of a message is ['x']", id="type list"),
        pytest.param(msgpack.packb({"seq": 9}), 9, "the type of a message is None", id="no type"),
        pytest.param(
            msgpack.packb({"type": "observation", "seq": 9}), 9, "the payload of an observation is", id="none"
        ),
        pytest.param(raw(payload=[1]), 9, "the payload of an observation is a map", id="payload"),
        pytest.param(raw(seq="1"), 0, "seq is '1', expected a whole number", id="seq"),
        pytest.param(raw(seq=-1), -1, "seq is -1", id="negative"),
        pytest.param(raw(payload={1: 2}), 9, "map key", id="key"),
        pytest.param(raw(payload={b"x": 2}), 9, "names are strings", id="bytes"),
        pytest.param(raw(payload={"a/b": 1, "a": {"b": 2}}), 9, "a/b is sent twice", id="twice"),
        pytest.param(raw(payload={"task": "a", "task_description": "b"}), 9, "mean the same", id="two tasks"),
        pytest.param(raw(payload={"i": PNG}), 9, "i: ", id="no image"),
        pytest.param(raw(payload={"i": PNG | {"format": "gif"}}), 9, "the format 'gif' is not read", id="gif"),
        pytest.param(raw(payload={"i": PNG | {"shape": [2**40, 1, 3]}}), 9, "its shape as three numbers", id="vast"),
        pytest.param(raw(payload={"i": PNG | {"shape": "x"}}), 9, "its shape as three numbers", id="no shape"),
        pytest.param(raw(payload={"i": PNG | {"data": 1}}), 9, "has its bytes as data", id="no data"),
        pytest.param(raw(payload={"i": PNG | {"format": "raw", "dtype": "|O"}}), 9, "is uint8", id="objects"),
        pytest.param(
            raw(payload={"x": {"__ndarray__": True, "data": b"", "dtype": "|O", "shape": [0]}}), 9, "dtype", id="|O"
        ),
        pytest.param(raw(payload={"x": np.zeros(3).tolist() * 5000}), 9, "a list has more than", id="long"),
        pytest.param(raw(payload={"x": msgpack.ExtType(1, b"x")}), 9, "extension", id="extension"),
        pytest.param(packed("observation", {"states": np.full(2, np.inf)}, 9), 9, "not finite", id="inf"),
    ],
)
def test_what_is_no_message_is_told_why_by_its_number_and_the_session_goes_on(server, frame, seq, says):
    with Shard(server) as shard:
        told = shard.ask(frame)
        assert told.type == "error"
        assert says in told.payload["error"]
        assert told.payload["error"].startswith(told.payload["code"] + ": ")
        assert told.seq == seq
        assert shard.ask(packed("observation", STATE, 10)).seq == 10


def test_a_message_that_is_too_large_ends_its_own_session(server):
    with Shard(server) as other, Shard(server) as shard:
        assert other.ask(packed("observation", STATE)).type == "action"
        shard.send(bytes(2**25 + 1))
        with pytest.raises(ConnectionClosed, match="1009"):
            shard.hear()
        assert other.ask(packed("observation", STATE)).type == "action"


@pytest.mark.parametrize("order", [*itertools.permutations(["payload", "seq", "timestamp", "type"])], ids="-".join)
def test_entries_in_another_order_are_the_same_message(order):
    large = {"x": b"seq" * 1000}

    def frame(kind, seq, payload=large):
        whole = {"type": kind, "payload": payload, "seq": seq, "timestamp": 1.5}
        return msgpack.packb({name: whole[name] for name in order})

    with speaking(source({"it": lambda: Puppet(count_up)}), chunk_size=1) as server, Shard(server) as shard:
        assert shard.ask(frame("hello", 1, {"protocol_version": 1})).type == "hello"
        for seq in (500, 600):
            heard = shard.ask(frame("observation", seq))
            assert (heard.type, heard.seq) == ("action", seq)
        # Neither is answered, and the model's memory begins anew.
        shard.send(frame("episode_end", 700))
        shard.send(frame("episode_start", 70_000))
        heard = shard.ask(frame("observation", 70_001))
        assert (heard.seq, heard.payload["actions"].tolist()) == (70_001, [1.0] * 3)


def test_a_hello_in_mid_episode_begins_anew():
    with speaking(source({"it": lambda: Puppet(count_up)})) as server, Shard(server) as shard:
        assert shard.ask(packed("observation", STATE)).payload["actions"][0] == 1
        assert shard.ask(packed("observation", STATE)).payload["actions"][0] == 1
        assert shard.ask(packed("observation", STATE)).payload["actions"][0] == 2
        assert shard.ask(packed("hello", {"protocol_version": 1})).type == "hello"
        assert shard.ask(packed("observation", STATE)).payload["actions"][0] == 1


def test_a_hello_that_is_too_long_is_told_so_and_nothing_is_played():
    with speaking(source({"it": Puppet})) as server, Shard(server) as shard:
        for frame in (packed("hello", {"protocol_version": 1, "more": "x" * 600}), packed("observation", STATE)):
            assert (
                shard.ask(frame).payload["error"] == "bad_message: a hello is a map of fewer than 512 bytes, in msgpack"
            )
        assert shard.ask(packed("hello", {"protocol_version": 1})).type == "hello"
        assert shard.ask(packed("observation", STATE)).type == "action"


@pytest.mark.parametrize(
    ("payload", "live"),
    [
        ({"mode": "live"}, True),
        ({"task": {"mode": "sync", "x": [1] * 100}, "mode": "live"}, True),
        ({"task": {"mode": "live"}}, False),
        ({"task": b"\xa4mode\xa4live", "mode": "sync"}, False),
        ({"mode": ["live"]}, False),
        ({}, False),
        ([1], True),
        ({str(n): n for n in range(3000)}, True),
    ],
)
def test_where_physics_does_not_wait_is_said_in_one_place_and_searched_nowhere(payload, live):
    class Large(bytes):
        def __contains__(self, _: object) -> bool:
            raise AssertionError("it is searched")

    frame = msgpack.packb({"type": "episode_start", "payload": payload, "seq": 1, "timestamp": 1.5})
    assert is_live(Large(frame)) is live
    assert is_live(Large(frame[:20])), "it is cut short, and cannot be told"
    assert not is_live("live")


@pytest.mark.parametrize("payload", [{"protocol_version": 2}, {}, [1]])
def test_a_client_of_another_version_is_told_so_and_played_nothing(payload):
    policy = Puppet()
    with speaking(source({"it": lambda: policy})) as server, Shard(server) as shard:
        for frame in (packed("hello", payload, 9), packed("observation", STATE, 10)):
            told = shard.ask(frame)
            assert "of the protocol, not 1" in told.payload["error"]
        assert told.seq == 10
        assert shard.ask(packed("hello", {"protocol_version": 1})).type == "hello"
        assert shard.ask(packed("observation", STATE)).type == "action"
        assert len(policy.batches) == 1


def test_the_next_observation_before_the_answer_is_told_so_by_its_number():
    with Door() as door, taken_in(VLAEvalConnection) as frames:
        policy = Puppet(count_up, doors={0: door})
        with speaking(source({"it": lambda: policy})) as server, Shard(server) as shard:
            shard.send(packed("observation", STATE, 1))
            reached(door.entered)
            for seq in (2, 3):
                shard.send(packed("observation", STATE, seq))
            frames.wait_for(3)
            door.open()
            heard = [shard.hear() for _ in range(3)]
            assert [(one.type, one.seq) for one in heard] == [("action", 1), ("error", 2), ("error", 3)]
            assert heard[1].payload["code"] == "busy"
            assert shard.ask(packed("observation", STATE, 4)).type == "action"
            assert len(policy.batches) == 1


@pytest.mark.parametrize("boundaries", [["episode_start"], ["episode_end", "episode_start"], ["hello"]], ids=str)
def test_no_observation_is_answered_before_a_reset_that_failed_is_done(boundaries):
    policy = Puppet(count_up)
    with speaking(source({"it": lambda: policy}), chunk_size=1) as server, Shard(server) as shard:
        for count in (1.0, 2.0):
            assert shard.ask(packed("observation", STATE)).payload["actions"][0] == count
        policy.episodes[0].reset = lambda: 1 / 0
        for kind in boundaries:
            shard.send(packed(kind, {"protocol_version": 1}, 2))
        if boundaries == ["hello"]:
            assert shard.hear().type == "hello"
        for seq in (3, 4):
            told = shard.ask(packed("observation", STATE, seq))
            assert (told.type, told.seq, told.payload["code"]) == ("error", seq, "policy_failed")
        del policy.episodes[0].reset
        assert shard.ask(packed("observation", STATE, 5)).payload["actions"][0] == 1


def test_an_observation_belongs_to_the_episode_in_which_it_came():
    """It waits for the reset of its own episode, and the next one has begun when its turn comes."""
    with Door() as door, taken_in(VLAEvalConnection) as frames:
        policy = Puppet(count_up)
        with speaking(source({"it": lambda: policy})) as server, Shard(server) as shard:
            assert shard.ask(packed("observation", STATE, 1)).type == "action"
            policy.episodes[0].reset = lambda: (door.passing(), policy.episodes[0].seen.clear())
            for seq, kind in enumerate(["episode_end", "episode_start", "observation", "episode_end", "episode_start"]):
                shard.send(packed(kind, STATE if kind == "observation" else {}, 2 + seq))
            frames.wait_for(6)
            door.open()
            late = shard.hear()
            assert (late.type, late.seq, late.payload["code"]) == ("error", 4, "busy")
            assert shard.ask(packed("observation", STATE, 7)).payload["actions"][0] == 1
            assert len(policy.batches) == 2, "the model was not asked for it"


def test_an_early_message_waits_for_the_model():
    with Door() as door:

        def make():
            door.passing()
            return Puppet()

        with speaking(source({"it": make})) as server, Shard(server) as shard:
            for kind in ("episode_start", "hello", "episode_end"):
                shard.send(packed(kind, {"protocol_version": 1}, 3))
            reached(door.entered)
            door.open()
            assert shard.hear().type == "hello"


def test_a_model_is_chosen_by_the_query(server):
    with speaking(source({"a": Puppet}), source({"b": Puppet})) as server, Shard(server, "?model=m1/b") as shard:
        assert shard.ask(packed("hello", {"protocol_version": 1})).payload["checkpoint_id"] == "m1/b"
    with speaking(source({"a": Puppet})) as server:
        for query, says in {"?model=c": "there is no model 'c'", "?model=a&model=a": "it was given twice"}.items():
            with Shard(server, query) as shard, pytest.raises(ConnectionClosed, match=says):
                shard.hear()


# -- shards ------------------------------------------------------------------------------------------------------------
def test_sixteen_shards_of_the_real_client_share_the_models_calls():
    """What that saves is in benchmarks/shards.py; here that those who wait are one call, episode after episode."""
    with Door() as first, Door() as second:
        policy = Puppet(count_up, max_batch_size=16, doors={0: first, 2: second})

        async def ask(one):
            return (await one.act(STATE))["actions"]

        async def main(server):
            async with AsyncExitStack() as stack:
                shards = [await stack.enter_async_context(shard(server)) for _ in range(17)]
                for door in (first, second):
                    for one in shards:
                        await one.start_episode({"task": {"name": "count"}})
                    asked = [asyncio.ensure_future(ask(shards[0]))]
                    await asyncio.to_thread(reached, door.entered)
                    asked += [asyncio.ensure_future(ask(one)) for one in shards[1:]]
                    await asyncio.to_thread(until, lambda: in_flight(server) == 17, "sixteen wait beside the one")
                    door.open()
                    np.testing.assert_array_equal(await asyncio.gather(*asked), [[1.0] * 3] * 17)

        with speaking(source({"it": lambda: policy})) as server:
            run(main(server))
    assert [len(batch) for batch in policy.batches] == [1, 16, 1, 16]
    assert len({id(session) for batch in policy.batches for session in batch}) == 17


def in_flight(server):
    return json.loads(get(server, "/api/v1/status")[1])["in_flight"]


def test_a_shard_that_dies_while_the_model_thinks_disturbs_nobody():
    with Door() as door:
        policy = Puppet(count_up, max_batch_size=4, doors={0: door})
        with speaking(source({"it": lambda: policy})) as server, Shard(server) as one, Shard(server) as two:
            with Shard(server) as dies:
                dies.send(packed("observation", STATE))
                reached(door.entered)
                for shard in (one, two):
                    shard.send(packed("observation", STATE, 7))
                dies.socket.socket.close()
            door.open()
            for shard in (one, two):
                heard = shard.hear()
                assert heard.type == "action", heard
                np.testing.assert_array_equal(heard.payload["actions"], [1.0] * 3)


# -- at a glance -------------------------------------------------------------------------------------------------------
@given(st.sampled_from(sorted(MessageType)), st.integers(0, 2**63), st.binary(max_size=200))
@example(MessageType.OBSERVATION, 127, b"")
@example(MessageType.OBSERVATION, 128, b"\xa3seq\x05\xa9timestamp")
def test_a_glance_says_what_vla_evals_client_sends(kind, seq, data):
    frame = packed(kind.value, {"data": data, "more": {"seq": 3, "type": "hello"}}, seq)
    assert look(frame) == (kind.value, seq)


@given(
    st.one_of(
        st.binary(),
        st.recursive(
            st.none() | st.integers(-(2**63), 2**64 - 1) | st.text() | st.binary(),
            lambda inner: (
                st.lists(inner)
                | st.dictionaries(
                    st.sampled_from(
                        [
                            "type",
                            "payload",
                            "seq",
                            "timestamp",
                            "__image__",
                            "__ndarray__",
                            "data",
                            "shape",
                            "format",
                            "x",
                        ]
                    ),
                    inner,
                )
            ),
        ).map(msgpack.packb),
    )
)
def test_whatever_comes_is_an_observation_or_a_bad_message(frame):
    look(frame)
    with contextlib.suppress(BadMessage):
        read_observation(frame)
