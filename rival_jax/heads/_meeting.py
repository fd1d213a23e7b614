"""Which output of a network is which class of a data set: they are matched by name."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Sequence

Order = tuple[int, ...]
"""The output of each class, in the order of the classes."""

SHOWN = 5  # classes without an output named in an error
IN_FULL = 24  # names listed in a sentence; if more, only the first and the last


def by_name(
    outputs: Sequence[str], classes: Sequence[str], wnids: Sequence[Sequence[str]] | None
) -> Order:
    """The output with each class's name, or one of its synsets; one to one.

    Tried in turn: the exact spelling; the name ignoring case, blanks, hyphens and underscores;
    synsets; the synonyms in an output's name, separated by commas ("tabby, tabby cat").

    Args:
      outputs: names of the outputs; there may be more than classes.
      classes: names of the classes.
      wnids: the ImageNet synsets of each class, if known.

    Raises:
      ValueError: a class has no output, or several; lists the nearest ones.
    """
    synsets = [set(found) for found in wnids] if wnids else [set[str]()] * len(classes)
    parts = [{_key(part) for part in _parts(name)} for name in outputs]
    steps: list[tuple[list[set[str]], list[set[str]]]] = [
        ([{name} for name in outputs], [{name} for name in classes]),
        ([{_key(name)} for name in outputs], [{_key(name)} for name in classes]),
        (parts, synsets),
        (parts, [{_key(part) for part in _parts(name)} for name in classes]),
    ]
    found: dict[int, int] = {}
    several: dict[int, list[int]] = {}
    for keys, wanted in steps:
        bearers = defaultdict(set)
        for i in set(range(len(outputs))) - set(found.values()):
            for key in keys[i]:
                bearers[key].add(i)
        several = {
            c: sorted(set().union(*(bearers.get(key, ()) for key in wanted[c])))
            for c in range(len(classes))
            if c not in found
        }
        claims = Counter(i for some in several.values() for i in some)
        sure = {c: some[0] for c, some in several.items() if len(some) == 1}
        found |= {c: i for c, i in sure.items() if claims[i] == 1}
    if len(found) < len(classes):
        missing = [c for c in range(len(classes)) if c not in found]
        raise ValueError(_unmet(outputs, [(classes[c], several[c]) for c in missing]))
    return tuple(found[c] for c in range(len(classes)))


def by_number(classes: Sequence[str]) -> Order | None:
    """The outputs for classes called 0, 1, ..., which are their numbers; None for other names."""
    if not all(name.isascii() and name.isdigit() for name in classes):
        return None
    order = tuple(map(int, classes))
    return order if sorted(order) == list(range(len(classes))) else None


def listed(names: Sequence[str]) -> str:
    """Names in a sentence: all of them, or the first and the last of many."""
    if len(names) <= IN_FULL:
        return ", ".join(names)
    return f"{', '.join(names[: IN_FULL - 2])}, ..., {names[-1]}"


def _unmet(outputs: Sequence[str], missing: Sequence[tuple[str, list[int]]]) -> str:
    """Classes without an output of their own, each with the nearest names."""
    told = []
    for name, some in missing[:SHOWN]:
        if len(some) > 1:
            told.append(f"{name!r} (several: {', '.join(repr(outputs[i]) for i in some[:3])})")
            continue
        keys = {_key(part): output for output in outputs for part in _parts(output)}
        near = difflib.get_close_matches(_key(name), keys, n=2, cutoff=0.5)
        hint = f" (nearest: {', '.join(repr(keys[key]) for key in near)})" if near else ""
        told.append(repr(name) + hint)
    more = f" and {len(missing) - SHOWN} more" if len(missing) > SHOWN else ""
    return f"no output for class {', '.join(told)}{more}; outputs are {listed(outputs)}"


def _key(name: str) -> str:
    """A form of a name that is the same for all its spellings."""
    return re.sub(r"[\s_-]+", " ", unicodedata.normalize("NFKC", name)).strip().casefold()


def _parts(name: str) -> list[str]:
    """A whole name, and the synonyms in it."""
    return [name, *(part for part in name.split(",") if part.strip())]
