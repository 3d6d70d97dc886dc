"""Every way in which a start fails says the likely cause, the next step, and how openpi's log ends."""

from types import SimpleNamespace

import numpy as np
import pytest
from lying_openpi import Liar
from offboard_client.errors import BadParameter, ConfigurationError, LoadFailed
from offboard_client.plugins import build
from offboard_core.process import take_port
from offboard_core.types import NO_CONTEXT, Checkpoint
from offboard_openpi.checkout import config_names, script
from offboard_openpi.diagnosis import explain_serving
from offboard_openpi.loader import OpenPILoader
from offboard_openpi.options import OpenPIOptions
from offboard_openpi.registry import OpenPIRegistry
from openpi_standin import STANDIN, options, write_step


def loader(**more):
    given = more if "attach" in more else options(**more)
    return OpenPILoader(build(OpenPIOptions, given, "the vendor openpi", ConfigurationError))


def loading(step, report=lambda _: None, **more):
    [checkpoint] = OpenPIRegistry(str(step)).checkpoints()
    return loader(**more).load(checkpoint, report)


@pytest.mark.parametrize(
    ("says", "cause", "step"),
    [
        ("RESOURCE_EXHAUSTED: Out of memory allocating 8 GB", "not enough memory", "--gpu-memory-fraction 0.5"),
        ("User-requested restore: tree structures do not match", "do not fit the config", "--config-name"),
        ("Anonymous caller does not have storage.objects.get access", "PaliGemma tokenizer", "OPENPI_DATA_HOME"),
        ("No space left on device", "the disk is full", "free some"),
        ("something that nobody has seen before", "the log above says why", "starts by hand"),
    ],
)
def test_a_child_that_exits_is_explained(tmp_path, says, cause, step):
    with pytest.raises(LoadFailed) as caught:
        loading(write_step(tmp_path / "7", start_error=says))
    text = caught.value.text
    assert text.startswith("OpenPI subprocess exited with code 1. The end of its log:\n")
    assert f"RuntimeError: {says}" in text
    assert cause in text
    assert step in text


def test_statistics_of_another_config(tmp_path):
    with pytest.raises(LoadFailed, match=r"hold no statistics under the asset id that the config pi05_libero asks for"):
        loading(write_step(tmp_path / "7", "lerobot"), config_name="pi05_libero")


def test_a_config_that_cannot_be_served(tmp_path):
    with pytest.raises(LoadFailed, match=r"Asset id is required[\s\S]*names no data set"):
        loading(write_step(tmp_path / "7"), config_name="debug")


def test_a_first_inference_that_fails_is_a_load_that_fails(tmp_path):
    step = write_step(tmp_path / "7", first_error="shape mismatch in the first layer")
    with pytest.raises(LoadFailed, match=r"failed its first inference.*shape mismatch.*\n.*do not fit the config"):
        loading(step)


def test_a_start_that_takes_too_long(tmp_path, monkeypatch):
    step, passed = write_step(tmp_path / "7", start_seconds=600), [0.0]
    monkeypatch.setattr("offboard_core.process.child.time", SimpleNamespace(monotonic=lambda: passed[0]))

    def report(line):
        passed[0] = 60.5 if "Loading model..." in line else 0.0

    with pytest.raises(LoadFailed) as caught:
        loading(step, report)
    assert "OpenPI subprocess did not become ready within 60 s" in caught.value.text
    assert "Loading model..." in caught.value.text
    assert "--startup-timeout" in caught.value.text


def test_two_servers_never_wait_on_one_port():
    """Nobody listens while a model loads: whoever is ready first would answer for both."""
    port, guard = take_port(0, "openpi")
    with guard, pytest.raises(LoadFailed, match=rf"port {port} is another offboard server's"):
        take_port(port, "openpi")
    again, guard = take_port(port, "openpi")
    guard.close()
    assert again == port


def test_a_command_that_does_not_exist(tmp_path):
    with pytest.raises(LoadFailed, match="there is no program 'no-such-program' here; say with --openpi-command"):
        loading(write_step(tmp_path / "7"), openpi_command="no-such-program")
    with pytest.raises(LoadFailed, match=r"bin/python: No such file[\s\S]*correct --openpi-command"):
        loading(write_step(tmp_path / "8"), openpi_command=str(tmp_path / "bin" / "python"))
    uv = explain_serving(
        "exited with code 127. The end of its log:\nuv: No such file or directory", config="", folder="", root=""
    )
    assert "pip install uv" in uv.text


