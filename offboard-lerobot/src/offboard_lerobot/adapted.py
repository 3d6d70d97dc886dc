"""A policy's weights as an adapter changes them, by PEFT, as LeRobot's ``lerobot-rollout`` loads them."""

# PEFT is not installed where LeRobot's policies do without, and leaves much of what it gives untyped.
# pyright: reportMissingTypeStubs=false

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from offboard_client.errors import LoadFailed
from offboard_core.checkpoints import some

from .adapters import ADAPTED, Adapter


def adapted(model: Any, adapter: Adapter, folder: Path, device: str) -> Any:
    """``model`` with the adapter of ``folder`` in its layers; it is changed in place. Raises LoadFailed.

    PEFT's own wrapper hands every question on to the policy inside it, and nothing that is set: the policy is returned.
    """
    peft: Any = importlib.import_module("peft")
    options = peft.LoraConfig(**adapter.options)
    wrapped = peft.PeftModel.from_pretrained(model, str(folder), config=options, torch_device=device)
    there = set(peft.get_peft_model_state_dict(wrapped, save_embedding_layers=False))
    given = set(adapter.tensors)
    if there != given:
        raise LoadFailed(
            f"{folder / ADAPTED} does not fit its policy: it lacks {some(there - given)}, and has "
            f"{some(given - there)} that the policy does not have",
            permanent=True,
        )
    return wrapped.get_base_model()
