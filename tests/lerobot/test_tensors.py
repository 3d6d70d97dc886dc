"""What PyTorch's own tensors become, and what of the handed observation PyTorch may do."""

import numpy as np
import pytest
from offboard_client import InferenceClient
from offboard_core import InferenceServer
from offboard_core.catalog import as_chunk

EXACT = np.arange(28, dtype=np.float32).reshape(4, 7) / 4  # in bfloat16, too


@pytest.fixture(scope="module")
def torch():
    import torch

    return torch


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32", "float64", "int64"])
@pytest.mark.parametrize("form", [lambda t: t, list, lambda t: {"actions": t, "policy_timing": {}}])
def test_tensors_of_every_type_keep_their_numbers(torch, dtype, form):
    exact = EXACT * 4 if dtype == "int64" else EXACT
    chunk = as_chunk(form(torch.from_numpy(exact).to(getattr(torch, dtype))))
    np.testing.assert_array_equal(chunk.action, exact)
    assert chunk.action.dtype.kind in "fi"


def test_a_tensor_that_is_being_trained_is_answered(torch):
    np.testing.assert_array_equal(as_chunk(torch.tensor(EXACT, requires_grad=True)).action, EXACT)


def test_a_function_of_tensors_is_served_as_it_is(torch):
    def in_place(observation):
        image = torch.from_numpy(observation["image"])  # it warns of arrays that cannot be written into
        image /= 255
        return {"actions": image.to(torch.bfloat16), "policy_timing": {"infer_ms": 1.0}}

    with InferenceServer(in_place, port=0, fps=10) as server, InferenceClient(server.host, server.port) as client:
        assert client.list_models() == ["policy"]
        with client.new_session() as session:
            for _ in range(2):
                rows = session.infer({"image": np.full((4, 7), 255.0, np.float32)})
                np.testing.assert_array_equal([row["action"]["action"] for row in rows], np.ones((4, 7)))
                assert [row["timestamp"] for row in rows] == [0.0, 0.1, 0.2, 0.3]
