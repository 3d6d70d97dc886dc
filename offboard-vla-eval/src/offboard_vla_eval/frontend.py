"""vla-eval's protocol on offboard's port: its benchmarks evaluate any model served here.

A client says hello, then one observation after the other, and hears one step for each. Nothing else is answered: its
client takes the next message, whatever it is, for the answer to what it sent last.
"""

from __future__ import annotations

import contextlib
import logging
from collections import deque
from collections.abc import Mapping, Sequence
from math import inf
from time import monotonic
from typing import Any, cast
from urllib.parse import parse_qsl

from offboard_client.errors import (
    BadMessage,
    BadObservation,
    BadParameter,
    Busy,
    DialectUnsupported,
    OffboardError,
    brief,
)
from offboard_client.wire import canonical
from offboard_core.frontends import (
    JOINED,
    Frame,
    Frontend,
    FrontendConnection,
    ResolvedCodec,
    Result,
    Scope,
    Serializer,
    ServiceSession,
    Sparing,
    check_reserved,
    read_control,
)
from offboard_core.types import Array, Observation

from .benchmarks import INSTRUCTION, KEYSETS, RAW, BenchmarkKeys, folder
from .bridge import bridge
from .messages import (
    EPISODE_END,
    EPISODE_START,
    ERROR,
    HELLO,
    OBSERVATION,
    VERSION,
    action_message,
    error_message,
    is_live,
    look,
    message,
    read_observation,
    unknown_type,
)
from .options import VLAEvalOptions

log = logging.getLogger(__name__)

#: With each of these an episode is over.
_BOUNDARIES = (HELLO, EPISODE_START, EPISODE_END)


class VLAEvalFrontend(Frontend):
    """``?model=ID`` chooses a model; every other name of the query is a parameter of the session."""

    #: The simulation runs on its client's event loop, and a scene may take minutes to build.
    pong_timeout = 1800.0

    def __init__(self, options: VLAEvalOptions) -> None:
        self._options = options
        self._keys = None if options.codec is None else KEYSETS[options.codec]
        self._sparing = Sparing()

    def connect(self, scope: Scope) -> VLAEvalConnection:
        """Raises BadParameter for a model that is given twice."""
        query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        models = [value for name, value in query if name == "model"]
        if len(models) > 1:
            raise BadParameter("name one model in the URL: it was given twice")
        params = [pair for pair in query if pair[0] != "model"]
        return VLAEvalConnection(self._keys, self._options, next(iter(models), None), params, self._sparing)


class VLAEvalConnection(FrontendConnection):
    """One shard's. A refusal is the reason of the close frame, which its client shows; of an error it shows none."""

    def __init__(
        self,
        keys: BenchmarkKeys | None,
        options: VLAEvalOptions,
        model_id: str | None,
        params: Sequence[tuple[str, str]],
        sparing: Sparing,
    ) -> None:
        self.model_id = model_id
        self.params = params
        self._sparing = sparing
        self._keys = keys
        self._options = options
        self._serializer: VLAEvalSerializer | None = None
        #: Whether the model has seen something of this episode, and whether physics does not wait in it.
        self._asked = self._live = False
        #: Why no observation of this client, or of its benchmark, is answered.
        self._unfit: OffboardError | None = None
        self._episodes = Episodes()

    def bridge(self, codec: ResolvedCodec) -> ResolvedCodec:
        """See :func:`~.bridge.bridge`."""
        bridged, self._layout = bridge(self._keys, codec)
        return bridged

    def serializer(self, codec: ResolvedCodec) -> Serializer:
        """vla-eval's messages. What is left of an answer belongs to the serializer that was asked for it."""
        self._codec = codec
        self._serializer = made = VLAEvalSerializer(codec, self._options.chunk_size, self._episodes)
        return made

    def ready(self, session: ServiceSession) -> Frame | None:
        """Nothing: the client says hello."""
        return None

    def error(self, error: OffboardError, frame: Frame) -> Frame:
        """An error with the number of what it answers."""
        return error_message(error, look(frame)[1])

    def is_control(self, frame: Frame) -> bool:
        """Whether it is any message but an observation. With an episode ends what is still to be answered of it."""
        kind, _ = look(frame)
        self._episodes.received += kind in _BOUNDARIES
        return kind not in (OBSERVATION, None)

    async def answer(self, frame: Frame, session: ServiceSession) -> Frame | None:
        """A hello is answered with one; the beginning and the end of an episode, and the client's errors, are not."""
        kind, seq = look(frame)
        self._episodes.begun += kind in _BOUNDARIES
        if kind == HELLO:
            await self._begin_anew(session)
            if (said := read_control(frame)) is None:
                self._unfit = BadMessage("a hello is a map of fewer than 512 bytes, in msgpack")
                raise self._unfit
            return self._hello(said.get("payload"), seq, session)
        if kind in (EPISODE_START, EPISODE_END):
            self._live = is_live(frame)
            await self._begin_anew(session)
        elif kind == ERROR:
            said = brief((read_control(frame) or {}).get("payload"), 200)
            if self._sparing.may(said):
                log.warning("a vla-eval client says: %s", said)
        else:
            raise BadMessage(unknown_type(kind))
        return None

    def without_model(self, frame: Frame) -> Frame | None:
        """The next step of what was answered last."""
        kind, seq = look(frame)
        if self._unfit is not None:
            raise self._unfit
        self._episodes.check()
        assert self._serializer is not None
        step = self._serializer.next_step(self._live) if kind == OBSERVATION else None
        if step is None:
            self._asked = True
            return None
        return action_message(step, seq)

    def _hello(self, payload: Any, seq: int, session: ServiceSession) -> Frame:
        said = cast("dict[Any, Any]", payload) if isinstance(payload, dict) else {}
        version, benchmark = said.get("protocol_version"), said.get("benchmark")
        if version != VERSION:
            self._unfit = DialectUnsupported(
                f"the client speaks version {brief(version)} of the protocol, not {VERSION}"
            )
            raise self._unfit
        self._unfit = self._misfit(benchmark) if isinstance(benchmark, str) else None
        read = {name: read for name, read in self._codec.meta.observation.items() if read.required}
        state = any(name.partition("/")[0] in ("state", "states") for name in read)
        wrist = any(name.startswith("images/") and "wrist" in name for name in read)
        beside = frozenset[str]() if self._keys is None else self._keys.asked_with_state
        wanted = {*(("send_state", *beside) if state else ()), *(("send_wrist_image",) if wrist else ())}
        specs: Mapping[str, Any] = {} if self._keys is None else self._keys.observation_spec
        meta = session.meta
        told = {name: meta[name] for name in ("checkpoint_id", "codec", "spec_hash", "offboard_version")}
        return message(
            HELLO,
            {
                "harness_version": f"offboard {meta['offboard_version']}",
                "protocol_version": VERSION,
                "model_server": f"offboard {meta['checkpoint_id']}",
                "capabilities": {},
                "observation_params": dict.fromkeys(sorted(wanted), True),
                "action_spec": RAW if self._keys is None else self._keys.action_spec,
                "observation_spec": {k: v for name in read for k, v in specs.get(name, {}).items()},
                "action_layout": [list(column) for column in self._layout],
                **told,
            },
            seq,
        )

    def _misfit(self, benchmark: str) -> OffboardError | None:
        """Why this benchmark is not the one whose names are translated. Of others' benchmarks nobody knows."""
        known, keys = folder(benchmark), self._keys
        if keys is None or known is None or known in keys.folders:
            return None
        return DialectUnsupported(
            f"the benchmark is {brief(benchmark)}, and this server translates {keys.name} (--vla-eval.codec): serve "
            "without it where the model was trained with this benchmark's own names"
        )

    async def _begin_anew(self, session: ServiceSession) -> None:
        """A new episode, unless the last one has not begun. Nobody waits for an answer.

        A reset that fails stays due in the session: the next observation hears of it if it fails again.
        """
        assert self._serializer is not None
        self._serializer.forget()
        if not self._asked:
            return
        with contextlib.suppress(OffboardError):
            await session.reset()
            self._asked = False


