"""Results as tables for people, each figure with its target beside it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from peers import OTHERS, PAIR, PEERS
from workloads import LABELS

OURS, AT_ONCE, SHARED = "offboard", "offboard_at_once", "offboard_shared"

#: How many times raw TCP's median a call may take, and how many times the pair's, by workload. Without images raw TCP's
#: own time depends on where the scheduler puts its two ends.
RATIO_TARGETS = {"A": 2.6, "B": 1.9}
PAIR_TARGETS = {"A": 0.9, "B": 0.33, "C": 1.1}
#: The same of a policy that does not block.
AT_ONCE_TARGET = 0.85
#: Requests per second of eight robots over the pair's, and their processor time over its.
ROBOTS_TARGET, ROBOTS_CPU_TARGET = 1.6, 0.62
#: The same requests of eight robots on the server's machine.
SHARED_TARGET = 2.8
#: How many times one robot's requests eight of them get on a policy that batches, and what robots that ask ten times a
#: second may pay for that, in ms at p50.
BATCHING_TARGET, PERIODIC_TARGET = 6.8, 0.5
#: Memory counts as flat while it grows by no more than this over 10,000 steps, in bytes.
FLAT_BYTES = 1 << 20


@dataclass(frozen=True)
class Target:
    """What was promised, what was measured, and whether the one keeps the other."""

    what: str
    promised: str
    measured: str
    met: bool


def targets(results: dict[str, Any]) -> list[Target]:
    """Every target that these results can speak about."""
    found: list[Target] = []
    for workload, measured in results.get("latency", {}).get(OURS, {}).items():
        for whose, limits, ratio in (
            ("raw TCP", RATIO_TARGETS, measured["ratio_to_raw_tcp"]),
            ("openpi's pair", PAIR_TARGETS, measured["ratio_to_pair"]),
        ):
            if ratio is not None and workload in limits:
                found.append(_at_most(f"{LABELS[workload]}, over {whose}", limits[workload], ratio))
    at_once = results.get("latency", {}).get(AT_ONCE, {}).get("C")
    if at_once is not None and at_once["ratio_to_pair"] is not None:
        what = f"{LABELS['C']}, at once, over openpi's pair"
        found.append(_at_most(what, AT_ONCE_TARGET, at_once["ratio_to_pair"]))
    robots = results.get("robots", {})
    for peer, what, least in ((OURS, "8 robots", ROBOTS_TARGET), (SHARED, "8 robots, shared memory", SHARED_TARGET)):
        if peer in robots and PAIR in robots:
            gain = robots[peer]["requests_per_second"] / robots[PAIR]["requests_per_second"]
            found.append(Target(f"{what}, over openpi's pair", f">= {least:g} x", f"{gain:.2f} x", gain >= least))
    if OURS in robots and PAIR in robots:
        share = _robots_cpu(robots[OURS]) / _robots_cpu(robots[PAIR])
        found.append(_at_most("8 robots' processor time, over openpi's pair", ROBOTS_CPU_TARGET, share))
    if "batching" in results:
        gain = results["batching"]["gain"]
        found.append(
            Target(
                "8 robots batched, over one robot",
                f">= {BATCHING_TARGET:g} x",
                f"{gain:.1f} x",
                gain >= BATCHING_TARGET,
            )
        )
        later = _later(results["batching"]["periodic"])
        what, limit = "3 robots at 10 Hz, p50 over no waiting", f"<= {PERIODIC_TARGET:g} ms"
        found.append(Target(what, limit, f"{later:+.2f} ms", later <= PERIODIC_TARGET))
    if "memory" in results:
        for whose, key in (("server", "bytes_per_step"), ("client", "client_bytes_per_step")):
            grown = results["memory"][key] * 10_000
            what, measured = f"{whose} memory over 10,000 steps", f"{grown / 2**20:+.2f} MiB"
            found.append(Target(what, "<= 1 MiB more", measured, grown <= FLAT_BYTES))
    return found


def _at_most(what: str, limit: float, measured: float) -> Target:
    return Target(what, f"<= {limit:g} x", f"{measured:.2f} x", measured <= limit)


def _later(periodic: dict[str, Any]) -> float:
    """Median over the rounds of what waiting for company adds to the p50, in ms."""
    pairs = zip(periodic["waits"]["runs"], periodic["greedy"]["runs"], strict=True)
    return median(waits["p50_ms"] - greedy["p50_ms"] for waits, greedy in pairs)


def _robots_cpu(measured: dict[str, Any]) -> float:
    return measured["client_cpu_us"] + measured["server_cpu_us"]


def as_json(found: Sequence[Target]) -> list[dict[str, Any]]:
    """Targets as plain data."""
    return [asdict(target) for target in found]


def text(results: dict[str, Any]) -> str:
    """All tables, as Markdown."""
    parts = [_machine(results["machine"])]
    if "latency" in results:
        parts.append("One robot, closed loop\n\n" + _latency(results["latency"]))
    if "robots" in results:
        parts.append("Several robots, closed loop, two 224x224 images + state\n\n" + _robots(results["robots"]))
    if "batching" in results:
        parts.append(_batching(results["batching"]))
    if "memory" in results:
        parts.append(_memory(results["memory"]))
    if "start" in results:
        parts.append(_start(results["start"]))
    rows = [(t.what, t.promised, t.measured, "met" if t.met else "MISSED") for t in targets(results)]
    if rows:
        parts.append(table(("target", "promised", "measured", ""), rows))
    return "\n\n".join(parts) + "\n"


def _machine(machine: dict[str, Any]) -> str:
    return (
        f"{machine['date']}, {machine['processor']}, {machine['cpus']} cores, Python {machine['python']}; "
        f"{machine['repeated']} blocks measured again because others disturbed them"
    )


def _latency(latency: dict[str, Any]) -> str:
    rows: list[Sequence[str]] = []
    for workload, label in LABELS.items():
        for peer, by_workload in latency.items():
            measured = by_workload[workload]
            rows.append(
                (
                    label,
                    peer,
                    *(f"{measured[key]:.3f}" for key in ("p50_ms", "p90_ms", "p99_ms")),
                    *(
                        _ratio(measured[key])
                        for key in ("ratio_to_raw_tcp", "ratio_to_fastest_raw_tcp", "ratio_to_pair")
                    ),
                    " ".join(f"{p50:.2f}" for p50 in measured["instances_p50_ms"]),
                    _both(measured["cpu_us"], "{:.0f}"),
                    _both(measured["syscalls"], "{:.1f}"),
                    _both(measured["switches"], "{:.1f}"),
                    str(measured["disturbed_blocks"]),
                )
            )
    columns = (
        "observation",
        "peer",
        "p50 ms",
        "p90",
        "p99",
        "x raw TCP",
        "x its fastest block",
        "x pair",
        "p50 by server",
        "CPU µs",
        "system calls",
        "switches",
        "disturbed",
    )
    legend = "\n".join(f"- `{peer}`: {(PEERS | OTHERS)[peer]}" for peer in latency)
    return f"{table(columns, rows)}\n\nOf each exchange, client + server: CPU, system calls, switches.\n\n{legend}"


def _ratio(ratio: float | None) -> str:
    return "-" if ratio is None else f"{ratio:.2f}"


def _both(ends: Sequence[float | None], form: str) -> str:
    return " + ".join("-" if end is None else form.format(end) for end in ends)


def _robots(robots: dict[str, Any]) -> str:
    rows = [
        (
            peer,
            f"{measured['requests_per_second']:.0f}",
            f"{min(run['requests_per_second'] for run in measured['runs']):.0f} to "
            f"{max(run['requests_per_second'] for run in measured['runs']):.0f}",
            f"{measured['p50_ms']:.2f}",
            f"{measured['p99_ms']:.2f}",
            f"{measured['client_cpu_us']:.0f} + {measured['server_cpu_us']:.0f}",
        )
        for peer, measured in robots.items()
    ]
    return table(("peer", "requests/s", "range", "p50 ms", "p99", "CPU µs"), rows)


def _batching(batching: dict[str, Any]) -> str:
    one, many = batching["one"], batching["many"]
    return (
        f"A policy of 20 ms per batch: one robot {one['requests_per_second']:.1f} requests/s, {batching['robots']} "
        f"{many['requests_per_second']:.1f} ({batching['gain']:.1f} x), "
        f"p99 {one['p99_ms']:.1f} and {many['p99_ms']:.1f} ms. Three at 10 Hz: "
        + "; ".join(
            f"{name} p50 {measured['p50_ms']:.2f} ms, p99 {measured['p99_ms']:.1f}"
            for name, measured in batching["periodic"].items()
        )
    )


def _memory(memory: dict[str, Any]) -> str:
    return (
        f"Server memory over {memory['steps']} steps: {memory['first_mib']:.1f} MiB to {memory['last_mib']:.1f} MiB, "
        f"{memory['bytes_per_step']:+.1f} bytes per step; its client's {memory['client_bytes_per_step']:+.1f}"
    )


def _start(start: dict[str, Any]) -> str:
    return table(
        ("start", "median s"), [(f"`{name}`", f"{measured['median_s']:.3f}") for name, measured in start.items()]
    )


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """As Markdown."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
