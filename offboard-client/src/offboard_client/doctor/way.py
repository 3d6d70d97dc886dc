"""What a survey of a server says: the way to it, and the server itself."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from statistics import median
from typing import Any, cast

import numpy as np

from ..errors import brief, counted, one_line
from ..session import Steps
from ..wire import is_duration
from .finding import Finding, not_known
from .survey import SIZES, SLOW_NAME_S, TRIPS, Survey

#: Addresses that were tried in vain before the one that answered.
_LOST_S = 0.05
#: By how much the slowest round trip may be longer than the usual one: a control period at 30 Hz.
_JITTER_S = 0.033
#: Segments that have to be sent again, of all.
_LOSS, _FEW = 0.001, 3
#: Between two clocks, of which one tells whole seconds.
_AHEAD_S = 2.0
#: Seconds on the way from which on it pays to send less.
_SLOW_S = 0.02
#: A difference that is less of a round trip than this, or less than round trips differ, is no time that bytes took.
_TOLD = 0.1
#: A version as we number them.
_VERSION = re.compile(r"[0-9]{1,5}(\.[0-9]{1,5}){1,3}((a|b|rc|\.dev|\.post)[0-9]{1,5}){0,2}")
#: What is no number of sessions any more.
_MANY = 10**6


def look_at_way(survey: Survey, version: str) -> Iterator[Finding]:
    """``version``: this program's."""
    if survey.steps is not None:
        yield _name(survey.steps, survey.server)
        yield _connect(survey.steps)
    yield from _server(survey, version)
    yield from _clocks(survey)
    if survey.trips:
        here = survey.connection is not None and survey.connection.local == survey.connection.peer
        yield _trips(survey.trips, here)
    yield from _sent(survey)
    yield from _packets(survey)
    if survey.compresses is not None:
        yield _compression(survey.compresses)


def _name(steps: Steps, server: str) -> Finding:
    spent, addresses = steps.resolve_s, [each.address for each in steps.tried]
    if addresses[-1] in server:
        return Finding("name", "fine", f"none: {addresses[-1]}")
    found = f"{_ms(spent)}: {', '.join(addresses)}"
    lost = [each for each in steps.tried if each.failed]
    lost_s = sum(each.seconds for each in lost)
    if lost_s > _LOST_S:
        return Finding(
            "name", "mend", f"{found}; {_ms(lost_s)} until {lost[-1].address} had failed ({lost[-1].failed:.60})",
            "the address that answers",
            "each connection, and so each that is lost and opened again, tries them in this order",
            f"offboard doctor {steps.tried[-1].address}; or the name with that address in /etc/hosts",
        )  # fmt: skip
    if spent > SLOW_NAME_S:
        return Finding(
            "name", "mend", found, f"less than {_ms(SLOW_NAME_S)}",
            "each connection, and so each that is lost and opened again, asks for it",
            f'echo "{addresses[-1]} NAME" | sudo tee -a /etc/hosts',
        )  # fmt: skip
    return Finding("name", "fine", found)


def _connect(steps: Steps) -> Finding:
    found = f"TCP {_ms(steps.tried[-1].seconds)}"
    if steps.tls_s is not None:
        found += f", {steps.tls or 'TLS'} {_ms(steps.tls_s)}"
    return Finding("connecting", "fine", found)


def _server(survey: Survey, version: str) -> Iterator[Finding]:
    if survey.kind == "offboard":
        yield from _offboard(survey, version)
    elif survey.kind == "websocket":
        yield Finding("server", "note", "a WebSocket server, not an offboard one")
    else:
        yield Finding("server", "mend", survey.why_not, "a policy server that answers")
        return
    # Another's server may take no message so large as this is in the end, and images all the same.
    took = survey.kind == "websocket" and any(sent.warm for sent in survey.sent.values())
    if survey.failed and not took:
        yield Finding(
            "way", "mend", f"not, or not wholly, measured: {survey.why_not}", "a connection that is taken, and stays",
            "a robot is refused, or lost, as this was",
        )  # fmt: skip
    elif survey.why_not:
        yield Finding("way", "unknown", f"not, or not wholly, measured: {survey.why_not}")


