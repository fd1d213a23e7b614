"""Parts of every report page: templates, inlined pictures, and the facts of its runs."""

from __future__ import annotations

import base64
import io
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
from PIL import Image

from rival_jax._version import VERSION
from rival_jax.report.style import Files
from rival_jax.report.tables import Table, counted, minus, percent
from rival_jax.runtime.environment import read_argv
from rival_jax.runtime.names import visible
from rival_jax.runtime.results import parsed
from rival_jax.runtime.same_config import flat

CLEAN_SHOWN = 8  # networks named in a headline


def render(template: str, **values: Any) -> str:
    """A page from `template` of this folder, as text."""
    return environment().get_template(template).render(version=VERSION, **values)


def environment() -> jinja2.Environment:
    """The environment for templates: names are escaped as text, and made visible."""
    made = jinja2.Environment(
        autoescape=True,
        finalize=lambda value: visible(value) if type(value) is str else value,  # not markup
        trim_blocks=True,
        undefined=jinja2.StrictUndefined,
        loader=jinja2.PackageLoader("rival_jax.report", ""),
    )
    made.filters["minus"] = minus
    return made


def inlined(files: Files | str, caption: str, alt: str, *, photos: bool = False) -> dict[str, str]:
    """A saved figure for the macro `figure`; `photos`: as JPEG, for pictures of many pixels.

    If it could not be drawn, `files` is the reason: there is no `source`, and the caption says why.
    """
    if isinstance(files, str):
        return {"source": "", "caption": f"{caption} This figure could not be drawn: {files}."}
    if photos:
        with Image.open(files.png) as image:
            source = "data:image/jpeg;base64," + encoded(image.convert("RGB"), "JPEG", quality=85)
    else:
        drawing = base64.b64encode(files.svg.read_bytes()).decode()
        source = f"data:image/svg+xml;base64,{drawing}"
    return {"name": files.png.stem, "source": source, "caption": caption, "alt": alt}


def encoded(image: Image.Image, kind: str, **options: Any) -> str:
    """A picture as base64 of a file of this kind; `options`: of `Image.save`."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return base64.b64encode(buffer.getvalue()).decode()


def data_facts(facts: Mapping[str, Any]) -> dict[str, Any]:
    """What a page says about its data set: data.json, whose "sentence" replaces all numbers."""
    counts = {c: n for c, n in zip(facts["classes"], facts["counts"], strict=True) if n}
    empty = sorted(set(facts["classes"]) - set(counts))
    fewest, most = min(counts.values(), default=0), max(counts.values(), default=0)
    size = f"{most} of each" if fewest == most else f"{fewest} to {most} of each"
    sentence = facts.get("sentence") or (
        f"{facts['name']}, split {facts['split']}: {counted(facts['images'], 'image')} of "
        f"{counted(len(counts), 'class')}, {size}. Averages give every class the same "
        f"weight. Fingerprint of the pixels: {facts['fingerprint']}."
        + (f" Without images, and left out: {', '.join(empty)}." if empty else "")
    )
    lists = {name: facts.get(name, []) for name in ("skipped", "notices")}
    return {"sentence": sentence, "counts": list(counts.items()), **lists}


def models_table(cards: Sequence[Mapping[str, Any]], groups: Mapping[str, Sequence[str]]) -> Table:
    """The models of models.json, without columns that say nothing; `groups` may be empty."""
    names = [card["name"] for card in cards]
    columns = {
        "model": names,
        "group": [next((g for g, some in groups.items() if name in some), "") for name in names],
        "parameters, M": [_scaled(card.get("parameters"), 1e6) for card in cards],
        "GFLOP per image": [_scaled(card.get("flops"), 1e9) for card in cards],
        "input": [str(card.get("input", "")) for card in cards],
        "head": [str(card.get("head", "")) for card in cards],
    }
    kept = {name: cells for name, cells in columns.items() if any(cells) or not cards}
    return Table("", tuple(kept), list(zip(*kept.values(), strict=True)))


def run_facts(folder: Path) -> dict[str, Any]:
    """How to repeat a run: the command and what is known of its environment."""
    environment = [
        (key, ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, dict) else value)
        for key, value in parsed(folder / "environment.json").items()
        if value is not None  # a commit, of an installed package
    ]
    command = "python -m rival_jax.main " + shlex.join(read_argv(folder))
    return {"path": str(folder), "command": command, "environment": environment}


def clean(shares: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """How often networks are right on unchanged photos: one sentence for all, or none.

    Args:
      shares: network's name -> interval of its accuracy, with `right` and `images` if it is a plain
        share of images.
    """
    told = []
    for name, found in list(shares.items())[:CLEAN_SHOWN]:
        counted = f" ({found['right']} of {found['images']} images)" if "images" in found else ""
        told.append(f"{name} {percent(found)} %{counted}")
    more = len(shares) - CLEAN_SHOWN
    told += [f"and {more} more"] if more > 0 else []
    return [f"Right on the photos as they are: {', '.join(told)}."] if told else []


def config_table(nested: Sequence[Mapping[str, Any]]) -> list[tuple[str, list[str]]]:
    """All values of some configs, flat: (key, value in each config)."""
    configs = [flat(config) for config in nested]
    keys = dict.fromkeys(key for config in configs for key in config)
    return [(key, [_shown(config.get(key)) for config in configs]) for key in keys]


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(_shown, value)) or "none"
    if isinstance(value, float):
        return f"{value:.6g}"
    return "not set" if value in (None, "") else str(value)


def _scaled(value: float | int | None, unit: float) -> str:
    return "" if value is None else f"{value / unit:,.3g}"