def test_openpi_is_not_there(tmp_path, monkeypatch):
    step = write_step(tmp_path / "7")
    with pytest.raises(LoadFailed, match=r"openpi is not at .*nowhere.*Physical-Intelligence/openpi.*OPENPI_ROOT"):
        loading(step, openpi_root=str(tmp_path / "nowhere"), openpi_command=None)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.delenv("OPENPI_ROOT", raising=False)
    assert OpenPIOptions().root == tmp_path / "openpi"
    monkeypatch.setenv("OPENPI_ROOT", str(STANDIN))
    assert OpenPIOptions().root == STANDIN


def test_the_command_line_of_the_real_script():
    path = str(STANDIN / "scripts" / "serve_policy.py")
    command = ["uv", "run", "--frozen", "--project", str(STANDIN), "--", "python", path]
    assert script(STANDIN, None, "serve_policy.py") == command
    assert script(STANDIN / "not-here", "docker run --rm 'my openpi' python", "train.py") == [
        "docker", "run", "--rm", "my openpi", "python", "scripts/train.py",
    ]  # fmt: skip


def test_a_config_that_the_checkout_lacks_lists_those_it_has(tmp_path):
    step = write_step(tmp_path / "7")
    assert config_names(STANDIN) == sorted(config_names(STANDIN))
    with pytest.raises(LoadFailed, match=r"no config 'pi05_driod'; Did you mean .*pi05_droid.*It has: debug, my"):
        loading(step, config_name="pi05_driod")
    training = tmp_path / "openpi" / "src" / "openpi" / "training"
    (training / "misc").mkdir(parents=True)
    (tmp_path / "openpi" / "scripts").mkdir()
    (tmp_path / "openpi" / "scripts" / "serve_policy.py").touch()
    (training / "config.py").write_text("_CONFIGS = [TrainConfig(name='pi0_droid'), *more.get()]\nname='no'")
    (training / "misc" / "more.py").write_text("def get():\n    return [_config.TrainConfig(name='pi0_polaris')]")
    assert config_names(tmp_path / "openpi") == ["pi0_droid", "pi0_polaris"]
    with pytest.raises(LoadFailed, match=r"Positronic-Robotics/openpi, branch main-positronic.*It has: pi0_droid"):
        loading(step, openpi_root=str(tmp_path / "openpi"))
    assert config_names(tmp_path) is None


def test_a_checkpoint_that_vanished_after_it_was_listed(tmp_path):
    checkpoint = Checkpoint(id="7", location=str(tmp_path / "7"))
    with pytest.raises(LoadFailed, match=r"no complete checkpoint: it cannot be read.*params/"):
        loader().load(checkpoint, lambda _: None)


def test_nobody_to_attach_to():
    attaching = loader(attach="ws://127.0.0.1:9")
    attaching.check(attaching.standalone_checkpoint())
    with pytest.raises(LoadFailed, match=r"no server to attach to: ws://127\.0\.0\.1:9[\s\S]*--attach") as caught:
        attaching.load(attaching.standalone_checkpoint(), lambda _: None)
    assert caught.value.permanent


def test_who_was_there_to_attach_to_may_come_back():
    with Liar(lambda peer: None) as liar:
        attaching = loader(attach=liar.url, config_name="nobody_knows")
        attaching.load(attaching.standalone_checkpoint(), lambda _: None).close()
    with pytest.raises(LoadFailed, match="no server to attach to") as caught:
        attaching.load(attaching.standalone_checkpoint(), lambda _: None)
    assert not caught.value.permanent


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"openpi_root": "/nowhere", "openpi_command": None}, "openpi is not at /nowhere"),
        (
            {"openpi_command": "no-such-program -u"},
            "there is no program 'no-such-program' here; say with",
        ),
        ({"config_name": "pi05_driod"}, "has no config 'pi05_driod'"),
    ],
)
def test_what_can_never_start_is_seen_before_the_server_listens(tmp_path, wrong, reason):
    [checkpoint] = OpenPIRegistry(str(write_step(tmp_path / "7"))).checkpoints()
    with pytest.raises(LoadFailed, match=reason) as caught:
        loader(**wrong).check(checkpoint)
    assert caught.value.permanent
    loader().check(checkpoint)


