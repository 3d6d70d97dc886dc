"""What a model may be asked beside inference, and settings that outlive a lost connection; both clients."""

import numpy as np
import pytest
from offboard_client import BadMessage, BadParameter, ConnectionFailed, ConnectionLost, InferTimeout, PolicyFailed
from scripted_server import META, OFFBOARD, ScriptedServer

CONFIGURE = {
    "summary": "Changes options.",
    "params": {"gain": {"type": "a number", "default": 1.0}, "codec.offset": {"type": "a number", "default": 0.5}},
    "answers": {"changed": "what was changed"},
}
MARK = {"summary": "Marks.", "params": {"note": {"type": "text"}}, "answers": {"seen": "observations"}}
ASKED = {**OFFBOARD, "controls": {"mark": MARK, "configure": CONFIGURE}}


def called(kind, **answer):
    return {"status": "called", "type": kind, "answer": answer}


def changing(peer, seen):
    """Answer one frame: a change as if it was made, an observation by ``[]``."""
    asked = peer.receive()
    seen.append(asked)
    if asked.get("type") != "configure":
        peer.send({"result": [], "offboard.seq": peer.seq})
        return
    peer.send(called("configure", changed={name: {"old": 0, "new": new} for name, new in asked["params"].items()}))


def kept_after(count, seen):
    """A connection on which so many frames are answered, and which then stays open."""

    def visit(peer):
        peer.ready(ASKED)
        for _ in range(count):
            changing(peer, seen)
        peer.wait_for_close()

    return visit


def lost_after(count, seen):
    """The same, lost while the next frame waits for its answer."""

    def visit(peer):
        peer.ready(ASKED)
        for _ in range(count):
            changing(peer, seen)
        peer.receive()
        peer.reset()

    return visit


@pytest.mark.rule("L-30")
def test_a_control_is_asked_and_answered(clients):
    def visit(peer):
        peer.ready(ASKED)
        seen.append(peer.receive())
        peer.send(called("mark", seen=3))
        seen.append(peer.receive())
        peer.send({"error": "it broke", "code": "policy_failed"})
        peer.answer([])
        peer.wait_for_close()

    seen = []
    with ScriptedServer(visit) as server:
        session = clients.session("127.0.0.1", server.port)
        assert clients.wait(session.call("mark", note="here")) == {"seen": 3}
        with pytest.raises(PolicyFailed, match="it broke"):
            clients.wait(session.call("mark"))
        assert clients.wait(session.infer({})) == []
        clients.wait(session.close())
    assert seen == [{"type": "mark", "params": {"note": "here"}}, {"type": "mark"}]


@pytest.mark.rule("L-31")
@pytest.mark.parametrize("meta", [META, OFFBOARD, {**OFFBOARD, "controls": {}}])
def test_what_the_handshake_does_not_list_is_not_asked(clients, meta):
    def visit(peer):
        peer.ready(meta)
        peer.answer([])
        peer.wait_for_close()

    with ScriptedServer(visit) as server:
        session = clients.session("127.0.0.1", server.port)
        for ask, says in (
            (lambda: session.call("mark"), "there is no control 'mark' of this model; there are none"),
            (lambda: session.call("reset"), "there is no control 'reset' of this model; there are none"),
            (lambda: session.configure(gain=1.0), "nothing of this model can be changed in an open session"),
        ):
            with pytest.raises(BadParameter, match=f"^{says}"):
                clients.wait(ask())
        assert clients.wait(session.infer({})) == []
        clients.wait(session.close())


@pytest.mark.rule("L-15")
@pytest.mark.parametrize(
    ("params", "says"),
    [
        ({"note": "x" * 600}, "bytes; expected"),
        ({"note": np.zeros(3)}, "of type ndarray"),
        ({"note": float("nan")}, "is nan"),
        ({"note": object()}, "of type object"),
        ({"note": [0] * 2000}, "more than 1,024"),
        ({"note": b"x"}, "of type bytes"),
    ],
    ids=lambda value: str(value)[:12],
)
def test_what_no_control_frame_holds_is_not_sent(clients, params, says):
    def visit(peer):
        peer.ready(ASKED)
        peer.answer([])
        peer.wait_for_close()

    with ScriptedServer(visit) as server:
        session = clients.session("127.0.0.1", server.port)
        for name in ("mark", "configure"):
            with pytest.raises(BadParameter, match=says):
                clients.wait(session.call(name, **params))
        assert clients.wait(session.infer({})) == []
        clients.wait(session.close())


