"""Control frames that a model has of its own, and ``configure``, over the socket."""

import json
import threading
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from offboard_client.plugins import changeable
from offboard_core import Chunk, Control, ModelLost
from offboard_core.engine import ServiceTimeouts
from offboard_core.server import InferenceServer
from puppets import Door, Puppet, reached, source
from robots import first, robot
from talking import CONTROLS, Talker, Talking, Tuning, Where, talking

X = {"x": np.zeros(3)}
HOUR = 3600.0


@pytest.fixture
def door():
    with Door() as made:
        yield made


def serving(made, **limits):
    return InferenceServer({"only": made}, port=0, limits=ServiceTimeouts(**limits) if limits else None)


def beginning(kind):
    """A policy whose sessions are of this kind."""

    class Begins(Talking):
        def new_session(self, params):
            self.episodes.append(kind(self, params))
            return self.episodes[-1]

    return Begins


def called(kind, **answer):
    return {"status": "called", "type": kind, "answer": answer}


@pytest.mark.rule("M-24", "M-1")
def test_the_handshake_lists_what_may_be_asked():
    _, made = talking()
    with serving(made) as server:
        metas = []
        for query in ("", "", "gain=0.5"):
            with robot(server, query=query) as one:
                metas.append(one.opened()["meta"])
        assert metas[0] == metas[1]
        assert json.loads(json.dumps(metas[0])) == metas[0]
        assert metas[0]["controls"] == {
            "mark": {
                "summary": "Remembers a note.",
                "params": {"note": {"type": "text"}, "steps": {"type": "a whole number", "default": 3}},
                "answers": {"note": "the note", "seen": "observations so far", "thread": "where it ran"},
            },
            "say": {"summary": "Says what the test wants.", "params": {}, "answers": {"said": "anything"}},
            "configure": {
                "summary": metas[0]["controls"]["configure"]["summary"],
                "params": {
                    "gain": {"type": "a number", "default": 1.0},
                    "names": {"type": "a list, each text", "default": []},
                    "codec.offset": {"type": "a number", "default": 0.0},
                    "codec.unit": {"type": "text", "default": "rad"},
                    "codec.whole": {"type": "true or false", "default": False},
                },
                "answers": metas[0]["controls"]["configure"]["answers"],
            },
        }
        assert metas[2]["controls"]["configure"]["params"]["gain"]["default"] == 0.5
        assert metas[2]["spec_hash"] == metas[0]["spec_hash"], "the same model, asked for in another way"


@pytest.mark.rule("M-24", "L-30")
def test_a_model_without_any_lists_none_and_has_no_configure():
    with serving(source({"a": Puppet})) as server, robot(server) as one:
        assert one.opened()["meta"]["controls"] == {}
        refused = one.ask({"type": "configure", "params": {"gain": 1.0}})
        assert refused["code"] == "bad_message"
        assert "reset, ping, stats" in refused["error"]


@pytest.mark.rule("L-30", "L-12")
def test_a_control_runs_on_the_models_thread_in_order_with_the_observations(door):
    policy, made = talking(doors={1: door})
    with serving(made) as server, robot(server) as one:
        one.opened()
        one.ask(X)
        one.send(X)
        reached(door.entered)
        one.send({"type": "mark", "params": {"note": "after two"}})
        one.send({"type": "ping"})
        door.open()
        assert first(one.receive()) == 1
        assert one.receive() == called("mark", note="after two", seen=2, thread=name_of(policy.threads))
        assert one.receive()["status"] == "pong"
        assert one.ask_text({"type": "mark", "params": {"note": "ü"}})["answer"]["note"] == "ü"
        assert policy.episodes[0].asked == [Where(note="after two"), Where(note="ü")]


def name_of(threads):
    [ident] = threads
    return next(thread.name for thread in threading.enumerate() if thread.ident == ident)


