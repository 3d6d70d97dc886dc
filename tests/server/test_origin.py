"""A web page that an operator happens to have open must not drive the robot."""

import pytest
from offboard_core.server import InferenceServer
from puppets import Puppet, source
from robots import connect_to
from websockets.exceptions import InvalidStatus


def open_with(server, origin: str, **headers: str) -> int:
    """The HTTP status of an upgrade from a page of this origin."""
    try:
        with connect_to(
            f"ws://127.0.0.1:{server.port}/api/v1/session", additional_headers={"Origin": origin, **headers}
        ):
            return 101
    except InvalidStatus as refused:
        return refused.response.status_code


@pytest.mark.rule("A-9")
@pytest.mark.parametrize("origin", ["https://evil.example", "http://127.0.0.1:1", "null", "http://localhost"])
def test_a_foreign_page_is_refused(origin):
    with InferenceServer({"only": source({"a": Puppet})}, port=0) as server:
        assert open_with(server, origin) == 403


@pytest.mark.rule("A-9")
def test_the_servers_own_page_and_whoever_has_the_token_are_not():
    with InferenceServer({"only": source({"a": Puppet})}, port=0) as server:
        assert open_with(server, f"http://127.0.0.1:{server.port}") == 101
    with InferenceServer({"only": source({"a": Puppet})}, port=0, auth_token="t0ken") as server:
        assert open_with(server, "https://dashboard.example", Authorization="Bearer t0ken") == 101
