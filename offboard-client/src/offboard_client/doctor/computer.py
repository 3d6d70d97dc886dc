"""What makes a computer unsteady: its clock, its processors, what a container allows, its memory, its heat."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from ..errors import counted
from .files import Files, whole
from .finding import Finding, not_known

_CPU = "sys/devices/system/cpu"
#: In order of what rules where several are set: what PyTorch and numpy's libraries read.
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
#: Drivers that choose the frequency themselves: with them ``powersave`` is no fixed lowest one.
_SELF_DRIVEN = ("intel_pstate", "amd-pstate-epp", "amd_pstate_epp")
_UNSYNCHRONISED = 0x40  # STA_UNSYNC of <sys/timex.h>
#: Of memory, what should be left: an observation may have 32 MiB, and is there more than once.
_LEFT = 256 * 2**20


def kernel_synchronised() -> bool | None:
    """Whether the kernel takes its clock for synchronised; None where it is no Linux, or does not say."""
    if not sys.platform.startswith("linux"):
        return None
    try:
        call = ctypes.CDLL(None, use_errno=True).adjtimex
        # struct timex: an int, four longs, and the status; 208 bytes in all where a long has 8.
        buffer = (ctypes.c_long * 64)()
        if call(ctypes.byref(buffer)) < 0:
            return None
    except (OSError, AttributeError):
        return None
    return not ctypes.c_int.from_buffer(buffer, 5 * ctypes.sizeof(ctypes.c_long)).value & _UNSYNCHRONISED


def usable_processors() -> int | None:
    """On how many processors this process may run; None where nobody says."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count()


@dataclass(frozen=True)
class Computer:
    """This computer, or what a test says of one. ``synchronised``: of its clock; None where it is not told.

    ``usable``: on how many processors this process may run; None where nobody says.
    """

    files: Files = field(default_factory=Files)
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ)
    usable: int | None = field(default_factory=usable_processors)
    synchronised: Callable[[], bool | None] = kernel_synchronised


def look_at_computer(computer: Computer) -> Iterator[Finding]:
    """One finding for each thing that can be looked at without root."""
    yield _clock(computer)
    cores = _cores(computer)
    yield cores
    yield _governor(computer.files)
    quota = _quota(computer.files)
    yield from _limit(computer, quota)
    yield _threads(computer, quota)
    yield _memory(computer.files)
    yield from _heat(computer.files)


def _clock(computer: Computer) -> Finding:
    synchronised = computer.synchronised()
    if synchronised is None:
        return not_known("clock")
    if synchronised:
        return Finding("clock", "fine", "synchronised")
    return Finding(
        "clock", "mend", "not synchronised", "synchronised",
        "no time-out counts by it, but the times in recordings do, by which those of robot and server are laid side by "
        "side, and certificates are judged by it",
        "sudo timedatectl set-ntp true",
    )  # fmt: skip


def _cores(computer: Computer) -> Finding:
    present, online = (_listed(computer.files.text(f"{_CPU}/{name}")) for name in ("present", "online"))
    usable = computer.usable
    if usable is None:
        return not_known("processors")
    found = f"{usable} for this process" + (f", {online} online, {present} in all" if online and present else "")
    if online and present and online < present:
        if computer.files.text(f"{_CPU}/smt/control") in ("off", "forceoff"):
            return Finding(
                "processors", "note", f"{found}; simultaneous multithreading is off", "",
                "somebody has set it so, for safety as a rule: is it meant so?",
            )  # fmt: skip
        return Finding(
            "processors", "mend", found, f"{present} online",
            "some are switched off, as in a power mode of an embedded computer",
            "echo 1 | sudo tee /sys/devices/system/cpu/cpu*/online    # of a container: on its host",
        )  # fmt: skip
    if online and usable < online:
        return Finding(
            "processors", "note", found, "",
            "this process was bound to some of them (taskset, a container's cpuset): is it meant so?",
        )  # fmt: skip
    return Finding("processors", "fine", found)


def _governor(files: Files) -> Finding:
    chosen = {
        files.text(path) or "": files.text(path.replace("scaling_governor", "scaling_driver")) or ""
        for path in files.names(f"{_CPU}/cpu[0-9]*/cpufreq/scaling_governor")
    }
    what = "processors' frequency"
    if not chosen:
        return not_known(what, "no cpufreq, as in a virtual machine")
    found = ", ".join(f"{governor} ({driver})" if driver else governor for governor, driver in sorted(chosen.items()))
    if any(governor == "powersave" and driver not in _SELF_DRIVEN for governor, driver in chosen.items()):
        return Finding(
            what, "mend", found, "performance, or schedutil",
            "powersave is the lowest frequency that there is, whatever there is to do",
            "echo performance | sudo tee /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor",
        )  # fmt: skip
    return Finding(what, "fine", found)


def _quota(files: Files) -> float | None:
    """How many processors' time a container may use (cgroup v2 or v1), by the tightest limit; None where none is."""
    found: list[float] = []
    for folder in _cgroups(files, ""):
        limit = (files.text(f"{folder}/cpu.max") or "").split()
        if len(limit) == 2 and (most := whole(limit[0])) and (period := whole(limit[1])):
            found.append(most / period)
    for folder in _cgroups(files, "cpu"):
        most, period = (files.number(f"{folder}/cpu.cfs_{name}_us") for name in ("quota", "period"))
        if most and period and most > 0:
            found.append(most / period)
    return min(found, default=None)