def _offboard(survey: Survey, version: str) -> Iterator[Finding]:
    status, theirs = survey.status, survey.meta.get("offboard_version")
    loaded = _map(status.get("loaded")).get("model")
    parts = ["offboard" if theirs is None else f"offboard {_text(theirs, 20)}"]
    parts.append("no model loaded" if loaded is None else f"model {_text(loaded)}")
    sessions, mean = status.get("sessions"), _map(status.get("mean_ms")).get("infer_ms")
    if type(sessions) is int and 0 <= sessions < _MANY:
        parts.append(counted(sessions, "session"))
    if is_duration(mean):
        # Of whatever models it has served: it does not tell them apart.
        parts.append(f"{mean:.3g} ms for an inference since it started")
    found = ", ".join(parts)
    ill = _ill(status)
    if ill:
        yield Finding(
            "server", "mend", f"{found}; {ill}", "a model that answers", "no robot is answered by it as it is",
            "look at its page (http://HOST:PORT/), and at its log",
        )  # fmt: skip
    elif theirs is not None and not (isinstance(theirs, str) and _VERSION.fullmatch(theirs)):
        yield Finding("server", "note", f"{found}, which is no version of ours; here it is {version}")
    elif theirs not in (None, version):
        # Nothing that a server says stands in what a person is to type.
        yield Finding(
            "server", "note", f"{found}; here it is {version}", "the same version",
            "the protocol is the same, and what either has learnt since is not",
            "pip install offboard-client==VERSION    # the server's, as above",
        )  # fmt: skip
    else:
        yield Finding("server", "fine", found)


def _ill(status: Mapping[str, Any]) -> str:
    """What keeps a server from answering, as its status says it."""
    health = _map(_map(status.get("loaded")).get("health"))
    if health.get("state") not in (None, "ready"):
        return f"the model is {_text(health.get('state'))}: {_text(health.get('reason'), 200)}"
    if status.get("wedged") is True:
        return "the model has not come back from an inference"
    failure = _map(status.get("last_failure"))
    if failure and not status.get("loaded"):
        return f"it could not be loaded: {_text(failure.get('text'), 200)}"
    return ""


def _clocks(survey: Survey) -> Iterator[Finding]:
    if survey.ahead_s is None:
        return
    seconds = survey.ahead_s
    if abs(seconds) <= _AHEAD_S:
        yield Finding("server's clock", "fine", f"within {_AHEAD_S:.0f} s of this one")
        return
    shown = f"{abs(seconds):,.0f} s"
    yield Finding(
        "server's clock", "mend", f"{shown} {'ahead of' if seconds > 0 else 'behind'} this one",
        f"within {_AHEAD_S:.0f} s",
        "recordings of robot and server cannot be laid side by side, and certificates may seem not to be valid",
        "sudo timedatectl set-ntp true    # on both",
    )  # fmt: skip


def _trips(trips: Sequence[float], here: bool) -> Finding:
    """``here``: the server is on this computer."""
    p50, p99 = (float(np.percentile(trips, each)) for each in (50, 99))
    found = f"{_ms(p50)}; one in a hundred {_ms(p99)}"
    if len(trips) < TRIPS:
        found = f"{_ms(p50)}; the longest of {len(trips)} {_ms(max(trips))}"
    if p99 - p50 > _JITTER_S:
        less = "fewer programs on this computer mend it" if here else "a cable, or less on this network, mends it"
        return Finding(
            "round trip", "mend", found, f"none {_ms(_JITTER_S)} longer than most",
            "an answer that is late by a control period (30 Hz) is waited for, unless the robot asks ahead",
            f"offboard run ROBOT HOST --chunks latest    # asks ahead; {less}",
        )  # fmt: skip
    return Finding("round trip", "fine", found)


def _sent(survey: Survey) -> Iterator[Finding]:
    if survey.stuck and survey.trips and not any(sent.warm for sent in survey.sent.values()):
        yield Finding(
            "large messages", "mend", f"pings pass, and no {next(iter(SIZES.values())) / 1000:,.0f} KB", "they arrive",
            "something on the way, as a rule a tunnel, drops packets that are too large for it and does not say so; or "
            "the link is slower than 0.3 Mbit/s",
            "sudo sysctl -w net.ipv4.tcp_mtu_probing=1    # or: sudo ip link set dev INTERFACE mtu 1280",
        )  # fmt: skip
    trip = median(survey.trips) if survey.trips else 0.0
    for name, sent in survey.sent.items():
        if not sent.warm:
            continue
        warm = median(sent.warm)
        found = f"{_ms(warm)} raw ({sent.size / 1000:,.0f} KB)"
        if sent.rested:
            found += f"; {_ms(median(sent.rested))} after a second's rest"
        yield Finding(f"images: {name}", "note" if warm - trip > _SLOW_S else "fine", found, *_smaller(warm - trip))
    rate = rate_of(survey)
    if rate is not None:
        yield Finding("rate", "fine", f"about {_mbit(rate)} to the server")


