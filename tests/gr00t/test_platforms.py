"""The codecs of GR00T's own platforms, against what NVIDIA's own robot programs send and play."""

import numpy as np
import pytest
from golden_codecs import observation, picture
from offboard_client.errors import BadObservation, BadParameter, InvalidAction, LoadFailed
from offboard_core.codecs import convert, letterbox
from offboard_core.types import Checkpoint, Chunk, Field
from offboard_gr00t.droid import DroidOptions, droid
from offboard_gr00t.libero import LiberoOptions, libero

NOWHERE = Checkpoint(id="any")
AXES = ("x", "y", "z", "roll", "pitch", "yaw")


def reads(**widths):
    return {f"state.{name}": Field(shape=(width,), dtype="float32") for name, width in widths.items()}


def cameras(*names):
    return {f"video.{name}": Field(shape=(-1, -1, 3), dtype="uint8") for name in names}


def answers(**widths):
    return {f"action.{name}": Field(shape=(width,)) for name, width in widths.items()}


def of(name, inputs, outputs):
    return Checkpoint(id=name, inputs=inputs, outputs=outputs)


DROID = cameras("exterior_image_1_left", "wrist_image_left")
N1_6 = of("n16", DROID | reads(joint_position=7, gripper_position=1), answers(joint_position=7, gripper_position=1))
N1_7 = of(
    "n17",
    DROID | reads(eef_9d=9, gripper_position=1, joint_position=7),
    answers(eef_9d=9, gripper_position=1, joint_position=7),
)
# N1.5's own, which reads a pose and answers steps of it.
N1_5 = of("n15", DROID | reads(eef_position=3, eef_rotation=6), answers(eef_position_delta=3))


@pytest.mark.parametrize("made", [droid, libero])
@pytest.mark.parametrize("task", [None, "", " \n", 7])
def test_without_an_instruction_nothing_is_asked(made, task):
    codec = made({droid: DroidOptions, libero: LiberoOptions}[made](), NOWHERE)
    assert codec.meta.observation["task"].required
    with pytest.raises(BadObservation, match="task"):
        codec.encode(observation() | {"task": task})


@pytest.mark.parametrize(("made", "options"), [(droid, DroidOptions()), (libero, LiberoOptions())])
def test_serving_only_means_no_training_half(made, options):
    codec = made(options, NOWHERE)
    assert codec.features == {}
    assert codec.label({"anything": 1}) == {}


# -- DROID -------------------------------------------------------------------------------------------------


def test_droid_makes_what_its_generation_reads():
    common = {*DROID, "state.joint_position", "state.gripper_position", "annotation.language.language_instruction"}
    for checkpoint, more in ((N1_6, set()), (N1_7, {"state.eef_9d"}), (NOWHERE, {"state.eef_9d"})):
        codec = droid(DroidOptions(), checkpoint)
        assert codec.encode(observation()).keys() == common | more
        assert ("robot_state.ee_pose" in codec.meta.observation) == bool(more)
    made = droid(DroidOptions(), N1_6).encode(observation())
    np.testing.assert_allclose(made["state.joint_position"], observation()["robot_state.q"], atol=1e-6)
    np.testing.assert_array_equal(made["state.gripper_position"], np.float32([0.25]))
    assert made["video.wrist_image_left"].shape == (180, 320, 3)
    np.testing.assert_array_equal(
        made["video.exterior_image_1_left"], letterbox(observation()["image.exterior"], 320, 180)
    )


