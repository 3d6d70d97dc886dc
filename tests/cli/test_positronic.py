"""What ``positronic-inference`` takes is taken by ``run`` and ``check``, as Positronic's documents write it."""

import json
import re
import sys

import numpy as np
import pytest
from offboard_client.cli import from_positronic, main
from offboard_client.plugins import UsageError
from offboard_core import InferenceServer
from offboard_process import in_process, offboard
from plugin_dists import write_plugin
from scripted_server import OFFBOARD, ScriptedServer

LOCAL = "--policy=local:lerobot"


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("--policy=.remote", "localhost"),
        ("--policy .remote --policy.host gpu", "gpu"),
        ("--policy=@positronic.cfg.policy.remote --policy.host=gpu --policy.port=9000", "gpu:9000"),
        ("--policy.host=gpu", "gpu"),
        ("--policy.port=9000", "localhost:9000"),
        ("--policy.host=::1 --policy.port=9000", "[::1]:9000"),
        ("--policy.host=[::1] --policy.port=9000", "[::1]:9000"),
        ("--policy.host=wss://gpu/a", "wss://gpu/a"),
        ("--policy=.remote --policy.model_id=None --policy.resize=None", "localhost"),
        ("--policy=.remote --policy.model-id=10000", "localhost --model-id=10000"),
        ("--policy.model_id=--json --policy.host=gpu", "gpu --model-id=--json"),
        ("gpu:9000 --policy=.remote --policy.resize=64 --json", "--resize=64 gpu:9000 --json"),
        ("--json --policy.host=gpu --seed 3", "gpu --json --seed 3"),
        ("--policy=.act_absolute --policy.base.checkpoints_dir=~/x", f"{LOCAL} --codec=ee --checkpoints-dir=~/x"),
        (
            "--policy=@positronic.cfg.policy.act_absolute --policy.codec=@positronic.vendors.lerobot.codecs.joints",
            f"{LOCAL} --codec=@positronic.vendors.lerobot.codecs.joints",
        ),
        (
            "x --driver=.timed --driver.simulation-time=60 --driver.num_iterations 10",
            "x --driver=timed --seconds=60 --episodes=10",
        ),
        ("x --driver=@positronic.inference.keyboard --driver.task=go", "x --driver=keyboard --task=go"),
        ("x --driver.show_gui=False", "x"),
        ("x --driver=.eval_ui --driver.ui_scale=1.5", "x --driver=eval_ui --page-scale=1.5"),
        ("x --driver.show_gui --json", "x --json --show-gui"),
        # What is ours stays as it is.
        ("x --driver keyboard --policy local:a", "x --driver keyboard --policy local:a"),
        ("x --driver=timed --task=--policy=.remote", "x --driver=timed --task=--policy=.remote"),
        ("--policy=@os.system", "--policy=@os.system"),
    ],
)
def test_what_is_theirs_is_ours(theirs, ours):
    assert from_positronic("run", ["sim", *theirs.split()]) == ["sim", *ours.split()]


@pytest.mark.parametrize("arguments", [[], ["--help"], ["--policy=.remote", "--policy.host=x"], ["sim", "x", "--json"]])
def test_what_is_not_theirs_or_about_no_robot_stays_as_it_is(arguments):
    assert from_positronic("run", arguments) == arguments


@pytest.mark.parametrize(
    ("theirs", "says"),
    [
        ("--policy=.remot", "there is no policy '.remot' of Positronic's here; did you mean .remote? there are: "),
        ("x --driver=@positronic.drivers.gamepad", "there is no driver '@positronic.drivers.gamepad' of Positronic's"),
        ("--policy.hots=x", "there is no option 'hots' of Positronic's policy .remote; did you mean host?"),
        ("x --driver.numiterations=2", "of Positronic's drivers; did you mean num_iterations?"),
        ("--policy=.act_absolute --policy.host=x", "there is no option 'host' of Positronic's policy .act_absolute"),
        ("x --policy=.remote --policy.host=y", "the server is given twice: leave x away"),
        ("--policy.host=x:1 --policy.port=2", "--policy.host=x:1 says a port or a scheme already"),
        ("--policy.host --json", "--policy.host needs a value"),
        ("--policy.host=x --policy.host=y", "--policy.host is given twice"),
        ("--policy=local:x --policy.base.checkpoint=1", "--policy.base.checkpoint is about a policy of Positronic's"),
        ("--policy=local:x --policy=.remote", "--policy is about a policy of Positronic's, and --policy local:x is"),
    ],
)
def test_what_is_not_here_is_named(theirs, says):
    with pytest.raises(UsageError) as raised:
        from_positronic("run", ["sim", *theirs.split()])
    assert says in str(raised.value)


