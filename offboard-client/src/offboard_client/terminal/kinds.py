"""How numbers, several of them, and what may be None are shown in the help, read, and named where they are wrong.

tyro's own rules show Python's types (``{None}|FLOAT``) in the help, and all their attempts in an error.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Callable
from typing import Any, TypeAlias, Union, cast

import tyro
from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

#: For ``tyro.cli``. Its rules are handed a :class:`tyro.constructors.PrimitiveTypeInfo`.
TYPES: Any = ConstructorRegistry()
Spec: TypeAlias = PrimitiveConstructorSpec[Any]


@TYPES.primitive_rule
def _number(info: Any) -> Spec | None:
    if info.type not in (int, float):
        return None
    kind: type[int | float] = info.type
    return PrimitiveConstructorSpec(
        nargs=1,
        metavar=kind.__name__.upper(),
        instance_from_str=lambda given: _made(kind.__name__.upper(), lambda: kind(given[0]), given),
        is_instance=lambda value: type(value) is kind or ("~" if kind is float and type(value) is int else False),
        str_from_instance=lambda value: [str(value)],
    )


@TYPES.primitive_rule
def _several(info: Any) -> Spec | None:
    """``tuple[X, ...]``, and ``X | tuple[X, ...]``, where one is no tuple."""
    kinds = _members(info)
    parts = typing.get_args(kinds[-1])
    if typing.get_origin(kinds[-1]) is not tuple or parts[1:] != (...,) or kinds[:-1] not in ([], [parts[0]]):
        return None
    each = _spec(parts[0], info)
    if each is None or tyro.conf.UseAppendAction in info.markers:
        return None
    alone = len(kinds) == 2

    def read(given: list[str]) -> Any:
        found = tuple(each.instance_from_str([text]) for text in given)
        return found[0] if alone and len(found) == 1 else found

    def shown(value: Any) -> list[str]:
        items = cast("tuple[Any, ...]", value) if isinstance(value, tuple) else (value,)
        return [text for item in items for text in each.str_from_instance(item)]

    metavar = f"{each.metavar} [{each.metavar} ...]"
    return PrimitiveConstructorSpec("*", metavar, read, lambda value: value is not None, shown)


@TYPES.primitive_rule
def _optional(info: Any) -> Spec | None:
    kinds = _members(info)
    if type(None) not in kinds[1:]:
        return None
    inner: Any = Union[tuple(kind for kind in kinds if kind is not type(None))]  # noqa: UP007
    spec = _spec(inner, info)
    if spec is None:
        return None
    return PrimitiveConstructorSpec(
        nargs=(1, spec.nargs) if isinstance(spec.nargs, int) and spec.nargs > 1 else spec.nargs,
        metavar=spec.metavar,
        instance_from_str=lambda given: (
            None if given == ["None"] else _made(spec.metavar, lambda: _checked(spec, given), given)
        ),
        is_instance=lambda value: value is None or spec.is_instance(value),
        str_from_instance=lambda value: ["None"] if value is None else spec.str_from_instance(value),
    )


def _spec(kind: Any, info: Any) -> Spec | None:
    registry: Any = ConstructorRegistry
    make: Any = cast("Any", PrimitiveTypeInfo).make
    found = registry.get_primitive_spec(make(kind, info.markers))
    return cast("Spec", found) if isinstance(found, PrimitiveConstructorSpec) else None


def _members(info: Any) -> list[Any]:
    union = typing.get_origin(info.type) in (Union, types.UnionType)
    return list(typing.get_args(info.type)) if union else [info.type]


def _checked(spec: Spec, given: list[str]) -> Any:
    if spec.nargs not in (len(given), "*") or not set(given) <= set(spec.choices or given):
        raise ValueError
    return spec.instance_from_str(given)


def _made(expected: str, make: Callable[[], Any], given: list[str]) -> Any:
    """What was typed, as it is meant. Raises ValueError that says what was expected, in the words of the help."""
    try:
        return make()
    except ValueError:
        raise ValueError(f"expected {expected}, not {' '.join(given) or 'nothing'}") from None