@pytest.mark.rule("L-30", "L-32")
@pytest.mark.parametrize(
    "answer",
    [
        {"status": "mark", "answer": {}},
        {"status": "called", "type": "other", "answer": {}},
        {"status": "called", "answer": {}},
        {"status": "called", "type": "mark"},
        {"status": "called", "type": "mark", "answer": [1]},
        {"status": "called", "type": "mark", "answer": {"seen": float("inf")}},
        {"status": "called", "type": "mark", "answer": {"seen": np.zeros(2)}},
        {"result": []},
    ],
    ids=str,
)
def test_an_answer_that_is_none_ends_the_session(clients, answer):
    def visit(peer):
        peer.ready(ASKED)
        peer.receive()
        peer.send(answer)
        peer.wait_for_close()

    with ScriptedServer(visit) as server:
        session = clients.session("127.0.0.1", server.port)
        with pytest.raises(BadMessage):
            clients.wait(session.call("mark"))
        clients.wait(session.close())


@pytest.mark.rule("L-33")
def test_configure_says_what_it_did(clients):
    def visit(peer):
        peer.ready(ASKED)
        changing(peer, seen)
        peer.receive()
        peer.send(called("configure", changed=3))
        peer.wait_for_close()

    seen = []
    with ScriptedServer(visit) as server:
        session = clients.session("127.0.0.1", server.port)
        changed = clients.wait(session.configure(gain=2.0, **{"codec.offset": 0.0}))
        assert changed == {"gain": {"old": 0, "new": 2.0}, "codec.offset": {"old": 0, "new": 0.0}}
        with pytest.raises(BadMessage, match="does not say what it changed"):
            clients.wait(session.configure(gain=2.0))
        clients.wait(session.close())
    assert seen == [{"type": "configure", "params": {"gain": 2.0, "codec.offset": 0.0}}]


@pytest.mark.rule("L-35")
def test_settings_are_repeated_before_anything_else(clients):
    seen = []
    with ScriptedServer(lost_after(4, seen), kept_after(3, seen)) as server:
        session = clients.session("127.0.0.1", server.port)
        clients.wait(session.configure(gain=2.0))
        clients.wait(session.infer({"a": 1}))
        clients.wait(session.configure(gain=3.0))
        clients.wait(session.call("configure", **{"codec.offset": 1.0}))
        with pytest.raises(ConnectionLost):
            clients.wait(session.infer({"a": 2}))
        seen.clear()
        assert clients.wait(session.infer({"a": 3})) == []
        clients.wait(session.configure(gain=4.0))
        clients.wait(session.close())
    assert seen == [
        {"type": "configure", "params": {"gain": 3.0, "codec.offset": 1.0}},
        {"a": 3},
        {"type": "configure", "params": {"gain": 4.0}},
    ]


@pytest.mark.rule("L-35")
def test_what_was_refused_is_not_repeated(clients):
    def first(peer):
        peer.ready(ASKED)
        changing(peer, [])
        peer.receive()
        peer.send({"error": "too much", "code": "bad_parameter"})
        peer.receive()
        peer.reset()

    seen = []
    with ScriptedServer(first, kept_after(2, seen)) as server:
        session = clients.session("127.0.0.1", server.port)
        clients.wait(session.configure(gain=2.0))
        with pytest.raises(BadParameter, match="too much"):
            clients.wait(session.configure(gain=3.0, **{"codec.offset": 9.0}))
        with pytest.raises(ConnectionLost):
            clients.wait(session.infer({}))
        assert clients.wait(session.infer({})) == []
        clients.wait(session.close())
    assert seen == [{"type": "configure", "params": {"gain": 2.0}}, {}]


@pytest.mark.rule("L-35")
@pytest.mark.parametrize("before", [{}, {"gain": 2.0}], ids=str)
def test_a_change_of_which_nothing_is_known_is_not_repeated_and_nothing_that_the_handshake_says_sent_back(
    clients, before
):
    seen = []
    with ScriptedServer(lost_after(len(before), []), kept_after(1 + len(before), seen)) as server:
        session = clients.session("127.0.0.1", server.port)
        if before:
            clients.wait(session.configure(**before))
        with pytest.raises(ConnectionLost):
            clients.wait(session.configure(gain=9.0, **{"codec.offset": 9.0, "unheard": 1}))
        assert clients.wait(session.infer({})) == []
        clients.wait(session.close())
    assert seen == [*([{"type": "configure", "params": before}] if before else []), {}]


