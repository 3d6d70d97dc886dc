"""Every way in which a start fails says the likely cause, the next step, and how GR00T's log ends."""

import re
import shlex
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from gr00t_standin import PYTHON, STANDIN, options, write_checkpoint
from offboard_client.errors import BadParameter, ConfigurationError, LoadFailed
from offboard_client.plugins import build
from offboard_core.catalog import read_models
from offboard_core.cli import parse_serve
from offboard_core.plugins import Plugins
from offboard_core.process import free_port
from offboard_core.types import Checkpoint
from offboard_gr00t.checkout import server
from offboard_gr00t.diagnosis import explain_serving
from offboard_gr00t.generation import Generation
from offboard_gr00t.loader import GR00TLoader
from offboard_gr00t.options import GR00TOptions
from offboard_gr00t.registry import GR00TRegistry


def loader(generation="n1.6", **more):
    given = more if "attach" in more else options(generation, **more)
    return GR00TLoader(build(GR00TOptions, given, "the vendor gr00t", ConfigurationError))


def loading(step, report=lambda _: None, generation="n1.6", **more):
    [checkpoint] = GR00TRegistry(str(step)).checkpoints()
    made = loader(generation, **more)
    return made.load(made.enrich(checkpoint), report)


def explained(log, generation="n1.6"):
    values = {"generation": generation, "tag": "gr1", "tags": "new_embodiment, gr1", "folder": "/ck", "root": "/gr00t"}
    return explain_serving(log, script="gr00t/eval/run_gr00t_server.py", **values)


@pytest.mark.parametrize(
    ("says", "cause", "step"),
    [
        ("No module named 'flash_attn'", "flash-attn is not in GR00T's environment", "GR00T's README names"),
        ("CUDA out of memory. Tried to allocate 2 GiB", "not enough memory", "nvidia-smi"),
        ("something that nobody has seen before", "the log above says why", "starts by hand"),
    ],
)
def test_a_child_that_exits_is_explained(tmp_path, says, cause, step):
    with pytest.raises(LoadFailed) as caught:
        loading(write_checkpoint(tmp_path / "checkpoint-7", start_error=says))
    text = caught.value.text
    assert text.startswith("GR00T subprocess exited with code 1. The end of its log:\n")
    assert f"RuntimeError: {says}" in text
    assert cause in text
    assert step in text


@pytest.mark.parametrize(
    ("log", "cause", "permanent"),
    [
        ("ImportError: FlashAttention2 has been toggled on, but it cannot be used", "flash-attn is not in", True),
        (
            "ValueError: ('No metadata found for embodiment tag: gr1', 'make sure",
            "do not have the embodiment gr1",
            True,
        ),
        (
            "error: argument --embodiment-tag: invalid choice: 'X' (choose from GR1)",
            "has new_embodiment, gr1|have new",
            True,
        ),
        ("ValueError: Invalid data_config 'so101'. Available options: []", "no such data config", True),
        ("RuntimeError: No CUDA GPUs are available", "no GPU that it can use", False),
        ("ImportError: cannot import name 'Qwen3VLModel' from 'transformers'", "transformers in GR00T's", True),
        ("model type `Gr00tN1d7` but Transformers does not recognize this architecture", "the checkout is of", True),
        ("FileNotFoundError: No such file or directory: '/ck/statistics.json'", "lacks statistics", False),
        ("zmq.error.ZMQError: Address already in use", "another process has the port", False),
        ("run_gr00t_server.py: error: unrecognized arguments: --denoise 3", "does not know one of the arg", True),
        ("OSError: GatedRepoError: 401 Client Error", "name it with --gr00t-env", False),
        ("ModuleNotFoundError: No module named 'gr00t'", "GR00T's environment is not complete", True),
        ("bash: /x/python: No such file or directory", "correct --gr00t-python or --gr00t-command", True),
        ("size mismatch for action_head", "the weights do not fit", False),
        ("GR00T subprocess was killed by SIGKILL", "it was killed", False),
        ("did not become ready within 900 s", "the first start may be slow", False),
    ],
)
def test_a_log_becomes_a_likely_cause(log, cause, permanent):
    error = explained(log)
    assert re.search(cause, error.text), error.text
    assert error.permanent is permanent


def test_statistics_are_called_as_the_generation_calls_them():
    log = "FileNotFoundError: No such file or directory: 'metadata.json'"
    assert "experiment_cfg/metadata.json" in explained(log, "n1.5").text


