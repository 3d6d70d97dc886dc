"""GR00T's codecs, against the numbers of Positronic's own, and what they refuse."""

import numpy as np
import PIL
import pytest
from golden_codecs import GOLDEN, assert_decoded, assert_said, observation, sha16
from offboard_client.errors import BadObservation, BadParameter, InvalidAction, LoadFailed
from offboard_core.codecs import convert, letterbox
from offboard_core.types import Checkpoint, Chunk, Field
from offboard_gr00t import arm, libero
from offboard_gr00t.arm import ArmOptions
from offboard_gr00t.native import GR00TNativeOptions, native

NOWHERE = Checkpoint(id="any")
NAMES = [
    "ee_quat", "ee_quat_joints", "ee_rot6d", "ee_rot6d_joints", "ee_quat_traj", "ee_rot6d_traj", "ee_quat_joints_traj",
    "ee_rot6d_joints_traj", "joints_traj",
]  # fmt: skip
ARMS = {name: getattr(arm, name) for name in NAMES}
KEY = "annotation.language.language_instruction"


# -- the golden numbers ------------------------------------------------------------------------------------


@pytest.fixture(params=["ee_quat", "ee_rot6d", "joints_traj"])
def golden(request):
    name = request.param
    return name, GOLDEN["codecs"][f"gr00t.{name}"], ARMS[name](ArmOptions(), NOWHERE)


def test_encodes_as_upstream(golden):
    _, case, codec = golden
    made, expected = codec.encode(observation()), case["encode"]
    flat = {f"{kind}.{name}" for kind in ("video", "state") for name in expected[kind]} | set(expected["language"])
    assert made.keys() == flat
    assert [[made[KEY]]] == expected["language"][KEY]
    for name, source in (("wrist_image", "image.wrist"), ("exterior_image_1", "image.exterior")):
        image = made[f"video.{name}"]
        assert ([1, 1, *image.shape], str(image.dtype)) == (expected["video"][name]["shape"], "uint8")
        np.testing.assert_array_equal(image, letterbox(observation()[source], 224, 224))
        if PIL.__version__ == "13.0.0":
            assert sha16(image) == expected["video"][name]["sha256_16"]
    for name, wanted in expected["state"].items():
        state = made[f"state.{name}"]
        assert ([1, 1, *state.shape], str(state.dtype)) == (wanted["shape"], wanted["dtype"])
        np.testing.assert_allclose(state, wanted["values"], atol=1e-5)


def answered(name, row, steps):
    """What a model of that layout would answer, in its own groups."""
    first = "action.joint_position" if name == "joints_traj" else "action.ee_pose"
    rows = np.tile(np.array(row, np.float32), (steps, 1))
    return Chunk({first: rows[:, :-1], "action.grip": rows[:, -1:]})


def test_decodes_as_upstream(golden):
    name, case, codec = golden
    made = codec.decode(answered(name, case["action_in_row0"], 50), observation())
    assert_decoded(made, case)


def test_says_and_trains_as_upstream(golden):
    _, case, codec = golden
    assert_said(codec.meta, case)
    wanted = case["training_meta"]["lerobot_features"]
    features = codec.features
    assert features.keys() == wanted.keys()
    for name, feature in features.items():
        assert (list(feature.shape), feature.dtype) == (wanted[name]["shape"], wanted[name]["dtype"])


# -- all of them -------------------------------------------------------------------------------------------

FRAME = observation() | {"target_pose": [0.5, 0, 0.2, 0, 1, 0, 0], "target_grip": 0.6, "grip": 0.7}


@pytest.mark.parametrize("name", NAMES)
def test_its_states_and_labels_are_what_its_name_says(name):
    codec = ARMS[name](ArmOptions(), NOWHERE)
    made, row = codec.encode(observation()), codec.label(FRAME)
    assert ("state.joint_position" in made) == ("joints" in name)
    assert ("state.ee_pose" in made) == name.startswith("ee")
    if name.startswith("ee"):
        assert made["state.ee_pose"].shape == ((9,) if "rot6d" in name else (7,))
    if "rot6d" in name:
        matrix = convert(np.array([0.5, 0.5, 0.5, 0.5]), "quat", "rotation_matrix").reshape(3, 3)
        np.testing.assert_allclose(made["state.ee_pose"][3:], matrix[:2].ravel(), atol=1e-6)  # rows, not columns
    assert row["action"][-1] == (1.0 if name.endswith("_traj") else np.float32(0.6))
    driven = FRAME["robot_state.q"] if name == "joints_traj" else FRAME["robot_state.ee_pose"]
    expected = driven if name.endswith("_traj") else FRAME["target_pose"]
    np.testing.assert_allclose(row["action"][:3], np.asarray(expected)[:3], atol=1e-6)
    for column, feature in codec.features.items():
        assert row[column].shape == feature.shape
    assert row["task"] == "pick up the cube"


