"""Configs by name; the real file needs jax to be imported, so nothing outside openpi's environment imports it."""

import difflib
from dataclasses import dataclass


@dataclass(frozen=True)
class TrainConfig:
    name: str
    family: str = "libero"
    horizon: int = 50
    asset_id: str | None = None
    default_prompt: str | None = None


_CONFIGS = [
    TrainConfig(name="pi0_aloha", family="aloha", asset_id="trossen"),
    TrainConfig(name="pi0_aloha_sim", family="aloha", asset_id="lerobot/aloha_sim", default_prompt="Transfer cube"),
    TrainConfig(name="pi0_droid", family="droid", horizon=10, asset_id="droid"),
    TrainConfig(name="pi05_droid", family="droid", horizon=15, asset_id="droid"),
    TrainConfig(name="pi05_full_droid_finetune", family="droid", horizon=16, asset_id="droid"),
    TrainConfig(name="pi05_libero", horizon=10, asset_id="physical-intelligence/libero"),
    TrainConfig(name="pi05_positronic_lowmem", family="positronic", asset_id="lerobot"),
    TrainConfig(name="my_own_config", asset_id="mine"),
    TrainConfig(name="pi05_so101", family="so101", horizon=10, asset_id="mine"),
    TrainConfig(name="debug"),
]
_BY_NAME = {config.name: config for config in _CONFIGS}


def get_config(name):
    if name not in _BY_NAME:
        near = difflib.get_close_matches(name, _BY_NAME, n=1, cutoff=0.0)
        raise ValueError(f"Config '{name}' not found. Did you mean '{near[0]}'? ")
    return _BY_NAME[name]
