"""The commands that core adds to ``offboard``. Imported for ``offboard --help``: declarations only."""

from __future__ import annotations

from offboard_client.plugins import Command

serve = Command("serve", "Serve a policy: any vendor's, any robot.", "offboard_core.cli.serve:run")
plugins = Command("plugins", "List the plugins, what they offer, and what is wrong.", "offboard_core.cli.plugins:run")
envs = Command("envs", "List the environments that models run in, make or remove one.", "offboard_core.cli.envs:run")
codecs = Command("codecs", "List the codecs, or show what one reads, makes and takes.", "offboard_core.cli.codecs:run")
convert = Command(
    "convert", "Make a data set for training of recordings, through a codec.", "offboard_core.cli.convert:run"
)
stats = Command(
    "stats",
    "Compute what training needs to know of a data set.",
    "offboard_core.cli.train:stats",
)
train = Command("train", "Train a policy in its vendor's environment.", "offboard_core.cli.train:train")
demo = Command("demo", "Serve the scripted policy and run the simulated arm against it.", "offboard_core.cli.demo:run")
