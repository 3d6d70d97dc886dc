"""One of GR00T's clients: what its requests mean here, and what it hears.

Every reply is one msgpack value. An error is ``{"error": text}``, which GR00T's client raises as a RuntimeError.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from offboard_client.errors import BadMessage, BadObservation, BadParameter, DialectUnsupported, OffboardError
from offboard_client.wire import canonical
from offboard_core.frontends import (
    Frame,
    PeerConnection,
    ResolvedCodec,
    Result,
    Serializer,
    ServiceSession,
    check_reserved,
    read_control,
)
from offboard_core.types import Observation

from .bridge import answers_pass, bridge
from .describe import describe, frames_of
from .keysets import KEYSETS
from .options import GR00TListenerOptions
from .requests import Question, Shape, moments, read_question
from .requests import answer as answered
from .wire import Form, pack, unpack, write_configs

#: How a client says its token.
HOW = "GR00T's client takes it as api_token, and sends it as the last entry of each request"
_TOKEN = b"\xa9api_token"
_LONGEST_TOKEN = 4096
#: What a request may ask beside an action.
_CONTROLS = ("reset", "get_modality_config")


def failed(error: OffboardError) -> bytes:
    """What GR00T's client raises."""
    return pack({"error": f"{error.code}: {error.text}"}, Form.NPY)


def pong() -> bytes:
    """What GR00T's own server answers to a ping."""
    return pack({"status": "ok", "message": "Server is running"}, Form.NPY)


def refuse_kill() -> bytes:
    """No robot ends the server of others."""
    return failed(BadParameter("kill is refused: the server serves others too, and ends where it was started"))


def token_of(body: bytes) -> str | None:
    """The token of a request, which stands last in it; looked for there, for the rest may be millions of bytes."""
    at = body.rfind(_TOKEN, max(0, len(body) - _LONGEST_TOKEN - len(_TOKEN) - 3))
    if at < 0:
        small = read_control(body)
        token = None if small is None else small.get("api_token")
        return token if isinstance(token, str) else None
    held = read_control(b"\x81" + body[at:])
    token = None if held is None else held.get("api_token")
    return token if isinstance(token, str) else None


class GR00TClient(PeerConnection):
    """One connection's. What its first observation looks like says of which generation it is."""

    def __init__(self, options: GR00TListenerOptions) -> None:
        self._options = options
        self._keys = None if options.codec is None else KEYSETS[options.codec]
        self.model_id = options.model
        self._serializer: GR00TSerializer | None = None
        self._hears_own = False
        #: What the model looks at, once the session is there.
        self._frames: Mapping[str, Sequence[int]] = {}

    def bridge(self, codec: ResolvedCodec) -> ResolvedCodec:
        """See :func:`~.bridge.bridge`."""
        return bridge(self._keys, codec)

    def serializer(self, codec: ResolvedCodec) -> Serializer:
        """GR00T's encoding, in the client's own form and shape."""
        self._hears_own = answers_pass(self._keys, codec)
        self._serializer = GR00TSerializer(codec, lambda: self._frames)
        return self._serializer

    def begun(self, session: ServiceSession) -> None:
        """See :meth:`PeerConnection.begun`."""
        self._frames = frames_of(session.meta)

    def error(self, error: OffboardError, frame: Frame) -> Frame:
        """See :func:`failed`."""
        return failed(error)

    def is_control(self, frame: Frame) -> bool:
        """Whether it is no observation. A request that names no endpoint is one."""
        small = read_control(frame)
        return small is not None and small.get("endpoint", "get_action") != "get_action"

    async def answer(self, frame: Frame, session: ServiceSession) -> Frame:
        """``reset`` begins a new episode, ``get_modality_config`` says what the model reads and answers."""
        endpoint = (read_control(frame) or {}).get("endpoint")
        if endpoint == "reset":
            await session.reset()
            return pack({}, Form.NPY)
        if endpoint == "get_modality_config":
            return self._configs(session)
        raise BadMessage(
            f"there is no endpoint {str(endpoint)[:40]!r}; there are: ping, get_action, {', '.join(_CONTROLS)}"
        )

    def _configs(self, session: ServiceSession) -> bytes:
        asked = None if self._serializer is None else self._serializer.shape
        # What it has shown tells; what was said is for who has shown nothing yet.
        older = self._options.generation == "n1.5" if asked is None else asked is Shape.FLAT
        return pack(write_configs(describe(session.meta, prefixed=older, own=self._hears_own), as_text=older), Form.NPY)


class GR00TSerializer:
    """One session's translations."""

    def __init__(self, codec: ResolvedCodec, frames: Callable[[], Mapping[str, Sequence[int]]]) -> None:
        """``frames``: as :func:`~.describe.frames_of` has them."""
        self._declared, self._frames = codec.meta.observation, frames
        self._question: Question | None = None

    def read(self, frame: Frame) -> tuple[Observation, list[str]]:
        """A request as an observation. Raises BadMessage or BadObservation."""
        value, form = unpack(cast("bytes", frame))
        if not isinstance(value, Mapping):
            raise BadMessage("a request is a map with endpoint and data")
        request = cast("Mapping[str, Any]", value)
        if (endpoint := request.get("endpoint", "get_action")) != "get_action":
            raise BadMessage(f"{str(endpoint)[:40]!r} came with more than it takes")
        question = read_question(request, form)
        # Who declares nothing may want several frames as they come.
        now, before = moments(question.values, self._frames()) if self._declared else (question.values, [])
        observation = canonical({**now, **self._instruction(question.instructions)}, self._declared)
        if before:
            observation = {**observation, "offboard.history": [self._moment(each) for each in before]}
        check_reserved(observation)
        self._question = question
        return observation, []

    def _moment(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """An earlier one, of what is declared, as the protocol has it."""
        return {name: value for name, value in canonical(values, self._declared).items() if name in self._declared}

    def write(
        self, result: Result, timing: Mapping[str, float], observation: Observation, warnings: list[str]
    ) -> Frame:
        """The actions, as the question was laid out. Raises DialectUnsupported for what GR00T has no word for."""
        if isinstance(result, OffboardError):
            return failed(result)
        if result is None or not len(result):
            what = "has nothing new to say" if result is None else "says stop: the episode is over"
            raise DialectUnsupported(f"the model {what}, for which GR00T's protocol has no word")
        assert self._question is not None  # there is no result without one
        return pack(answered(self._question, result.columns()), self._question.form)

    @property
    def shape(self) -> Shape | None:
        """How its client lays out what it asks, as far as it has asked."""
        return None if self._question is None else self._question.shape

    def _instruction(self, texts: Mapping[str, str]) -> dict[str, str]:
        """Under the key that is declared where one is, whatever the robot calls it; else as ``task``."""
        if own := {name: text for name, text in texts.items() if name in self._declared}:
            return own
        if len(set(texts.values())) > 1:
            raise BadObservation(f"the instructions {', '.join(sorted(texts)[:6])} differ, and the model reads one")
        keys = [name for name, field in self._declared.items() if field.dtype == "str"]
        return {keys[0] if len(keys) == 1 else "task": next(iter(texts.values()))} if texts else {}
