"""LeRobot itself, run by the Python of any environment that has one: it writes a checkpoint, and plays one.

    PYTHON lerobot_alone.py save HUB KIND FOLDER
    PYTHON lerobot_alone.py play HUB KIND FOLDER FILE.npy

HUB: a cache of the Hub with the tiny models of :mod:`lerobot_backbones`, which is filled if it is not there. What is
played goes without offboard.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
from lerobot_checkpoints import SETTINGS, model_inputs, save_policy

#: The observations, each the first of its episode and the seed of what it draws.
NUMBERS = (1, 2, 3)
TASK = "put the cube away"


def play(folder: Path, kind: str) -> np.ndarray:
    """What ``select_action`` hands out for each observation, held for a chunk: (observations, steps, actions)."""
    import torch
    from lerobot.policies.factory import get_policy_class, make_pre_post_processors
    from lerobot.policies.utils import prepare_observation_for_inference

    policy = get_policy_class(kind).from_pretrained(folder)
    preprocess, postprocess = make_pre_post_processors(policy.config, pretrained_path=str(folder))
    chunks = []
    for number in NUMBERS:
        policy.reset()
        torch.manual_seed(number)
        rows = []
        for _ in range(SETTINGS[kind].get("n_action_steps", 1)):
            seen = prepare_observation_for_inference(model_inputs(number, kind), torch.device("cpu"), task=TASK)
            rows.append(postprocess(policy.select_action(preprocess(seen)))[0].numpy())
        chunks.append(rows)
    return np.array(chunks)


def run(python: str | Path, *arguments: object) -> None:
    """This file, by another interpreter, with offboard's packages and the tests' own of this one."""
    found = [importlib.util.find_spec(name) for name in ("offboard_client", "offboard_core", "offboard_lerobot")]
    path = [str(Path(spec.origin).parents[1]) for spec in found if spec is not None and spec.origin is not None]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([*path, str(Path(__file__).parent)])}
    command = [str(python), __file__, *map(str, arguments)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=800, check=False)
    assert done.returncode == 0, done.stderr


def main(what: str, hub: str, kind: str, folder: str, *file: str) -> None:
    with contextlib.ExitStack() as stack:
        if importlib.util.find_spec("transformers") is not None:
            import lerobot_backbones

            if not Path(hub).exists():
                lerobot_backbones.fill(Path(hub))
            stack.enter_context(lerobot_backbones.in_use(Path(hub)))
        if what == "save":
            save_policy(Path(folder), kind, seed=sum(Path(folder).name.encode()))
        else:
            np.save(file[0], play(Path(folder), kind))


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main(*sys.argv[1:])
