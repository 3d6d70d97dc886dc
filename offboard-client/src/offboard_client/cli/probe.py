"""``offboard probe SERVER``: is it there, what does it want, does it answer, how fast."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from ..errors import OffboardError, counted
from ..plugins import UsageError
from ..session import InferenceClient, InferenceSession
from ..terminal import (
    Line,
    ServerOptions,
    emit_facts,
    emit_json,
    emit_table,
    ms,
    note,
    parse,
    refuse_address_flags,
    say,
    tell,
)
from .contract import RUN, show_contract, text
from .synthetic import synthetic_observation

_IDENTITY = (
    "type", "policy_type", "checkpoint_id", "checkpoint_path", "experiment_name", "device", "offboard_version",
    "spec_hash",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Options(ServerOptions):
    """Options of ``offboard probe``."""

    model_id: str | None = None
    """The model to probe; without it the one in the URL, else the server's default."""
    images: str = "raw"
    """How the images of the observation are sent: raw, jpeg, or jpeg:QUALITY."""


def run(arguments: list[str]) -> int:
    """Open a session, show its handshake, send one synthetic observation, show the answer and its timings.

    Ctrl-C while the answer is waited for leaves the handshake shown.
    """
    refuse_address_flags("probe", arguments)
    options = parse(
        Options,
        arguments,
        "probe",
        "Open a session, show its handshake, send one observation made from the observation spec, show the timings. "
        "The observation is synthetic: do not let a robot play the answer.",
    )
    if options.images == "auto":
        raise UsageError("--images auto measures several observations, and this sends one: see offboard bench")
    start = time.perf_counter()
    with (
        Line() as line,
        options.client(line, images=options.images) as client,
        client.new_session(options.model_id) as session,
    ):
        opened_ms = (time.perf_counter() - start) * 1e3
        line.stop()
        # Others have no status, and some would not take a second connection.
        replicas = _replicas(client) if session.metadata.get("offboard_version") else []
        if not options.json:
            show_handshake(session.metadata, opened_ms, ["offboard", "run", "ROBOT", *arguments])
            if len(replicas) > 1:
                emit_table(("replica", "health", "sessions"), replicas)
        observation = synthetic_observation(session.metadata)
        sent = {name: _shape(value) for name, value in observation.items()}
        found = {"url": options.server, "meta": session.metadata, "opened_ms": opened_ms}
        found |= {"replicas": len(replicas) or None, "sent": sent}
        line.show("waiting for the answer")
        try:
            reply = _ask(session, observation)
        except KeyboardInterrupt:
            line.stop()
            if options.json:
                emit_json({**found, "interrupted": True})
            note("this was cut short: there was no answer yet")
            raise
    if options.json:
        emit_json({**found, "interrupted": False, **reply})
    else:
        _show_reply(sent, reply)
    return 0


def _replicas(client: InferenceClient) -> list[tuple[str, str, str]]:
    """Number, health and sessions of each replica; none where the server does not tell."""
    try:
        found: Any = client.server_status().get("replicas")
        rows = [(row["health"]["state"], row["sessions"]) for row in found]
    except (OffboardError, TypeError, KeyError, AttributeError):
        return []
    return [(f"{n} of {len(rows)}", text(state), text(sessions)) for n, (state, sessions) in enumerate(rows, 1)]


def _ask(session: InferenceSession, observation: Mapping[str, Any]) -> dict[str, Any]:
    rows = session.infer(observation)
    first = rows[0] if rows else None
    return {
        "steps": None if rows is None else len(rows),
        "first": first,
        "timestamps": [row["timestamp"] for row in rows if "timestamp" in row] if rows else [],
        "timing": session.timing.last,
        "warnings": list(session.warnings),
    }


def show_handshake(meta: Mapping[str, Any], opened_ms: float, run: Sequence[str] = RUN) -> None:
    """Print what ``ready`` said of the model: what it is, what it observes, what it answers.

    ``run``: the command line that plays it.
    """
    say(f"ready after {opened_ms:.0f} ms")
    facts = [(name, text(meta[name])) for name in _IDENTITY if meta.get(name)]
    if isinstance(elsewhere := meta.get("elsewhere"), Mapping):
        places = cast("Mapping[str, Any]", elsewhere).items()
        facts += [(f"where it runs: {name}", text(value)) for name, value in places if value]
    if isinstance(compiled := meta.get("compiled"), Mapping):
        facts.append(("compiled", _compiled(cast("Mapping[str, Any]", compiled))))
    emit_facts("what it is", facts)
    show_contract(meta, run=run)
    controls: Mapping[str, Mapping[str, Any]] = meta.get("controls") or {}
    if controls:
        emit_table(("what may be asked", "with", "what it answers"), [_control(*each) for each in controls.items()])


def _compiled(said: Mapping[str, Any]) -> str:
    """Whether a faster form of the model answers, for whom, or why not."""
    problems = "; ".join(said.get("problems") or ())
    if not said.get("used"):
        return f"no, it answers as it is: {problems or 'nobody says why'}"
    fast, differs = said.get("speedup"), said.get("difference") or 0
    sizes = " or ".join(map(str, said.get("batch_sizes") or ()))
    parts = [f"by {said.get('how')}", f"for {sizes} robots in a call" if sizes != "1" else "for one robot in a call"]
    parts += [f"{fast} times as fast"] if fast is not None else []
    parts += ["the same numbers" if differs == 0 else f"within {differs:.3g} of the model's own numbers"]
    return ", ".join(parts) + (f"; else as it is: {problems}" if problems else "")


def _control(name: str, control: Mapping[str, Any]) -> tuple[str, str, str]:
    params: Mapping[str, Mapping[str, Any]] = control["params"]
    needs = [f"{p}, {f['type']}" + (f" ({text(f['default'])})" if "default" in f else "") for p, f in params.items()]
    return name, "; ".join(needs), "; ".join(f"{answer}, {meaning}" for answer, meaning in control["answers"].items())


def _show_reply(sent: Mapping[str, str], reply: Mapping[str, Any]) -> None:
    tell("sent " + ", ".join(f"{name} {shape}" for name, shape in sent.items()))
    steps, times = reply["steps"], reply["timestamps"]
    if steps is None:
        say("answer: nothing new, go on")
    elif steps == 0:
        say("answer: stop")
    else:
        when = f"{times[0]:.3f} to {times[-1]:.3f} s" if times else "without timestamps"
        say(f"answer: {counted(steps, 'step')}, {when}")
        emit_facts("first step", [(name, _numbers(value)) for name, value in reply["first"]["action"].items()])
    for warning in reply["warnings"]:
        tell(f"warning: {warning}")
    timing: Mapping[str, float] = reply["timing"]
    emit_facts("timing, ms", [(n.removesuffix("_ms"), ms(value)) for n, value in timing.items() if n.endswith("_ms")])


def _shape(value: Any) -> str:
    if not isinstance(value, np.ndarray):
        return type(value).__name__
    array = cast("NDArray[Any]", value)
    return f"{list(array.shape)} {array.dtype}"


def _numbers(value: Any) -> str:
    return np.array2string(np.asarray(value), precision=4, separator=", ", threshold=20)
