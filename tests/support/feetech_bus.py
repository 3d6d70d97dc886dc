"""Servos of an SO-101 at the other end of a serial line: a pseudo-terminal that speaks Feetech's protocol 0."""

from __future__ import annotations

import os
import pty
import select
import threading
import tty
from collections.abc import Mapping

_PING, READ, WRITE, SYNC_READ, _SYNC_WRITE = 1, 2, 3, 0x82, 0x83
#: Addresses of an STS3215, all of two bytes: the model's number, the range, where it is homed.
_MODEL, LOW, HIGH, HOMING = 3, 9, 11, 31
TORQUE, GOAL, PRESENT = 40, 42, 56


class FeetechBus:
    """``port``: the path that a driver opens. Each servo is at once where it is sent, while its torque is on.

    ``ranges``: id → from and to in ticks, which stand in the servo as a calibration has written them.
    """

    def __init__(self, ranges: Mapping[int, tuple[int, int]], at: int = 2048) -> None:
        self._server, driver = pty.openpty()
        tty.setraw(driver)
        self.port = os.ttyname(driver)
        os.close(driver)  # as a real one, it is open where a program has opened it
        self.memory = {number: bytearray(256) for number in ranges}
        for number, (low, high) in ranges.items():
            self.memory[number][0:2] = 3, 10
            self.put(number, _MODEL, 777)
            self.put(number, LOW, low)
            self.put(number, HIGH, high)
            self.put(number, GOAL, at)
            self.put(number, PRESENT, at)
        #: Nobody answers any more, as where the power is off.
        self.silent = False
        #: Those that no longer hear nor answer, as behind a broken cable.
        self.deaf: set[int] = set()
        #: How many answers of the first servo get lost, and whether one to what was said last has.
        self.lost, self.losing = 0, False
        #: Which answers these are: of any instruction, or of those that begin with these bytes.
        self.lose = b""
        #: How many packets were said to them.
        self.packets = 0
        #: Every goal in ticks, id → those that it was sent.
        self.goals: dict[int, list[int]] = {number: [] for number in ranges}
        self._now = b""
        self._ended, self._end = os.pipe()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def get(self, number: int, address: int) -> int:
        return int.from_bytes(self.memory[number][address : address + 2], "little")

    def put(self, number: int, address: int, value: int) -> None:
        self.memory[number][address : address + 2] = value.to_bytes(2, "little")

    def close(self) -> None:
        os.write(self._end, b".")
        self._thread.join()
        for each in (self._server, self._ended, self._end):
            os.close(each)

    def _serve(self) -> None:
        waiting = b""
        while self._ended not in select.select([self._server, self._ended], [], [])[0]:
            try:
                waiting += os.read(self._server, 4096)
            except OSError:  # nobody has it open
                if select.select([self._ended], [], [], 0.005)[0]:
                    return
                continue
            while (begin := waiting.find(b"\xff\xff")) >= 0 and len(waiting) >= begin + 4:
                end = begin + 4 + waiting[begin + 3]
                if len(waiting) < end:
                    break
                packet, waiting = waiting[begin:end], waiting[end:]
                assert sum(packet[2:]) & 0xFF == 0xFF, packet.hex()
                self._told(packet[2], packet[4], packet[5:-1])

    def _told(self, number: int, instruction: int, parameters: bytes) -> None:
        self.losing = False
        self.packets += 1
        self._now = bytes([instruction]) + parameters
        if instruction == _SYNC_WRITE:
            address, length = parameters[:2]
            for i in range(2, len(parameters), length + 1):
                self._write(parameters[i], address, parameters[i + 1 : i + 1 + length])
        elif instruction == SYNC_READ:
            for each in parameters[2:]:
                self._answer(each, self._read(each, parameters[0], parameters[1]))
        elif instruction == READ:
            self._answer(number, self._read(number, parameters[0], parameters[1]))
        elif instruction == WRITE:
            self._write(number, parameters[0], parameters[1:])
            self._answer(number)
        elif instruction == _PING:
            self._answer(number)

    def _read(self, number: int, address: int, length: int) -> bytes:
        return bytes(self.memory[number][address : address + length]) if number in self.memory else b""

    def _write(self, number: int, address: int, data: bytes) -> None:
        if number in self.deaf:
            return
        memory = self.memory[number]
        memory[address : address + len(data)] = data
        if address == GOAL:
            self.goals[number].append(self.get(number, GOAL))
        if memory[TORQUE]:
            self.put(number, PRESENT, self.get(number, GOAL))

    def _answer(self, number: int, data: bytes = b"") -> None:
        if number not in self.memory or self.silent:
            return
        if number in self.deaf:
            self.losing = True
            return
        if self.lost and number == min(self.memory) and self._now.startswith(self.lose):
            self.lost -= 1
            self.losing = True
            return
        body = bytes([number, len(data) + 2, 0]) + data
        os.write(self._server, b"\xff\xff" + body + bytes([~sum(body) & 0xFF]))
