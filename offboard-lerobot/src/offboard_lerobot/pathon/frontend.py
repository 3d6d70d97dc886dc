"""PathOn-AI's protocol on offboard's port: robots that run the client of ``awesome-lerobot`` drive any model.

The client speaks first: one message, one answer, without numbers. It waits 30 s for each, and takes whatever comes
after that for the answer to its next message: so none is sent so late.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from time import perf_counter
from urllib.parse import parse_qsl

from offboard_client.errors import BadMessage, BadParameter, DialectUnsupported, InferTimeout, OffboardError
from offboard_client.wire import canonical
from offboard_core.frontends import (
    JOINED,
    Frame,
    Frontend,
    FrontendConnection,
    KeySet,
    ResolvedCodec,
    Result,
    Scope,
    Serializer,
    ServiceSession,
    Status,
    check_reserved,
)
from offboard_core.types import Observation

from .bridge import bridge
from .keysets import KEYSETS
from .messages import (
    CONFIGURE,
    PING,
    RESET,
    SELECT,
    STATS,
    action_message,
    answer,
    control,
    error_message,
    look,
    read_observation,
    unknown_type,
)
from .options import PathOnOptions
from .outline import texts_of
from .steps import Steps

#: Seconds: what the client waits less what the network and the robot's computer may take of it.
ANSWER_WITHIN = 25.0


class PathOnFrontend(Frontend):
    """``?model=ID`` chooses a model; every other name of the query is a parameter of the session."""

    def __init__(self, options: PathOnOptions) -> None:
        self._options = options
        self._keys = None if options.codec is None else KEYSETS[options.codec]

    def connect(self, scope: Scope) -> PathOnConnection:
        """Raises BadParameter for a model that is given twice."""
        query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        models = [value for name, value in query if name == "model"]
        if len(models) > 1:
            raise BadParameter("name one model in the URL: it was given twice")
        params = [pair for pair in query if pair[0] != "model"]
        return PathOnConnection(self._keys, self._options, next(iter(models), None), params)


class PathOnConnection(FrontendConnection):
    """One robot's. A refusal is the reason of the close frame, which the client shows."""

    answer_within = ANSWER_WITHIN

    def __init__(
        self, keys: KeySet | None, options: PathOnOptions, model_id: str | None, params: Sequence[tuple[str, str]]
    ) -> None:
        self.model_id, self.params = model_id, params
        self._keys, self._options = keys, options
        self._news = ""
        self._from_queue = 0
        self._serializer: PathOnSerializer | None = None

    def bridge(self, codec: ResolvedCodec) -> ResolvedCodec:
        """See :func:`~.bridge.bridge`."""
        return bridge(self._keys, codec)

    def serializer(self, codec: ResolvedCodec) -> Serializer:
        """PathOn-AI's messages. What is left of an answer belongs to the serializer that was asked for it."""
        self._serializer = made = PathOnSerializer(codec, self._options)
        return made

    def status(self, status: Status) -> Frame | None:
        """Nothing, for the client would take it for an answer; a robot that waits too long is told."""
        self._news = status.message
        return None

    def ready(self, session: ServiceSession) -> Frame | None:
        """Nothing: the client speaks first."""
        self._news = ""
        return None

    def error(self, error: OffboardError, frame: Frame) -> Frame:
        """An error, which the client raises. Nothing is left of an answer then, whatever it was about."""
        if self._serializer is not None:
            self._queue.forget()
        if self._news and isinstance(error, InferTimeout):
            error = InferTimeout(f"{error.text} ({self._news})")
        return error_message(error)

    def is_control(self, frame: Frame) -> bool:
        """Whether it is any message but a ``select_action``."""
        return look(frame) not in (SELECT, None)

    def without_model(self, frame: Frame) -> Frame | None:
        """The next step of what was answered last, if its time is not over, to a whole message with the same texts.

        What the robot sees is not looked at.
        """
        assert self._serializer is not None
        texts = texts_of(frame) if isinstance(frame, bytes) and look(frame) == SELECT else None
        reply = self._serializer.next_step() if texts is not None and texts == self._serializer.texts else None
        self._from_queue += reply is not None
        return reply

    async def answer(self, frame: Frame, session: ServiceSession) -> Frame:
        """``reset``, ``ping``, ``get_stats``, ``configure``. Raises BadMessage for any other type."""
        kind, said, steps = look(frame), control(frame), self._queue
        if kind == CONFIGURE:
            if CONFIGURE not in session.meta["controls"]:
                raise BadParameter("this model has nothing that can be changed while a session is open")
            changed = await session.call(CONFIGURE, said)
            steps.forget()  # they were answered under other settings
            return answer("configure_response", **changed)
        if said:
            raise BadMessage(f"a {kind} holds nothing else; this one has {', '.join(sorted(said))[:200]}")
        if kind == RESET:
            steps.forget()
            await session.reset()
            return answer("reset_response")
        if kind == PING:
            return answer("pong", "pong")
        if kind == STATS:
            stats = session.pipeline.stats.summary()
            return answer("stats_response", stats={**stats, "queued": len(steps), "from_queue": self._from_queue})
        raise BadMessage(unknown_type(kind))

    @property
    def _queue(self) -> Steps:
        assert self._serializer is not None
        return self._serializer.steps


class PathOnSerializer:
    """One session's translations, and what has not been played of the last answer."""

    def __init__(self, codec: ResolvedCodec, options: PathOnOptions) -> None:
        self._declared = codec.meta.observation
        self._most = options.steps
        self.steps = Steps(options.stale_after)
        #: Of the observation that was answered last; None where it could not be told at a glance.
        self.texts: bytes | None = None

    def next_step(self) -> Frame | None:
        """One step that the model has answered already; None where it has to be asked."""
        now = perf_counter()
        step = self.steps.next(now)
        if step is None:
            return None
        return action_message(step, _timing(0.0, 0.0, 0.0, 0.0, (now - self.steps.observed) * 1e3))

    def read(self, frame: Frame) -> tuple[Observation, list[str]]:
        """An observation. Raises BadMessage or BadObservation."""
        self.steps.forget()
        self.texts = texts_of(frame) if isinstance(frame, bytes) else None
        observation = canonical(read_observation(frame), self._declared)
        check_reserved(observation)
        return observation, []

    def write(
        self, result: Result, timing: Mapping[str, float], observation: Observation, warnings: list[str]
    ) -> Frame:
        """The first step; the others are kept. Raises DialectUnsupported for no action."""
        if isinstance(result, OffboardError):
            return error_message(result)
        if result is None or not len(result):
            what = "has nothing new to say" if result is None else "says stop: the episode is over"
            raise DialectUnsupported(f"the model {what}, for which PathOn-AI's protocol has no word")
        begun = perf_counter()
        steps = [*result.columns()[JOINED][: self._most]]
        times = None if result.timestamp is None else [float(at) for at in result.timestamp[: len(steps)]]
        parsed, total = timing["decode_ms"], timing["total_ms"]
        step = self.steps.fill(steps, times, begun - total / 1e3, begun)
        written = (perf_counter() - begun) * 1e3
        return action_message(step, _timing(parsed, total - parsed, written, total + written, total + written))


def _timing(parse: float, inference: float, serialize: float, total: float, age: float) -> dict[str, float]:
    """In ms. ``age_ms``: how long ago that came in what this step answers."""
    return {
        "parse_ms": parse, "inference_ms": inference, "serialize_ms": serialize, "total_ms": total, "age_ms": age,
    }  # fmt: skip
