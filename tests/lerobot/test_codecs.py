import numpy as np
import PIL
import pytest
from golden_codecs import GOLDEN, assert_decoded, assert_said, observation, sha16
from lerobot_checkpoints import write_files
from offboard_client.errors import BadObservation, BadParameter, InvalidAction, LoadFailed
from offboard_client.plugins import build
from offboard_core.codecs import NativeOptions, letterbox
from offboard_core.types import Checkpoint, Chunk, Field
from offboard_lerobot import codecs
from offboard_lerobot.codecs import ArmOptions
from offboard_lerobot.native import native
from offboard_lerobot.registry import LeRobotRegistry

NOWHERE = Checkpoint(id="any")
CODECS = {name: getattr(codecs, name) for name in ("ee", "joints", "ee_traj", "joints_traj")}


@pytest.fixture
def checkpoint(tmp_path):
    return LeRobotRegistry(str(write_files(tmp_path / "m"))).default()


# -- the golden numbers ------------------------------------------------------------------------------------


@pytest.fixture(params=["ee", "joints", "joints_traj"])
def golden(request):
    return GOLDEN["codecs"][f"lerobot.{request.param}"], CODECS[request.param](ArmOptions(), NOWHERE)


def test_encodes_as_upstream(golden):
    case, codec = golden
    made = codec.encode(observation())
    assert made.keys() == case["encode"].keys()
    assert made["task"] == case["encode"]["task"]
    for name, source in (("left", "image.wrist"), ("side", "image.exterior")):
        image, expected = made[f"observation.images.{name}"], case["encode"][f"observation.images.{name}"]
        assert (list(image.shape), str(image.dtype)) == (expected["shape"], expected["dtype"])
        # The letterbox itself is compared with upstream's pixels in tests/codecs, within one grey level.
        np.testing.assert_array_equal(image, letterbox(observation()[source], 224, 224))
        if PIL.__version__ == "13.0.0":
            assert sha16(image) == expected["sha256_16"]
    state = case["encode"]["observation.state"]
    assert str(made["observation.state"].dtype) == state["dtype"]
    np.testing.assert_allclose(made["observation.state"], state["values"], atol=1e-5)


def test_decodes_as_upstream(golden):
    case, codec = golden
    chunk = Chunk(np.tile(np.array(case["action_in_row0"], np.float32), (40, 1)))
    made = codec.decode(chunk, observation())
    assert_decoded(made, case)


def test_says_and_trains_as_upstream(golden):
    case, codec = golden
    assert_said(codec.meta, case)
    features = {
        name: {"shape": list(feature.shape), "names": list(feature.names), "dtype": feature.dtype}
        for name, feature in codec.features.items()
    }
    assert features == case["training_meta"]["lerobot_features"]


# -- training ----------------------------------------------------------------------------------------------

FRAME = observation() | {"target_pose": np.arange(7) / 10, "target_grip": 0.6, "grip": 0.7}
COMMANDED = [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.6]
DRIVEN = {"ee_traj": FRAME["robot_state.ee_pose"], "joints_traj": FRAME["robot_state.q"]}


@pytest.mark.parametrize("name", CODECS)
def test_labels_are_the_command_or_the_trajectory(name):
    codec = CODECS[name](ArmOptions(), NOWHERE)
    row = codec.label(FRAME)
    assert row.keys() == codec.features.keys() | {"task"}
    expected = [*DRIVEN[name], 1.0] if name in DRIVEN else COMMANDED
    np.testing.assert_allclose(row["action"], expected, atol=1e-6)
    for column, feature in codec.features.items():
        assert row[column].shape == feature.shape
    # The observed closure is what a policy sees when it is served, so it is what it is trained on.
    assert row["observation.state"][7] == np.float32(0.7)
    np.testing.assert_array_equal(row["observation.state"], codec.encode(FRAME)["observation.state"])


@pytest.mark.parametrize("name", CODECS)
def test_only_trajectory_codecs_binarize_and_only_what_is_decoded(name):
    codec = CODECS[name](ArmOptions(), NOWHERE)
    rows = np.full((2, 8), 0.7, np.float32)
    grip = codec.decode(Chunk(rows), {}).columns()["target_grip"]
    np.testing.assert_array_equal(grip, [[1.0]] * 2 if name in DRIVEN else rows[:, 7:])
    assert codec.encode(FRAME)["observation.state"][7] == np.float32(0.7)
    upstream = CODECS[name](ArmOptions(binarize_state_grip=True), NOWHERE)
    assert upstream.encode(FRAME)["observation.state"][7] == 1.0
    assert upstream.label(FRAME)["observation.state"][7] == 1.0


# -- options and checkpoints -------------------------------------------------------------------------------


def test_images_take_the_size_that_the_checkpoint_declares(checkpoint):
    codec = codecs.ee(ArmOptions(), checkpoint)
    assert codec.encode(observation())["observation.images.left"].shape == (64, 64, 3)
    assert codec.meta.image_sizes == (64, 64)


