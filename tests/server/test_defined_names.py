"""What a name of the protocol holds is checked on the server, whoever made the action and whoever asked for it."""

import numpy as np
import pytest
from offboard_client import InferenceClient, InvalidAction
from offboard_core import Chunk
from offboard_core.server import InferenceServer
from robots import robot

ANSWERS = {
    "pose of three": {"target_pose": [0.4, 0.0, 0.3]},
    "grip of seven": {"target_grip": 7.0},
    "no rotation": Chunk({"target_pose": np.zeros((2, 7))}),
    "a flat grip": Chunk({"target_grip": np.zeros(2)}),
    "no joints": Chunk({"target_joints": np.zeros((2, 0))}),
    "of an arm": {"target_pose.left": [0.4, 0.0, 0.3]},
    "good": {"target_pose": [0.4, 0.0, 0.3, 1, 0, 0, 0], "target_grip": 1.04},
}


@pytest.fixture(scope="module")
def server():
    with InferenceServer({"it": lambda: lambda seen: ANSWERS[seen["ask"]]}, port=0, fps=10) as server:
        yield server


@pytest.mark.rule("R-21")
@pytest.mark.parametrize("ask", [name for name in ANSWERS if name != "good"])
@pytest.mark.parametrize("query", ["", "layout=columns", "dialect=positronic"])
def test_a_functions_answer_under_a_defined_name_is_checked_and_the_session_goes_on(server, ask, query):
    with robot(server, query=query) as one:
        one.opened()
        reply = one.ask({"ask": ask})
        assert reply["code"] == "invalid_action"
        assert "target_" in reply["error"]
        assert "result" in one.ask({"ask": "good"})


def test_the_client_raises_what_the_server_found(server):
    with InferenceClient("127.0.0.1", server.port) as client, client.new_session() as session:
        with pytest.raises(InvalidAction, match=r"expected \(7,\): x y z in m and a unit quaternion w x y z"):
            session.infer({"ask": "pose of three"})
        (row,) = session.infer({"ask": "good"})
        assert row["action"]["target_grip"] == pytest.approx([1.04])
