"""A model in a worker, through the server: its robots are told, and the others notice nothing."""

import json
import sys
from urllib.request import urlopen

import numpy as np
import psutil
import pytest
import worker_vendor
from offboard_client import InferenceClient
from offboard_client.errors import BadParameter, LoadFailed, ModelLost, PolicyFailed
from offboard_core import InferenceServer
from offboard_core.catalog import from_flags
from offboard_core.plugins import Plugins
from offboard_core.workers import Isolation
from waits import PATIENCE


@pytest.fixture(scope="module")
def server():
    plugins = Plugins.of(pupil=worker_vendor)
    sources = {
        name: from_flags(
            plugins, vendor="pupil", codec="native", isolation=Isolation(restarts=restarts, environment="pebbles-1.0")
        )
        for name, restarts in {"one": 3, "brittle": 0}.items()
    }
    with InferenceServer(sources, port=0) as server:
        yield server


@pytest.fixture
def client(server):
    with InferenceClient(server.host, server.port) as client:
        yield client


def state(server):
    with urlopen(f"http://{server.host}:{server.port}/api/v1/status") as answer:
        return json.load(answer)["loaded"]["health"]["state"]


def loaded_replica(server):
    with urlopen(f"http://{server.host}:{server.port}/api/v1/status") as answer:
        return json.load(answer)["replicas"][0]


@pytest.mark.rule("H-8", "M-1", "M-2")
def test_the_status_and_the_handshake_say_which_process_has_the_model(server, client):
    python, seen = ".".join(map(str, sys.version_info[:3])), set()
    for _ in range(2):
        with client.new_session("one") as session:
            assert session.metadata["elsewhere"] == {"python": python, "environment": "pebbles-1.0"}
            found = loaded_replica(server)["elsewhere"]
            pid = int(session.infer({"do": "pid"})[0]["action"]["action"][0])
            assert (found["pid"], found["python"], found["environment"]) == (pid, python, "pebbles-1.0")
            assert psutil.Process(pid).memory_info().rss / 2 < found["memory_bytes"] < 1 << 30
            seen.add(pid)
            with pytest.raises(PolicyFailed):
                session.infer({"do": "kill"})
            assert loaded_replica(server)["elsewhere"]["python"] == python
    assert len(seen) == 2


def test_a_model_in_the_server_is_nowhere_else():
    source = from_flags(Plugins.of(pupil=worker_vendor), vendor="pupil", codec="native")
    with (
        InferenceServer({"here": source}, port=0) as server,
        InferenceClient(server.host, server.port) as client,
        client.new_session() as session,
    ):
        assert "elsewhere" not in session.metadata
        assert loaded_replica(server)["elsewhere"] is None


def test_a_crash_costs_answers_and_no_session(server, client):
    with client.new_session("one") as one, client.new_session("one") as two:
        for session in (one, two):
            session.infer({"do": "count"})
        with pytest.raises(PolicyFailed, match="was killed by SIGKILL in mid-call"):
            one.infer({"do": "kill"})
        client.new_session("one").close()  # waits until it is back
        assert state(server) == "ready"
        with pytest.raises(PolicyFailed, match="reset the session"):
            two.infer({"do": "count"})
        for session in (one, two):
            session.reset()
            assert session.infer({"do": "count"})[0]["action"]["action"].tolist() == [1.0]


def test_one_that_is_given_up_is_loaded_anew(client):
    with client.new_session("brittle") as session, pytest.raises((PolicyFailed, ModelLost)):
        session.infer({"do": "exits"})
    with client.new_session("brittle") as session:
        session.infer({"do": "count"})


@pytest.mark.parametrize(("load", "said"), [("fails", "take the right ones"), ("lacks", "no_such_library")])
def test_a_server_ends_whose_model_can_never_be_loaded(load, said):
    source = from_flags(
        Plugins.of(pupil=worker_vendor), vendor="pupil", codec="native", loader_options={"load": load},
        isolation=Isolation(),
    )  # fmt: skip
    server = InferenceServer({"": source}, port=0)
    with pytest.raises(LoadFailed, match=rf"pupil could not be loaded: .*{said}"), server:
        server.wait(PATIENCE)


def test_parameters_are_checked_by_the_policys_own_class(client):
    with pytest.raises(BadParameter, match=r"speed is 1\.5, expected at most 1"):
        client.new_session("one", speed=1.5)
    with client.new_session("one", speed=0.5) as session:
        assert session.infer({"do": "speed"})[0]["action"]["target_grip"] == np.float32(0.5)
        with pytest.raises(BadParameter, match=r"speed is 1\.5, expected at most 1"):
            session.configure(speed=1.5)
        assert session.configure(speed=0.25)
        assert session.infer({"do": "speed"})[0]["action"]["target_grip"] == np.float32(0.25)
        assert session.call("mark", where=1.0) == {"marked": 3, "of": {"where": 1.0}}
