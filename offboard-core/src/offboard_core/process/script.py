"""A command that is run to its end, as a vendor's training is."""

from __future__ import annotations

from collections.abc import Callable

from offboard_client.errors import ConfigurationError, OffboardError

from ..types import ReportProgress
from .child import Child

#: Seconds between two looks at what runs.
_LOOK = 0.25


def run_to_end(
    child: Child,
    report: ReportProgress,
    explain: Callable[[str], OffboardError],
    watch: Callable[[], None] = lambda: None,
) -> None:
    """Wait until ``child`` has ended, and report its last line meanwhile.

    ``explain``: the error for how it ended, with the end of its log. ``watch``: called now and then while it runs, and
    once when it has ended. Raises ConfigurationError with that error's text where the status is not 0; the child is
    stopped whatever happens.
    """
    try:
        while not child.wait(_LOOK):
            watch()
            report(child.last_line or f"{child.name} is starting")
        watch()
        if child.status() != 0:
            raise ConfigurationError(explain(child.death()).text)
        report(child.last_line)
    finally:
        child.stop()
