"""``offboard bench SERVER``: closed loop, one or several sessions at once, with a synthetic observation.

Each session is a thread of this one process: beyond what this machine can encode and decode, more sessions
measure this machine and not the server.
"""

from __future__ import annotations

import math
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..errors import ConnectionFailed, InferTimeout, OffboardError, counted
from ..plugins import UsageError
from ..session import InferenceClient, InferenceSession
from ..terminal import Line, ServerOptions, emit_json, emit_table, ms, note, parse, refuse_address_flags, tell
from .synthetic import synthetic_observation, textured

#: The line that moves takes time from what is measured: about 2 ms in a second.
_REDRAWS_PER_S = 1.0


@dataclass(frozen=True, kw_only=True)
class Options(ServerOptions):
    """Options of ``offboard bench``."""

    model_id: str | None = None
    """The model to ask; without it the one in the URL, else the server's default."""
    requests: int = 100
    """Observations per session."""
    seconds: float | None = None
    """Run for so long instead of for a number of observations."""
    sessions: tuple[int, ...] = (1,)
    """How many robots at once; several numbers are run one after the other."""
    warmup: int = 5
    """Observations per session before the measurement."""
    images: str = "raw"
    """How images are sent: raw, jpeg, jpeg:QUALITY, or auto, which decides with the fourth observation."""


@dataclass
class Run:
    """What one number of sessions measured. Times in ms, one entry per answered observation.

    Filled while it goes on, so that one that is cut short still has its figures.
    """

    sessions: int
    seconds: float = 0.0
    stages: dict[str, list[float]] = field(default_factory=dict[str, list[float]])
    errors: Counter[str] = field(default_factory=Counter[str])
    first_error: str = ""
    #: How the images of each answered observation were sent, and why each session sends them as it does in the end.
    images: Counter[str] = field(default_factory=Counter[str])
    images_why: Sequence[str] = ()
    #: Whether large observations lay in memory that the server reads: those of a robot elsewhere cannot.
    shared_memory: bool = False

    @property
    def requests(self) -> int:
        """Answered observations."""
        return len(self.stages.get("total_ms", ()))

    @property
    def answered(self) -> int:
        """Observations answered, by errors as well."""
        return self.requests + self.errors.total()

    def add(self, stages: Mapping[str, float], images: str) -> None:
        """One answered observation. ``images``: how its were sent."""
        self.images[images] += 1
        for name, value in stages.items():
            self.stages.setdefault(name, []).append(value)

    def report(self) -> dict[str, Any]:
        """As ``--json`` prints it; a percentile of nothing is null."""
        return {
            "sessions": self.sessions,
            "images": " and ".join(self.images),
            "images_sent": dict(self.images),
            "images_why": list(self.images_why),
            "shared_memory": self.shared_memory,
            "requests": self.requests,
            "errors": dict(self.errors),
            "seconds": self.seconds,
            "requests_per_s": self.requests / self.seconds if self.seconds else 0.0,
            "round_trip_ms": {f"p{p}": _percentile(self.stages.get("total_ms"), p) for p in (50, 95, 99)},
            "stages_ms": {
                name: _percentile(values, 50) for name, values in self.stages.items() if name.endswith("_ms")
            },
            "batch": float(np.mean(self.stages["server.batch"])) if self.stages.get("server.batch") else None,
        }


def run(arguments: list[str]) -> int:
    """Measure, print a table or JSON. Exit status 1 if any observation was answered by an error.

    Ctrl-C, and an error that ends a session, cut it short: what was measured until then is printed before they are
    raised.
    """
    summary = "Send observations made from the observation spec, each as soon as the last was answered; show latencies."
    refuse_address_flags("bench", arguments)
    options = parse(Options, arguments, "bench", summary)
    limit = options.requests if options.seconds is None else options.seconds
    if not options.sessions or min(options.sessions) < 1 or not 0 < limit < math.inf:
        raise UsageError("--sessions, --requests and --seconds need numbers above 0")
    if options.warmup < 0:
        raise UsageError(f"--warmup {options.warmup} is below 0")
    runs: list[Run] = []
    cut_short: KeyboardInterrupt | OffboardError | None = None
    try:
        with Line(_REDRAWS_PER_S) as line, options.client(line, images=options.images) as client:
            for count in options.sessions:
                runs.append(Run(count))
                _measure(client, options, runs[-1], line)
    except (KeyboardInterrupt, OffboardError) as error:
        runs = [measured for measured in runs if measured.answered]
        if not runs:
            raise
        cut_short = error
    reports = [measured.report() for measured in runs]
    if options.json:
        emit_json({"url": options.server, "interrupted": cut_short is not None, "runs": reports})
    else:
        _show(reports)
        if options.images != "raw":
            for measured in runs:
                tell(_said_of_images(measured))
        if any(measured.shared_memory for measured in runs):
            tell("the server is on this machine: observations of 16 KiB and more lay in memory that both share")
    if cut_short is not None:
        note("this was cut short: what is shown is what was measured until then")
        raise cut_short
    failed = [measured.first_error for measured in runs if measured.errors]
    if failed:
        note(f"the server answered with errors, first: {failed[0]}")
    return 1 if failed else 0


