"""What the kernel's TCP makes of a long way, and what its settings change: ``python benchmarks/far_away.py``, as root.

Robot and server are processes in network namespaces of their own, and the way between them is two TUN devices and this
program, which passes the packets on: so many megabits a second each way, so many milliseconds late, a queue that drops
what does not fit, and a share of packets lost. Both ends are the real kernel's; neither needs netem.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import fcntl
import heapq
import json
import os
import random
import select
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Generator
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from processes import Child

HERE = Path(__file__).resolve().parent
ROBOT, SERVER = ("far-robot", "10.170.0.1"), ("far-server", "10.170.0.2")
PORT = 8000
_TUNSETIFF, _IFF_TUN, _IFF_NO_PI = 0x400454CA, 1, 0x1000
_CLONE_NEWNET = 0x40000000
#: Bytes that wait before a link: what a router of 100 Mbit/s holds for 100 ms.
QUEUE_S = 0.1


@dataclass
class Measured:
    """Medians of an exchange in ms: asked again at once, and after a rest."""

    mbit: float
    rtt_ms: float
    loss: float
    congestion: str
    slow_start_after_idle: int
    images: str
    workload: str
    warm_ms: float
    rested_ms: float
    warm_p90_ms: float


class Way:
    """Packets of one direction, each with when it arrives."""

    def __init__(self, mbit: float, delay_s: float, loss: float) -> None:
        self._rate, self._delay, self._loss = mbit * 1e6 / 8, delay_s, loss
        self._free = 0.0
        self._chance = random.Random(1)
        self.due: list[tuple[float, int, bytes]] = []
        self._count = 0

    def take(self, packet: bytes, now: float) -> None:
        """A packet enters, if there is room and chance lets it."""
        if self._free - now > QUEUE_S or self._chance.random() < self._loss:
            return
        self._free = max(self._free, now) + len(packet) / self._rate
        self._count += 1
        heapq.heappush(self.due, (self._free + self._delay, self._count, packet))


def pass_on(tuns: tuple[int, int], ways: tuple[Way, Way], stop: threading.Event) -> None:
    """Until ``stop``: what comes out of one device goes into the other when it is due."""
    poll = select.epoll()
    for fd in tuns:
        poll.register(fd, select.EPOLLIN)
    while not stop.is_set():
        now = time.perf_counter()
        for way, out in zip(ways, reversed(tuns), strict=True):
            while way.due and way.due[0][0] <= now:
                with contextlib.suppress(OSError):
                    os.write(out, heapq.heappop(way.due)[2])
        first = min((way.due[0][0] for way in ways if way.due), default=now + 0.05)
        for fd, _ in poll.poll(max(0.0, first - time.perf_counter())):
            way = ways[tuns.index(fd)]
            with contextlib.suppress(BlockingIOError):
                for _ in range(64):
                    way.take(os.read(fd, 65536), time.perf_counter())


def ip(*words: str) -> None:
    """Run ``ip``."""
    subprocess.run(["ip", *words], check=True)


def enter(namespace: str) -> None:
    """This process goes into a network namespace."""
    libc = ctypes.CDLL(None, use_errno=True)
    with open(f"/run/netns/{namespace}") as place:
        if libc.setns(place.fileno(), _CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "setns")


@contextlib.contextmanager
def far(mbit: float, rtt_ms: float, loss: float) -> Generator[None]:
    """Two namespaces with the link between them."""
    tuns: list[int] = []
    # A namespace may only choose among these.
    allowed = Path("/proc/sys/net/ipv4/tcp_allowed_congestion_control")
    before = allowed.read_text()
    allowed.write_text(allowed.with_name("tcp_available_congestion_control").read_text())
    try:
        for (name, address), (_, peer) in ((ROBOT, SERVER), (SERVER, ROBOT)):
            tun = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
            tuns.append(tun)
            fcntl.ioctl(tun, _TUNSETIFF, struct.pack("16sH", name.encode(), _IFF_TUN | _IFF_NO_PI))
            ip("netns", "add", name)
            ip("link", "set", name, "netns", name)
            ip("-n", name, "addr", "add", address, "peer", peer, "dev", name)
            ip("-n", name, "link", "set", name, "up", "txqueuelen", "10000")
            ip("-n", name, "link", "set", "lo", "up")
        stop = threading.Event()
        ways = Way(mbit, rtt_ms / 2000, loss), Way(mbit, rtt_ms / 2000, loss)
        carrier = threading.Thread(target=pass_on, args=((tuns[0], tuns[1]), ways, stop))
        carrier.start()
        try:
            yield
        finally:
            stop.set()
            carrier.join()
    finally:
        allowed.write_text(before)
        for tun in tuns:
            os.close(tun)
        for name, _ in (ROBOT, SERVER):
            subprocess.run(["ip", "netns", "del", name], check=False)


def serve() -> None:
    """The server's process, until its stdin ends."""
    enter(SERVER[0])
    from offboard_core import Chunk, InferenceServer
    from workloads import CHUNK

    made = {"fixed": lambda: lambda observation: Chunk({"action": CHUNK})}
    with InferenceServer(made, host=SERVER[1], port=PORT):
        print(json.dumps({"port": PORT}), flush=True)
        sys.stdin.read()


