"""The language that claims are written in: a few of Python's expressions, read here, never run.

    all(rfs('robust_resnets') < rfs(g) for g in GROUPS if g != 'robust_resnets')

Numbers have intervals, comparisons give margins, see `numbers`. There are no attributes, no
indices, no keywords, and no names but those that are given.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from rival_jax.experiments.claims import numbers
from rival_jax.experiments.claims.numbers import Number, margin, number
from rival_jax.runtime.plugins import no_such

ARITHMETIC: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
WORDS: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.NotIn: lambda word, words: word not in words,
}


def _of_list(function: Callable[[Any], Number]) -> Callable[..., Number]:
    """Of a list or of several arguments, like Python's `max`; of what is not known, not known."""

    def called(*values: Any) -> Number:
        first = values[0] if len(values) == 1 else values
        return numbers.UNKNOWN if isinstance(first, Number) else function(first)

    return called


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "abs": abs,
    "all": _of_list(numbers.smallest),
    "any": _of_list(numbers.largest),
    "len": _of_list(lambda values: number(len(values))),
    "mean": _of_list(numbers.mean),
    "seen": numbers.seen,
    "share": _of_list(numbers.share),
    "spearman": numbers.spearman,
}
EXTREMES = {"max": numbers.largest, "min": numbers.smallest, "spread": numbers.spread}
Minus = Callable[[Number, Number], Number]


class Reader:
    """Reads expressions.

    Args:
      names: what they may use beside `FUNCTIONS`: functions of words and numbers, and sets.
      minus: the difference of two numbers.
      confidence: of the intervals.
      count: comparisons that a verdict follows from, for all of which it is to be as sure.

    Attributes:
      compared: comparisons so far; an extreme of some numbers is one of each but one.
    """

    def __init__(
        self, names: Mapping[str, Any], minus: Minus, confidence: float = 0.95, count: int = 1
    ):
        extremes = {name: _of_list(self._counted(each)) for name, each in EXTREMES.items()}
        self.names, self.minus = {**FUNCTIONS, **extremes, **names}, minus
        self.confidence, self.count, self.compared = confidence, count, 0

    def __call__(self, text: str) -> tuple[Number, Number | None]:
        """An expression's margin, and the number that it compares with a constant, if it does.

        Raises:
          ValueError: for what is not in the language; names it.
        """
        try:
            node = ast.parse(text, mode="eval").body
        except SyntaxError as error:
            raise ValueError(f"claim {text!r}: {error.msg}") from None
        found = number(self._read(node, {}))
        match node:
            case ast.Compare(
                left=ast.Call(ast.Name("abs"), [ast.BinOp(left, ast.Sub(), ast.Constant())])
            ):
                return found, number(self._read(left, {}))
            case ast.Compare(left, [_], [ast.Constant() | ast.UnaryOp()]):
                return found, number(self._read(left, {}))
        return found, None

    def _counted(self, extreme: Callable[[Any], Number]) -> Callable[[Any], Number]:
        def called(values: Any) -> Number:
            self.compared += max(len(values) - 1, 0)
            return extreme(values)

        return called

    def _read(self, node: ast.expr, words: Mapping[str, Any]) -> Any:
        """The value of a part; `words`: what the names of its loops stand for."""
        match node:
            case ast.Constant(value) if isinstance(value, (int, float, str)):
                return value
            case ast.Name(name):
                if name not in words and name not in self.names:
                    raise ValueError(f"claim: {no_such(name, self.names)}")
                return words.get(name, self.names.get(name))
            case ast.Tuple(parts) | ast.List(parts):
                return tuple(self._read(part, words) for part in parts)
            case ast.ListComp() | ast.GeneratorExp():
                inner = self._loops(node.generators, dict(words))
                return tuple(self._read(node.elt, one) for one in inner)
            case ast.Call(ast.Name(), arguments, []):
                called = self._read(node.func, {})
                return called(*(self._read(argument, words) for argument in arguments))
            case ast.UnaryOp(ast.USub(), part):
                return -self._read(part, words)
            case ast.BinOp(left, ast.Sub(), right):
                first, second = self._read(left, words), self._read(right, words)
                return self.minus(number(first), number(second))
            case ast.BinOp(left, how, right) if type(how) in ARITHMETIC:
                return ARITHMETIC[type(how)](self._read(left, words), self._read(right, words))
            case ast.BoolOp(how, parts):
                gathered = numbers.smallest if isinstance(how, ast.And) else numbers.largest
                return gathered(self._read(part, words) for part in parts)
            case ast.Compare(left, [*hows], [*others]):
                sides = [self._read(part, words) for part in (left, *others)]
                parts = list(map(self._compare, sides, hows, sides[1:]))
                return parts[0] if len(parts) == 1 else numbers.smallest(parts)
        raise ValueError(f"claim: {ast.unparse(node)!r} is not in the language of claims")

    def _loops(self, loops: list[ast.comprehension], words: dict[str, Any]) -> Iterator[dict]:
        """The words of every turn of some loops, one within the other."""
        if not loops:
            yield words
            return
        first, *rest = loops
        if not isinstance(first.target, ast.Name):
            raise ValueError(f"claim: {ast.unparse(first.target)!r}: loops have one name each")
        for value in self._read(first.iter, words):
            inner = {**words, first.target.id: value}
            if all(self._read(test, inner) is True for test in first.ifs):
                yield from self._loops(rest, inner)

    def _compare(self, left: Any, how: ast.cmpop, right: Any) -> Number | bool:
        """A margin; of words, whether it is so."""
        word = WORDS.get(type(how))
        if word and isinstance(left, str):
            return word(left, right)
        self.compared += 1
        a, b = number(left), number(right)
        if isinstance(how, ast.Eq):
            return margin(-abs(self.minus(a, b)), strict=False)
        if not isinstance(how, (ast.Lt, ast.LtE, ast.Gt, ast.GtE)):
            raise ValueError(f"claim: numbers are not compared by {type(how).__name__}")
        more, less = (a, b) if isinstance(how, (ast.Gt, ast.GtE)) else (b, a)
        sure = self.minus(more, less).stretched(self.count, self.confidence)
        return margin(sure, strict=isinstance(how, (ast.Lt, ast.Gt)))
