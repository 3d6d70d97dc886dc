"""The codec for named motors: whose numbers they are, in which unit, and what contradicts that."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lerobot_checkpoints import write_files, write_safetensors
from offboard_client.errors import BadObservation, BadParameter, LoadFailed
from offboard_client.play import compare
from offboard_client.plugins import build
from offboard_client.robots import Channel, RobotSpec
from offboard_core.types import Checkpoint, Chunk, Codec
from offboard_lerobot.motors import MotorsOptions, motors
from offboard_lerobot.registry import LeRobotRegistry

NAMES = ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll", "gripper")
DEGREES = {"min": [-80.0, -95.0, -60.0, -20.0, -150.0, 2.0], "max": [70.0, 60.0, 97.0, 88.0, 160.0, 71.0]}
RANGE = {"min": [-71.0, -100.0, -60.0, -20.0, -50.0, 2.0], "max": [70.0, 60.0, 100.0, 88.0, 60.0, 71.0]}
EITHER = {"min": [-71.0, -90.0, -60.0, -20.0, -50.0, 2.0], "max": [70.0, 60.0, 90.0, 88.0, 60.0, 71.0]}


@pytest.fixture
def checkpoint(tmp_path: Path) -> Callable[..., Checkpoint]:
    def write(statistics: dict[str, list[float]] | None = EITHER, width: int = 6, **inputs: list[int]) -> Checkpoint:
        features = {"observation.state": {"type": "STATE", "shape": [width]}}
        features["observation.images.front"] = {"type": "VISUAL", "shape": [3, 48, 64]}
        features |= {
            name.replace("__", "."): {"type": "VISUAL" if len(shape) == 3 else "ENV", "shape": shape}
            for name, shape in inputs.items()
        }
        folder = write_files(
            tmp_path / "m", input_features=features, output_features={"action": {"type": "ACTION", "shape": [width]}}
        )
        if statistics is not None:
            state = folder / "policy_preprocessor_step_0_normalizer_processor.safetensors"
            write_safetensors(
                state, **{f"{f}.{s}": v for f in ("observation.state", "action") for s, v in statistics.items()}
            )
        return LeRobotRegistry(str(folder)).default()

    return write


@pytest.fixture
def dataset(tmp_path: Path) -> Callable[..., Path]:
    def write(state: Any = None, action: Any = None) -> Path:
        named = [f"{name}.pos" for name in NAMES]
        info = {"observation.state": {"names": state or named}, "action": {"names": action or named}}
        (tmp_path / "set" / "meta").mkdir(parents=True, exist_ok=True)
        (tmp_path / "set" / "meta" / "info.json").write_text(json.dumps({"features": info}))
        return tmp_path / "set"

    return write


def codec(checkpoint: Checkpoint, units: Any = "degrees", **options: Any) -> Codec:
    return motors(MotorsOptions(**{"units": units, "fps": 30.0, "names": NAMES, **options}), checkpoint)


def observation(**more: Any) -> dict[str, Any]:
    return {"motors": np.arange(6.0), "image.front": np.zeros((48, 64, 3), np.uint8), "task": "go", **more}


def test_a_vector_goes_in_and_one_comes_out(checkpoint) -> None:
    made = codec(checkpoint())
    assert made.meta.observation["motors"].shape == (6,)
    assert made.meta.observation["motors"].unit == made.meta.action["target_motors"].unit
    assert made.meta.action["target_motors"].unit == "degrees; the gripper 0 to 100"
    assert made.meta.conventions["motors"] == ", ".join(NAMES)
    assert made.meta.action_fps == 30
    encoded = made.encode(observation())
    assert encoded.keys() == {"observation.state", "observation.images.front", "task"}
    np.testing.assert_array_equal(encoded["observation.state"], np.arange(6, dtype=np.float32))
    rows = np.arange(12, dtype=np.float32).reshape(2, 6)
    decoded = made.decode(Chunk({"action": rows}), observation())
    np.testing.assert_array_equal(decoded.columns()["target_motors"], rows)
    np.testing.assert_array_equal(made.encode_actions(decoded, observation()).columns()["action"], rows)


def test_a_number_for_each_motor_goes_in_and_comes_out(checkpoint) -> None:
    """As LeRobot's robots hand them out."""
    made = codec(checkpoint(), scalars=True, map={"image.exterior": "front"})
    numbers = {f"{name}.pos": float(i) for i, name in enumerate(NAMES)}
    seen = {**numbers, "image.exterior": np.zeros((48, 64, 3), np.uint8), "task": "go"}
    np.testing.assert_array_equal(made.encode(seen)["observation.state"], np.arange(6, dtype=np.float32))
    columns = made.decode(Chunk({"action": np.arange(12, dtype=np.float32).reshape(2, 6)}), seen).columns()
    assert columns.keys() == numbers.keys()
    np.testing.assert_array_equal(columns["gripper.pos"], [[5], [11]])


