import numpy as np
import PIL
import pytest
from golden_codecs import GOLDEN, assert_decoded, assert_said, observation, picture, sha16
from offboard_client.errors import BadObservation, BadParameter, InvalidAction, LoadFailed
from offboard_client.plugins import build
from offboard_core.codecs import letterbox
from offboard_core.plugins import CODEC, Plugins
from offboard_core.types import Checkpoint, Chunk
from offboard_openpi import arm
from offboard_openpi.aloha import AlohaOptions, aloha
from offboard_openpi.arm import ArmOptions
from offboard_openpi.droid import DroidJointsOptions, DroidOptions, droid, droid_jointpos
from offboard_openpi.libero import LiberoOptions, libero
from offboard_openpi.loader import OpenPILoader
from offboard_openpi.native import OpenPINativeOptions, native
from offboard_openpi.options import OpenPIOptions

NOWHERE = Checkpoint(id="any")
ARMS = {name: getattr(arm, name) for name in ("ee", "ee_joints", "ee_traj", "ee_joints_traj", "joints_traj")}


def of_config(config):
    return OpenPILoader(OpenPIOptions(config_name=config)).enrich(NOWHERE)


# -- the golden numbers ------------------------------------------------------------------------------------


@pytest.fixture(params=["ee", "ee_joints", "joints_traj"])
def golden(request):
    return GOLDEN["codecs"][f"openpi.{request.param}"], ARMS[request.param](ArmOptions(), NOWHERE)


def test_encodes_as_upstream(golden):
    case, codec = golden
    made = codec.encode(observation())
    assert made.keys() == case["encode"].keys()
    assert made["prompt"] == case["encode"]["prompt"]
    for name, source in (("wrist_image", "image.wrist"), ("image", "image.exterior")):
        image, expected = made[f"observation/{name}"], case["encode"][f"observation/{name}"]
        assert (list(image.shape), str(image.dtype)) == (expected["shape"], expected["dtype"])
        np.testing.assert_array_equal(image, letterbox(observation()[source], 224, 224))
        if PIL.__version__ == "13.0.0":
            assert sha16(image) == expected["sha256_16"]
    state = case["encode"]["observation/state"]
    assert str(made["observation/state"].dtype) == state["dtype"]
    np.testing.assert_allclose(made["observation/state"], state["values"], atol=1e-5)


def test_decodes_as_upstream(golden):
    case, codec = golden
    made = codec.decode(Chunk(np.tile(np.array(case["action_in_row0"]), (50, 1))), observation())
    assert_decoded(made, case)


def test_says_and_trains_as_upstream(golden):
    case, codec = golden
    assert_said(codec.meta, case)
    features = {
        name: {"shape": list(feature.shape), "names": list(feature.names), "dtype": feature.dtype}
        for name, feature in codec.features.items()
    }
    assert features == case["training_meta"]["lerobot_features"]


# -- the arm codecs ----------------------------------------------------------------------------------------

FRAME = observation() | {"target_pose": np.arange(7) / 10, "target_grip": 0.6, "grip": 0.7}
COMMANDED = [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.6]


@pytest.mark.parametrize("name", ARMS)
def test_labels_are_the_command_or_the_trajectory(name):
    codec = ARMS[name](ArmOptions(), NOWHERE)
    row = codec.label(FRAME)
    assert row.keys() == {"observation.state", "observation.images.left", "observation.images.side", "action", "task"}
    driven = FRAME["robot_state.q" if name == "joints_traj" else "robot_state.ee_pose"]
    expected = [*driven, 1.0] if name.endswith("_traj") else COMMANDED
    np.testing.assert_allclose(row["action"], expected, atol=1e-6)
    for column, feature in codec.features.items():
        assert row[column].shape == feature.shape
    # What a policy is trained on is what it sees when it is served.
    served = codec.encode(FRAME)
    np.testing.assert_array_equal(row["observation.state"], served["observation/state"])
    np.testing.assert_array_equal(row["observation.images.left"], served["observation/wrist_image"])
    assert row["observation.state"][7] == np.float32(0.7)


