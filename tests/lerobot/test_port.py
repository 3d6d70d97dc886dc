"""One program at a time drives an arm, and one that is another than it was is driven no further."""

from __future__ import annotations

import fcntl
import os
import signal
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from feetech_bus import HIGH, HOMING, FeetechBus
from offboard_client.errors import RobotFailed
from offboard_client.robots import Robot, choose_robot, connected, make_robot
from offboard_process import environment
from stand_in_arm import write_calibration

#: Linux's TIOCGEXCL: whether others are kept from opening it.
_IS_SHUT = 0x80045440
OPENS = "import os, sys; os.open(sys.argv[1], os.O_RDWR | os.O_NOCTTY)"
HOLDS = "import sys; from offboard_lerobot_robots.port import Port; port = Port(sys.argv[1]); port.take(); port.shut()"


@pytest.fixture
def make(bus: FeetechBus, tmp_path: Path) -> Callable[..., Robot]:
    write_calibration(tmp_path)

    def make(port: str = bus.port) -> Robot:
        chosen = choose_robot("lerobot:so101_follower")
        given = {"id": "mine", "calibration_dir": str(tmp_path), "port": port}
        return make_robot(chosen, chosen.options()(robot_options=given))

    return make


@contextmanager
def another(program: str, port: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process that has said that it has the port, and waits until it is killed."""
    process = subprocess.Popen(
        [sys.executable, "-c", f"{program}; print(flush=True); sys.stdin.read()", port],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment(),
    )  # fmt: skip
    with process:
        assert process.stdout is not None
        assert process.stdout.readline()
        yield process
        process.send_signal(signal.SIGKILL)


def shut(bus: FeetechBus) -> bool:
    file = os.open(bus.port, os.O_RDWR | os.O_NOCTTY)
    try:
        return struct.unpack("i", fcntl.ioctl(file, _IS_SHUT, struct.pack("i", 0))) == (1,)
    finally:
        os.close(file)


@pytest.mark.parametrize("program", [OPENS, HOLDS], ids=["another program", "another arm"])
def test_an_arm_that_somebody_else_drives_is_left_alone(
    make: Callable[..., Robot], bus: FeetechBus, program: str, tmp_path: Path
) -> None:
    named = tmp_path / "the_arm"
    named.symlink_to(bus.port)
    with another(program, bus.port) as other:
        says = rf"{named} is in use by process {other.pid} \(python.*End that first; nothing was sent"
        with pytest.raises(RobotFailed, match=says), connected(make(str(named))):
            pass
        assert bus.packets == 0
    with connected(make()) as robot:  # what is killed holds nothing
        robot.observe()


def test_two_arms_of_one_program_are_not_one(make: Callable[..., Robot], bus: FeetechBus, tmp_path: Path) -> None:
    named = tmp_path / "the_arm"
    named.symlink_to(bus.port)
    with connected(make()) as robot:
        seen, packets = robot.observe(), bus.packets
        with pytest.raises(RobotFailed, match="in use by this process"), connected(make(str(named))):
            pass
        assert bus.packets == packets
        robot.apply({"target_motors": seen["motors"]}, robot.control_period)
        assert bus.get(1, 40) % 256 == 1, "its torque is on"
        with pytest.raises(RobotFailed, match="in use by this process"), connected(make()):
            pass
    with connected(make(str(named))) as robot:
        robot.observe()


def test_nobody_opens_the_port_of_an_arm_that_is_driven(make: Callable[..., Robot], bus: FeetechBus) -> None:
    held = os.open(bus.port, os.O_RDWR | os.O_NOCTTY)  # by which it would outlive whoever has shut it
    try:
        with connected(make()):
            assert shut(bus)
        assert not shut(bus)
    finally:
        os.close(held)
    bus.silent = True
    with pytest.raises(RobotFailed, match="Missing motor IDs"), connected(make()):
        pass
    assert not shut(bus)
    bus.silent = False
    with connected(make()):
        pass


@pytest.mark.parametrize("address", [HOMING, HIGH], ids=["homing", "range"])
@pytest.mark.parametrize("when", ["before the first episode", "before the next"])
def test_motors_that_mean_another_place_than_they_did_are_sent_nothing(
    make: Callable[..., Robot], bus: FeetechBus, address: int, when: str
) -> None:
    with connected(make()) as robot:
        if when == "before the next":
            seen = robot.observe()
            robot.apply({"target_motors": seen["motors"]}, robot.control_period)
            robot.stop()
        robot.state()  # what it was sent is there
        before = {number: list(goals) for number, goals in bus.goals.items()}
        bus.put(3, address, bus.get(3, address) + 1)
        with pytest.raises(RobotFailed, match="the motors hold another calibration than when the arm was connected"):
            robot.observe()
        assert bus.goals == before


def test_a_lost_answer_is_no_other_calibration(make: Callable[..., Robot], bus: FeetechBus) -> None:
    with connected(make()) as robot:
        bus.lost = 2
        robot.observe()
        packets: Any = bus.packets
        robot.observe()
        assert bus.packets - packets == 2, "every observation asks where the motors are and whether they hold, no more"


SHUTS = """
import os, signal, sys
from offboard_lerobot_robots.port import Port
port = Port(sys.argv[1])
port.take()
child = os.fork()
if not child:
    signal.pause()
try:
    print(flush=True)
    sys.stdin.readline()
    port.shut()
finally:
    os.kill(child, signal.SIGKILL)
"""


@pytest.mark.parametrize("somebody_else", [False, True])
def test_who_opens_it_while_the_arm_is_set_up_is_found_and_a_forked_child_is_nobody(
    bus: FeetechBus, somebody_else: bool
) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", SHUTS, bus.port],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(),
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline()
    opened = os.open(bus.port, os.O_RDWR | os.O_NOCTTY) if somebody_else else None
    _, errors = process.communicate("\n")
    if opened is None:
        assert process.returncode == 0, errors
    else:
        os.close(opened)
        assert f"in use by process {os.getpid()}" in errors
        assert "the arm was being set up; its torque is switched off" in errors
