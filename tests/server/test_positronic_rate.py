"""A client of Positronic's and a model whose rate nobody says: it is told so before it can break on it."""

import pytest
from offboard_core.server import InferenceServer
from puppets import arm
from robots import robot
from websockets.http11 import USER_AGENT

THEIRS = {"user_agent_header": USER_AGENT}
WHY = "Positronic's rows need a timestamp and nothing says the rate: serve with --fps"


@pytest.fixture(scope="module")
def server():
    with InferenceServer({"only": arm(fps=None)}, port=0) as running:
        with robot(running) as one:
            one.opened()
        yield running


@pytest.mark.rule("P-10")
@pytest.mark.parametrize(
    ("query", "options"), [("", THEIRS), ("dialect=positronic", {}), ("dialect=positronic", THEIRS)]
)
def test_a_session_of_positronics_is_refused_at_opening(server, query, options):
    with robot(server, query=query, **options) as one:
        frame = one.refused()
        assert frame["code"] == "dialect_unsupported"
        assert frame["error"].startswith(WHY)
        assert ("?dialect=offboard" in frame["error"]) is (query == "")
        assert one.closed() == 1008


@pytest.mark.rule("P-10")
@pytest.mark.parametrize(
    ("query", "options"),
    [
        ("", {}),
        ("", {"user_agent_header": "Mozilla/5.0"}),
        ("dialect=offboard", THEIRS),
        ("encoding=json", THEIRS),
        ("codec.fps=10", THEIRS),
        ("codec.fps=10&dialect=positronic", THEIRS),
    ],
)
def test_every_other_session_opens(server, query, options):
    with robot(server, query=query, **options) as one:
        one.opened()


@pytest.mark.rule("P-10")
def test_with_a_rate_nobody_is_refused():
    with InferenceServer({"only": arm(fps=10)}, port=0) as server:
        for query in ("", "dialect=positronic"):
            with robot(server, query=query, **THEIRS) as one:
                assert one.opened()["meta"]["action_fps"] == 10