@pytest.mark.parametrize("name", ARMS)
def test_only_trajectory_codecs_binarize_what_is_decoded(name):
    rows = np.full((2, 8), 0.7)
    grip = ARMS[name](ArmOptions(), NOWHERE).decode(Chunk(rows), {}).columns()["target_grip"]
    np.testing.assert_allclose(grip, [[1.0]] * 2 if name.endswith("_traj") else rows[:, 7:])
    upstream = ARMS[name](ArmOptions(binarize_state_grip=True), NOWHERE)
    assert upstream.encode(FRAME)["observation/state"][7] == 1.0


def test_the_grip_stands_between_the_pose_and_the_joints():
    state = arm.ee_joints(ArmOptions(), NOWHERE).encode(observation())["observation/state"]
    np.testing.assert_allclose(
        state, [*observation()["robot_state.ee_pose"], 0.25, *observation()["robot_state.q"]], atol=1e-6
    )


@pytest.mark.parametrize("name", [*ARMS, "droid", "droid_jointpos", "libero"])
def test_openpi_answers_nothing_without_an_instruction(name):
    made = {**ARMS, "droid": droid, "droid_jointpos": droid_jointpos, "libero": libero}[name]
    options = {"droid": DroidOptions(), "droid_jointpos": DroidJointsOptions(), "libero": LiberoOptions()}.get(
        name, ArmOptions()
    )
    codec = made(options, NOWHERE)
    assert codec.meta.observation["task"].required
    for task in (None, "", " \n", 7):
        with pytest.raises(BadObservation, match="task"):
            codec.encode(observation() | {"task": task})


def test_cameras_may_have_other_names():
    codec = arm.ee(ArmOptions(map={"image.top": "image"}), NOWHERE)
    assert set(codec.meta.observation) == {"robot_state.ee_pose", "grip", "image.wrist", "image.top", "task"}
    for names in ({"image.top": "left"}, {"image.a": "image", "image.b": "image"}):
        with pytest.raises(BadParameter, match="one camera each"):
            arm.ee(ArmOptions(map=names), NOWHERE)


@pytest.mark.parametrize("options", [{"fps": 0.0}, {"horizon_sec": -1.0}])
def test_options_that_make_no_sense_are_refused(options):
    with pytest.raises(BadParameter, match=r"above 0|steps per second from"):
        build(ArmOptions, options, "the codec openpi.ee")
    whole = arm.ee(ArmOptions(horizon_sec=None), NOWHERE)
    assert len(whole.decode(Chunk(np.ones((50, 8))), {})) == 50


# -- codecs and configs ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("codec", "options", "config", "reason"),
    [
        (arm.ee, ArmOptions(), "pi05_droid", "does not fit the config pi05_droid, which takes observation/joint_pos"),
        # The same names and widths go in, and other actions come out.
        (arm.ee, ArmOptions(), "pi05_libero", r"answers actions of \(7,\); the codec decodes 8"),
        (libero, LiberoOptions(), "pi05_positronic_lowmem", r"answers actions of \(8,\); the codec decodes 7"),
        (droid, DroidOptions(), "pi05_positronic_lowmem", "which takes observation/state"),
        (
            droid,
            DroidOptions(),
            "pi05_full_droid_finetune",
            "--codec droid_jointpos: .* answers absolute_joints, .* would play as",
        ),
        (droid_jointpos, DroidJointsOptions(), "pi05_droid", "--codec droid: .* answers joint_velocity"),
        (droid_jointpos, DroidJointsOptions(), "pi05_libero", "answers actions of"),
        (libero, LiberoOptions(), "pi0_aloha", "answers actions of"),
        (aloha, AlohaOptions(), "pi05_droid", "answers actions of"),
    ],
)
def test_a_codec_of_another_config_is_refused_before_anything_moves(codec, options, config, reason):
    with pytest.raises(LoadFailed, match=reason):
        codec(options, of_config(config))


def test_every_codec_fits_its_own_configs():
    arm.ee(ArmOptions(), of_config("pi05_positronic_lowmem"))
    arm.ee_joints(ArmOptions(), of_config("pi05_positronic_lowmem"))
    droid(DroidOptions(), of_config("pi0_droid"))
    droid_jointpos(DroidJointsOptions(), of_config("pi05_droid_jointpos_polaris"))
    libero(LiberoOptions(), of_config("pi05_libero"))
    aloha(AlohaOptions(), of_config("pi0_aloha"))
    for name in ("ee", "droid", "droid_jointpos", "libero", "aloha", "native"):
        offer = Plugins.discover().get(CODEC, f"openpi.{name}")
        offer.make(offer.options()(), of_config("a_config_of_my_own"))