def _limit(computer: Computer, quota: float | None) -> Iterator[Finding]:
    if quota is None:
        return
    throttled = max(
        _field(computer.files.text(f"{folder}/cpu.stat"), "nr_throttled") or 0
        for folder in (*_cgroups(computer.files, ""), *_cgroups(computer.files, "cpu"))
    )
    stopped = f", stopped {counted(throttled, 'time')} for it" if throttled else ""
    found = f"{quota:g} processors' time{stopped}"
    if throttled:
        yield Finding(
            "container's limit", "mend", found, "no limit, or a larger one",
            "who has used up the time of a tenth of a second stands still for the rest of it",
            "docker run without --cpus, or: docker update --cpus 0 CONTAINER",
        )  # fmt: skip
    else:
        yield Finding("container's limit", "note", found)


def _threads(computer: Computer, quota: float | None) -> Finding:
    what = "threads of libraries"
    said = [(name, text) for name in THREADS if (text := computer.environment.get(name))]
    room = min(each for each in (computer.usable, quota, 2**16) if each is not None)
    if computer.usable is None:
        return not_known(what)
    counts = {name: count for name, text in said if (count := whole(text.partition(",")[0])) is not None}
    found = ", ".join(f"{name}={text:.20}" for name, text in said) or "as many as there are processors"
    few = max(1, int(room))
    large = [name for name, count in counts.items() if count > few]
    if large or (not counts and computer.usable > few):
        return Finding(
            what, "mend", f"{found}, and {room:g} to run on", f"{few} at most",
            "threads that wait for each other and have no processor hold each other up: a small ACT that inferred on "
            "two threads took 120 to 1500 ms on a busy machine, and 63 to 72 on one",
            "\n".join(f"export {name}={few}" for name in large or THREADS[:1]),
        )  # fmt: skip
    return Finding(what, "fine", found)


def _memory(files: Files) -> Finding:
    available = _kilobytes(files.text("proc/meminfo"), "MemAvailable")
    # What was read of files is counted as used, and goes when there is need.
    limits = [
        most - max(0, now - (_field(files.text(f"{folder}/memory.stat"), read) or 0))
        for folder, limit, used, read in (
            *((each, "memory.max", "memory.current", "inactive_file") for each in _cgroups(files, "")),
            *(
                (each, "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
                for each in _cgroups(files, "memory")
            ),
        )
        if (most := files.number(f"{folder}/{limit}")) and (now := files.number(f"{folder}/{used}")) is not None
    ]
    rooms = [each for each in (available, *limits) if each is not None]
    if not rooms:
        return not_known("memory")
    left = min(rooms)
    found = f"{left / 2**30:.1f} GiB left"
    if left < _LEFT:
        return Finding(
            "memory", "mend", found, "256 MiB and more",
            "an observation may have 32 MiB and is there more than once; what has no room is swapped, or killed",
            "ps axo pid,rss,args --sort -rss | head",
        )  # fmt: skip
    return Finding("memory", "fine", found)


def _heat(files: Files) -> Iterator[Finding]:
    counts = [files.number(path) for path in files.names(f"{_CPU}/cpu[0-9]*/thermal_throttle/core_throttle_count")]
    known = [count for count in counts if count is not None]
    if not known:
        return
    times = max(known)
    if times:
        yield Finding(
            "heat", "note", f"slowed down {counted(times, 'time')} since it was started", "never",
            "a processor that is too hot lowers its frequency, whatever has to be done just then",
            "sensors; and see to its fan, its dust, and where it stands",
        )  # fmt: skip
    else:
        yield Finding("heat", "fine", "never too hot since it was started")


def _cgroups(files: Files, controller: str) -> list[str]:
    """The folders of this process's cgroup and those above it. ``controller``: of version 1; none: version 2."""
    found: list[str] = []
    for line in (files.text("proc/self/cgroup") or "").splitlines():
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        if controllers == "" if controller == "" else controller in controllers.split(","):
            root = f"sys/fs/cgroup/{controller}".rstrip("/")
            parts = [part for part in path.split("/") if part not in ("", "..")]
            found += ["/".join((root, *parts[:n])) for n in range(len(parts), -1, -1)]
    return found


def _listed(text: str | None) -> int | None:
    """How many numbers ``0-3,6`` names."""
    if not text:
        return None
    count = 0
    for part in text.split(","):
        first, _, last = part.partition("-")
        low, high = whole(first), whole(last or first)
        if low is None or high is None:
            return None
        count += high - low + 1
    return count


def _field(text: str | None, name: str) -> int | None:
    """The number behind a name, in a file of such lines."""
    for line in (text or "").splitlines():
        words = line.split()
        if len(words) >= 2 and words[0].rstrip(":") == name:
            return whole(words[1])
    return None


def _kilobytes(text: str | None, name: str) -> int | None:
    found = _field(text, name)
    return None if found is None else found * 1024
