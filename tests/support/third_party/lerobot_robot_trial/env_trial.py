from dataclasses import dataclass, field

import gymnasium
import numpy as np
from lerobot.configs.types import FeatureType, PolicyFeature
from lerobot.envs.configs import EnvConfig

STEPS = 20


@EnvConfig.register_subclass("trial_env")
@dataclass
class TrialEnvConfig(EnvConfig):
    task: str | None = "Trial-v0"
    fps: int = 30
    log: str = ""
    features: dict[str, PolicyFeature] = field(
        default_factory=lambda: {
            "action": PolicyFeature(FeatureType.ACTION, (6,)),
            "agent_pos": PolicyFeature(FeatureType.STATE, (6,)),
            "pixels/front": PolicyFeature(FeatureType.VISUAL, (64, 64, 3)),
        }
    )
    features_map: dict[str, str] = field(
        default_factory=lambda: {
            "action": "action",
            "agent_pos": "observation.state",
            "pixels/front": "observation.images.front",
        }
    )

    @property
    def gym_kwargs(self):
        return {"log": self.log, "max_episode_steps": STEPS}


class TrialEnv(gymnasium.Env):
    metadata = {"render_modes": ["rgb_array"], "render_fps": 30}
    render_mode = "rgb_array"
    task_description = "reach"
    task = "reach"

    def __init__(self, log):
        self.log = log
        self.observation_space = gymnasium.spaces.Dict(
            {
                "agent_pos": gymnasium.spaces.Box(-1e3, 1e3, (6,), np.float64),
                "pixels": gymnasium.spaces.Dict({"front": gymnasium.spaces.Box(0, 255, (64, 64, 3), np.uint8)}),
            }
        )
        self.action_space = gymnasium.spaces.Box(-1e3, 1e3, (6,), np.float32)
        self._max_episode_steps = STEPS

    def _observed(self):
        return {"agent_pos": self.at, "pixels": {"front": self.render()}}

    def render(self):
        return np.full((64, 64, 3), int(abs(self.at).sum()) % 256, np.uint8)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.at = self.np_random.uniform(5, 15, 6)
        return self._observed(), {"is_success": False}

    def step(self, action):
        with open(self.log, "a") as log:
            log.write(" ".join(map(str, [*self.at, *action])) + "\n")
        self.at = np.asarray(action, np.float64)
        return self._observed(), 0.0, False, False, {"is_success": False}


gymnasium.register("gym_trial_env/Trial-v0", TrialEnv)
