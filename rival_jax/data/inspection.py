"""What would make a number wrong in a data set as it lies on a disk, before networks see it."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from rival_jax.data import load
from rival_jax.data.archives import Span
from rival_jax.data.photos import counted
from rival_jax.data.source import Source, check_names

SMALL = 2**26  # bytes of a file that is always hashed
MUCH = 2**32  # bytes of photos that are compared only on request


def examine(
    module: ModuleType,
    root: Path,
    split: str,
    options: Mapping[str, Any],
    *,
    samples: int,
    hashes: bool,
) -> dict[str, Any]:
    """What is found of one set; `faults` are what would make a number wrong. JSON-able.

    Args:
      module: the set's.
      root, split, options: as for `load`.
      samples: photos that are decoded.
      hashes: whether large archives, and many photos of equal size, are read too.
    """
    name = module.__name__.removeprefix("rival_jax.data.")
    layout = getattr(module, "LAYOUT", "") or (module.__doc__ or "").partition("\n")[0]
    told: dict[str, Any] = {"root": str(root), "layout": layout}
    faults = list(_archives(module, root, hashes))
    notes: list[str] = []
    try:
        source = load(name, root, split, **options)
        check_names(source)
    except (ValueError, OSError) as error:
        return {**told, "faults": [*faults, str(error)], "notes": notes}
    told |= _facts(source)
    faults += [*_counts(source), *_samples(source, samples)]
    faults += getattr(module, "check", lambda source: [])(source)
    notes += getattr(source, "told", getattr(source, "notices", ()))
    notes += [*_said(source), *_copies(source, hashes)]
    if getattr(source, "evaluation_only", False):
        notes.append("its terms only allow evaluation on it, not training, tuning or selection")
    return {**told, "faults": faults, "notes": notes}


def _facts(source: Source) -> dict[str, Any]:
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


def _counts(source: Source) -> Iterator[str]:
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


def _said(source: Source) -> Iterator[str]:
    """A number of photos other than the set is said to have, where that was not verified."""
    lacking = getattr(source, "lacking", None)
    if lacking and not getattr(source, "whole", ()):
        yield f"{counted(lacking[0], 'are')} there, {lacking[1]}"


def _copies(source: Source, hashes: bool) -> Iterator[str]:
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


def _samples(source: Source, count: int) -> Iterator[str]:
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
