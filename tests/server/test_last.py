"""What went last through a session, for who looks at it: nothing is kept for anybody else."""

import base64
import gc
import io
import json
import weakref

import numpy as np
import pytest
from filmed import picture
from halving import Halves, Plugin, think
from model_bench import run, until
from offboard_client import InferenceClient
from offboard_client.errors import PolicyFailed
from offboard_core import Chunk, ExchangeRecord, InferenceServer
from offboard_core.server import last_json
from PIL import Image
from puppets import Puppet, source
from robots import get, get_json
from service_bed import X, open_session, serving
from slot_bed import becomes
from watching import Noting

TOKEN = "a-token-of-the-tests"


@pytest.fixture
def server():
    models = {"a": source({"it": lambda: Puppet(think)}, codec="halves", plugin=Plugin())}
    with InferenceServer(models, port=0) as running:
        yield running


def asked(number):
    return {"image.wrist": picture(number), "robot_state.q": np.full(7, number, np.float64), "task": "stack <b>it</b>"}


def name_of(server):
    (holder,) = get_json(server, "/api/v1/status")["holders"]
    return holder["session"]


def last(server, name):
    return get_json(server, f"/api/v1/sessions/{name}/last")


def image(said):
    (data,) = said["png"]
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))


@pytest.mark.rule("H-16", "H-8")
def test_it_is_what_the_robot_said_the_model_saw_and_answered_and_the_robot_got(server):
    with InferenceClient(server.host, server.port) as client, client.new_session() as session:
        name = name_of(server)
        assert session.session_id.startswith(name)
        session.infer(asked(1))
        assert last(server, name) == {"session": name, "last": None}, "nobody had looked"
        rows = session.infer(asked(2))
        found = last(server, name)["last"]
        assert (found["number"], found["model"], found["error"], found["image_files"]) == (2, "it", None, 0)
        np.testing.assert_array_equal(image(found["said"]["image.wrist"]), picture(2))
        np.testing.assert_array_equal(image(found["saw"]["pixels"]), picture(2)[::2, ::2])
        assert found["said"]["robot_state.q"] == {"shape": [7], "dtype": "float64", "values": [2.0] * 7}
        assert found["saw"]["degrees"]["values"] == np.degrees(np.full(7, 2.0)).tolist()
        assert found["saw"]["words"] == {"text": "stack <b>it</b>"}
        made = think(None, Halves().encode(asked(2))).action
        assert found["answered"] == {"timestamp": None, "action": {"action": made.tolist()}}
        assert found["got"]["timestamp"] == [0.0, 0.1, 0.2]
        assert found["got"]["action"]["target_joints"] == [list(row["action"]["target_joints"]) for row in rows]
        assert 0 < found["timing"]["infer_ms"] < found["timing"]["total_ms"]
        with pytest.raises(PolicyFailed):
            session.infer(asked(9))
        failed = last(server, name)["last"]
        assert (failed["number"], failed["error"], failed["answered"], failed["got"]) == (
            3,
            "policy_failed",
            None,
            None,
        )
        np.testing.assert_array_equal(image(failed["saw"]["pixels"]), picture(9)[::2, ::2])
    assert get(server, f"/api/v1/sessions/{name}/last")[0] == 404


@pytest.mark.rule("H-16")
@pytest.mark.parametrize("odd", ["..", "%2e%2e%2f%2e%2e%2fetc%2fpasswd", "", "%00", "x" * 5000])
def test_a_name_that_no_session_has_is_not_found(server, odd):
    with InferenceClient(server.host, server.port) as client, client.new_session() as session:
        status, body, _ = get(server, f"/api/v1/sessions/{odd}/last")
        assert (status, json.loads(body)["code"]) == (404, "not_found")
        assert len(body) < 500
        whole = get(server, f"/api/v1/sessions/{session.session_id}/last")
        assert whole[0] == 404, "whole ids stay out of logs of addresses"
        assert f"there are: {session.session_id[:8]}" in json.loads(whole[1])["error"]


