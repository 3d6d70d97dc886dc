"""What a command of ``offboard`` is.

An installed package adds a command by an entry point of the group ``offboard.commands`` that points at a
:class:`Command`. The module with that object is imported for ``offboard --help``, so it stays light; the work is
in the module that ``run`` names.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .entry_points import import_attr


@dataclass(frozen=True)
class Command:
    """A command: ``offboard NAME …``.

    ``summary``: one line for the help. ``run``: ``"module:attr"`` of a function that takes the arguments after the
    name and returns the exit status; it raises an :class:`~offboard_client.errors.kinds.OffboardError` for what went
    wrong and :class:`UsageError` for arguments that make no sense.
    """

    name: str
    summary: str
    run: str

    def load(self) -> Callable[[list[str]], int]:
        """The function behind the command. Raises ImportError."""
        return import_attr(self.run)


class UsageError(Exception):
    """The command line makes no sense: one sentence about it. The exit status is 2."""