@pytest.mark.parametrize(
    ("codec", "options"),
    [
        (droid, DroidOptions()),
        (droid_jointpos, DroidJointsOptions()),
        (libero, LiberoOptions()),
        (aloha, AlohaOptions()),
        (native, OpenPINativeOptions()),
    ],
)
def test_serving_only_means_no_training_half(codec, options):
    made = codec(options, NOWHERE)
    assert made.features == {}
    assert made.label({"anything": 1}) == {}


# -- DROID -------------------------------------------------------------------------------------------------


def test_droid_reads_joints_and_grip_apart():
    made = droid(DroidOptions(), NOWHERE).encode(observation())
    assert made.keys() == {
        "observation/joint_position",
        "observation/gripper_position",
        "observation/wrist_image_left",
        "observation/exterior_image_1_left",
        "prompt",
    }
    np.testing.assert_allclose(made["observation/joint_position"], observation()["robot_state.q"], atol=1e-6)
    np.testing.assert_array_equal(made["observation/gripper_position"], np.float32([0.25]))


def test_droid_plays_eight_steps_of_a_fifth_of_a_radian():
    velocities = np.zeros((15, 8))
    velocities[:, 0] = 1.0
    velocities[:, 1] = -1.4
    velocities[:, 7] = [0.5, *[0.51] * 14]
    codec = droid(DroidOptions(), NOWHERE)
    made = codec.decode(Chunk(velocities), {})
    np.testing.assert_allclose(made.timestamp, np.arange(8) / 15)
    np.testing.assert_allclose(made.action["joint_delta"], [[0.2, -0.2, 0, 0, 0, 0, 0]] * 8)
    np.testing.assert_array_equal(made.action["target_grip"][:, 0], [0, *[1] * 7])
    assert "clipped to [-1, 1]" in codec.meta.conventions["joint_delta"]
    assert codec.meta.action["joint_delta"].kind == "joint_delta"


@pytest.mark.parametrize("bad", [np.full((2, 8), 4.0), np.full((2, 7), 0.1), np.full((2, 8), np.nan), np.zeros(8)])
def test_what_is_no_velocity_is_not_played(bad):
    with pytest.raises(InvalidAction):
        droid(DroidOptions(), NOWHERE).decode(Chunk(bad), {})


HOME = [0, -0.63, 0, -2.51, 0, 1.88, 0]


def test_droid_positions_are_joints_to_go_to_and_the_whole_chunk():
    rows = np.tile([*HOME, 0.5], (15, 1))
    rows[1:, 7] = 0.51
    codec = droid_jointpos(DroidJointsOptions(), NOWHERE)
    assert codec.encode(observation()).keys() == droid(DroidOptions(), NOWHERE).encode(observation()).keys()
    made = codec.decode(Chunk(rows), {})
    np.testing.assert_allclose(made.timestamp, np.arange(15) / 15)
    np.testing.assert_array_equal(made.action["target_joints"], rows[:, :7])
    np.testing.assert_array_equal(made.action["target_grip"][:, 0], [0, *[1] * 14])
    assert codec.meta.action["target_joints"].kind == "absolute_joints"
    assert len(droid_jointpos(DroidJointsOptions(steps=8), NOWHERE).decode(Chunk(rows), {})) == 8


# -- LIBERO ------------------------------------------------------------------------------------------------


def test_libero_reads_axis_angle_and_two_fingers():
    quarter = np.array([0.1, 0.2, 0.3, np.sqrt(0.5), np.sqrt(0.5), 0, 0])
    made = libero(LiberoOptions(), NOWHERE).encode(observation() | {"robot_state.ee_pose": quarter, "grip": 0.25})
    np.testing.assert_allclose(made["observation/state"], [0.1, 0.2, 0.3, np.pi / 2, 0, 0, 0.03, -0.03], atol=1e-6)


def test_libero_sees_the_scene_as_its_training_data_show_it():
    upright = picture(224, 224, 3)
    as_rendered = np.ascontiguousarray(upright[::-1])
    made = libero(LiberoOptions(), NOWHERE).encode(observation() | {"image.wrist": upright})
    np.testing.assert_array_equal(made["observation/wrist_image"], upright[:, ::-1])
    turned = libero(LiberoOptions(pictures="robosuite"), NOWHERE).encode(observation() | {"image.wrist": as_rendered})
    np.testing.assert_array_equal(turned["observation/wrist_image"], made["observation/wrist_image"])


