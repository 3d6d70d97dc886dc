"""Which of a checkpoint's embodiments is meant."""

from __future__ import annotations

from collections.abc import Sequence

from offboard_client.errors import ConfigurationError, brief, nearest

#: The embodiment of who trains a robot of their own, unless another is named.
NEW = "new_embodiment"
#: What N1.7's own command line calls some of its embodiments (in lower case), and what its checkpoints call them.
_ALSO = {
    "behavior_r1_pro": "sim_behavior_r1_pro",
    "libero_panda": "libero_sim",
    "real_g1": "real_g1_relative_eef_relative_joints",
    "real_r1_pro_sharpa": "real_r1_pro_sharpa_relative_eef",
    "unitree_g1": "unitree_g1_full_body_with_waist_height_nav_cmd",
    "xdof": "xdof_relative_eef_relative_joint",
}


def choose(tags: Sequence[str], named: str | None, recorded: str | None) -> str:
    """The one of ``tags`` that is ``named``, or recorded, or the only one, or ``new_embodiment``.

    Raises ConfigurationError that names those that exist.
    """
    if recorded is not None and named is not None and recorded.lower() != named.lower():
        raise ConfigurationError(
            f"--embodiment-tag asks for {named}, and offboard.json beside the checkpoint says {recorded}: leave "
            "--embodiment-tag away, or correct offboard.json"
        )
    asked = named or recorded or (tags[0] if len(tags) == 1 else NEW)
    lower = asked.lower()
    tag = next((tag for name in (lower, _ALSO.get(lower)) for tag in tags if tag.lower() == name), None)
    if tag is not None:
        return tag
    there = ", ".join(tags)
    if named is None and recorded is None:
        raise ConfigurationError(f"the checkpoint has several embodiments: say --embodiment-tag, one of {there}")
    near = f"did you mean {' or '.join(like)}? " if (like := nearest(asked, tags)) else ""
    raise ConfigurationError(f"the checkpoint has no embodiment {brief(asked, 60)}; {near}it has: {there}")
