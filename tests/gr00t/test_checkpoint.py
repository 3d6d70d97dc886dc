"""What a checkpoint of GR00T says of itself, before anything is loaded."""

import json
from pathlib import Path
from typing import Any

import pytest
from gr00t_standin import write_checkpoint
from offboard_client.errors import ConfigurationError, LoadFailed
from offboard_core.checkpoints import Incomplete, LocalPlace, Unfit
from offboard_core.types import Checkpoint, Field
from offboard_gr00t.checkpoint import described, read, served
from offboard_gr00t.generation import Generation
from offboard_gr00t.modality import Modalities
from offboard_gr00t.registry import enriched

TAG = "new_embodiment"


@pytest.mark.parametrize(
    ("config", "generation"),
    [
        ({"model_type": "gr00t_n1_5", "architectures": ["GR00T_N1_5"]}, Generation.N1_5),
        ({"architectures": ["GR00T_N1_5"]}, Generation.N1_5),
        ({"model_type": "Gr00tN1d6"}, Generation.N1_6),
        ({"model_type": "Gr00tN1d7", "architectures": ["Gr00tN1d7"]}, Generation.N1_7),
        ({"model_type": "pi0"}, None),
        ({"model_type": ["Gr00tN1d7"], "architectures": "GR00T_N1_5"}, None),
    ],
)
def test_the_config_names_the_generation(config: dict[str, Any], generation: Generation | None) -> None:
    assert Generation.of(config) is generation


def change(path: Path, edit: Any) -> None:
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content))


def configs(content: dict[str, Any]) -> dict[str, Any]:
    return content["processor_kwargs"]["modality_configs"]


def test_n1_7_says_its_groups_their_widths_and_its_frames(tmp_path: Path) -> None:
    folder = write_checkpoint(
        tmp_path / "checkpoint-10", "n1.7", state={"eef_9d": 9, "joint_position": 7}, action={"joint_position": 7},
        video=["wrist_image_left"], horizon=40, frames=[-15, 0], language="annotation.language.language_instruction",
        action_configs=[{"rep": "RELATIVE", "type": "NON_EEF", "format": "DEFAULT", "state_key": None}],
    )  # fmt: skip
    found = read(LocalPlace(folder), None)
    assert (found.generation, found.tag, found.tags) == (Generation.N1_7, TAG, (TAG,))
    modalities = found.modalities
    assert (modalities.horizon, modalities.frames, modalities.state_frames) == (40, (-15, 0), (0,))
    assert modalities.widths == {"state.eef_9d": 9, "state.joint_position": 7, "action.joint_position": 7}
    assert not modalities.image_sizes  # it scales every image itself

    checkpoint = described(Checkpoint(id="10"), found)
    assert checkpoint.inputs == {
        "video.wrist_image_left": Field(shape=(-1, -1, 3), dtype="uint8", unit="RGB"),
        "state.eef_9d": Field(shape=(9,), dtype="float32"),
        "state.joint_position": Field(shape=(7,), dtype="float32"),
        "annotation.language.language_instruction": Field(shape=(), dtype="str"),
    }
    assert checkpoint.outputs == {"action.joint_position": Field(shape=(7,), kind="vector")}
    assert checkpoint.chunk_length == 40
    assert checkpoint.extras == {
        "generation": "n1.7", "embodiment_tag": TAG, "embodiment_tags": [TAG],
        "representations": {"joint_position": "RELATIVE"},
    }  # fmt: skip


def test_n1_5_says_its_groups_and_the_size_of_its_images_but_not_which_the_model_takes(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "checkpoint-10", "n1.5", video=["front"], size=(640, 480))
    found = read(LocalPlace(folder), None)
    assert found.generation is Generation.N1_5
    assert found.modalities.image_sizes == {"front": (640, 480)}
    assert found.modalities.widths["state.ee_pose"] == 7
    assert found.modalities.language == ()  # its data config's
    checkpoint = described(Checkpoint(id="10"), found)
    assert checkpoint.inputs["video.front"] == Field(shape=(480, 640, 3), dtype="uint8", unit="RGB", required=False)
    assert checkpoint.outputs["action.ee_pose"] == Field(shape=(7,), kind="vector", required=False)
    assert checkpoint.chunk_length == 16


def test_the_processors_folder_is_read_where_the_root_has_none(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "run", "n1.6")
    (folder / "processor").mkdir()
    for name in ("processor_config.json", "statistics.json"):
        (folder / name).rename(folder / "processor" / name)
    assert read(LocalPlace(folder), None).modalities.widths["state.ee_pose"] == 7


