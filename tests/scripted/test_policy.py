from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from offboard_client import InferenceClient
from offboard_client.errors import BadObservation, BadParameter
from offboard_core import InferenceServer
from offboard_core.catalog import from_flags
from offboard_core.plugins import Plugins
from offboard_core.scripted import ScriptedLoader, ScriptedParams, ScriptedPolicy, make_codec
from offboard_core.types import NO_CONTEXT, Checkpoint, Chunk, Item, NoParams, Session

CODEC = make_codec(NoParams(), Checkpoint(id="scripted"))
OBSERVATION: dict[str, Any] = {
    "robot_state.ee_pose": np.array([0.31, 0.0, 0.49, 0.0, 1.0, 0.0, 0.0]),
    "grip": np.array([0.0]),
    "task": "stack the red cube on the green cube",
    "sim.objects.red_cube": np.array([0.5, 0.1, 0.02, 1.0, 0.0, 0.0, 0.0]),
    "sim.objects.green_cube": np.array([0.5, -0.1, 0.02, 1.0, 0.0, 0.0, 0.0]),
    "sim.objects.blue_cube": np.array([0.45, 0.0, 0.02, 1.0, 0.0, 0.0, 0.0]),
}


@pytest.fixture
def policy() -> ScriptedPolicy:
    return ScriptedLoader(NoParams()).load(Checkpoint(id="scripted"), lambda text: None)


def answer(policy: ScriptedPolicy, **changes: Any) -> Chunk:
    inputs = CODEC.encode({**OBSERVATION, **changes})
    chunk = policy.new_session(ScriptedParams()).infer(inputs, NO_CONTEXT)
    assert chunk is not None
    return CODEC.decode(chunk, inputs)


def test_it_is_found_as_a_vendor_that_needs_no_files() -> None:
    source = from_flags(Plugins.discover(), vendor="scripted")
    checkpoint = source.default()
    assert checkpoint.id == "scripted"
    meta = source.codec.resolve(checkpoint, {}).meta
    assert meta.action_fps == 15.0
    assert {name: field.kind for name, field in meta.action.items()} == {
        "target_pose": "absolute_pose",
        "target_grip": "grip",
    }
    required = {name for name, field in meta.observation.items() if field.required}
    assert required == OBSERVATION.keys() - {"task"}
    for name in required - {"grip"}:
        assert "quaternion w x y z" in str(meta.observation[name].unit)


def test_a_chunk_holds_poses_grips_and_times(policy: ScriptedPolicy) -> None:
    chunk = answer(policy)
    columns = chunk.columns()
    assert columns["target_pose"].shape == (len(chunk), 7)
    assert columns["target_grip"].shape == (len(chunk), 1)
    np.testing.assert_allclose(chunk.timestamp, np.arange(len(chunk)) / 15)


def test_done_is_a_chunk_of_no_steps(policy: ScriptedPolicy) -> None:
    chunk = answer(
        policy,
        **{
            "sim.objects.red_cube": np.array([0.5, -0.1, 0.06, 1.0, 0.0, 0.0, 0.0]),
            "robot_state.ee_pose": np.array([0.5, -0.1, 0.16, 0.0, 1.0, 0.0, 0.0]),
        },
    )
    assert len(chunk) == 0
    assert set(chunk.columns()) == {"target_pose", "target_grip"}


def test_the_instruction_says_which_cube(policy: ScriptedPolicy) -> None:
    goals = {
        colour: answer(policy, task=f"put the {colour} block on the green block").columns()["target_pose"][-1, :2]
        for colour in ("red", "blue")
    }
    assert np.linalg.norm(goals["red"] - [0.5, 0.1]) < 0.05
    assert np.linalg.norm(goals["blue"] - [0.45, 0.0]) < 0.05


def test_without_an_instruction_red_goes_on_green(policy: ScriptedPolicy) -> None:
    inputs = CODEC.encode({name: value for name, value in OBSERVATION.items() if name != "task"})
    said = CODEC.encode(OBSERVATION)
    unsaid = policy.new_session(ScriptedParams()).infer(inputs, NO_CONTEXT)
    asked = policy.new_session(ScriptedParams()).infer(said, NO_CONTEXT)
    assert unsaid is not None
    assert asked is not None
    np.testing.assert_array_equal(unsaid.action, asked.action)


