"""Pickles read as data: nothing is imported, called or executed, whatever the file requests.

A pickle is a program that builds an object out of values and calls. Here the values are built, and
each call, except to a few functions of the reader's own, becomes a `Foreign`, an inert note of what
would have been called. Tuples and sets become lists.
"""

from __future__ import annotations

import pickletools
import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

MAX_WORK = 400_000  # instructions; three copies of a network of 1000 tensors take about 80 000
MAX_NAME = 500
MAX_BITS = 4096  # of an integer

Known = Mapping[str, Callable[..., Any]]


class Foreign:
    """Stands for a class or function that a file names, or for the result of calling it.

    `name` is the full name, `args` are the file's arguments, and `content` holds the attributes and
    entries that the file sets on the result.
    """

    __slots__ = ("args", "content", "name", "place")

    def __init__(self, name: str, args: list[Any] | None = None):
        self.name = name
        self.args = args
        self.content: dict[Any, Any] = {}
        self.place: int | None = None  # in the memo

    def __repr__(self) -> str:
        return f"<{self.name}, not built>"


def load(
    stream: Any, known: Known | None = None, persistent: Callable[[Any], Any] | None = None
) -> Any:
    """The content of the pickle at the stream's position; stops right after it.

    Args:
      stream: has `read`, `readline` and `tell`.
      known: name in the file -> function to call, in addition to `PLAIN`; a result of
        NotImplemented leaves a `Foreign`.
      persistent: returns the object for a persistent id.

    Raises:
      ValueError: the pickle is damaged, or asks for more than `MAX_WORK`.
    """
    machine = _Machine({**PLAIN, **(known or {})}, persistent or (lambda name: Foreign(str(name))))
    try:
        for opcode, argument, _ in pickletools.genops(stream):
            if opcode.name == "STOP":
                return machine.stack.pop()
            machine.spend(1)
            _STEPS.get(opcode.name, _literal)(machine, argument)
    except ValueError as error:
        raise ValueError(f"its pickle cannot be followed: {error}") from error
    except Exception as error:  # misuse of the stack or the memo can raise anything
        what = f"{type(error).__name__}: {error}"
        raise ValueError(f"its pickle cannot be followed: {what}") from error
    raise ValueError("its pickle is cut short")


class _Machine:
    def __init__(self, known: Known, persistent: Callable[[Any], Any]):
        self.known = known
        self.persistent = persistent
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}
        self.left = MAX_WORK

    def spend(self, work: int) -> None:
        self.left -= work
        if self.left < 0:
            raise ValueError(f"it takes more than {MAX_WORK} instructions")

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def pop(self) -> Any:
        if self.marks and self.marks[-1] == len(self.stack):
            return self.marks.pop()
        return self.stack.pop()

    def top(self, count: int) -> list[Any]:
        """Takes the last `count` values."""
        if count > len(self.stack):
            raise ValueError("too few values")
        return [self.stack.pop() for _ in range(count)][::-1]

    def since_mark(self) -> list[Any]:
        start = self.marks.pop()
        values = self.stack[start:]
        del self.stack[start:]
        return values

    def remember(self, place: int) -> None:
        self.memo[place] = self.stack[-1]
        if isinstance(self.stack[-1], Foreign):
            self.stack[-1].place = place

    def name(self, module: Any, name: Any) -> Foreign:
        if not (isinstance(module, str) and isinstance(name, str)):
            raise ValueError("a name that is not text")
        if len(module) + len(name) > MAX_NAME:
            raise ValueError(f"a name of more than {MAX_NAME} characters")
        self.spend(4)
        return Foreign(f"{module}.{name}")

    def call(self, function: Any, args: Any) -> None:
        if not (isinstance(function, Foreign) and isinstance(args, list)):
            raise ValueError("a call of something that is not a function")
        self.spend(len(args) + sum(_size(value) for value in args))
        known = self.known.get(function.name)
        value = known(*args) if known else NotImplemented
        self.push(Foreign(function.name, args) if value is NotImplemented else value)

    def build(self, state: Any) -> None:
        """Sets attributes; on dictionaries and arrays they hold no weights and are dropped."""
        target = self.stack[-1]
        if not isinstance(target, Foreign):
            return
        parts = state if isinstance(state, list) else [state]
        self.spend(sum(_size(part) for part in parts))
        array = _array(*parts) if target.name in _ARRAYS else NotImplemented
        if array is not NotImplemented:
            self.stack[-1] = array
            if target.place is not None:
                self.memo[target.place] = array
            return
        for table in [part for part in parts if isinstance(part, dict)] or [{"state": state}]:
            target.content.update(table)

    def append(self, values: list[Any]) -> None:
        target = self.stack[-1]
        if isinstance(target, Foreign):
            target.content.update(enumerate(values, len(target.content)))
        elif isinstance(target, list):
            target.extend(values)
        else:
            raise ValueError(f"adds to a {type(target).__name__}")

    def set_items(self, values: list[Any]) -> None:
        target = self.stack[-1]
        content = target.content if isinstance(target, Foreign) else target
        if not isinstance(content, dict):
            raise ValueError(f"sets entries of a {type(target).__name__}")
        content.update(_dict(zip(values[::2], values[1::2], strict=True)))


def _literal(machine: _Machine, value: Any) -> None:
    if isinstance(value, int) and value.bit_length() > MAX_BITS:
        raise ValueError(f"a whole number of {value.bit_length()} bits")
    if value is None:
        raise ValueError("an instruction that no checkpoint needs")
    machine.push(value)


def _reduce(machine: _Machine, _: Any) -> None:
    machine.call(*machine.top(2))


def _call_since_mark(machine: _Machine, _: Any) -> None:
    function, *args = machine.since_mark()
    machine.call(function, args)


