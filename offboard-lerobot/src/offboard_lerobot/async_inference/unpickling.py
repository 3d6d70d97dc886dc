"""Pickles of LeRobot's client, read as data: nothing that they name is looked up, imported or called.

A pickle is a program for a stack machine. What runs it here knows the instructions that these pickles are made of, and
ten names, each of which stands for something of our own: two of LeRobot's classes, and what numpy's arrays and numbers
are written with. Whatever else a pickle asks for is an error. Sizes are checked before anything takes memory: the
bytes and arrays that a pickle makes are no more than it is long, each counted as often as it stands there, for whoever
copies them has them so often. The rest is what its instructions cost, whose number is bounded.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from typing import Any, cast

from offboard_client.errors import brief

from .arrays import CALLS, array_of, ordered
from .pickled import DType, Instance, Known, Made, bad, spoken

#: Instructions at most: an observation of two arms with four cameras has three hundred.
MOST_INSTRUCTIONS = 10_000
#: Bytes of a text, and of a whole number; and of a text that costs nothing where it stands again, as names do.
_LONGEST_TEXT, _LONGEST_NUMBER, _SHORT_TEXT = 2**16, 8, 200
_HELPERS = "lerobot.async_inference.helpers"
_NAMES: Mapping[tuple[str, str], Known] = {
    (_HELPERS, "RemotePolicyConfig"): Known.CONFIG,
    (_HELPERS, "TimedObservation"): Known.OBSERVATION,
    ("numpy", "ndarray"): Known.NDARRAY,
    ("numpy", "dtype"): Known.DTYPE,
    **{
        (f"numpy.{core}.{module}", name): known
        for core in ("core", "_core")
        for module, name, known in (
            ("multiarray", "_reconstruct", Known.RECONSTRUCT),
            ("numeric", "_frombuffer", Known.FROM_BUFFER),
            ("multiarray", "scalar", Known.SCALAR),
        )
    },
}


def unpickle(data: bytes) -> Instance:
    """What a pickle of protocol 4 or 5 holds; its arrays are views of ``data``. Raises BadMessage."""
    try:
        made = _Machine(data).run()
    except IndexError:
        raise bad("it is cut off, or its instructions do not belong together") from None
    if not isinstance(made, Instance):
        raise bad(f"it holds {spoken(made)}")
    return made


class _Machine:
    """Python's own has two stacks, too: that of values since the last mark, and those before it."""

    def __init__(self, data: bytes) -> None:
        self._data, self._view, self._at = data, memoryview(data), 0
        self._stack: list[Any] = []
        self._before: list[list[Any]] = []
        self._memo: list[Any] = []
        #: Bytes that may be made yet.
        self._room = len(data)

    def run(self) -> Any:
        data, done = self._data, _INSTRUCTIONS
        if len(data) < 2 or data[0] != 0x80 or data[1] not in (4, 5):
            raise bad("it does not begin as one of protocol 4 or 5")
        self._at = 2
        for _ in range(MOST_INSTRUCTIONS):
            code = data[self._at]
            self._at += 1
            if code == _STOP:
                break
            instruction = done.get(code)
            if instruction is None:
                raise bad(f"it has the instruction {code:#04x} at {self._at - 1}, which none of theirs needs")
            instruction(self)
        else:
            raise bad(f"it has more than {MOST_INSTRUCTIONS:,} instructions")
        if self._at != len(data) or len(self._stack) != 1 or self._before:
            raise bad("there is more than one value in it")
        return self._stack[0]

    # -- what stands in the data ------------------------------------------------------------------------------------
    def _take(self, count: int) -> memoryview:
        begin, self._at = self._at, self._at + count
        if self._at > len(self._data):
            raise IndexError
        return self._view[begin : self._at]

    def _number(self, form: str) -> Any:
        return struct.unpack(form, self._take(struct.calcsize(form)))[0]

    def _spend(self, size: int) -> None:
        self._room -= size
        if self._room < 0:
            raise bad(
                "bytes that stand in it several times are more than all of it; copy a picture that is for two cameras"
            )

    # -- what is there already --------------------------------------------------------------------------------------
    def _since_mark(self) -> list[Any]:
        values, self._stack = self._stack, self._before.pop()
        return values

    def _top(self, kind: type[Any]) -> Any:
        if type(self._stack[-1]) is not kind:
            raise bad(f"something is added to {spoken(self._stack[-1])}")
        return self._stack[-1]

    # -- the instructions -------------------------------------------------------------------------------------------
    def push(self, value: Any) -> None:
        self._stack.append(value)

    def number(self, form: str) -> None:
        self.push(self._number(form))

    def long(self) -> None:
        size = self._number("B")
        if size > _LONGEST_NUMBER:
            raise bad(f"a whole number has {size} bytes, {_LONGEST_NUMBER} at most")
        self.push(int.from_bytes(self._take(size), "little", signed=True))

    def text(self, form: str) -> None:
        size = self._number(form)
        if size > _LONGEST_TEXT:
            raise bad(f"a text has {size:,} bytes, {_LONGEST_TEXT:,} at most")
        try:
            self.push(str(self._take(size), "utf-8"))
        except UnicodeDecodeError:
            raise bad("a text is not UTF-8") from None

    def put_bytes(self, form: str) -> None:
        data = self._take(self._number(form))
        self._spend(len(data))
        self.push(data)

    def frame(self) -> None:
        self._number("<Q")  # a hint for who reads from a file

    def mark(self) -> None:
        self._before.append(self._stack)
        self._stack = []

    def put_list(self) -> None:
        self.push([])

    def put_map(self) -> None:
        self.push({})

    def put_tuple(self, count: int | None) -> None:
        if count is None:
            self.push(tuple(self._since_mark()))
        elif count:
            if count > len(self._stack):
                raise IndexError
            self._stack[-count:] = [tuple(self._stack[-count:])]
        else:
            self.push(())

    def append(self, several: bool) -> None:
        values = self._since_mark() if several else [self._stack.pop()]
        self._top(list).extend(values)

    def set_items(self, several: bool) -> None:
        values = self._since_mark() if several else [self._stack.pop(-2), self._stack.pop()]
        into = self._top(dict)
        for key, value in zip(values[::2], values[1::2], strict=False):
            if not isinstance(key, str) or key in into:
                raise bad(f"a map has the key {spoken(key)}, expected texts, each once")
            into[key] = value
        if len(values) % 2:
            raise IndexError

    def memoize(self) -> None:
        self._memo.append(self._stack[-1])

    def recall(self, form: str) -> None:
        value = self._memo[self._number(form)]
        # What can hold something would make a knot, or a tree that is larger than the pickle; and what an array without
        # data will hold is not known yet.
        empty = isinstance(value, Made) and value.array is None
        if empty or type(value) in (list, dict, Instance) or not _is_flat(value):
            raise bad(f"{spoken(value)} stands in it twice")
        self._spend(_bytes_of(value))
        self.push(value)

    def name(self) -> None:
        name, module = self._stack.pop(), self._stack.pop()
        if not isinstance(module, str) or not isinstance(name, str):
            raise bad("a name is no text")
        known = _NAMES.get((module, name))
        if known is None:
            raise bad(f"it asks for {brief(name, 60)} of {brief(module, 60)}")
        self.push(known)

    def new(self) -> None:
        arguments, known = self._stack.pop(), self._stack.pop()
        if known not in (Known.CONFIG, Known.OBSERVATION) or arguments != ():
            raise bad(f"it makes an object of {spoken(known)}")
        self.push(Instance(known))

    def call(self) -> None:
        arguments, known = self._stack.pop(), self._stack.pop()
        made = CALLS.get(known) if isinstance(known, Known) else None
        if made is None or not isinstance(arguments, tuple):
            raise bad(f"it calls {spoken(known)}")
        self.push(made(cast("tuple[Any, ...]", arguments)))

    def build(self) -> None:
        state, made = self._stack.pop(), self._stack[-1]
        if isinstance(made, Instance) and made.fields is None and isinstance(state, dict):
            made.fields = cast("dict[str, Any]", state)
        elif isinstance(made, DType) and made.dtype is None and isinstance(state, tuple):
            made.dtype = ordered(made.code, cast("tuple[Any, ...]", state))
        elif isinstance(made, Made) and made.array is None and isinstance(state, tuple):
            made.array = array_of(cast("tuple[Any, ...]", state))
        else:
            raise bad(f"it changes {spoken(made)}")


