"""The policy against a server of each generation: offboard's names go in, columns come out, and a model looks back."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gr00t_standin import ACTION, GENERATIONS, LANGUAGE, SIZE, STATE, VIDEO, gr00t_server, write_checkpoint
from offboard_client.errors import BadObservation, LoadFailed
from offboard_core.checkpoints import LocalPlace
from offboard_core.process import AttachedServer, free_port
from offboard_core.types import NO_CONTEXT, InferContext, NoParams
from offboard_gr00t.checkpoint import read, served
from offboard_gr00t.checks import Checks
from offboard_gr00t.connection import Connection
from offboard_gr00t.policy import GR00TPolicy
from waits import PATIENCE


def inputs() -> dict[str, Any]:
    made: dict[str, Any] = {f"video.{name}": np.zeros((SIZE[1], SIZE[0], 3), np.uint8) for name in VIDEO}
    return {**made, **{f"state.{name}": np.full(width, 0.4) for name, width in STATE.items()}, LANGUAGE: "go"}


@contextlib.contextmanager
def opened(folder: Path) -> Iterator[GR00TPolicy]:
    """The policy of a checkpoint, which a server that others started serves."""
    found = read(LocalPlace(folder), None)
    generation, port = found.generation, free_port()
    with gr00t_server(folder, port, generation.value):
        address = f"tcp://127.0.0.1:{port}"
        server = AttachedServer(
            lambda timeout: Connection(address, generation, timeout=timeout),
            lambda connection: bool(connection.modalities(PATIENCE)),
            lambda connection: "the same",
            LoadFailed,
            name="GR00T",
            address=address,
            startup_timeout=PATIENCE,
        )
        server.open(lambda _: None)
        connection = Connection(address, generation)
        modalities = served(connection.modalities(PATIENCE), found)
        connection.close()
        policy = GR00TPolicy(server, Checks(modalities, generation), PATIENCE, {"port": 0})
        try:
            yield policy
        finally:
            policy.close()


@pytest.fixture(params=GENERATIONS)
def policy(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[GR00TPolicy]:
    with opened(write_checkpoint(tmp_path / "checkpoint-1", request.param)) as policy:
        yield policy


def test_what_codecs_make_goes_in_and_columns_come_out(policy: GR00TPolicy) -> None:
    session = policy.new_session(NoParams())
    columns = session.infer(inputs(), NO_CONTEXT).columns()
    assert {name: steps.shape for name, steps in columns.items()} == {
        f"action.{name}": (16, width) for name, width in ACTION.items()
    }
    assert all(steps.dtype == np.float32 for steps in columns.values())
    session.reset()
    with pytest.raises(BadObservation, match="not finite"):
        session.infer({**inputs(), "state.grip": np.array([np.nan])}, NO_CONTEXT)
    assert policy.context == frozenset()
    assert policy.meta["chunk_length"] == 16
    assert policy.meta["cameras"] == list(VIDEO)
    assert "frames" not in policy.meta


def test_a_model_that_looks_back_is_sent_both_frames(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "checkpoint-1", "n1.7", frames=(-15, 0), horizon=40)
    with opened(folder) as policy:
        assert (policy.context, policy.history_steps, policy.history_kept) == ({"history"}, (-15,), True)
        assert policy.meta["frames"] == {"video": [-15, 0], "state": [0]}
        session = policy.new_session(NoParams())
        before = InferContext(history=(inputs(),))
        assert session.infer(inputs(), before).columns()["action.ee_pose"].shape == (40, 7)
        with pytest.raises(BadObservation, match="seen 15 steps ago"):
            session.infer(inputs(), NO_CONTEXT)
