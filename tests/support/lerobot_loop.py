"""What LeRobot itself plays of observations, in this process: its own loop, step by step."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from lerobot_checkpoints import model_inputs

NONE: Mapping[str, str] = {}


def played(
    policy: Any, folder: Path, kind: str, numbers: Iterable[int], task: str = "stack", sent: Mapping[str, str] = NONE
) -> list[np.ndarray]:
    """The rows that ``select_action`` hands out for each observation in turn, which is held until its chunk is over.

    ``policy``: loaded by LeRobot; its processors are those of ``folder``. What it draws is drawn from a seed of the
    observation's number. ``sent``: the policy's names → those that it is sent under, where they differ.
    """
    import torch
    from lerobot.policies.factory import make_pre_post_processors
    from lerobot.policies.utils import prepare_observation_for_inference

    preprocess, postprocess = make_pre_post_processors(policy.config, pretrained_path=str(folder))
    policy.eval()
    policy.reset()
    chunks = []
    for number in numbers:
        torch.manual_seed(number)
        queues = getattr(policy, "_queues", {})
        for queue in (queues.get("action", []), getattr(policy, "_action_queue", [])):
            queue.clear()
        actions = []
        for _ in range(policy.config.n_action_steps):
            seen = {sent.get(name, name): value for name, value in model_inputs(number, kind).items()}
            inputs = prepare_observation_for_inference(seen, torch.device("cpu"), task=task)
            before = {name: queue.copy() for name, queue in queues.items() if name != "action"}
            with torch.no_grad():
                actions.append(postprocess(policy.select_action(preprocess(inputs)))[0].numpy())
            # The robot asks once for a chunk, and looks once.
            queues.update(before) if actions[1:] else None
        chunks.append(np.stack(actions))
    return chunks