def test_libero_actions_are_scaled_as_robosuite_does():
    rows = np.array([[1.0, -0.5, 3.0, 0, 0, 1.0, -1.0], [0, 0, 0, 0, 0, 0, 1.0]])
    made = libero(LiberoOptions(), NOWHERE).decode(Chunk(rows), {})
    np.testing.assert_allclose(made.action["pose_delta"][0, :3], [0.05, -0.025, 0.05])
    np.testing.assert_allclose(made.action["pose_delta"][0, 3:], [np.cos(0.25), 0, 0, np.sin(0.25)])
    np.testing.assert_allclose(made.action["pose_delta"][1], [0, 0, 0, 1, 0, 0, 0])
    np.testing.assert_array_equal(made.action["target_grip"], [[0.0], [1.0]])


# -- ALOHA -------------------------------------------------------------------------------------------------

TWO_ARMS = {
    "robot_state.left.q": np.arange(6) / 10,
    "grip.left": 0.25,
    "robot_state.right.q": -np.arange(6) / 10,
    "grip.right": np.array([1.0]),
    "image.exterior": picture(48, 64, 1),
    "image.left.wrist": picture(48, 64, 2),
    "task": "fold the towel",
}


def test_aloha_turns_grips_round_and_channels_first():
    made = aloha(AlohaOptions(), NOWHERE).encode(TWO_ARMS)
    np.testing.assert_allclose(made["state"], [*np.arange(6) / 10, 0.75, *-np.arange(6) / 10, 0.0], atol=1e-6)
    assert made["images"].keys() == {"cam_high", "cam_left_wrist"}
    expected = letterbox(TWO_ARMS["image.exterior"], 224, 224).transpose(2, 0, 1)
    np.testing.assert_array_equal(made["images"]["cam_high"], expected)
    without = {name: value for name, value in TWO_ARMS.items() if name != "image.exterior"}
    with pytest.raises(BadObservation, match=r"image\.exterior"):
        aloha(AlohaOptions(), NOWHERE).encode(without)


def test_aloha_answers_both_arms():
    rows = np.arange(28.0).reshape(2, 14) / 28
    made = aloha(AlohaOptions(), NOWHERE).decode(Chunk(rows), TWO_ARMS)
    np.testing.assert_array_equal(made.action["target_joints.left"], rows[:, :6])
    np.testing.assert_array_equal(made.action["target_joints.right"], rows[:, 7:13])
    np.testing.assert_allclose(made.action["target_grip.left"], 1 - rows[:, 6:7])
    np.testing.assert_allclose(made.action["target_grip.right"], 1 - rows[:, 13:])


def test_aloha_cameras_by_name_and_a_config_with_its_own_prompt():
    codec = aloha(AlohaOptions(map={"image.top": "cam_high"}), of_config("pi0_aloha_sim"))
    assert not codec.meta.observation["task"].required
    made = codec.encode({**TWO_ARMS, "image.top": picture(48, 64, 5), "task": None})
    assert "prompt" not in made
    with pytest.raises(BadParameter, match="cam_top"):
        aloha(AlohaOptions(map={"image.top": "cam_top"}), NOWHERE)
    with pytest.raises(BadObservation, match="grip"):
        codec.encode({**TWO_ARMS, "image.top": picture(48, 64, 5), "grip.left": "open"})


# -- native ------------------------------------------------------------------------------------------------


def test_native_takes_openpis_own_keys():
    own = {
        "observation/joint_position": np.zeros(7),
        "observation/gripper_position": np.array([0.1]),
        "observation/exterior_image_1_left": picture(10, 12, 1),
        "observation/wrist_image_left": picture(10, 12, 1),
    }
    codec = native(OpenPINativeOptions(fps=15.0), of_config("pi05_droid"))
    made = codec.encode({**own, "task": "stack"})
    assert made.keys() == {*own, "prompt"}
    assert made["prompt"] == "stack"
    assert set(codec.meta.observation) == {*own, "task"}
    assert codec.meta.action["action"].shape == (8,)
    assert codec.decode(Chunk(np.ones((3, 8))), own).timestamp[2] == pytest.approx(2 / 15)
    with pytest.raises(BadObservation, match="task"):
        codec.encode(own)
