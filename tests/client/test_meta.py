"""A handshake that holds what cannot be is refused by name, and no reply makes the client fail in another way."""

import contextlib
import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from offboard_client import BadMessage, BadObservation, OffboardError, ProtocolError, ServerChanged
from offboard_client.cli import show_handshake, synthetic_observation
from offboard_client.protocol import check_meta, parse_address
from offboard_client.session import check_same
from offboard_client.wire import (
    check_observation,
    decode,
    encode,
    read_control_answer,
    read_handshake,
    read_reply,
    rows,
)
from scripted_server import META, ScriptedServer

ODD = [
    ({"observation": ["robot_state.q"]}, r"meta\.observation is \['robot_state\.q'\] \(list\)"),
    ({"observation": {"robot_state.q": "x"}}, r"meta\.observation\['robot_state\.q'\] is 'x' \(str\)"),
    ({"observation": {"q": {"shape": 7}}}, r"meta\.observation\['q'\]\.shape is 7 \(int\)"),
    ({"observation": {"q": {"shape": [None]}}}, r"\.shape is \[None\]"),
    ({"observation": {"q": {"shape": [-2]}}}, r"\.shape is \[-2\]"),
    ({"observation": {"q": {"shape": [1] * 9}}}, "at most 8 axes"),
    ({"observation": {"q": {"shape": [10**9, 10**9]}}}, r"\.shape is \[1000000000, 1000000000\]"),
    (
        {"observation": {"q": {"dtype": "nonsense"}}},
        r"\.dtype is 'nonsense' \(str\); expected the name of a numpy dtype",
    ),
    ({"observation": {"q": {"dtype": "O"}}}, r"\.dtype is 'O'"),
    ({"observation": {"q": {"dtype": 5}}}, r"\.dtype is 5 \(int\)"),
    ({"observation": {"q": {"dtype": "f4,(" * 9}}}, r"\.dtype is"),
    ({"observation": {"q": {"unit": [1]}}}, r"\.unit is \[1\]"),
    ({"observation": {"q": {"required": "yes"}}}, r"\.required is 'yes' \(str\); expected true or false"),
    ({"action": ["target_pose"]}, r"meta\.action is \['target_pose'\] \(list\)"),
    ({"action": "target_pose"}, r"meta\.action is 'target_pose' \(str\)"),
    ({"action": {"target_pose": 1}}, r"meta\.action\['target_pose'\] is 1"),
    ({"action": {"target_pose": {"kind": 1}}}, r"\.kind is 1"),
    ({"action": {b"x": 1, "y": 2}}, r"meta\.action has a name that is b'x' \(bytes\); expected text"),
    ({"extras": {"a": [{b"x": 1}]}}, r"meta\.extras\.a\[0\] has a name that is b'x'"),
    ({"extras": [1, float("inf")]}, r"meta\.extras\[1\] is inf"),
    ({"extras": b"raw"}, r"meta\.extras is b'raw' \(bytes\)"),
    ({"action_fps": float("nan")}, r"meta\.action_fps is nan"),
    ({"action_fps": "10"}, r"meta\.action_fps is '10' \(str\); expected steps per second from 0\.01 to 10,000"),
    ({"action_fps": 1e-9}, r"meta\.action_fps is 1e-09"),
    ({"action_fps": 0}, r"meta\.action_fps is 0"),
    ({"action_fps": -10.0}, r"meta\.action_fps is -10\.0"),
    ({"action_fps": 1e5}, r"meta\.action_fps is 100000\.0"),
    ({"action_fps": True}, r"meta\.action_fps is True \(bool\)"),
    ({"action_fps": [10]}, r"meta\.action_fps is \[10\]"),
    ({"action_horizon_sec": -1}, r"meta\.action_horizon_sec is -1"),
    ({"chunk_length": 0}, r"meta\.chunk_length is 0"),
    ({"chunk_length": 1.5}, r"meta\.chunk_length is 1\.5"),
    ({"shortest_chunk": 0}, r"meta\.shortest_chunk is 0"),
    ({"shortest_chunk": 9, "chunk_length": 4}, r"meta\.shortest_chunk is 9 .*no more than meta\.chunk_length, 4"),
    ({"image_sizes": [224]}, r"meta\.image_sizes is \[224\]"),
    ({"image_sizes": [224, 10**9]}, r"meta\.image_sizes is"),
    ({"image_sizes": {"image.wrist": 224}}, r"meta\.image_sizes is"),
    ({"compress_images": 1}, r"meta\.compress_images is 1"),
    ({"joint_names": "abc"}, r"meta\.joint_names is 'abc'"),
    ({"conventions": {"grip": 1}}, r"meta\.conventions is"),
    ({"checkpoint_id": 7}, r"meta\.checkpoint_id is 7 \(int\); expected text"),
    ({"type": ["act"]}, r"meta\.type is"),
    ({"offboard_version": 1}, r"meta\.offboard_version is 1"),
    ({"context": "seed"}, r"meta\.context is 'seed' \(str\); expected a list of names"),
    ({"context": [1]}, r"meta\.context is \[1\]"),
    ({"context_refused": ["prefix"]}, r"meta\.context_refused is"),
    ({"context_absent": {"prefix": 1}}, r"meta\.context_absent is"),
    ({"max_delay_steps": -1}, r"meta\.max_delay_steps is -1 \(int\); expected a whole number from 0 up"),
    ({"max_delay_steps": False}, r"meta\.max_delay_steps is False"),
    ({"max_delay_steps": 0.0}, r"meta\.max_delay_steps is 0\.0"),
    ({"history": [1]}, r"meta\.history is \[1\]"),
    ({"history": {"offsets_sec": [-0.1]}}, r"meta\.history is"),
    ({"history": {"offsets_sec": [0], "observation": []}}, r"meta\.history is"),
    ({"history": {"offsets_sec": -0.1, "observation": []}}, r"meta\.history is"),
    ({"history": {"offsets_sec": [-1e12], "observation": []}}, r"meta\.history is"),
    ({"history": {"offsets_sec": [-1e-9], "observation": []}}, r"meta\.history is"),
    ({"history": {"offsets_sec": [-0.1, -0.2], "observation": []}}, r"meta\.history is"),
    ({"history": {"offsets_sec": [-0.1, -0.1], "observation": []}}, r"meta\.history is"),
    ({"history": {"offsets_sec": [-(65 - i) / 10 for i in range(65)], "observation": []}}, r"oldest first: 64 at most"),
    ({"compiled": True}, r"meta\.compiled is True \(bool\); expected a map with used, true or false, how, a text"),
    ({"compiled": {"used": 1, "how": "x", "problems": []}}, r"meta\.compiled is"),
    ({"compiled": {"used": True, "problems": []}}, r"meta\.compiled is"),
    ({"compiled": {"used": True, "how": "x", "problems": "none"}}, r"meta\.compiled is"),
    ({"compiled": {"used": True, "how": "x", "problems": [], "tolerance": "little"}}, r"meta\.compiled is"),
    ({"compiled": {"used": True, "how": "x", "problems": [], "difference": -1.0}}, r"meta\.compiled is"),
    ({"compiled": {"used": True, "how": "x", "problems": [], "batch_sizes": [0]}}, r"meta\.compiled is"),
    ({"compiled": {"used": True, "how": "x", "problems": [], "speedup": "much"}}, r"meta\.compiled is"),
]


