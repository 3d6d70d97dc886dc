"""Whether two chunks mean the same to a robot."""

import numpy as np
from offboard_core.types import Chunk


def assert_same_actions(made: Chunk, expected: Chunk, atol: float = 1e-9) -> None:
    """Names, numbers and times; a rotation counts as itself with either sign of its quaternion."""
    assert made.columns().keys() == expected.columns().keys()
    for name, column in expected.columns().items():
        found = made.columns()[name]
        if name.partition(".")[0] in ("target_pose", "pose_delta"):
            sign = np.sign(np.sum(found[:, 3:] * column[:, 3:], axis=1, keepdims=True))
            found = np.concatenate([found[:, :3], found[:, 3:] * sign], axis=1)
        np.testing.assert_allclose(found, column, atol=atol, err_msg=name)
    if expected.timestamp is None:
        assert made.timestamp is None
    else:
        np.testing.assert_array_equal(made.timestamp, expected.timestamp)
