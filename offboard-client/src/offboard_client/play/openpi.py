"""The policy of a stock openpi server, as ``offboard run ROBOT --policy openpi://HOST:PORT`` finds it."""

from __future__ import annotations

from .policy import PolicyEntry

openpi = PolicyEntry(
    summary="That of a stock openpi server, whose keys, columns and rate the options say.",
    factory="offboard_client.session:open_openpi",
    options="offboard_client.session:OpenPIOptions",
    part="//HOST:PORT",
)
