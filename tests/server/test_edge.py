"""No text for a client says where files lie on the server's machine, whoever said it; the log has the whole."""

import json
import logging
import re
from functools import partial

import numpy as np
import pytest
from genuine_client import speaking
from offboard_client import BadObservation, ConnectionLost, InferenceClient, LoadFailed, PolicyFailed, wire
from offboard_core import Checkpoint, ConfigurationError, Field, Health, InferenceServer
from offboard_core.checkpoints import MemoryRegistry
from offboard_core.engine import ServiceTimeouts
from offboard_core.frontends import Edge
from puppets import ARM_INPUTS, PATIENCE, Door, Puppet, arm, source
from robots import connect_to, get, get_json, robot
from websockets.exceptions import ConnectionClosed

pytestmark = pytest.mark.rule("A-11")

POSE = np.array([0.5, 0.0, 0.25, 0.0, 1.0, 0.0, 0.0])
WHERE = "/home/alice/runs"
REF = re.compile(r"^\[ref ([0-9a-f]{6})\] ")


def whole_of(text, caplog):
    """What the log has under the ref of a text."""
    ref = REF.match(text)
    assert ref, text
    (line,) = [record.getMessage() for record in caplog.records if ref[0] in record.getMessage()]
    return line.partition(ref[0])[2]


def broken(text, error=ValueError):
    """A model that says this of every observation."""

    def answer(episode, inputs):
        raise error(text)

    return answer


@pytest.mark.parametrize("query", ["", "dialect=positronic", "dialect=offboard&layout=columns"])
def test_what_a_policy_raises_is_told_without_paths_in_every_dialect(query, caplog):
    text = f"no statistics in '{WHERE}/{query}/norm_stats.json' for image/wrist, 3/4 read"
    with InferenceServer({"": arm(broken(text))}, port=0) as server, robot(server, query=query) as one:
        one.opened()
        for reply in (
            one.ask({"robot_state.ee_pose": POSE, "offboard.seq": 1}),
            one.ask_text({"robot_state.ee_pose": list(POSE), "offboard.seq": 1}),
        ):
            assert reply["code"] == "policy_failed"
            assert reply["offboard.seq"] == 1
            shown = "ValueError: no statistics in '[path]/norm_stats.json' for image/wrist, 3/4 read"
            assert shown in REF.sub("", reply["error"])
            assert text in whole_of(reply["error"], caplog)


def test_a_load_that_fails_is_told_without_paths(caplog):
    def fail():
        raise FileNotFoundError(2, "No such file or directory", f"{WHERE}/act/model.safetensors")

    with (
        InferenceServer({"": source({"a": fail})}, port=0, preload=False) as server,
        InferenceClient(server.host, server.port) as client,
    ):
        with pytest.raises(LoadFailed, match=r"No such file or directory: '\[path\]/model.safetensors'") as caught:
            client.new_session()
        assert WHERE not in caught.value.text
        text = caught.value.text.partition(": ")[2]  # the address comes first
        assert f"'{WHERE}/act/model.safetensors'" in whole_of(text, caplog)
        # A robot that tries again hears the same, under the same ref.
        with pytest.raises(LoadFailed) as again:
            client.new_session()
        assert again.value.text == caught.value.text


def test_the_reason_of_a_close_frame_has_the_ref_even_where_it_is_cut(caplog):
    def fail():
        raise RuntimeError(f"torch cannot read {WHERE}/act/model.safetensors" + ", nor anything else" * 20)

    with (
        speaking(source({"a": fail}), preload=False) as server,
        connect_to(f"ws://{server.host}:{server.port}/openpi/policy") as client,
    ):
        with pytest.raises(ConnectionClosed):
            client.recv(timeout=PATIENCE)
        code, _, text = client.close_reason.partition(": ")
        assert code == "load_failed"
        assert "torch cannot read [path]/model.safetensors, nor" in text
        assert re.search(r" (nor|anything|else)…$", text), "whole words, and that there are more"
        assert f"{WHERE}/act/model.safetensors" in whole_of(text, caplog)