@pytest.mark.rule("L-31", "L-11")
@pytest.mark.parametrize(
    ("frame", "code", "says"),
    [
        ({"type": "makr"}, "bad_message", "there are: reset, ping, stats, mark, say, configure"),
        ({"type": "mark"}, "bad_parameter", "the control mark needs the option note"),
        ({"type": "mark", "params": {"note": 1}}, "bad_parameter", "'note' of the control mark expects text, not 1"),
        ({"type": "mark", "params": {"note": "a", "step": 1}}, "bad_parameter", "did you mean steps"),
        ({"type": "mark", "params": {"note": "a", "steps": True}}, "bad_parameter", "a whole number, not true"),
        ({"type": "mark", "note": "a"}, "bad_message", "mark holds note beside"),
        ({"type": "mark", "params": ["a"]}, "bad_message", "expected a map"),
        ({"type": "mark", "params": {"note": "a" * 600}}, "bad_message", "shorter than 512 bytes"),
        ({"type": "say", "params": {"x": np.zeros(2)}}, "bad_parameter", "no option 'x'"),
        ({"type": "configure", "params": {"gian": 1.0}}, "bad_parameter", "did you mean gain"),
    ],
    ids=str,
)
def test_what_does_not_exist_or_fit_is_refused_with_what_does(frame, code, says):
    policy, made = talking()
    with serving(made) as server, robot(server) as one:
        one.opened()
        refused = one.ask(frame)
        assert refused["code"] == code
        assert says in refused["error"]
        assert policy.episodes[0].asked == []
        assert first(one.ask(X)) == 1


@pytest.mark.rule("L-31", "Q-3")
def test_a_parameter_of_a_control_never_names_a_path():
    @dataclass(frozen=True)
    class File:
        name: Path | None = None

    class Reading(Talking):
        controls = {"read": Control(summary="Reads.", run=Talking.close, params=File)}

    with serving(source({"a": Reading})) as server, robot(server) as one:
        assert one.opened()["meta"]["controls"]["read"]["params"] == {
            "name": {"type": "a path or null", "default": None}
        }
        refused = one.ask({"type": "read", "params": {"name": "/etc/passwd"}})
        assert (refused["code"], "path" in refused["error"]) == ("bad_parameter", True)


@pytest.mark.rule("L-32", "L-3")
@pytest.mark.parametrize("raises", [RuntimeError("no such thing"), SystemExit(3), KeyError("x"), StopIteration()])
def test_a_control_that_raises_is_answered_and_the_session_goes_on(raises):
    def says(episode):
        raise raises

    _, made = talking(says)
    with serving(made) as server, robot(server) as one:
        one.opened()
        assert one.ask({"type": "say"})["code"] == "policy_failed"
        assert first(one.ask(X)) == 1


@pytest.mark.rule("L-31", "L-3")
@pytest.mark.parametrize("raises", [SystemExit(3), KeyError("x")], ids=repr)
@pytest.mark.parametrize("frame", [{"type": "aim", "params": {"at": 1}}, {"type": "configure", "params": {"at": 1}}])
def test_parameters_that_leave_the_program_leave_the_server(frame, raises):
    @dataclass(frozen=True)
    class Aim:
        at: int = changeable(0)

        def __post_init__(self):
            if self.at:
                raise raises

    class Aiming(Talking):
        controls = {"aim": Control(summary="Aims.", run=lambda session, params: None, params=Aim)}

    def make():
        policy = Aiming()
        policy.params = Aim
        return policy

    with serving(source({"a": make})) as server, robot(server) as one:
        one.opened()
        refused = one.ask(frame)
        assert refused["code"] == "bad_parameter"
        assert f"cannot be given its options: {type(raises).__name__}" in refused["error"]
        assert one.ask({"type": "ping"})["status"] == "pong"


