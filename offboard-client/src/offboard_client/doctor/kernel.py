"""Settings of the kernel's TCP that count on a long way."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median

from .files import Files, whole
from .finding import Finding, not_known
from .survey import SIZES, Survey
from .way import rate_of

_TCP = "proc/sys/net/ipv4/tcp"
#: A server that is nearer is reached as quickly after a rest: the window opens in five round trips.
_FAR_S = 0.005
#: More than this is advised to nobody: what is measured here tells of less.
_MOST = 2**26


def look_at_kernel(files: Files, survey: Survey | None = None) -> Iterator[Finding]:
    """``survey``: of the server, where there is one: how far it is decides what matters."""
    trip = median(survey.trips) if survey is not None and survey.trips else None
    used = survey.connection.congestion if survey is not None and survey.connection is not None else None
    congestion = used or files.text(f"{_TCP}_congestion_control")
    yield _slow_start(files, trip, congestion, survey)
    yield not_known("congestion control") if congestion is None else Finding("congestion control", "fine", congestion)
    yield _buffer(files, trip, survey)


def _slow_start(files: Files, trip: float | None, congestion: str | None, survey: Survey | None) -> Finding:
    what = "slow start after a rest"
    value = files.number(f"{_TCP}_slow_start_after_idle")
    if value is None:
        return not_known(what)
    if value == 0:
        return Finding(what, "fine", "off")
    if congestion == "bbr":
        return Finding(what, "fine", "on, and bbr does not do it")
    if trip is not None and trip < _FAR_S:
        return Finding(what, "fine", f"on, and {trip * 1e3:.2g} ms are too near for it to matter")
    found = "on" if survey is None else f"on{_seen(survey)}"
    cost = None if survey is None else _cost(survey)
    if trip is not None and cost is not None and cost < trip / 2:
        return Finding(what, "fine", f"{found}: nothing to gain")
    return Finding(
        what, "note" if cost is None else "mend", found, "off, where the server is farther than 5 ms",
        "a connection that has said nothing for a moment, as between two answers, begins anew with 14 KB and doubles "
        "that with each round trip: at 100 Mbit/s, 60 ms and 1 s of rest an exchange of two 224x224 images took 125 ms "
        "as JPEG and 74 without, of two 480x640 206 and 79",
        "sudo sysctl -w net.ipv4.tcp_slow_start_after_idle=0\n"
        "echo net.ipv4.tcp_slow_start_after_idle=0 | sudo tee /etc/sysctl.d/90-offboard.conf    # stays",
    )  # fmt: skip


def _cost(survey: Survey) -> float | None:
    """By how many seconds a rest made images take longer, of the size that it cost most; None: not measured."""
    sent = [each for each in survey.sent.values() if each.warm and each.rested]
    return max((median(each.rested) - median(each.warm) for each in sent), default=None)


def _seen(survey: Survey) -> str:
    sent = survey.sent.get(next(iter(SIZES)))
    if sent is None or not sent.warm or not sent.rested:
        return ""
    return f"; 301 KB took {median(sent.warm) * 1e3:.0f} ms, and {median(sent.rested) * 1e3:.0f} after a second's rest"


def _buffer(files: Files, trip: float | None, survey: Survey | None) -> Finding:
    what = "TCP's send buffer"
    most = whole((files.text(f"{_TCP}_wmem") or "").split()[-1:][0] if files.text(f"{_TCP}_wmem") else None)
    if most is None:
        return not_known(what)
    found = f"up to {most / 2**20:.3g} MiB"
    rate = rate_of(survey) if survey is not None else None
    if trip is None or rate is None:
        return Finding(what, "fine", found)
    # Half of it is the kernel's own bookkeeping.
    under_way = rate * trip
    if most < _MOST and 2 * under_way > most * 0.9:
        wanted = min(_MOST, max(4 * 2**20, 2 ** (int(4 * under_way).bit_length())))
        return Finding(
            what, "mend", f"{found}, of which half counts; {under_way / 2**20:.2g} MiB are under way at once",
            f"{wanted / 2**20:.0f} MiB",
            "what is under way has to be kept until it has arrived: no more is sent than that",
            f'sudo sysctl -w net.ipv4.tcp_wmem="4096 16384 {wanted}"    # and tcp_rmem on the server',
        )  # fmt: skip
    return Finding(what, "fine", found)
