"""openpi says how it is while nobody asks it anything, and comes back by itself."""

import contextlib
import json
import os
import signal
import threading

import pytest
from lying_openpi import Liar, attach, infer
from offboard_client import InferenceClient
from offboard_client.errors import PolicyFailed
from offboard_core import Health, InferenceServer
from offboard_core.catalog import from_flags
from offboard_core.engine import ServiceTimeouts
from offboard_core.plugins import Plugins
from openpi_standin import options, robot, write_step
from puppets import until
from robots import get, get_json

#: Seconds after which something has failed; decides nothing.
PATIENCE = 240


def source(place, **more):
    return from_flags(Plugins.discover(), vendor="openpi", checkpoints_dir=str(place), loader_options=options(**more))


def says(step, **words):
    """What the stand-in does from its next start on; beside the checkpoint, which nobody may write into."""
    (step.parent / "standin.json").write_text(json.dumps(words))


def last_start(log):
    return int(log.read_text().split()[-1])


def test_a_child_that_is_restarted_gets_no_new_sessions_until_it_answers(tmp_path):
    log, step = tmp_path / "starts", tmp_path / "run" / "5"
    starts = [str(log), 99]
    write_step(step, value=0.5, starts=starts)
    heard, opened = [], []

    def later(server):
        with (
            InferenceClient(server.host, server.port, on_status=lambda status: heard.append(status.message)) as client,
            client.new_session() as session,
        ):
            opened.append(session.infer(robot()))

    place = source(tmp_path / "run", startup_timeout=PATIENCE)
    with (
        InferenceServer({"": place}, port=0, limits=ServiceTimeouts(close=PATIENCE)) as server,
        InferenceClient(server.host, server.port) as client,
        client.new_session() as session,
    ):
        assert get(server, "/readyz")[0] == 200
        [replica] = get_json(server, "/api/v1/status")["replicas"]
        assert replica["elsewhere"]["pid"] in (last_start(log), None)  # None where the system does not tell
        assert session.metadata["elsewhere"]["python"] == replica["elsewhere"]["python"]
        says(step, value=0.5, starts=starts, start_seconds=600)
        os.kill(last_start(log), signal.SIGKILL)
        until(lambda: get(server, "/readyz")[0] == 503, "it is known that nobody can answer")
        body = get(server, "/readyz")[1]
        assert body.startswith("not ready: 5 is recovering: openpi is being restarted")
        assert get_json(server, "/api/v1/status")["loaded"]["health"]["state"] == "recovering"
        newcomer = threading.Thread(target=later, args=[server])
        newcomer.start()
        until(lambda: any("5 is recovering: openpi is being restarted" in text for text in heard), "the robot is told")
        until(lambda: len(log.read_text().split()) == 2, "it hangs in its start")
        assert opened == []
        says(step, value=0.5, starts=starts)
        os.kill(last_start(log), signal.SIGKILL)
        newcomer.join(PATIENCE)
        assert opened[0][0]["action"]["target_pose"][1] == 0.5
        assert get(server, "/readyz")[0] == 200
        assert session.infer(robot())[0]["action"]["target_pose"][1] == 0.5


def test_a_child_that_is_given_up_has_failed(tmp_path):
    log = tmp_path / "starts"
    write_step(tmp_path / "run" / "5", value=0.5, starts=[str(log), 1])
    found = source(tmp_path / "run", restarts=0)
    policy = found.loader.load(found.default(), lambda _: None)
    try:
        assert policy.health() == Health()
        os.kill(last_start(log), signal.SIGKILL)
        until(lambda: policy.health() != Health(), "it is noticed")
        until(lambda: policy.health().state == "failed", "it is given up")
        assert "openpi failed 1 times in a row" in policy.health().reason
    finally:
        policy.close()


def silent(peer):
    with contextlib.suppress(ConnectionError):
        peer.hear()


@pytest.fixture
def watched(monkeypatch):
    """``watched(liar)``: what is attached to it, looked after a hundred times a second."""
    monkeypatch.setattr("offboard_core.process.attached_server.EVERY", 0.01)
    with contextlib.ExitStack() as stack:

        def watch(liar):
            server = attach(liar)
            stack.callback(server.close)
            server.watch()
            return server

        yield watch


def test_a_server_that_we_are_attached_to_is_looked_for_while_nobody_asks(watched):
    with Liar(silent) as liar:
        server = watched(liar)
        assert server.health() == Health()
    until(lambda: server.health().state == "recovering", "it is gone")
    until(lambda: server.health().reason.startswith(f"openpi cannot be reached: {liar.url}: "), "and why")
    with Liar(silent, port=liar.port):
        until(lambda: server.health() == Health(), "it is back")


def test_a_server_that_comes_back_with_another_policy_has_failed(watched):
    with Liar(silent, {"policy": "one"}) as liar:
        server = watched(liar)
    with Liar(silent, {"policy": "two"}, port=liar.port):
        until(lambda: server.health().state == "failed", "it is another one")
        assert server.health().reason == f"{liar.url} serves another policy now, its metadata say"


def test_one_look_in_an_idle_second_is_all_that_a_server_is_asked(watched):
    with Liar(lambda peer: liar.wait()) as liar:
        server = watched(liar)
        looks = threading.Event()
        connected, count = server._connected, []

        def look():
            count.append(1)
            if len(count) == 5:
                looks.set()
            return connected()

        server._connected = look
        assert looks.wait(PATIENCE)
        assert liar.connections == 1, "the socket is kept"


def test_while_nobody_answers_a_robot_is_told_so_at_once(watched):
    with Liar(silent) as liar:
        server = watched(liar)
        with server._lock:  # as it is while a connection is sought
            server._health = Health("recovering", "openpi cannot be reached: it sleeps")
            with pytest.raises(PolicyFailed, match="it sleeps; try again later"):
                infer(server, {})
