"""One robot in a closed loop: how long a call takes, next to the same bytes over raw TCP.

Every peer gets several servers, because a large message's time depends on what a process happened to do to its
heap; rounds visit all of them in turn, so that a slow minute of the machine is everybody's.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from statistics import median
from typing import Any

from peers import LIMIT, PAIR
from processes import Child, Spent
from quiet import LIMIT as QUIET_LIMIT
from quiet import Quiet
from workloads import SIZES

#: Exchanges in which system calls are counted: the difference of the two.
_FEW, _MANY = 50, 250


@dataclass
class Pair:
    """One server of a peer and the one client that talks to it."""

    peer: str
    instance: int
    server: Child
    worker: Child


@dataclass
class Block:
    """Consecutive calls of one pair on one workload; processor time and context switches of each call."""

    round: int
    instance: int
    durations_us: list[float]
    client: tuple[float, float]
    server: tuple[float, float]
    foreign: float
    p50_us: float = field(init=False)

    def __post_init__(self) -> None:
        self.p50_us = median(self.durations_us)


def start(stack: ExitStack, peer: str, policy: str = "null", workers: int = 1) -> tuple[Child, list[Child]]:
    """A server of a peer and its clients, all connected; they end with the stack."""
    server = stack.enter_context(Child("server.py", peer, policy))
    port = server.hear()["port"]
    children = [stack.enter_context(Child("worker.py", peer, str(port))) for _ in range(workers)]
    for child in children:
        child.hear()
    return server, children


def in_turn(peers: Sequence[str], instance: int) -> Sequence[str]:
    """In what order they are started: by eight robots, whose server was started first is slower by some percent."""
    return peers[::-1] if instance % 2 else peers


def measure(peers: Sequence[str], rounds: int, instances: int, seconds: float, quiet: Quiet) -> dict[str, Any]:
    """Peer -> workload -> percentiles, ratios to the limit, and every block's median."""
    blocks: dict[tuple[str, str], list[Block]] = defaultdict(list)
    with ExitStack() as stack:
        pairs: list[Pair] = []
        for instance in range(instances):
            for peer in in_turn(peers, instance):
                server, (worker,) = start(stack, peer)
                pairs.append(Pair(peer, instance, server, worker))
        for workload in SIZES:
            for pair in pairs:
                pair.worker.ask({"do": "check", "workload": workload})
        for round in range(rounds):
            for workload in SIZES:
                shift = round % len(pairs)
                for pair in pairs[shift:] + pairs[:shift]:
                    blocks[pair.peer, workload].append(_block(pair, workload, round, seconds, quiet))
        calls = {(pair.peer, workload): _syscalls(pair, workload) for pair in pairs[: len(peers)] for workload in SIZES}
    return {
        peer: {workload: {**_summary(blocks, peer, workload), "syscalls": calls[peer, workload]} for workload in SIZES}
        for peer in peers
    }


def _block(pair: Pair, workload: str, round: int, seconds: float, quiet: Quiet) -> Block:
    def take() -> tuple[dict[str, Any], Spent, Spent]:
        client, server = pair.worker.spent(), pair.server.spent()
        got = pair.worker.ask({"do": "block", "workload": workload, "seconds": seconds, "start": None})
        return got, _since(client, pair.worker.spent()), _since(server, pair.server.spent())

    (got, client, server), foreign = quiet.measure([pair.server, pair.worker], take)
    calls = len(got["durations_us"])
    every = calls + got["warm_up"]
    return Block(
        round,
        pair.instance,
        got["durations_us"],
        (got["cpu_s"] * 1e6 / calls, client.switches / every),
        (server.cpu_us / every, server.switches / every),
        foreign,
    )


def _since(before: Spent, after: Spent) -> Spent:
    return Spent(after.cpu_us - before.cpu_us, after.switches - before.switches)


def _syscalls(pair: Pair, workload: str) -> list[float | None]:
    """System calls of client and server in each exchange."""

    def each(child: Child) -> float | None:
        # Those of the command to the client, and of a thread that wakes now and then, are in both.
        commands = ({"do": "steps", "workload": workload, "count": count} for count in (_FEW, _MANY))
        few, many = (child.syscalls(partial(pair.worker.ask, command)) for command in commands)
        return None if few is None or many is None else (many - few) / (_MANY - _FEW)

    return [each(pair.worker), each(pair.server)]


def _summary(blocks: Mapping[tuple[str, str], Sequence[Block]], peer: str, workload: str) -> dict[str, Any]:
    mine, limit = blocks[peer, workload], blocks.get((LIMIT, workload), [])
    calm = [block for block in mine if block.foreign <= QUIET_LIMIT] or mine
    durations = sorted(duration for block in calm for duration in block.durations_us)
    durations_p50 = percentile(durations, 50)
    return {
        "calls": len(durations),
        "p50_ms": durations_p50 / 1e3,
        "p90_ms": percentile(durations, 90) / 1e3,
        "p99_ms": percentile(durations, 99) / 1e3,
        "ratio_to_raw_tcp": _ratio(calm, limit),
        "ratio_to_fastest_raw_tcp": durations_p50 / min(block.p50_us for block in limit) if limit else None,
        "ratio_to_pair": _ratio(calm, blocks.get((PAIR, workload), [])),
        "instances_p50_ms": [
            median(block.p50_us for block in calm if block.instance == instance) / 1e3
            for instance in sorted({block.instance for block in calm})
        ],
        "cpu_us": [median(block.client[0] for block in calm), median(block.server[0] for block in calm)],
        "switches": [median(block.client[1] for block in calm), median(block.server[1] for block in calm)],
        "disturbed_blocks": sum(block.foreign > QUIET_LIMIT for block in mine),
        "blocks": [
            {"round": b.round, "instance": b.instance, "p50_ms": b.p50_us / 1e3, "foreign": b.foreign} for b in mine
        ],
    }


def _ratio(mine: Sequence[Block], other: Sequence[Block]) -> float | None:
    """The median over the blocks of a median over the other peer's of the same round."""
    floor: dict[int, float] = {
        round: median(block.p50_us for block in other if block.round == round)
        for round in {block.round for block in other}
    }
    return median(block.p50_us / floor[block.round] for block in mine) if floor else None


def percentile(ordered: Sequence[float], percent: float) -> float:
    """The smallest value that at least ``percent`` of the ordered values do not exceed."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]