@pytest.mark.parametrize(
    ("units", "motor", "value"),
    [("range", 0, 101.0), ("range", 5, -1.0), ("degrees", 0, 400.0), ("degrees", 5, 101.0), ("degrees", 2, np.nan)],
)
def test_what_no_motor_can_measure_is_refused(checkpoint, units: str, motor: int, value: float) -> None:
    measured = np.arange(6.0)
    measured[motor] = value
    with pytest.raises(BadObservation):
        codec(checkpoint(), units).encode(observation(motors=measured))
    measured[motor] = 100.2 if motor == 5 or units == "range" else 200.0
    codec(checkpoint(), units).encode(observation(motors=measured))


@pytest.mark.parametrize(
    ("statistics", "units", "says"),
    [
        (DEGREES, "degrees", None),
        (DEGREES, "range", "units is range, and the checkpoint .* more than 100: .*160"),
        (DEGREES, None, "can only be degrees"),
        (RANGE, "range", None),
        (RANGE, "degrees", "units is degrees, and the checkpoint .* end at 100"),
        (RANGE, None, "are a range"),
        (EITHER, "range", None),
        (EITHER, "degrees", None),
        (EITHER, None, "may be either"),
        (None, "degrees", None),
        (None, None, "--codec.units degrees or range"),
        ({**EITHER, "max": [1, 2, 3, 4, 5, 130]}, "degrees", "gripper that is not from 0 to 100"),
        ({"min": [1.0, 2.0]}, "degrees", "of 2 numbers, not 6"),
        ({**EITHER, "min": [np.nan] * 6}, "degrees", r"observation.state.min that is not finite: \[nan"),
        (
            {**EITHER, "min": [*EITHER["min"][:3], 99.0, *EITHER["min"][4:]]},
            "degrees",
            "observation.state of wrist_flex from 99 to 88, a min above its max",
        ),
    ],
)
def test_the_unit_is_said_and_held_against_the_statistics(checkpoint, statistics, units, says) -> None:
    made = checkpoint(statistics)
    if says is None:
        codec(made, units)
        return
    with pytest.raises(BadParameter, match=says):
        codec(made, units)


def test_the_names_are_the_data_sets(checkpoint, dataset) -> None:
    made = checkpoint()
    for named in (None, {"motors": list(NAMES)}):
        found = codec(made, names=(), info=dataset(named, named))
        assert found.meta.conventions["motors"] == ", ".join(NAMES)
    codec(made, info=dataset() / "meta" / "info.json")

    def refused(**options: Any) -> str:
        with pytest.raises(BadParameter) as error:
            codec(made, **options)
        return error.value.text

    assert "does not say: give --codec.info FOLDER" in refused(names=())
    assert "has 6" in refused(names=NAMES[:5])
    assert "the data set has shoulder_pan" in refused(names=NAMES[::-1], info=dataset())
    assert "are the same in both" in refused(names=(), info=dataset(action=list(NAMES[::-1])))
    assert "no LeRobot data set" in refused(names=(), info=dataset(state="no list"))
    assert "cannot be read" in refused(names=(), info=Path("/no/such"))


def test_options_that_contradict_each_other_are_refused(checkpoint) -> None:
    made = checkpoint()

    def refused(**options: Any) -> str:
        with pytest.raises(BadParameter) as error:
            codec(made, **options)
        return error.value.text

    assert "units is 'radians'; expected degrees or range" in refused(units="radians")
    assert "gripper is one motor, and named twice" in refused(names=(*NAMES[1:], "gripper.pos"))
    for name in ("", "a\x1b[2J", "a, b", " a"):
        assert f"a motor is called {name!r}; expected a name that can be printed" in refused(names=(name, *NAMES[1:]))
    several = "gives observation.images.front several images: image.a, image.b; it takes one"
    assert several in refused(map={"image.a": "front", "image.b": "front"})
    for name in ("motors", "task"):
        assert f"--codec.map names {name}, which is no image" in refused(map={name: "front"})
    assert "names gripper.pos, which is no image" in refused(map={"gripper.pos": "front"}, scalars=True)


def test_each_camera_has_an_image_of_its_own(checkpoint) -> None:
    """Also where one is called as another has it by default: it would be seen twice, and one camera not at all."""
    made = checkpoint(observation__images__top=[3, 48, 64])
    said = "observation.images.front and observation.images.top of .* would both get image.top: say which other image"
    with pytest.raises(BadParameter, match=said):
        codec(made, map={"image.top": "front"})
    found = codec(made, map={"image.top": "front", "image.front": "top"}).meta.observation
    assert found.keys() == {"motors", "image.top", "image.front", "task"}


def test_no_session_names_a_file(dataset) -> None:
    with pytest.raises(BadParameter, match="names a path"):
        build(MotorsOptions, {"info": str(dataset())}, "the codec")


def test_a_checkpoint_about_something_else_is_refused(checkpoint) -> None:
    with pytest.raises(LoadFailed, match=r"observation\.environment_state \(4,\)"):
        codec(checkpoint(observation__environment_state=[4]))


