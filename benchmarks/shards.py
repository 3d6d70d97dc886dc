"""What shards of an evaluation harness gain of a model that batches: ``python benchmarks/shards.py``.

vla-eval's own client, each in a process of its own, in closed loops without a simulation; one of them, and all of
them, in turn. Prints a table, and writes everything as JSON. Linux only, as ``run.py``.
"""

from __future__ import annotations

import argparse
import json
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from latency import start
from quiet import Quiet
from robots import compare
from workloads import LABELS

#: Policy → what one call of it takes, whoever is in it.
POLICIES = {"sleep": "20 ms", "long": "100 ms"}
RESULTS = Path(__file__).resolve().parent / "results" / "shards.json"


def main() -> None:
    """Measure each policy with each observation."""
    parser = argparse.ArgumentParser(description="What shards of an evaluation harness gain of a model that batches.")
    parser.add_argument("--shards", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=5, help="one, then all, so many times")
    parser.add_argument("--seconds", type=float, default=3.0, help="length of a block")
    parser.add_argument("--workloads", nargs="+", choices=list(LABELS), default=["C", "A"])
    parser.add_argument("--packed", action="store_true", help="leave the packing of the observations out")
    parser.add_argument("--budget", type=float, default=180, help="seconds for measuring disturbed blocks again")
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()
    quiet = Quiet(options.budget)
    runs: list[dict[str, Any]] = []
    peer = "vla_eval_packed" if options.packed else "vla_eval"
    for policy in POLICIES:
        with ExitStack() as stack:
            server, shards = start(stack, peer, policy=policy, workers=options.shards)
            for workload in options.workloads:
                found = compare(server, shards, workload, options.rounds, options.seconds, quiet)
                runs.append({"policy": policy, **found})
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps({"shards": options.shards, "runs": runs}, indent=1))
    print(f"| a call takes | observation | one shard, answers/s | {options.shards} | |\n|---|---|---|---|---|")
    for run in runs:
        one, many = (run[who]["requests_per_second"] for who in ("one", "many"))
        print(
            f"| {POLICIES[run['policy']]} | {LABELS[run['workload']]} | {one:.1f} | {many:.1f} | {run['gain']:.1f} × |"
        )


if __name__ == "__main__":
    main()
