"""What an openpi server says of its policy is handed on as far as every robot can read it."""

import numpy as np
import pytest
from offboard_openpi.checks import Checks
from offboard_openpi.loader import _meta

CHECKS = Checks("my_own", None)


def handed_on(metadata):
    return _meta(CHECKS, metadata, None).get("openpi_metadata")


def test_plain_data_is_handed_on():
    plain = {"reset_pose": [0, -1.5], "camera": {"fps": 30, "on": True, "name": None}}
    assert handed_on({**plain, "mean": np.zeros(3), "bytes": b"x", b"key": 1, "nan": float("nan")}) == plain


@pytest.mark.parametrize("metadata", [{}, {"text": "x" * 10**6}, {str(i): [0] * 100 for i in range(900)}])
def test_nothing_and_too_much_is_not(metadata):
    assert handed_on(metadata) is None