def test_without_uv_it_is_named(tmp_path, monkeypatch):
    [checkpoint] = OpenPIRegistry(str(write_step(tmp_path / "7"))).checkpoints()
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LoadFailed, match=r"there is no program 'uv' here; install it \(pip install uv\), or say with"):
        loader(openpi_command=None).check(checkpoint)


@pytest.mark.parametrize(
    ("log", "permanent"),
    [
        ("Traceback …\nModuleNotFoundError: No module named 'openpi'\n", True),
        ("error: Failed to download `jax`: dns error", False),
        ("ImportError: optional\nRESOURCE_EXHAUSTED: Out of memory", False),
        ("ImportError: optional\nConnectionError: reset by peer", False),
        ("bash: /x/python: No such file or directory", True),
        ("OpenPI subprocess was killed by SIGKILL", False),
        ("did not become ready within 900 s", False),
    ],
)
def test_only_what_no_other_start_can_mend_ends_the_server(log, permanent):
    assert explain_serving(log, config="", folder="", root="").permanent is permanent


def test_what_was_recorded_rules_over_the_config_name(tmp_path):
    step = write_step(tmp_path / "run" / "7")
    (tmp_path / "run" / "offboard.json").write_text('{"codec": "openpi.ee", "config_name": "pi05_positronic_lowmem"}')
    [checkpoint] = OpenPIRegistry(str(step)).checkpoints()
    assert checkpoint.recorded["codec"] == "openpi.ee"
    with pytest.raises(ConfigurationError, match=r"asks for pi05_droid, .* was trained with pi05_positronic_lowmem"):
        loader(config_name="pi05_droid").enrich(checkpoint)


def test_the_statistics_tell_the_width_that_the_checkpoint_was_trained_with(tmp_path):
    from offboard_openpi.arm import ArmOptions, ee, ee_joints

    [checkpoint] = OpenPIRegistry(str(write_step(tmp_path / "7", width=15))).checkpoints()
    described = loader().enrich(checkpoint)
    assert described.inputs["observation/state"].shape == (15,)
    ee_joints(ArmOptions(), described)
    with pytest.raises(
        LoadFailed, match=r"makes observation/state \(8,\), and the checkpoint was trained with \(15,\)"
    ):
        ee(ArmOptions(), described)
    policy = loader().load(checkpoint, lambda _: None)
    try:
        made = ee_joints(ArmOptions(), described).encode(robot_of_arm())
        assert len(policy.new_session(policy.params()).infer(made, NO_CONTEXT)) == 50
    finally:
        policy.close()


def robot_of_arm():
    from openpi_standin import robot

    return robot() | {"robot_state.q": np.zeros(7)}


@pytest.mark.parametrize(
    "option",
    [
        {"openpi_ws_port": 70000},
        {"startup_timeout": 0.0},
        {"openpi_timeout": -1.0},
        {"openpi_timeout": 1e12},
        {"gpu_memory_fraction": 1.5},
        {"restarts": -1},
        {"attach": "http://127.0.0.1:8000"},
        {"attach": "127.0.0.1:8000"},
        {"attach": "ws://127.0.0.1:99999"},
        {"attach": "ws://:8000"},
        {"openpi_command": " "},
        {"openpi_command": "docker 'run"},
        {"gpu_memory_fraction": 0.5, "attach": "ws://127.0.0.1:8000"},
        {"openpi_ws_port": 8001, "attach": "ws://127.0.0.1:8000"},
    ],
)
def test_options_that_make_no_sense_are_refused(option):
    with pytest.raises(BadParameter, match=next(iter(option))):
        build(OpenPIOptions, option, "the vendor openpi", BadParameter)


def test_there_is_one_replica_where_there_is_one_address():
    assert loader().max_replicas is None, "each has a child and a free port of its own"
    assert loader(openpi_ws_port=8123).max_replicas == 1
    assert loader(attach="ws://127.0.0.1:8123").max_replicas == 1
