from dataclasses import dataclass, field

from lerobot.configs.policies import PreTrainedConfig
from lerobot.configs.types import NormalizationMode


@PreTrainedConfig.register_subclass("tiny")
@dataclass
class TinyConfig(PreTrainedConfig):
    n_obs_steps: int = 1
    chunk_size: int = 6
    n_action_steps: int = 4
    spread: float = 0.5
    remembers: str | None = None
    normalization_mapping: dict[str, NormalizationMode] = field(
        default_factory=lambda: dict.fromkeys(("STATE", "ACTION", "VISUAL"), NormalizationMode.MEAN_STD)
    )

    def validate_features(self):
        pass

    def get_optimizer_preset(self):
        raise NotImplementedError

    def get_scheduler_preset(self):
        return None

    @property
    def observation_delta_indices(self):
        return None

    @property
    def action_delta_indices(self):
        return list(range(self.chunk_size))

    @property
    def reward_delta_indices(self):
        return None
