"""The report as one HTML file that opens offline: everything is inlined, nothing is a script."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from rival_jax.report import captions, examples, html, tables, words
from rival_jax.report.examples import Example, Pictures
from rival_jax.report.figures import Material
from rival_jax.report.style import Files, Missing
from rival_jax.report.tables import counted
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
    path: Path,
    material: Material,
    figures: Mapping[str, Files | Missing],
    pictures: Pictures | None = None,
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
    clean = {name: entry["accuracy_clean"] for name, entry in summary["models"].items()}
    text = html.render(
        "page.html.jinja",
        title=f"Foreground sensitivity of {_list(sweep.models)} on {sweep.dataset}",
        subtitle=f"{counted(len(sweep.models), 'model')}, {counted(len(sweep.names), 'image')}, "
        f"{counted(len(sweep.classes), 'class')}; "
        f"{'; '.join(map(_protocol_line, material.sweep.noise.values()))}",
        sections=SECTIONS,
        headline=[*words.headline(summary), *words.clean(clean)],
        norms=[_norm_part(material, figures, name) for name in sweep.noise],
        bars=_figure(material, figures, "fig6"),
        footnote=tables.footnote(summary),
        examples=_examples(material, norm, pictures),
        example_level=tables.levels_text(norm, [level]),
        example_draws=counted(noise.trials, "noise draw"),
        contact=_figure(material, figures, f"examples_{norm}") if pictures else None,
        data=html.data_facts(_data(sweep.runs), summary["dataset"]["classes"]),
        models=html.models_table(sweep.cards, material.groups),
        protocol=words.protocol(sweep),
        run_names=[run["path"] for run in sweep.runs],
        caveats=words.caveats(sweep, summary),
        runs=[html.run_facts(run) for run in sweep.runs],
    )
    with atomic(path) as partial:
        partial.write_text(text, encoding="utf-8")


def _data(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The first run's data.json, with what all of the runs have to say of theirs."""
    notices = [notice for run in runs for notice in run["data"].get("notices", [])]
    return {**runs[0]["data"], "notices": list(dict.fromkeys(notices))}


def _norm_part(
    material: Material, figures: Mapping[str, Files | Missing], norm: str
) -> dict[str, Any]:
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


def _figure(
    material: Material, figures: Mapping[str, Files | Missing], name: str
) -> dict[str, str]:
    kind, _, norm = name.partition("_")
    caption, alt = captions.caption(material, kind, norm)
    return html.inlined(figures[name], caption, alt, photos=kind == "examples")


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
    try:
        shown = pictures(item.name) if pictures else ()
    except Exception:  # photos gone since: the numbers stay, and figure 1 says what is wrong
        shown = ()
    images = []
    kinds = ("photo", "noise on the foreground", "noise on the background")
    for kind, picture in zip(kinds, shown, strict=False):
        small = Image.fromarray(np.asarray(picture))
        small.thumbnail((PICTURE, PICTURE), Image.Resampling.LANCZOS)
        images.append({"source": html.jpeg(small), "alt": f"{item.label}, {kind}"})
    return {**item._asdict(), "images": images}


def _protocol_line(noise: Any) -> str:
    return f"{noise.norm} noise, {tables.levels_text(noise.norm, noise.levels.tolist())}"


def _list(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else counted(len(names), "model")
