"""Where a modality config is registered."""

from gr00t.data.embodiment_tags import EmbodimentTag

MODALITY_CONFIGS = {}


def register_modality_config(config, embodiment_tag=EmbodimentTag.NEW_EMBODIMENT):
    assert embodiment_tag.value not in MODALITY_CONFIGS, f"Embodiment tag {embodiment_tag} already registered"
    MODALITY_CONFIGS[embodiment_tag.value] = config
