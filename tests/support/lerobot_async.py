"""LeRobot's robot_client as far as its wire goes, without LeRobot and without torch."""

from __future__ import annotations

import itertools
import pickle
import pickletools
import struct
from typing import Any, NamedTuple

import grpc
import numpy as np
from offboard_lerobot.async_inference.messages import BEGIN, END, MIDDLE, SERVICE, read_data, write_data, write_piece
from waits import PATIENCE

TIME = 1795832604.9755635


class Pickled:
    """Pickles as an instance of this class of LeRobot's, which need not be there."""

    def __init__(self, name: str, **fields: Any) -> None:
        self.fields, self.name = fields, name

    def dumps(self, protocol: int = 4) -> bytes:
        module, name = "lerobot.async_inference.helpers", self.name
        body = pickle.dumps(self.fields, protocol)
        start = 11 if body[2] == 0x95 else 2  # without the frame, whose length would be another
        made = b"".join(b"\x8c" + bytes([len(word)]) + word.encode() + b"\x94" for word in (module, name))
        # What the body refers to comes after four things that have been memoized.
        return bytes(body[:2]) + made + b"\x93\x94)\x81\x94" + _shifted(body[start:-1], 4) + b"b."


def _shifted(code: bytes, by: int) -> bytes:
    found = b""
    whole = b"\x80\x04" + code + b"."
    for (operation, argument, at), (_, _, following) in itertools.pairwise(pickletools.genops(whole)):
        last = whole[at:following]
        if operation.name in ("BINGET", "LONG_BINGET"):
            last = b"j" + struct.pack("<I", argument + by)
        if operation.name not in ("PROTO", "FRAME"):
            found += last
    return found


def observation(protocol: int = 4, **values: Any) -> bytes:
    return Pickled("TimedObservation", timestamp=TIME, timestep=7, observation=values, must_go=True).dumps(protocol)


def config(protocol: int = 4, **more: Any) -> bytes:
    state = {"dtype": "float32", "shape": (2,), "names": ["a.pos", "b.pos"]}
    fields = {"policy_type": "act", "pretrained_name_or_path": "a", "lerobot_features": {"observation.state": state},
              "actions_per_chunk": 5, "device": "cpu", "rename_map": {}}  # fmt: skip
    return Pickled("RemotePolicyConfig", **{**fields, **more}).dumps(protocol)


class Action(NamedTuple):
    """A TimedAction."""

    timestamp: float
    timestep: int
    numbers: np.ndarray


def read_actions(data: bytes) -> list[Action]:
    """What LeRobot's client unpickles, of which torch has nothing to say here."""
    words = [(operation.name, argument) for operation, argument, _ in pickletools.genops(data)]
    rows = [argument for name, argument in words if name in ("BINBYTES", "SHORT_BINBYTES")]
    times = [at for at, (name, _) in enumerate(words) if name == "BINFLOAT"]
    found = []
    for at, row in zip(times, rows, strict=True):
        whole = row.rpartition(b"q\x01a.")[2]
        (count,) = struct.unpack("<q", whole[:8])
        assert len(whole) == 8 + 4 * count
        (timestep,) = (argument for name, argument in words[at + 2 : at + 4] if name.startswith(("BININT", "LONG")))
        found.append(Action(words[at][1], timestep, np.frombuffer(whole[8:], "<f4")))
    return found


class Client:
    """``piece``: bytes of a piece of an observation; LeRobot's has two million."""

    def __init__(self, port: int, host: str = "127.0.0.1", *, token: str = "", piece: int = 2 * 2**20) -> None:
        # Else two of one process would share a connection.
        options = [("grpc.use_local_subchannel_pool", 1)]
        self.channel = grpc.insecure_channel(f"[{host}]:{port}" if ":" in host else f"{host}:{port}", options)
        self._metadata = [("authorization", f"Bearer {token}")] if token else []
        self._piece = piece

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.channel.close()

    def call(self, name: str, message: bytes = b"", timeout: float = PATIENCE) -> bytes:
        return self.channel.unary_unary(f"/{SERVICE}/{name}")(message, timeout=timeout, metadata=self._metadata)

    def start(self, **fields: Any) -> None:
        """``Ready``, and then the instructions: ``fields`` of :func:`config`."""
        self.call("Ready")
        self.call("SendPolicyInstructions", write_data(config(**fields)))

    def stream(self, messages: Any, timeout: float = PATIENCE) -> bytes:
        call = self.channel.stream_unary(f"/{SERVICE}/SendObservations")
        return call(iter(messages), timeout=timeout, metadata=self._metadata)

    def send(self, data: bytes) -> None:
        """An observation, as LeRobot's client cuts it."""
        pieces = [data[at : at + self._piece] for at in range(0, len(data), self._piece)]
        states = [BEGIN, *[MIDDLE] * (len(pieces) - 2), END] if len(pieces) > 1 else [END]
        self.stream(map(write_piece, states, pieces))

    def see(self, timestep: int = 0, **values: Any) -> None:
        fields = {"timestamp": TIME, "timestep": timestep, "observation": values, "must_go": True}
        self.send(Pickled("TimedObservation", **fields).dumps())

    def poll(self) -> list[Action] | None:
        """What is new; None if nothing is."""
        data = read_data(self.call("GetActions"))
        return read_actions(data) if data else None

    def actions(self) -> list[Action]:
        """What is new, as soon as there is something."""
        while (found := self.poll()) is None:
            pass
        return found

    def ask(self, timestep: int = 0, **values: Any) -> list[Action]:
        self.see(timestep, **values)
        return self.actions()
