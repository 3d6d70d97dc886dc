"""What becomes of each step of a LeRobot checkpoint's processors, as :mod:`.words` says it of the config's fields."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

_NORMALIZER = "features norm_map eps normalize_observation_keys"
_STATE_AS_TEXT = "max_state_dim task_key"

_RUN: Mapping[str, str] = {
    "absolute_actions_processor": "enabled",
    "device_processor": "device float_dtype",
    "eo1_conversation_template_processor": "input_features chunk_size",
    "eo1_qwen_processor": "processor_name image_min_pixels image_max_pixels use_fast_processor",
    "evo1_action_processor": "action_dim binarize_gripper gripper_index gripper_threshold "
    "gripper_below_threshold_value gripper_above_threshold_value",
    "evo1_pad_action_processor": "max_action_dim",
    "evo1_pad_state_processor": "max_state_dim",
    "fastwam_action_toggle_processor": "toggle_dimensions",
    "groot_action_unpack_unnormalize_v2": "env_action_dim normalize_min_max clip_normalized_action "
    "libero_gripper_action libero_gripper_binarize",
    "groot_n1_7_action_decode_v1": "env_action_dim raw_stats modality_config use_percentiles use_relative_action "
    "action_decode_transform",
    "groot_n1_7_pack_inputs_v1": "state_horizon action_horizon valid_action_horizon video_horizon max_state_dim "
    "max_action_dim language_key formalize_language embodiment_tag embodiment_mapping normalize_min_max "
    "state_dropout_prob clip_outliers use_percentiles video_modality_keys raw_stats modality_config",
    "groot_n1_7_vlm_encode_v1": "model_name image_crop_size image_target_size shortest_image_edge crop_fraction "
    "use_albumentations letter_box_transform device",
    "image_crop_resize_processor": "crop_params_dict resize_size",
    "molmoact2_action_frame_transform": "joint_signs joint_offsets",
    "molmoact2_clamp_action": "",
    "molmoact2_clamp_normalized": "",
    "molmoact2_masked_normalizer": _NORMALIZER,
    "molmoact2_masked_unnormalizer": _NORMALIZER,
    "molmoact2_pack_inputs": "checkpoint_path checkpoint_revision checkpoint_force_download action_mode "
    "discrete_action_tokenizer image_keys allow_image_key_fallback setup_type control_mode normalize_language "
    "add_setup_tokens add_control_tokens num_state_tokens max_sequence_length chunk_size max_action_dim env_action_dim",
    "molmoact2_state_frame_transform": "joint_signs joint_offsets",
    "normalizer_processor": _NORMALIZER,
    "pi05_prepare_state_tokenizer_processor_step": _STATE_AS_TEXT,
    "pi0_fast_prepare_state_tokenizer_processor_step": _STATE_AS_TEXT,
    "pi0_new_line_processor": "",
    "relative_actions_processor": "enabled exclude_joints action_names",
    "rename_observations_processor": "rename_map",
    "smolvla_new_line_processor": "",
    "to_batch_processor": "",
    "to_batch_processor_action": "",
    "to_batch_processor_complementary_data": "",
    "to_batch_processor_observation": "",
    "tokenizer_processor": "tokenizer_name max_length task_key padding_side padding truncation",
    "unnormalizer_processor": _NORMALIZER,
    "vla_jepa_binarize_gripper": "gripper_dim threshold",
    "vla_jepa_clip_actions": "",
    "vla_jepa_pre_snap_gripper": "gripper_dim threshold",
    "wall_x_task_processor": "",
    "xvla_add_domain_id": "domain_id",
    "xvla_image_scale": "image_keys",
    "xvla_image_to_float": "image_keys validate_range",
    "xvla_imagenet_normalize": "image_keys",
    "xvla_rotation_6d_to_axis_angle": "expected_action_dim",
}

#: The steps that are run, by LeRobot itself → the options that it is given. Any other option is refused, unless it asks
#: for nothing.
RUN: Mapping[str, frozenset[str]] = {name: frozenset(options.split()) for name, options in _RUN.items()}

#: Steps without work where nothing is trained → why. They are left out, whatever their options.
LEFT_OUT: Mapping[str, str] = {
    "action_tokenizer_processor": "it makes tokens of the actions that a policy is trained on; what it names is not "
    "loaded, with code of the Hub or without",
    "render_messages_processor": "it renders the language columns of a data set, and an observation has none",
}


@dataclass(frozen=True)
class Refusal:
    """``why`` a step is refused, and what to ``do``."""

    why: str
    do: str


_ROBOT = Refusal(
    "it belongs to a robot or simulator that LeRobot drives itself",
    "Take it out of the file, and do what it does in the program that drives the robot: before an observation is sent, "
    "or after its actions have come",
)
_EAGLE = Refusal(
    "LeRobot 0.4 copies code of its GR00T N1.5 into a folder that it fills from the Hub, and runs what is there, with "
    "flash-attn alone; no code is run that lies where a download may write",
    "Train a GR00T N1.7 with LeRobot 0.6",
)
_REWARD = Refusal("it judges for training what was done", "Take it out of the file: no action depends on it")
#: Steps that are refused.
NOT_RUN: Mapping[str, Refusal] = {
    **dict.fromkeys(
        (
            "add_teleop_action_as_complementary_data", "add_teleop_action_as_info", "current_processor",
            "ee_bounds_and_safety", "ee_reference_and_delta", "forward_kinematics_joints_to_ee",
            "forward_kinematics_joints_to_ee_action", "forward_kinematics_joints_to_ee_observation",
            "gripper_velocity_to_joint", "gym_hil_adapter_processor", "intervention_action_processor",
            "inverse_kinematics_ee_to_joints", "inverse_kinematics_rl_step", "isaaclab_arena_processor",
            "joint_velocity_processor", "libero_processor", "map_delta_action_to_robot_action",
            "map_phone_action_to_robot_action", "map_tensor_to_delta_action_dict", "numpy2torch_action_processor",
            "observation_processor", "policy_action_to_robot_action_processor",
            "robot_action_to_policy_action_processor", "time_limit_processor", "torch2numpy_action_processor",
        ),
        _ROBOT,
    ),
    **dict.fromkeys(
        (
            "groot_action_unpack_unnormalize_v1", "groot_eagle_collate_v3", "groot_eagle_encode_v3",
            "groot_pack_inputs_v3",
        ),
        _EAGLE,
    ),
    **dict.fromkeys(
        ("gripper_penalty_processor", "reward_classifier_processor", "robometer_encoder", "topreward_encoder"), _REWARD
    ),
}  # fmt: skip

_GRIPPER = {"gripper_dim": ("gripper_dim", 6), "threshold": ("gripper_threshold", 0.5)}
#: Steps that LeRobot saves without their options, and reads back with its defaults → option → the config's field that
#: said it, and the default. They must agree: a step would change another number of the action than was meant.
FORGOTTEN: Mapping[str, Mapping[str, tuple[str, float]]] = {
    "vla_jepa_binarize_gripper": _GRIPPER,
    "vla_jepa_pre_snap_gripper": _GRIPPER,
}

#: Step → option → the config's field that says the same: one of them has been changed where they differ.
AGREED: Mapping[str, Mapping[str, str]] = {
    "eo1_conversation_template_processor": {"chunk_size": "chunk_size"},
    "fastwam_action_toggle_processor": {"toggle_dimensions": "toggle_action_dimensions"},
}

#: Options that name what lies on the Hub, as the fields with the word "hub" do.
HUB = frozenset({"checkpoint_path", "discrete_action_tokenizer", "model_name", "processor_name", "tokenizer_name"})
#: Options that are refused at other values than this one → it.
ONLY = {"checkpoint_force_download": False, "language_key": "task", "task_key": "task"}


def word_of(step: str) -> str | None:
    """What becomes of a step: run, left out or refused. None: nobody here knows it."""
    return next((w for w, of in (("run", RUN), ("left out", LEFT_OUT), ("refused", NOT_RUN)) if step in of), None)
