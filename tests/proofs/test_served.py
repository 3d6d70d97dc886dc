"""What robots are told of a model that is compiled, and what they wait for."""

from dataclasses import replace

import numpy as np
import pytest
from offboard_core.engine import ServiceTimeouts
from offboard_core.proofs import FastCall, make_trials, prove
from offboard_core.server import InferenceServer
from offboard_core.types import CheckpointLoader, Chunk, Field, Policy, Session
from puppets import Door, Puppet, reached, source, until
from robots import get_json, robot

INPUTS = {"state": Field(shape=(3,), dtype="float32")}


class Doubling(Policy[Session]):
    """As the author of a vendor writes it: the function that takes the time can be asked in two forms."""

    def __init__(self, double):
        self.call = FastCall(lambda state: 2 * state, lambda kind: double, lambda state: state.shape)

    def new_session(self, params):
        return Doubled(self.call)


class Doubled(Session):
    def __init__(self, call):
        self.call = call

    def infer(self, inputs, context):
        return Chunk(self.call(inputs["state"])[None])


class Loader(CheckpointLoader):
    """Proves at the load what ``double`` says."""

    def __init__(self, double):
        self.double = double

    def load(self, checkpoint, report, place):
        policy = Doubling(self.double)
        if self.double is not None:
            trials = make_trials(checkpoint.inputs, (1,))
            proof = prove(policy, policy.call, trials, how="by hand", report=report)
            policy.meta = {"compiled": proof.meta()}
        return policy


def doubling(double):
    return replace(source({"a": Puppet}, inputs=INPUTS), loader=Loader(double))


def served(double):
    with InferenceServer({"only": doubling(double)}, port=0) as server, robot(server) as one:
        meta = one.opened()["meta"]
        rows = one.ask({"state": np.array([1, 2, 3], np.float32)})["result"]
        [replica] = get_json(server, "/api/v1/status")["replicas"]
    assert rows[0]["action"].tolist() == [2, 4, 6]
    assert replica["compiled"] == meta.get("compiled")
    return meta


@pytest.mark.rule("M-28", "M-10")
def test_the_handshake_and_the_status_say_whether_it_is_used_and_why_not():
    plain, same, other = served(None), served(lambda state: state + state), served(lambda state: 3 * state)
    assert "compiled" not in plain
    assert same["compiled"].items() >= {"used": True, "batch_sizes": [1], "difference": 0.0, "problems": []}.items()
    assert same["compiled"]["how"] == "by hand"
    assert other["compiled"]["used"] is False
    assert "its answers differ by up to" in other["compiled"]["problems"][0]
    assert plain["spec_hash"] == same["spec_hash"] == other["spec_hash"], "the same model, however it is computed"


@pytest.mark.rule("M-28", "M-10")
def test_who_comes_after_it_has_failed_is_told_that_it_is_not_used_any_more():
    broken = []

    def double(state):
        if broken:
            raise RuntimeError("out of memory")
        return state + state

    with InferenceServer({"only": doubling(double)}, port=0) as server, robot(server) as one:
        before = one.opened()["meta"]
        broken.append(1)
        assert one.ask({"state": np.array([1, 2, 3], np.float32)})["result"][0]["action"].tolist() == [2, 4, 6]
        with robot(server) as other:
            after = other.opened()["meta"]
        [replica] = get_json(server, "/api/v1/status")["replicas"]
    assert before["compiled"]["used"] is True
    assert after["compiled"] == replica["compiled"]
    assert after["compiled"]["used"] is False
    assert after["compiled"].keys() == {"used", "how", "tolerance", "problems"}
    assert after["compiled"]["problems"] == [
        "for one robot in a call: it failed while a robot waited: RuntimeError: out of memory"
    ]
    assert after["spec_hash"] == before["spec_hash"]


class Standing:
    """A compiler that stands at a door until the test lets it go on."""

    def __init__(self, door):
        self.door = door

    def __call__(self, state):
        self.door.passing()
        return 2 * state


def compiling(door, **limits):
    return InferenceServer({"only": doubling(Standing(door))}, port=0, limits=ServiceTimeouts(**limits))


def test_the_server_answers_while_it_compiles_and_says_so():
    with Door() as door, compiling(door, status_every=0.02) as server, robot(server) as one:
        reached(door.entered)
        assert "compiling (by hand) for one robot" in get_json(server, "/api/v1/status")["loading"]["progress"]
        one.told("loading")
        door.open()
        assert one.opened()["meta"]["compiled"]["used"] is True


def test_what_never_ends_ends_the_load_and_the_error_says_what_to_do():
    with Door() as door, compiling(door, load=0.2) as server:
        until(lambda: get_json(server, "/api/v1/status")["last_failure"], "the load is given up")
        text = get_json(server, "/api/v1/status")["last_failure"]["text"]
        door.open()
    assert "it was last at 'compiling (by hand) for one robot in a call, which may take minutes" in text
    assert "if it never ends, serve without --compile" in text