def _bytes_of(value: Any) -> int:
    """What a value takes in each place where it stands."""
    if isinstance(value, Made) and value.array is not None:
        return value.array.nbytes
    if isinstance(value, memoryview):
        return value.nbytes
    return len(value) if isinstance(value, str) and len(value) > _SHORT_TEXT else 0


def _is_flat(value: Any) -> bool:
    """Whether it is no tuple, or one as short as a shape, of numbers and texts."""
    if not isinstance(value, tuple):
        return True
    parts = cast("tuple[Any, ...]", value)
    return len(parts) <= 8 and all(type(part) in (str, int, float, bool, type(None)) for part in parts)


_STOP = ord(".")
#: Those of protocols 4 and 5 that Python's pickler writes for what is said above.
_INSTRUCTIONS: Mapping[int, Callable[[_Machine], None]] = {
    ord("N"): lambda machine: machine.push(None),
    0x88: lambda machine: machine.push(True),
    0x89: lambda machine: machine.push(False),
    ord("K"): lambda machine: machine.number("B"),
    ord("M"): lambda machine: machine.number("<H"),
    ord("J"): lambda machine: machine.number("<i"),
    ord("G"): lambda machine: machine.number(">d"),
    0x8A: _Machine.long,
    0x8C: lambda machine: machine.text("B"),
    ord("X"): lambda machine: machine.text("<I"),
    ord("C"): lambda machine: machine.put_bytes("B"),
    ord("B"): lambda machine: machine.put_bytes("<I"),
    0x96: lambda machine: machine.put_bytes("<Q"),
    0x95: _Machine.frame,
    ord("("): _Machine.mark,
    ord("]"): _Machine.put_list,
    ord("}"): _Machine.put_map,
    ord(")"): lambda machine: machine.put_tuple(0),
    0x85: lambda machine: machine.put_tuple(1),
    0x86: lambda machine: machine.put_tuple(2),
    0x87: lambda machine: machine.put_tuple(3),
    ord("t"): lambda machine: machine.put_tuple(None),
    ord("a"): lambda machine: machine.append(False),
    ord("e"): lambda machine: machine.append(True),
    ord("s"): lambda machine: machine.set_items(False),
    ord("u"): lambda machine: machine.set_items(True),
    0x94: _Machine.memoize,
    ord("h"): lambda machine: machine.recall("B"),
    ord("j"): lambda machine: machine.recall("<I"),
    0x93: _Machine.name,
    0x81: _Machine.new,
    ord("R"): _Machine.call,
    ord("b"): _Machine.build,
}