@pytest.mark.rule("L-32")
@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (None, "answered nothing; it declares said"),
        ([1], "answered a list"),
        ({"other": 1}, "answered other; it declares said"),
        ({"said": 1, "more": 2}, "answered said, more"),
        ({"said": np.float32(1)}, "is of type float32; expected plain data"),
        ({"said": np.zeros(3)}, "is of type ndarray"),
        ({"said": float("nan")}, "'said' is nan"),
        ({"said": [0.0, float("inf")]}, "expected a finite number"),
        ({"said": b"bytes"}, "is of type bytes"),
        ({"said": {1: 2}}, "has the name 1"),
        ({"said": "\ud800"}, "is not sent"),
        ({"said": 2**70}, "is not sent"),
        ({"said": "x" * 5000}, "bytes; expected at most 4,096"),
        ({"said": [0] * 5000}, "holds more than 1,024 values"),
        ({"said": [[[[[[[[[1]]]]]]]]]}, "nested more than 8 deep"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_an_answer_that_is_not_what_it_declares_is_not_sent(answer, says):
    _, made = talking(lambda episode: answer)
    with serving(made) as server, robot(server) as one:
        one.opened()
        refused = one.ask({"type": "say"})
        assert refused["code"] == "policy_failed"
        assert says in refused["error"]
        assert first(one.ask(X)) == 1


@pytest.mark.rule("L-32")
def test_an_answer_that_holds_itself_is_not_sent():
    endless = []
    endless += [endless] * 50
    _, made = talking(lambda episode: {"said": endless})
    with serving(made) as server, robot(server) as one:
        one.opened()
        assert "nested more than 8 deep" in one.ask({"type": "say"})["error"]


@pytest.mark.rule("A-11")
def test_an_answer_does_not_say_where_files_lie():
    _, made = talking(lambda episode: {"said": ["/home/ada/runs/7/config.json", {"at": "/home/ada/x"}]})
    with serving(made) as server, robot(server) as one:
        one.opened()
        assert one.ask({"type": "say"}) == called("say", said=["[path]/config.json", {"at": "[path]"}])


@pytest.mark.rule("L-32")
def test_a_control_that_hangs_is_told_as_an_inference_that_does(door):
    def says(episode):
        door.passing()
        return {"said": 1}

    policy, made = talking(says)
    with serving(made, infer=1.0) as server, robot(server) as one:
        one.opened()
        late = one.ask({"type": "say"})
        assert late["code"] == "timeout"
        assert "the control say did not return within 1 s" in late["error"]
        queued = one.ask({"type": "mark", "params": {"note": "too late"}})
        assert queued["code"] == "timeout"
        changed = one.ask({"type": "configure", "params": {"gain": 7.0}})
        assert changed["code"] == "timeout"
        door.open()
        while (reply := one.ask({"type": "ping"})).get("code") == "timeout":
            pass
        assert reply["status"] == "pong"
        assert [type(asked).__name__ for asked in policy.episodes[0].asked] == ["NoParams"], "the other never began"
        while (reply := one.ask(X)).get("code") == "timeout":
            pass  # a machine with other things to do needs longer than that
        assert first(reply) < 7, "nor was anything changed of which it was said that it was not"


@pytest.mark.rule("L-33", "M-1")
def test_configure_changes_this_session_from_the_next_inference_on():
    _, made = talking()
    with serving(made) as server, robot(server) as one, robot(server, query="gain=3") as two:
        meta = one.opened()["meta"]
        two.opened()
        assert first(one.ask(X)) == 1
        changed = one.ask({"type": "configure", "params": {"gain": 2, "codec.offset": 0.5, "names": ["a"]}})
        assert changed == called(
            "configure",
            changed={
                "gain": {"old": 1.0, "new": 2.0},
                "codec.offset": {"old": 0.0, "new": 0.5},
                "names": {"old": [], "new": ["a"]},
            },
        )
        assert first(one.ask(X)) == 2.5
        assert first(two.ask(X)) == 3, "another session has its own"
        assert one.ask({"type": "reset"}) == {"status": "reset"}
        assert first(one.ask(X)) == 2.5, "an episode's end changes nothing"
        again = one.ask_text({"type": "configure", "params": {"gain": 4}})["answer"]["changed"]
        assert again == {"gain": {"old": 2.0, "new": 4.0}}
        assert first(one.ask(X)) == 4.5, "what was not named stays"
        kept = one.ask({"type": "configure", "params": {"names": []}})["answer"]["changed"]
        assert kept == {"names": {"old": ["a"], "new": []}}
        assert first(one.ask(X)) == 4.5
        assert first(two.ask(X)) == 3
        with robot(server) as three:
            assert three.opened()["meta"] == meta
            assert first(three.ask(X)) == 1


@pytest.mark.rule("L-33", "L-34")
@pytest.mark.parametrize(
    ("params", "says"),
    [
        ({"gain": 2.0, "codec.offset": "far"}, "'offset' of the codec puppet.shift expects a number"),
        ({"codec.offset": 1.0, "gain": -1.0}, "gain is -1.0, expected 0 or more"),
        (
            {"gain": 2.0, "mode": "slow"},
            "mode is set when a session opens (?mode=…) and cannot change in it; what can:",
        ),
        ({"gain": 2.0, "codec.fps": 10.0}, "codec.fps is set when a session opens"),
        ({"gain": 2.0, "codec.unit": "deg"}, "codec.unit would change what the handshake said (conventions)"),
        ({"gain": 2.0, "codec.whole": True}, "codec.whole would change what the handshake said (context)"),
        ({"gain": 2.0, "": 1}, "no option ''"),
        ({"gain": 2.0, "codec.": 1}, "no option 'codec.'"),
        ({"gain": None}, "expects a number, not null"),
    ],
    ids=str,
)
def test_configure_changes_all_or_nothing(params, says):
    _, made = talking()
    with serving(made) as server, robot(server) as one:
        one.opened()
        refused = one.ask({"type": "configure", "params": params})
        assert refused["code"] == "bad_parameter"
        assert says in refused["error"]
        assert first(one.ask(X)) == 1
        changed = one.ask({"type": "configure", "params": {"gain": 1.0, "codec.offset": 0.0}})["answer"]["changed"]
        assert {name: value["old"] for name, value in changed.items()} == {"gain": 1.0, "codec.offset": 0.0}


@pytest.mark.rule("L-33", "C-3")
def test_who_takes_a_lingering_lease_back_has_the_options_that_the_handshake_says(door):
    """To the letter, though the handshake itself has no path in it; but not in the middle of an inference."""
    seen = []

    def answer(episode, inputs):
        before = episode.params
        door.passing()
        seen.append((before, episode.params))
        return Chunk(np.full((1, 2), episode.params.gain))

    policy, made = talking()
    policy.answer = answer
    begun = Tuning(names=("/home/agent/calm",))
    with serving(made, linger=HOUR) as server:
        query = 'names=["/home/agent/calm"]'
        with robot(server, query=query) as one:
            session_id = one.opened()["session_id"]
            changes = {"gain": 2.0, "names": ["x"], "codec.offset": 1.0}
            assert one.ask({"type": "configure", "params": changes})["status"] == "called"
            one.send(X)
            reached(door.entered)
            one.vanish()
        with robot(server, query=f"{query}&session_id={session_id}") as again:
            opened = again.opened()
            assert opened["session_id"] == session_id
            params = opened["meta"]["controls"]["configure"]["params"]
            assert {name: said["default"] for name, said in params.items()} == {
                "gain": 1.0, "names": ["[path]"], "codec.offset": 0.0, "codec.unit": "rad", "codec.whole": False,
            }  # fmt: skip
            again.send({"type": "configure", "params": {"codec.offset": 0.5}})
            again.send(X)
            door.open()
            assert again.receive()["answer"]["changed"] == {"codec.offset": {"old": 0.0, "new": 0.5}}
            assert first(again.receive()) == 1.5
    changed = Tuning(gain=2.0, names=("x",))
    assert seen == [(changed, changed), (begun, begun)]


@pytest.mark.rule("L-33")
def test_what_stands_queued_behind_a_change_goes_by_it(door):
    _, made = talking(doors={0: door})
    with serving(made) as server, robot(server) as one:
        one.opened()
        one.send(X)
        reached(door.entered)
        one.send({"type": "configure", "params": {"gain": 5.0}})
        door.open()
        assert first(one.receive()) == 1, "it was asked before"
        assert one.receive()["status"] == "called"
        assert first(one.ask(X)) == 5


@dataclass(frozen=True)
class NotPlain:
    at: object = object()


@pytest.mark.rule("M-25")
@pytest.mark.parametrize(
    "controls",
    [
        {"reset": CONTROLS["say"]},
        {"configure": CONTROLS["say"]},
        {"Say": CONTROLS["say"]},
        {"": CONTROLS["say"]},
        {3: CONTROLS["say"]},
        {"a" * 65: CONTROLS["say"]},
        {"say": print},
        {"say": Control(summary="s", run=print, params=dict)},
        {"say": Control(summary="s", run=print, params=NotPlain)},
        {"say": Control(summary=3, run=print)},
        {"say": Control(summary="s", run=print, answers={"a": 1})},
    ],
    ids=lambda controls: str(next(iter(controls)))[:9],
)
def test_what_no_policy_may_declare_is_refused_at_the_handshake(controls):
    def make():
        policy = Talking()
        policy.controls = controls
        return policy

    with serving(source({"a": make})) as server, robot(server) as one:
        assert one.refused()["code"] == "load_failed"


@pytest.mark.rule("M-25", "L-33")
def test_no_code_of_a_session_runs_as_it_is_told_of_a_change():
    class Slots:
        __slots__ = ("params",)

    class Frozen(Slots, Talker):
        def __setattr__(self, name, value):
            if name == "params" and hasattr(self, "asked"):
                raise SystemExit("it never changes")
            super().__setattr__(name, value)

    with serving(source({"a": beginning(Frozen)})) as server, robot(server) as one:
        one.opened()
        assert one.ask({"type": "configure", "params": {"gain": 2.0}})["status"] == "called"
        assert first(one.ask(X)) == 2


@pytest.mark.rule("M-25")
def test_a_session_whose_parameters_are_a_property_is_refused_at_the_handshake():
    class Property(Talker):
        params = property(lambda self: self._params, lambda self, params: setattr(self, "_params", params))

    with serving(source({"a": beginning(Property)})) as server, robot(server) as one:
        assert "as self.params, a plain attribute" in one.refused()["error"]


@pytest.mark.rule("M-25")
def test_a_session_that_would_go_by_the_old_parameters_is_refused_at_the_handshake():
    class Forgetful(Talking):
        def new_session(self, params):
            session = super().new_session(params)
            session.gain, session.params = params.gain, None
            return session

    with serving(source({"a": Forgetful})) as server, robot(server) as one:
        refused = one.refused()
        assert refused["code"] == "load_failed"
        assert "does not keep those that it was started with as self.params" in refused["error"]


@pytest.mark.rule("L-32", "C-7")
@pytest.mark.parametrize("kind", ["say", "reset"])
def test_a_control_that_finds_the_model_lost_is_told_as_an_inference_that_does(kind):
    def gone(*_):
        raise ModelLost("the child is gone")

    policy, made = talking(gone)
    with serving(made) as server, robot(server) as one, robot(server) as two:
        one.opened()
        two.opened()
        for episode in policy.episodes:
            episode.reset = gone
        lost = one.ask({"type": kind})
        assert (lost["code"], lost["error"]) == ("model_lost", "the child is gone")
        assert one.closed() == two.closed() == 1011


@pytest.mark.rule("L-30")
@pytest.mark.parametrize("query", ["dialect=positronic", "layout=columns", "encoding=json"])
def test_a_control_is_the_same_in_every_form_of_session(query):
    policy, made = talking()
    policy.controls = {"mark": CONTROLS["mark"]}
    with serving(made) as server, robot(server, query=f"{query}&codec.fps=10") as one:
        one.opened()
        assert one.ask({"type": "mark", "params": {"note": "n"}})["answer"]["note"] == "n"
        assert one.ask({"type": "configure", "params": {"gain": 2.0}})["status"] == "called"