@pytest.mark.rule("M-20")
@pytest.mark.parametrize(("odd", "says"), ODD)
def test_an_odd_field_of_the_handshake_is_named(odd, says):
    with pytest.raises(BadMessage, match=says):
        check_meta({**META, **odd})


@pytest.mark.rule("M-20")
def test_it_is_a_protocol_error_that_nobody_tries_again(clients):
    clock = clients.clock()
    refused = pytest.raises(ProtocolError, match=r"127\.0\.0\.1:\d+: the server's meta\.action_fps is 1e-09")
    with ScriptedServer(lambda peer: peer.ready({**META, "action_fps": 1e-9})) as server, refused as caught:
        clients.session("127.0.0.1", server.port, clock=clock)
    assert caught.value.code == "protocol_error"
    assert clock.slept == []


def test_what_the_protocol_does_not_know_passes():
    check_meta({})
    check_meta(
        {**META, "observation": None, "action": {}, "action_fps": None, "modality_config": {"a": [1, None, "x"]}}
    )
    check_meta({"norm_stats": np.zeros(3), "image_sizes": {"image.wrist": [224, 224]}, "action": {"x": {"dtype": 1}}})


@pytest.mark.parametrize("session_id", ["x" * 257, 5, None])
def test_a_session_id_that_no_url_should_carry_is_refused(session_id):
    with pytest.raises(BadMessage, match="at most 256 characters"):
        read_handshake({"status": "ready", "meta": {}, "session_id": session_id})


@pytest.mark.parametrize(
    ("frame", "openpi"), [({"reset_pose": [0.0]}, True), ({}, True), ({"status": "sleeping"}, False)]
)
def test_a_first_frame_without_a_status_may_be_openpis(frame, openpi):
    with pytest.raises(BadMessage, match="does not speak offboard's protocol v1") as caught:
        read_handshake(frame)
    assert ("--policy openpi://HOST:PORT" in caught.value.text) == openpi


def test_of_the_timing_only_durations_are_kept_and_not_for_ever():
    odd = {"a": 1.5, "b": 2, "c": float("nan"), "d": "x", "e": None, "f": {"g": 1}, b"h": 1.0, "i": True}
    odd |= {"j": -1.0, "k": -1e12, "l": 1e300, "m": float("inf")}
    assert read_reply({"result": [], "timing": odd}).timing == {"a": 1.5, "b": 2.0}
    for more in ({"timing": {str(i): 1.0 for i in range(65)}}, {"warnings": ["x"] * 65}):
        with pytest.raises(BadMessage, match="more than 64"):
            read_reply({"result": [], **more})
    (warning,) = read_reply({"result": [], "warnings": ["x" * 5000]}).warnings
    assert len(warning) == 1000


