"""What reaches GR00T and what leaves it: keys, widths, dtypes, sizes, finiteness, and each generation's own shapes."""

from typing import Any

import numpy as np
import pytest
from offboard_client.errors import BadObservation, InvalidAction
from offboard_gr00t.checks import Checks
from offboard_gr00t.generation import Generation
from offboard_gr00t.modality import Modalities

KEY = "annotation.human.task_description"
TASK = "pick up the cube"


def model(**more: Any) -> Modalities:
    said: dict[str, Any] = {
        "video": ("front",), "state": ("arm", "grip"), "action": ("arm", "grip"), "language": (KEY,), "horizon": 16,
        "widths": {"state.arm": 6, "state.grip": 1, "action.arm": 6, "action.grip": 1}, **more,
    }  # fmt: skip
    return Modalities(**said)


def observation(**more: Any) -> dict[str, Any]:
    made = {"video.front": np.full((48, 64, 3), 7, np.uint8), "state.arm": np.arange(6.0), "state.grip": np.ones(1)}
    return {**made, KEY: TASK, **more}


def checks(generation: str = "n1.6", sim_wrapper: bool = False, **more: Any) -> Checks:
    return Checks(model(**more), Generation(generation), sim_wrapper)


def test_n1_6_is_sent_maps_in_a_map_with_an_axis_for_the_batch_and_one_for_the_frames() -> None:
    sent = checks().inputs(observation())
    assert sent["video"]["front"].shape == (1, 1, 48, 64, 3)
    arm = sent["state"]["arm"]
    assert (arm.shape, arm.dtype) == ((1, 1, 6), np.float32)
    assert arm.tolist() == [[[0, 1, 2, 3, 4, 5]]]
    assert sent["language"] == {KEY: [[TASK]]}


def test_n1_5_is_sent_a_flat_map_with_an_axis_for_the_frames() -> None:
    sent = checks("n1.5").inputs(observation())
    assert {name: getattr(value, "shape", value) for name, value in sent.items()} == {
        "video.front": (1, 48, 64, 3), "state.arm": (1, 6), "state.grip": (1, 1), KEY: [TASK],
    }  # fmt: skip


def test_the_simulators_wrapper_is_sent_a_flat_map_with_both_axes() -> None:
    sent = checks("n1.7", sim_wrapper=True).inputs(observation())
    assert {name: getattr(value, "shape", value) for name, value in sent.items()} == {
        "video.front": (1, 1, 48, 64, 3), "state.arm": (1, 1, 6), "state.grip": (1, 1, 1), KEY: [TASK],
    }  # fmt: skip


def test_names_that_the_model_does_not_take_are_not_sent() -> None:
    sent = checks("n1.5").inputs(observation(obs_time=1, **{"video.other": np.zeros((4, 4, 3), np.uint8)}))
    assert set(sent) == {"video.front", "state.arm", "state.grip", KEY}


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in observation().items() if key != name}


@pytest.mark.parametrize(
    ("inputs", "says"),
    [
        (without("state.arm"), r"lacks state\.arm; it holds .*--codec"),
        (without("video.front"), r"lacks video\.front"),
        (observation(**{"state.arm": np.zeros(7)}), r"state\.arm is \(7,\) float64, expected \(6,\) numbers"),
        (observation(**{"state.arm": np.zeros((1, 6))}), r"state\.arm is \(1, 6\)"),
        (observation(**{"state.arm": np.array(["a"] * 6)}), r"state\.arm is \(6,\) <U1"),
        (observation(**{"state.arm": np.array([0, 0, np.nan, 0, 0, 0])}), r"state\.arm holds numbers .* not finite"),
        (observation(**{"state.arm": np.full(6, 1e300)}), r"state\.arm holds numbers .* not finite"),
        (observation(**{"video.front": np.zeros((48, 64, 3), np.float32)}), r"video\.front is \(48, 64, 3\) float32"),
        (observation(**{"video.front": np.zeros((48, 64, 4), np.uint8)}), r"expected an image \(H, W, 3\) uint8"),
        (observation(**{"video.front": np.zeros((0, 64, 3), np.uint8)}), r"expected an image"),
        (observation(**{"video.front": b"\xff\xd8"}), r"video\.front is bytes"),
        (without(KEY), "expected one instruction, as task or as annotation.* has none"),
        (observation(**{KEY: "  "}), "expected one instruction"),
        (observation(**{KEY: [TASK]}), "expected one instruction"),
    ],
)
def test_what_would_harm_the_model_is_refused(inputs: dict[str, Any], says: str) -> None:
    with pytest.raises(BadObservation, match=says):
        checks().inputs(inputs)


def test_the_instruction_may_stand_under_another_key_that_instructions_have() -> None:
    """N1.5's key is its data config's, which no codec knows before the model is loaded."""
    given = {**without(KEY), "annotation.language.language_instruction": TASK, "robot": "panda"}
    assert checks("n1.5").inputs(given)[KEY] == [TASK]
    assert checks("n1.5").inputs({**without(KEY), "task": TASK})[KEY] == [TASK]
    with pytest.raises(BadObservation, match="expected one instruction"):
        checks("n1.5").inputs({**given, "task": "something else"})
    assert checks("n1.5").inputs({**given, KEY: "its own"})[KEY] == ["its own"]


def test_n1_7_hears_the_instruction_under_each_of_its_keys() -> None:
    sent = checks("n1.7", language=(KEY, "annotation.language.language_instruction_2")).inputs(observation())
    assert sent["language"] == {KEY: [[TASK]], "annotation.language.language_instruction_2": [[TASK]]}