def test_droids_pose_has_the_axes_of_the_data_that_n1_7_learnt_from():
    """NVIDIA's robot program: DROID's angles (about the fixed x, y, z) as a matrix, times its own, two rows of it."""
    roll, pitch, yaw = 0.3, -0.4, 2.0
    c, s = np.cos, np.sin
    about_x = np.array([[1, 0, 0], [0, c(roll), -s(roll)], [0, s(roll), c(roll)]])
    about_y = np.array([[c(pitch), 0, s(pitch)], [0, 1, 0], [-s(pitch), 0, c(pitch)]])
    about_z = np.array([[c(yaw), -s(yaw), 0], [s(yaw), c(yaw), 0], [0, 0, 1]])
    rows = (about_z @ about_y @ about_x @ [[0, 0, -1], [-1, 0, 0], [0, 1, 0]])[:2].ravel()
    pose = [0.5, 0.1, 0.4, *convert(np.array([roll, pitch, yaw]), "euler", "quat")]
    made = droid(DroidOptions(), N1_7).encode(observation() | {"robot_state.ee_pose": pose})["state.eef_9d"]
    assert made.dtype == np.float32
    np.testing.assert_allclose(made, [0.5, 0.1, 0.4, *rows], atol=1e-6)
    assert "cartesian_position" in droid(DroidOptions(), N1_7).meta.conventions["robot_state.ee_pose"]
    with pytest.raises(BadObservation, match="length"):
        droid(DroidOptions(), N1_7).encode(observation() | {"robot_state.ee_pose": np.zeros(7)})


def test_droid_plays_fifteen_steps_of_joints_and_not_the_pose():
    joints, grip = np.random.default_rng(1).normal(size=(40, 7)), np.full((40, 1), 0.51)
    grip[0] = 0.5
    codec = droid(DroidOptions(), N1_7)
    columns = {"action.gripper_position": grip, "action.joint_position": joints}
    made = codec.decode(Chunk({"action.eef_9d": np.ones((40, 9)), **columns}), {})
    assert made.columns().keys() == {"target_joints", "target_grip"}
    np.testing.assert_array_equal(made.columns()["target_joints"], joints[:15])
    np.testing.assert_array_equal(made.columns()["target_grip"][:, 0], [0, *[1] * 14])
    np.testing.assert_allclose(made.timestamp, np.arange(15) / 15)
    assert codec.meta.action["target_joints"].kind == "absolute_joints"
    whole = droid(DroidOptions(steps=None), N1_6).decode(Chunk(columns), {})
    assert len(whole) == 40
    for wrong in ({"action.joint_position": joints}, columns | {"action.more": grip}):
        with pytest.raises(InvalidAction):
            codec.decode(Chunk(wrong), {})
    with pytest.raises(ValueError, match="1 or more"):
        DroidOptions(steps=0)


@pytest.mark.parametrize(
    ("made", "options", "checkpoint", "text"),
    [
        (droid, DroidOptions(), N1_5, "reads state.eef_position; the codec makes"),
        (libero, LiberoOptions(), N1_7, "gr00t.libero does not fit the checkpoint n17"),
        (
            droid,
            DroidOptions(),
            of("d", N1_6.inputs, answers(joint_position=7, gripper_position=1, base=2)),
            "answers action.joint_position, action.gripper_position, action.base",
        ),
    ],
)
def test_another_platforms_checkpoint_is_refused(made, options, checkpoint, text):
    with pytest.raises(LoadFailed, match=text):
        made(options, checkpoint)


# -- LIBERO ------------------------------------------------------------------------------------------------

LIBERO_READS = reads(**dict.fromkeys(AXES, 1), gripper=2)
LIBERO_ANSWERS = answers(**dict.fromkeys((*AXES, "gripper"), 1))


def test_libero_reads_axis_angle_and_two_fingers_apart():
    quarter = np.array([0.1, 0.2, 0.3, np.sqrt(0.5), np.sqrt(0.5), 0, 0])
    fits = of("l", cameras("image", "wrist_image") | LIBERO_READS, LIBERO_ANSWERS)
    made = libero(LiberoOptions(), fits).encode(observation() | {"robot_state.ee_pose": quarter, "grip": 0.25})
    state = [made[f"state.{axis}"] for axis in AXES]
    assert {value.shape for value in state} == {(1,)}
    np.testing.assert_allclose(np.concatenate(state), [0.1, 0.2, 0.3, np.pi / 2, 0, 0], atol=1e-6)
    np.testing.assert_allclose(made["state.gripper"], [0.03, -0.03], atol=1e-6)
    assert made["annotation.human.action.task_description"] == "pick up the cube"


