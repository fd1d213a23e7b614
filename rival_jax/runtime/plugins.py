"""Finding a component by its module's name."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import pkgutil
from collections.abc import Iterable
from types import ModuleType


def plugin(kind: str, name: str) -> ModuleType:
    """The module `rival_jax.<kind>.<name>`, or `name` itself if it is dotted.

    Args:
      kind: a folder of the package: "data", "experiments", "heads", ...
      name: of a module in it; "mylab.cub" imports from outside the package.

    Raises:
      ValueError: listing the existing modules, the nearest first.
    """
    if "." in name:
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError as error:
            raise ValueError(f"{kind}: cannot import {name!r}: {error}") from error
    package = importlib.import_module(f"rival_jax.{kind}")
    modules = (module.name for module in pkgutil.iter_modules(package.__path__))
    parts = getattr(package, "PARTS", ())  # modules that are not components
    known = [name for name in modules if not name.startswith("_") and name not in parts]
    if name not in known:
        raise ValueError(f"{kind}: " + no_such(name, known))
    return importlib.import_module(f"rival_jax.{kind}.{name}")


def no_such(name: str, known: Iterable[str]) -> str:
    """The error for an unknown name: the name, the nearest ones, and all known ones.

    >>> no_such("rsf", ["knn", "rfs"])
    "no 'rsf'; did you mean 'rfs'? There are: knn, rfs"
    """
    known = sorted(known)
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    hint = f"; did you mean {' or '.join(map(repr, near))}?" if near else ";"
    return f"no {name!r}{hint} There are: {', '.join(known) or 'none'}"
