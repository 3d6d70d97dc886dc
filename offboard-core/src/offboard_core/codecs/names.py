"""Giving a robot's names to a model that calls them differently."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from offboard_client.errors import BadObservation, BadParameter, ConfigurationError, unknown

from ..types import CodecMeta, Observation, Stage


@dataclass(frozen=True)
class Rename(Stage):
    """Hands what the robot calls by a key of ``names`` to the model under its value; all else passes through."""

    blocking = False

    names: Mapping[str, str]

    def __post_init__(self) -> None:
        if len(set(self.names.values())) < len(self.names):
            raise ConfigurationError(f"two names become one: {dict(self.names)}; leave one of them away")

    def over(self, inner: CodecMeta) -> CodecMeta:
        """The inner codec's meta in the robot's names."""
        back = {model: robot for robot, model in self.names.items()}
        sizes = inner.image_sizes
        return replace(
            inner,
            observation={back.get(name, name): field for name, field in inner.observation.items()},
            image_sizes={back.get(n, n): s for n, s in sizes.items()} if isinstance(sizes, Mapping) else sizes,
        )

    def encode(self, observation: Observation) -> dict[str, Any]:
        """See :meth:`Codec.encode`. Raises BadObservation if a new name is taken."""
        renamed: dict[str, Any] = {}
        for name, value in observation.items():
            new = self.names.get(name, name)
            if new in renamed:
                raise BadObservation(f"two names of the observation become {new!r}; send one of them")
            renamed[new] = value
        return renamed


def resolve_names(names: Mapping[str, str], model: Iterable[str]) -> dict[str, str]:
    """An option like ``image.exterior=front`` with the model's names in full (``observation.images.front``).

    ``names``: canonical name → the model's name or the end of it after a dot or slash. ``model``: the names
    that the model reads; none = nothing is known, and every name is taken as it is written.
    Raises BadParameter: no such name, or several that end so.
    """
    known = list(model)
    full: dict[str, str] = {}
    for robot, wanted in names.items():
        found = [n for n in known if n == wanted] or [n for n in known if n.endswith((f".{wanted}", f"/{wanted}"))]
        if known and len(found) != 1:
            problem = f"several: {', '.join(found)}" if found else unknown("input", wanted, known, where="of the model")
            raise BadParameter(f"the option map {robot}={wanted}: {problem}")
        full[robot] = found[0] if known else wanted
    return full