def _measure(client: InferenceClient, options: Options, measured: Run, line: Line) -> None:
    sessions: list[InferenceSession] = []
    try:
        for _ in range(measured.sessions):
            sessions.append(client.new_session(options.model_id))
        measured.shared_memory = any(session.shared_memory for session in sessions)
        observation = textured(synthetic_observation(sessions[0].metadata))
        model = sessions[0].metadata.get("checkpoint_id", "the default model")
        line.event(f"{counted(measured.sessions, 'session')} on the model {model} …")
        _loop(sessions, observation, options, measured, line)
    finally:
        for session in sessions:
            session.close()


def _loop(
    sessions: Sequence[InferenceSession], observation: Mapping[str, Any], options: Options, measured: Run, line: Line
) -> None:
    lock, stop = threading.Lock(), threading.Event()
    failures: list[Exception] = []
    start: float | None = None

    def begins() -> None:
        nonlocal start
        start = time.perf_counter()

    begin = threading.Barrier(len(sessions) + 1, begins)

    def robot(session: InferenceSession) -> None:
        try:
            for _ in range(options.warmup):
                _once(session, observation)
            begin.wait()
            end = time.perf_counter() + options.seconds if options.seconds else None
            done = 0
            while not stop.is_set() and (time.perf_counter() < end if end else done < options.requests):
                error = _once(session, observation)
                done += 1
                with lock:
                    if stop.is_set():
                        return  # who cut it short reads the figures
                    if error is None:
                        measured.add(session.timing.last, session.images)
                    else:
                        measured.errors[error.code] += 1
                        measured.first_error = measured.first_error or error.text
        except threading.BrokenBarrierError:
            pass  # another session failed before the measurement began
        except Exception as error:
            failures.append(error)
            stop.set()
            begin.abort()

    threads = [threading.Thread(target=robot, args=(session,), daemon=True) for session in sessions]
    try:
        for thread in threads:
            thread.start()
        begin.wait()
        since = time.perf_counter()
        for thread in threads:
            while thread.is_alive():
                _show_progress(line, measured, options, time.perf_counter() - since)
                thread.join(1 / _REDRAWS_PER_S)
    except threading.BrokenBarrierError:
        pass
    finally:
        with lock:
            stop.set()
        measured.images_why = tuple(dict.fromkeys(session.images_why for session in sessions))
        if start is not None:
            measured.seconds = time.perf_counter() - start
        begin.abort()
    if failures:
        raise failures[0]


def _show_progress(line: Line, measured: Run, options: Options, elapsed: float) -> None:
    done, total = measured.answered, options.requests * measured.sessions
    text, amount = f"{measured.sessions} at once, {done / max(elapsed, 1e-3):.1f} requests/s", f"{done} of {total}"
    if options.seconds is not None:
        done, total, amount = elapsed, options.seconds, f"{done} so far"
    line.show(text, done, total, amount)


def _once(session: InferenceSession, observation: Mapping[str, Any]) -> OffboardError | None:
    """One exchange. An error that the session survives is returned, one that it does not is raised."""
    try:
        session.infer(observation)
    except (ConnectionFailed, InferTimeout):
        raise
    except OffboardError as error:
        return error
    return None


def _said_of_images(measured: Run) -> str:
    of = f" with {counted(measured.sessions, 'session')}" if measured.sessions > 1 else ""
    sent = ", ".join(f"{form} in {count}" for form, count in measured.images.items()) or "none"
    return f"images{of}: {sent} of {counted(measured.requests, 'observation')} ({'; '.join(measured.images_why)})"


def _percentile(values: Sequence[float] | None, percent: int) -> float | None:
    return float(np.percentile(values, percent)) if values else None


def _show(reports: Sequence[Mapping[str, Any]]) -> None:
    emit_table(
        ("sessions", "requests", "errors", "requests/s", "p50 ms", "p95 ms", "p99 ms", "batch"),
        [
            (
                str(r["sessions"]),
                str(r["requests"]),
                ", ".join(f"{code} {n}" for code, n in r["errors"].items()) or "none",
                f"{r['requests_per_s']:.1f}",
                *(ms(r["round_trip_ms"][p]) for p in ("p50", "p95", "p99")),
                ms(r["batch"]),
            )
            for r in reports
        ],
    )
    stages = list(dict.fromkeys(name for r in reports for name in r["stages_ms"]))
    emit_table(
        ("p50 in ms, by sessions", *(str(r["sessions"]) for r in reports)),
        [(name.removesuffix("_ms"), *(ms(r["stages_ms"].get(name)) for r in reports)) for name in stages],
    )
