"""What a client in another language reads: keys as bytes, dtypes as they are, and what a handshake may lack."""

import msgpack
import numpy as np
import pytest
from offboard_core import Chunk
from offboard_core.server import InferenceServer
from puppets import Puppet, source
from robots import robot


def answering(dtype):
    return {"only": source({"a": lambda: Puppet(lambda episode, inputs: Chunk(np.ones((2, 3), dtype)))}, fps=10)}


@pytest.mark.rule("R-23", "E-1", "R-10")
@pytest.mark.parametrize("dtype", ["<f4", "<f8", ">f4"])
def test_vectors_keep_their_dtype_and_have_bytes_for_keys(dtype):
    with InferenceServer(answering(dtype), port=0) as server:
        with robot(server) as one:
            one.opened()
            one.send({"x": 1})
            row = msgpack.unpackb(one.receive_raw())["result"][1]
        with robot(server, query="layout=columns") as one:
            one.opened()
            one.send({"x": 1})
            columns = msgpack.unpackb(one.receive_raw())["result"]["columns"]
    assert row["action"] == {
        b"__ndarray__": True, b"data": np.ones(3, dtype).tobytes(), b"dtype": dtype, b"shape": [3],
    }  # fmt: skip
    assert row["timestamp"] == 0.1
    assert columns["action"][b"dtype"] == dtype
    assert columns["timestamp"][b"dtype"] == "<f8"


@pytest.mark.rule("M-12")
def test_the_handshake_of_a_plain_function_has_every_name():
    with InferenceServer({"f": lambda: lambda observation: [[0.0]]}, port=0) as server, robot(server) as one:
        meta = one.opened()["meta"]
    assert meta["observation"] == meta["action"] == meta["conventions"] == {}
    for name in ("image_sizes", "action_fps", "chunk_length"):
        assert meta[name] is None
