"""What was configured is what the session goes by, whatever becomes of the server; both clients."""

import numpy as np
import pytest
from offboard_client import ShuttingDown
from offboard_core.server import InferenceServer
from talking import talking

X = {"x": np.zeros(3)}


@pytest.mark.rule("L-35")
def test_settings_outlive_a_server_that_is_started_anew(clients):
    def answered(session):
        return float(clients.wait(session.infer(X))[0]["action"]["action"][0])

    with InferenceServer({"only": talking()[1]}, port=0) as server:
        port = server.port
        session = clients.session("127.0.0.1", port)
        assert answered(session) == 1
        assert clients.wait(session.configure(gain=2.0)) == {"gain": {"old": 1.0, "new": 2.0}}
        clients.wait(session.configure(**{"codec.offset": 0.25}))
        assert answered(session) == 2.25
        assert clients.wait(session.call("mark", note="x"))["seen"] == 2
    with InferenceServer({"only": talking()[1]}, port=port):
        with pytest.raises(ShuttingDown):
            answered(session)
        assert answered(session) == 2.25
        assert session.configured == {"gain": 2.0, "codec.offset": 0.25}
        assert clients.wait(session.call("mark", note="y"))["seen"] == 1, "a new episode"
        clients.wait(session.close())