_STEPS: dict[str, Callable[[_Machine, Any], Any]] = {
    "PROTO": lambda m, a: None,
    "FRAME": lambda m, a: None,
    "MARK": lambda m, a: m.marks.append(len(m.stack)),
    "POP": lambda m, a: m.pop(),
    "POP_MARK": lambda m, a: m.since_mark(),
    "DUP": lambda m, a: m.push(m.stack[-1]),
    **dict.fromkeys(["PUT", "BINPUT", "LONG_BINPUT"], lambda m, a: m.remember(a)),
    "MEMOIZE": lambda m, a: m.remember(len(m.memo)),
    **dict.fromkeys(["GET", "BINGET", "LONG_BINGET"], lambda m, a: m.push(m.memo[a])),
    "NONE": lambda m, a: m.push(None),
    "NEWTRUE": lambda m, a: m.push(True),
    "NEWFALSE": lambda m, a: m.push(False),
    **dict.fromkeys(["EMPTY_LIST", "EMPTY_TUPLE", "EMPTY_SET"], lambda m, a: m.push([])),
    **dict.fromkeys(["LIST", "TUPLE", "FROZENSET"], lambda m, a: m.push(m.since_mark())),
    "TUPLE1": lambda m, a: m.push(m.top(1)),
    "TUPLE2": lambda m, a: m.push(m.top(2)),
    "TUPLE3": lambda m, a: m.push(m.top(3)),
    "EMPTY_DICT": lambda m, a: m.push({}),
    "DICT": lambda m, a: (values := m.since_mark(), m.push({}), m.set_items(values)),
    "APPEND": lambda m, a: m.append(m.top(1)),
    **dict.fromkeys(["APPENDS", "ADDITEMS"], lambda m, a: m.append(m.since_mark())),
    "SETITEM": lambda m, a: m.set_items(m.top(2)),
    "SETITEMS": lambda m, a: m.set_items(m.since_mark()),
    "GLOBAL": lambda m, a: m.push(m.name(*a.split(" ", 1))),
    "STACK_GLOBAL": lambda m, a: m.push(m.name(*m.top(2))),
    "REDUCE": _reduce,
    "NEWOBJ": _reduce,
    "NEWOBJ_EX": lambda m, a: (m.pop(), _reduce(m, a)),
    "OBJ": _call_since_mark,
    "INST": lambda m, a: m.call(m.name(*a.split(" ", 1)), m.since_mark()),
    "BUILD": lambda m, a: m.build(m.pop()),
    **dict.fromkeys(["EXT1", "EXT2", "EXT4"], lambda m, a: m.push(Foreign(f"extension {a}"))),
    "PERSID": lambda m, a: m.push(m.persistent(a)),
    "BINPERSID": lambda m, a: m.push(m.persistent(m.pop())),
}


def _size(value: Any) -> int:
    """The amount of work to copy a value."""
    if isinstance(value, list | dict):
        return len(value)
    return len(value) // 1024 if isinstance(value, str | bytes | bytearray) else 0


def _dict(pairs: Any = ()) -> dict[Any, Any]:
    """Replaces a key that could collide or hash slowly by a description."""
    return {
        key
        if isinstance(key, str | bytes | Foreign)
        or (isinstance(key, int) and key.bit_length() <= 60)
        else Foreign(f"a {type(key).__name__} as key"): value
        for key, value in (pairs.items() if isinstance(pairs, dict) else pairs)
    }


def _encode(text: Any, codec: Any = None) -> Any:
    """Protocols 0 to 2 write bytes this way."""
    latin = isinstance(text, str) and codec in ("latin1", "latin-1")
    return text.encode("latin1") if latin else NotImplemented


def _dtype(said: Any) -> np.dtype | None:
    """A pickled `numpy.dtype`; None unless it is of plain little-endian numbers."""
    if not (isinstance(said, Foreign) and said.name == "numpy.dtype" and said.args):
        return None
    state = said.content.get("state")
    order = state[1] if isinstance(state, list) else "|"
    plain = isinstance(said.args[0], str) and re.fullmatch("[<|]?[biufc][0-9]{1,2}", said.args[0])
    return np.dtype(said.args[0]) if plain and order in ("<", "|") else None


def _numbers(raw: Any, dtype: Any, shape: Any, order: Any = "C") -> Any:
    plain = _dtype(dtype)
    raw = raw.encode("latin1") if isinstance(raw, str) else raw  # written by Python 2
    if plain is None or not isinstance(raw, bytes | bytearray):
        return NotImplemented
    return np.ndarray(tuple(shape), plain, buffer=raw, order="F" if order == "F" else "C")


def _scalar(dtype: Any, raw: Any) -> Any:
    number = _numbers(raw, dtype, ())
    return number if number is NotImplemented else number[()]


def _array(_version: Any, shape: Any, dtype: Any, by_column: Any, raw: Any) -> Any:
    """An array from its pickled state."""
    return _numbers(raw, dtype, shape, "F" if by_column else "C")


_ARRAYS = {f"numpy.{core}.multiarray._reconstruct" for core in ("core", "_core")}

PLAIN: Known = {
    "collections.OrderedDict": _dict,
    "collections.defaultdict": lambda factory=None, pairs=(): _dict(pairs),
    "builtins.set": lambda values: values,
    "__builtin__.set": lambda values: values,
    "_codecs.encode": _encode,
    "copyreg._reconstructor": lambda kind, *_: Foreign(kind.name),
    "copy_reg._reconstructor": lambda kind, *_: Foreign(kind.name),
    "numpy.core.multiarray.scalar": _scalar,
    "numpy._core.multiarray.scalar": _scalar,
    "numpy.core.numeric._frombuffer": _numbers,
    "numpy._core.numeric._frombuffer": _numbers,
}