@pytest.mark.rule("A-1")
def test_it_wants_the_token():
    with (
        InferenceServer(lambda o: o, port=0, auth_token=TOKEN) as server,
        InferenceClient(server.host, server.port, auth_token=TOKEN) as client,
        client.new_session() as session,
    ):
        path = f"/api/v1/sessions/{session.session_id[:8]}/last"
        assert get(server, path)[0] == 401
        assert get(server, path, {"Authorization": f"Bearer {TOKEN}"})[0] == 200


@pytest.mark.parametrize("observed", [None, False, True])
def test_an_exchange_is_kept_only_while_somebody_looks(monkeypatch, observed):
    observers = {} if observed is None else {"noting": Noting(3, contents=observed)}

    async def main():
        async with serving(source({"it": Puppet}), observers=observers) as service:
            session = await open_session(service)
            await session.infer(X)
            assert session.records.last is None
            assert session.look() is None
            await session.infer(X)
            record = session.look()
            assert record.inputs["x"].tolist() == X["x"].tolist()
            assert record.number == 2
            held = weakref.ref(record.inputs["x"])
            monkeypatch.setattr("offboard_core.engine.session.LOOKING", 0.0)
            session.look()
            await becomes(lambda: not session.records.looked)
            await session.infer(X)
            for one in observers.values():
                await until(one.come)
                assert [record.inputs is not None for record in one.records] == [observed] * 3
                one.records.clear()
            record = one = None
            gc.collect()
            assert held() is None
            assert (session.pipeline.records is None) == (observed is None)

    run(main())


def shown(**said):
    fields = dict.fromkeys(
        (
            "robot_ms",
            "encode_ms",
            "frame_bytes",
            "reply_bytes",
            "observation",
            "inputs",
            "chunk",
            "reply_chunk",
            "error",
        )
    )
    fields |= {
        "session_id": "s",
        "model_id": "m",
        "replica": 0,
        "number": 1,
        "arrived": 0.0,
        "wall_time": 0.0,
        "timing": {},
    }
    return json.loads(last_json("s", ExchangeRecord(**{**fields, **said})))["last"]


def test_what_models_are_given_has_a_form():
    pixels = np.linspace(-1, 1, 3 * 16 * 20, dtype=np.float32).reshape(3, 16, 20)
    found = shown(
        inputs={
            "planes": pixels,
            "moments": np.stack([picture(1), picture(2)]),
            "depth": np.full((16, 20, 1), np.nan, np.float32),
            "state": np.array([1.0, np.nan, -np.inf]),
            "many": np.arange(5000),
            "on": True,
            "list": [1, 2.5],
            "words": ["pick", "it"],
            "thing": object(),
            "wide": np.zeros((10, 3000, 3), np.uint8),
        },
        chunk=Chunk({"grip": np.array([0.0, np.nan]), "names": np.array(["a", "b"])}),
    )
    saw = found["saw"]
    assert saw["planes"]["range"] == [-1.0, 1.0]
    expected = (np.moveaxis(pixels, 0, 2).astype(np.float64) + 1) / 2 * 255
    np.testing.assert_array_equal(image(saw["planes"]), expected.astype(np.uint8))
    assert len(saw["moments"]["png"]) == 2
    assert saw["depth"]["not_finite"] == 320
    assert image(saw["depth"]).shape == (16, 20)
    assert saw["state"]["values"] == [1.0, None, None]
    assert saw["many"] == {"shape": [5000], "dtype": "int64", "range": [0, 4999]}
    assert saw["on"]["values"] is True
    assert saw["list"]["values"] == [1.0, 2.5]
    assert saw["words"] == {"text": "2 of str"}
    assert saw["thing"] == {"text": "of type object"}
    assert image(saw["wide"]).shape == (4, 1000, 3)
    assert found["answered"]["action"] == {"grip": [[0.0], [None]]}
