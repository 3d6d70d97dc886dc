"""GR00T's modality config, the Python file that its training is given, for one of the arm codecs.

It says what the codec makes and takes, so that the two cannot disagree, and needs no fork of GR00T: NVIDIA's own
checkout takes such a file since N1.6.
"""

from __future__ import annotations

import json

from . import arm

#: Its name in the folder of a run, by which GR00T imports it.
FILE = "offboard_modality_config.py"
#: How many steps are learnt, as in Positronic's own; N1.6 has no more.
STEPS = 16
_TEXT = '''"""Written by `offboard train`: what a data set of gr00t.{codec} holds, for GR00T's own training."""

from gr00t.configs.data.embodiment_configs import register_modality_config
from gr00t.data.embodiment_tags import EmbodimentTag
from gr00t.data.types import ActionConfig, ActionFormat, ActionRepresentation, ActionType, ModalityConfig

register_modality_config(
    {{
        "video": ModalityConfig(delta_indices=[0], modality_keys={video}),
        "state": ModalityConfig(delta_indices=[0], modality_keys={state}),
        "action": ModalityConfig(
            delta_indices=list(range({steps})),
            modality_keys=["{moved}", "grip"],
            action_configs=[
                ActionConfig(
                    rep=ActionRepresentation.{representation},
                    type=ActionType.NON_EEF,
                    format=ActionFormat.{format},
                    state_key="{moved}",
                ),
                ActionConfig(
                    rep=ActionRepresentation.ABSOLUTE, type=ActionType.NON_EEF, format=ActionFormat.DEFAULT
                ),
            ],
        ),
        "language": ModalityConfig(delta_indices=[0], modality_keys=["{language}"]),
    }},
    embodiment_tag=EmbodimentTag.NEW_EMBODIMENT,
)
'''


def modality_config(codec: str, *, relative: bool) -> str:
    """The file for one of the arm codecs. ``relative``: the pose is learnt relative to the state.

    A pose is a row of numbers for GR00T (``NON_EEF``), as in Positronic's own configs: what is relative is the
    difference of the numbers, which GR00T adds to the state again before it answers.
    """
    layout = arm.LAYOUTS[codec]
    rows = layout.rotation == "rot6d" and not relative
    keys = [key.removeprefix("state.") for key in layout.state]
    return _TEXT.format(
        codec=codec,
        video=json.dumps([key.removeprefix("video.") for key in (arm.EXTERIOR, arm.WRIST)]),
        state=json.dumps([*keys[1:2], *keys[:1], *keys[2:]]),
        steps=STEPS,
        moved=layout.moved,
        representation="RELATIVE" if relative else "ABSOLUTE",
        format="XYZ_ROT6D" if rows else "DEFAULT",
        language=arm.INSTRUCTION,
    )