def test_a_first_inference_that_fails_is_a_load_that_fails(tmp_path):
    step = write_checkpoint(tmp_path / "checkpoint-7", first_error="size mismatch in the first layer")
    with pytest.raises(
        LoadFailed, match=r"failed its first inference.*size mismatch.*it was asked get_action with.*\n"
    ):
        loading(step)


def test_a_server_that_has_loaded_another_model_is_not_served(tmp_path):
    step = write_checkpoint(tmp_path / "checkpoint-7", other="another_camera")
    with pytest.raises(LoadFailed, match="another_camera"):
        loading(step)


def test_an_embodiment_that_the_checkpoint_lacks(tmp_path):
    step = write_checkpoint(tmp_path / "checkpoint-7")
    with pytest.raises(ConfigurationError, match=r"no embodiment 'gr1'.*it has: new_embodiment"):
        loading(step, embodiment_tag="gr1")


def test_n1_5_without_a_data_config(tmp_path):
    step = write_checkpoint(tmp_path / "checkpoint-7", "n1.5")
    with pytest.raises(ConfigurationError, match=r"is of N1.5, .*say --data-config"):
        loading(step, generation="n1.5", data_config=None)
    with pytest.raises(LoadFailed, match="no such data config"):
        loading(step, generation="n1.5", data_config="so101")


def test_a_modality_config_of_later_generations_is_nothing_to_n1_5(tmp_path):
    step = write_checkpoint(tmp_path / "checkpoint-7", "n1.5")
    says = "is of n1.5, whose data config says what it reads: leave --modality-config-path away"
    with pytest.raises(LoadFailed, match=says) as caught:
        loading(step, generation="n1.5", modality_config_path="mine.py")
    assert caught.value.permanent


def test_a_data_config_that_was_recorded_is_used_and_rules(tmp_path):
    step = write_checkpoint(tmp_path / "checkpoint-7", "n1.5")
    (step / "offboard.json").write_text('{"data_config": "examples.arm:Arm"}')
    loading(step, generation="n1.5", data_config=None).close()
    with pytest.raises(ConfigurationError, match=r"asks for so100_dualcam, .* was trained with examples\.arm:Arm"):
        loading(step, generation="n1.5", data_config="so100_dualcam")


def test_a_class_that_only_a_download_names_is_not_imported(tmp_path):
    step = write_checkpoint(tmp_path / "checkpoint-7", "n1.5")
    (step / "offboard.json").write_text('{"data_config": "examples.arm:Arm"}')
    [checkpoint] = GR00TRegistry(str(step)).checkpoints()
    far = replace(checkpoint, location="s3://runs/cubes/checkpoint-7")
    with pytest.raises(ConfigurationError, match=r"GR00T would import that; .*say so: --data-config examples\.arm:Arm"):
        loader("n1.5", data_config=None).enrich(far)
    loader("n1.5", data_config="examples.arm:Arm").enrich(far)
    named = replace(far, recorded={"data_config": "so100_dualcam"})
    loader("n1.5", data_config=None).enrich(named)


def test_an_argument_that_the_script_does_not_know(tmp_path):
    with pytest.raises(LoadFailed, match=r"unrecognized arguments: --denoise 3[\s\S]*correct --gr00t-args"):
        loading(write_checkpoint(tmp_path / "checkpoint-7"), gr00t_args="--denoise 3")


def test_a_command_that_does_not_exist(tmp_path):
    step = write_checkpoint(tmp_path / "checkpoint-7")
    with pytest.raises(LoadFailed, match="there is no program 'no-such-program' here; say with --gr00t-python"):
        loading(step, gr00t_command="no-such-program")
    with pytest.raises(LoadFailed, match=r"there is no program .*bin/python: name the interpreter of GR00T"):
        loading(step, gr00t_command=None, gr00t_python=str(tmp_path / "bin" / "python"))


def test_the_interpreter_of_gr00ts_environment_runs_it(tmp_path):
    for generation in ("n1.5", "n1.6"):
        step = write_checkpoint(tmp_path / generation / "checkpoint-7", generation)
        loading(step, generation=generation, gr00t_command=None, gr00t_python=sys.executable).close()


def test_gr00ts_arguments_are_read_as_the_page_writes_them():
    """Without the equals sign what begins with dashes would be an option of ours."""
    page = (Path(__file__).parents[2] / "docs" / "how-to" / "serve-gr00t.md").read_text("utf-8")
    [written] = re.findall(r"`(--gr00t-args=.+?)`", page)
    words = ["--vendor", "gr00t", "--checkpoints-dir", "x", *shlex.split(written)]
    assert parse_serve(words, Plugins.discover()).vendor.words == ["--denoising-steps", "8"]