def test_openpis_error_texts_are_told_without_paths(caplog):
    with (
        speaking(arm(broken(f"see {WHERE}/openpi/log"))) as server,
        connect_to(f"ws://{server.host}:{server.port}/openpi/policy") as client,
    ):
        client.recv(timeout=PATIENCE)
        client.send(json.dumps({}))  # a text, which is no observation there
        assert client.recv(timeout=PATIENCE).startswith("bad_message: a text frame")
        client.send(bytes(wire.encode({"robot_state.ee_pose": POSE})))
        code, _, text = client.recv(timeout=PATIENCE).partition(": ")
        assert code == "policy_failed"
        assert "ValueError: see [path]." in text
        assert f"{WHERE}/openpi/log" in whole_of(text, caplog)


def test_progress_is_told_without_paths_on_the_wire_and_over_http(monkeypatch):
    with Door() as door:
        models = source({"a": Puppet})

        def load(checkpoint, report, place):
            report(f"Loading params from {WHERE}/act/params …")
            door.passing()
            return Puppet()

        monkeypatch.setattr(models.loader, "load", load)
        with (
            InferenceServer({"": models}, port=0, limits=ServiceTimeouts(status_every=0.02)) as server,
            robot(server) as one,
        ):
            while "params" not in (frame := one.receive())["message"]:
                pass
            assert frame["message"].startswith("loading a: Loading params from [path] …")
            assert frame["phase"] == "loading a: Loading params from [path] …"
            assert get_json(server, "/api/v1/status")["loading"]["progress"] == "Loading params from [path] …"
            door.open()
            one.opened()


class Ill(Puppet):
    """Its child is being restarted, and says where it is at."""

    def health(self):
        return Health("recovering", f"openpi is being restarted; it says: reading {WHERE}/act/params")


def test_the_health_of_a_policy_is_told_without_paths():
    with InferenceServer({"": source({"a": Ill})}, port=0) as server, robot(server) as one:
        while "it says" not in (frame := one.receive())["message"]:
            pass
        assert "it says: reading [path]" in frame["message"]
        status, body, _ = get(server, "/readyz")
        assert status == 503
        assert "it says: reading [path]" in body
        assert WHERE not in body + get(server, "/api/v1/status")[1]


class Unlisted(MemoryRegistry):
    """Knows its models until it is broken."""

    broken = False

    def checkpoints(self):
        if self.broken:
            raise ConfigurationError(f"{WHERE} cannot be read: Stale file handle")
        return super().checkpoints()


def test_a_place_that_cannot_be_listed_is_not_named(caplog):
    models, others = source({"a": Puppet}), source({"b": Puppet})
    registry = Unlisted([Checkpoint(id="a")])
    object.__setattr__(models, "registry", registry)
    with InferenceServer({"one": models, "two": others}, port=0) as server:
        registry.broken = True
        listed = get_json(server, "/api/v1/models")
        assert listed["models"] == ["two/b"]
        text = listed["problems"]["one"]["error"]
        assert REF.sub("", text) == "[path] cannot be read: Stale file handle"
        assert whole_of(text, caplog) == f"{WHERE} cannot be read: Stale file handle"
    with alone(registry) as server:
        registry.broken = True
        status, body, _ = get(server, "/api/v1/models")
        assert status == 503
        assert REF.sub("", json.loads(body)["error"]) == "[path] cannot be read: Stale file handle"


def alone(registry):
    registry.broken = False
    models = source({"a": Puppet})
    object.__setattr__(models, "registry", registry)
    return InferenceServer({"": models}, port=0)


