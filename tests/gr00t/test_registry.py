"""Which checkpoints of GR00T's training are found, on a disk and in a store, and what is said of the others."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from gr00t_standin import TAG, options, write_checkpoint, write_run
from hub_standin import hub_standin
from object_store import upload
from offboard_client.errors import ConfigurationError, LoadFailed, ModelNotFound
from offboard_core.catalog import ModelSource, from_flags
from offboard_core.checkpoints.remote import RemoteFolder, fetch
from offboard_core.plugins import Plugins
from offboard_core.types import ALONE
from offboard_gr00t import files
from offboard_gr00t.registry import GR00TRegistry

WEIGHTS = "model-00001-of-00001.safetensors"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """What a training left: three checkpoints, a copy of the best, what is half copied, and the last model itself."""
    run = write_run(tmp_path / "runs" / "pick", {999: 0.1, 5000: 0.2, 10000: 0.3})
    write_checkpoint(run / "checkpoint-5000-best-loss_0.02", value=0.2)
    shutil.copytree(run / "checkpoint-10000", run / "checkpoint-11000.tmp")
    for path in (run / "checkpoint-10000").iterdir():
        if path.is_file():
            shutil.copy(path, run)
    return run


def ids(place: Path | str) -> list[str]:
    return [checkpoint.id for checkpoint in GR00TRegistry(str(place)).checkpoints()]


def test_checkpoints_are_listed_by_number_and_the_best_apart(run: Path) -> None:
    registry = GR00TRegistry(str(run))
    assert ids(run) == ["checkpoint-5000-best-loss_0.02", "999", "5000", "10000"]
    newest = registry.default()
    assert (newest.id, newest.location, newest.experiment, newest.type) == (
        "10000", str(run / "checkpoint-10000"), "pick", "gr00t",
    )  # fmt: skip
    assert newest.extras == {
        "generation": "n1.6", "embodiment_tag": "new_embodiment", "embodiment_tags": ["new_embodiment"],
    }  # fmt: skip
    assert {"state.ee_pose", "video.wrist_image"} < newest.inputs.keys()
    assert set(newest.outputs) == {"action.ee_pose", "action.grip"}


def test_where_a_checkpoint_lies_is_the_same_however_it_is_typed(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client takes it for a part of which model that is; other files under the same words are other ones."""
    place = run.relative_to(tmp_path)
    (tmp_path / "link").symlink_to(run)
    monkeypatch.chdir(tmp_path)
    typed = [
        str(run),
        str(place),
        f"./{place}/",
        f"{place}/../{place.name}",
        "link",
        f"{place}/checkpoint-10000",
        "link/checkpoint-10000",
    ]
    said = {(found.id, found.location, found.experiment) for each in typed for found in [GR00TRegistry(each).default()]}
    [(_, location, _)] = said
    other = shutil.copytree(tmp_path / place.parts[0], tmp_path / "bob" / place.parts[0], symlinks=True)
    monkeypatch.chdir(other.parent)
    assert GR00TRegistry(str(place)).default().location == location.replace(str(tmp_path), str(tmp_path / "bob"), 1)


@pytest.mark.parametrize("asked", ["5000", "05000", "checkpoint-5000", "checkpoint-05000"])
def test_a_checkpoint_is_found_by_its_number_or_by_its_folders_name(run: Path, asked: str) -> None:
    assert GR00TRegistry(str(run)).resolve(asked).location.endswith("checkpoint-5000")


def test_the_best_are_found_by_name_and_are_the_default_where_there_are_no_others(run: Path) -> None:
    best = "checkpoint-5000-best-loss_0.02"
    assert GR00TRegistry(str(run)).resolve(best).location == str(run / best)
    for number in (999, 5000, 10000):
        shutil.rmtree(run / f"checkpoint-{number}")
    assert GR00TRegistry(str(run)).default().id == best


def test_one_checkpoint_and_a_run_that_kept_only_its_last_model_are_one(run: Path) -> None:
    assert ids(run / "checkpoint-999") == ["999"]
    for folder in run.glob("checkpoint-*"):
        shutil.rmtree(folder)
    assert ids(run) == ["pick"]