def test_a_camera_may_have_another_name(tmp_path):
    front = {
        "observation.state": {"type": "STATE", "shape": [8]},
        "observation.images.front": {"type": "VISUAL", "shape": [3, 48, 64]},
    }
    checkpoint = LeRobotRegistry(str(write_files(tmp_path / "m", input_features=front))).default()
    with pytest.raises(LoadFailed, match=r"declares observation\.images\.front.*--codec\.map"):
        codecs.ee(ArmOptions(), checkpoint)
    codec = codecs.ee(ArmOptions(map={"image.exterior": "front"}), checkpoint)
    assert codec.encode(observation()).keys() == {"observation.state", "observation.images.front", "task"}
    assert set(codec.meta.observation) == {"robot_state.ee_pose", "grip", "image.exterior", "task"}
    assert codec.encode(observation())["observation.images.front"].shape == (48, 64, 3)
    unknown = codecs.ee(ArmOptions(map={"image.top": "top"}), NOWHERE)
    assert set(unknown.features) >= {"observation.images.left", "observation.images.top"}
    with pytest.raises(BadParameter, match=r"no input 'back'"):
        codecs.ee(ArmOptions(map={"image.exterior": "back"}), checkpoint)


#: It advised about cameras.
SIX = r"observation\.state as \(6,\); it makes \(8,\)\. This codec is for one arm of 7 .* motors .* --codec native$"


@pytest.mark.parametrize(
    ("features", "reason"),
    [
        ({"input_features": {"observation.state": {"type": "STATE", "shape": [6]}}}, SIX),
        (
            {"output_features": {"action": {"type": "ACTION", "shape": [7]}}},
            r"action as \(7,\); it makes \(8,\)\. This codec is",
        ),
    ],
)
def test_a_checkpoint_that_the_codec_does_not_fit_is_not_served(tmp_path, features, reason):
    checkpoint = LeRobotRegistry(str(write_files(tmp_path / "m", **features))).default()
    with pytest.raises(LoadFailed, match=reason):
        codecs.ee(ArmOptions(), checkpoint)


@pytest.mark.parametrize("option", [{"fps": 0}, {"fps": -1}, {"horizon_sec": 0}])
def test_an_option_that_makes_no_sense_is_refused(option):
    with pytest.raises(BadParameter, match=r"above 0|steps per second from"):
        build(ArmOptions, option, "the codec lerobot.ee")


def test_the_horizon_may_be_left_away():
    whole = codecs.ee(ArmOptions(fps=30, horizon_sec=None), NOWHERE)
    made = whole.decode(Chunk(np.ones((100, 8), np.float32)), {})
    assert len(made) == 100
    assert whole.meta.action_fps == 30
    assert whole.meta.action_horizon_sec is None


# -- native ------------------------------------------------------------------------------------------------


def test_native_reads_the_checkpoints_own_names(checkpoint):
    codec = native(NativeOptions(), checkpoint)
    own = {
        "observation.state": np.arange(8.0),
        "observation.images.left": observation()["image.wrist"],
        "observation.images.side": observation()["image.exterior"],
    }
    made = codec.encode({**own, "task": "stack", "more": 1})
    assert made.keys() == {*own, "task"}
    assert made["observation.state"].dtype == np.float32
    np.testing.assert_array_equal(made["observation.images.left"], letterbox(own["observation.images.left"], 64, 64))
    assert codec.meta.image_sizes == (64, 64)
    assert codec.meta.action["action"] == Field(shape=(8,), kind="vector")
    assert codec.meta.action_fps is None
    answer = Chunk(np.ones((3, 8)))
    assert codec.decode(answer, own) is answer


def test_native_with_a_rate_has_timestamps(checkpoint):
    codec = native(NativeOptions(fps=10.0), checkpoint)
    np.testing.assert_array_equal(codec.decode(Chunk(np.ones((2, 8))), {}).timestamp, [0.0, 0.1])


def test_native_takes_a_robots_names_by_map(checkpoint):
    names = {"image.wrist": "left", "image.exterior": "side", "robot_state.q": "state", "grip": "state"}
    codec = native(NativeOptions(map=names), checkpoint)
    assert set(codec.meta.observation) == {"image.wrist", "image.exterior", "robot_state.q", "grip", "task"}
    assert codec.meta.observation["robot_state.q"].shape == (7,)
    made = codec.encode(observation())
    np.testing.assert_allclose(made["observation.state"], [*observation()["robot_state.q"], 0.25], atol=1e-6)
    with pytest.raises(BadObservation, match="grip is"):
        codec.encode(observation() | {"grip": 40.0})
    swapped = native(NativeOptions(map=dict(reversed(names.items()))), checkpoint)
    assert swapped.encode(observation())["observation.state"][0] == np.float32(0.25)