def test_n1_5_takes_no_image_of_another_size_than_it_was_trained_with() -> None:
    trained = checks("n1.5", image_sizes={"front": (64, 48)})
    trained.inputs(observation())
    with pytest.raises(BadObservation, match=r"video\.front is 48 x 64 pixels; the model was trained with 64 x 48"):
        trained.inputs(observation(**{"video.front": np.zeros((64, 48, 3), np.uint8)}))


def test_earlier_frames_stand_before_the_present_one() -> None:
    looks = checks("n1.7", frames=(-15, 0))
    assert looks.history_steps == (-15,)
    before = observation(**{"video.front": np.zeros((48, 64, 3), np.uint8)})
    sent = looks.inputs(observation(), [before])
    frames = sent["video"]["front"]
    assert frames.shape == (1, 2, 48, 64, 3)
    assert [int(frame.max()) for frame in frames[0]] == [0, 7]
    assert sent["state"]["arm"].shape == (1, 1, 6)
    with pytest.raises(BadObservation, match=r"seen 15 steps ago.* set --fps.*offboard\.history"):
        looks.inputs(observation())
    small = observation(**{"video.front": np.zeros((24, 32, 3), np.uint8)})
    with pytest.raises(BadObservation, match=r"video\.front changed its shape .*\(24, 32, 3\), \(48, 64, 3\)"):
        looks.inputs(observation(), [small])
    with pytest.raises(BadObservation, match=r"state\.arm holds numbers that are not finite"):
        looks.inputs(observation(), [observation(**{"state.arm": np.full(6, np.inf)})])


def test_states_and_cameras_may_look_back_differently() -> None:
    looks = checks("n1.7", frames=(-2, 0), state_frames=(-1, 0))
    assert looks.history_steps == (-2, -1)
    moments = [observation(**{"state.grip": np.array([value])}) for value in (0.0, 0.5)]
    sent = looks.inputs(observation(), moments)
    assert sent["video"]["front"].shape[1] == 2
    assert sent["state"]["grip"][0, :, 0].tolist() == [0.5, 1.0]


def answer(*shape: int, **more: Any) -> dict[str, Any]:
    return {"arm": np.ones((*shape, 6), np.float32), "grip": np.ones((*shape, 1), np.float32), **more}


def test_an_answer_is_columns_without_the_batchs_axis() -> None:
    columns = checks().columns(answer(1, 16))
    assert {name: (steps.shape, steps.dtype) for name, steps in columns.items()} == {
        "action.arm": ((16, 6), np.float32), "action.grip": ((16, 1), np.float32),
    }  # fmt: skip


@pytest.mark.parametrize("grip", [np.ones(16), np.ones((16, 1)), np.ones((1, 16, 1))])
def test_n1_5_answers_a_lone_number_a_step_with_or_without_its_axis(grip: Any) -> None:
    reply = {"action.arm": np.ones((16, 6)), "action.grip": grip}
    assert checks("n1.5").columns(reply)["action.grip"].shape == (16, 1)


@pytest.mark.parametrize(
    ("reply", "says"),
    [
        ({}, "GR00T answered 'nothing'"),
        ({"arm": np.ones((1, 16, 6))}, "expected arm, grip; is --embodiment-tag"),
        (answer(1, 16, leg=np.ones((1, 16, 2))), "GR00T answered 'arm, grip, leg'"),
        ({**answer(1, 16), "action.arm": np.ones((1, 16, 6))}, "expected arm, grip"),
        (answer(1, 16, grip=[[1.0] * 16]), "answered grip as list, expected numbers"),
        (answer(1, 16, grip=np.array([["a"] * 16])), "answered grip as .* <U1"),
        (answer(1, 16, grip=np.ones(16)), r"answered grip \(16,\), expected \(16, 1\)"),
        (answer(1, 16, arm=np.ones((1, 16, 7))), r"answered arm \(1, 16, 7\), expected \(16, 6\)"),
        (answer(2, 16), r"answered arm \(2, 16, 6\)"),
        (answer(1, 8), r"answered arm \(1, 8, 6\), expected \(16, 6\)"),
        (answer(1, 16, arm=np.full((1, 16, 6), np.nan)), "arm with numbers that are not finite, from step 0 of 16"),
        (answer(1, 16, arm=np.full((1, 16, 6), 1e300)), "arm with numbers that are not finite"),
    ],
)
def test_what_no_robot_may_be_sent_is_refused(reply: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidAction, match=says):
        checks().columns(reply)


@pytest.mark.parametrize("generation", ["n1.5", "n1.6", "n1.7"])
def test_a_synthetic_observation_is_one_that_the_model_takes(generation: str) -> None:
    sized = checks(generation, image_sizes={"front": (64, 48)}, frames=(-1, 0)).synthetic()
    assert sized is not None
    front = sized["video.front"] if generation == "n1.5" else sized["video"]["front"][0]
    assert front.shape == (2, 48, 64, 3)


def test_where_nobody_knows_the_shapes_there_is_no_synthetic_observation() -> None:
    assert checks(widths={}).synthetic() is None
    assert checks("n1.5").synthetic() is None  # nor which size its images have
    assert checks("n1.6").synthetic() is not None


@pytest.mark.parametrize(("generation", "batch"), [("n1.5", ()), ("n1.6", (1,))])
def test_where_nobody_knows_the_widths_those_of_the_first_answer_stay(generation: str, batch: tuple[int, ...]) -> None:
    attached = checks(generation, widths={})
    first = {"arm": np.zeros((*batch, 16, 6), np.float32), "grip": np.zeros((*batch, 16, 1), np.float32)}
    assert attached.columns(first)["action.arm"].shape == (16, 6)
    with pytest.raises(InvalidAction, match=r"arm \(.*7\), expected \(16, 6\)"):
        attached.columns({**first, "arm": np.zeros((*batch, 16, 7), np.float32)})
    assert attached.columns(first)["action.arm"].shape == (16, 6)
