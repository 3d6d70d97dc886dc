"""What is like what came before is written and read by less work, and never otherwise."""

import re

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from offboard_client import BadObservation, ConnectionLost, OffboardError
from offboard_client.protocol import SessionProtocol, Settings, Timeouts, parse_address
from offboard_client.wire import LARGE, SEQ, Encoder, Stencils, decode, encode
from websockets.server import ServerProtocol

NUMBERED = "number"
PICTURE = np.arange(LARGE, dtype=np.uint8).reshape(4, -1)
NUMBERS = st.integers(-(2**63), 2**64 - 1) | st.floats()
ARRAYS = st.sampled_from(["?", "i1", "<i2", ">i4", "u1", "<u8", "<f2", ">f4", "<f8"]).flatmap(
    lambda dtype: npst.arrays(dtype, npst.array_shapes(min_dims=0, min_side=0, max_side=4))
)
IMAGES = st.sampled_from([PICTURE, PICTURE[::-1].copy(), PICTURE.astype("<f2"), PICTURE.astype(">i4"), PICTURE[:, :-2]])
LEAVES = st.none() | st.booleans() | NUMBERS | st.text(max_size=40) | ARRAYS | IMAGES
VALUES = st.dictionaries(st.text(max_size=40), LEAVES, max_size=6)


def general(value, number):
    return b"".join(Encoder().pieces({**value, NUMBERED: number}))


def learnt(*values):
    stencils = Stencils(NUMBERED)
    for value in values * 2:
        stencils.learn(value)
        stencils.learn(value)
    return stencils


def written(stencils, value, number=1):
    found = stencils.pieces(value, number)
    return None if found is None else b"".join(found)


def other(value, draw):
    """Another number of its kind, another array of its dtype and shape; what is neither stays."""
    if isinstance(value, np.ndarray):
        data = draw(st.binary(min_size=1, max_size=8)) * value.nbytes
        return np.frombuffer(data[: value.nbytes], value.dtype).reshape(value.shape)
    return draw(st.from_type(type(value))) if type(value) in (int, float) else value


@given(VALUES, st.integers(0, 2**40), st.data())
def test_what_is_like_it_is_written_as_the_encoder_writes_it(value, number, data):
    stencils = learnt(value)
    again = {name: other(held, data.draw) for name, held in value.items()}
    try:
        expected = general(again, number)
    except OffboardError:  # a number of more than 64 bits: what there is to say about it is the encoder's
        assert written(stencils, again, number) is None
        return
    assert written(stencils, again, number) in (None, expected)
    usual = all(
        not isinstance(held, np.ndarray) or (held.size and held.dtype.isnative and held.flags.c_contiguous)
        for held in value.values()
    )
    assert (written(stencils, again, number) is not None) >= usual


@given(VALUES, VALUES, st.data())
def test_what_is_not_like_it_is_the_encoders_or_as_it_writes_it(value, another, data):
    mixed = {**value, **data.draw(st.fixed_dictionaries({}, optional=dict.fromkeys(value, LEAVES)))}
    stencils = learnt(value, another)
    for each in (mixed, another, dict(reversed(value.items()))):
        assert written(stencils, each) in (None, general(each, 1))


class Joints(np.ndarray):
    pass


class Text(str):
    __slots__ = ()


LIKE = {"q": np.zeros(8, "<f4"), "image": PICTURE, "task": "pick", "grip": 0.5, "step": 3, "on": True, "no": None}


@pytest.mark.parametrize(
    "changed",
    [
        {"q": np.zeros(7, "<f4")},
        {"q": np.zeros((8, 1), "<f4")},
        {"q": np.zeros(8, "<f8")},
        {"q": np.zeros(8, ">f4")},
        {"q": np.zeros(16, "<f4")[::2]},
        {"q": np.zeros(8, "<f4").view(Joints)},
        {"q": np.ma.masked_array(np.zeros(8, "<f4"), [True] * 8)},
        {"q": [0.0] * 8},
        {"q": None},
        {"q": b"\0" * 32},
        {"image": PICTURE.T},
        {"image": PICTURE.reshape(2, -1)},
        {"image": PICTURE[:, ::-1]},
        {"image": PICTURE.tobytes()},
        {"task": "place"},
        {"task": Text("pick")},
        {"task": np.str_("pick")},
        {"task": np.array(["pick"])},
        {"task": None},
        {"grip": 1},
        {"grip": np.float64(0.5)},
        {"grip": True},
        {"step": True},
        {"step": 3.0},
        {"step": 2**64},
        {"step": -(2**63) - 1},
        {"on": 1},
        {"on": False},
        {"no": False},
        {"no": np.zeros(0)},
        {"more": 1},
    ],
    ids=str,
)
def test_what_differs_in_more_than_numbers_is_the_encoders(changed):
    stencils = learnt(LIKE)
    assert written(stencils, LIKE) == general(LIKE, 1)
    assert written(stencils, {**LIKE, **changed}) is None
    assert written(stencils, {name: LIKE[name] for name in LIKE if name not in changed or name == "more"}) is None or (
        "more" in changed
    )