def test_the_check_holds_unit_and_order_against_the_robots(checkpoint) -> None:
    meta = codec(checkpoint()).meta
    said = {
        "observation": {
            name: {"shape": list(f.shape), "dtype": f.dtype, "unit": f.unit} for name, f in meta.observation.items()
        },
        "action": {name: {"shape": list(f.shape), "unit": f.unit} for name, f in meta.action.items()},
        "action_fps": 30.0,
        "conventions": dict(meta.conventions),
    }

    def found(unit: str, names: tuple[str, ...]) -> Any:
        channel = Channel(shape=(6,), unit=unit, order=names)
        picture = Channel(shape=(48, 64, 3), dtype="uint8", unit="RGB")
        bounded = Channel(shape=(6,), unit=unit, order=names, low=(-100,) * 6, high=(100,) * 6)
        spec = RobotSpec(
            measures={"motors": channel, "image.front": picture}, plays={"target_motors": bounded}, control_period=0.02
        )
        return compare(spec, said, "go")

    degrees, ranges = "degrees; the gripper 0 to 100", "-100 to 100 of each motor's range; the gripper 0 to 100"
    fit = found(degrees, NAMES)
    assert (fit.mismatches, fit.doubts) == ((), ())
    unordered = found(degrees, ())
    assert [each.name for each in unordered.doubts] == ["motors", "target_motors"]
    assert "order: the robot says nothing, the policy shoulder_pan, shoulder_lift" in unordered.doubts[0].why
    assert [each.name for each in found(ranges, NAMES).mismatches] == ["motors", "target_motors"]
    assert [each.advice for each in found(degrees, (*NAMES[1::-1], *NAMES[2:])).mismatches] == [
        "the order is another: give them as the policy does"
    ] * 2


#: LeRobot's own names of a LeKiwi's and of two arms' numbers.
LEKIWI = (*(f"arm_{name}" for name in NAMES), "x.vel", "y.vel", "theta.vel")
BOTH = tuple(f"{side}_{name}" for side in ("left", "right") for name in NAMES)


@pytest.mark.parametrize(
    ("kind", "ports", "names"),
    [("lekiwi", ("port",), LEKIWI), ("bi_so_follower", ("left_arm_config.port", "right_arm_config.port"), BOTH)],
)
def test_the_data_sets_of_a_base_and_of_two_arms_have_lerobots_own_names(
    lerobot, checkpoint, dataset, kind: str, ports: tuple[str, ...], names: tuple[str, ...]
) -> None:
    """What LeRobot records of its robots."""
    from offboard_lerobot_robots.config import make_robot

    features = list(make_robot(kind, dict.fromkeys(ports, "/dev/no-such")).action_features)
    assert tuple(each.removesuffix(".pos") for each in features) == names
    made = codec(checkpoint(None, width=len(names)), names=(), info=dataset(features, features))
    assert made.meta.conventions["motors"] == ", ".join(names)


def test_a_base_is_in_no_unit_of_motors_and_two_grippers_are_no_joints(checkpoint) -> None:
    """A base turns at more than 100 degrees a second, and grippers that end at 100 say nothing of the joints."""
    base = {"min": [*EITHER["min"], -0.3, -0.3, -120.0], "max": [*EITHER["max"], 0.3, 0.3, 120.0]}
    made = codec(checkpoint(base, width=9), "range", names=LEKIWI)
    unit = made.meta.action["target_motors"].unit
    assert unit is not None
    assert "gripper 0 to 100; x.vel, y.vel, theta.vel as LeRobot's base has them" in unit
    made.encode(observation(motors=np.array([*np.arange(6.0), 0.1, 0.1, 120.0])))
    with pytest.raises(BadObservation, match=r"arm_gripper is at -5"):
        made.encode(observation(motors=np.array([*np.arange(5.0), -5.0, 0.1, 0.1, 120.0])))
    apart = codec(checkpoint(base, width=9), "range", names=LEKIWI, scalars=True)
    assert list(apart.meta.action)[-4:] == ["arm_gripper.pos", "x.vel", "y.vel", "theta.vel"]
    closed = {"min": [*EITHER["min"][:5], 0.0] * 2, "max": [*EITHER["max"][:5], 100.0] * 2}
    assert "gripper 0 to 100" in str(codec(checkpoint(closed, width=12), names=BOTH).meta.action["target_motors"].unit)


def test_radians_are_neither_unit(checkpoint) -> None:
    """As the public data sets of ALOHA have them."""
    radians = {"min": [-0.1, -1.8, 0.7, -0.5, -1.2, 0.0], "max": [0.1, 0.6, 1.6, 3.1, 0.4, 1.0]}
    for units in ("degrees", "range", None):
        with pytest.raises(BadParameter, match=r"no farther than 3\.14, which are radians"):
            codec(checkpoint(radians), units)
