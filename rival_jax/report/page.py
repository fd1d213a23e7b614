"""The report as one HTML file that opens offline: everything is inlined, nothing is a script."""

from __future__ import annotations

import base64
import io
import re
import shlex
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from PIL import Image

from rival_jax._version import VERSION
from rival_jax.report import captions, examples, tables, words
from rival_jax.report.examples import Example, Pictures
from rival_jax.report.figures import Material
from rival_jax.report.style import Files
from rival_jax.report.tables import Table
from rival_jax.runtime.results import atomic

PICTURE = 192  # pixels, longest side of an inlined photo
SECTIONS = (
    ("results", "Results"),
    ("examples", "Examples"),
    ("data", "Data"),
    ("models", "Models"),
    ("protocol", "Protocol"),
    ("limits", "Limits"),
    ("reproduce", "Reproduce"),
)


def write_page(
    path: Path, material: Material, figures: Mapping[str, Files], pictures: Pictures | None = None
) -> None:
    """Writes the report of a sweep.

    Args:
      path: of the HTML file.
      material: the sweep, its summary and groups.
      figures: name -> files: `fig2_<norm>`, `fig4_<norm>`, `fig5_<norm>`, `fig6` and, with
        pictures, `examples_<norm>`.
      pictures: shows an example, see `examples.Pictures`; without it examples are text.
    """
    sweep, summary = material.sweep, material.summary
    norm = next(iter(sweep.noise))
    noise = sweep.noise[norm]
    level = float(noise.levels[examples.level_shown(noise)])
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, undefined=jinja2.StrictUndefined
    )
    environment.filters["minus"] = _minus
    template = resources.files("rival_jax.report").joinpath("page.html.jinja").read_text("utf-8")
    html = environment.from_string(template).render(
        title=f"Foreground sensitivity of {_list(sweep.models)} on {sweep.dataset}",
        subtitle=f"{len(sweep.models)} models, {len(sweep.names)} images, {len(sweep.classes)} "
        f"classes; {'; '.join(map(_protocol_line, material.sweep.noise.values()))}",
        sections=SECTIONS,
        headline=words.headline(summary),
        norms=[_norm_part(material, figures, name) for name in sweep.noise],
        bars=_figure(material, figures, "fig6"),
        footnote=tables.footnote(summary),
        examples=_examples(material, norm, pictures),
        example_level=tables.levels_text(norm, [level]),
        example_trials=noise.trials,
        contact=_figure(material, figures, f"examples_{norm}") if pictures else None,
        data=_data(material),
        models=_models(material),
        protocol=words.protocol(sweep),
        run_names=[run["path"] for run in sweep.runs],
        caveats=words.caveats(sweep, summary),
        runs=[_run(run) for run in sweep.runs],
        version=VERSION,
    )
    with atomic(path) as partial:
        partial.write_text(html, encoding="utf-8")


def _norm_part(material: Material, figures: Mapping[str, Files], norm: str) -> dict[str, Any]:
    summary = material.summary
    shown = [tables.differences(summary, norm, kind) for kind in tables.KINDS]
    return {
        "results": tables.results(summary, norm),
        "figures": [_figure(material, figures, f"fig{n}_{norm}") for n in (2, 4, 5)],
        "more": [
            tables.further(summary, norm),
            *(table for table in shown if table.rows),
            tables.by_class(summary, norm),
        ],
    }


def _figure(material: Material, figures: Mapping[str, Files], name: str) -> dict[str, str]:
    kind, _, norm = name.partition("_")
    caption, alt = captions.caption(material, kind, norm)
    if kind == "examples":
        with Image.open(figures[name].png) as image:
            source = _jpeg(image.convert("RGB"))
    else:
        drawing = base64.b64encode(figures[name].svg.read_bytes()).decode()
        source = f"data:image/svg+xml;base64,{drawing}"
    return {"name": name, "source": source, "caption": caption, "alt": alt}


def _jpeg(image: Image.Image) -> str:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


def _examples(material: Material, norm: str, pictures: Pictures | None) -> list[dict[str, Any]]:
    titles = ("Lowest", "Highest")
    return [
        {
            "name": model,
            "sides": [
                {"title": title, "examples": [_example(item, pictures) for item in side]}
                for title, side in zip(titles, found, strict=True)
            ],
        }
        for model, found in examples.extremes(material, norm).items()
    ]


def _example(item: Example, pictures: Pictures | None) -> dict[str, Any]:
    images = []
    if pictures is not None:
        kinds = ("photo", "noise on the foreground", "noise on the background")
        for kind, picture in zip(kinds, pictures(item.name), strict=True):
            small = Image.fromarray(np.asarray(picture))
            small.thumbnail((PICTURE, PICTURE), Image.Resampling.LANCZOS)
            images.append({"source": _jpeg(small), "alt": f"{item.label}, {kind}"})
    return {**item._asdict(), "images": images}


def _data(material: Material) -> dict[str, Any]:
    facts = material.sweep.runs[0]["data"]
    counts = material.summary["dataset"]["classes"]
    empty = sorted(set(facts["classes"]) - set(counts))
    fewest, most = min(counts.values()), max(counts.values())
    size = f"{most} of each" if fewest == most else f"{fewest} to {most} of each"
    sentence = (
        f"{facts['name']}, split {facts['split']}: {facts['images']} images of {len(counts)} "
        f"classes, {size}. Averages give every class the same weight. Fingerprint of the pixels: "
        f"{facts['fingerprint']}."
    )
    if empty:
        sentence += f" Without images, and left out: {', '.join(empty)}."
    return {
        "sentence": sentence,
        "counts": list(counts.items()),
        "skipped": facts.get("skipped", []),
    }


def _models(material: Material) -> Table:
    header = ("model", "group", "parameters, M", "GFLOP per image", "input", "head")
    rows = [
        (
            card["name"],
            next(name for name, members in material.groups.items() if card["name"] in members),
            _scaled(card.get("parameters"), 1e6),
            _scaled(card.get("flops"), 1e9),
            str(card.get("input", "")),
            str(card.get("head", "")),
        )
        for card in material.sweep.cards
    ]
    return Table("", header, rows)


def _scaled(value: float | int | None, unit: float) -> str:
    return "" if value is None else f"{value / unit:,.3g}"


def _run(run: Mapping[str, Any]) -> dict[str, Any]:
    command = "python -m rival_jax.main " + shlex.join(run["argv"][1:])
    environment = [
        (key, ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, dict) else value)
        for key, value in run["environment"].items()
    ]
    return {"path": run["path"], "command": command, "environment": environment}


def _protocol_line(noise: Any) -> str:
    return f"{noise.norm} noise, {tables.levels_text(noise.norm, noise.levels.tolist())}"


def _minus(text: str) -> str:
    """Typographic minus signs before numbers."""
    return re.sub(r"(?<![\w.])-(?=\d)", "\N{MINUS SIGN}", text)


def _list(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{len(names)} models"