def several(folder: Path, *tags: str) -> Path:
    write_checkpoint(folder, "n1.7", tag=tags[0])
    for tag in tags[1:]:
        change(folder / "processor_config.json", lambda c, tag=tag: configs(c).update({tag: configs(c)[tags[0]]}))
        change(folder / "statistics.json", lambda c, tag=tag: c.update({tag: c[tags[0]]}))
    return folder


def test_the_embodiment_is_the_one_that_is_named_else_the_only_one_else_the_new_one(tmp_path: Path) -> None:
    only = LocalPlace(several(tmp_path / "a", "libero_sim"))
    assert read(only, None).tag == "libero_sim"
    some = LocalPlace(several(tmp_path / "b", "unitree_g1", TAG))
    assert read(some, None).tag == TAG
    assert read(some, "UNITREE_G1").tag == "unitree_g1"
    with pytest.raises(
        ConfigurationError, match=r"no embodiment 'unitre_g1'; did you mean unitree_g1.*unitree_g1, new"
    ):
        read(some, "unitre_g1")
    open_ = LocalPlace(several(tmp_path / "c", "unitree_g1", "libero_sim"))
    with pytest.raises(
        ConfigurationError, match="several embodiments: say --embodiment-tag, one of unitree_g1, libero"
    ):
        read(open_, None)


def test_an_embodiment_may_be_called_as_n1_7s_own_command_line_calls_it(tmp_path: Path) -> None:
    g1 = "unitree_g1_full_body_with_waist_height_nav_cmd"
    some = LocalPlace(several(tmp_path / "b", "libero_sim", g1))
    assert read(some, "LIBERO_PANDA").tag == "libero_sim"
    assert read(some, "unitree_g1").tag == g1
    older = LocalPlace(several(tmp_path / "c", "libero_panda", "libero_sim"))
    assert read(older, "LIBERO_PANDA").tag == "libero_panda"  # N1.6's own


def test_an_embodiment_of_an_odd_name_is_passed_over(tmp_path: Path) -> None:
    folder = several(tmp_path / "b", TAG, "unitree_g1")
    change(folder / "processor_config.json", lambda c: configs(c).update({"--strict": {}, "flat": []}))
    assert read(LocalPlace(folder), None).tags == (TAG, "unitree_g1")


def test_statistics_of_each_step_say_how_wide_a_step_is(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "checkpoint-10", "n1.7")
    change(folder / "statistics.json", lambda c: c[TAG]["action"]["ee_pose"].update(mean=[[0.0] * 7] * 16))
    assert read(LocalPlace(folder), None).modalities.widths["action.ee_pose"] == 7


def test_the_embodiment_that_training_recorded_is_meant(tmp_path: Path) -> None:
    folder = several(tmp_path / "run" / "checkpoint-10", "unitree_g1", TAG)
    (folder.parent / "offboard.json").write_text(json.dumps({"embodiment_tag": "unitree_g1"}))
    assert read(LocalPlace(folder), None).tag == "unitree_g1"
    assert read(LocalPlace(folder), "unitree_g1").tag == "unitree_g1"
    with pytest.raises(ConfigurationError, match=r"asks for new_embodiment, and offboard.json .* says unitree_g1"):
        read(LocalPlace(folder), TAG)


def test_another_embodiment_than_the_registrys_is_read_anew(tmp_path: Path) -> None:
    folder = several(tmp_path / "checkpoint-10", "unitree_g1", TAG)
    change(folder / "processor_config.json", lambda c: configs(c)["unitree_g1"]["state"].update(modality_keys=["grip"]))
    listed = described(Checkpoint(id="10", location=str(folder)), read(LocalPlace(folder), None))
    assert enriched(listed, None) is listed
    assert enriched(listed, "NEW_embodiment") is listed
    other = enriched(listed, "unitree_g1")
    assert other.extras["embodiment_tag"] == "unitree_g1"
    assert [name for name in other.inputs if name.startswith("state.")] == ["state.grip"]


