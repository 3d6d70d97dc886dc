"""Environments for Gymnasium that the tests register: an arm of two joints that reach for zero, and its faults."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

#: Where the arm has to be for the episode to end.
REACHED = 0.05


class Reach(gymnasium.Env[Any, Any]):
    """Two joints that are wherever the last action said. The reward is how near both are to 0, at most 0.

    ``renders``: what ``render()`` returns. ``fault``: what is wrong with it. ``velocity``: the action is one, a tenth
    of a second of which each step plays.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}

    def __init__(
        self, render_mode: str | None = None, renders: bool = True, fault: str = "", velocity: bool = False
    ) -> None:
        self.render_mode, self.renders, self.fault, self.velocity = render_mode, renders, fault, velocity
        self.observation_space = spaces.Dict(
            {
                "arm": spaces.Dict({"q": spaces.Box(-3, 3, (2,), np.float32)}),
                "pixels": spaces.Box(0, 255, (8, 6, 3), np.uint8),
            }
        )
        self.action_space = spaces.Box(-2, 2, (2,), np.float32)
        if fault == "row":
            self.observation_space = spaces.Box(-3, 3, (5,), np.float32)
        if fault == "discrete":
            self.action_space = spaces.Discrete(4)
        elif fault == "unbounded":
            self.action_space = spaces.Box(-np.inf, np.inf, (2,), np.float32)
        elif fault == "dict":
            self.action_space = spaces.Dict(
                {"arm": spaces.Dict({"one": spaces.Box(-2, 2, (1,), np.float32)}), "two": spaces.Box(-2, 2, (1,))}
            )
        self.q = np.zeros(2)
        #: Every action that it was stepped with, of all environments.
        self.played: list[Any] = []
        made.append(self)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.q = self.np_random.uniform(0.5, 1.0, 2)
        return self._seen(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        if self.fault == "fails":
            raise OSError("the arm is gone")
        self.played.append(action)
        if self.fault == "dict":
            action = np.concatenate([action["arm"]["one"], action["two"]])
        assert action.dtype == np.float32
        assert (np.abs(action) <= 2).all()
        self.q = self.q + np.asarray(action) / 10 if self.velocity else np.array(action, np.float64)
        far = float(np.abs(self.q).max())
        return self._seen(), -far, far < REACHED, False, {"is_success": far < REACHED}

    def render(self) -> Any:
        if self.fault == "no render":
            return super().render()
        return np.full((4, 5, 3), 200, np.uint8) if self.renders else None

    def close(self) -> None:
        self.played.append("closed")

    def _seen(self) -> Any:
        q = self.q if self.fault != "nan" else np.array([np.nan, 0])
        if self.fault == "row":
            return np.arange(5, dtype=np.float32) / 2
        q = np.zeros(3) if self.fault == "shape" else q
        return {"arm": {"q": q.astype(np.float64)}, "pixels": np.full((8, 6, 3), 9, np.uint8)}


#: All that were made, in their order.
made: list[Reach] = []
ID = "offboard_tests/Reach-v0"
if ID not in gymnasium.registry:
    gymnasium.register(ID, Reach, max_episode_steps=20)