def test_check_takes_the_policy_and_no_driver():
    assert from_positronic("check", ["sim", "--policy=.remote"]) == ["sim", "localhost"]
    with pytest.raises(UsageError, match=r"offboard check plays nothing: leave --driver\.num_iterations away"):
        from_positronic("check", ["sim", "--policy=.remote", "--driver.num_iterations=2"])


@pytest.mark.parametrize("name", ["@os.system", "@antigravity.x", "@positronic.antigravity.remot"])
def test_nothing_that_is_named_is_imported(name, monkeypatch, capsys):
    monkeypatch.delitem(sys.modules, "antigravity", raising=False)
    assert main(["run", "sim", f"--policy={name}"]) in (1, 2)
    assert f"there is no policy '{name}'" in capsys.readouterr().err
    assert "antigravity" not in sys.modules


def test_real_lists_the_robots_and_the_line_to_type():
    done = in_process("run", "real", "--policy=.remote", "--policy.host=gpu-server", "--output_dir=~/logs")
    assert (done.returncode, done.stdout) == (2, "")
    assert re.search(r"^  sim +The simulated arm", done.stderr, re.MULTILINE)
    assert done.stderr.splitlines()[-1].endswith(": offboard run NAME gpu-server '--output_dir=~/logs'")
    assert in_process("check", "real").stderr.splitlines()[-1].endswith(": offboard check NAME HOST:PORT")


def test_a_robot_that_is_called_real_is_one(tmp_path):
    entry = "from offboard_client.robots import RobotEntry\nrobot = RobotEntry(summary='Mine.', factory='nowhere:x')"
    write_plugin(tmp_path, "real", entry, group="offboard.robots", attr="robot")
    assert "nowhere" in in_process("run", "real", "x", path=tmp_path).stderr


def still(seen):
    def policy(observation):
        seen.append({name: value.shape for name, value in observation.items() if name.startswith("image.")})
        return [{"target_joints": np.array(observation["robot_state.q"])}] * 2

    return policy


@pytest.mark.parametrize(("resize", "side"), [(["--policy.resize=32"], 32), ([], 224)])
def test_a_line_of_theirs_is_played(resize, side, capsys):
    seen = []
    with InferenceServer({"a": lambda: still([]), "b": lambda: still(seen)}, port=0, fps=10) as server:
        theirs = f"--policy=.remote --policy.host=127.0.0.1 --policy.port={server.port} --policy.model_id=b"
        length = "--driver.simulation_time=0.4 --driver.num_iterations=2"
        assert main(["run", "sim", *theirs.split(), *resize, *length.split(), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["episodes"], report["failures"]) == (2, {})
    assert {max(shape) for shapes in seen for shape in shapes.values()} == {side}


def test_the_keyboard_of_theirs_needs_a_terminal():
    done = offboard("run", "sim", "--policy=.remote", "--policy.port=1", "--driver=.keyboard")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("offboard: the keyboard driver needs a terminal")


def test_without_pillow_images_go_as_they_are_and_a_line_says_so(monkeypatch, capsys):
    monkeypatch.setattr("offboard_client.cli.run_options.find_spec", lambda name: None)
    for sizes in ([64, 64], None):
        with ScriptedServer(lambda peer, sizes=sizes: peer.ready({**OFFBOARD, "image_sizes": sizes})) as server:
            main(["check", "sim", f"127.0.0.1:{server.port}"])
        said = "images go to the server as large as they are: to shrink them here takes Pillow: pip install"
        assert (said in capsys.readouterr().err) == (sizes is not None)
    assert main(["run", "sim", "127.0.0.1:1", "--resize", "32"]) == 1
    assert "--resize needs Pillow: pip install 'offboard-client[images]'" in capsys.readouterr().err
