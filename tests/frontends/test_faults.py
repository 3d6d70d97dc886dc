"""A frontend that fails on a file is not taken for a client that has left: the client is told, and the log."""

import pytest
from offboard_client import ConnectionLost
from offboard_core.frontends import Frontend, FrontendConnection
from offboard_core.server import InferenceServer
from puppets import PATIENCE, Puppet, source
from robots import connect_to
from websockets.exceptions import ConnectionClosed


class Failing(Frontend, FrontendConnection):
    """Its own connection, which raises ``fault`` where it is to bridge."""

    def __init__(self, fault):
        self.fault = fault

    def connect(self, scope):
        return self

    def bridge(self, codec):
        raise self.fault

    def serializer(self, codec):
        raise NotImplementedError

    def ready(self, session):
        raise NotImplementedError

    def error(self, error, frame):
        raise NotImplementedError


@pytest.mark.parametrize(
    ("fault", "code"),
    [(FileNotFoundError(2, "No such file"), "internal"), (ConnectionLost("of its own server"), "internal")],
)
def test_a_frontend_that_fails_says_so(fault, code, caplog):
    with (
        InferenceServer({"": source({"a": Puppet})}, port=0, frontends={"/own": Failing(fault)}) as server,
        connect_to(f"ws://{server.host}:{server.port}/own") as client,
    ):
        with pytest.raises(ConnectionClosed):
            client.recv(timeout=PATIENCE)
        assert (client.close_code, client.close_reason.partition(":")[0]) == (1008, code)
    assert any("session" in record.getMessage() for record in caplog.records)
