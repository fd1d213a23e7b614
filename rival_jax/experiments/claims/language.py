"""The language that claims are written in: a few of Python's expressions, read here, never run.

    all(rfs('robust_resnets') < rfs(g) for g in GROUPS if g != 'robust_resnets')

Numbers have intervals, comparisons give margins, see `numbers`. There are no attributes, no
indices, no keywords, and no names but those that are given.
"""

from __future__ import annotations

import ast
import functools
import operator
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from rival_jax.experiments.claims import numbers
from rival_jax.experiments.claims.definitions import deviation
from rival_jax.experiments.claims.numbers import Number, margin, number
from rival_jax.experiments.claims.tables import Quantity
from rival_jax.runtime.plugins import no_such

ARITHMETIC = {ast.Add: operator.add, ast.Mult: operator.mul, ast.Div: operator.truediv}
WORDS = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.NotIn: lambda word, some: word not in some,
}
FUNCTIONS: dict[str, Callable[..., Any]] = {
    **{name: getattr(numbers, name) for name in ("known", "same", "seen", "spearman", "trend")},
    "abs": abs,
    "deviation": lambda name: number(deviation(name)),
}
OF_LISTS: dict[str, Callable[[Any], Number]] = {
    "all": numbers.smallest,
    "any": numbers.largest,
    "mean": numbers.mean,
    "share": numbers.share,
    "len": lambda values: number(len(values)),
}
EXTREMES = {"max": numbers.largest, "min": numbers.smallest, "spread": numbers.spread}


class Reader:
    """Reads expressions.

    Args:
      names: what they may use beside functions: functions of words and numbers, sets, definitions.
      minus: the difference of two numbers.
      confidence: of the intervals.
      count: comparisons that a verdict follows from, for all of which it is to be as sure.

    Attributes:
      compared: comparisons so far; an extreme of some numbers is one of each but one.
    """

    def __init__(
        self,
        names: Mapping[str, Any],
        minus: Callable[[Number, Number], Number],
        confidence: float = 0.95,
        count: int = 1,
    ):
        lists = {**OF_LISTS, **EXTREMES}
        listed = {
            name: functools.partial(self._of_list, name, each) for name, each in lists.items()
        }
        self.names, self.minus = {**FUNCTIONS, **listed, **names}, minus
        self.confidence, self.count, self.compared = confidence, count, 0

    def __call__(self, text: str) -> tuple[Number, Number | None]:
        """An expression's margin, and the number that it compares with a constant, if it does.

        Raises:
          ValueError: for what is not in the language; names it.
        """
        node, told = _parsed(text), None
        found = number(self._read(node, {}))
        match node:
            case ast.Compare(
                left=ast.Call(ast.Name("abs"), [ast.BinOp(told, ast.Sub(), ast.Constant())])
            ):
                pass
            case ast.Compare(told, [_], [ast.Constant() | ast.UnaryOp()]):
                pass
        return found, None if told is None else number(self._read(told, {}))

    def _of_list(self, name: str, function: Callable[[Any], Number], *values: Any) -> Number:
        """Of a list or of several arguments, like Python's `max`; of what is unknown, unknown."""
        some = values[0] if len(values) == 1 else values
        if isinstance(some, Number):
            return numbers.UNKNOWN
        self.compared += max(len(some) - 1, 0) if name in EXTREMES else 0
        return function(some)

    def _called(self, function: Any, arguments: list[Any]) -> Any:
        if isinstance(function, Quantity):
            return self._read(_parsed(function.definition), function.given(arguments))
        return function(*arguments)

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
                given = [self._read(argument, words) for argument in arguments]
                return self._called(self._read(node.func, {}), given)
            case ast.UnaryOp(ast.USub(), part):
                return -self._read(part, words)
            case ast.BinOp(left, ast.Sub(), right):
                return self.minus(*(number(self._read(part, words)) for part in (left, right)))
            case ast.BinOp(left, how, right) if type(how) in ARITHMETIC:
                return ARITHMETIC[type(how)](self._read(left, words), self._read(right, words))
            case ast.BoolOp(how, parts):
                gathered = numbers.smallest if isinstance(how, ast.And) else numbers.largest
                return gathered(self._read(part, words) for part in parts)
            case ast.Compare(left, hows, others):
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


@functools.cache
def _parsed(text: str) -> ast.expr:
    try:
        return ast.parse(text, mode="eval").body
    except SyntaxError as error:
        raise ValueError(f"claim {text!r}: {error.msg}") from None