def _smaller(spent: float) -> tuple[str, str, str]:
    if spent <= _SLOW_S:
        return "", "", ""
    return (
        "smaller, or as JPEG",
        "what is not sent takes no time: two images of 480x640 took 169 ms raw and 52 as JPEG over 100 Mbit/s, two of "
        "224x224 39 and 22",
        "offboard run ROBOT HOST --images auto    # and --resize, where the model takes them smaller",
    )


def rate_of(survey: Survey) -> float | None:
    """Bytes a second to the server, by how much longer the large images took than the small ones.

    None: not known, also where that is so little that it may be the round trip's own doing.
    """
    small, large = (survey.sent.get(name) for name in SIZES)
    if small is None or large is None or not small.warm or not large.warm:
        return None
    longer, least = min(large.warm) - min(small.warm), 0.0
    if survey.trips:
        p10, p50, p90 = (float(np.percentile(survey.trips, each)) for each in (10, 50, 90))
        least = max(p90 - p10, _TOLD * p50)
    return (large.size - small.size) / longer if longer > least else None


def _packets(survey: Survey) -> Iterator[Finding]:
    seen = survey.connection
    if seen is None:
        return
    if seen.nodelay is not None:
        yield Finding("Nagle's algorithm", "fine" if seen.nodelay else "mend", "off" if seen.nodelay else "on")
    if seen.mtu is None:
        yield not_known("packets")
    else:
        segment = f", of which {seen.segment} are data" if seen.segment else ""
        yield Finding("packets", "fine", f"{seen.mtu} bytes on the whole way{segment}")
    if seen.sent is None or seen.again is None:
        yield not_known("packets lost")
        return
    share = seen.again / max(1, seen.sent)
    found = f"{seen.again} of {seen.sent:,} sent again"
    if share > _LOSS and seen.again >= _FEW and seen.congestion == "bbr":
        yield Finding("packets lost", "note", f"{found}, and bbr makes the best of it", "a cable")
    elif share > _LOSS and seen.again >= _FEW:
        yield Finding(
            "packets lost", "mend", found, f"less than 1 in {1 / _LOSS:,.0f}",
            "cubic takes each for a full link and sends less for a while, bbr does not: at 100 Mbit/s, 60 ms and 1 in "
            "200 lost an exchange of two 224x224 images took 760 to 1240 ms with cubic, and 160 to 270 with bbr",
            "sudo modprobe tcp_bbr; sudo sysctl -w net.ipv4.tcp_congestion_control=bbr    # better: a cable",
        )  # fmt: skip
    else:
        yield Finding("packets lost", "fine", found)


def _compression(compresses: bool) -> Finding:
    if not compresses:
        return Finding("compression", "fine", "the server declines permessage-deflate")
    return Finding(
        "compression", "note", "the server would compress (permessage-deflate)", "it declines",
        "offboard's client does not ask for it, others do: two images of 224x224 then take 8.4 ms instead of 0.56, two "
        "of 480x640 40 instead of 3.1, on loopback",
        "on the server: ws_per_message_deflate=False for uvicorn, compression=None for websockets",
    )  # fmt: skip


def _ms(seconds: float) -> str:
    ms = seconds * 1e3
    return f"{ms:.0f} ms" if ms >= 10 else f"{ms:.2g} ms"


def _mbit(rate: float) -> str:
    mbit = rate * 8 / 1e6
    return f"{float(f'{mbit:.2g}'):,.0f} Mbit/s"


def _text(value: Any, most: int = 60) -> str:
    return one_line(value[:most]) if isinstance(value, str) else brief(value, most)


def _map(value: Any) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", value) if isinstance(value, Mapping) else {}