@pytest.mark.parametrize("name", ["ee_quat", "ee_rot6d", "ee_rot6d_joints"])
def test_what_a_robot_still_plays_is_told_in_the_models_own_groups(name):
    codec = ARMS[name](ArmOptions(horizon_sec=None), NOWHERE)
    row = GOLDEN["codecs"]["gr00t.ee_rot6d" if "rot6d" in name else "gr00t.ee_quat"]["action_in_row0"]
    played = codec.decode(answered(name, row, 4), observation())
    back = codec.encode_actions(played, observation())
    again = codec.decode(back, observation())
    assert back.columns().keys() == {"action.ee_pose", "action.grip"}
    np.testing.assert_allclose(again.columns()["target_pose"], played.columns()["target_pose"], atol=1e-6)


@pytest.mark.parametrize("task", [None, "", "  ", 3])
def test_without_an_instruction_nothing_is_asked(task):
    codec = arm.ee_quat(ArmOptions(), NOWHERE)
    with pytest.raises(BadObservation, match="expected the instruction"):
        codec.encode(observation() | {"task": task})


@pytest.mark.parametrize(
    "columns",
    [
        {"action.ee_pose": np.zeros((2, 7))},
        {"action.ee_pose": np.zeros((2, 7)), "action.grip": np.zeros((2, 1)), "action.more": np.zeros((2, 1))},
        {"action.ee_pose": np.zeros((2, 9)), "action.grip": np.zeros((2, 1))},
        {"action.ee_pose": np.zeros((2, 7)), "action.grip": np.zeros(2)},
        {"action.ee_pose": np.full((2, 7), np.nan), "action.grip": np.zeros((2, 1))},
        {"action.ee_pose": np.zeros((2, 7)), "action.grip": np.zeros((2, 1))},  # a quaternion of no length
    ],
)
def test_answers_of_another_model_move_nothing(columns):
    with pytest.raises(InvalidAction):
        arm.ee_quat(ArmOptions(), NOWHERE).decode(Chunk(columns), observation())


def checkpoint(**changes):
    inputs = {
        "video.wrist_image": Field(shape=(-1, -1, 3), dtype="uint8"),
        "video.exterior_image_1": Field(shape=(-1, -1, 3), dtype="uint8"),
        "state.grip": Field(shape=(1,), dtype="float32"),
        "state.ee_pose": Field(shape=(9,), dtype="float32"),
        "annotation.human.do": Field(shape=(), dtype="str"),
    }
    outputs = {"action.ee_pose": Field(shape=(9,)), "action.grip": Field(shape=(1,))}
    return Checkpoint(
        id="c",
        inputs={**inputs, **changes.get("inputs", {})},
        outputs=changes.get("outputs", outputs),
        extras=changes.get("extras", {}),
    )


def test_a_checkpoint_that_fits_is_told_its_instruction_under_its_own_key():
    made = arm.ee_rot6d(ArmOptions(), checkpoint()).encode(observation())
    assert made["annotation.human.do"] == "pick up the cube"
    assert KEY not in made


@pytest.mark.parametrize(
    ("name", "changes", "text"),
    [
        ("ee_quat", {}, r"reads state.ee_pose as \(9,\); the codec makes it \(7,\)"),
        ("joints_traj", {}, "reads state.ee_pose; the codec makes state.grip, state.joint_position, video"),
        ("ee_rot6d", {"inputs": {"video.front": Field(shape=(-1, -1, 3))}}, "reads video.front"),
        ("ee_rot6d", {"outputs": {"action.arm": Field(shape=(9,))}}, "answers action.arm; the codec decodes action.ee"),
        (
            "ee_rot6d",
            {"outputs": {"action.ee_pose": Field(shape=(7,)), "action.grip": Field(shape=(1,))}},
            r"answers action.ee_pose as \(7,\); the codec decodes 9 numbers",
        ),
        (
            "ee_rot6d",
            {"extras": {"representations": {"ee_pose": "DELTA"}}},
            "answers action.ee_pose as DELTA, which GR00T's server sends as it was trained; the codec decodes absolute",
        ),
        # NVIDIA's Open-H has one of its own.
        ("ee_rot6d", {"extras": {"representations": {"grip": "REL_XYZ_ROT6D"}}}, "answers action.grip as REL_XYZ"),
    ],
)
def test_a_checkpoint_of_another_layout_is_refused(name, changes, text):
    with pytest.raises(LoadFailed, match=f"gr00t.{name} does not fit the checkpoint c, which {text}"):
        ARMS[name](ArmOptions(), checkpoint(**changes))


