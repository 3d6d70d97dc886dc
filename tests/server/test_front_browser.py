"""The server's front in a browser. Needs Chromium."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from browser import CHROMIUM, browser
from offboard_client.session import InferenceClient
from offboard_core import InferenceServer
from robot_fakes import POSE

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium: apt-get install chromium"),
]


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (390, True)])
def test_curves_of_the_last_answer_have_a_key(width: int, dark: bool) -> None:
    def moves(observation: dict[str, Any]) -> list[dict[str, Any]]:
        return [{"target_pose": POSE + step * np.eye(7)[0], "target_grip": np.array([step / 5])} for step in range(5)]

    with (
        InferenceServer(lambda: moves, port=0, fps=10.0) as server,
        InferenceClient("127.0.0.1", server.port) as client,
        client.new_session() as session,
        browser() as chromium,
    ):
        tab = chromium.tab(width=width, height=844, dark=dark)
        tab.go(f"http://127.0.0.1:{server.port}/")
        tab.until("document.querySelector('[data-session]') !== null")
        tab.click("[data-session]")
        # The first that is looked at is the next one.
        tab.until("document.getElementById('about').textContent.startsWith('Waiting')")
        session.infer({"robot_state.q": np.zeros(7)})
        keys = "[...document.querySelectorAll('#got figure')].map((f) => (f.querySelector('.key') || {}).textContent)"
        tab.until("document.querySelectorAll('#got figure').length === 2")
        assert tab.eval(keys) == ["xyzqwqxqyqz", None]
        colours = "[...document.querySelectorAll('#got .key i')].map((i) => getComputedStyle(i).borderTopColor)"
        lines = "[...document.querySelectorAll('#got path')].slice(0, 7).map((p) => getComputedStyle(p).stroke)"
        assert tab.eval(colours) == tab.eval(lines)
        assert tab.eval("document.documentElement.scrollWidth") <= width
        assert tab.said == []
