"""Several robots at once: requests per second of as many client processes, and what batching makes of them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from statistics import median
from typing import Any

from latency import in_turn, percentile, start
from processes import Child
from quiet import Quiet

WORKLOAD = "A"

#: Between telling the clients when to begin and that moment, in seconds.
_LEAD_S = 0.3
#: How often a periodic robot asks, in seconds; and where in that time each next one begins, as a share of it, so that
#: all of them are spread and no two are in step. So many of them at most: more keep a model of 20 ms busy for good.
EVERY_S, _APART, PERIODIC = 0.1, 0.618, 3


def measure(peers: Sequence[str], robots: int, rounds: int, seconds: float, quiet: Quiet) -> dict[str, Any]:
    """Peer -> requests per second of so many robots in closed loops on workload A, median over the rounds.

    All are started twice, in either order, each time for half of the rounds.
    """
    runs: dict[str, list[dict[str, Any]]] = {peer: [] for peer in peers}
    for instance in range(2):
        with ExitStack() as stack:
            pairs = {peer: _checked(*start(stack, peer, workers=robots)) for peer in in_turn(peers, instance)}
            for _ in range(-(-rounds // 2)):
                for peer, (server, workers) in pairs.items():
                    runs[peer].append(_run(server, workers, seconds, quiet))
    return {peer: {"robots": robots, "workload": WORKLOAD, **_summary(runs[peer])} for peer in peers}


def batching(peer: str, robots: int, rounds: int, seconds: float, quiet: Quiet) -> dict[str, Any]:
    """Robots on a policy that takes 20 ms per batch: what so many get over one, and what waiting for company costs."""
    with ExitStack() as stack:
        server, workers = start(stack, peer, policy="sleep", workers=robots)
        found = compare(server, workers, WORKLOAD, rounds, seconds, quiet)
        servers = {"waits": (server, workers[:PERIODIC])}
        servers["greedy"] = _checked(*start(stack, peer, policy="greedy", workers=min(robots, PERIODIC)))
        return {**found, "periodic": periodic(servers, rounds, seconds, quiet)}


def periodic(
    servers: dict[str, tuple[Child, list[Child]]], rounds: int, seconds: float, quiet: Quiet
) -> dict[str, Any]:
    """Of robots that ask ten times a second, each in its own phase: their latency on each of the servers in turn."""
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in servers}
    for _ in range(rounds):
        for name, (server, workers) in servers.items():
            runs[name].append(_run(server, workers, max(seconds, 10 * EVERY_S), quiet, every=EVERY_S))
    return {name: _summary(found) for name, found in runs.items()}


def compare(
    server: Child, workers: list[Child], workload: str, rounds: int, seconds: float, quiet: Quiet
) -> dict[str, Any]:
    """The first client's requests per second, and those of all of them, in turn."""
    _checked(server, workers, workload)
    one: list[dict[str, Any]] = []
    many: list[dict[str, Any]] = []
    for _ in range(rounds):
        one.append(_run(server, workers[:1], seconds, quiet, workload))
        many.append(_run(server, workers, seconds, quiet, workload))
    gain = median(b["requests_per_second"] / a["requests_per_second"] for a, b in zip(one, many, strict=True))
    return {"robots": len(workers), "workload": workload, "gain": gain, "one": _summary(one), "many": _summary(many)}


def _checked(server: Child, workers: list[Child], workload: str = WORKLOAD) -> tuple[Child, list[Child]]:
    for worker in workers:
        worker.ask({"do": "check", "workload": workload})
    return server, workers


def _run(
    server: Child,
    workers: Sequence[Child],
    seconds: float,
    quiet: Quiet,
    workload: str = WORKLOAD,
    every: float = 0.0,
) -> dict[str, Any]:
    def take() -> tuple[list[dict[str, Any]], list[float]]:
        begin, before = time.time() + _LEAD_S, [child.spent().cpu_us for child in (server, *workers)]
        for number, worker in enumerate(workers):
            phase = every * (number * _APART % 1)
            command = {"do": "block", "workload": workload, "seconds": seconds, "start": begin + phase, "every": every}
            worker.tell(command)
        answers = [worker.hear(_LEAD_S + seconds) for worker in workers]
        spent = [child.spent().cpu_us - was for child, was in zip((server, *workers), before, strict=True)]
        return answers, spent

    (answers, spent), foreign = quiet.measure([server, *workers], take)
    calls = sum(len(answer["durations_us"]) + answer["warm_up"] for answer in answers)
    durations = sorted(duration for answer in answers for duration in answer["durations_us"])
    return {
        "requests_per_second": sum(len(answer["durations_us"]) / answer["wall_s"] for answer in answers),
        "p50_ms": percentile(durations, 50) / 1e3,
        "p99_ms": percentile(durations, 99) / 1e3,
        "client_cpu_us": sum(spent[1:]) / calls,
        "server_cpu_us": spent[0] / calls,
        "foreign": foreign,
    }


def _summary(runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    keys = ("requests_per_second", "p50_ms", "p99_ms", "client_cpu_us", "server_cpu_us")
    return {**{key: median(run[key] for run in runs) for key in keys}, "runs": list(runs)}
