"""``offboard run … --driver eval_ui`` and ``--show-gui``: the command, with somebody at its page over HTTP."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from offboard_client import cli
from offboard_client.evaluation import read_review
from page_operator import Operator, free_port, still
from waits import until

if importlib.util.find_spec("offboard_core") is None or importlib.util.find_spec("mujoco") is None:
    pytest.skip("needs a server of ours and the simulation", allow_module_level=True)

from offboard_core import InferenceServer


def run(operator: Callable[[Operator], None], *more: str) -> int:
    port = free_port()
    with InferenceServer(lambda: still, port=0, fps=10.0) as server:
        somebody = Operator(port, operator)
        status = cli.main(["run", "sim", f"127.0.0.1:{server.port}", "--page-port", str(port), "--json", *more])
        somebody.done()
    return status


def test_a_person_at_the_page_starts_judges_and_ends_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def operator(page: Operator) -> None:
        for outcome in ("partial", "success"):
            page.may("start")
            page.post("api/do", do="start")
            page.may("outcome")
            until(lambda: page.now()["seconds"] > 0.3, "it goes on")
            page.post("api/do", do="outcome", outcome=outcome)
            page.may("quit")
        page.post("api/review", words={"note": "slips", "items": 1, "items_total": 3}, seen={}, tags={"slip": True})
        until(lambda: page.now()["saved"], "it is kept")
        page.post("api/do", do="quit")

    assert run(operator, "--driver", "eval_ui", "--output-dir", str(tmp_path)) == 0
    out, err = capsys.readouterr()
    report = json.loads(out)
    assert (report["episodes"], report["successes"], report["interrupted"]) == (2, 1, False)
    assert [each["review"]["outcome"] for each in report["episode_log"]] == ["partial", "success"]
    first, second = (read_review(path) for path in sorted(tmp_path.glob("*.mcap")))
    assert (first.outcome, second.outcome, second.score, second.tags) == ("partial", "success", 1 / 3, ("slip",))
    assert "the page of this run is at http://127.0.0.1:" in err
    assert "): partial after " in err.replace("\n", " ")


def test_positronics_flag_shows_a_run_that_the_clock_drives(capsys: pytest.CaptureFixture[str]) -> None:
    seen = list[dict[str, Any]]()

    def operator(page: Operator) -> None:
        until(lambda: "outcome" in (state := page.now())["may"] and not seen.append(state), "it is played")
        page.post("api/do", do="reset")

    assert run(operator, "--driver.show_gui=True", "--driver.simulation_time=3600") == 0
    assert seen[0]["driver"] == "timed"
    assert json.loads(capsys.readouterr().out)["episode_log"][0]["kept"] is False


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--page-host", "0.0.0.0"], "give the pages a token (--page-token-file FILE), or leave --page-host away"),
        (["--page-port", "99999"], "the port is 99999; expected 0"),
        (["--driver.ui_scale=9"], "--page-scale is 9; expected 0.5 to 3"),
    ],
)
def test_a_page_that_cannot_be_is_refused_before_anything_moves(
    more: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["run", "sim", "127.0.0.1:1", "--driver", "eval_ui", *more]) in (1, 2)
    assert says in capsys.readouterr().err