@pytest.mark.rule("M-2")
@pytest.mark.parametrize(
    ("location", "shown"),
    [
        ("/home/alice/runs/cubes/checkpoints/010000/pretrained_model", "cubes/checkpoints/010000/pretrained_model"),
        ("/home/alice/other/010000", "010000"),
        ("hf://org/cubes@a1b2c3/checkpoints/1", "hf://org/cubes@a1b2c3/checkpoints/1"),
        ("memory/arm", "memory/arm"),
        ("", ""),
    ],
)
def test_the_handshake_says_which_model_and_not_where(location, shown):
    extras = {"config_name": "pi05", "assets": "/home/alice/assets", "remote": "gs://bucket/assets"}
    at = Checkpoint(id="a", location=location, experiment="cubes", extras=extras, inputs={"observation/state": Field()})
    served = source({"a": lambda: Puppet(meta={"device": "cpu", "cache": "~/.cache/x"})}, checkpoints=[at])
    with InferenceServer({"": served}, port=0) as server, robot(server) as one:
        meta = one.opened()["meta"]
    assert meta["checkpoint_path"] == shown
    assert (meta["checkpoint_id"], meta["experiment_name"], meta["config_name"]) == ("a", "cubes", "pi05")
    assert (meta["assets"], meta["cache"], meta["remote"]) == ("[path]", "[path]", "gs://bucket/assets")
    assert list(meta["observation"]) == ["observation/state"]


def test_a_model_at_another_place_is_another_one():
    hashes = set()
    for place in ("/home/alice/a", "/home/alice/b", "/home/bob/b"):
        with (
            InferenceServer(
                {"": source({"a": Puppet}, checkpoints=[Checkpoint(id="a", location=place)])}, port=0
            ) as server,
            robot(server) as one,
        ):
            hashes.add(one.opened()["meta"]["spec_hash"])
    assert len(hashes) == 3


def test_a_model_on_another_device_is_the_same_one():
    """Replicas have a device each, and robots that pin what they drive are led to any of them."""
    hashes = set()
    for device in ("cuda:0", "cuda:1"):
        there = source({"a": partial(Puppet, meta={"device": device})})
        with InferenceServer({"": there}, port=0) as server, robot(server) as one:
            meta = one.opened()["meta"]
            assert meta["device"] == device
            hashes.add(meta["spec_hash"])
    assert len(hashes) == 1


def test_an_error_without_a_path_is_what_it_was(caplog):
    with InferenceServer({"": arm()}, port=0) as server, robot(server) as one:
        one.opened()
        reply = one.ask({"robot_state.ee_pose": np.zeros(3)})
        assert "[ref" not in reply["error"]
        assert f"({ARM_INPUTS['robot_state.ee_pose'].shape[0]},)" in reply["error"]
    assert not [record for record in caplog.records if "[ref" in record.getMessage()]


class Own(BadObservation):
    """A plugin's, which is not made of its text alone."""

    def __init__(self, name, folder):
        super().__init__(f"{name} is not in {folder}")


def test_whatever_class_it_has_is_kept():
    shown, ref = Edge.shown(Own("q", "/tmp/run/x"))
    assert type(shown) is Own
    assert shown.text == f"{ref}q is not in [path]"


def test_a_policys_own_connection_is_not_the_clients():
    """A policy may be a client itself; connection_lost would make the robot's client take its own session for lost."""
    with InferenceServer({"": arm(broken("of the GPU's machine", ConnectionLost))}, port=0) as server:
        with robot(server) as one:
            one.opened()
            assert one.ask({"robot_state.ee_pose": POSE})["code"] == "internal"
        with InferenceClient(server.host, server.port) as client, client.new_session() as session:
            for _ in range(2):
                with pytest.raises(Exception, match="of the GPU's machine") as caught:
                    session.infer({"robot_state.ee_pose": POSE})
                assert not isinstance(caught.value, OSError)


def test_the_log_is_not_flooded(caplog):
    caplog.set_level(logging.WARNING)
    edge = Edge()
    for i in range(500):
        edge.error(PolicyFailed(f"/tmp/run/{i % 100}"))
        edge.error(PolicyFailed("/tmp/run/0"))
    assert len(caplog.records) == 50
    assert len({record.getMessage() for record in caplog.records}) == 50
