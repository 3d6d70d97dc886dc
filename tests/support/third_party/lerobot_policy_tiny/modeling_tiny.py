from collections import deque

import torch
from lerobot.policies.pretrained import PreTrainedPolicy

from .configuration_tiny import TinyConfig


class TinyPolicy(PreTrainedPolicy):
    config_class = TinyConfig
    name = "tiny"

    def __init__(self, config, **kwargs):
        super().__init__(config)
        self.seen = torch.nn.Linear(8 + 3 * len(config.image_features), config.chunk_size * 8)
        self.register_buffer("count", torch.zeros(1))
        self.recent = deque(maxlen=2)
        self.reset()

    def get_optim_params(self):
        return self.parameters()

    def reset(self):
        self._action_queue = deque(maxlen=self.config.n_action_steps)

    def forward(self, batch):
        raise NotImplementedError

    def predict_action_chunk(self, batch, **kwargs):
        means = [batch[name].mean((-2, -1)) for name in self.config.image_features]
        looked = torch.cat([batch["observation.state"], *means], dim=-1)
        if self.config.remembers == "a buffer":
            self.count += 1
        if self.config.remembers == "a list":
            self.recent.append(looked)
        chunk = self.seen(looked).unflatten(-1, (self.config.chunk_size, 8))
        return chunk + self.config.spread * torch.randn_like(chunk)

    def select_action(self, batch, **kwargs):
        if not self._action_queue:
            self._action_queue.extend(self.predict_action_chunk(batch)[:, : self.config.n_action_steps].transpose(0, 1))
        return self._action_queue.popleft()