@pytest.mark.parametrize(
    ("file", "edit", "says"),
    [
        ("processor_config.json", lambda c: configs(c).clear(), "describes no embodiment"),
        ("processor_config.json", lambda c: c.pop("processor_kwargs"), "has no processor_kwargs.modality_configs"),
        (
            "processor_config.json",
            lambda c: configs(c).update({"--strict": configs(c).pop(TAG)}),
            "describes no embodiment but '--strict'",
        ),
        (
            "processor_config.json",
            lambda c: configs(c)[TAG].pop("state"),
            "does not describe .*no modality state.*: name another --emb",
        ),
        (
            "processor_config.json",
            lambda c: configs(c)[TAG]["video"].update(delta_indices=[0, 5]),
            "wants the frame 5 steps ahead",
        ),
        ("statistics.json", lambda c: c.clear(), "has nothing of the embodiment new_embodiment"),
        ("config.json", lambda c: c.update(model_type="Gr00tN2", architectures=[]), "a model_type 'Gr00tN2', which no"),
        ("config.json", lambda c: (c.clear(), c.update(type="groot")), "LeRobot's .*serve it with --vendor lerobot"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_file_that_says_nothing_usable_is_named(tmp_path: Path, file: str, edit: Any, says: str) -> None:
    folder = write_checkpoint(tmp_path / "checkpoint-10", "n1.6")
    if file == "config.json":  # else the processor's class would say it
        change(folder / "processor_config.json", lambda c: c.pop("processor_class"))
    change(folder / file, edit)
    with pytest.raises(Incomplete, match=says):
        read(LocalPlace(folder), None)


def test_rows_that_are_not_the_steps_of_the_data_are_for_no_waiting_to_mend(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "checkpoint-10", "n1.7")
    change(folder / "processor_config.json", lambda c: configs(c)[TAG]["action"].update(delta_indices=[0, 2, 4]))
    with pytest.raises(Unfit, match=r"answers the steps 0, 2, 4; only .*: name another --embodiment-tag"):
        read(LocalPlace(folder), None)


@pytest.mark.parametrize(
    "edit",
    [
        lambda m: m.pop("video"),
        lambda m: m["state"]["grip"].update(shape=[]),
        lambda m: m["state"]["grip"].update(shape=[0]),
        lambda m: m["video"]["wrist_image"].update(resolution=[224]),
        lambda m: m["action"].clear(),
    ],
)
def test_metadata_that_say_nothing_usable_are_named(tmp_path: Path, edit: Any) -> None:
    folder = write_checkpoint(tmp_path / "checkpoint-10", "n1.5")
    change(folder / "experiment_cfg" / "metadata.json", lambda c: edit(c[TAG]["modalities"]))
    with pytest.raises(Incomplete, match=r"experiment_cfg/metadata.json describe|not describe the modalities"):
        read(LocalPlace(folder), None)


def test_the_generation_may_be_told_where_the_config_does_not_say_it(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "checkpoint-10", "n1.6")
    with pytest.raises(Incomplete, match=r"--generation says n1.7, config.json says n1.6"):
        read(LocalPlace(folder), None, Generation.N1_7)
    change(folder / "config.json", lambda c: (c.clear(), c.update(model_type="fork")))
    assert read(LocalPlace(folder), None).generation is Generation.N1_6  # by its processor
    change(folder / "processor_config.json", lambda c: c.pop("processor_class"))
    assert read(LocalPlace(folder), None, Generation.N1_7).generation is Generation.N1_7


def said(**more: Any) -> Modalities:
    kinds = {"video": ("front",), "state": ("ee_pose",), "action": ("ee_pose", "grip"), "language": ("annotation.a",)}
    return Modalities(**{**kinds, "horizon": 16, **more})


def test_a_server_of_n1_5_says_which_groups_it_takes_and_the_files_how_wide_they_are(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "checkpoint-10", "n1.5", video=["front", "wrist"], size=(640, 480))
    found = read(LocalPlace(folder), None)
    both = served(said(), found)
    assert (both.video, both.language) == (("front",), ("annotation.a",))
    assert both.widths == {"state.ee_pose": 7, "action.ee_pose": 7, "action.grip": 1}
    assert both.image_sizes == {"front": (640, 480)}
    with pytest.raises(LoadFailed, match=r"GR00T serves the state arm, .* is --data-config the one"):
        served(said(state=("arm",)), found)
    with pytest.raises(LoadFailed, match=r"GR00T answers 8 steps, the checkpoint's files say 16"):
        served(said(horizon=8), found)


def test_a_server_of_n1_6_takes_just_what_the_files_say(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "checkpoint-10", "n1.6", video=["front"])
    found = read(LocalPlace(folder), None)
    assert served(found.modalities, found) == found.modalities
    with pytest.raises(LoadFailed, match=r"GR00T serves the state ee_pose, .* say grip, ee_pose .*another checkpoint"):
        served(said(), found)
