"""Child processes that talk in JSON lines, and what the kernel knows about them (Linux: it reads ``/proc``)."""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

HERE = Path(__file__).resolve().parent
_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")

#: How long a child may take to answer, in seconds, beyond what it was asked to take.
ANSWER_S = 120
STOP_S = 12


#: Peer -> the interpreter that runs its servers and clients, where it is not this one.
PYTHONS: dict[str, str] = {}

_SWITCHES = re.compile(r"ctxt_switches:\s*(\d+)")


class Spent(NamedTuple):
    """Processor time and context switches of a process."""

    cpu_us: float
    switches: int


class ChildError(RuntimeError):
    """A child failed, vanished or kept silent; carries the end of what it wrote to stderr."""


class Child:
    """A Python process running a script of this folder; one JSON line answers one JSON line.

    Use it as a context manager: leaving ends the process, whatever state it is in.
    """

    def __init__(self, script: str, *arguments: str) -> None:
        self._name = " ".join((script, *arguments))
        python = PYTHONS.get(arguments[0], sys.executable) if arguments else sys.executable
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - closed in __exit__
        self._process = subprocess.Popen(
            [python, str(HERE / script), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
        )

    def tell(self, command: dict[str, Any]) -> None:
        """Send a command without waiting for its answer."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(command).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self._failure("has ended") from None

    def hear(self, longer_s: float = 0.0) -> dict[str, Any]:
        """The next answer. Raises ChildError if it is an error or does not come."""
        stdout = self._process.stdout
        assert stdout is not None
        if not select.select([stdout], [], [], ANSWER_S + longer_s)[0]:
            raise self._failure(f"said nothing for {ANSWER_S + longer_s:.0f} s")
        line = stdout.readline()
        if not line:
            raise self._failure("has ended")
        answer = json.loads(line)
        if "error" in answer:
            raise self._failure(answer["error"])
        return answer

    def ask(self, command: dict[str, Any]) -> dict[str, Any]:
        """Send a command and wait for its answer."""
        self.tell(command)
        return self.hear(command.get("seconds", 0.0))

    def cpu_s(self) -> float:
        """Processor time of the process so far, all threads, user and system."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    def spent(self) -> Spent:
        """What its threads have spent so far, to the nanosecond; the one that runs right now says it a moment late."""
        nanoseconds = switches = 0
        for task in Path(f"/proc/{self._process.pid}/task").iterdir():
            with contextlib.suppress(FileNotFoundError):  # a thread that has just ended
                nanoseconds += int((task / "schedstat").read_text().split()[0])
                switches += sum(map(int, _SWITCHES.findall((task / "status").read_text())))
        return Spent(nanoseconds / 1e3, switches)

    def syscalls(self, take: Callable[[], object]) -> int | None:
        """How many system calls its threads make during ``take``; None where strace is not there or may not look."""
        if shutil.which("strace") is None:
            return None
        with tempfile.NamedTemporaryFile("r") as counts:
            strace = ["strace", "-f", "-c", "-o", counts.name, "-p", str(self._process.pid)]
            with subprocess.Popen(strace, stderr=subprocess.PIPE, text=True) as tracer:
                assert tracer.stderr is not None
                try:
                    if "attached" not in tracer.stderr.readline():
                        return None
                    take()
                finally:
                    tracer.send_signal(signal.SIGINT)
            totals = [line.split() for line in counts if line.rstrip().endswith("total")]
        return int(totals[0][3]) if totals else 0  # after the share, the seconds, and the microseconds of each

    def resident_bytes(self) -> int:
        """Physical memory of the process."""
        return int(Path(f"/proc/{self._process.pid}/statm").read_text().split()[1]) * _PAGE

    def _failure(self, what: str) -> ChildError:
        self._stderr.seek(0)
        tail = self._stderr.read().decode(errors="replace")[-3000:]
        return ChildError(f"{self._name}: {what}" + (f"\n{tail}" if tail else ""))

    def __enter__(self) -> Child:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
        self._stderr.close()


def machine_busy_s() -> float:
    """Processor time that the whole machine has spent since it started, steal included."""
    fields = [int(field) for field in Path("/proc/stat").read_text().splitlines()[0].split()[1:]]
    user, nice, system, _idle, _iowait, irq, softirq, steal = fields[:8]
    return (user + nice + system + irq + softirq + steal) / _TICKS
