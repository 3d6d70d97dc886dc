"""The servers that are measured, each with its own client, behind one contract.

A peer is a module of this package with the two things that :class:`Peer` names. Servers run in a process of
their own (``server.py``), clients too (``worker.py``).
"""

from __future__ import annotations

import importlib
import socket
from collections.abc import Callable, Mapping
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

#: Name on the command line and in the results -> what it is.
PEERS = {
    "raw_tcp": "raw TCP: the same bytes over blocking sockets, the physical limit",
    "ws_bytes": "websockets: the same bytes between its sync client and its asyncio server",
    "ws_msgpack": "websockets + msgpack: what openpi's own client and server do",
    "offboard": "offboard: this server and its own client, everything switched on",
    "offboard_at_once": "offboard with a policy that says that it never blocks",
    "offboard_shared": "offboard on one machine, where observations lie in memory that both ends share",
    "offboard_shared_at_once": "the same with a policy that says that it never blocks",
}

#: Other projects, which want packages of their own (``--peers … --python PEER=PATH``), and are measured when asked for.
OTHERS = {
    "positronic": "Positronic 0.4.1's own server and client, from PyPI",
    "gr00t": "ZMQ, msgpack and .npy files: what GR00T's own server and client do",
    "lerobot": "LeRobot 0.4.4's own asynchronous inference, from PyPI: gRPC and pickles",
}
#: Those whose servers serve one robot.
ALONE = {"lerobot"}

#: The peer that every latency is divided by.
LIMIT = "raw_tcp"
#: The peer that the targets are over: what a robot has without this project.
PAIR = "ws_msgpack"

#: How long any client waits for anything, in seconds: a lost peer ends the run instead of hanging it.
PATIENCE_S = 30


class Client(Protocol):
    """One robot, connected when it is made."""

    def prepare(self, observation: Mapping[str, Any]) -> Any:
        """An observation in the form that this peer's user would hold it in; not timed."""
        ...

    def infer(self, prepared: Any) -> Any:
        """One exchange, timed: from the user's observation to the answer in the form the user gets."""
        ...

    def chunk(self, answer: Any) -> NDArray[np.float32]:
        """The (50, 8) numbers of an answer; not timed."""
        ...

    def close(self) -> None:
        """Leave."""
        ...


class Peer(Protocol):
    """What a module of this package offers."""

    Client: Callable[[int], Client]
    """Makes a client of the server at this port of the loopback address."""

    def serve(self, policy: str, listening: Callable[[int], None]) -> None:
        """Serve until the process ends; tells the port, at the loopback address, as soon as clients may come.

        ``policy``: ``null`` answers at once. Only ``offboard`` has ``sleep``, which takes 20 ms for a batch, and
        ``greedy``, which is the same on a server that never waits for company.
        """
        ...


def listen() -> socket.socket:
    """A listening socket at a free port of the loopback address."""
    return socket.create_server(("127.0.0.1", 0), backlog=64)


def load(name: str) -> Peer:
    """The module of a peer; imported here so that no peer pays for another's imports."""
    return cast("Peer", importlib.import_module(f"peers.{name}"))
