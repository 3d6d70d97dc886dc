"""A model that cannot answer is told to whoever asks, and to nobody who may not ask."""

import pytest
from offboard_core import Health
from offboard_core.server import InferenceServer
from puppets import Puppet, source
from robots import get, get_json, robot

BEARER = {"Authorization": "Bearer a-token-of-the-tests"}


@pytest.fixture
def says():
    return [Health()]


@pytest.fixture
def model(says):
    return source({"secret-model": lambda: Puppet(health=lambda: says[-1])})


@pytest.mark.rule("H-5", "H-6", "H-7", "H-8", "S-11")
def test_readiness_follows_the_models_health(says, model):
    with InferenceServer({"only": model}, port=0) as server, robot(server) as one:
        one.opened()
        assert get(server, "/readyz")[0] == 200
        says.append(Health("recovering", "no such file: /home/somebody/models/7"))
        assert get(server, "/readyz")[1] == "not ready: secret-model is recovering: no such file: [path]\n"
        says.append(Health("recovering", "its child is being restarted\nthe end of its log"))
        for path in ("/readyz", "/healthz"):
            status, body, _ = get(server, path)
            assert (status, body) == (503, "not ready: secret-model is recovering: its child is being restarted\n")
        assert get(server, "/livez")[0] == 200
        assert get_json(server, "/api/v1/status")["loaded"]["health"] == {
            "state": "recovering", "reason": "its child is being restarted\nthe end of its log",
        }  # fmt: skip
        assert "offboard_ready 0.0" in get(server, "/metrics")[1]
        assert "result" in one.ask({}), "a session that is open goes on"
        with robot(server) as other:
            assert "secret-model is recovering: its child is being restarted" in other.told("loading")["message"]
            says.append(Health())
            other.opened()
        assert get(server, "/readyz")[0] == 200
        assert "offboard_ready 1.0" in get(server, "/metrics")[1]


@pytest.mark.rule("H-7")
def test_who_may_ask_nothing_else_hears_yes_or_no(says, model):
    with InferenceServer({"only": model}, port=0, auth_token="a-token-of-the-tests") as server:
        with robot(server, additional_headers=BEARER) as one:
            one.opened()
        says.append(Health("recovering", "its child is being restarted"))
        assert get(server, "/readyz")[1] == "not ready\n"
        assert get(server, "/readyz", {"Authorization": "Bearer wrong"})[1] == "not ready\n"
        assert "secret-model is recovering" in get(server, "/readyz", BEARER)[1]
    with InferenceServer({"only": model}, port=0) as server:
        with robot(server) as one:
            one.told("loading")
        assert get(server, "/readyz", {"Host": "pages.of.somebody.else"})[1] == "not ready\n"


@pytest.mark.rule("C-7", "S-11")
def test_a_failed_model_ends_its_sessions_and_the_next_one_loads_it_anew(says, model):
    with InferenceServer({"only": model}, port=0) as server:
        with robot(server) as one:
            one.opened()
            says.append(Health("failed", "it died 3 times in a row"))
            assert (one.closed(), one.reason) == (1011, "model_lost")
        assert get(server, "/readyz")[:2] == (503, "not ready: secret-model has failed: it died 3 times in a row\n")
        assert get_json(server, "/api/v1/status")["last_failure"]["text"] == "it died 3 times in a row"
        says.append(Health())
        with robot(server) as one:
            one.opened()
            assert "result" in one.ask({})
        assert get(server, "/readyz")[0] == 200
