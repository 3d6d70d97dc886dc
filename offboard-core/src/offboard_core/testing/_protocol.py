"""The vendor's model obeys Protocol v1, seen from the other end of a real socket."""

from __future__ import annotations

import json
from typing import Any, cast

import numpy as np
import pytest
from websockets.sync.client import connect

from ..catalog import ResolvedCodec
from ..types import Array, Observation
from ._served import PATIENCE, Robot, Served


def _named(action: Any) -> dict[str, Array]:
    """An action by names; the bare vector of a native codec has none."""
    return cast("dict[str, Array]", action) if isinstance(action, dict) else {"action": action}


class ProtocolLaws(Served):
    """What any robot may rely on, whoever's model it is."""

    def test_ready_is_the_first_frame_once_the_model_is_loaded(self, url: str, robot: Robot) -> None:
        """… and the handshake is the same map on every connection, fit for JSON."""
        metas: list[Any] = []
        for _ in range(2):
            with connect(url, compression=None, max_size=None, open_timeout=PATIENCE) as socket:
                frame = Robot(socket).receive()
                assert frame["status"] == "ready"
                metas.append(frame["meta"])
        assert metas[0] == metas[1]
        assert json.loads(json.dumps(metas[0])) == metas[0]

    def test_one_reply_for_each_observation(self, robot: Robot, observation: Observation) -> None:
        """Each has a result and the server's timing."""
        for seq in range(3):
            reply = robot.ask({**observation, "offboard.seq": seq})
            assert "result" in reply, reply
            assert reply["offboard.seq"] == seq
            assert reply["timing"]["total_ms"] >= reply["timing"]["infer_ms"] >= 0

    def test_a_row_is_what_the_handshake_promised(self, url: str, observation: Observation) -> None:
        """Names and shapes of ``meta.action``, timestamps at ``action_fps``, every number finite."""
        with connect(url, compression=None, max_size=None, open_timeout=PATIENCE) as socket:
            robot = Robot(socket)
            meta = robot.opened()["meta"]
            rows: list[dict[str, Any]] = robot.ask(observation)["result"]
        assert rows
        for i, row in enumerate(rows):
            vectors = _named(row["action"])
            if meta["action"]:
                assert vectors.keys() == meta["action"].keys()
            for name, vector in vectors.items():
                assert np.isfinite(vector).all(), (name, i)
                if meta["action"]:
                    assert list(vector.shape) == meta["action"][name]["shape"]
            if meta["action_fps"] is None:
                assert "timestamp" not in row
            else:
                assert row["timestamp"] == pytest.approx(i / meta["action_fps"])

    def test_an_error_leaves_the_session_as_it_was(
        self, robot: Robot, observation: Observation, resolved_codec: ResolvedCodec
    ) -> None:
        """What cannot be decoded, and an observation without its required names, is answered; so is the next one."""
        assert robot.ask(b"\xc1")["code"] == "bad_message"
        assert "result" in robot.ask(observation)
        if any(field.required for field in resolved_codec.meta.observation.values()):
            assert robot.ask({"offboard.seq": 7})["code"] == "bad_observation"
            assert "result" in robot.ask(observation)

    def test_control_frames_are_answered(self, robot: Robot, observation: Observation) -> None:
        """``reset`` starts an episode, ``ping`` speaks for the model, and an unknown type is an error."""
        assert "result" in robot.ask(observation)
        assert robot.ask({"type": "reset"})["status"] == "reset"
        assert "result" in robot.ask(observation)
        assert robot.ask({"type": "ping"})["status"] == "pong"
        assert "error" in robot.ask({"type": "no-such-type"})

    def test_columns_and_rows_are_the_same_chunk(self, url: str, observation: Observation) -> None:
        """``?layout=columns`` has the names and the number of steps that rows have."""
        shapes: list[dict[str, tuple[int, ...]]] = []
        for query in ("", "&layout=columns"):
            with connect(url + query, compression=None, max_size=None, open_timeout=PATIENCE) as socket:
                robot = Robot(socket)
                robot.opened()
                result = robot.ask(observation)["result"]
            if query:
                shapes.append({name: column.shape for name, column in _named(result["columns"]["action"]).items()})
            else:
                first = _named(result[0]["action"])
                shapes.append({name: (len(result), *vector.shape) for name, vector in first.items()})
        assert shapes[0] == shapes[1]