def test_its_speed_may_change_in_mid_session() -> None:
    source = from_flags(Plugins.discover(), vendor="scripted")
    with InferenceServer({"scripted": source}, port=0) as server, InferenceClient("127.0.0.1", server.port) as client:
        session = client.new_session(speed=0.3)

        def first_step() -> float:
            [row, *_] = session.infer(OBSERVATION) or []
            return float(np.linalg.norm(row["action"]["target_pose"][:3] - OBSERVATION["robot_state.ee_pose"][:3]))

        meta, faster = dict(session.metadata), first_step()
        assert session.configure(speed=0.2) == {"speed": {"old": 0.3, "new": 0.2}}
        assert 0 < first_step() < 0.8 * faster
        assert session.metadata == meta
        for speed in (0.05, 0.5, -0.2, "fast"):
            with pytest.raises(BadParameter, match="speed"):
                session.configure(speed=speed)
        assert session.configure(speed=0.3) == {"speed": {"old": 0.2, "new": 0.3}}
        assert first_step() == faster


def test_it_rests_once_where_it_has_got_to_when_that_is_asked_for(policy: ScriptedPolicy) -> None:
    stacked = np.array([0.45, 0.1, 0.06, 1, 0, 0, 0])
    above = np.array([0.45, 0.1, 0.20, 0, 1, 0, 0])
    green = {"sim.objects.green_cube": np.array([0.45, 0.1, 0.02, 1, 0, 0, 0])}
    done = CODEC.encode({**OBSERVATION, "robot_state.ee_pose": above, "sim.objects.red_cube": stacked, **green})

    def steps(session: Session, inputs: Any = done) -> Any:
        answer = session.infer(inputs, NO_CONTEXT)
        assert answer is not None
        return answer.action

    assert len(steps(policy.new_session(ScriptedParams()))) == 0
    resting = policy.new_session(ScriptedParams(rest=0.8))
    np.testing.assert_allclose(steps(resting), np.tile([*above, 0], (12, 1)))
    assert len(steps(resting)) == 0
    assert len(steps(resting, CODEC.encode(OBSERVATION))) > 0  # it has fallen, and is stacked again
    assert len(steps(resting)) == 12
    for rest in (-1.0, 0.05, 2.1, math.nan):
        with pytest.raises(ValueError, match=r"rest is .* s, expected 0, or 0.13 to 2"):
            ScriptedParams(rest=rest)


def test_a_batch_answers_each_robot_what_it_would_get_alone(policy: ScriptedPolicy) -> None:
    tasks = ["stack the red cube on the green cube", "fold the towel", "stack the blue cube on the red cube"]
    inputs = [CODEC.encode({**OBSERVATION, "task": task}) for task in tasks]
    sessions = [policy.new_session(ScriptedParams()) for _ in tasks]
    items = [Item(session, each) for session, each in zip(sessions, inputs, strict=True)]
    assert len({policy.batch_key(item) for item in items}) == 1
    first, second, third = policy.infer_many(items)
    assert isinstance(second, BadObservation)
    for got, alone in ((first, inputs[0]), (third, inputs[2])):
        expected = policy.new_session(ScriptedParams()).infer(alone, NO_CONTEXT)
        assert isinstance(got, Chunk)
        assert expected is not None
        np.testing.assert_array_equal(got.action, expected.action)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"task": "fold the towel"}, "stack the red cube on the green cube"),
        ({"robot_state.ee_pose": np.zeros(7)}, "length 0"),
        ({"sim.objects.red_cube": np.array([0.5, 0.1, 0.02, 2.0, 0, 0, 0])}, "sim.objects.red_cube .* length 2.000"),
        ({"sim.objects.red_cube": np.full(7, np.nan)}, "not finite"),
        ({"grip": np.array([255.0])}, "grip"),
        ({"sim.objects.green_cube": np.zeros(6)}, r"\(7,\)"),
    ],
)
def test_what_it_cannot_use_is_refused(policy: ScriptedPolicy, changes: dict[str, Any], says: str) -> None:
    with pytest.raises(BadObservation, match=says):
        answer(policy, **changes)


def test_a_scene_without_cubes_is_refused_by_name(policy: ScriptedPolicy) -> None:
    with pytest.raises(BadObservation, match=r"sim\.objects\.red_cube"):
        CODEC.encode({name: value for name, value in OBSERVATION.items() if "cube" not in name})
