"""What holds over a long time, with the settings that everybody has: the long forms run with ``pytest -m slow``."""

import threading

import pytest
from offboard_client import InferenceClient
from offboard_core.server import InferenceServer

slow = pytest.mark.slow


@pytest.mark.parametrize("seconds", [1, pytest.param(45, marks=slow)])
def test_an_inference_that_takes_long_is_waited_for(seconds):
    def think(observation):
        threading.Event().wait(seconds)
        return {"target_grip": observation["grip"]}

    with (
        InferenceServer({"thinker": lambda: think}, port=0) as server,
        InferenceClient(server.host, server.port) as client,
        client.new_session() as session,
    ):
        for grip in (0.25, 0.75):
            assert [row["action"]["target_grip"] for row in session.infer({"grip": grip})] == [grip]


@pytest.mark.parametrize("exchanges", [200, pytest.param(100_000, marks=slow)])
def test_every_answer_belongs_to_its_question(exchanges):
    def echo(observation):
        return {"target_grip": observation["grip"]}

    with (
        InferenceServer({"echo": lambda: echo}, port=0) as server,
        InferenceClient(server.host, server.port) as client,
        client.new_session() as session,
    ):
        for number in range(exchanges):
            grip = number % 1024 / 1024
            [row] = session.infer({"grip": grip})
            assert row["action"]["target_grip"] == grip
