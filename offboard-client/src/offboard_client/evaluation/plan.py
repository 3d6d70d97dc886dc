"""Which trials an evaluation has, in which order, and what the models are called while it goes on."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, cast

from ..errors import BadParameter, brief, counted, unknown
from .trials import MEASURES, Measure, Trial


@dataclass(frozen=True)
class Turn:
    """A trial that is to be played: ``number`` counts from 1; ``label`` is what the model is called if it is blind."""

    number: int
    start: int
    model: str
    label: str


@dataclass(frozen=True)
class Plan:
    """The same starts for every model, the models of each start in an order drawn from ``seed``.

    ``models``: two or more, or one that is only measured. ``starts``: seeds of where the robot begins. ``planned``: how
    many starts there were at first; 0 = these. ``blind``: whoever scores sees labels, which are drawn, too.
    ``measure``, ``level``: see :func:`.comparison.compare_models`; both are fixed before the first trial.

    Raises BadParameter.
    """

    models: tuple[str, ...]
    starts: tuple[int, ...]
    seed: int = 0
    blind: bool = False
    measure: Measure = "success"
    level: float = 0.05
    planned: int = 0

    def __post_init__(self) -> None:
        for name, values in (("model", self.models), ("start", self.starts)):
            if not values:
                raise BadParameter(f"an evaluation has a {name} at least")
            if twice := sorted({str(value) for value in values if values.count(value) > 1}):
                raise BadParameter(f"each {name} is named once, not as {', '.join(twice)}")
        if self.measure not in MEASURES:
            raise BadParameter(unknown("measure", self.measure, MEASURES))
        if not 0 < self.level < 1:
            raise BadParameter(f"the level of verdicts is between 0 and 1, not {self.level}")
        if not 0 <= self.planned <= len(self.starts):
            raise BadParameter(
                f"{counted(self.planned, 'start')} were planned at first, and there are {len(self.starts)}"
            )
        if not self.planned:
            object.__setattr__(self, "planned", len(self.starts))

    @property
    def labels(self) -> dict[str, str]:
        """Label → model: A, B, … in an order drawn from the seed; the models' own names if it is not blind."""
        if not self.blind:
            return {model: model for model in self.models}
        return {_letters(i): model for i, model in enumerate(self._drawn("labels"))}

    @property
    def turns(self) -> list[Turn]:
        """All trials in order. More starts leave the order of those before them as it was."""
        label = {model: label for label, model in self.labels.items()}
        order = ((start, model) for start in self.starts for model in self._drawn(f"start {start}"))
        return [Turn(i, start, model, label[model]) for i, (start, model) in enumerate(order, 1)]

    def left(self, trials: Iterable[Trial], *, again: bool = False) -> list[Turn]:
        """What is still to be played, in order: what was not tried, and what was annulled since.

        ``again``: what ended by an error, too.
        """
        played = {
            (each.model, each.start) for each in trials if each.counted or (each.outcome == "error" and not again)
        }
        return [turn for turn in self.turns if (turn.model, turn.start) not in played]

    def _drawn(self, what: str) -> list[str]:
        # A hash and no generator of random numbers: another version of one would continue an evaluation differently.
        return sorted(self.models, key=lambda m: hashlib.sha256(f"{self.seed}\0{what}\0{m}".encode()).digest())

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON data."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: object) -> Plan:
        """The plan that :meth:`as_dict` wrote. Raises BadParameter."""
        if not isinstance(values, Mapping):
            raise BadParameter(f"a plan is a map of names, not {brief(values)}")
        given = dict(cast("Mapping[str, Any]", values))
        kinds = {"seed": int, "blind": bool, "measure": str, "level": float, "planned": int}
        if set(given) != {"models", "starts", *kinds} or not all(type(given[name]) is kinds[name] for name in kinds):
            raise BadParameter(f"this is no plan of an evaluation: {brief(values)}")
        for name, kind in (("models", str), ("starts", int)):
            if not isinstance(given[name], list) or not all(type(each) is kind for each in given[name]):
                raise BadParameter(f"this is no plan of an evaluation: {name} is {brief(given[name])}")
            given[name] = tuple(given[name])
        return cls(**given)

    def extended(self, by: Plan) -> Plan:
        """This plan with the further starts of another, which is the same otherwise. Verdicts hold as before.

        Raises BadParameter, saying what differs.
        """
        given = by.as_dict()
        differs = [n for n, value in self.as_dict().items() if n not in ("starts", "planned") and given[n] != value]
        if by.starts[: len(self.starts)] != self.starts:
            differs.append("starts")
        if differs:
            told = "; ".join(
                f"{name}: {brief(getattr(self, name))}, now {brief(getattr(by, name))}" for name in differs
            )
            raise BadParameter(
                f"this evaluation was begun otherwise ({told}); go on with the same, more starts at its end at most, "
                "or begin one in another folder"
            )
        return replace(by, planned=self.planned)


def masked(labels: Mapping[str, str]) -> Callable[[str], str]:
    """Puts labels in the place of models in a text. ``labels``: model → label."""
    if not labels:
        return lambda text: text
    some = "|".join(re.escape(name) for name in sorted(labels, key=len, reverse=True))
    names = re.compile(f"(?<![A-Za-z0-9])(?:{some})(?![A-Za-z0-9])")  # no letters of other words
    return lambda text: names.sub(lambda found: labels[found[0]], text)


def _letters(number: int) -> str:
    """A … Z, AA, AB, …"""
    text = ""
    while number >= 0:
        text = chr(65 + number % 26) + text
        number = number // 26 - 1
    return text
