"""Episodes by what is known of each: ``score >= 0.5 and not note ~ dropped``. None of it is run as a program."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn, cast

from offboard_client.errors import ConfigurationError, unknown
from offboard_client.plugins import UsageError

_WORD = re.compile(r"""\s*(?:(?P<quoted>"[^"]*"|'[^']*')|(?P<op><=|>=|!=|==|[=<>~()])|(?P<word>[^\s()<>=!~"']+))""")
_ORDER: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip
_OPERATORS = ("=", "==", "!=", "~", *_ORDER)
_EXAMPLE = "as in: outcome = success and (score >= 0.5 or tags = grasp) and not note ~ dropped"
#: Levels of parentheses and of `not`.
_DEEPEST = 50

#: Whether an episode is meant, by its origin.
Test = Callable[[Mapping[str, Any]], bool]


@dataclass(frozen=True)
class Query:
    """``text`` as it was written. Raises UsageError for what is none."""

    text: str

    def __post_init__(self) -> None:
        _ = _Parser(self.text).test

    def choose(self, origins: Sequence[Mapping[str, Any]]) -> list[bool]:
        """Whether each is meant. Raises ConfigurationError for a field that none of them has."""
        parser = _Parser(self.text)
        there = {name for origin in origins for name in _names(origin)}
        for field in parser.fields:
            if there and field not in there:
                raise ConfigurationError(f"--query: {unknown('field', field, there, 'that an episode has')}")
        try:
            return [parser.test(origin) for origin in origins]
        except TypeError as error:
            raise ConfigurationError(f"--query: {error}") from None


class _Parser:
    """``or`` binds less than ``and``, ``and`` less than ``not``. ``fields``: those that it asks for."""

    def __init__(self, text: str) -> None:
        self._text, self._words, self._at, self._depth = text, list[tuple[str, bool]](), 0, 0
        self.fields = list[str]()
        at = 0
        while at < len(text.rstrip()):
            found = _WORD.match(text, at)
            if found is None:
                self._refuse(f"{text[at:].strip()[:20]!r} is not understood")
            quoted = found["quoted"]
            self._words.append((found[found.lastgroup or ""] if quoted is None else quoted[1:-1], quoted is not None))
            at = found.end()
        self.test = self._any()
        if self._at < len(self._words):
            self._refuse(f"{self._words[self._at][0]!r} comes after its end")

    def _any(self) -> Test:
        tests = [self._all()]
        while self._take("or"):
            tests.append(self._all())
        return tests[0] if len(tests) == 1 else lambda origin: any(test(origin) for test in tests)

    def _all(self) -> Test:
        tests = [self._one()]
        while self._take("and"):
            tests.append(self._one())
        return tests[0] if len(tests) == 1 else lambda origin: all(test(origin) for test in tests)

    def _one(self) -> Test:
        self._depth += 1
        if self._depth > _DEEPEST:
            self._refuse("it is nested too deep")
        if self._take("not"):
            test = self._one()
            made: Test = lambda origin: not test(origin)  # noqa: E731
        elif self._take("("):
            made = self._any()
            if not self._take(")"):
                self._refuse("a parenthesis is not closed")
        else:
            made = self._term()
        self._depth -= 1
        return made

    def _term(self) -> Test:
        field, quoted = self._next("a field")
        if quoted or field in (*_OPERATORS, ")", "and", "or"):
            self._refuse(f"{field!r} stands where a field was expected")
        self.fields.append(field)
        sign = next((sign for sign in _OPERATORS if self._take(sign)), None)
        if sign is None:
            return lambda origin: bool(_value(origin, field))
        text, is_text = self._next(f"what {field} is held against")
        if not is_text and text in (*_OPERATORS, "(", ")"):
            self._refuse(f"{text!r} stands where a value was expected")
        wanted: Any = text if is_text else _literal(text)
        return lambda origin: _holds(field, _value(origin, field), sign, wanted)

    def _take(self, word: str) -> bool:
        if self._at < len(self._words) and self._words[self._at] == (word, False):
            self._at += 1
            return True
        return False

    def _next(self, what: str) -> tuple[str, bool]:
        if self._at >= len(self._words):
            self._refuse(f"{what} was expected at its end")
        self._at += 1
        return self._words[self._at - 1]

    def _refuse(self, why: str) -> NoReturn:
        raise UsageError(f"--query {self._text!r:.200}: {why}; {_EXAMPLE}")


def _literal(text: str) -> Any:
    if text in ("true", "false"):
        return text == "true"
    try:
        return float(text)
    except ValueError:
        return text


def _holds(field: str, value: Any, sign: str, wanted: Any) -> bool:
    """Of several values, as tags, whether it holds for one; ``!=`` that none is. Nothing known is unequal to all."""
    values = cast("list[Any]", value) if isinstance(value, list) else [] if value is None else [value]
    if sign == "!=":
        return not any(_equal(each, wanted) for each in values)
    if sign in ("=", "=="):
        return any(_equal(each, wanted) for each in values)
    if sign == "~":
        part = (f"{wanted:g}" if isinstance(wanted, float) else str(wanted)).lower()
        return any(part in str(each).lower() for each in values)
    return any(_ordered(field, each, sign, wanted) for each in values)


def _equal(value: Any, wanted: Any) -> bool:
    if isinstance(value, str) and isinstance(wanted, float):  # a model that is called 010000
        try:
            return float(value) == wanted
        except ValueError:
            return False
    return isinstance(value, bool) == isinstance(wanted, bool) and value == wanted


def _ordered(field: str, value: Any, sign: str, wanted: Any) -> bool:
    numbers = all(isinstance(each, int | float) and not isinstance(each, bool) for each in (value, wanted))
    if not numbers and not (isinstance(value, str) and isinstance(wanted, str)):
        raise TypeError(f"{field} is {value!r:.40}, which is neither less nor more than {wanted!r:.40}")
    return _ORDER[sign](value, wanted)


def _value(origin: Mapping[str, Any], field: str) -> Any:
    found: Any = origin
    for part in field.split("."):
        found = cast("dict[str, Any]", found).get(part) if isinstance(found, Mapping) else None
    return found


def _names(origin: Mapping[str, Any], under: str = "") -> set[str]:
    found = set[str]()
    for name, value in origin.items():
        found.add(f"{under}{name}")
        if isinstance(value, Mapping):
            found |= _names(cast("Mapping[str, Any]", value), f"{under}{name}.")
    return found
