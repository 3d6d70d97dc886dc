"""Each law that is seen over a socket is broken once: by a vendor, or by what alters a good server's frames."""

import contextlib
import threading
from collections import Counter
from dataclasses import dataclass

import numpy as np
import pytest
from offboard_client import wire
from offboard_client.plugins import changeable
from offboard_core import Checkpoint, Chunk, CodecMeta, Control, Session
from offboard_core.catalog import ModelSource
from offboard_core.testing import CodecLaws, ControlLaws, ProtocolLaws
from planted import OBSERVATION, Good, Model, check, resolved, seen_over, served, serving_it
from robots import Robot, connect_to
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import serve

PATIENCE = 60


@contextlib.contextmanager
def altered(url, alter):
    """Between a robot and the server at ``url``: ``alter(frame, seen)`` makes of each of its frames what is sent.

    ``seen`` counts connections, and what ``alter`` likes to count; None: the frame is kept back.
    """
    base, seen = url[: url.index("/api")], Counter()

    def relay(client):
        seen["connections"] += 1
        with connect_to(base + client.request.path) as server, contextlib.suppress(ConnectionClosed):
            upstream = Robot(server)
            while True:
                while True:
                    frame = upstream.receive()
                    for each in alter(frame, seen):
                        client.send(wire.encode(each))
                    if frame.get("status") not in ("waiting", "loading"):
                        break
                upstream.send(client.recv())

    with serve(relay, "127.0.0.1", 0, compression=None, max_size=None) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            host, port = server.socket.getsockname()
            yield f"ws://{host}:{port}" + url[len(base) :]
        finally:
            server.shutdown()
            thread.join(PATIENCE)


def as_it_is(frame, seen):
    return [frame]


def waits_first(frame, seen):
    return [{"status": "loading"}, frame] if frame.get("status") == "ready" else [frame]


def counts_connections(frame, seen):
    if frame.get("status") == "ready":
        frame["meta"]["connections"] = seen["connections"]
    return [frame]


def answers_twice(frame, seen):
    return [frame, frame] if "result" in frame else [frame]


def forgets_the_number(frame, seen):
    return [{**frame, "offboard.seq": 0}] if "offboard.seq" in frame else [frame]


def rows(frame, change):
    if isinstance(frame.get("result"), list):
        frame = {**frame, "result": [change(i, row) for i, row in enumerate(frame["result"])]}
    return [frame]


def makes_times_up(frame, seen):
    return rows(frame, lambda i, row: {**row, "timestamp": 0.1 * i})


def makes_another_name(frame, seen):
    return rows(frame, lambda i, row: {"action": {"joints": row["action"]["target_joints"]}})


def leaves_a_joint_out(frame, seen):
    return rows(frame, lambda i, row: {"action": {"target_joints": row["action"]["target_joints"][1:]}})


def sends_what_is_no_number(frame, seen):
    return rows(frame, lambda i, row: {"action": {"target_joints": row["action"]["target_joints"] * np.nan}})


def never_forgets_an_error(frame, seen):
    seen["errors"] += "error" in frame
    return [{"error": "as before", "code": "bad_message"}] if seen["errors"] and "result" in frame else [frame]


def calls_a_reset_a_pong(frame, seen):
    return [{**frame, "status": "pong"}] if frame.get("status") == "reset" else [frame]


def loses_a_step_of_columns(frame, seen):
    result = frame.get("result")
    if isinstance(result, dict):
        columns = result["columns"]
        action = {name: column[1:] for name, column in columns["action"].items()}
        frame = {**frame, "result": {**result, "columns": {**columns, "action": action}}}
    return [frame]


@pytest.fixture(scope="module")
def good():
    with serving_it(served(Model)) as url:
        yield url


@pytest.mark.parametrize(
    ("alter", "law"),
    [
        (waits_first, ProtocolLaws.test_ready_is_the_first_frame_once_the_model_is_loaded),
        (counts_connections, ProtocolLaws.test_ready_is_the_first_frame_once_the_model_is_loaded),
        (answers_twice, ProtocolLaws.test_one_reply_for_each_observation),
        (forgets_the_number, ProtocolLaws.test_one_reply_for_each_observation),
        (makes_times_up, ProtocolLaws.test_a_row_is_what_the_handshake_promised),
        (makes_another_name, ProtocolLaws.test_a_row_is_what_the_handshake_promised),
        (leaves_a_joint_out, ProtocolLaws.test_a_row_is_what_the_handshake_promised),
        (sends_what_is_no_number, ProtocolLaws.test_a_row_is_what_the_handshake_promised),
        (never_forgets_an_error, ProtocolLaws.test_an_error_leaves_the_session_as_it_was),
        (calls_a_reset_a_pong, ProtocolLaws.test_control_frames_are_answered),
        (loses_a_step_of_columns, ProtocolLaws.test_columns_and_rows_are_the_same_chunk),
    ],
)
def test_a_server_that_breaks_a_law_is_found(good, alter, law):
    for change in (as_it_is, alter):
        raised = contextlib.nullcontext() if change is as_it_is else pytest.raises(AssertionError)
        with altered(good, change) as url, connect_to(url) as connection:
            robot = Robot(connection)
            robot.opened()
            with raised:
                check(ProtocolLaws(), law, url=url, robot=robot, observation=OBSERVATION, resolved_codec=resolved(Good))