def test_gr00t_is_not_there(tmp_path, monkeypatch):
    step = write_checkpoint(tmp_path / "checkpoint-7")
    with pytest.raises(LoadFailed, match=r"GR00T is not at .*nowhere.*NVIDIA/Isaac-GR00T.*GR00T_ROOT"):
        loading(step, gr00t_root=str(tmp_path / "nowhere"), gr00t_command=None)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.delenv("GR00T_ROOT", raising=False)
    assert GR00TOptions().root == tmp_path / "Isaac-GR00T"
    monkeypatch.setenv("GR00T_ROOT", str(STANDIN))
    assert GR00TOptions().root == STANDIN


def checkout(root, *files):
    for name in files:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def test_what_runs_gr00ts_server(tmp_path):
    own = checkout(tmp_path / "one", "gr00t/eval/run_gr00t_server.py", ".venv/bin/python")
    path = str(own / "gr00t" / "eval" / "run_gr00t_server.py")
    assert server(own, Generation.N1_7, None, None) == [str(own / ".venv" / "bin" / "python"), path]
    docker = server(tmp_path / "none", Generation.N1_6, None, f"{PYTHON} run --rm 'my gr00t' python")
    assert docker[1:] == ["run", "--rm", "my gr00t", "python", "gr00t/eval/run_gr00t_server.py"]
    locked = checkout(tmp_path / "two", "gr00t/eval/run_gr00t_server.py", "uv.lock")
    if shutil.which("uv") is not None:
        uv = ["uv", "run", "--frozen", "--project", str(locked), "--", "python"]
        assert server(locked, Generation.N1_6, None, None)[:-1] == uv
    with pytest.raises(ConfigurationError, match=r"no \.venv and no uv\.lock\. Say with --gr00t-python"):
        server(checkout(tmp_path / "three", "scripts/inference_service.py"), Generation.N1_5, None, None)


def test_an_interpreter_is_looked_for_where_it_was_typed_and_before_the_server_listens(tmp_path, monkeypatch):
    """GR00T itself runs elsewhere. Links stay: Python knows its environment by where it was started."""
    root = checkout(tmp_path / "gr00t", "gr00t/eval/run_gr00t_server.py")
    (tmp_path / "env" / "bin").mkdir(parents=True)
    own = tmp_path / "env" / "bin" / "python"
    own.symlink_to(sys.executable)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for said in ("env/bin/python", "./env", "env/", str(own), "~/env/bin/python"):
        assert server(root, Generation.N1_6, said, None)[0] == str(own)
    [checkpoint] = GR00TRegistry(str(write_checkpoint(tmp_path / "checkpoint-7"))).checkpoints()
    (tmp_path / "empty").mkdir()
    for said in ("/nonexistent/python", "gr00t/bin/python", "./empty", "gr00t/gr00t/eval/run_gr00t_server.py"):
        made = loader(gr00t_root=str(root), gr00t_command=None, gr00t_python=said)
        with pytest.raises(LoadFailed, match=f"--gr00t-python says {said}, and there is no program /") as caught:
            made.check(checkpoint)
        assert caught.value.permanent


def test_a_bare_name_of_an_interpreter_is_path_s_even_where_a_folder_is_called_so(tmp_path, monkeypatch):
    root = checkout(tmp_path / "gr00t", "gr00t/eval/run_gr00t_server.py")
    bare = Path(sys.executable).name
    for name in (bare, "no-such-env"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=":")
    assert server(root, Generation.N1_6, bare, None)[0] == bare
    with pytest.raises(ConfigurationError, match=r"no program 'no-such-env' here; .*slash in it: \./no-such-env"):
        server(root, Generation.N1_6, "no-such-env", None)


def test_paths_of_a_models_toml_are_relative_to_it(tmp_path, monkeypatch):
    checkout(tmp_path / "there" / "co", "gr00t/eval/run_gr00t_server.py")
    (tmp_path / "there" / "env" / "bin").mkdir(parents=True)
    (tmp_path / "there" / "env" / "bin" / "python").symlink_to(sys.executable)
    write_checkpoint(tmp_path / "there" / "run" / "checkpoint-7")
    options = 'options = { gr00t_root = "co", gr00t_python = "./env", gr00t_args = "a/b" }'
    (tmp_path / "there" / "models.toml").write_text(f'[a]\nvendor = "gr00t"\ncheckpoints_dir = "run"\n{options}\n')
    monkeypatch.chdir(tmp_path)
    source = read_models(Path("there/models.toml"), Plugins.discover())["a"]
    source.default()  # checks it
    (tmp_path / "there" / "co").rename(tmp_path / "co")
    with pytest.raises(LoadFailed, match=r"GR00T is not at .*there/co"):
        source.default()


