"""What checks the package's annotations while tests run; conftest.py puts it in jaxtyping's place.

jaxtyping's own check keeps the sizes of each call, and so takes as long as many functions do. It is
for modules that name shapes. All others have plain types, which beartype alone checks.
"""

from __future__ import annotations

import dataclasses
import functools
import sys
from types import FunctionType
from typing import Any

import jaxtyping
from beartype import beartype

_with_shapes = jaxtyping.jaxtyped


def jaxtyped(*, typechecker: Any) -> Any:
    """A decorator of every function and class of the package; `typechecker` is beartype."""

    def checked(made):
        if _names_shapes(made.__module__):
            return _with_shapes(made, typechecker=typechecker)
        if not isinstance(made, type):
            return _plainly(made)
        if dataclasses.is_dataclass(made) and "__init__" in vars(made):
            made.__init__ = _plainly(made.__init__)
        return made

    return checked


def _plainly(function: FunctionType) -> Any:
    """As jaxtyping has it, what is not known yet, or to type checkers alone, may be anything."""
    for name, hint in function.__annotations__.items():
        try:
            found = eval(hint, function.__globals__) if isinstance(hint, str) else hint
        except Exception:
            found = Any
        function.__annotations__[name] = found
    return beartype(function)


@functools.cache
def _names_shapes(module: str) -> bool:
    """Does a module, whose imports are done, know a type of arrays, or what makes one?"""
    kinds = jaxtyping.AbstractDtype, jaxtyping.AbstractArray
    values = vars(sys.modules[module]).values()
    return any(isinstance(value, type) and issubclass(value, kinds) for value in values)
