"""Whether the model can answer is known without a question, and told to whoever waits; a ping would wait, too."""

import json
import os
import signal
import threading

from gr00t_standin import gr00t_server, options, robot, write_checkpoint
from offboard_client import InferenceClient
from offboard_core import Health, InferenceServer
from offboard_core.catalog import from_flags
from offboard_core.engine import ServiceTimeouts
from offboard_core.plugins import Plugins
from offboard_core.process import free_port
from offboard_core.types import ALONE
from robots import get, get_json
from waits import PATIENCE, until


def source(place, **more):
    return from_flags(Plugins.discover(), vendor="gr00t", checkpoints_dir=str(place), loader_options=options(**more))


def says(step, **words):
    """What the stand-in does from its next start on; beside the checkpoint, which nobody may write into."""
    (step.parent / "standin.json").write_text(json.dumps(words))


def last_start(log):
    return int(log.read_text().split()[-1])


def test_a_child_that_is_restarted_gets_no_new_sessions_until_it_answers(tmp_path):
    log, step = tmp_path / "starts", tmp_path / "run" / "checkpoint-5"
    starts = [str(log), 99]
    write_checkpoint(step, value=0.5, starts=starts)
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
        says(step, value=0.5, starts=starts, start_seconds=600)
        os.kill(last_start(log), signal.SIGKILL)
        until(lambda: get(server, "/readyz")[0] == 503, "it is known that nobody can answer")
        assert get(server, "/readyz")[1].startswith("not ready: 5 is recovering: GR00T is being restarted")
        newcomer = threading.Thread(target=later, args=[server])
        newcomer.start()
        until(lambda: any("5 is recovering: GR00T is being restarted" in text for text in heard), "the robot is told")
        until(lambda: len(log.read_text().split()) == 2, "it hangs in its start")
        assert opened == []
        says(step, value=0.5, starts=starts)
        os.kill(last_start(log), signal.SIGKILL)
        newcomer.join(PATIENCE)
        assert opened
        assert get(server, "/readyz")[0] == 200
        assert session.infer(robot())


def test_a_server_that_infers_for_a_while_is_well(tmp_path):
    """GR00T's own server would answer no ping meanwhile."""
    write_checkpoint(tmp_path / "run" / "checkpoint-5")
    gate = tmp_path / "gate"
    with (
        InferenceServer({"": source(tmp_path / "run")}, port=0, limits=ServiceTimeouts(close=PATIENCE)) as server,
        InferenceClient(server.host, server.port) as client,
        client.new_session() as session,
    ):
        asking = threading.Thread(target=lambda: session.infer(robot(f"await {gate}")))
        asking.start()
        until(gate.with_suffix(".begun").exists, "it infers")
        assert get(server, "/readyz")[0] == 200
        assert get_json(server, "/api/v1/status")["loaded"]["health"]["state"] == "ready"
        gate.touch()
        asking.join(PATIENCE)
        assert session.infer(robot())


def test_a_server_that_we_are_attached_to_is_looked_for_while_nobody_asks(tmp_path, monkeypatch):
    monkeypatch.setattr("offboard_core.process.attached_server.EVERY", 0.01)
    port, step = free_port(), write_checkpoint(tmp_path / "checkpoint-7")
    found = from_flags(Plugins.discover(), vendor="gr00t", loader_options={"attach": f"tcp://127.0.0.1:{port}"})
    with gr00t_server(step, port):
        policy = found.loader.load(found.default(), lambda _: None, ALONE)
        assert policy.health() == Health()
    try:
        until(lambda: policy.health().reason.startswith("GR00T cannot be reached: "), "it is gone, and why")
        assert policy.health().state == "recovering"
        with gr00t_server(step, port):
            until(lambda: policy.health() == Health(), "it is back")
    finally:
        policy.close()