@pytest.mark.rule("L-35")
@pytest.mark.parametrize(
    "refusal",
    [
        {"error": "gain is 2.0, expected 0 or less", "code": "bad_parameter"},
        {"error": "the model's thread did not return", "code": "timeout"},
    ],
    ids=lambda refusal: refusal["code"],
)
def test_what_cannot_be_repeated_is_an_error_and_never_another_setting(clients, refusal):
    def refusing(peer):
        peer.ready(ASKED)
        seen.append(peer.receive())
        peer.send(refusal)
        peer.wait_for_close()

    seen = []
    with ScriptedServer(lost_after(1, []), refusing, refusing, kept_after(2, seen)) as server:
        session = clients.session("127.0.0.1", server.port)
        clients.wait(session.configure(gain=2.0))
        with pytest.raises(ConnectionLost):
            clients.wait(session.infer({}))
        for ask in (lambda: session.infer({}), session.ping):
            with pytest.raises(ConnectionFailed, match=f"session that was lost .gain.: {refusal['error']}"):
                clients.wait(ask())
        assert clients.wait(session.infer({})) == []
        clients.wait(session.close())
    assert seen == [{"type": "configure", "params": {"gain": 2.0}}] * 3 + [{}]


@pytest.mark.rule("L-35")
def test_a_connection_lost_while_it_is_repeated_is_opened_again(clients):
    seen = []
    with ScriptedServer(lost_after(1, []), lost_after(0, []), kept_after(2, seen)) as server:
        session = clients.session("127.0.0.1", server.port)
        clients.wait(session.configure(gain=2.0))
        for _ in range(2):
            with pytest.raises(ConnectionLost):
                clients.wait(session.infer({}))
        assert clients.wait(session.infer({})) == []
        clients.wait(session.close())
    assert seen == [{"type": "configure", "params": {"gain": 2.0}}, {}]


def test_a_control_is_waited_for_no_longer_than_an_observation(clients):
    def visit(peer):
        peer.ready(ASKED)
        peer.receive()
        peer.hold()

    with ScriptedServer(visit) as server:
        session = clients.session("127.0.0.1", server.port, infer_timeout=0.2)
        with pytest.raises(InferTimeout, match=r"within 0\.2 s"):
            clients.wait(session.call("mark"))
        clients.wait(session.close())


@pytest.mark.rule("M-20", "M-24")
@pytest.mark.parametrize(
    "controls",
    [
        [],
        "mark",
        {"mark": []},
        {"mark": {**MARK, "summary": 3}},
        {"mark": {**MARK, "params": []}},
        {"mark": {**MARK, "params": {"note": "text"}}},
        {"mark": {**MARK, "params": {"note": {"default": 1}}}},
        {"mark": {**MARK, "answers": {"seen": 1}}},
        {"mark": {"summary": "", "params": {}}},
    ],
    ids=str,
)
def test_a_list_of_controls_that_is_none_is_refused(clients, controls):
    def visit(peer):
        peer.ready({**OFFBOARD, "controls": controls})
        peer.wait_for_close()

    with ScriptedServer(visit) as server, pytest.raises(Exception, match=r"meta\.controls"):
        clients.session("127.0.0.1", server.port)


@pytest.mark.rule("L-35")
def test_what_is_repeated_is_what_was_sent_whatever_the_caller_does_to_it(clients):
    def first(peer):
        peer.ready(ASKED)
        changing(peer, [])
        gains.append(9.0)  # the answer may be on its way
        peer.receive()
        peer.reset()

    def second(peer):
        peer.ready(ASKED)
        for _ in range(2):
            changing(peer, seen)
        peer.wait_for_close()

    seen, gains = [], [1.0, 2.0]
    with ScriptedServer(first, second) as server:
        session = clients.session("127.0.0.1", server.port)
        clients.wait(session.configure(gain=gains))
        gains.clear()
        with pytest.raises(ConnectionLost):
            clients.wait(session.infer({}))
        assert clients.wait(session.infer({})) == []
        clients.wait(session.close())
    assert seen == [{"type": "configure", "params": {"gain": [1.0, 2.0]}}, {}]