BROKEN = [
    (WEIGHTS, lambda path: path.unlink(), rf"it lacks {WEIGHTS}"),
    (WEIGHTS, lambda path: path.write_bytes(path.read_bytes()[:-1]), rf"{WEIGHTS} has \d.* bytes, its header says"),
    ("model.safetensors.index.json", lambda path: path.unlink(), r"model\.safetensors is missing"),
    ("config.json", lambda path: path.unlink(), r"config\.json is missing"),
    ("config.json", lambda path: path.write_text("{"), r"config\.json cannot be read"),
    ("processor_config.json", lambda path: path.unlink(), r"processor_config\.json is missing"),
    ("statistics.json", lambda path: path.unlink(), r"statistics\.json is missing"),
]


@pytest.mark.parametrize(("name", "harm", "says"), BROKEN)
def test_what_is_half_written_is_not_listed_and_says_what_it_lacks(run: Path, name: str, harm: Any, says: str) -> None:
    harm(run / "checkpoint-10000" / name)
    assert ids(run)[-1] == "5000"
    with pytest.raises(ModelNotFound, match=rf"checkpoint 10000 is no complete checkpoint: .*{says}.*wait for that"):
        GR00TRegistry(str(run)).resolve("10000")
    with pytest.raises(ConfigurationError, match=says):
        GR00TRegistry(str(run / "checkpoint-10000")).checkpoints()


def test_n1_5_wants_its_metadata(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "checkpoint-7", "n1.5")
    assert ids(folder) == ["7"]
    (folder / "experiment_cfg" / "metadata.json").unlink()
    with pytest.raises(ConfigurationError, match=r"experiment_cfg/metadata\.json is missing"):
        GR00TRegistry(str(folder)).checkpoints()


def test_who_waited_long_enough_is_told_so(run: Path) -> None:
    folder = run / "checkpoint-10000"
    (folder / "statistics.json").unlink()
    for path in (folder, *folder.rglob("*")):
        os.utime(path, (0, time.time() - 7200))
    with pytest.raises(ModelNotFound, match="nothing has been written there for 2 hours: save or copy it again"):
        GR00TRegistry(str(run)).resolve("10000")


def test_a_pointer_of_git_lfs_is_named(run: Path) -> None:
    (run / "checkpoint-10000" / WEIGHTS).write_text(
        "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n"
    )
    with pytest.raises(ModelNotFound, match=rf"{WEIGHTS} is a Git LFS pointer.*git lfs pull in"):
        GR00TRegistry(str(run)).resolve("10000")


def test_places_that_hold_no_checkpoint_say_what_they_hold(tmp_path: Path, run: Path) -> None:
    with pytest.raises(ConfigurationError, match="does not exist"):
        GR00TRegistry(str(tmp_path / "none")).checkpoints()
    with pytest.raises(ConfigurationError, match=rf"it holds pick; expected folders called checkpoint-<number>.*{run}"):
        GR00TRegistry(str(run.parent)).checkpoints()
    with pytest.raises(ModelNotFound, match=r"there is no model '77' here.*999, 5000, 10000"):
        GR00TRegistry(str(run)).resolve("77")


def test_an_embodiment_that_nothing_decides_is_left_open(run: Path) -> None:
    for name, edit in {
        "processor_config.json": lambda c: c["processor_kwargs"]["modality_configs"],
        "statistics.json": lambda c: c,
    }.items():
        path = run / "checkpoint-10000" / name
        content = json.loads(path.read_text())
        configs = edit(content)
        configs["libero_sim"] = configs["unitree_g1"] = configs.pop("new_embodiment")
        path.write_text(json.dumps(content))
    found = GR00TRegistry(str(run)).default()
    assert found.extras == {"generation": "n1.6", "embodiment_tags": ["libero_sim", "unitree_g1"]}
    assert not found.inputs


def test_what_training_recorded_is_read_beside_the_checkpoint_or_the_run(run: Path) -> None:
    (run / "offboard.json").write_text(json.dumps({"codec": "gr00t.ee_quat", "action_fps": 15}))
    assert GR00TRegistry(str(run)).default().recorded == {"codec": "gr00t.ee_quat", "action_fps": 15}
    assert GR00TRegistry(str(run / "checkpoint-999")).default().recorded["action_fps"] == 15
    (run / "offboard.json").write_text(json.dumps({"embodyment_tag": "x"}))
    with pytest.raises(ConfigurationError, match=r"no field 'embodyment_tag' .*did you mean embodiment_tag\?"):
        GR00TRegistry(str(run)).checkpoints()


