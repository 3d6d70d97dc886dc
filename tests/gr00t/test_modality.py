"""What GR00T says that a model reads and answers."""

import pytest
from offboard_client.errors import BadMessage
from offboard_gr00t.modality import ActionKind, read

RELATIVE = {"rep": "RELATIVE", "type": "EEF", "format": "XYZ_ROT6D", "state_key": "eef_9d"}
N1_7 = {
    "video": {"delta_indices": [-15, 0], "modality_keys": ["wrist_image_left", "exterior_image_1_left"]},
    "state": {"delta_indices": [0], "modality_keys": ["eef_9d", "gripper_position", "joint_position"]},
    "action": {
        "delta_indices": [*range(16)],
        "modality_keys": ["eef_9d", "gripper_position"],
        "action_configs": [RELATIVE, {"rep": "ABSOLUTE"}],
    },
    "language": {"delta_indices": [0], "modality_keys": ["annotation.language.a", "annotation.language.b"]},
}
N1_5 = {
    "video": {"delta_indices": [0], "modality_keys": ["video.front"]},
    "state": {"delta_indices": [0], "modality_keys": ["state.single_arm", "state.gripper"]},
    "action": {"delta_indices": [*range(16)], "modality_keys": ["action.single_arm", "action.gripper"]},
    "language": {"delta_indices": [0], "modality_keys": ["annotation.human.task_description"]},
}


def test_frames_groups_and_kinds_of_a_later_generation():
    found = read(N1_7)
    assert found.video == ("wrist_image_left", "exterior_image_1_left")
    assert found.frames == (-15, 0)
    assert found.state == ("eef_9d", "gripper_position", "joint_position")
    assert found.horizon == 16
    pose = ActionKind("RELATIVE", "EEF", "XYZ_ROT6D", "eef_9d")
    assert found.kinds == {"eef_9d": pose, "gripper_position": ActionKind()}
    assert pose.said == RELATIVE
    assert found.instruction == "annotation.language.a", "GR00T reads the first of several"


def test_names_of_n1_5_lose_their_prefix_and_instructions_keep_their_dots():
    found = read(N1_5)
    assert (found.video, found.state, found.action) == (
        ("front",),
        ("single_arm", "gripper"),
        ("single_arm", "gripper"),
    )
    assert found.instruction == "annotation.human.task_description"
    assert found.kinds == {}


def test_a_model_may_have_no_cameras_and_no_instruction():
    found = read({name: N1_5[name] for name in ("state", "action")})
    assert (found.video, found.frames, found.instruction) == ((), (0,), None)


@pytest.mark.parametrize(
    ("where", "what", "text"),
    [
        ("action", None, "there is no modality action; there are: video, state, language"),
        ("state", 3, "the modality state is 3, expected a map"),
        ("video", {"delta_indices": [0], "modality_keys": "front"}, "modality_keys of video is 'front'"),
        ("video", {"delta_indices": [0], "modality_keys": ["a" * 201]}, "modality_keys of video"),
        ("video", {"delta_indices": [0], "modality_keys": ["a", "video.a"]}, "names a key or a step twice"),
        ("video", {"delta_indices": [0.0], "modality_keys": ["a"]}, "delta_indices of video"),
        ("video", {"delta_indices": [True], "modality_keys": ["a"]}, "delta_indices of video"),
        ("video", {"delta_indices": [0, -15], "modality_keys": ["a"]}, "its steps out of order"),
        ("video", {"delta_indices": [-(10**9), 0], "modality_keys": ["a"]}, "delta_indices of video"),
        ("action", {"delta_indices": [], "modality_keys": ["a"]}, "nothing would be answered"),
        ("action", {"delta_indices": [*range(0, 32, 2)], "modality_keys": ["a"]}, "the steps 0, 2, 4, 6, 8 …; only"),
        ("action", {"delta_indices": [*range(1, 17)], "modality_keys": ["a"]}, "steps 1, 2, 3, 4, 5 …; only"),
        ("action", {"delta_indices": [0], "modality_keys": []}, "nothing would be answered"),
        ("action", {"delta_indices": [*range(513)], "modality_keys": ["a"]}, "delta_indices of action"),
        ("action", {**N1_7["action"], "action_configs": [RELATIVE]}, "expected one for each of eef_9d, gripper"),
        ("action", {**N1_7["action"], "action_configs": [RELATIVE, 3]}, "expected a map"),
        ("action", {**N1_7["action"], "action_configs": [RELATIVE, {"rep": 3}]}, "expected texts"),
    ],
)  # fmt: skip
def test_what_describes_no_model_is_refused(where, what, text):
    configs = {name: config for name, config in N1_7.items() if name != where or what is not None}
    if what is not None:
        configs[where] = what
    with pytest.raises(BadMessage, match=text.replace("(", r"\(")):
        read(configs)