@dataclass(frozen=True)
class Gain:
    gain: float = changeable(1.0)


class Tuned(Session):
    """Keeps its parameters, and a mark of its own."""

    mark = 0.0

    def __init__(self, params):
        self.params = params

    def infer(self, inputs, context):
        return Chunk(inputs["state"][None] * self.params.gain + self.mark)


def mark(session, params):
    session.mark += 1.0
    return {"mark": session.mark}


def declared(run=mark, summary="Marks what is answered from now on.", says="how often it was marked"):
    return {"mark": Control(summary=summary, run=run, answers={"mark": says})}


class Asked(Model):
    """Does what the laws of controls ask for."""

    params = Gain
    controls = declared()
    session = Tuned

    def new_session(self, params):
        return self.session(params)


class SaysNothingOfIt(Asked):
    controls = declared(summary=" ")


class SaysNothingOfItsAnswer(Asked):
    controls = declared(says="")


class AnswersAnotherName(Asked):
    controls = declared(run=lambda session, params: {"marks": 1.0})


class AnswersWhatIsNoData(Asked):
    controls = declared(run=lambda session, params: {"mark": np.float32(1.0)})


class EndsTheSession(Asked):
    controls = declared(run=lambda session, params: {"mark": session.__dict__.pop("params") and 1.0})


class MarksEverybody(Asked):
    class session(Tuned):
        pass

    def shared(session, params):
        type(session).mark = 5.0
        return {"mark": 5.0}

    controls = declared(run=shared)


class CopiesItsParams(Asked):
    class session(Tuned):
        def __init__(self, params):
            self.params = Gain(params.gain)


class ResetsItsParams(Asked):
    class session(Tuned):
        def __init__(self, params):
            self.params = self.first = params

        def reset(self):
            self.params = self.first


@dataclass(frozen=True)
class Halved:
    gain: float = changeable(1.0)

    def __post_init__(self):
        object.__setattr__(self, "gain", self.gain / 2)


class HalvesAgain(Asked):
    params = Halved


@pytest.mark.parametrize(
    ("policy", "law"),
    [
        (SaysNothingOfIt, ControlLaws.test_what_it_can_be_asked_is_told),
        (SaysNothingOfItsAnswer, ControlLaws.test_what_it_can_be_asked_is_told),
        (AnswersAnotherName, ControlLaws.test_a_control_answers_what_it_declares),
        (AnswersWhatIsNoData, ControlLaws.test_a_control_answers_what_it_declares),
        (EndsTheSession, ControlLaws.test_a_control_answers_what_it_declares),
        (MarksEverybody, ControlLaws.test_a_control_is_its_sessions_own),
        (CopiesItsParams, ControlLaws.test_a_session_goes_by_the_parameters_that_it_is_given),
        (ResetsItsParams, ControlLaws.test_a_session_goes_by_the_parameters_that_it_is_given),
        (HalvesAgain, ControlLaws.test_what_is_set_to_what_it_was_stays),
    ],
)
def test_controls_that_break_a_law_are_found(policy, law):
    for kind in (Model, Asked, policy):
        raised = pytest.raises(AssertionError) if kind is policy else contextlib.nullcontext()
        given = {"policy": kind(), "observation": OBSERVATION, "resolved_codec": resolved(Good)}
        if policy not in (CopiesItsParams, ResetsItsParams, MarksEverybody):
            with serving_it(served(kind)) as url, seen_over(url) as seen, raised:
                check(ControlLaws(), law, **given, **seen)
        else:
            with raised:
                check(ControlLaws(), law, **given)


@dataclass(frozen=True)
class Rate:
    fps: float = changeable(10.0)
    scale: float = 1.0


@dataclass(frozen=True)
class Scale:
    fps: float = 10.0
    scale: float = changeable(1.0)


class Timed(Good):
    def __init__(self, options):
        self.meta = CodecMeta(observation=Good.meta.observation, action=Good.meta.action, action_fps=options.fps)


@pytest.mark.parametrize(
    ("options", "law"),
    [(Rate, CodecLaws.test_an_option_that_may_change_changes_nothing_that_the_handshake_said)],
)
def test_a_codec_whose_handshake_may_change_is_found(options, law):
    def given(kind) -> dict[str, ModelSource]:
        source, checkpoint = served(Model, Timed, kind), Checkpoint(id="only")
        return {"source": source, "checkpoint": checkpoint, "resolved_codec": source.codec.resolve(checkpoint, {})}

    check(CodecLaws(), law, **given(Scale))
    with pytest.raises(AssertionError, match="fps"):
        check(CodecLaws(), law, **given(options))
