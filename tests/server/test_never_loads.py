"""A default model that can never be loaded ends the server with that reason; one that may be later does not."""

import json
import re

import pytest
from offboard_client import errors
from offboard_client.errors import LoadFailed
from offboard_core import ModelLost
from offboard_core.server import InferenceServer
from puppets import Puppet, source
from robots import get, get_json, robot


def never():
    raise LoadFailed("there is no device 'cuda' here", permanent=True)


def lacks():
    import there_is_no_such_library  # noqa: F401


@pytest.mark.parametrize(
    ("load", "why"),
    [(never, "there is no device 'cuda' here"), (lacks, "ModuleNotFoundError: No module named 'there_is_no_such_")],
)
def test_a_default_that_can_never_be_loaded_ends_the_server(load, why, door, caplog):
    def later():
        door.passing()
        load()

    with (  # noqa: PT012
        pytest.raises(LoadFailed, match=re.escape(f"a could not be loaded: {why}")),
        InferenceServer({"only": source({"a": later, "b": Puppet})}, port=0) as server,
        robot(server) as one,
    ):
        one.told("loading")
        door.open()
        assert f"could not be loaded: {why}" in one.refused()["error"], "not that the server is going away"
    assert [r.getMessage() for r in caplog.records if "ended by itself" in r.getMessage()]


def test_a_callable_that_lacks_a_library_ends_it_too():
    with pytest.raises(LoadFailed, match="No module named 'there_is_no_such_library'"):
        InferenceServer({"a": lacks}, port=0).serve()


def test_nobody_tries_again_what_can_never_be(door):
    tries = []

    def load():
        tries.append(1)
        door.passing()
        never()

    with InferenceServer({"only": source({"a": load})}, port=0, preload=False) as server:
        with robot(server) as one, robot(server) as two:
            one.told("loading")
            two.told("loading")
            door.open()
            assert "there is no device" in one.refused()["error"]
            assert "there is no device" in two.refused()["error"]
        assert len(tries) == 1
        assert get(server, "/livez")[0] == 200, "nobody said at the start that it is what this server is for"


@pytest.mark.parametrize("raised", [OSError("the network is down"), LoadFailed("openpi was killed"), MemoryError()])
def test_one_that_may_be_loaded_later_does_not(raised):
    raises = [raised]

    def load():
        if raises:
            raise raises.pop()
        return Puppet()

    with InferenceServer({"only": source({"a": load})}, port=0) as server:
        with robot(server) as one:
            one.opened()
        assert get(server, "/readyz")[0] == 200
        assert not raises
        assert get_json(server, "/api/v1/status")["last_failure"]["model"] == "a"


def test_another_model_that_can_never_be_loaded_does_not():
    with InferenceServer({"only": source({"a": Puppet, "b": never})}, port=0) as server:
        with robot(server, "b") as one:
            assert "there is no device" in one.refused()["error"]
        with robot(server, "a") as one:
            one.opened()


@pytest.mark.rule("H-7", "H-8")
def test_what_failed_last_is_told(caplog):
    def load():
        raise OSError("no weights")

    with InferenceServer({"only": source({"secret": load})}, port=0) as server:
        with robot(server) as one:
            assert "no weights" in one.refused()["error"]
        told = get_json(server, "/api/v1/status")["last_failure"]
        assert told["model"] == "secret"
        assert told["text"] == "secret could not be loaded: OSError: no weights"
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", told["time"])
        caplog.clear()
        for _ in range(2):
            status, body, _ = get(server, "/readyz")
            assert (status, body) == (503, f"not ready: no model is loaded; {told['text']}\n")
        logged = [r.getMessage() for r in caplog.records]
        assert logged.count("not ready: secret could not be loaded: OSError: no weights") == 1
        assert get(server, "/healthz")[0] == 503


@pytest.mark.rule("H-8")
def test_a_model_that_was_lost_is_what_failed_last():
    def lost(episode, inputs):
        raise ModelLost("its process died")

    with InferenceServer({"only": source({"a": lambda: Puppet(lost)})}, port=0) as server:
        assert get_json(server, "/api/v1/status")["last_failure"] is None
        with robot(server) as one:
            one.opened()
            assert one.ask({})["code"] == "model_lost"
            one.closed()
        assert get_json(server, "/api/v1/status")["last_failure"]["text"] == "its process died"


def test_it_does_not_cross_the_wire():
    frame = json.dumps({"error": "x", "code": LoadFailed("x", permanent=True).code})
    assert not errors.from_code(json.loads(frame)["code"], "x").permanent
