"""What a session goes by, and which of it may change while the session is open."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from offboard_client.errors import BadParameter, unknown
from offboard_client.plugins import build, describe

from ..catalog import ResolvedCodec
from ..types import CodecMeta
from .paths import without_paths_in

#: Before the name of a codec's option, among the parameters of a session.
CODEC = "codec."


@dataclass(frozen=True)
class Setting:
    """One option that may change: ``type`` as a person reads it, ``value`` as it is now."""

    type: str
    value: Any


@dataclass(frozen=True)
class Configuration:
    """The parameters of one session. A change makes another one; see :meth:`ServiceSession.call`.

    ``params``: the policy's. ``for_policy``, ``for_codec``: what the session has set, by the owner's own name.
    ``resolve``: the codec that such a map for the codec asks for.
    """

    params: Any
    codec: ResolvedCodec
    for_policy: Mapping[str, Any]
    for_codec: Mapping[str, Any]
    resolve: Callable[[Mapping[str, Any]], Awaitable[ResolvedCodec]]

    @property
    def names(self) -> list[str]:
        """All parameters, under the names by which a session's URL sets them."""
        return [before + option.name for before, options in self._owners for option in describe(options.__class__)]

    @property
    def settings(self) -> dict[str, Setting]:
        """Those that their owners declare changeable."""
        return {
            before + option.name: Setting(option.type, without_paths_in(getattr(options, option.name)))
            for before, options in self._owners
            for option in describe(options.__class__)
            if option.changeable
        }

    async def changed(self, changes: Mapping[str, Any]) -> Configuration:
        """With these values; all others stay.

        Raises BadParameter for what may not change, for a value that does not fit, and where the handshake would have
        said something else (L-34).
        """
        for name in changes:
            self._check_changeable(name)
        for_codec = {name.removeprefix(CODEC): value for name, value in changes.items() if name.startswith(CODEC)}
        for_policy = {name: value for name, value in changes.items() if not name.startswith(CODEC)}
        new = replace(self, for_policy={**self.for_policy, **for_policy}, for_codec={**self.for_codec, **for_codec})
        params: Any = build(self.params.__class__, new.for_policy, "this policy") if for_policy else self.params
        codec = await self.resolve(new.for_codec) if for_codec else self.codec
        was, now = self.codec.meta, codec.meta
        said = [f.name for f in fields(CodecMeta) if getattr(was, f.name) != getattr(now, f.name)]
        if self.codec.codec.one_way != codec.codec.one_way:
            said.append("context")
        if said:
            raise BadParameter(
                f"{' and '.join(CODEC + name for name in for_codec)} would change what the handshake said "
                f"({', '.join(said)}), which the robot goes by: open another session with it"
            )
        return replace(new, params=params, codec=codec)

    def _check_changeable(self, name: str) -> None:
        settings = self.settings
        if name in settings:
            return
        if name in self.names:
            raise BadParameter(
                f"{name} is set when a session opens (?{name}=…) and cannot change in it; "
                f"what can: {', '.join(settings)}"
            )
        raise BadParameter(unknown("option", name, settings, where="that can change in a session"))

    @property
    def _owners(self) -> tuple[tuple[str, Any], tuple[str, Any]]:
        return ("", self.params), (CODEC, self.codec.options)