# -- whatever else a server sends ------------------------------------------------------------------------

NUMBERS = st.integers(-(2**63), 2**64 - 1) | st.floats() | st.booleans() | st.none()
ARRAYS = st.builds(
    np.zeros,
    st.lists(st.integers(0, 3), max_size=3),
    st.sampled_from(["f4", "f8", "i8", "u1", "?", "f2"]),
)
LEAVES = NUMBERS | st.text(max_size=8) | st.binary(max_size=8) | ARRAYS
KNOWN = st.sampled_from(
    [
        "status",
        "meta",
        "session_id",
        "message",
        "phase",
        "result",
        "timing",
        "warnings",
        "error",
        "code",
        "columns",
        "action",
        "timestamp",
        "observation",
        "target_pose",
        "target_grip",
        "target_joints",
        "joint_delta",
        "robot_state.q",
        "image.wrist",
        "task",
        "shape",
        "dtype",
        "unit",
        "required",
        "kind",
        "action_fps",
        "chunk_length",
        "image_sizes",
        "conventions",
        "joint_names",
        "checkpoint_id",
        "type",
        "offboard.seq",
    ]
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(KNOWN | st.text(max_size=4) | st.binary(max_size=3), inner, max_size=5)
    ),
    max_leaves=12,
)
FRAMES = st.dictionaries(KNOWN, VALUES, max_size=6) | VALUES
METAS = st.dictionaries(
    KNOWN, st.dictionaries(KNOWN, st.dictionaries(KNOWN, VALUES, max_size=4) | VALUES, max_size=3) | VALUES, max_size=5
)
STATUS = st.sampled_from(["ready", "waiting", "loading", "error", "pong", "reset", "stats"])


def crossed(value):
    """As it comes out at the other end of the wire."""
    return decode(encode(value))


def handshake(frame, status, meta):
    found = crossed({**frame, "status": status, "meta": meta} if isinstance(frame, dict) else frame)
    try:
        ready = read_handshake(found)
        if not hasattr(ready, "meta"):
            return
        check_meta(ready.meta)
    except OffboardError:
        return
    # Whoever uses an accepted one may trust its form.
    observation = synthetic_observation(ready.meta)
    for sent in (observation, {"a": 1}):
        with contextlib.suppress(BadObservation):
            check_observation(sent, ready.meta.get("observation"))
    show_handshake(ready.meta, 1.0)
    check_same(ready.meta, dict(ready.meta), _Settings())
    json.dumps({k: v for k, v in ready.meta.items() if k != "extras"}, default=lambda a: a.tolist(), allow_nan=False)


class _Settings:
    address = parse_address("h")


def compiled(**said):
    return {"checkpoint_id": "1", "compiled": {"used": True, "how": "x", "tolerance": 0.0, "problems": [], **said}}


@pytest.mark.rule("M-1", "M-28")
def test_what_each_load_measures_of_what_it_compiled_is_no_other_model():
    """A server that was started anew, or another replica, is never as fast as the one before to the last digit."""
    check_same(compiled(speedup=1.15), compiled(speedup=1.12, difference=1e-6), _Settings())
    check_same(compiled(), compiled(used=False, problems=["no compiler"]), _Settings())
    check_same({"checkpoint_id": "1"}, compiled(), _Settings())
    check_same({"checkpoint_id": "1", "compiled": None}, compiled(), _Settings())
    with pytest.raises(ServerChanged, match=r"compile_tolerance was 0 and is 0\.1"):
        check_same({"checkpoint_id": "1"}, compiled(tolerance=0.1), _Settings())


def reply(frame, result, kind):
    value = crossed(frame)
    for read in (
        lambda: rows(read_reply(value).result),
        lambda: list(rows(read_reply({"result": crossed(result)}).result) or ()),
        lambda: list(rows(crossed([{"action": result, "timestamp": result}])) or ()),
        lambda: list(rows({"columns": crossed({"action": result, "timestamp": np.zeros(2)})}) or ()),
        lambda: read_control_answer(value, kind),
    ):
        with contextlib.suppress(OffboardError):
            read()


def test_an_array_in_the_place_of_a_word_is_no_word():
    odd = {"status": np.zeros(0), "result": []}
    for read in (read_handshake, lambda frame: read_control_answer(frame, "stats")):
        with pytest.raises(BadMessage):
            read(odd)
    assert read_reply(odd).result == []


@pytest.mark.parametrize("count", [40, pytest.param(2000, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    ("read", "sent"),
    [
        (handshake, (FRAMES, STATUS, METAS)),
        (reply, (FRAMES, VALUES, st.sampled_from(["reset", "ping", "stats"]))),
    ],
)
def test_nothing_that_a_server_sends_raises_what_is_not_the_protocols(read, sent, count):
    settings(max_examples=count, suppress_health_check=list(HealthCheck))(given(*sent)(read))()