def test_liberos_actions_are_steps_whatever_the_checkpoint_calls_them():
    for kind in ("DELTA", "ABSOLUTE"):
        said = {"representations": dict.fromkeys((*AXES, "gripper"), kind)}
        named = Checkpoint(id="l", outputs=LIBERO_ANSWERS, extras=said)
        libero(LiberoOptions(), named)
    summed = {"representations": {"x": "RELATIVE"}}
    with pytest.raises(LoadFailed, match=r"action\.x as RELATIVE, which .* absolute.*decodes steps"):
        libero(LiberoOptions(), Checkpoint(id="l", outputs=LIBERO_ANSWERS, extras=summed))
    joints = Checkpoint(id="d", outputs=N1_6.outputs, extras={"representations": {"joint_position": "DELTA"}})
    with pytest.raises(LoadFailed, match=r"action\.joint_position as DELTA"):
        droid(DroidOptions(), joints)


def test_libero_sees_the_scene_as_its_training_data_show_it():
    upright = picture(256, 256, 3)
    made = libero(LiberoOptions(), NOWHERE).encode(observation() | {"image.wrist": upright})
    np.testing.assert_array_equal(made["video.wrist_image"], upright[:, ::-1])
    rendered = observation() | {"image.wrist": np.ascontiguousarray(upright[::-1])}
    turned = libero(LiberoOptions(pictures="robosuite"), NOWHERE).encode(rendered)
    np.testing.assert_array_equal(turned["video.wrist_image"], made["video.wrist_image"])


def test_liberos_actions_are_scaled_as_robosuite_does_and_its_gripper_turned_round():
    rows = np.array([[1.0, -0.5, 3.0, 0, 0, 1.0, 0.9], [0, 0, 0, 0, 0, 0, 0.5], [0, 0, 0, 0, 0, 0, 0.1]])
    columns = {f"action.{name}": rows[:, [i]] for i, name in enumerate((*AXES, "gripper"))}
    codec = libero(LiberoOptions(horizon_sec=None), NOWHERE)
    made = codec.decode(Chunk(columns), {}).columns()
    np.testing.assert_allclose(made["pose_delta"][0, :3], [0.05, -0.025, 0.05])
    np.testing.assert_allclose(made["pose_delta"][0, 3:], [np.cos(0.25), 0, 0, np.sin(0.25)])
    np.testing.assert_allclose(made["pose_delta"][1], [0, 0, 0, 1, 0, 0, 0])
    np.testing.assert_array_equal(made["target_grip"][:, 0], [0, 0, 1])  # theirs: 1 is open
    fewer = {name: value for name, value in columns.items() if name != "action.yaw"}
    for wrong in (
        fewer,
        columns | {"action.yaw": np.zeros((3, 2))},
        columns | {"action.yaw": np.zeros(3)},
        columns | {"action.gripper": np.full((3, 1), np.nan)},
    ):
        with pytest.raises(InvalidAction):
            codec.decode(Chunk(wrong), {})


def test_liberos_cameras_by_the_names_of_another_checkpoint():
    """NVIDIA's own checkpoints of N1.7 do not agree among themselves."""
    named = of("l", cameras("rgb.head_256_256", "rgb.left_wrist_256_256") | LIBERO_READS, LIBERO_ANSWERS)
    with pytest.raises(LoadFailed, match=r"reads video\.rgb\.head_256_256"):
        libero(LiberoOptions(), named)
    names = {"image.exterior": "rgb.head_256_256", "image.wrist": "video.rgb.left_wrist_256_256"}
    made = libero(LiberoOptions(map=names), named).encode(observation())
    assert {*cameras("rgb.head_256_256", "rgb.left_wrist_256_256")} < made.keys()
    for wrong in ({"image.front": "image"}, {"image.exterior": "wrist_image"}):
        with pytest.raises(BadParameter, match="camera"):
            libero(LiberoOptions(map=wrong), NOWHERE)