def test_the_files_of_a_model_are_those_that_no_training_needs(run: Path) -> None:
    names = files.names_in(run / "checkpoint-10000")
    assert {"config.json", "model.safetensors.index.json", WEIGHTS, "experiment_cfg/conf.json"} < set(names)
    assert not [name for name in names if name.endswith((".pt", ".pth"))]
    for name in ("optimizer.pt", "rng_state.pth", "training_args.bin", "global_step10/x.safetensors", "scheduler.pt"):
        assert not files.wanted(name)
    assert not files.wanted(f"checkpoint-10000/{WEIGHTS}")


def test_a_folder_is_recognised_by_what_gr00t_alone_writes(tmp_path: Path, run: Path) -> None:
    assert files.recognises(run)
    assert files.recognises(run / "checkpoint-999")
    assert files.recognises(write_checkpoint(tmp_path / "old", "n1.5"))
    other = tmp_path / "trainer" / "checkpoint-10"  # as transformers' own Trainer saves any model
    other.mkdir(parents=True)
    (other / "config.json").write_text(json.dumps({"model_type": "llama"}))
    (other / "model.safetensors").write_bytes(b"")
    assert not files.recognises(other)
    assert not files.recognises(other.parent)
    assert not files.recognises(tmp_path / "none")


@pytest.fixture
def stored(store: Any, run: Path, request: pytest.FixtureRequest) -> str:
    url = f"s3://runs/{request.node.name}"
    (run / "checkpoint-10000" / "statistics.json").unlink()
    upload(run, f"{url}/pick")
    return f"{url}/pick"


