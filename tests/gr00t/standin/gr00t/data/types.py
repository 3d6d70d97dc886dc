"""What a modality config is made of, as GR00T has it since N1.6."""

import enum
from dataclasses import dataclass


class ActionRepresentation(enum.Enum):
    RELATIVE = "relative"
    DELTA = "delta"
    ABSOLUTE = "absolute"


class ActionType(enum.Enum):
    EEF = "eef"
    NON_EEF = "non_eef"


class ActionFormat(enum.Enum):
    DEFAULT = "default"
    XYZ_ROT6D = "xyz+rot6d"
    XYZ_ROTVEC = "xyz+rotvec"


@dataclass
class ActionConfig:
    rep: ActionRepresentation
    type: ActionType
    format: ActionFormat
    state_key: str | None = None

    def said(self):
        return {"rep": self.rep.name, "type": self.type.name, "format": self.format.name, "state_key": self.state_key}


@dataclass
class ModalityConfig:
    delta_indices: list[int]
    modality_keys: list[str]
    action_configs: list[ActionConfig] | None = None

    def __post_init__(self):
        if self.action_configs is not None:
            assert len(self.action_configs) == len(self.modality_keys)
