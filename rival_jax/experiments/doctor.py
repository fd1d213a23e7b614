"""Looks at data sets before networks do: what is there, what is missing, how to lay it out."""

from __future__ import annotations

import hashlib
import pkgutil
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from rich.console import Console

from rival_jax import data
from rival_jax.data.archives import Span
from rival_jax.data.photos import counted
from rival_jax.data.source import check_names
from rival_jax.experiments.sets import called
from rival_jax.runtime.plugins import plugin
from rival_jax.runtime.results import Run

ONE_PROCESS = True  # not for several hosts

SMALL = 2**26  # bytes of a file that is always hashed
MUCH = 2**32  # bytes of photos that are compared only on request
EXAMPLE = "\"('imagenet_a=/data/imagenet-a',)\""
SHOWN = 8  # words of a factor that are printed


def run(config: Any, run: Run, console: Console) -> dict[str, Any]:
    """Prints and returns what is found of each of `config.sets`, or how all are laid out.

    Raises:
      ValueError: something would make a number wrong; raised after everything is printed and saved.
    """
    if not config.sets:
        return {"layouts": layouts(console)}
    found = []
    for text in config.sets:
        told = examine(text, config)
        show(told, console)
        found.append(told)
    run.save_json("summary.json", {"sets": found})
    wrong = [told["set"].partition("=")[0] for told in found if told["faults"]]
    if wrong:
        raise ValueError(
            f"{len(wrong)} of {len(found)} data sets would give wrong numbers: {', '.join(wrong)}"
        )
    return {"sets": found}


def dry_run(config: Any, console: Console) -> None:
    """Prints what a run would look at, and whether its folder exists.

    Raises:
      ValueError: for an unknown set.
    """
    for text in config.sets:
        _, root, *_ = _called(text, config)
        there = "there" if root.exists() else "not there"
        console.print(f"{text}: {root} is {there}", markup=False)
    console.print(f"{len(config.sets)} data sets; nothing was read")


def layouts(console: Console) -> dict[str, str]:
    """Prints and returns how each evaluation set is laid out."""
    modules = (m.name for m in pkgutil.iter_modules(data.__path__) if m.name not in data.PARTS)
    found = {name: getattr(plugin("data", name), "LAYOUT", "") for name in modules}
    found = {name: layout for name, layout in found.items() if layout}
    for name, layout in found.items():
        console.print(f"{name}: {layout}", markup=False)
    console.print(f"Check some: --config.sets={EXAMPLE}", markup=False)
    return found


def examine(text: str, config: Any) -> dict[str, Any]:
    """What is found of one set; `faults` are what would make a number wrong."""
    module, root, split, options = _called(text, config)
    name = module.__name__.removeprefix("rival_jax.data.")
    told: dict[str, Any] = {"set": text, "root": str(root), "layout": _layout(module)}
    faults = list(_archives(module, root, config.hashes))
    notes: list[str] = []
    try:
        source = data.load(name, root, split, **options)
        check_names(source)
    except (ValueError, OSError) as error:
        return {**told, "faults": [*faults, str(error)], "notes": notes}
    told |= _facts(source)
    faults += [*_counts(source), *_samples(source, config.samples)]
    faults += getattr(module, "check", lambda source: [])(source)
    notes += getattr(source, "told", getattr(source, "notices", ()))
    notes += [*_said(source), *_copies(source, config.hashes)]
    if getattr(source, "evaluation_only", False):
        notes.append("its terms only allow evaluation on it, not training, tuning or selection")
    return {**told, "faults": faults, "notes": notes}


def show(told: dict[str, Any], console: Console) -> None:
    """One set's lines, and its layout if something is wrong."""
    lines = [f"{told['set']}: {'WRONG' if told['faults'] else 'good'}"]
    if "photos" in told:
        low, high = told["labels"]
        filled, classes = told["filled"], told["classes"]
        lines.append(
            f"{counted(told['photos'])} of {filled} of {classes} classes, labels {low}-{high}"
        )
    for factor, words in told.get("factors", {}).items():
        some = ", ".join(f"{word or 'unknown'} {n:,}" for word, n in list(words.items())[:SHOWN])
        more = f" and {len(words) - SHOWN} more" if len(words) > SHOWN else ""
        lines.append(f"{factor}: {some}{more}")
    lines += [f"wrong: {fault}" for fault in told["faults"]]
    lines += [f"note: {note}" for note in told["notes"]]
    if told["faults"]:
        lines.append(f"expected: {told['layout']}")
    console.print("\n  ".join(lines), markup=False)


