"""What is taken for finite: every number is looked at, whatever the shape and the kind of the array."""

import numpy as np
import pytest
from offboard_client.wire import is_finite

FLOATS = ("<f2", ">f2", "<f4", ">f4", "<f8", ">f8")


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf])
def test_one_odd_number_is_found_wherever_it_stands(dtype: str, odd: float) -> None:
    for at in range(12):
        array = np.zeros(12, dtype)
        array[at] = odd
        for view in (array, array.reshape(3, 4), array.reshape(3, 4).T, array[at::13], array[at]):
            assert not is_finite(view)


@pytest.mark.parametrize("dtype", [*FLOATS, "u1", "i8", "?"])
def test_finite_numbers_are(dtype: str) -> None:
    for shape in ((), (0,), (5, 0), (3,), (2, 3, 4)):
        assert is_finite(np.ones(shape, dtype))
    if dtype in FLOATS:
        assert is_finite(np.array([np.finfo(dtype).max, np.finfo(dtype).min, 0.0, -0.0], dtype))


@pytest.mark.parametrize("dtype", FLOATS)
def test_every_exponent_is_told_from_what_is_not_finite(dtype: str) -> None:
    own = np.dtype(dtype)
    # Sign, exponent and the first of the fraction, in each way; the rest of the fraction with a bit and without.
    tops = np.arange(2**16, dtype=dtype[0] + "u2").reshape(-1, 1).view(np.uint8)
    for low in (0, 1):
        rest = np.full((2**16, own.itemsize - 2), low, np.uint8)
        found = np.hstack([tops, rest] if dtype[0] == ">" else [rest, tops]).ravel().view(own)
        for number, expected in zip(found[:, None], np.isfinite(found), strict=True):
            assert is_finite(number) == expected
        assert is_finite(found[np.isfinite(found)])
