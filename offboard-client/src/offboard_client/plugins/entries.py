"""What an entry point of a group names: a small frozen entry, and what can be made of one.

The module that holds an entry is imported for listings and help, so it stays light; the work is in the modules that
``factory`` and ``options`` name, which are imported for whoever wants this one.
"""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from ..errors import ConfigurationError, OffboardError, told
from .entry_points import import_attr
from .options import check_options

E = TypeVar("E", bound="Entry")


@dataclass(frozen=True, kw_only=True)
class NoOptions:
    """The options of what has none."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What is offered under the entry point's name.

    ``summary``: one line for listings. ``factory``: ``"module:attr"`` of what makes it from its options. ``options``:
    ``"module:attr"`` of a frozen dataclass, each field one flag of the command line, its docstring the help.
    ``part``: what may follow the name after a colon, as help calls it (``ID`` of ``gymnasium:ID``); None: nothing.
    With one, the factory gets it behind the options, None where it was left away, and ``options`` may be a function of
    it that returns the dataclass. ``dotted``: a field of its options that is a map, where options are somebody else's
    whom only it finds. On a command line ``--OWNER.NAME VALUE`` is an entry of the field ``OWNER_options``; this is the
    ``OWNER``.
    """

    summary: str
    factory: str | Callable[..., Any]
    options: str | Callable[..., Any] = NoOptions
    part: str | None = None
    dotted: str | None = None

    def with_dotted(self, options: Any, found: Mapping[str, Mapping[str, Any]]) -> Any:
        """``options`` with what a command line said of its ``dotted`` owner. ``found``: by owner."""
        given = found.get(self.dotted or "")
        return options if given is None else dataclasses.replace(options, **{f"{self.dotted}_options": given})


@dataclass(frozen=True)
class Maker:
    """Imports what an entry names, and says whose it is where something is wrong with it. Raises ConfigurationError.

    ``name``: of what is made. ``provider``: who offers it.
    """

    name: str
    provider: str

    def resolve(self, named: Any, role: str) -> Any:
        """The object behind a ``"module:attr"``; any other object is itself.

        An OffboardError that the module raises is its own.
        """
        if not isinstance(named, str):
            return named
        try:
            return import_attr(named)
        except OffboardError:
            raise
        except (Exception, SystemExit) as error:
            raise ConfigurationError(
                f"{self.name}: the {role} {named!r} of {self.provider} cannot be imported: {told(error)}"
            ) from error

    def options(self, found: Any) -> type[Any]:
        """``found``, if it is a dataclass whose annotations can be had."""
        if not (isinstance(found, type) and dataclasses.is_dataclass(found)):
            raise ConfigurationError(
                f"{self.name}: the options of {self.provider} are {found!r:.80}, which is no dataclass"
            )
        try:
            typing.get_type_hints(found)
        except Exception as error:
            raise ConfigurationError(
                f"{self.name}: the types of the options {found.__module__}.{found.__qualname__} of {self.provider} "
                f"cannot be had: {told(error)}"
            ) from error
        return found

    def make(self, factory: Any, expected: type[Any], *args: Any, **kwargs: Any) -> Any:
        """What the factory makes of these, if it is an ``expected``; an OffboardError of the factory is its own."""
        make = self.resolve(factory, "factory")
        try:
            made = make(*args, **kwargs)
        except OffboardError:
            raise
        except (Exception, SystemExit) as error:
            raise ConfigurationError(f"{self.name}: the factory of {self.provider} failed: {told(error)}") from error
        if not isinstance(made, expected):
            raise ConfigurationError(
                f"{self.name}: the factory of {self.provider} made a {type(made).__name__}, "
                f"which is no {expected.__name__}"
            )
        return made


@dataclass(frozen=True)
class Chosen(Generic[E]):
    """An entry that was asked for. ``name``: its entry point's; ``part``: what followed after a colon."""

    name: str
    provider: str
    entry: E
    part: str | None = None

    def __str__(self) -> str:
        return self.name if self.part is None else f"{self.name}:{self.part}"

    @property
    def maker(self) -> Maker:
        """Makes what the entry names."""
        return Maker(str(self), self.provider)

    def options(self) -> type[Any]:
        """The dataclass of its options. Raises ConfigurationError."""
        found = self.maker.resolve(self.entry.options, "options")
        if self.entry.part is not None and not isinstance(found, type):
            try:
                found = found(self.part)
            except OffboardError:
                raise
            except (Exception, SystemExit) as error:
                raise ConfigurationError(f"{self}: the options of {self.provider} failed: {told(error)}") from error
        return self.maker.options(found)

    def make(self, expected: type[Any], options: Any, *more: Any) -> Any:
        """What the factory makes of its options, its part if it takes one, and ``more``. Raises ConfigurationError."""
        if dataclasses.is_dataclass(options):
            check_options(options, f"{self} of {self.provider}")
        part = () if self.entry.part is None else (self.part,)
        return self.maker.make(self.entry.factory, expected, options, *part, *more)
