import numpy as np
import pytest
from golden_codecs import GOLDEN
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from offboard_core.codecs import WIDTHS, convert, convert_pose

REPRESENTATIONS = sorted(WIDTHS)


@pytest.mark.parametrize("case", GOLDEN["rotations"])
@pytest.mark.parametrize("representation", REPRESENTATIONS)
def test_the_golden_numbers(case, representation):
    made = convert(np.array(case["quat_wxyz_in"]), "quat", representation)
    np.testing.assert_allclose(made, case[representation], atol=1e-8)


@pytest.mark.parametrize("case", GOLDEN["rotations"])
@pytest.mark.parametrize("representation", REPRESENTATIONS)
def test_every_representation_reads_back_as_the_same_rotation(case, representation):
    back = convert(np.array(case[representation]), representation, "rotation_matrix")
    np.testing.assert_allclose(back, case["rotation_matrix"], atol=1e-8)


quaternions = arrays(np.float64, (3, 2, 4), elements=st.floats(-1, 1)).filter(
    lambda q: np.linalg.norm(q, axis=-1).min() > 1e-3
)


@given(quaternions, st.sampled_from(REPRESENTATIONS), st.sampled_from(REPRESENTATIONS))
def test_any_way_round_gives_the_same_rotation(quats, first, second):
    matrix = convert(quats, "quat", "rotation_matrix")
    there = convert(convert(quats, "quat", first), first, second)
    np.testing.assert_allclose(convert(there, second, "rotation_matrix"), matrix, atol=1e-6)


@given(quaternions)
def test_leading_axes_are_independent(quats):
    whole = convert(quats, "quat", "rotvec")
    assert whole.shape == (3, 2, 3)
    np.testing.assert_array_equal(whole[1, 0], convert(quats[1, 0], "quat", "rotvec"))


def test_the_sign_of_a_quaternion_is_left_alone():
    quat = np.array([-0.5, 0.5, 0.5, 0.5])
    np.testing.assert_array_equal(convert(quat, "quat", "quat"), quat)


@pytest.mark.parametrize("away", [0.0, 1e-9, 1e-8, 3e-8, 1e-7, 1.4e-6, 1e-5])
@pytest.mark.parametrize("pitch", [np.pi / 2, -np.pi / 2])
def test_euler_angles_at_the_pole_and_near_it(pitch, away):
    matrix = convert(np.array([0.3, pitch - away, 0.5]), "euler", "rotation_matrix")
    again = convert(convert(matrix, "rotation_matrix", "euler"), "euler", "rotation_matrix")
    np.testing.assert_allclose(again, matrix, atol=1e-7)


def test_a_pose_keeps_its_translation():
    pose = np.array([[1.0, 2.0, 3.0, 0.5, 0.5, 0.5, 0.5]])
    np.testing.assert_allclose(convert_pose(pose, "quat", "rot6d"), [[1, 2, 3, 0, 0, 1, 1, 0, 0]], atol=1e-12)


@pytest.mark.parametrize(
    ("representation", "values", "reason"),
    [
        ("quat", [0, 0, 0, 1e-10], "no length"),
        ("quat_xyzw", [0, 0, 0, 0], "no length"),
        ("quat", [np.nan, 0, 0, 1], "not finite"),
        *(
            (each, [1e308] * n, r"holds 1e\+308")
            for each, n in (("quat", 4), ("euler", 3), ("rotvec", 3), ("rot6d", 6))
        ),
        ("rotation_matrix", [1e200, 0, 0, 0, 1, 0, 0, 0, 1], r"holds 1e\+200"),
        ("quat", [1, 0, 0], "4 numbers"),
        ("rot6d", [0, 0, 0, 0, 1, 0], "no length"),
        ("rot6d", [1, 0, 0, 2, 0, 0], "no length"),
        ("rotation_matrix", [0] * 9, "not orthonormal"),
        ("rotation_matrix", [1, 0, 0, 0, 1, 0, 0, 0, -1], "right-handed"),
        ("rotation_matrix", [2, 0, 0, 0, 2, 0, 0, 0, 2], "not orthonormal"),
    ],
)
def test_what_is_no_rotation_raises(representation, values, reason):
    with pytest.raises(ValueError, match=reason):
        convert(np.array(values, float), representation, "quat")
