"""Finding, listing and describing openpi checkpoints costs no model library, and nothing that talks to a network."""

import subprocess
import sys

from openpi_standin import STANDIN, write_run

PROGRAM = """
import sys
from offboard_core.plugins import CODEC, LOADER, REGISTRY, Plugins
from offboard_core.catalog import from_flags

plugins = Plugins.discover()
[row] = [row for row in plugins.rows() if row.provider.name == "openpi"]
assert row.cause is None, row.cause
assert row.offers[LOADER] == row.offers[REGISTRY] == ("openpi",)
names = "ee ee_joints ee_traj ee_joints_traj joints_traj droid droid_jointpos libero aloha native"
assert row.offers[CODEC] == tuple(f"openpi.{name}" for name in names.split())
options = {"openpi_root": sys.argv[2], "openpi_command": sys.executable}
source = from_flags(plugins, checkpoints_dir=sys.argv[1], loader_options=options)
checkpoint = source.default()
assert checkpoint.id == "2000"
assert source.codec.resolve(checkpoint, {}).name == "openpi.ee"
heavy = {"torch", "jax", "lerobot", "transformers", "huggingface_hub", "fsspec", "s3fs", "PIL"} & sys.modules.keys()
assert not heavy, heavy
"""


def test_discovery_listing_and_codecs_import_no_model_library(tmp_path):
    run = write_run(tmp_path / "run", {1000: 0.25, 2000: 0.75})
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(run), str(STANDIN)],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
