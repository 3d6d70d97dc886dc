"""The commands that core adds to ``offboard``. Imported for ``offboard --help``: declarations only."""

from __future__ import annotations

from offboard_client.commands import Command

serve = Command("serve", "Serve a policy: any vendor's, any robot.", "offboard_core._cli.serve:run")
plugins = Command("plugins", "List the plugins, what they offer, and what is wrong.", "offboard_core._cli.plugins:run")
codecs = Command("codecs", "List the codecs: what they read, make and take.", "offboard_core._cli.codecs:run")
demo = Command("demo", "Serve the scripted policy and run the simulated arm against it.", "offboard_core._demo:run")
