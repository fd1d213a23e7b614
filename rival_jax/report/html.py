"""Parts of every report page: templates, inlined pictures, and the facts of its runs."""

from __future__ import annotations

import base64
import io
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import jinja2
from PIL import Image

from rival_jax._version import VERSION
from rival_jax.report.style import Files, Missing
from rival_jax.report.tables import Table, counted
from rival_jax.runtime.names import visible


def render(template: str, **values: Any) -> str:
    """A page from `template` of this folder, as text."""
    return environment().get_template(template).render(version=VERSION, **values)


def environment() -> jinja2.Environment:
    """The environment for templates: names are escaped as text, and made visible."""
    made = jinja2.Environment(
        autoescape=True,
        finalize=_visible,
        trim_blocks=True,
        undefined=jinja2.StrictUndefined,
        loader=jinja2.PackageLoader("rival_jax.report", ""),
    )
    made.filters["minus"] = _minus
    return made


def inlined(
    files: Files | Missing, caption: str, alt: str, *, photos: bool = False
) -> dict[str, str]:
    """A saved figure for the macro `figure`; `photos`: as JPEG, for pictures of many pixels.

    If it could not be drawn there is no `source`, and the caption says why.
    """
    if isinstance(files, Missing):
        told = f"{caption} This figure could not be drawn: {files.reason}."
        return {"name": files.name, "source": "", "caption": told, "alt": alt}
    if photos:
        with Image.open(files.png) as image:
            source = jpeg(image.convert("RGB"))
    else:
        drawing = base64.b64encode(files.svg.read_bytes()).decode()
        source = f"data:image/svg+xml;base64,{drawing}"
    return {"name": files.png.stem, "source": source, "caption": caption, "alt": alt}


def jpeg(image: Image.Image) -> str:
    """A picture as the source of an <img>."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


def data_facts(facts: Mapping[str, Any], counts: Mapping[str, int]) -> dict[str, Any]:
    """What a page says about its data set.

    Args:
      facts: data.json; its "sentence", if any, replaces all numbers.
      counts: images of every class that has any.
    """
    empty = sorted(set(facts["classes"]) - set(counts))
    fewest, most = min(counts.values(), default=0), max(counts.values(), default=0)
    size = f"{most} of each" if fewest == most else f"{fewest} to {most} of each"
    sentence = facts.get("sentence") or (
        f"{facts['name']}, split {facts['split']}: {counted(facts['images'], 'image')} of "
        f"{counted(len(counts), 'class')}, {size}. Averages give every class the same "
        f"weight. Fingerprint of the pixels: {facts['fingerprint']}."
    )
    if empty:
        sentence += f" Without images, and left out: {', '.join(empty)}."
    return {
        "sentence": facts.get("sentence", sentence),
        "counts": list(counts.items()),
        "skipped": facts.get("skipped", []),
        "notices": facts.get("notices", []),
    }


def models_table(cards: Iterable[Mapping[str, Any]], groups: Mapping[str, Sequence[str]]) -> Table:
    """The models of models.json; `groups` may be empty."""
    header = ("model", "group", "parameters, M", "GFLOP per image", "input", "head")
    rows = [
        (
            card["name"],
            next((name for name, members in groups.items() if card["name"] in members), ""),
            _scaled(card.get("parameters"), 1e6),
            _scaled(card.get("flops"), 1e9),
            str(card.get("input", "")),
            str(card.get("head", "")),
        )
        for card in cards
    ]
    return Table("", header, rows)


def run_facts(run: Mapping[str, Any]) -> dict[str, Any]:
    """How to repeat a run: from its path, argv and environment."""
    command = "python -m rival_jax.main " + shlex.join(run["argv"])
    environment = [
        (key, ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, dict) else value)
        for key, value in run["environment"].items()
    ]
    return {"path": run["path"], "command": command, "environment": environment}


def _scaled(value: float | int | None, unit: float) -> str:
    return "" if value is None else f"{value / unit:,.3g}"


def _visible(value: Any) -> Any:
    """Makes invisible characters of names visible; existing markup stays."""
    return visible(value) if type(value) is str else value


def _minus(text: str) -> str:
    """Typographic minus signs before numbers."""
    return re.sub(r"(?<![\w.])-(?=\d)", "\N{MINUS SIGN}", text)