class Episodes:
    """How many beginnings and ends of episodes have come, and how many of them had their turn.

    Frames have their turn in order, so an observation came in the episode that had begun when it had its own turn: what
    has come meanwhile has ended that episode.
    """

    received = begun = 0

    def check(self) -> None:
        """Raises Busy where the episode of the observation that is answered now has ended."""
        if self.received != self.begun:
            raise Busy("the episode ended before this was answered: nothing of it is played in the next one")


class VLAEvalSerializer:
    """One session's translations, and what has not been played of the last answer."""

    def __init__(self, codec: ResolvedCodec, chunk_size: int | None, episodes: Episodes) -> None:
        self._declared = codec.meta.observation
        self._fps = codec.meta.action_fps
        self._chunk_size = chunk_size
        self._worth = inf
        self._steps: deque[Array] = deque()
        self._seq = 0
        self._episodes = episodes

    def next_step(self, live: bool) -> Array | None:
        """One step (D,) that the model has answered already; None where it has to be asked.

        ``live``: the world goes on, and an answer is worth as many seconds as its steps take, where that is known.
        """
        if live and monotonic() > self._worth:
            self.forget()
        return self._steps.popleft() if self._steps else None

    def forget(self) -> None:
        """Play nothing more of the last answer."""
        self._steps.clear()

    def read(self, frame: Frame) -> tuple[Observation, list[str]]:
        """An observation. Raises BadMessage or BadObservation."""
        self.forget()
        self._seq = look(frame)[1]
        found = read_observation(frame)
        if INSTRUCTION in found and INSTRUCTION not in self._declared:
            if "task" in found:
                raise BadObservation(f"{INSTRUCTION} and task mean the same: send one of them")
            found["task"] = found.pop(INSTRUCTION)
        observation = canonical(found, self._declared)
        check_reserved(observation)
        return observation, []

    def write(
        self, result: Result, timing: Mapping[str, float], observation: Observation, warnings: list[str]
    ) -> Frame:
        """The first step; the others are kept. Raises DialectUnsupported for no action, Busy where nobody waits."""
        if isinstance(result, OffboardError):
            return error_message(result, self._seq)
        self._episodes.check()
        if result is None or not len(result):
            what = "has nothing new to say" if result is None else "says stop: the episode is over"
            raise DialectUnsupported(f"the model {what}, for which vla-eval's protocol has no word")
        steps = result.columns()[JOINED][: self._chunk_size]
        self._steps.extend(steps[1:])
        self._worth = monotonic() + len(steps) / self._fps if self._fps else inf
        return action_message(steps[0], self._seq)
