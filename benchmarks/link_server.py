"""A server behind a link: ``link_server.py MBIT DELAY_MS`` prints ``{"port": N}``, and serves until its stdin ends.

The link passes so many megabits a second each way (0: all at once), each byte so many milliseconds late on each way.
The policy answers a fixed chunk at once.
"""

from __future__ import annotations

import sys

from links import Link, serve, steady
from offboard_core import Chunk, InferenceServer
from workloads import CHUNK

if __name__ == "__main__":
    mbit, delay_ms = map(float, sys.argv[1:])
    ways = steady(mbit * 1e6 / 8 if mbit else None, delay_ms / 1000)
    with InferenceServer({"fixed": lambda: lambda observation: Chunk({"action": CHUNK})}, port=0) as server:
        serve(Link(server.port, ways, piece=2**14))
