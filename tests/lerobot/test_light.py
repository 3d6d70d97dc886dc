"""Finding, listing and describing LeRobot checkpoints costs no torch, and needs no LeRobot."""

import subprocess
import sys

from lerobot_checkpoints import write_files
from offboard_process import in_process

PROGRAM = """
import sys
from importlib.util import find_spec
from offboard_core.plugins import CODEC, FRONTEND, LOADER, REGISTRY, Plugins
from offboard_core.catalog import from_flags

plugins = Plugins.discover()
[row] = [row for row in plugins.rows() if row.provider.name == "lerobot"]
assert row.cause is None, row.cause
assert row.offers[LOADER] == row.offers[REGISTRY] == ("lerobot",)
names = ["native", "motors", "ee", "joints", "ee_traj", "joints_traj"]
assert row.offers[CODEC] == tuple(f"lerobot.{name}" for name in names), row.offers[CODEC]
source = from_flags(plugins, checkpoints_dir=sys.argv[1])
assert source.vendor == "lerobot"
checkpoint = source.registry.default()
if find_spec("lerobot"):
    assert source.default() == checkpoint
assert checkpoint.id == "000100"
assert source.codec.resolve(checkpoint, {}).name == "lerobot.native"
for name in row.offers[CODEC]:
    given = {"units": "degrees", "names": tuple("abcdefgh")} if name == "lerobot.motors" else {}
    assert plugins.get(CODEC, name).make(plugins.get(CODEC, name).options()(**given), checkpoint).features
assert row.offers[FRONTEND] == ("lerobot.pathon",)
frontend = plugins.get(FRONTEND, "lerobot.pathon")
assert frontend.make(frontend.options()())
heavy = {"torch", "lerobot", "safetensors", "transformers", "jax", "huggingface_hub"} & sys.modules.keys()
assert not heavy, heavy
"""


def test_discovery_listing_and_codecs_import_no_model_library(tmp_path):
    write_files(tmp_path / "checkpoints" / "000100" / "pretrained_model")
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path)], capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stderr


def test_an_arm_without_lerobot_says_what_to_install(monkeypatch):
    for name in ("arm", "config"):
        monkeypatch.delitem(sys.modules, f"offboard_lerobot_robots.{name}", raising=False)
    monkeypatch.setitem(sys.modules, "lerobot.robots", None)
    for command in (("robots", "lerobot:so101_follower"), ("run", "lerobot:so101_follower", "127.0.0.1:9")):
        done = in_process(*command)
        assert done.returncode == 1
        assert "an arm of LeRobot needs LeRobot here (" in done.stderr
        assert "): pip install 'offboard-lerobot[lerobot]', and what drives its motors" in done.stderr
    assert "lerobot:TYPE" in in_process("robots").stdout


def test_an_environment_without_lerobot_is_told_before_anything_listens(tmp_path):
    """A worker's; the server's own is another, with LeRobot or without."""
    write_files(tmp_path / "m")
    python = tmp_path / "python"
    lacks = '[ "$3" = lerobot ] && echo Python 3.12.1 && echo lacks lerobot && exit'
    python.write_text(f'#!/bin/sh\n{lacks}\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    done = in_process(
        "serve", "--checkpoints-dir", str(tmp_path / "m"), "--python", str(python), "--port", "0", "--json"
    )
    assert (done.returncode, done.stdout) == (1, "")
    said = f"the environment of {python} lacks lerobot, which models of the vendor lerobot import: "
    assert (
        f"{said}{python} -m pip install 'lerobot>=0.4.4,<0.7'; or give --env auto (models.toml: "
        'env = "auto") in place of --python' in done.stderr
    )