def drive() -> None:
    """The robot's process: a line for each line on its stdin."""
    enter(ROBOT[0])
    from offboard_client import InferenceClient, InferenceSession
    from slow_link import noisy

    for line in sys.stdin:
        asked: dict[str, Any] = json.loads(line)
        settings = Path("/proc/sys/net/ipv4")
        (settings / "tcp_slow_start_after_idle").write_text(str(asked["slow_start_after_idle"]))
        (settings / "tcp_congestion_control").write_text(asked["congestion"])
        observation = noisy(asked["workload"])[0]
        client = InferenceClient(SERVER[1], PORT, images=asked["images"], infer_timeout=60.0)
        with client, client.new_session() as session:

            def took(observation: dict[str, Any] = observation, session: InferenceSession = session) -> float:
                session.infer(observation)
                return session.timing.last["total_ms"]

            for _ in range(asked["warm"] // 2):
                took()
            warm = [took() for _ in range(asked["warm"])]
            rested: list[float] = []
            for _ in range(asked["rests"]):
                time.sleep(asked["rest_s"])
                rested.append(took())
        p90 = float(np.percentile(warm, 90))
        print(
            json.dumps({"warm_ms": float(np.median(warm)), "rested_ms": float(np.median(rested)), "warm_p90_ms": p90}),
            flush=True,
        )


def main() -> None:
    """Measure, print and write it."""
    parser = argparse.ArgumentParser(description="What a setting of the kernel's TCP changes on a long way.")
    parser.add_argument("--mbit", nargs="+", type=float, default=[100.0])
    parser.add_argument("--rtt", nargs="+", type=float, default=[60.0], help="there and back, milliseconds")
    parser.add_argument("--loss", nargs="+", type=float, default=[0.0], help="share of packets")
    parser.add_argument("--congestion", nargs="+", default=["cubic"])
    parser.add_argument("--workloads", nargs="+", default=["A", "B"])
    parser.add_argument("--images", nargs="+", default=["raw", "jpeg"])
    parser.add_argument("--rest", type=float, default=1.0, help="seconds")
    parser.add_argument("--warm", type=int, default=12, help="exchanges that are asked again at once")
    parser.add_argument("--rests", type=int, default=8, help="exchanges after a rest")
    parser.add_argument("--output", type=Path, default=HERE / "results" / "far_away.json")
    options = parser.parse_args()
    runs: list[Measured] = []
    counts = {"rest_s": options.rest, "warm": options.warm, "rests": options.rests, "seconds": 300.0}
    for mbit, rtt, loss in product(options.mbit, options.rtt, options.loss):
        with far(mbit, rtt, loss), Child("far_away.py", "serve") as server, Child("far_away.py", "drive") as robot:
            server.hear()
            for workload, images, congestion, on in product(
                options.workloads, options.images, options.congestion, (1, 0)
            ):
                asked = {
                    "slow_start_after_idle": on, "congestion": congestion, "images": images, "workload": workload,
                }  # fmt: skip
                runs.append(Measured(mbit=mbit, rtt_ms=rtt, loss=loss, **asked, **robot.ask({**asked, **counts})))
                print(json.dumps(asdict(runs[-1])), flush=True)
    print(f"{os.cpu_count()} processors; load average {os.getloadavg()[0]:.1f}")
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps([asdict(run) for run in runs], indent=1))


if __name__ == "__main__":
    {"serve": serve, "drive": drive}.get((sys.argv[1:] or [""])[0], main)()