def test_a_data_config_is_n1_5s(tmp_path):
    [checkpoint] = GR00TRegistry(str(write_checkpoint(tmp_path / "checkpoint-7"))).checkpoints()
    with pytest.raises(LoadFailed, match=r"--data-config is N1.5's, and the checkpoint 7 is of n1.6, .* leave --data"):
        loader(data_config="so100").check(checkpoint)


@pytest.mark.parametrize(
    ("files", "generation", "there"),
    [
        (["scripts/inference_service.py"], Generation.N1_6, "n1.5"),
        (["gr00t/eval/run_gr00t_server.py"], Generation.N1_5, "n1.6 and n1.7"),
        (["gr00t/eval/run_gr00t_server.py", "gr00t/model/gr00t_n1d6/setup.py"], Generation.N1_7, "n1.6"),
        (["gr00t/eval/run_gr00t_server.py", "gr00t/model/gr00t_n1d7/setup.py"], Generation.N1_6, "n1.7"),
    ],
)
def test_a_checkout_of_another_generation_is_seen_before_the_server_listens(tmp_path, files, generation, there):
    root = checkout(tmp_path / "gr00t", *files)
    step = write_checkpoint(tmp_path / "checkpoint-7", generation.value)
    [checkpoint] = GR00TRegistry(str(step)).checkpoints()
    made = loader(generation.value, gr00t_root=str(root), gr00t_command=None)
    with pytest.raises(LoadFailed, match=f"serves {there}, and the checkpoint is {generation.value}") as caught:
        made.check(checkpoint)
    assert caught.value.permanent
    loader(generation.value).check(checkpoint)


def test_a_checkpoint_that_vanished_after_it_was_listed(tmp_path):
    checkpoint = Checkpoint(id="7", location=str(tmp_path / "7"))
    with pytest.raises(LoadFailed, match="no complete checkpoint"):
        loader().load(checkpoint, lambda _: None)


def test_nobody_to_attach_to():
    attaching = loader(attach=f"tcp://127.0.0.1:{free_port()}")
    checkpoint = attaching.standalone_checkpoint()
    attaching.check(checkpoint)
    with pytest.raises(LoadFailed, match=r"no server to attach to: tcp://127\.0\.0\.1:\d+[\s\S]*--attach") as caught:
        attaching.load(checkpoint, lambda _: None)
    assert caught.value.permanent


@pytest.mark.parametrize(
    "option",
    [
        {"gr00t_port": 70000},
        {"startup_timeout": 0.0},
        {"gr00t_timeout": 1e12},
        {"restarts": -1},
        {"generation": "n1"},
        {"attach": "http://127.0.0.1:5555"},
        {"attach": "127.0.0.1:5555"},
        {"attach": "tcp://127.0.0.1:99999"},
        {"attach": "tcp://:5555"},
        {"gr00t_command": " "},
        {"gr00t_command": "docker 'run"},
        {"gr00t_args": "--port 7"},
        {"gr00t_args": "--model_path=/x"},
        {"gr00t_args": "--http-server"},
        {"gr00t_args": "'"},
        {"modality_config": "ee_rel"},
        {"gr00t_python": "python", "gr00t_command": "python"},
        {"gr00t_port": 8001, "attach": "tcp://127.0.0.1:5555"},
        {"gr00t_args": "--no-strict", "attach": "tcp://127.0.0.1:5555"},
        {"data_config": "examples.arm:Arm", "attach": "tcp://127.0.0.1:5555"},
    ],
)
def test_options_that_make_no_sense_are_refused(option):
    with pytest.raises(BadParameter, match=next(iter(option))):
        build(GR00TOptions, option, "the vendor gr00t", BadParameter)


def test_there_is_one_replica_where_there_is_one_address():
    assert loader().max_replicas is None, "each has a child and a free port of its own"
    assert loader(gr00t_port=8123).max_replicas == 1
    assert loader(attach="tcp://127.0.0.1:8123").max_replicas == 1
    assert Path(STANDIN).is_dir()


def test_a_modality_config_that_the_files_contradict(tmp_path):
    [checkpoint] = GR00TRegistry(str(write_checkpoint(tmp_path / "checkpoint-7"))).checkpoints()
    made = loader(modality_config="ee")
    made.check(checkpoint)
    assert made.enrich(checkpoint).extras["modality_config"] == "ee"
    with pytest.raises(LoadFailed, match=r"--modality-config ee \(the variant ee\).*not trained with .* ee_rot6d_q"):
        loader(modality_config="ee_rot6d_q").check(checkpoint)
