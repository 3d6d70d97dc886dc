"""What the page of a run costs the arm: ``python benchmarks/page.py``.

The simulated arm at wall speed with both cameras at 30 Hz, played 30 actions a second by a server of its own process
that thinks for 100 ms: without a page, with one that nobody looks at, with one browser, with three, and with three that
never take what they asked for beside one, in turn. A browser asks as the page does, ten times a second, from a process
of its own. How much the time between two set-points differs from the control period, the processor time that the run
takes, and how long a hold takes from when it came until the robot was told and stood.
"""

from __future__ import annotations

import argparse
import json
import socket
import threading
import time
import urllib.request
from contextlib import ExitStack
from typing import Any

import numpy as np
from offboard_client import InferenceClient
from offboard_client.drivers import Playing, RunLength, TimedDriver
from offboard_client.pages import Desk, Live, PageServer, Seen, pages_app
from offboard_client.play import Bounded, Controls, SafetyLimits
from offboard_client.robots import Unjudged, connected
from play_jitter import RESULTS, THINKING, Commanded
from processes import Child

RATE = 30
#: Name → whether there is a page, how many browsers look, and how many never read.
CASES = {
    "none": (False, 0, 0), "unseen": (True, 0, 0), "one": (True, 1, 0), "three": (True, 3, 0), "stuck": (True, 1, 3),
}  # fmt: skip


def arm(case: str, seconds: float) -> dict[str, float]:
    """One run; milliseconds, and the run's share of a processor."""
    paged, browsers, stuck = CASES[case]
    controls = Controls(time.perf_counter)
    with ExitStack() as stack:
        server = stack.enter_context(Child("play_server.py", f"{THINKING}", f"{RATE}", "0", "0"))
        robot = stack.enter_context(connected(Commanded(clock="real", camera_rate=RATE)))
        session = stack.enter_context(InferenceClient("127.0.0.1", server.hear()["port"]).new_session())
        observers: list[Any] = []
        url = ""
        if paged:
            desk, seen = Desk(controls), Seen()
            page = stack.enter_context(PageServer(pages_app(Live(desk, seen, {}))))
            thread = threading.Thread(target=page.serve, daemon=True)
            thread.start()
            stack.callback(page.stop)
            observers = [desk, stack.enter_context(Bounded(seen, 256, most=64 << 20))]
            url = page.url
        looking = [stack.enter_context(Child("page_browser.py", url)) for _ in range(browsers)]
        for each in looking:
            each.hear()  # it has begun
        for _ in range(stuck):
            lazy = stack.enter_context(socket.create_connection(("127.0.0.1", int(url.rsplit(":", 1)[1].strip("/")))))
            lazy.sendall(b"GET /api/now?width=1280 HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n" * 200)
        assert robot.grid is not None
        driver = TimedDriver(
            session, robot, Unjudged("go on"), limits=SafetyLimits(), playing=Playing("prefetch"), observers=observers,
            controls=controls,
        )  # fmt: skip
        holding = threading.Timer(seconds - 1.0, _hold, [url]) if paged else None
        if holding is not None:
            holding.start()
        busy, began = time.process_time(), time.monotonic()
        driver.run(RunLength(seconds=seconds))
        share = (time.process_time() - busy) / (time.monotonic() - began)
        # Without the pause of the hold at its end.
        times = np.array(robot.grid.times)
        away = 1000 * np.abs(np.diff(times[times < times[0] + seconds - 1.5]) - robot.control_period)
    p50, p99, worst = (float(value) for value in np.percentile(away, [50, 99, 100]))
    hold = 1000 * controls.stops[0] if paged and controls.stops else float("nan")
    return {"p50_ms": p50, "p99_ms": p99, "worst_ms": worst, "cpu": share, "hold_ms": hold}


def _hold(url: str) -> None:
    """Held from the page, and let go on at once, so that the run comes to its end."""

    def post(said: dict[str, Any]) -> dict[str, Any]:
        kind = {"content-type": "application/json"}
        request = urllib.request.Request(url + "api/do", json.dumps(said).encode(), kind)
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)

    state = post({"do": "hold"})
    time.sleep(0.2)
    post({"do": "resume", **{name: state[name] for name in ("run", "turn", "holds")}})


def _spread(values: list[float]) -> dict[str, float]:
    """The rounds differ by what else the machine does."""
    return {"least": min(values), "median": float(np.median(values)), "most": max(values)}


def main() -> None:
    """Measure, print and write it."""
    parser = argparse.ArgumentParser(description="What the page of a run costs the arm.")
    parser.add_argument("--seconds", type=float, default=8.0, help="length of a run")
    parser.add_argument("--rounds", type=int, default=5, help="runs of each case, in turn")
    parser.add_argument("--cases", nargs="+", choices=CASES, default=[*CASES])
    options = parser.parse_args()
    rounds = [{case: arm(case, options.seconds) for case in options.cases} for _ in range(options.rounds)]
    results = {
        case: {key: _spread([each[case][key] for each in rounds]) for key in rounds[0][case]} for case in options.cases
    }
    print(json.dumps(results, indent=1))
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / "page.json").write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
