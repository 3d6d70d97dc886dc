"""Robots of other distributions: found by name, imported for whoever wants them, and broken for nobody else."""

from __future__ import annotations

import json
import re
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from offboard_client.cli import parse_run
from offboard_client.errors import ConfigurationError
from offboard_client.play import Patience
from offboard_client.robots import Robot, Task, choose_robot, list_robots, make_robot, make_task
from offboard_core import InferenceServer, declare
from offboard_process import in_process
from plugin_dists import write_plugin

LIGHT = """
    import dataclasses
    from offboard_client.robots import RobotEntry
    it = RobotEntry(summary="An arm.", {})
"""
ARM = """
    import dataclasses
    import numpy as np
    from offboard_client.robots import Channel, Robot, RobotEntry, RobotSpec

    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Options:
        port: str = "/dev/ttyACM0"
        '''Where the arm is plugged in.'''
        slow: bool = False

        def __post_init__(self):
            if not self.port:
                raise ValueError("no port")

    class Arm(Robot):
        spec = RobotSpec(measures={"robot_state.q": Channel(shape=(2,))}, plays={"target_joints": Channel(shape=(2,))},
                         control_period=0.05, simulated=True)
        realtime = False
        def __init__(self, port, part):
            self.port, self.part, self.calls = port, part, []
        def connect(self):
            print("connected", self.port, self.part)
        def observe(self):
            return {"robot_state.q": np.zeros(2)}
        def apply(self, action, seconds):
            pass
        def stop(self):
            print("stopped")
        def close(self):
            print("closed")

    def options(part):
        return Options

    def make(options, part=None):
        return Arm(options.port, part)

    it = RobotEntry(summary="An arm.", factory=make, options=Options)
    parted = RobotEntry(summary="Arms.", factory=make, options=options, part="KIND")
"""
ANYWHERE = ["--limits.workspace-low", "None", "--limits.workspace-high", "None"]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(tmp_path))

    def install(name: str, source: str, attr: str = "it", **more: str) -> Path:
        return write_plugin(tmp_path, name, source, group="offboard.robots", attr=attr, **more)

    yield install
    for name in [name for name in sys.modules if "_plugin_of_" in name]:
        del sys.modules[name]


def test_the_simulated_arm_is_found_like_any_other() -> None:
    (point,) = entry_points(group="offboard.robots", name="sim")
    (row,) = [row for row in list_robots() if row.name == "sim"]
    assert row.entry is point.load()
    assert row.provider.startswith("offboard-client ")
    sim = choose_robot("sim")
    robot = make_robot(sim, sim.options()())
    assert isinstance(robot, Robot)
    assert isinstance(make_task(sim, robot, None), Task)