def _called(text: str, config: Any) -> tuple[ModuleType, Path, str, dict[str, Any]]:
    """A set's module, its root, split and options."""
    one = called(text)
    root = Path(one.root or config.root).expanduser()
    return plugin("data", one.kind), root, one.split or config.split, one.options


def _layout(module: ModuleType) -> str:
    return getattr(module, "LAYOUT", "") or (module.__doc__ or "").partition("\n")[0]


def _facts(source: data.Source) -> dict[str, Any]:
    """What is printed about a set whether or not something is wrong."""
    labels = np.asarray(source.labels)
    factors = getattr(source, "factors", {})
    return {
        "photos": len(source),
        "classes": len(source.classes),
        "filled": len(np.unique(labels)),
        "labels": [int(labels.min()), int(labels.max())],
        "factors": {name: dict(Counter(words).most_common()) for name, words in factors.items()},
    }


def _counts(source: data.Source) -> Iterator[str]:
    """Labels outside the classes, classes without photos, missing photos."""
    labels = np.asarray(source.labels)
    if labels.min() < 0 or labels.max() >= len(source.classes):
        yield f"labels are {labels.min()} to {labels.max()}, classes {len(source.classes)}"
        return
    whole = getattr(source, "whole", ())
    if whole and len(source) not in whole:
        known = " or ".join(f"{count:,}" for count in whole)
        yield f"{counted(len(source), 'are')} there, {known} are known"
    counts = np.bincount(labels, minlength=len(source.classes))
    empty = [name for name, count in zip(source.classes, counts, strict=True) if not count]
    if empty:
        yield f"{len(empty)} of {len(counts)} classes have no photo, such as {empty[0]}"


def _said(source: data.Source) -> Iterator[str]:
    """A number of photos other than the set is said to have, where that was not verified."""
    lacking = getattr(source, "lacking", None)
    if lacking and not getattr(source, "whole", ()):
        yield f"{counted(lacking[0], 'are')} there, {lacking[1]}"


def _copies(source: data.Source, hashes: bool) -> Iterator[str]:
    """Photos with the same bytes as others: only those of equal size are read."""
    places = getattr(getattr(source, "files", None), "places", {})
    spans = [(n, places[n]) for n in source.names if isinstance(places.get(n), Span)]
    alike: dict[int, list[tuple[str, Span]]] = defaultdict(list)
    for name, span in spans:
        alike[span.length].append((name, span))
    alike = {size: some for size, some in alike.items() if len(some) > 1}
    total = sum(size * len(some) for size, some in alike.items())
    if total > MUCH and not hashes:
        yield f"copies were not looked for: pass --config.hashes to read {total / 2**30:.0f} GiB"
        return
    found: dict[bytes, list[str]] = defaultdict(list)
    for name, span in (one for some in alike.values() for one in some):
        found[hashlib.blake2b(span.read(), digest_size=16).digest()].append(name)
    copies = [names for names in found.values() if len(names) > 1]
    label = dict(zip(source.names, np.asarray(source.labels).tolist(), strict=True))
    if copies:
        count = sum(len(names) - 1 for names in copies)
        apart = sum(len({label[name] for name in names}) > 1 for names in copies)
        first, second, *_ = copies[0]
        yield (
            f"{counted(count, 'are')} copies of others, byte for byte, such as {second} of "
            f"{first}; {counted(apart, 'are')} in several classes; intervals take copies for "
            "independent photos, and are a little too narrow"
        )


def _samples(source: data.Source, count: int) -> Iterator[str]:
    """Unreadable photos, in an evenly spread sample; sizes other than the set promises."""
    sizes = Counter()
    for position in np.unique(np.linspace(0, len(source) - 1, count).astype(int)).tolist():
        try:
            sizes[source[position]["image"].size] += 1
        except (ValueError, OSError) as error:
            yield str(error)
    if getattr(source, "resized", False) and len(sizes) > 1:
        told = ", ".join(f"{width} x {height}" for width, height in sizes)
        yield f"photos should all have one size, but are {told}: they have been resized"


def _archives(module: ModuleType, root: Path, hashes: bool) -> Iterator[str]:
    """Downloaded files, at or below the root, that differ from what was published."""
    for name, (size, digest) in getattr(module, "FILES", {}).items():
        path = root if root.name == name else root / name
        if not path.is_file():
            continue
        found = path.stat().st_size
        if size and found != size:
            yield f"{path} has {found:,} bytes, {size:,} were published: download it again"
        elif digest and (hashes or found <= SMALL) and _sha256(path) != digest:
            yield f"{path} is not what was published (sha256 {digest[:16]}...): download it again"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
