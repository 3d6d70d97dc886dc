"""What ``offboard export --to positronic`` is; told without its libraries."""

from __future__ import annotations

from .entries import ExportEntry

positronic = ExportEntry(
    summary="A data set of Positronic's own: signals at the times at which they were recorded.",
    factory="offboard_client.exports.positronic_set:open_positronic_set",
    options="offboard_client.exports.positronic_set:PositronicSetOptions",
)
