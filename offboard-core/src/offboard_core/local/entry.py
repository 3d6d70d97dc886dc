"""Core's policy without a server, as ``offboard run ROBOT --policy local:VENDOR`` finds it."""

from __future__ import annotations

from offboard_client.play import PolicyEntry

local = PolicyEntry(
    summary=(
        "A vendor's policy in this process; VENDOR and --codec.NAME VALUE as for `offboard serve`, and behind it "
        "?NAME=VALUE as in a session's URL."
    ),
    factory="offboard_core.local:open_local",
    options="offboard_core.local:local_options",
    part="VENDOR",
    dotted="codec",
)