def test_another_distributions_robot_is_driven_with_its_own_options(install, tmp_path: Path) -> None:
    install("arm", ARM)
    helped = in_process("run", "arm", "--help", path=tmp_path)
    assert "--port STR" in helped.stdout
    assert "Where the arm is plugged in." in helped.stdout
    with InferenceServer(
        {"stay": lambda: lambda seen: {"target_joints": seen["robot_state.q"]}}, port=0, fps=10
    ) as server:
        done = in_process(
            "run", "arm", f"127.0.0.1:{server.port}", "--port", "COM3", "--slow=True", "--seconds", "0.2", *ANYWHERE,
            path=tmp_path,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("connected COM3 None\nstopped\nstopped\nclosed\n")
    assert "0 of 1 episodes" in done.stdout
    assert "episode 1/1 (seed 0): over after 0.2 s" in done.stderr


def test_what_a_robot_measures_and_plays_is_shown_without_connecting_it(install, tmp_path: Path) -> None:
    install("arm", ARM)
    shown = in_process("robots", "arm", "--port", "COM3", path=tmp_path)
    assert (shown.returncode, shown.stderr) == (0, "")
    for row in (r"robot_state.q +│ \(2\)", r"target_joints +│ \(2\)", r"every 0\.05 s \(20 Hz\)"):
        assert re.search(row, shown.stdout), shown.stdout
    assert "connected" not in shown.stdout
    assert "closed" not in shown.stdout.splitlines()
    data = json.loads(in_process("robots", "arm", "--json", path=tmp_path).stdout)
    assert data.pop("limits")["joint_velocity"] == 2.0
    nothing = {"dtype": "float64", "unit": None, "frame": None, "order": [], "rate": None, "low": None, "high": None}
    assert data == {
        "name": "arm", "summary": "An arm.", "provider": "dist-arm 1.0", "control_period": 0.05,
        "max_skew": None, "stale_after": None, "simulated": True,
        "measures": {"robot_state.q": {"shape": [2], **nothing}}, "plays": {"target_joints": {"shape": [2], **nothing}},
    }  # fmt: skip
    assert in_process("robots", "arm", "--port=", path=tmp_path).returncode == 2
    assert in_process("robots", "fly", path=tmp_path).returncode == 1


LIMITS = """
joint_velocity = 0.5
workspace_low = "none"
workspace_high = "none"

[ladder]
safe_after = 1.0

[home]
target_joints = [0.0, 0.0]
"""


def test_what_is_no_simulation_is_not_driven_without_its_limits(install, tmp_path: Path) -> None:
    install("arm", ARM.replace(", simulated=True", ""))
    (tmp_path / "arm.toml").write_text(LIMITS)
    limits = ["--limits", str(tmp_path / "arm.toml")]
    with InferenceServer(
        {"stay": lambda: lambda seen: {"target_joints": seen["robot_state.q"]}}, port=0, fps=10
    ) as server:
        line = "run", "arm", f"127.0.0.1:{server.port}", "--seconds", "0.2"
        refused = in_process(*line, *ANYWHERE, path=tmp_path)
        assert (refused.returncode, refused.stdout) == (2, "")
        assert "arm is no simulation, and no file says what it may be sent: --limits FILE" in refused.stderr
        done = in_process(*line, *limits, path=tmp_path)
        assert (done.returncode, "0 of 1 episodes" in done.stdout) == (0, True), done.stderr
        wider = in_process(*line, *limits, "--limits.joint-velocity", "0.6", path=tmp_path)
        assert (wider.returncode, wider.stdout) == (2, "")
        assert "joint_velocity is 0.5 in" in wider.stderr
        assert in_process(*line, *limits, "--limits.joint-velocity", "0.4", path=tmp_path).returncode == 0
        checked = in_process("check", "arm", f"127.0.0.1:{server.port}", *limits, path=tmp_path)
        assert checked.returncode == 0, checked.stderr
        assert re.search(r"joint_velocity +0\.5 rad/s\n", checked.stdout), checked.stdout
        data = json.loads(
            in_process("check", "arm", f"127.0.0.1:{server.port}", *limits, "--json", path=tmp_path).stdout
        )
        assert (data["fits"], data["limits"]["home"]) == (True, {"target_joints": [0.0, 0.0]})


def test_limits_that_cannot_be_held_are_found_by_a_check(install, tmp_path: Path) -> None:
    install("arm", ARM)
    (tmp_path / "arm.toml").write_text("joint_velocity = 0.5")
    with InferenceServer({"stay": declare(action={"target_joints": (2,)})(lambda seen: {})}, port=0, fps=10) as server:
        done = in_process(
            "check", "arm", f"127.0.0.1:{server.port}", "--limits", str(tmp_path / "arm.toml"), path=tmp_path
        )
    assert done.returncode == 1
    assert "the workspace cannot be held for target_joints" in done.stderr


def test_a_robots_limits_are_shown_and_so_is_that_there_are_none(install, tmp_path: Path) -> None:
    install("arm", ARM.replace(", simulated=True", ""))
    (tmp_path / "arm.toml").write_text(LIMITS)
    limits = ["--limits", str(tmp_path / "arm.toml")]
    shown = in_process("robots", "arm", path=tmp_path)
    assert "`offboard run` needs its limits, --limits FILE" in shown.stdout + shown.stderr
    assert json.loads(in_process("robots", "arm", "--json", path=tmp_path).stdout)["limits"] is None
    shown = in_process("robots", "arm", *limits, path=tmp_path)
    for row in (
        r"what it may be sent \(.*arm\.toml\)", r"joint_velocity +0\.5 rad/s\n", r"workspace_low +none\n",
        r"ladder +safe_after 1\.0 s, fault_after 10\.0 s\n", r"home +target_joints \(0\.0, 0\.0\) rad\n",
    ):  # fmt: skip
        assert re.search(row, shown.stdout), shown.stdout
    data = json.loads(in_process("robots", *limits, "--json", "arm", path=tmp_path).stdout)["limits"]
    assert (data["joint_velocity"], data["ladder"]["safe_after"]) == (0.5, 1.0)
    (tmp_path / "other.toml").write_text("joint_velocity = [0.5, 0.5, 0.5]")
    other = in_process("robots", "arm", "--limits", str(tmp_path / "other.toml"), path=tmp_path)
    assert (other.returncode, "joint_velocity states 3 joints, the robot has 2" in other.stderr) == (1, True)
    refused = in_process("robots", *limits, path=tmp_path)
    assert (refused.returncode, "limits are those of one robot" in refused.stderr) == (2, True)


def test_a_files_ladder_and_limits_are_defaults_that_the_help_shows(tmp_path: Path) -> None:
    (tmp_path / "arm.toml").write_text("linear_velocity = 0.125\n[ladder]\nsafe_after = 1.75")
    line = "sim", "127.0.0.1", "--limits", str(tmp_path / "arm.toml")
    assert "(default: 0.125)" in in_process("run", *line, "--help").stdout
    parsed = parse_run(line)
    assert parsed is not None
    assert (parsed.limits.limits.linear_velocity, parsed.limits.patience) == (0.125, Patience(1.75, 10.0))
    parsed = parse_run([*line, "--patience.safe-after", "3", "--limits.linear-velocity=0.1", "--chunks", "prefetch"])
    assert parsed is not None
    assert (parsed.limits.limits.linear_velocity, parsed.limits.patience) == (0.1, Patience(3.0, 10.0))
    assert parsed.run.playing.chunks == "prefetch"
    parsed = parse_run(["sim", "127.0.0.1"])
    assert parsed is not None
    assert (parsed.limits.file, parsed.limits.patience) == (None, Patience())


def test_a_robot_that_does_not_say_what_it_is_cannot_be_had(install) -> None:
    install("arm", ARM.replace("spec = RobotSpec", "other = RobotSpec"))
    arm = choose_robot("arm")
    with pytest.raises(ConfigurationError, match=r"^arm: the robot of dist-arm 1\.0 has no spec; RobotSpec\("):
        make_robot(arm, arm.options()())


def test_an_instruction_without_a_task_is_told_and_nobody_judges(install) -> None:
    install("arm", ARM)
    arm = choose_robot("arm")
    task = make_task(arm, make_robot(arm, arm.options()()), "fold the towel")
    task.reset(3)
    assert (task.instruction, task.succeeded()) == ("fold the towel", None)


def test_a_name_may_have_a_part_which_chooses_the_options(install, tmp_path: Path) -> None:
    install("arms", ARM, attr="parted")
    chosen = choose_robot("arms:so101:left")
    assert str(chosen) == "arms:so101:left"
    robot = make_robot(chosen, chosen.options()(port="COM4"))
    assert (robot.port, robot.part) == ("COM4", "so101:left")
    assert "--port STR" in in_process("run", "arms:so101", "--help", path=tmp_path).stdout
    assert make_robot(choose_robot("arms"), chosen.options()()).part is None


def test_help_and_listings_import_no_robots_library(install, tmp_path: Path) -> None:
    library = tmp_path / "heavy_robot_library.py"
    library.write_text("raise AssertionError('imported')")
    install("heavy", LIGHT.format("factory='heavy_robot_library:make', options='heavy_robot_library:Options'"))
    listed = in_process("run", "--help", path=tmp_path)
    assert listed.returncode == 0
    assert re.search(r"^  heavy +An arm\. \(dist-heavy 1\.0\)", listed.stdout, re.MULTILINE)
    assert in_process("--help", path=tmp_path).returncode == 0
    assert "mujoco" not in in_process("run", "sim", "--help", path=tmp_path).stderr
    refused = in_process("run", "heavy", "x", path=tmp_path)
    assert refused.returncode == 1
    assert refused.stderr == (
        "offboard: heavy: the options 'heavy_robot_library:Options' of dist-heavy 1.0 cannot be imported: "
        "AssertionError: imported\n"
    )


BROKEN = {
    "raises": ("raise RuntimeError('no\\n CAN bus')", "RuntimeError: no\n CAN bus"),
    "leaves": ("raise SystemExit(3)", "SystemExit: 3"),
    "lacks": ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
    "another": ("it = 3", "TypeError: another_plugin_of_dist_another:it is no RobotEntry"),
    "lines": (
        "from offboard_client.robots import RobotEntry\nit = RobotEntry(summary='An\\narm.', factory='a:b')",
        "TypeError: the summary of lines_plugin_of_dist_lines:it is 'An\\narm.'; expected one line of text",
    ),
    "nothing": ("", "AttributeError: module 'nothing_plugin_of_dist_nothing' has no attribute 'it'"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_robot_is_a_row_with_its_cause_and_an_error_for_who_asks_for_it(name: str, install) -> None:
    source, cause = BROKEN[name]
    install(name, source)
    install("arm", ARM)
    rows = {row.name: row for row in list_robots()}
    assert (rows[name].entry, rows[name].cause) == (None, cause)
    assert rows["arm"].entry is not None
    assert choose_robot("arm").provider == "dist-arm 1.0"
    with pytest.raises(ConfigurationError) as raised:
        choose_robot(name)
    todo = "Install what it imports here" if name == "lacks" else "Mend it"
    assert raised.value.text == (
        f"the robot {name!r} cannot be had: dist-{name} 1.0 is broken: {cause}. {todo}, or another version of it, or "
        "uninstall it"
    )
    helped = in_process("run", "--help")
    assert helped.returncode == 0
    assert f"cannot be used (dist-{name} 1.0): {cause.partition(chr(10))[0]}"[:110] in helped.stdout


def test_options_that_a_program_makes_are_checked_as_those_of_a_command_line(install) -> None:
    install("arm", ARM)
    arm = choose_robot("arm")
    options = arm.options()
    says = r"^the option 'slow' of arm of dist-arm 1\.0 expects true or false, not 1$"
    with pytest.raises(ConfigurationError, match=says):
        make_robot(arm, options(slow=1))
    with pytest.raises(ConfigurationError, match=r"the option 'port' of arm .* expects text, not 3"):
        make_robot(arm, options(port=3))
    assert isinstance(make_robot(arm, options(port="COM3", slow=True)), Robot)


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ("fly", "there is no robot 'fly'; there are: arm, droid, gymnasium:ID, "),
        ("sin", "there is no robot 'sin'; did you mean sim?"),
        ("sim:it", "there is no robot 'sim:it'; say sim, without anything after a colon"),
        ("arm:", "there is no robot 'arm:'; say arm, without anything after a colon"),
    ],
)
def test_a_robot_that_there_is_not_is_told_with_those_there_are(asked: str, says: str, install) -> None:
    install("arm", ARM)
    with pytest.raises(ConfigurationError) as raised:
        choose_robot(asked)
    assert str(raised.value).startswith(says)


def test_two_robots_of_one_name_are_told_apart_by_nobody(install) -> None:
    install("arm", ARM)
    install("arm", ARM, dist="other")
    with pytest.raises(ConfigurationError, match=r"^several packages bring the robot arm: dist-arm 1\.0, other 1\.0$"):
        choose_robot("arm")


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        (
            "factory='nowhere:make'",
            "arm: the factory 'nowhere:make' of dist-arm 1.0 cannot be imported: ModuleNotFound",
        ),
        ("factory=lambda options: 3", "arm: the factory of dist-arm 1.0 made a int, which is no Robot"),
        (
            "factory=lambda options: 1 / 0",
            "arm: the factory of dist-arm 1.0 failed: ZeroDivisionError: division by zero",
        ),
        ("factory=exit", "arm: the factory of dist-arm 1.0 failed: SystemExit"),
        ("factory=3, options=3", "arm: the options of dist-arm 1.0 are 3, which is no dataclass"),
        ("factory=3, options=exit, part='X'", "arm: the options of dist-arm 1.0 failed: SystemExit"),
        (
            "factory=3, options=dataclasses.make_dataclass('O', [('a', 'Nope', 1)])",
            "arm: the types of the options types.O of dist-arm 1.0 cannot be had: NameError: name 'Nope'",
        ),
        (
            "factory=3, options=dataclasses.make_dataclass("
            "'O', [('a', int, dataclasses.field(default_factory=lambda: {}['a']))])",
            "the options of the robot arm of dist-arm 1.0 cannot be made: KeyError: 'a'",
        ),
        (
            "factory=3, options=dataclasses.make_dataclass("
            "'O', [('a', int, 1)], namespace={'__post_init__': lambda self: {}['b']})",
            "the options of the robot arm of dist-arm 1.0 cannot be made: KeyError: 'b'",
        ),
    ],
)
def test_an_entry_with_anything_wrong_in_it_is_its_packages_fault(
    entry: str, says: str, install, tmp_path: Path
) -> None:
    install("arm", LIGHT.format(entry))
    done = in_process("run", "arm", "127.0.0.1:1", path=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"offboard: {says}")


