"""openpi's protocol on offboard's port: a robot that runs ``openpi-client`` drives any model served here.

Metadata first, then one observation, one reply. A reply that is text is an error, which openpi's client raises; unlike
openpi's own server this one says what is wrong without a traceback, and goes on with the session.
"""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import parse_qsl

from offboard_client.errors import BadParameter, OffboardError
from offboard_client.wire import encode
from offboard_core.frontends import (
    Frame,
    Frontend,
    FrontendConnection,
    ResolvedCodec,
    Scope,
    Serializer,
    ServiceSession,
    Sparing,
    read_control,
)

from .bridge import bridge
from .keysets import KEYSETS, OpenPIKeys
from .lengths import Lengths
from .options import OpenPIFrontendOptions
from .roboarena import RoboArenaConnection
from .serializer import OpenPISerializer, say

#: Where RoboArena's flavour is spoken, whatever the options say.
ROBOARENA = "/roboarena"
#: What the handshake of Protocol v1 says for other clients, and what is said otherwise here.
_NOT_SAID = {
    "local_stack",
    "positronic_version",
    "compress_images",
    "image_formats",
    "openpi_metadata",
    "controls",
    "shortest_chunk",
}


class OpenPIFrontend(Frontend):
    """``?model=ID`` chooses a model; every other name of the query is a parameter of the session."""

    def __init__(self, options: OpenPIFrontendOptions) -> None:
        self._options = options
        self._keys = None if options.codec is None else KEYSETS[options.codec]
        self._sparing = Sparing()

    def connect(self, scope: Scope) -> FrontendConnection:
        """Raises BadParameter for a model that is given twice."""
        query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        models = [value for name, value in query if name == "model"]
        if len(models) > 1:
            raise BadParameter("name one model in the URL: it was given twice")
        params = [pair for pair in query if pair[0] != "model"]
        model, path = next(iter(models), None), scope["path"]
        if path.startswith(ROBOARENA) or (path == "/" and self._options.dialect == "roboarena"):
            return RoboArenaConnection(self._options, model, params, self._sparing)
        return OpenPIConnection(self._keys, self._options, model, params)


class OpenPIConnection(FrontendConnection):
    """One socket's. While the model loads it says nothing: openpi's client takes the first frame for the metadata.

    A refusal is the reason of the close frame for the same cause: the client would try to unpack a text.
    """

    def __init__(
        self,
        keys: OpenPIKeys | None,
        options: OpenPIFrontendOptions,
        model_id: str | None,
        params: Sequence[tuple[str, str]],
    ) -> None:
        self.model_id = model_id
        self.params = params
        self._keys = keys
        self._options = options

    def bridge(self, codec: ResolvedCodec) -> ResolvedCodec:
        """See :func:`~.bridge.bridge`."""
        bridged, self._layout, stay = bridge(self._keys, codec)
        self._lengths = Lengths(self._options, stay)
        return bridged

    def serializer(self, codec: ResolvedCodec) -> Serializer:
        """openpi's encoding."""
        return OpenPISerializer(codec, self._lengths)

    def ready(self, session: ServiceSession) -> Frame:
        """What openpi's own server says of this model, if it is openpi's, and what Protocol v1's handshake says.

        ``action_layout``: name and width of each part of ``actions``, in order. ``chunk_length``: how many steps every
        answer has at least. Raises DialectUnsupported where that cannot be promised.
        """
        meta = session.meta
        own = {name: value for name, value in meta.items() if name not in _NOT_SAID} | self._lengths.promise(meta)
        layout = [list(column) for column in self._layout]
        return encode({**meta.get("openpi_metadata", {}), **own, "action_layout": layout})

    def error(self, error: OffboardError, frame: Frame) -> Frame:
        """A text."""
        return say(error)

    def is_control(self, frame: Frame) -> bool:
        """Whether it is the reset of RoboArena's and vLLM-Omni's clients; openpi's own has none."""
        return not isinstance(frame, str) and (read_control(frame) or {}).get("endpoint") == "reset"

    async def answer(self, frame: Frame, session: ServiceSession) -> Frame:
        """A new episode."""
        await session.reset()
        return encode({"status": "reset successful"})
