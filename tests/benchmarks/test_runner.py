"""The benchmark's runner on real processes, with counts so small that no time means anything."""

import json
import socket
import subprocess
import sys
import threading
from pathlib import Path

import msgpack
import numpy as np
import pytest

RUNNER = Path(__file__).parents[2] / "benchmarks" / "run.py"
TINY = ["--rounds", "1", "--instances", "1", "--seconds", "0.005", "--budget", "0", "--steps", "80"]
OURS = ["offboard", "offboard_at_once", "offboard_shared"]
WORKLOADS = ["A", "B", "C"]

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the runner reads /proc")


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(RUNNER), *map(str, arguments)], check=False, capture_output=True, text=True, timeout=600
    )


@pytest.fixture(
    scope="module",
    params=[
        # In every run a part alone, below; all of them start thirty processes.
        pytest.param((2, ["raw_tcp", "ws_msgpack", *OURS]), marks=pytest.mark.slow),
        pytest.param((8, ["raw_tcp", "ws_bytes", "ws_msgpack", *OURS]), marks=pytest.mark.slow),
    ],
    ids=["2", "8"],
)
def finished(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict, str]:
    robots, peers = request.param
    path = tmp_path_factory.mktemp("benchmark") / "results.json"
    done = run(*TINY, "--robots", robots, "--peers", *peers, "--output", path)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(path.read_text()), done.stdout


def test_every_part_is_measured_for_every_peer(finished):
    results, _ = finished
    peers = set(results["settings"]["peers"])
    assert peers >= {"raw_tcp", "ws_msgpack", "offboard"}
    assert set(results) == {"settings", "machine", "latency", "robots", "batching", "memory", "start", "targets"}
    assert set(results["latency"]) == set(results["robots"]) == peers


def test_a_latency_has_its_percentiles_its_ratio_and_every_block(finished):
    results, _ = finished
    for by_workload in results["latency"].values():
        assert list(by_workload) == WORKLOADS
        for measured in by_workload.values():
            assert measured["calls"] >= 5
            assert 0 < measured["p50_ms"] <= measured["p90_ms"] <= measured["p99_ms"]
            assert measured["ratio_to_raw_tcp"] > 0
            assert measured["ratio_to_pair"] > 0
            assert len(measured["cpu_us"]) == len(measured["switches"]) == len(measured["syscalls"]) == 2
            assert all(end > 0 for end in (*measured["cpu_us"], *measured["switches"]))
            assert [(block["round"], block["instance"]) for block in measured["blocks"]] == [(0, 0)]
    assert all(m["ratio_to_raw_tcp"] == 1 for m in results["latency"]["raw_tcp"].values())


def test_several_robots_are_counted_together(finished):
    results, _ = finished
    for measured in results["robots"].values():
        assert measured["robots"] == results["settings"]["robots"] >= 2
        assert measured["requests_per_second"] > 0
    assert results["batching"]["gain"] > 0


def test_memory_and_start_are_measured(finished):
    results, _ = finished
    assert results["memory"]["steps"] == 80
    assert len(results["memory"]["resident_bytes"]) == 41
    assert min(results["memory"]["resident_bytes"]) > 2**20
    assert set(results["start"]) >= {"import InferenceClient", "offboard --help", "offboard plugins"}


def test_every_target_stands_beside_its_figure(finished):
    results, printed = finished
    promised = {target["what"]: target["promised"] for target in results["targets"]}
    assert list(promised.values()) == [
        *("<= 2.6 x", "<= 0.9 x", "<= 1.9 x", "<= 0.33 x", "<= 1.1 x", "<= 0.85 x"),
        *(">= 1.6 x", ">= 2.8 x", "<= 0.62 x", ">= 6.8 x", "<= 0.5 ms", "<= 1 MiB more", "<= 1 MiB more"),
    ]
    for target in results["targets"]:
        verdict = "met" if target["met"] else "MISSED"
        assert f"| {target['what']} | {target['promised']} | {target['measured']} | {verdict} |" in printed


def test_a_part_alone_and_two_peers(tmp_path):
    path = tmp_path / "results.json"
    done = run(*TINY, "--only", "latency", "--peers", "raw_tcp", "ws_bytes", "--output", path)
    assert done.returncode == 0, done.stderr
    results = json.loads(path.read_text())
    assert set(results) == {"settings", "machine", "latency", "targets"}
    assert set(results["latency"]) == {"raw_tcp", "ws_bytes"}
    assert results["targets"] == []


def answer_one_client_wrongly(listener: socket.socket) -> None:
    """A raw TCP peer whose chunk is all zeros."""
    zeros = np.zeros((50, 8), np.float32)
    array = {b"__ndarray__": True, b"data": zeros.tobytes(), b"dtype": "<f4", b"shape": (50, 8)}
    reply = msgpack.packb({"actions": array})
    connection, _ = listener.accept()
    with connection, connection.makefile("rb") as stream:
        while length := stream.read(8):
            stream.read(int.from_bytes(length, "big"))
            connection.sendall(len(reply).to_bytes(8, "big") + reply)


def test_a_wrong_answer_is_an_error_and_never_timed():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = threading.Thread(target=answer_one_client_wrongly, args=(listener,), daemon=True)
        server.start()
        worker = subprocess.run(
            [sys.executable, str(RUNNER.with_name("worker.py")), "raw_tcp", str(listener.getsockname()[1])],
            input=json.dumps({"do": "check", "workload": "C"}) + "\n",
            check=False,
            capture_output=True,
            text=True,
            timeout=600,
        )
        server.join(240)
    connected, checked = map(json.loads, worker.stdout.splitlines())
    assert connected == {"connected": True}
    assert "not equal" in checked["error"].lower()
