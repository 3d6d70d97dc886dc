"""``offboard compare FILE SERVER [SERVER]``: a recorded episode's observations again, and where the answers differ."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro
from tyro.conf import Positional

from ..errors import BadObservation, BadParameter, ConfigurationError, ConnectionFailed, InferTimeout, OffboardError
from ..play import Agreement, Frames, PolicySession
from ..plugins import UsageError
from ..terminal import Line, emit_json, note, parse, refuse_address_flags
from ..wire import CONTEXT
from .compare_show import show
from .run_options import ServersPolicy

if TYPE_CHECKING:
    from ..recording import Episode, Question


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of ``offboard compare``."""

    file: Annotated[Positional[str], tyro.conf.arg(metavar="FILE", help_behavior_hint="(required)")] = ""
    """A recording of `offboard run --output-dir` or `offboard serve --recording-dir`."""
    server: Annotated[Positional[str], tyro.conf.arg(metavar="SERVER", help_behavior_hint="(required)")] = ""
    """The server that is asked: HOST, HOST:PORT, or ws://HOST:PORT/api/v1/session/MODEL?codec.NAME=VALUE."""
    other: Annotated[Positional[str], tyro.conf.arg(metavar="SERVER", help_behavior_hint="(optional)")] = ""
    """Another one, to be compared with the first; without it the first is compared with what was recorded."""
    tolerance: float | None = None
    """By how much any number may differ to count as the same; without it only the same bits do."""
    seed: int | None = None
    """Send this seed with the first observation, and the next one with the next, where the model takes a seed."""
    images: str | None = None
    """How images are sent: raw, jpeg, or jpeg:QUALITY; without it as they were."""
    resize: int | None = None
    """As it was in the run: pixels a side that an image is sent with at most, where the server states none."""
    auth_token_file: Path | None = None
    """A file that holds the token of the servers; without it OFFBOARD_AUTH_TOKEN counts."""
    timeout: float = 60.0
    """How long to wait for one answer, in seconds."""
    wait: float | None = None
    """Seconds to wait for a server that is still to start (else 5), and for its model and who holds it (else 900)."""
    json: bool = False
    """Print one JSON object on stdout."""

    def __post_init__(self) -> None:
        if not self.file or not self.server:
            raise UsageError("say which recording and which server: offboard compare FILE.mcap HOST:PORT [HOST:PORT]")
        if self.tolerance is not None and not 0 <= self.tolerance < math.inf:
            raise UsageError(f"--tolerance is {self.tolerance:g}; expected 0 or more, in the actions' own units")
        if self.seed is not None and self.seed < 0:
            raise UsageError(f"--seed is {self.seed}; expected a whole number from 0 up")

    def policy(self, server: str, images: str) -> ServersPolicy:
        """What opens a session there."""
        return ServersPolicy(
            server=server, auth_token_file=self.auth_token_file, timeout=self.timeout, wait=self.wait,
            resize=self.resize, images=self.images or images or "raw",
        )  # fmt: skip


@dataclass
class Comparison:
    """What was compared so far. ``left_out``: how many recorded exchanges were not, by why; ``failures``: how often a
    server answered with an error, by what it said."""

    agreement: Agreement
    left_out: Counter[str] = field(default_factory=Counter[str])
    failures: Counter[str] = field(default_factory=Counter[str])
    asked: int = 0

    @property
    def status(self) -> int:
        """The command's."""
        return int(self.agreement.verdict not in ("exact", "within") or bool(self.failures))


def run(arguments: list[str]) -> int:
    """Ask again, show where the answers differ.

    0 if all that was compared is the same; 1 if something differs, or nothing could be compared. Ctrl-C, and an error
    that ends a session, cut it short: what was compared until then is shown before they are raised.
    """
    refuse_address_flags("compare", arguments)
    options = parse(
        Options, arguments, "compare",
        "Send a recorded episode's observations again, in a session of its own, and show where actions differ: those "
        "of one server and those that were recorded, or those of two servers. Exit status 0 if nothing does.",
    )  # fmt: skip
    from ..recording import Episode  # video's libraries are large

    found = Comparison(Agreement(options.tolerance))
    cut_short: KeyboardInterrupt | OffboardError | None = None
    with Episode(Path(options.file).expanduser()) as episode:
        try:
            _compare(episode, options, found)
        except (KeyboardInterrupt, OffboardError) as error:
            if not found.agreement.compared:
                raise
            cut_short = error
    sides = ("the recording", options.server) if not options.other else (options.server, options.other)
    sides = tuple(side.rpartition("@")[2] for side in sides)
    if options.json:
        emit_json({
            "file": options.file, "sides": sides, "interrupted": cut_short is not None, "asked": found.asked,
            **found.agreement.as_dict(), "left_out": dict(found.left_out), "failures": dict(found.failures),
        })  # fmt: skip
    else:
        show(found.agreement, sides, found.left_out, found.failures)
    if cut_short is not None:
        note("this was cut short: what is shown is what was compared until then")
        raise cut_short
    return found.status


