"""From result rows to summary, tables, figures and one HTML page."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping, Sequence

from rich.console import Console

from rival_jax.report import examples, figures, instances, tables
from rival_jax.report.examples import Pictures
from rival_jax.report.page import write_page
from rival_jax.report.style import attempt
from rival_jax.report.summary import Summary, summarise
from rival_jax.report.sweep import Sweep
from rival_jax.runtime.results import Run, atomic

__all__ = ["Pictures", "Summary", "Sweep", "summarise", "write"]


def write(
    run: Run,
    console: Console,
    pictures: Pictures | None = None,
    *,
    workdirs: Sequence[str | os.PathLike] = (),
    groups: Mapping[str, Sequence[str]] | None = None,
) -> Summary:
    """Writes summary.json, summary.csv, tables.md, figures/ and report.html; returns the summary.

    Args:
      run: where to write. `run.config["statistics"]` has the options of `summarise`.
      console: gets the tables.
      pictures: example name -> photo, foreground-noised, background-noised (uint8 [h, w, 3]) at
        the level of `examples.level_shown`; without it the report has no photos.
      workdirs: finished rfs runs to join; `run` itself when empty.
      groups: group -> models that are averaged in figure 4, see `Sweep.groups`.

    Raises:
      FileNotFoundError, ValueError: for runs that are not finished or do not fit together.
    """
    sweep = Sweep.read(*(workdirs or [run.path]))
    summary = summarise(sweep, groups, **run.config.get("statistics", {}))
    run.save_json("summary.json", summary)
    for name, text in (("summary.csv", tables.to_csv), ("tables.md", tables.markdown)):
        with atomic(run.path / name) as partial:
            partial.write_text(text(summary), encoding="utf-8")
    tables.show(summary, console)
    material = figures.Material(sweep, summary, sweep.groups(groups))
    pictures = pictures and functools.cache(pictures)
    files = {
        name: attempt(draw, run.path / "figures" / name, run, console)
        for name, draw in _drawings(material, pictures).items()
    }
    write_page(run.path / "report.html", material, files, pictures)
    console.print(f"report: {run.path / 'report.html'}")
    return summary


def _drawings(
    material: figures.Material, pictures: Pictures | None
) -> dict[str, Callable[[], figures.Drawn]]:
    """What draws each figure, by the name of its files."""
    norms = list(material.sweep.noise)
    drawings = {
        f"{name}_{norm}": functools.partial(draw, material, norm)
        for norm in norms
        for name, draw in (
            ("fig2", figures.accuracies),
            ("fig4", figures.curves),
            ("fig5", instances.densities),
        )
    }
    drawings["fig6"] = functools.partial(figures.bars, material)
    if pictures:
        for name, draw in (("fig1", examples.worst), ("examples", examples.contact)):
            drawings[f"{name}_{norms[0]}"] = functools.partial(draw, material, norms[0], pictures)
    return drawings