@pytest.mark.parametrize("value", [[*LIKE], tuple(LIKE), " ".join(LIKE), None, 3, np.zeros(3)], ids=repr)
def test_what_is_no_map_is_never_like_one(value):
    assert learnt(LIKE).pieces(value, 1) is None


def test_large_arrays_are_sent_out_of_their_own_memory():
    found = learnt(LIKE).pieces(LIKE, 1)
    assert [np.shares_memory(np.asarray(piece), PICTURE) for piece in found if isinstance(piece, memoryview)] == [True]


def test_two_kinds_in_turn_are_both_learnt_and_what_is_never_alike_seldom_is():
    with_image, without = LIKE, {name: LIKE[name] for name in LIKE if name != "image"}
    stencils = learnt(with_image, without)
    assert written(stencils, with_image)
    assert written(stencils, without)
    stencils, tries = Stencils(NUMBERED), 0
    for i in range(2000):
        value = {"task": f"{i}"}
        assert stencils.pieces(value, 1) is None
        before = stencils._known
        stencils.learn(value)
        tries += stencils._known is not before
    assert 1 <= tries <= 15


# -- in a session ----------------------------------------------------------------------------------------------


class Session:
    """A client's session, without a socket, and what its server reads and says."""

    def __init__(self, meta=None):
        settings = Settings(parse_address("h"), {}, {}, Timeouts(*[60.0] * 7), print, None)
        self.protocol = SessionProtocol(settings, "ws://h/")
        self.server = ServerProtocol()
        self.server.receive_data(self.protocol.outgoing())
        self.server.send_response(self.server.accept(self.server.events_received()[0]))
        self.say(encode({"status": "ready", "meta": meta or {"server": {"name": "offboard"}}}))
        self.protocol.handshake()
        self.server.events_received()

    def say(self, message):
        self.server.send_binary(message)
        self.protocol.feed(b"".join(self.server.data_to_send()))

    def hear(self, observation):
        """What the server reads of it."""
        for turn in self.protocol.ask(observation).turns:
            self.server.receive_data(b"".join(turn))
        return b"".join(frame.data for frame in self.server.events_received())

    def infer(self, observation, reply):
        """All that there is to say about the answer."""
        sent = decode(self.hear(observation))
        self.say(encode({**reply, SEQ: sent[SEQ] + reply.get(SEQ, 0)}))
        try:
            found, step = self.protocol.answer()
            return repr(found and list(found)), repr(step.server)
        except OffboardError as error:
            return error.code, re.sub(r"observation -?\d+ where \d+", "", error.text)
        finally:
            self.state = self.protocol.state


OBSERVATION = {"robot_state.q": np.zeros(8, "<f4"), "task": "pick"}


@given(st.lists(VALUES, max_size=4), st.data())
def test_observations_come_as_they_would_in_a_session_of_their_own(values, data):
    session = Session()
    for seq, value in enumerate([data.draw(st.sampled_from([OBSERVATION, *values])) for _ in range(12)], 1):
        assume("type" not in value)
        assert session.hear(value) == b"".join(Encoder().pieces({**value, SEQ: seq}))
        session.say(encode({"result": None, SEQ: seq}))
        session.protocol.answer()


@pytest.mark.parametrize(
    ("name", "value", "match"),
    [
        (SEQ, 7, "leave it out"),
        ("type", "reset", "a control frame's"),
        ("offboard.seed", 3, "not sent"),
        (3, 4, "texts"),
    ],
)
def test_names_that_are_not_the_robots_are_refused_whatever_came_before(name, value, match):
    session = Session()
    for _ in range(5):
        session.infer(OBSERVATION, {"result": None})
        with pytest.raises(BadObservation, match=match):
            session.protocol.ask({**OBSERVATION, name: value})


