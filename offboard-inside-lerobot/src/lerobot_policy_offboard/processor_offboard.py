"""What LeRobot does to a batch before and to an action after the policy: nothing, for the server does it all."""

# LeRobot leaves much of what it takes and gives untyped.
# pyright: reportMissingTypeStubs=false, reportUnknownVariableType=false

from __future__ import annotations

from typing import Any

from lerobot.processor import PolicyProcessorPipeline
from lerobot.processor.converters import policy_action_to_transition, transition_to_policy_action


def make_offboard_pre_post_processors(config: Any, dataset_stats: Any = None) -> tuple[Any, Any]:
    """Two pipelines without steps: a server's model gets its numbers as LeRobot has them, and so does the robot."""
    return (
        PolicyProcessorPipeline(steps=[], name="policy_preprocessor"),
        PolicyProcessorPipeline(
            steps=[],
            name="policy_postprocessor",
            to_transition=policy_action_to_transition,
            to_output=transition_to_policy_action,
        ),
    )
