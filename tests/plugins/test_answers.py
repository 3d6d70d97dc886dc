"""Whatever a function or object may answer becomes a chunk, or an exact error."""

import ml_dtypes
import numpy as np
import pytest
from offboard_client.errors import InvalidAction
from offboard_core import Chunk
from offboard_core.catalog import as_chunk

POSE = [0.5, 0, 0.3, 1, 0, 0, 0]


def columns(answer):
    return {name: array.tolist() for name, array in as_chunk(answer).columns().items()}


def test_none_and_chunks_are_themselves():
    chunk = Chunk(np.zeros((2, 3)))
    assert as_chunk(None) is None
    assert as_chunk(chunk) is chunk


@pytest.mark.parametrize("stop", [[], (), np.zeros((0, 7)), np.zeros(0)])
def test_nothing_to_do_means_stop(stop):
    assert len(as_chunk(stop)) == 0


@pytest.mark.parametrize("answer", [np.ones((2, 3)), [[1.0, 1.0, 1.0]] * 2, [np.ones(3), np.ones(3)]])
def test_an_array_is_a_chunk_of_vectors(answer):
    assert as_chunk(answer).action.shape == (2, 3)


@pytest.mark.parametrize("answer", [np.ones(3), [1.0, 1.0, 1.0], (1, 1, 1)])
def test_a_vector_is_one_step(answer):
    assert as_chunk(answer).action.shape == (1, 3)


def test_a_map_is_one_row():
    assert columns({"target_pose": POSE, "target_grip": 0.5}) == {"target_pose": [POSE], "target_grip": [[0.5]]}
    assert columns({"action": {"target_grip": [0.5]}}) == {"target_grip": [[0.5]]}
    assert columns({"action": [1, 2]}) == {"action": [[1, 2]]}


def test_rows_become_columns_with_their_timestamps():
    chunk = as_chunk([{"action": {"target_grip": [i]}, "timestamp": i / 10} for i in range(3)])
    assert chunk.action["target_grip"].tolist() == [[0], [1], [2]]
    assert chunk.timestamp.tolist() == [0.0, 0.1, 0.2]


def test_flat_rows_are_rows():
    assert columns([{"target_grip": np.float32(i), "target_pose": POSE} for i in range(2)]) == {
        "target_grip": [[0], [1]],
        "target_pose": [POSE, POSE],
    }


class Tensor:
    """What of torch's tensor the adapter relies on: numpy reads it on the CPU, in a type that it knows."""

    def __init__(self, array, dtype="torch.float32", home=False):
        self.array, self.dtype, self.home = array, dtype, home

    def detach(self):
        return self

    def cpu(self):
        return Tensor(self.array, self.dtype, home=True)

    def float(self):
        return Tensor(self.array, home=self.home)

    def __array__(self, dtype=None, copy=None):
        if not self.home or self.dtype == "torch.bfloat16":
            raise TypeError(f"can't convert a {self.dtype} here")
        return np.asarray(self.array, self.dtype.removeprefix("torch."))


@pytest.mark.parametrize(
    ("dtype", "expected"), [("float16", "float16"), ("float32", "float32"), ("bfloat16", "float32")]
)
def test_a_tensor_is_brought_home(dtype, expected):
    tensor = Tensor(np.full((4, 6), 0.5), f"torch.{dtype}")
    for answer in (tensor, [Tensor(row, tensor.dtype) for row in tensor.array], {"actions": tensor}):
        chunk = as_chunk(answer)
        assert chunk.action.shape == (4, 6)
        assert chunk.action.dtype == expected
        assert (chunk.action == 0.5).all()
    assert columns({"target_grip": Tensor(np.ones(1), tensor.dtype)}) == {"target_grip": [[1]]}


def test_jaxs_bfloat16_becomes_a_type_that_has_a_form_on_the_wire():
    for dtype in (ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn):
        chunk = as_chunk(np.full((4, 6), 0.5, dtype))
        assert chunk.action.dtype == np.float32
        assert (chunk.action == 0.5).all()


def test_openpis_answer_is_its_actions():
    answer = {"actions": np.ones((50, 7)), "state": np.zeros(8), "policy_timing": {"infer_ms": 3.0}}
    assert as_chunk(answer).action.shape == (50, 7)
    assert as_chunk({"actions": np.ones(7)}).action.shape == (1, 7)
    assert len(as_chunk({"actions": []})) == 0


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (np.zeros((1, 2, 3)), r"answered shape \(1, 2, 3\); expected \(T, D\) or \(D,\)"),
        (0.5, r"answered shape \(\)"),
        ("go left", "answered a str of dtype <U7; expected numbers"),
        (b"\x00", "expected numbers"),
        (np.array([None]), "dtype object; expected numbers"),
        ([[1, 2], [3]], "that is no array"),
        ([{"target_grip": 0}, [0]], "row 1 is a list, row 0 is a map"),
        ([{"target_grip": 0}, {"target_pose": POSE}], r"row 1 acts on \['target_pose'\], row 0 on \['target_grip'\]"),
        ([{"action": {"target_grip": 0}}, {"action": [0]}], "row 1 acts on a list"),
        ([{"action": [0], "timestamp": 0.0}, {"action": [0]}], "1 of 2 rows have a timestamp; expected all or none"),
        ([{"action": [0], "timestamp": "now"}], "the timestamp of row 0 is a str; expected seconds"),
        ([{"action": [0], "target_grip": 0}], r"row 0 has \['action', 'target_grip'\]"),
        ([{"action": [0]}, {"action": [0, 1]}], r"'action' has the shapes \[\(1,\), \(2,\)\]"),
        (
            {"target_pose": np.zeros((50, 7))},
            r"'target_pose' of a row has shape \(50, 7\), expected a vector; answer whole columns",
        ),
        ({"actions": np.zeros((50, 7)), "target_grip": 1.0}, "answered target_grip beside 'actions'; what of it"),
        ({"actions": {"target_grip": 1.0}}, "answered a dict of dtype object"),
        ({"actions": np.zeros((1, 50, 7))}, r"answered shape \(1, 50, 7\)"),
        ({"robot_command": {"type": "joint_pos"}}, "'robot_command' of row 0 answered a dict"),
        ({}, "row 0 names no action"),
    ],
)
def test_any_other_answer_is_an_exact_error(answer, text):
    with pytest.raises(InvalidAction, match=text):
        as_chunk(answer)
