"""What openpi's processes learn of the server's environment."""

import json

import pytest
from offboard_client.cli import main
from offboard_client.errors import BadParameter, ConfigurationError, LoadFailed
from offboard_client.plugins import build
from offboard_openpi.diagnosis import explain_serving, explain_training
from offboard_openpi.loader import OpenPILoader
from offboard_openpi.options import OpenPIOptions
from offboard_openpi.registry import OpenPIRegistry
from openpi_standin import PYTHON, STANDIN, options, write_step

SECRETS = {"OFFBOARD_AUTH_TOKEN", "AWS_SECRET_ACCESS_KEY", "HF_TOKEN", "UV_INDEX_MINE_PASSWORD", "WANDB_API_KEY"}
NEEDED = {"OPENPI_DATA_HOME", "JAX_COMPILATION_CACHE_DIR", "HF_HOME", "UV_CACHE_DIR"}


@pytest.fixture
def telling(tmp_path, monkeypatch):
    """A command that tells which variables it sees, instead of running openpi's script."""
    for name in (*SECRETS, *NEEDED, "PYTHONPATH"):
        monkeypatch.setenv(name, str(tmp_path))
    program = tmp_path / "tell.py"
    program.write_text(
        f"import json, os\njson.dump(sorted(os.environ), open({str(tmp_path / 'seen')!r}, 'w'))\nraise SystemExit(3)\n"
    )
    return f"{PYTHON} {program}"


def seen_below(tmp_path):
    return set(json.loads((tmp_path / "seen").read_text()))


def served(tmp_path, command, **more):
    [checkpoint] = OpenPIRegistry(str(write_step(tmp_path / "7"))).checkpoints()
    made = build(OpenPIOptions, options(openpi_command=command, **more), "openpi", ConfigurationError)
    with pytest.raises(LoadFailed, match="exited with code 3"):
        OpenPILoader(made).load(checkpoint, lambda _: None)
    return seen_below(tmp_path)


def test_a_server_gets_openpis_own_variables_and_no_secret(tmp_path, telling):
    seen = served(tmp_path, telling)
    assert seen >= NEEDED
    assert not seen & {*SECRETS, "PYTHONPATH"}


def test_what_openpi_env_names_comes_too(tmp_path, telling):
    seen = served(tmp_path, telling, openpi_env=["HF_TOKEN", "PYTHONPATH"])
    assert seen & {*SECRETS, "PYTHONPATH"} == {"HF_TOKEN", "PYTHONPATH"}


@pytest.mark.parametrize("more", [[], ["--openpi-env", "HF_TOKEN"]])
def test_training_may_report_and_gets_no_other_secret(tmp_path, telling, more):
    (tmp_path / "data" / "meta").mkdir(parents=True)
    (tmp_path / "data" / "meta" / "info.json").write_text("{}")
    arguments = ["stats", "--vendor=openpi", f"--openpi-root={STANDIN}", f"--openpi-command={telling}", *more]
    assert main([*arguments, f"--input-path={tmp_path / 'data'}", f"--output-path={tmp_path / 'o'}"]) == 1
    seen = seen_below(tmp_path)
    assert seen >= NEEDED
    assert seen & SECRETS == {"WANDB_API_KEY", *(["HF_TOKEN"] if more else [])}


@pytest.mark.parametrize(
    ("names", "says"), [(["A=b"], "holds 'A=b', expected names"), (["NOT_SET_ANYWHERE"], "NOT_SET_ANYWHERE, which")]
)
def test_a_name_that_cannot_be_passed_is_refused(names, says):
    with pytest.raises(BadParameter, match=says):
        build(OpenPIOptions, {"openpi_env": names}, "the vendor openpi", BadParameter)


@pytest.mark.parametrize(
    "says", ["KeyError: 'MY_ROBOT_HOME'", "huggingface_hub.errors.GatedRepoError: 401 Client Error"]
)
def test_a_variable_that_openpi_misses_is_explained(says):
    told = [
        explain_serving(says, config="", folder="", root=""),
        explain_training(says, script="", config="", data="", root=""),
    ]
    assert all("name it with --openpi-env" in error.text for error in told)
