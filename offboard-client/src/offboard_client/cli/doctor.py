"""``offboard doctor [SERVER]``: what makes a link slow or a computer unsteady, and what to type."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro
from tyro.conf import Positional

from ..doctor import (
    Computer,
    Finding,
    Survey,
    interface_to,
    look_at_computer,
    look_at_gpu,
    look_at_interface,
    look_at_jpeg,
    look_at_kernel,
    look_at_memory,
    look_at_way,
    rate_of,
    survey,
)
from ..errors import ConnectionFailed, counted
from ..session import LinkClient
from ..terminal import Line, emit_json, emit_table, note, parse, patience, refuse_address_flags, say, tell, token_from

_ORDER = {"mend": 0, "note": 1, "unknown": 2, "fine": 3}
_SHOWN = {"mend": "to mend", "note": "note", "unknown": "?", "fine": "fine"}
#: The status where nobody takes a connection.
UNREACHED = 2
#: Characters of a version.
_LONGEST_VERSION = 40


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of ``offboard doctor``."""

    server: Annotated[Positional[str], tyro.conf.arg(metavar="SERVER")] = ""
    """The server to look at, too: HOST, HOST:PORT, or a whole URL. Without one, this computer alone."""
    model_id: str | None = None
    """The model whose session is opened, loaded if need be; else the URL's, or the one loaded that nobody uses."""
    auth_token_file: Path | None = None
    """A file that holds the token; without it OFFBOARD_AUTH_TOKEN counts."""
    timeout: float = 10.0
    """How long to wait for one answer, in seconds."""
    json: bool = False
    """Print one JSON object on stdout."""


def run(arguments: list[str]) -> int:
    """Look at it all, and show what was found: 0 if nothing is to be mended, 1 if something is, 2 without a connection.

    Ctrl-C while a server is looked at leaves what was found until then shown.
    """
    refuse_address_flags("doctor", arguments)
    options = parse(
        Options,
        arguments,
        "doctor",
        "Look at this computer, and at a server and the way to it, for what makes answers late or unsteady. Nothing is "
        "changed; what is better is told with the command that makes it so.",
    )
    patient = patience(options.timeout, None)
    client = _client(options, patient) if options.server else None
    computer = Computer()
    found = Survey(client.server) if client is not None else None
    failed: ConnectionFailed | None = None
    interrupted: KeyboardInterrupt | None = None
    with Line() as line:
        try:
            if client is not None and found is not None:
                survey(client, found, line.show, options.model_id)
        except ConnectionFailed as error:
            failed = error
        except KeyboardInterrupt as error:
            interrupted = error
    reached = failed is None and found is not None and found.steps is not None
    findings = list(_look(computer, found if reached else None))
    if options.json:
        emit_json(_report(options.server, findings, found, reached, interrupted is not None))
    else:
        _show(findings)
    if interrupted is not None:
        note("this was cut short: what is shown is what was found until then")
        raise interrupted
    if failed is not None:
        note(f"offboard: {failed.text}")
        return UNREACHED
    return int(any(each.verdict == "mend" for each in findings))


def _client(options: Options, patient: dict[str, Any]) -> LinkClient:
    return LinkClient(
        options.server, auth_token=token_from(options.auth_token_file), connect_timeout=options.timeout, **patient
    )


def _look(computer: Computer, found: Survey | None) -> Iterator[Finding]:
    if found is not None:
        yield from look_at_way(found, importlib.metadata.version("offboard-client"))
        if (memory := look_at_memory(found.memory)) is not None:
            yield memory
    seen = found.connection if found is not None else None
    peer, local = (seen.peer, seen.local) if seen is not None else (_tried(found), None)
    yield from look_at_interface(computer.files, interface_to(computer.files, peer, local))
    yield from look_at_kernel(computer.files, found)
    yield from look_at_computer(computer)
    yield from look_at_gpu(computer.files)
    yield look_at_jpeg()


def _tried(found: Survey | None) -> str | None:
    return found.steps.tried[-1].address if found is not None and found.steps is not None else None


def _show(findings: Sequence[Finding]) -> None:
    ordered = sorted(findings, key=lambda each: _ORDER[each.verdict])
    emit_table(("", "what", "found"), [(_SHOWN[each.verdict], each.what, each.found) for each in ordered])
    advised: dict[tuple[str, str, str], list[str]] = {}
    for each in ordered:
        if each.verdict in ("mend", "note") and (each.why or each.command):
            advised.setdefault((each.better, each.why, each.command), []).append(each.what)
    for (better, why, command), what in advised.items():
        say()
        tell(
            " ".join(
                text for text in (f"{', '.join(what)}.", f"Better: {better}." if better else "", _sentence(why)) if text
            )
        )
        for line in command.splitlines():
            say(f"  {line}")
    say()
    count = sum(each.verdict == "mend" for each in findings)
    say(f"{counted(count, 'thing')} to mend" if count else "nothing to mend")


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}." if text else ""


def _report(
    server: str, findings: Sequence[Finding], found: Survey | None, reached: bool, interrupted: bool
) -> dict[str, Any]:
    measured = None
    if reached and found is not None:
        rate, version = rate_of(found), found.meta.get("offboard_version")
        measured = {
            "kind": found.kind,
            "steps": asdict(found.steps) if found.steps else None,
            "ahead_s": found.ahead_s,
            "compresses": found.compresses,
            # Whatever else it may be is told, shortened, by the finding about the server.
            "offboard_version": version if isinstance(version, str) and len(version) <= _LONGEST_VERSION else None,
            "round_trips_s": found.trips,
            "sent": {name: asdict(sent) for name, sent in found.sent.items()},
            "bytes_per_s": rate,
            "connection": asdict(found.connection) if found.connection else None,
            "shared_memory": asdict(found.memory) if found.memory else None,
            "why_not": found.why_not,
        }
    return {
        "server": server or None,
        "reached": reached if server else None,
        "interrupted": interrupted,
        "findings": [asdict(each) for each in findings],
        "measured": measured,
    }
