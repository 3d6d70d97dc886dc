"""Messages that are like the one before: what is the same is compared, and what differs is read where it stands.

A robot sends the same names, dtypes and shapes with every observation. A layout is all of a message but the data of its
arrays and its numbers, byte for byte, and where these are. A message that has these bytes in these places *is* the same
message with other numbers: every check on its structure has the outcome that it had. Any other message is for
:func:`~.packing.decode`, which alone decides what a message means.
"""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Callable, Mapping
from operator import itemgetter
from typing import Any, cast

import numpy as np

from .limits import WireLimits
from .outline import Other, Outline
from .pace import Pace
from .packing import Array, Buffer, decode

#: Bytes of a layout beside its arrays' data, and entries of its maps together, at most.
LARGEST, ENTRIES = 4096, 32
#: Arrays from so many bytes on are views, if they can lie anywhere; a smaller one that is kept would keep the message.
VIEWED = 4096


class Layouts:
    """The layouts of one peer's messages. Not thread-safe."""

    def __init__(self) -> None:
        self._known: list[_Layout] = []
        self._pace = Pace()
        #: The form of the message that was read last: the same object for each with the same names, shapes, dtypes and
        #: texts, so that only numbers and what is in arrays may differ. None where it fitted none that was learnt.
        self.form: object = None

    def read(self, data: Buffer) -> dict[str, Any] | None:
        """The map in ``data``, as it was learnt; None where no layout fits it.

        Arrays are read-only; large ones are views, so that ``data`` must stay as it is. What can be written to is
        never read here.
        """
        size = len(data)
        if type(data) is bytes or readable(data):
            for layout in self._known:
                if layout.size == size and (found := layout.read(data)) is not None:
                    self._pace.fitted += 1
                    self.form = layout
                    return found
        self.form = None
        return None

    def decode(self, data: Buffer, limits: WireLimits) -> Any:
        """:func:`~.packing.decode`, for one who has the same ``limits`` each time; see :meth:`read` of ``data``."""
        if (known := self.read(data)) is not None:
            return known
        found: Any = decode(data, limits)
        if isinstance(found, dict):
            self.learn(data, cast("dict[str, Any]", found))
        return cast("Any", found)

    def learn(self, data: Buffer, value: Mapping[str, Any]) -> None:
        """``data`` fitted no layout and is ``value``, whose entries have the order of the message's.

        Their names are whatever the caller has made of those in the message. What comes only once is not learnt, and a
        peer whose messages are never alike is looked at more and more seldom.
        """
        if self._pace.learns(len(data)) and readable(data):
            with contextlib.suppress(Other):
                self._known = [_Layout(data, value), *self._known[: self._pace.others]]


def readable(data: Buffer) -> bool:
    """Whether arrays may be views of it: nobody can write to it."""
    return type(data) is bytes or (type(data) is memoryview and data.readonly and data.format == "B")


class _Layout:
    """One message without its numbers. Its maps are numbered, the outermost is 0."""

    __slots__ = ("_arrays", "_entries", "_inner", "_maps", "_narrow", "_numbers", "_parts", "_pick", "_same", "size")

    def __init__(self, data: Buffer, value: Mapping[str, Any]) -> None:
        """Of a message and what it means. Raises Other if there is more in it than maps, texts, numbers and arrays."""
        self.size = len(data)
        self._entries = 0
        self._maps: list[dict[str, Any]] = []
        self._inner: list[tuple[int, str, int]] = []
        self._arrays: list[tuple[int, str, tuple[int, ...], np.dtype[Any], int, int, bool]] = []
        outline = Outline(data)
        at = self._add(data, value, outline, 0)
        if outline.at != len(data):
            raise Other
        if at < len(data):
            outline.same.append((at, len(data)))
        if sum(stop - start for start, stop in outline.same) > LARGEST:
            raise Other
        self._set_parts(data, outline)

    def _set_parts(self, data: Buffer, outline: Outline) -> None:
        """How all of a message but its arrays is taken apart in one call, and which parts of it are what."""
        kinds = [(start, stop, f"{stop - start}s") for start, stop in outline.same]
        kinds += [(start, start + number.size, number.format[1:]) for *_, start, (number, _) in outline.numbers]
        form, at, order = ">", 0, dict[int, int]()
        for i, (start, stop, kind) in enumerate(sorted(kinds)):
            form += f"{start - at}x{kind}"
            at, order[start] = stop, i
        self._parts = struct.Struct(f"{form}{self.size - at}x")
        self._pick: Callable[[tuple[Any, ...]], Any] = itemgetter(*[order[start] for start, _ in outline.same])
        self._same = self._pick(self._parts.unpack(data))
        self._narrow = [(order[start], only) for *_, start, (_, only) in outline.numbers if only is not None]
        # A map's numbers by their names. One more than there are names, so that one alone comes in a tuple as well.
        self._numbers: list[tuple[int, list[str], Callable[[Any], Any]]] = []
        for index in dict.fromkeys(within for within, *_ in outline.numbers):
            own = [(name, order[start]) for within, name, start, _ in outline.numbers if within == index]
            self._numbers.append((index, [name for name, _ in own], itemgetter(*[at for _, at in own], 0)))

    def _add(self, data: Buffer, value: Mapping[str, Any], outline: Outline, at: int) -> int:
        """One map, and those in it; ``at``: where what is not in ``outline.same`` yet begins, before and after."""
        index = len(self._maps)
        names: dict[str, Any] = {}
        self._maps.append(names)
        self._entries += len(value)
        if self._entries > ENTRIES or index > ENTRIES or outline.map() != len(value):
            raise Other
        for name, held in value.items():
            outline.text()
            names[name] = None
            if type(held) is dict:
                self._inner.append((index, name, len(self._maps)))
                at = self._add(data, cast("dict[str, Any]", held), outline, at)
                continue
            part = outline.value()
            if part is None:
                if held is not None and type(held) not in (bool, str):
                    raise Other
                names[name] = held
                continue
            start, stop, number = part
            outline.same.append((at, start))
            at = stop
            if number is not None and type(held) in (int, float):
                outline.numbers.append((index, name, start, number))
            elif number is None and type(held) is np.ndarray and held.nbytes == stop - start:
                array: Array = held
                viewed = array.nbytes >= VIEWED and array.itemsize == 1
                self._arrays.append((index, name, array.shape, array.dtype, start, stop, viewed))
            else:
                raise Other
        return at

    def read(self, data: Buffer) -> dict[str, Any] | None:
        """None if it is another message."""
        parts = self._parts.unpack(data)
        if self._pick(parts) != self._same:
            return None
        for at, only in self._narrow:
            if parts[at] not in only:
                return None
        found = [names.copy() for names in self._maps]
        for within, name, index in self._inner:
            found[within][name] = found[index]
        for within, names, pick in self._numbers:
            found[within].update(zip(names, pick(parts)))  # noqa: B905 - see there
        for within, name, shape, dtype, start, stop, viewed in self._arrays:
            if viewed:
                found[within][name] = np.ndarray(shape, dtype, data, start)
            else:
                found[within][name] = np.ndarray(shape, dtype, bytes(data[start:stop]))
        return found[0]
