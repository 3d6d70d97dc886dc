"""What the hop to a vendor's child costs: this server in front of openpi's wire, over asking that server itself.

    uv run benchmarks/child_hop.py [--exchanges N]

Behind each is a process that speaks openpi's protocol and has no model (tests/openpi/standin). Two 224 × 224 × 3
images and a state, 301 KB; closed loop, the two interleaved, so that whatever disturbs the machine disturbs both.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

from offboard_client import InferenceClient
from offboard_core import InferenceServer
from offboard_core.catalog import from_flags
from offboard_core.plugins import Plugins
from offboard_core.process import Child, free_port
from offboard_openpi.connection import Connection, Unreachable
from openpi_standin import STANDIN, options, write_run

OBSERVATION = {
    "observation/joint_position": np.zeros(7, np.float32),
    "observation/gripper_position": np.zeros(1, np.float32),
    "observation/exterior_image_1_left": np.full((224, 224, 3), 7, np.uint8),
    "observation/wrist_image_left": np.full((224, 224, 3), 9, np.uint8),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--exchanges", type=int, default=1000)
    exchanges = parser.parse_args().exchanges
    with tempfile.TemporaryDirectory() as place:
        run = write_run(Path(place) / "run", {1: 0.5}, "pi05_droid")
        source = from_flags(
            Plugins.discover(),
            vendor="openpi",
            checkpoints_dir=str(run),
            codec="native",
            loader_options=options(config_name="pi05_droid"),
        )
        port = free_port()
        script = str(STANDIN / "scripts" / "serve_policy.py")
        command = [sys.executable, script, "--port", str(port), "policy:checkpoint"]
        command += ["--policy.config", "pi05_droid", "--policy.dir", str(run / "1")]
        with (
            Child(command, name="openpi") as child,
            InferenceServer({"": source}, port=0) as server,
            InferenceClient(server.host, server.port) as client,
            client.new_session() as session,
        ):
            direct: list[Connection] = []

            def ready() -> bool:
                try:
                    direct.append(Connection(f"ws://127.0.0.1:{port}"))
                except Unreachable:
                    return False
                return True

            child.wait_ready(ready, 60, lambda _: None)
            took: dict[str, list[float]] = {"openpi's server": [], "offboard in front of it": []}
            for i in range(exchanges + 50):
                start = time.perf_counter()
                direct[0].send({**OBSERVATION, "prompt": "go"})
                direct[0].receive(10)
                middle = time.perf_counter()
                session.infer({**OBSERVATION, "task": "go"})
                end = time.perf_counter()
                if i >= 50:
                    took["openpi's server"].append((middle - start) * 1e3)
                    took["offboard in front of it"].append((end - middle) * 1e3)
            direct[0].close()
    for name, times in took.items():
        p50, p95, p99 = np.percentile(times, [50, 95, 99])
        print(f"{name:<26} p50 {p50:.2f}  p95 {p95:.2f}  p99 {p99:.2f} ms")
    added = np.median(took["offboard in front of it"]) - np.median(took["openpi's server"])
    print(json.dumps({"added_p50_ms": round(float(added), 3), "exchanges": exchanges}))


if __name__ == "__main__":
    main()
