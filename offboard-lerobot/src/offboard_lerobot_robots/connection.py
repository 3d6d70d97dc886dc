"""An arm's bus and cameras, opened and let go: whatever fails meanwhile, no motor is left with its torque on."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from typing import Any

from offboard_client.errors import RobotFailed, told

from .port import Port
from .torque import Torque

#: How often the bus is asked before it counts as gone.
TRIES = 3
_NO_ANSWERS = "motor check failed"
#: What LeRobot's error says → what to do.
_ADVICE = {
    _NO_ANSWERS: "is this the arm's port (lerobot-find-port), and is its power on?",
    "Camera": "say in --robot.cameras what the camera has (lerobot-find-cameras)",
    "": "look at the arm's cable, its port (lerobot-find-port) and its power, and try again",
}


class Connection:
    """LeRobot's robot from its port to its cameras; made, nothing is open."""

    def __init__(self, device: Any) -> None:
        """``device``: LeRobot's robot, which has a bus."""
        self._device, self._bus = device, device.bus
        self._port = Port(getattr(device.bus, "port", None))
        self._torque = Torque(device.bus)
        self._connected = False
        # Whether the motors may have been written to.
        self._written = False
        # Whether whoever has configured the arm wants it to sink in the end.
        self._sinks = bool(getattr(getattr(device, "config", None), "disable_torque_on_disconnect", True))

    def open(self) -> bool:
        """Whether the motors hold the calibration of the file. An answer that is lost meanwhile is no end of it.

        Raises RobotFailed; what had been opened is let go by then.
        """
        self._port.take()
        left = TRIES
        while not self._connected:
            left -= 1
            try:
                calibrated = self._connect()
            except Exception as error:
                again = left and self._bus.is_connected and _is_lost(error)
                failed = RobotFailed(f"the arm cannot be connected: {advised(error, _ADVICE)}")
                try:
                    self._let_go()
                except RobotFailed as stuck:
                    raise RobotFailed(f"{stuck.text}; before that: {failed.text}") from error
                if not again:
                    raise failed from error
            else:
                self._connected = True
                self._port.shut()
                return calibrated
        raise RobotFailed("the arm is connected already")

    def limp(self) -> list[str]:
        """The motors that held when the arm was connected, and no longer do. Raises as the bus does."""
        return self._torque.lost()

    def close(self) -> None:
        """Disconnect, which switches the torque off if the arm's config does not say otherwise."""
        with closing(self._port):
            self._let_go()

    # -- inside ----------------------------------------------------------------------------------------
    def _connect(self) -> bool:
        if hasattr(self._bus, "port_handler"):
            # A serial port may lead to any device: who is there is asked before anything is written.
            self._bus.connect()
            self._bus.disconnect(disable_torque=False)
        self._written = True
        self._device.connect(calibrate=False)
        self._torque.note()
        return self._device.is_calibrated

    def _let_go(self) -> None:
        try:
            if self._connected and self._device.is_connected:
                self._device.disconnect()
            elif self._written and self._bus.is_connected:
                self._bus.disconnect(disable_torque=self._sinks)
            self._written = False
        except Exception as error:
            if not (self._sinks and self._bus.is_connected):
                raise
            if stuck := self._torque.switch_off():
                whose = f"{', '.join(stuck)} may hold" if len(stuck) < len(self._bus.motors) else "the arm may hold"
                raise RobotFailed(
                    f"{whose} still, for the torque could not be switched off ({_line(error)}): switch the arm's power "
                    "off before you touch it"
                ) from error
            self._written = False
        finally:  # what is left open, by one that is gone, too
            if self._bus.is_connected:
                self._bus.disconnect(disable_torque=False)
            for camera in getattr(self._device, "cameras", {}).values():
                if camera.is_connected:
                    camera.disconnect()
            self._connected = False


def advised(error: Exception, advice: Mapping[str, str]) -> str:
    """What LeRobot's error says, in one line, and what to do: ``advice`` by a part of what it says."""
    said = _line(error)
    found = next((what for text, what in advice.items() if text in said), None)
    return said if found is None else f"{said.rstrip('.')}; {found}"


def _line(error: Exception) -> str:
    return " ".join(told(error).split())


def _is_lost(error: Exception) -> bool:
    """A ping that nobody answers is LeRobot's motor that is missing."""
    return isinstance(error, ConnectionError) or _NO_ANSWERS in str(error)