JOINTS = ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll", "gripper")


def test_native_joins_the_numbers_that_lerobots_robots_send_one_by_one(tmp_path):
    """An SO-101 hands out a float for each joint, and its cameras by their bare names."""
    front = {"type": "VISUAL", "shape": [3, 64, 64]}
    inputs = {"observation.state": {"type": "STATE", "shape": [6]}, "observation.images.front": front}
    checkpoint = LeRobotRegistry(str(write_files(tmp_path / "m", input_features=inputs))).default()
    codec = native(NativeOptions(map={**{f"{joint}.pos": "state" for joint in JOINTS}, "front": "front"}), checkpoint)
    sent = {f"{joint}.pos": float(i) for i, joint in enumerate(JOINTS)}
    made = codec.encode({**sent, "front": np.zeros((480, 640, 3), np.uint8)})
    np.testing.assert_array_equal(made["observation.state"], np.arange(6, dtype=np.float32))
    assert made["observation.images.front"].shape == (64, 64, 3)
    assert codec.meta.observation["gripper.pos"].shape == (1,)
    with pytest.raises(BadObservation, match=r"gripper\.pos"):
        codec.encode({**sent, "gripper.pos": float("nan"), "front": np.zeros((480, 640, 3), np.uint8)})


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        ({f"{joint}.pos": "state" for joint in JOINTS}, "cannot make observation.state"),
        ({"image.wrist": "left", "image.exterior": "left"}, "several images: image.wrist, image.exterior"),
        ({"robot_state.q": "state", "robot_state.dq": "state"}, "must come from one other name, or a number each"),
        ({"robot_state.ee_pose": "state", "grip.left": "state", "grip": "state"}, "cannot make observation.state"),
        ({"robot_state.q": "joints"}, "no input 'joints' of the model"),
    ],
)
def test_a_map_that_cannot_be_is_a_bad_parameter(checkpoint, names, reason):
    with pytest.raises(BadParameter, match=reason):
        native(NativeOptions(map=names), checkpoint)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"observation.state": np.zeros(7)}, r"shape \(7,\), expected \(8,\)"),
        ({"observation.state": np.full(8, np.nan)}, "not finite"),
        ({"observation.images.left": np.zeros((3, 64, 64), np.uint8)}, r"expected \(h, w, 3\) uint8 RGB"),
    ],
)
def test_native_refuses_what_config_json_does_not_declare(checkpoint, change, reason):
    own = {
        "observation.state": np.zeros(8),
        "observation.images.left": np.zeros((8, 8, 3), np.uint8),
        "observation.images.side": np.zeros((8, 8, 3), np.uint8),
    }
    codec = native(NativeOptions(), checkpoint)
    with pytest.raises(BadObservation, match=reason):
        codec.encode({**own, **change})
    with pytest.raises(InvalidAction, match=r"\(2, 7\), the codec expects \(T, 8\)"):
        codec.decode(Chunk(np.ones((2, 7))), own)


@pytest.mark.parametrize(
    ("features", "reason"),
    [
        ({"input_features": {"depth": {"type": "VISUAL", "shape": [1, 8, 8]}}}, r"depth \(8, 8, 1\): neither"),
        ({"output_features": {"action": {"type": "ACTION", "shape": [2, 7]}}}, "expected one vector"),
    ],
)
def test_native_says_what_it_cannot_serve(tmp_path, features, reason):
    checkpoint = LeRobotRegistry(str(write_files(tmp_path / "m", **features))).default()
    with pytest.raises(LoadFailed, match=reason):
        native(NativeOptions(), checkpoint)


def test_a_data_sets_images_have_the_size_that_is_asked_for():
    codec = CODECS["ee"](ArmOptions(image_size=64), NOWHERE)
    assert codec.features["observation.images.left"].shape == (64, 64, 3)
    assert codec.encode(observation())["observation.images.side"].shape == (64, 64, 3)
    for wrong in (0, True, 64.0):
        with pytest.raises(BadParameter, match="image_size"):
            ArmOptions(image_size=wrong)


def test_a_size_that_the_checkpoint_does_not_have_is_refused(checkpoint):
    with pytest.raises(LoadFailed, match=r"declares observation\.images"):
        CODECS["ee"](ArmOptions(image_size=48), checkpoint)


def test_a_data_set_has_the_cameras_that_are_asked_for():
    codec = CODECS["ee"](ArmOptions(cameras="image.wrist"), NOWHERE)
    assert set(codec.features) == {"observation.state", "observation.images.left", "action"}
    both = CODECS["ee"](ArmOptions(cameras="image.exterior, image.wrist"), NOWHERE)
    assert both.features == CODECS["ee"](ArmOptions(), NOWHERE).features
    with pytest.raises(BadParameter, match=r"there is no image 'image\.wirst'"):
        CODECS["ee"](ArmOptions(cameras="image.wirst"), NOWHERE)
