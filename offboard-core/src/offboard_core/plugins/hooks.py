"""The hooks a plugin may implement, one of each kind: each takes nothing and yields entries.

A plugin is a module named by an entry point of the group ``offboard``; the entry point's name is the
plugin's name, the vendor's name and the prefix of what it offers::

    from offboard_core import LoaderEntry, hookimpl

    @hookimpl
    def offboard_checkpoint_loaders():
        yield LoaderEntry(name="echo", summary="Answers what it was sent.", factory="offboard_echo.policy:EchoLoader")
"""

from __future__ import annotations

from collections.abc import Iterable

import pluggy

from .entries import Described
from .kinds import KINDS

#: The entry-point group of plugins.
GROUP = "offboard"
#: Marks a function as an implementation of the hook of its name.
hookimpl = pluggy.HookimplMarker(GROUP)


@pluggy.HookspecMarker(GROUP)
def _hook() -> Iterable[Described]:
    raise NotImplementedError


def specifications() -> type:
    """The hooks of all kinds, as pluggy is told of them."""
    return type("Hooks", (), dict.fromkeys(KINDS, _hook))
