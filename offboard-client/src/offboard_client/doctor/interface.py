"""The network interface that leads to a server: a cable or Wi-Fi, how fast, how large its packets."""

from __future__ import annotations

import ipaddress
import os
import shutil
import struct
import subprocess
from collections.abc import Callable, Iterator, Sequence

from .files import Files, whole
from .finding import Finding, not_known

#: Runs a command that only tells; what it said, or None where it is not there, fails or does not end.
Ask = Callable[[Sequence[str]], "str | None"]
_ASK_S = 5.0
#: Megabits a second below which images have to wait for a cable.
_FAST = 1000


def ask_command(words: Sequence[str]) -> str | None:
    """See :data:`Ask`."""
    # Tools like iw lie where only root looks.
    places = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"))
    if (program := shutil.which(words[0], path=places)) is None:
        return None
    try:
        done = subprocess.run(
            [program, *words[1:]], stdin=subprocess.DEVNULL, capture_output=True, timeout=_ASK_S, check=False
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.decode("utf-8", "replace") if done.returncode == 0 else None


def interface_to(files: Files, peer: str | None, local: str | None = None) -> str | None:
    """The interface by which the kernel's main table leads to an address; without one, to everywhere.

    ``local``: this computer's own address on the way, which is the peer's for a server on the same computer.
    """
    try:
        address = ipaddress.ip_address((peer or "0.0.0.0").partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    if peer is not None and (address.is_loopback or peer == local):
        return "lo"
    routes = _routes4(files) if address.version == 4 else _routes6(files)
    fitting = [
        (network.prefixlen, -metric, name)
        for network, metric, name in routes
        if (address in network if peer is not None else network.prefixlen == 0)
    ]
    return max(fitting)[2] if fitting else None


def look_at_interface(files: Files, name: str | None, ask: Ask = ask_command) -> Iterator[Finding]:
    """What is to be said of an interface."""
    if name is None:
        yield not_known("network interface")
        return
    folder = f"sys/class/net/{name}"
    if name == "lo":
        yield Finding("network interface", "fine", "lo: the server is on this computer")
        return
    mtu = files.number(f"{folder}/mtu")
    packets = f", packets of {mtu}" if mtu else ""
    if files.there(f"{folder}/wireless") or files.there(f"{folder}/phy80211"):
        yield _wifi(files, name, packets)
        yield _power_save(name, ask)
        return
    # Of a bridge, a tunnel or a virtual machine's card there is nothing to read, or -1.
    speed, duplex = files.number(f"{folder}/speed"), files.text(f"{folder}/duplex")
    if speed is None or speed <= 0:
        yield Finding("network interface", "unknown", f"{name}{packets}: it does not say how fast it is")
        return
    found = f"{name}, {speed} Mbit/s{f', {duplex} duplex' if duplex else ''}{packets}"
    if speed < _FAST or duplex == "half":
        yield Finding(
            "network interface", "mend", found, "1000 Mbit/s, full duplex",
            f"two images of 224x224 (301 KB) are {_ms(301, speed)} ms on this cable, two of 480x640 (1.84 MB) "
            f"{_ms(1840, speed)}; at 1000 Mbit/s 2.4 and 15",
            f"ethtool {name}; another cable (all four pairs), another port, another switch",
        )  # fmt: skip
    else:
        yield Finding("network interface", "fine", found)


def _wifi(files: Files, name: str, packets: str) -> Finding:
    line = next(
        (line for line in (files.text("proc/net/wireless") or "").splitlines() if line.strip().startswith(f"{name}:")),
        "",
    )
    words = line.split()
    level = whole(words[3].rstrip(".")) if len(words) > 3 else None
    strength = f", {level} dBm" if level is not None and level < 0 else ""
    return Finding(
        "network interface", "note", f"{name}, Wi-Fi{strength}{packets}", "a cable, where there can be one",
        "its rate and its delay change with what else is in the air: see the round trips below",
    )  # fmt: skip


def _power_save(name: str, ask: Ask) -> Finding:
    said = ask(["iw", "dev", name, "get", "power_save"])
    if said is None:
        return not_known("Wi-Fi power save", f"is iw installed? iw dev {name} get power_save")
    if said.strip().lower().endswith("off"):
        return Finding("Wi-Fi power save", "fine", "off")
    return Finding(
        "Wi-Fi power save", "mend", "on", "off",
        "a radio that sleeps between two answers wakes for a beacon of the access point, of which there are ten a "
        "second: delays of up to 300 ms are reported",
        f"sudo iw dev {name} set power_save off",
    )  # fmt: skip


def _ms(kilobytes: int, mbit: int) -> str:
    return f"{kilobytes * 8 / mbit:.3g}"


def _routes4(files: Files) -> Iterator[tuple[ipaddress.IPv4Network, int, str]]:
    for line in (files.text("proc/net/route") or "").splitlines()[1:]:
        words = line.split()
        try:
            name, target, flags, metric, mask = words[0], words[1], int(words[3], 16), int(words[6]), words[7]
            # Numbers as they lie in this computer's memory.
            parts = [struct.pack("=I", int(word, 16)) for word in (target, mask)]
            prefix = bin(int.from_bytes(parts[1], "big")).count("1")
            if flags & 1:
                yield ipaddress.IPv4Network((parts[0], prefix), strict=False), metric, name
        except (ValueError, IndexError, struct.error):
            continue


def _routes6(files: Files) -> Iterator[tuple[ipaddress.IPv6Network, int, str]]:
    for line in (files.text("proc/net/ipv6_route") or "").splitlines():
        words = line.split()
        try:
            target, prefix, metric, flags, name = (
                words[0],
                int(words[1], 16),
                int(words[5], 16),
                int(words[8], 16),
                words[9],
            )
            if flags & 1 and name != "lo":
                yield ipaddress.IPv6Network((bytes.fromhex(target), prefix), strict=False), metric, name
        except (ValueError, IndexError):
            continue
