"""What cannot be said to one client, or is not said by it, is told to it and logged in one line of ours."""

import logging

import pytest
from offboard_core import Checkpoint
from offboard_core.server import InferenceServer
from puppets import Puppet, source
from robots import get_json, robot

#: Facts about a model that plain data can hold and a frame cannot, or no client takes.
FACTS = {"json": ({"loss": float("nan")}, "load_failed"), "msgpack": ({"seed": 2**70}, "bad_message")}


@pytest.mark.rule("S-9")
@pytest.mark.parametrize(("encoding", "extras", "code"), [(name, *fact) for name, fact in FACTS.items()], ids=FACTS)
def test_a_handshake_that_has_no_form_is_a_refusal_and_lets_the_model_go(encoding, extras, code):
    one_of = source({"odd": Puppet}, checkpoints=[Checkpoint(id="odd", extras=extras)])
    with InferenceServer({"only": one_of}, port=0) as server:
        for _ in range(2):
            with robot(server, query=f"encoding={encoding}") as one:
                assert one.refused()["code"] == code
                assert one.closed() == 1008
        assert get_json(server, "/api/v1/status")["sessions"] == 0


def test_text_that_is_not_utf8_closes_with_1007_and_no_trace(caplog):
    with InferenceServer({"only": source({"a": Puppet})}, port=0) as server, robot(server) as one:
        one.opened()
        one.connection.send(b"\xff\xfe", text=True)
        assert one.closed() == 1007
    assert [r for r in caplog.records if r.levelno >= logging.ERROR] == []
