"""What `offboard serve` recommends can be done with the model that it serves."""

import pytest
from offboard_client.robots import connected
from offboard_client.robots.sim import SPEC, SimRobot
from offboard_core import CodecMeta, Field
from offboard_core.cli import ServeOptions, announce, fits_simulation

PLAYED = {"target_pose": Field(shape=(7,)), "target_grip": Field(shape=(1,))}
SEEN = {"robot_state.q": Field(shape=(7,)), "image.front": Field(required=False)}


@pytest.mark.parametrize(
    ("meta", "fits"),
    [
        (CodecMeta(observation=SEEN, action=PLAYED, action_fps=15.0), True),
        (CodecMeta(observation=SEEN, action=PLAYED), False),
        (CodecMeta(observation=SEEN, action={}, action_fps=15.0), False),
        (CodecMeta(observation=SEEN, action={"action": Field()}, action_fps=15.0), False),
        (CodecMeta(observation={"observation.state": Field()}, action=PLAYED, action_fps=15.0), False),
    ],
)
def test_the_simulated_arm_is_recommended_for_what_it_can_play(meta, fits):
    assert fits_simulation(meta) is fits


@pytest.mark.parametrize("simulated", [True, False])
def test_the_banner(simulated, capsys):
    announce(ServeOptions(), ["m"], {}, "127.0.0.1", 8000, simulated=simulated, listeners={})
    shown = capsys.readouterr().out
    assert ("offboard run sim 127.0.0.1:8000" in shown) is simulated
    assert ("offboard probe 127.0.0.1:8000" in shown) is not simulated


def test_the_banner_names_the_default_of_several_and_where_it_runs(capsys):
    ids = [f"m{i}" for i in range(9)]
    for models, where in [(ids, "in the environment arm-1.0"), (["m"], None)]:
        announce(
            ServeOptions(), models, {}, "::1", 8000, default=models[0], runs_in=where, simulated=True, listeners={}
        )
    several, one = capsys.readouterr().out.split("listening on")[1:]
    assert " with m4, m5, m6, m7, m8 and 4 more; the default is m0\n" in several
    assert "  m0 runs in a process of its own, in the environment arm-1.0\n" in several
    assert "default" not in one
    assert "process of its own" not in one


def test_the_banner_fits_80_columns_with_another_protocol(capsys):
    announce(ServeOptions(), ["m"], {"openpi": ("/", "/openpi/policy", "/v1/realtime/robot/openpi")}, "127.0.0.1", 8000,
             simulated=True, listeners={"gr00t": ("127.0.0.1", 5555)})  # fmt: skip
    shown = capsys.readouterr().out.splitlines()
    assert "  scripts: POST http://127.0.0.1:8000/act" in shown
    assert "  openpi: ws://127.0.0.1:8000/ (or /openpi/policy, /v1/realtime/robot/openpi)" in shown
    assert "  gr00t: 127.0.0.1:5555" in shown
    assert max(map(len, shown)) <= 80


@pytest.mark.parametrize("where", ["a file", "the environment", None])
def test_the_banner_says_that_a_token_is_wanted(where, tmp_path, monkeypatch, capsys):
    if where == "the environment":
        monkeypatch.setenv("OFFBOARD_AUTH_TOKEN", "s3cret")
    options = ServeOptions(auth_token_file=tmp_path / "token" if where == "a file" else None)
    announce(options, ["m"], {}, "127.0.0.1", 8000, simulated=True, listeners={})
    shown = capsys.readouterr().out
    assert ("all with its token: OFFBOARD_AUTH_TOKEN, --auth-token-file, or auth_token=" in shown) is (
        where is not None
    )
    assert "s3cret" not in shown


def test_the_names_are_those_of_the_simulated_arm():
    with connected(SimRobot()) as robot:
        assert robot.observe().keys() == SPEC.measures.keys()