def _compare(episode: Episode, options: Options, found: Comparison) -> None:
    from ..recording import read_questions, without_sent

    if without_sent(episode):
        raise ConfigurationError(
            f"{options.file} has no pictures as the policy was sent them: it was recorded with --no-record-sent. "
            "Record an episode without that option to compare with it"
        )
    if (first := next(iter(read_questions(episode)), None)) is None:
        raise ConfigurationError(f"{options.file} has no exchange with a policy: there is nothing to send again")
    before: dict[int, Any] | None = None
    with Line() as line:
        # One after the other: two models of one server may have to take turns.
        for server in filter(None, (options.server, options.other)):
            name = server.rpartition("@")[2]
            with closing(options.policy(server, first.images).open(line)) as session:
                line.stop()
                asked = _Asked(session, name, options)
                before = _ask_all(episode, options, asked, before, found, line)


def _ask_all(
    episode: Episode, options: Options, asked: _Asked, before: Mapping[int, Any] | None, found: Comparison, line: Line
) -> dict[int, Any]:
    """What one server answers, by the exchange; compared with what there is to compare it with."""
    from ..recording import read_questions

    answers = dict[int, Any]()
    last = before is not None or not options.other
    length = max(episode.end - episode.start, 1)
    for question in read_questions(episode, asked.looks_back):
        line.show(f"asking {asked.name}", question.at - episode.start, length, f"{len(answers)} answers")
        why = None
        if question.missing:
            why = f"its picture of {', '.join(question.missing)} was not recorded"
        elif question.failure is not None and not options.other:
            why = f"it failed when it was recorded: {question.failure[0]}"
        if why is not None:
            found.left_out[why] += last
            asked.passes(question)
            continue
        found.asked += last
        try:
            answers[question.number] = asked.ask(question)
        except (ConnectionFailed, InferTimeout):
            raise
        except BadObservation as error:
            if answers:
                raise
            raise ConfigurationError(
                f"what was recorded is not what {asked.name} asks for: {error.text}. The observation has: "
                f"{', '.join(sorted(question.observation))}"
            ) from error
        except OffboardError as error:
            found.failures[f"{asked.name}: {error.code}: {error.text}"[:500]] += 1
            continue
        if last and (before is None or question.number in before):
            one = question.rows if before is None else before[question.number]
            found.agreement.add(question.number, one, answers[question.number])
    return answers


class _Asked:
    """One server's session, asked what was asked before, as it was."""

    def __init__(self, session: PolicySession, name: str, options: Options) -> None:
        self._session, self.name, self._seed = session, name, options.seed
        self._takes = frozenset[str](session.metadata.get("context") or ())
        self._frames = Frames(session.metadata)
        self._configured: dict[str, Any] = {}
        self._said = set[str]()
        if options.seed is not None and "seed" not in self._takes:
            note(f"{name} takes no seed: --seed is not sent there")

    @property
    def looks_back(self) -> bool:
        """Whether the model is told what was observed before."""
        return "history" in self._takes

    def passes(self, question: Question) -> None:
        """It is not asked this one, but may look back at it."""
        if question.anew:
            self._session.reset()
        for frame in question.frames:
            self._frames.keep(frame.observation, frame.seconds)

    def ask(self, question: Question) -> Any:
        """What it answers. Raises what the session raises."""
        self._configure(question.configured)
        self.passes(question)
        return self._session.infer(self._observation(question))

    def _observation(self, question: Question) -> Mapping[str, Any]:
        sent = dict(question.observation)
        if self._seed is not None:
            sent[CONTEXT["seed"]] = self._seed + question.number
        if self.looks_back and CONTEXT["history"] not in sent:
            if question.frames:
                sent |= self._frames.told(question.frames[-1].seconds)
            else:
                self._say("looks back, and what was observed before is not in the recording: it is asked without")
        for name, key in CONTEXT.items():
            if key in sent and name not in self._takes:
                del sent[key]
                if name != "seed" or self._seed is None:
                    self._say(f"takes no {name}, which was sent when this was recorded: it is asked without")
        return sent

    def _configure(self, configured: Mapping[str, Any]) -> None:
        if (changed := {k: v for k, v in configured.items() if self._configured.get(k) != v}) == {}:
            return
        self._configured |= changed
        configure: Any = getattr(self._session, "configure", None)
        try:
            configure(**changed)
        except BadParameter as error:
            self._say(f"cannot be configured as it was when this was recorded: {error.text}")

    def _say(self, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            note(f"{self.name} {text}")