def test_options_that_the_robot_refuses_are_wrong_usage(install, tmp_path: Path) -> None:
    install("arm", ARM)
    done = in_process("run", "arm", "x", "--port", "", path=tmp_path)
    assert (done.returncode, done.stderr) == (2, "offboard: offboard run arm refuses its options: no port\n")


def test_an_option_that_is_the_runs_own_is_refused_with_whose_it_is(install, tmp_path: Path) -> None:
    install("arm", ARM.replace("slow: bool", "seed: bool"))
    done = in_process("run", "arm", "x", path=tmp_path)
    assert done.returncode == 1
    assert "the robot arm of dist-arm 1.0 declares an option that offboard run has already: seed" in done.stderr


def test_a_robot_that_cannot_be_connected_ends_the_run_before_a_policy_is_asked(install, tmp_path: Path) -> None:
    install("arm", ARM.replace('print("connected", self.port, self.part)', 'raise OSError("no such port")'))
    done = in_process("run", "arm", "127.0.0.1:1", path=tmp_path)
    assert (done.returncode, done.stdout) == (1, "closed\n")
    assert done.stderr == "offboard: the robot failed in connect: OSError: no such port\n"


@pytest.mark.parametrize("call", ["stop", "close"])
def test_one_that_cannot_be_let_go_of_behind_its_last_episode_is_told_with_the_report(
    install, tmp_path: Path, call: str
) -> None:
    """``stop`` at its second time: the first is the end of the episode."""
    first = "self.calls.append(1); self.calls[1:] and " if call == "stop" else ""
    said = {"stop": "stopped", "close": "closed"}[call]
    install("arm", ARM.replace(f'print("{said}")', f"{first}exec('raise OSError(\"brake\")')"))
    with InferenceServer({"stay": lambda: lambda seen: None}, port=0, fps=10) as server:
        line = "run", "arm", f"127.0.0.1:{server.port}", "--seconds", "0.2", *ANYWHERE
        done = in_process(*line, "--json", path=tmp_path)
        shown = in_process(*line, path=tmp_path)
    report = json.loads(done.stdout.splitlines()[-1])
    assert (report["episodes"], report["failures"]) == (1, {})
    assert report["afterwards"] == ["robot_failed", f"the robot failed in {call}: OSError: brake"]
    for each in (done, shown):
        assert each.returncode == 1
        assert f"after the last episode: robot_failed: the robot failed in {call}: OSError: brake" in each.stderr
    assert re.search(rf"afterwards +│ robot_failed: the robot failed in {call}: OSError: brake", shown.stdout)


def test_a_robot_that_fails_midway_has_its_report(install, tmp_path: Path) -> None:
    install("arm", ARM.replace('"robot_state.q": np.zeros(2)', '"robot_state.q": 1 / 0'))
    with InferenceServer({"stay": lambda: lambda seen: None}, port=0, fps=10) as server:
        done = in_process(
            "run", "arm", f"127.0.0.1:{server.port}", "--json", "--episodes", "3", *ANYWHERE, path=tmp_path
        )
    assert done.returncode == 1
    report = json.loads(done.stdout.splitlines()[-1])
    assert report["failures"] == {"robot_failed": 1}
    assert "robot_failed: the robot failed in observe: ZeroDivisionError: division by zero" in done.stderr
    assert done.stdout.splitlines()[:-1] == ["connected /dev/ttyACM0 None", "stopped", "stopped", "closed"]