@pytest.mark.parametrize(
    ("name", "cameras", "mends"),
    [
        ("libero", ["front", "wrist"], True),
        ("libero", ["wrist_image", "image", "top"], False),
        ("ee_rot6d", ["front", "wrist"], False),
        ("ee_rot6d", ["wrist_image", "exterior_image_1", "top"], False),
    ],
)
def test_what_no_session_can_mend_is_refused_for_good(name, cameras, mends):
    """The server ends; libero's map gives the model's cameras their names, the arm codecs' does not."""
    video = {f"video.{camera}": Field(shape=(-1, -1, 3), dtype="uint8") for camera in cameras}
    takes = libero.TAKES if name == "libero" else {"action.ee_pose": 9, "action.grip": 1}
    found = Checkpoint(id="c", inputs=video, outputs={group: Field(shape=(width,)) for group, width in takes.items()})
    make, options = (libero.libero, libero.LiberoOptions) if name == "libero" else (ARMS[name], ArmOptions)
    with pytest.raises(LoadFailed, match=rf"gr00t.{name} does not fit .* fit: .*gr00t\.native") as caught:
        make(options(), found)
    assert (caught.value.permanent, "codec.map" in caught.value.text) == (not mends, mends)


def test_what_was_learnt_relative_is_answered_absolute_and_nothing_is_added_a_second_time():
    """GR00T's server adds the state to what its model answers: whichever state it was, the answer is the target."""
    relative = checkpoint(extras={"representations": {"ee_pose": "RELATIVE", "grip": "ABSOLUTE"}})
    answer = answered("ee_rot6d", GOLDEN["codecs"]["gr00t.ee_rot6d"]["action_in_row0"], 4)
    for seen in (observation(), observation() | {"robot_state.ee_pose": [1.0, 2.0, 3.0, 0.0, 1.0, 0.0, 0.0]}):
        made = arm.ee_rot6d(ArmOptions(), relative).decode(answer, seen).columns()
        alike = arm.ee_rot6d(ArmOptions(), checkpoint()).decode(answer, observation()).columns()
        np.testing.assert_array_equal(made["target_pose"], alike["target_pose"])
        np.testing.assert_allclose(made["target_pose"][0, :3], answer.columns()["action.ee_pose"][0, :3])


def test_an_image_has_the_size_that_the_checkpoint_takes():
    sized = checkpoint(inputs={"video.wrist_image": Field(shape=(120, 160, 3), dtype="uint8")})
    made = arm.ee_rot6d(ArmOptions(), sized).encode(observation())
    assert (made["video.wrist_image"].shape, made["video.exterior_image_1"].shape) == ((120, 160, 3), (224, 224, 3))


def test_cameras_by_other_names():
    codec = arm.ee_quat(ArmOptions(map={"image.front": "exterior_image_1"}), NOWHERE)
    assert {name for name in codec.meta.observation if name.startswith("image.")} == {"image.wrist", "image.front"}
    for wrong in ({"image.front": "front"}, {"image.a": "wrist_image", "image.b": "wrist_image"}):
        with pytest.raises(BadParameter, match="one camera each"):
            arm.ee_quat(ArmOptions(map=wrong), NOWHERE)


class TestNative:
    def test_a_checkpoints_own_names_pass_and_the_instruction_has_either(self):
        codec = native(GR00TNativeOptions(), checkpoint())
        own = {
            "video.wrist_image": np.zeros((4, 6, 3), np.uint8),
            "video.exterior_image_1": np.zeros((4, 6, 3), np.uint8),
            "state.grip": np.zeros(1),
            "state.ee_pose": np.zeros(9),
        }
        for name in ("task", "annotation.human.do"):
            made = codec.encode({**own, name: "go"})
            assert made["annotation.human.do"] == "go"
            assert made["state.ee_pose"].dtype == np.float32
        for wrong in ({}, {"task": " "}, {"task": "go", "annotation.human.do": "stay"}):
            with pytest.raises(BadObservation, match="expected one instruction"):
                codec.encode({**own, **wrong})

    def test_where_nobody_knows_everything_passes(self):
        given = {"video.a": np.zeros((2, 2, 3), np.uint8), "task": "go"}
        assert native(GR00TNativeOptions(fps=10), NOWHERE).encode(given) == given

    def test_the_one_size_that_a_camera_takes_is_told_as_that_which_images_may_be_shrunk_to(self):
        fields = {"video.wrist_image": (480, 640, 3), "video.exterior_image_1": (-1, -1, 3), "state.grip": (1,)}
        inputs = {name: Field(shape=shape, dtype="uint8") for name, shape in fields.items()}
        meta = native(GR00TNativeOptions(), checkpoint(inputs=inputs)).meta
        assert meta.image_sizes == {"video.wrist_image": (640, 480)}
        assert native(GR00TNativeOptions(), NOWHERE).meta.image_sizes is None
