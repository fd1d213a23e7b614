"""Lists the catalogue of published networks and which are here; fetches those asked for."""

from __future__ import annotations

import urllib.parse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from rival_jax import weights
from rival_jax.configs import typed
from rival_jax.configs.models import Config
from rival_jax.runtime.results import Run
from rival_jax.weights import catalogue, download
from rival_jax.weights.catalogue import Entry

ONE_PROCESS = True  # not for several hosts

ALL = "all"
HEADINGS = ("family", "study", "source", "licence", "input", "here", "name")


def run(config: Any, run: Run, console: Console) -> dict[str, Any]:
    """Fetches `config.fetch`, then prints the table; returns it as the summary."""
    config = typed(Config, config)
    listed = catalogue.matching(config.study, config.match)
    for entry in asked_for(config.fetch, listed):
        folder = download.fetch(entry, console=console, cache=config.cache)
        console.print(f"{entry.name} is here: {folder / entry.file}", markup=False)
    rows = [facts(entry, config.cache) for entry in listed]
    show(rows, console)
    here = [row for row in rows if row["bytes"]]
    console.print(
        f"{len(rows)} networks, {len(here)} of them here ({size(sum(r['bytes'] for r in here))}). "
        "Fetch some: --config.fetch=\"('resnet50','deit_small')\", or all that are listed: ('all',)"
    )
    return {"models": rows}


def dry_run(config: Any, console: Console) -> None:
    """Prints what would be fetched, from where and into which folder."""
    config = typed(Config, config)
    wanted = asked_for(config.fetch, catalogue.matching(config.study, config.match))
    missing = [entry for entry in wanted if not download.cached(entry, config.cache)]
    for entry in missing:
        console.print(
            f"{entry.address(entry.file)} as {download.target(entry, config.cache) / entry.file}",
            markup=False,
        )
    console.print(f"{len(missing)} of {len(wanted)} to fetch; nothing was fetched")


def asked_for(names: Sequence[str], listed: list[Entry]) -> list[Entry]:
    """The entries to fetch, each once; "all" stands for those `listed`.

    Raises:
      ValueError: there is no such name; raised before anything is fetched.
    """
    found = {}
    for name in names:
        for entry in listed if name == ALL else [download.named(name)]:
            found.setdefault(entry.name, entry)
    return list(found.values())


def facts(entry: Entry, cache: str = "") -> dict[str, Any]:
    """A row of the table; `bytes` is 0 if the file is not here."""
    here = download.cached(entry, cache)
    given = entry.config or weights.Config()
    return {
        "name": entry.name,
        "aliases": list(entry.aliases),
        "family": entry.family,
        "study": list(entry.study),
        "source": entry.address(entry.file),
        "sha256": entry.sha256,
        "licence": entry.licence,
        "input_size": list(given.image_size or ()),
        "interpolation": given.interpolation,
        "crop_pct": given.crop_pct,
        "notes": entry.notes,
        "bytes": Path(here, entry.file).stat().st_size if here else 0,
    }


def show(rows: Sequence[dict[str, Any]], console: Console) -> None:
    """The table in plain columns for `grep`; names come last since some are long."""
    lines = [HEADINGS, *map(_cells, rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(HEADINGS) - 1)]
    for line in lines:
        cells = [text.ljust(width) for text, width in zip(line, widths, strict=False)]
        console.print("  ".join([*cells, line[-1]]), markup=False)


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    return (
        row["family"],
        " ".join(row["study"]),
        urllib.parse.urlsplit(row["source"]).netloc,
        row["licence"],
        f"{row['input_size'][0]} {row['interpolation']} {row['crop_pct']:.3g}",
        size(row["bytes"]) if row["bytes"] else "-",
        " = ".join([row["name"], *row["aliases"]]),
    )


def size(count: int) -> str:
    """Bytes in readable units.

    >>> size(0), size(102_530_333), size(1_217_000_000)
    ('0 MB', '103 MB', '1.22 GB')
    """
    return f"{count / 1e9:.3g} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"
