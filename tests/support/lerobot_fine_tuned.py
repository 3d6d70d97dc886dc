"""LeRobot checkpoints that were fine-tuned from a base on a data set of another robot, as ``lerobot-train`` does it."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lerobot_checkpoints import imported, statistics_of

Described = Mapping[str, tuple[str, tuple[int, ...]]]


def fine_tuned(folder: Path, base: Path, data_set: Described, renamed: Mapping[str, str] | None = None) -> Path:
    """The base's weights, a little elsewhere, with the processors and config that training on ``data_set`` leaves.

    ``data_set``: the columns that are observations or actions → their kind and shape. ``renamed``: the rename_map.
    """
    imported()
    import torch
    from lerobot.configs.policies import PreTrainedConfig
    from lerobot.configs.types import FeatureType, PolicyFeature
    from lerobot.policies.factory import get_policy_class, make_pre_post_processors

    config: Any = PreTrainedConfig.from_pretrained(base)
    config.device, config.pretrained_path = "cpu", str(base)
    config.output_features = {
        name: PolicyFeature(FeatureType.ACTION, shape) for name, (kind, shape) in data_set.items() if kind == "ACTION"
    }
    policy = get_policy_class(config.type).from_pretrained(base, config=config)
    torch.manual_seed(5)
    with torch.no_grad():
        for weight in policy.parameters():
            weight.add_(0.02 * torch.randn_like(weight))
    stats, modes = statistics_of(data_set), config.normalization_mapping
    features = {**config.input_features, **config.output_features}
    before = {
        "device_processor": {"device": "cpu"},
        "normalizer_processor": {"stats": stats, "features": features, "norm_map": modes},
        "rename_observations_processor": {"rename_map": renamed or {}},
    }
    after = {"unnormalizer_processor": {"stats": stats, "features": config.output_features, "norm_map": modes}}
    processors = make_pre_post_processors(
        config,
        pretrained_path=str(base),
        dataset_stats=stats,
        preprocessor_overrides=before,
        postprocessor_overrides=after,
    )
    shutil.rmtree(folder, ignore_errors=True)
    for part in (policy, *processors):
        part.save_pretrained(folder)
    return folder