def test_checkpoints_in_a_store_are_listed_there_and_fetched_without_the_optimiser(
    stored: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OFFBOARD_CACHE", str(tmp_path / "cache"))
    registry = GR00TRegistry(stored)
    assert [checkpoint.id for checkpoint in registry.checkpoints()] == ["checkpoint-5000-best-loss_0.02", "999", "5000"]
    found = registry.resolve("05000")
    assert (found.location, found.experiment) == (f"{stored}/checkpoint-5000", "pick")
    assert found.inputs["state.ee_pose"].shape == (7,)
    with pytest.raises(ModelNotFound, match=r"checkpoint 10000 is no complete checkpoint: statistics\.json is missing"):
        registry.resolve("10000")
    assert ids(f"{stored}/checkpoint-999") == ["999"]
    assert not (tmp_path / "cache").exists(), "listing fetches nothing"

    local = fetch(RemoteFolder(found.location), lambda _: None, files.wanted)
    assert files.local_problem(local) is None
    there = {path.name for path in local.rglob("*") if path.is_file()}
    assert WEIGHTS in there
    assert not [name for name in there if name.startswith(("optimizer", "scheduler", "rng_state"))]


def test_a_store_without_whole_checkpoints_says_what_each_lacks(stored: str) -> None:
    with pytest.raises(
        ConfigurationError, match=r"checkpoint-10000 is no complete checkpoint: statistics\.json is miss"
    ):
        GR00TRegistry(f"{stored}/checkpoint-10000").checkpoints()
    with pytest.raises(ConfigurationError, match="it holds pick; expected folders called checkpoint-<number>"):
        GR00TRegistry(stored.rpartition("/")[0]).checkpoints()


def test_a_run_in_a_store_says_which_of_several_embodiments_it_is_to_what_is_loaded_too(
    store: Any, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    folder = write_checkpoint(tmp_path / "run" / "checkpoint-7")
    for name, held in (("processor_config.json", ("processor_kwargs", "modality_configs")), ("statistics.json", ())):
        said = json.loads((folder / name).read_text())
        embodiments = said
        for key in held:
            embodiments = embodiments[key]
        embodiments["mine"] = embodiments.pop(TAG)
        embodiments["other"] = embodiments["mine"]
        (folder / name).write_text(json.dumps(said))
    (tmp_path / "run" / "offboard.json").write_text('{"embodiment_tag": "mine"}')
    url = f"s3://runs/{request.node.name}"
    upload(tmp_path / "run", url)
    found = from_flags(Plugins.discover(), vendor="gr00t", checkpoints_dir=url, loader_options=options())
    assert found.default().extras["embodiment_tag"] == "mine"


#: huggingface_hub reads its settings when it is imported: a process of its own.
LOADS = """
import json, sys
from offboard_core.catalog import from_flags
from offboard_core.plugins import Plugins
from offboard_core.types import ALONE

url, options = sys.argv[1], json.loads(sys.argv[2])
source = from_flags(Plugins.discover(), vendor="gr00t", checkpoints_dir=url, loader_options=options)
found = source.registry.checkpoints()
print([checkpoint.id for checkpoint in found], found[0].location, found[0].experiment)
policy = source.loader.load(found[0], lambda _: None, ALONE)
print(found[0].extras["generation"])
policy.close()
"""


def test_a_repository_of_the_hub_is_read_at_one_commit_and_once_fetched_served_without_a_network(
    tmp_path: Path, run: Path
) -> None:
    with hub_standin("org/cubes") as hub:
        commit = hub.push_folder(run)

        def loads(below: str = "", **more: str) -> list[str]:
            command = [sys.executable, "-c", LOADS, f"hf://org/cubes{below}", json.dumps(options())]
            env = {**os.environ, **hub.environment(tmp_path / "home", **more)}
            done = subprocess.run(command, capture_output=True, text=True, env=env, timeout=300, check=False)
            assert done.returncode == 0, done.stderr
            return done.stdout.splitlines()

        said = loads()
        listed = ["checkpoint-5000-best-loss_0.02", "999", "5000", "10000"]
        assert said == [f"{listed} hf://org/cubes@{commit}/{listed[0]} cubes", "n1.6"]
        assert not [name for name, *_ in hub.asked if name.endswith((".pt", ".pth"))], "the optimiser stays there"
        assert loads("/checkpoint-999")[0] == f"['999'] hf://org/cubes@{commit}/checkpoint-999 cubes"
        asked = len(hub.asked)
        assert loads(HF_HUB_OFFLINE="1") == said
        assert len(hub.asked) == asked


def renamed(folder: Path) -> Path:
    """As a fork writes it, whose classes have other names."""
    path = folder / "config.json"
    path.write_text(json.dumps({"architectures": ["MyGr00t"]}))
    path = folder / "processor_config.json"
    if path.exists():
        path.write_text(json.dumps({**json.loads(path.read_text()), "processor_class": "MyProcessor"}))
    return folder


def source(run: Path, generation: str, told: str | None) -> ModelSource:
    given = {**options(generation), "generation": told}
    return from_flags(Plugins.discover(), vendor="gr00t", checkpoints_dir=str(run), loader_options=given)


@pytest.mark.parametrize("generation", ["n1.5", "n1.6", "n1.7"])
def test_of_which_generation_it_is_can_be_told_where_no_file_names_it(tmp_path: Path, generation: str) -> None:
    run = write_run(tmp_path / "run", {1: 0.25, 2: 0.75}, generation)
    for folder in run.iterdir():
        renamed(folder)

    told = source(run, generation, generation)
    found = told.default()
    assert [checkpoint.id for checkpoint in told.registry.checkpoints()] == ["1", "2"]
    assert (found.extras["generation"], found.extras["embodiment_tag"]) == (generation, TAG)
    assert "state.ee_pose" in found.inputs
    told.codec.resolve(found, {})
    policy = told.loader.load(found, lambda _: None, ALONE)
    assert policy.meta["warmed_up"]
    policy.close()
    untold = source(run, generation, None)
    assert [checkpoint.id for checkpoint in untold.registry.checkpoints()] == ["1", "2"]
    with pytest.raises(LoadFailed, match=r"names a model_type \['MyGr00t'\].*say which \(--generation\)"):
        untold.default()


def test_what_was_told_and_has_no_such_files_says_which(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", {1: 0.25})
    renamed(run / "checkpoint-1")
    with pytest.raises(ConfigurationError, match=r"experiment_cfg/metadata\.json is missing"):
        source(run, "n1.5", "n1.5").default()
