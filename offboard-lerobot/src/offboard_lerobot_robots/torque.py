"""Which of an arm's motors hold, and each of them switched off by itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

#: How often a motor that does not answer is told again to let go.
_AGAIN = 2


class Torque:
    """The torque of the motors on a LeRobot bus. One whose motors do not say whether it is on is not watched."""

    def __init__(self, bus: Any) -> None:
        """``bus``: not asked before it is connected."""
        self._bus = bus
        self._held = frozenset[str]()

    def note(self) -> None:
        """Those that hold by now are to hold from here on. Raises OSError where an answer is lost."""
        self._held = frozenset[str]()
        try:
            self._held = frozenset(name for name, on in self._read().items() if on)
        except OSError:
            raise
        except Exception:  # there is no such register, and each bus says so in its own way
            return

    def lost(self) -> list[str]:
        """Those that held when they were noted, and no longer do. One packet. Raises as the bus does."""
        if not self._held:
            return []
        now = self._read()
        return [name for name in self._bus.motors if name in self._held and not now[name]]

    def switch_off(self) -> list[str]:
        """Those that cannot be: LeRobot's own way ends at the first of them, and the rest would go on to hold."""
        return [name for name in self._bus.motors if not self._is_off(name)]

    # -- inside ----------------------------------------------------------------------------------------
    def _read(self) -> Mapping[str, Any]:
        return cast("Mapping[str, Any]", self._bus.sync_read("Torque_Enable"))

    def _is_off(self, name: str) -> bool:
        try:
            self._bus.disable_torque([name], num_retry=_AGAIN)
        except Exception:
            return False
        return True