VECTORS = npst.arrays("<f4", 2, elements=st.sampled_from([0.0, 1.0, -3.0, np.nan, np.inf]))
COLUMN = VECTORS.map(lambda values: values[:, None])
GOOD = {"action": np.zeros((2, 1), "<f4"), "timestamp": np.array([0.0, 1.0])}
NAMED = {"action": {"target_grip": np.zeros((2, 1), "<f4"), "x": np.zeros((2, 1), "<f4")}}
COLUMNS = {
    "action": VECTORS | COLUMN | st.dictionaries(st.sampled_from(("target_grip", "x")), COLUMN, max_size=2),
    "timestamp": st.sampled_from(([0, 1], [1.0, 0], [0, np.nan], [0, 1, 2], [[0, 1]])).map(np.array),
}
TIMING = st.dictionaries(
    st.sampled_from(("a_ms", "b_ms")), st.sampled_from((1, 2.5, -1, -2.5, np.nan, 1e300, True)), max_size=2
)
OTHERS = st.sampled_from(
    [
        {"result": None},
        {"result": []},
        {"error": "no", "code": "busy"},
        {"result": 3},
        {},
        {"result": {}},
        {"warnings": 3},
    ]
)


@given(st.sampled_from([GOOD, NAMED, {"action": np.zeros((2, 1), "<f4")}]), st.data())
def test_what_came_before_changes_nothing_of_what_is_read_in_a_reply(good, data):
    session, right = Session(), {"result": {"columns": good}, "timing": {"a_ms": 1.5, "b_ms": 2}}
    replies = [right] * 4
    for name in (*good, *COLUMNS):
        columns, timing = {**good, name: data.draw(COLUMNS[name])}, data.draw(TIMING)
        replies += [{"result": {"columns": columns}, "timing": timing}] * 3 + [data.draw(OTHERS), right]
        replies += [{**right, SEQ: data.draw(st.sampled_from((-1, 1)))}] * data.draw(st.integers(0, 1))
    for reply in replies:
        fresh = Session()
        assert session.infer(OBSERVATION, reply) == fresh.infer(OBSERVATION, reply)
        assert session.state == fresh.state
        if session.state != "ready":
            session = Session()
            for _ in range(3):
                session.infer(OBSERVATION, right)


@pytest.mark.rule("L-20")
def test_an_answer_to_another_observation_is_nobodys_however_right_those_before_it_were():
    session = Session()
    for _ in range(5):
        session.infer(OBSERVATION, {"result": {"columns": GOOD}})
    assert session.infer(OBSERVATION, {"result": {"columns": GOOD}, SEQ: -1})[0] == ConnectionLost.code
    assert session.state == "closed"


@pytest.mark.parametrize(
    ("timing", "read"),
    [
        ({"a_ms": 1.5, "b_ms": -2.5}, {"a_ms": 1.5}),
        ({"a_ms": 1.5, "b_ms": np.nan}, {"a_ms": 1.5}),
        ({"a_ms": np.nan, "b_ms": 1.5}, {"b_ms": 1.5}),
        ({"a_ms": 1.5, "b_ms": 1e300}, {"a_ms": 1.5}),
        ({"a_ms": 0.0, "b_ms": 7.5}, {"a_ms": 0.0, "b_ms": 7.5}),
    ],
    ids=str,
)
def test_times_that_are_none_are_left_out_after_many_that_were(timing, read):
    session = Session()
    for _ in range(5):
        session.infer(OBSERVATION, {"result": {"columns": GOOD}, "timing": {"a_ms": 1.5, "b_ms": 2.5}})
    for _ in range(2):
        assert session.infer(OBSERVATION, {"result": {"columns": GOOD}, "timing": timing})[1] == repr(read)


def test_what_was_left_out_of_one_is_left_out_of_those_like_it():
    session = Session()
    for _ in range(6):
        found = session.infer(OBSERVATION, {"result": {"columns": GOOD}, "timing": {"a_ms": 1.5, "b_ms": True}})
        assert found[1] == "{'a_ms': 1.5}"


def test_a_server_that_numbers_no_answer_is_read_as_ever():
    session = Session({"server": {"name": "another"}})
    for _ in range(6):
        session.hear(OBSERVATION)
        session.say(encode({"result": {"columns": GOOD}, "timing": {"a_ms": 1.5}}))
        assert len(session.protocol.answer()[0]) == 2


@pytest.mark.parametrize("image", [PICTURE.astype(">i4"), PICTURE.T, PICTURE.astype("<f2"), PICTURE[:, ::2]], ids=repr)
def test_an_image_is_written_as_the_encoder_writes_it_however_it_lies_in_memory(image):
    value = {"image": image}
    assert written(learnt(value), value) in (None, general(value, 1))
