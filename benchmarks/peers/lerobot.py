"""LeRobot's own asynchronous inference, unmodified: gRPC and pickles; of its server all but the model itself."""

from __future__ import annotations

import logging
import os
import tempfile
import threading
import time
import types
from collections.abc import Callable, Mapping
from concurrent import futures
from typing import Any

import numpy as np
from numpy.typing import NDArray
from workloads import CHUNK

from peers import PATIENCE_S


def _quietly() -> None:
    """Import it: it writes log files into the current folder, and a line for each step."""
    os.chdir(tempfile.mkdtemp(prefix="bench-lerobot-"))
    import lerobot.async_inference.policy_server
    import lerobot.async_inference.robot_client  # noqa: F401

    logging.getLogger().setLevel(logging.WARNING)


def serve(policy: str, listening: Callable[[int], None]) -> None:
    """Its ``PolicyServer`` without the 33 ms that it sleeps for each answer, and without processors."""
    _quietly()
    import grpc
    import torch
    from lerobot.async_inference.configs import PolicyServerConfig
    from lerobot.async_inference.policy_server import PolicyServer
    from lerobot.transport import services_pb2_grpc

    class Null(PolicyServer):
        def _predict_action_chunk(self, observation_t: Any) -> Any:
            self.last_processed_obs = observation_t
            actions = list(torch.from_numpy(CHUNK.copy()))
            return self._time_action_chunk(observation_t.get_timestamp(), actions, observation_t.get_timestep())

    server: Any = grpc.server(futures.ThreadPoolExecutor(max_workers=4))
    port = server.add_insecure_port("127.0.0.1:0")
    null = Null(PolicyServerConfig(host="127.0.0.1", port=port, inference_latency=0.0))
    services_pb2_grpc.add_AsyncInferenceServicer_to_server(null, server)
    server.start()
    listening(port)
    server.wait_for_termination()


class Client:
    """Its ``RobotClient``'s own way to send, and what its loop does to receive, without a robot and without waiting."""

    def __init__(self, port: int) -> None:
        _quietly()
        import pickle

        import grpc
        from lerobot.async_inference.helpers import TimedObservation
        from lerobot.async_inference.robot_client import RobotClient
        from lerobot.transport import services_pb2, services_pb2_grpc
        from lerobot.transport.utils import grpc_channel_options

        self._loads: Any = pickle.loads
        self._messages: Any = services_pb2
        self._timed: Any = TimedObservation
        self._step = 0
        self._channel: Any = grpc.insecure_channel(f"127.0.0.1:{port}", grpc_channel_options())
        grpc.channel_ready_future(self._channel).result(PATIENCE_S)
        self._stub: Any = services_pb2_grpc.AsyncInferenceStub(self._channel)
        self._stub.Ready(self._messages.Empty())
        robot: Any = RobotClient.__new__(RobotClient)
        robot.stub, robot.shutdown_event = self._stub, threading.Event()
        self._send: Any = types.MethodType(RobotClient.send_observation, robot)

    def prepare(self, observation: Mapping[str, Any]) -> Mapping[str, Any]:
        """Its robots' names: one number for each motor."""
        found: dict[str, Any] = {f"joint{i}.pos": float(v) for i, v in enumerate(observation["robot_state.q"])}
        return {**found, **{name: value for name, value in observation.items() if name != "robot_state.q"}}

    def infer(self, prepared: Mapping[str, Any]) -> Any:
        """Send one observation that must be looked at, and ask for its actions."""
        self._step += 1
        sent = self._timed(timestamp=time.time(), timestep=self._step, observation=prepared, must_go=True)
        assert self._send(sent)
        return self._loads(self._stub.GetActions(self._messages.Empty()).data)

    def chunk(self, answer: Any) -> NDArray[np.float32]:
        """The actions of the answer."""
        return np.stack([one.get_action().numpy() for one in answer])

    def close(self) -> None:
        """Leave."""
        self._channel.close()
