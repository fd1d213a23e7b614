"""The page of noise in objects and backgrounds: results of each norm, comparisons, examples."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rival_jax.experiments.rfs import examples, figures, words
from rival_jax.experiments.rfs.examples import Pictures
from rival_jax.experiments.rfs.figures import CURVES_IN_COLOUR, NORMS, SIDES, Found
from rival_jax.experiments.rfs.joined import Joined
from rival_jax.experiments.rfs.measures import STUDY, noise_errors, relative_differences
from rival_jax.report import tables
from rival_jax.report.document import Document, Picture, Section
from rival_jax.report.figures import ENDS
from rival_jax.report.results import Results, Row
from rival_jax.report.tables import Table, counted, percent, ratio
from rival_jax.report.verdicts import HOLM, METHOD
from rival_jax.runtime.results import Run, atomic

CLASSES_SHOWN = 40
TOLD = 8  # models whose numbers a text alternative lists
NOISE = "rfs_of_means_noise_error"
COLUMNS = {
    "clean": "clean",
    "foreground": "foreground noise",
    "background": "background noise",
    "all": "whole-image noise",
    "rfs_of_means": "RFS",
}
FURTHER = {
    "mean_of_rfs": "mean of RFS",
    "irfs": "mean iRFS",
    "irfs_negative": "iRFS < 0, %",
    NOISE: "noise error of RFS",
}


def told(
    run: Run, runs: Joined, named: Mapping[str, Sequence[str]], pictures: Pictures | None = None
) -> tuple[Results, Document]:
    """The table of results and the page about it; writes `ranked_images.csv`.

    Args:
      run: where to write; its config has the options of `statistics.bootstrap`.
      runs: finished ones.
      named: group -> models, see `Joined.groups`.
      pictures: without it the page has no photos.

    Raises:
      ValueError: for groups that do not fit the models.
    """
    found = tabled(runs, named, **run.config["statistics"])
    lines = (line for model in runs.models for line in examples.ranked(runs, model))
    with atomic(run.path / examples.FILE) as partial:
        partial.write_text(tables.as_csv(examples.HEADER, lines), encoding="utf-8")
    return found.results, page(found, pictures)


def tabled(runs: Joined, named: Mapping[str, Sequence[str]], **options: Any) -> Found:
    """The table of results, with what it is of; `options` of `statistics.bootstrap`."""
    members = runs.groups(named)
    images = runs.images._replace(values=STUDY.derived(runs.images.values))
    results = STUDY.results(images, members, **options)
    sizes = {name: results.rows[0][name] for name in ("images", "classes")}
    results += noise_errors(runs.by_trial, members, sizes) + relative_differences(results)
    return Found(runs, results, members, options)


def page(found: Found, pictures: Pictures | None) -> Document:
    """All that the results say, and the photos of some images."""
    runs, norms, models = found.runs, found.norms, found.runs.models
    clean = found.rows("accuracy", None, region="clean")
    kinds = (len(models), "model"), (clean.rows[0]["images"], "image")
    sizes = ", ".join(counted(*kind) for kind in (*kinds, (clean.rows[0]["classes"], "class")))
    noise = (f"{norm} noise, {words.levels_text(norm, found.levels(norm))}" for norm in norms)
    shown = models[0] if len(models) == 1 else counted(len(models), "model")
    overview = Section(
        "Results",
        [words.RFS, words.footnote(found)],
        [_figure_6(found)],
        [results_table(found, norm) for norm in norms],
    )
    return Document(
        title=f"Foreground sensitivity of {shown} on {runs.data['name']}",
        subtitle=f"{sizes}; {'; '.join(noise)}",
        headline=words.headline(found),
        sections=[
            overview,
            *(Section(NORMS[n], (), _pictures(found, n), _tables(found, n)) for n in norms),
            _examples(found, pictures),
        ],
        method=[
            "Noise is a function of the seed, the image and the trial alone: every model, level, "
            "region and norm sees the same draws, so differences between models are paired.",
            METHOD.format(HOLM),
        ],
        caveats=words.caveats(found),
        source="The measurement is due to M. Moayeri, P. Pope, Y. Balaji and S. Feizi, \u201cA "
        "Comprehensive Study of Image Classification Model Sensitivity to Foregrounds, "
        "Backgrounds, and Visual Attributes\u201d, CVPR 2022, section 5.1.",
        runs=runs.folders,
        groups=found.members,
        clean={row["model"]: {end: row[end] for end in ENDS} for row in clean},
    )


def results_table(found: Found, norm: str) -> Table:
    """Every model's accuracies, in percent, and RFS under noise of one norm, highest RFS first."""
    rows = found.rows("accuracy", (None, norm)) + found.rows("rfs_of_means", norm)
    levels = words.levels_text(norm, found.levels(norm))
    return tables.pivot(
        f"{NORMS[norm]}: {levels}, {counted(found.runs.trials, 'trial')}",
        rows.changed(lambda row: {**row, "column": row.get("region") or row["measure"]}),
        ("model",),
        "column",
        lambda row: (percent if row["measure"] == "accuracy" else ratio)(row),
        titles=COLUMNS,
        columns=[name for name in COLUMNS if name in ("rfs_of_means", *rows.of("region"))],
        order=found.ranked(norm),
    )


def _tables(found: Found, norm: str) -> list[Table]:
    fields = ["model", "group"] if found.members else ["model"]
    pairs = [differences(found, norm, field) for field in fields]
    return [further(found, norm), *(t for t in pairs if t.rows), by_class(found, norm)]


def further(found: Found, norm: str) -> Table:
    """The other order of averaging, iRFS, and what the finite number of trials adds to RFS."""
    written: dict[str, Callable[[Row], str]] = {"irfs_negative": percent, NOISE: _error}
    return tables.pivot(
        f"{NORMS[norm]}: other summaries",
        found.rows(tuple(FURTHER), norm),
        ("model",),
        "measure",
        lambda row: written.get(row["measure"], ratio)(row),
        titles=FURTHER,
        columns=list(FURTHER),
        order=found.ranked(norm),
    )


def differences(found: Found, norm: str, field: str = "model") -> Table:
    """Every pair of models or groups: RFS of one minus RFS of the other, on the same images."""
    title = f"{NORMS[norm]}: differences in RFS between {field}s"
    confidence, named = found.options["confidence"], {field: f"{field}s"}
    pairs = found.pairs(norm, field)
    table = tables.differences(title, pairs, (field,), ratio, confidence, titles=named)
    errors = [*map(_error, found.pairs(norm, field, NOISE))] or [""] * len(pairs)
    rows = [(*row, error) for row, error in zip(table.rows, errors, strict=True)]
    return Table(title, (*table.header, "noise error"), rows)


def by_class(found: Found, norm: str) -> Table:
    """RFS of every class, from its accuracies averaged over levels, lowest first."""
    order, some = found.results.of("class"), ""
    rows = found.rows("rfs_of_means", norm, **{"class": order})
    sums = dict.fromkeys(order, 0.0)
    for row in rows:
        sums[row["class"]] += row["estimate"]
    order = sorted(order, key=sums.__getitem__)
    if len(order) > CLASSES_SHOWN:
        half, some = CLASSES_SHOWN // 2, f", the {CLASSES_SHOWN} most extreme"
        order = order[:half] + order[-half:]
    title, models = f"{NORMS[norm]}: RFS by class{some}", found.ranked(norm)
    return tables.pivot(title, rows, ("class",), "model", ratio, columns=models, order=order)


def _error(row: Row) -> str:
    return f"{row['estimate']:.3f}"


def _pictures(found: Found, norm: str) -> list[Picture]:
    """Figures 2, 4 and 5 with their captions and text alternatives."""
    models, classes = found.runs.models, found.results.of("class")
    several = {"group": tuple(found.members)} if found.members else {}
    drawings = {"fig2": figures.accuracies, "fig4": figures.curves, "fig5": figures.densities}
    captions = {
        "fig2": "Accuracy under background noise over accuracy under foreground noise, averaged "
        f"over levels and classes. Bars are {_intervals(found)}"
        f"{'; small dots are classes' * figures.with_classes(found)}; marker area grows with the "
        "number of parameters. On the solid line both noises hurt equally; dotted lines join "
        "points of equal RFS: 0.25, 0.5 and 0.75 above it, the negatives below.",
        "fig4": "Accuracy under foreground noise, under background noise, and RFS at every level. "
        f"Bands are {_intervals(found)}."
        + " The accuracies of a group are averaged over its models before RFS is formed."
        * bool(several)
        + " In colour: the highest and the lowest RFS."
        * (len(found.members or models) > CURVES_IN_COLOUR),
        "fig5": "Single images at all levels. Top: density of iRFS (Gaussian kernel, Scott's "
        "bandwidth). Bottom: probability of the true class under background noise over that under "
        "foreground noise; above the line the foreground matters more."
        + " Classes: those with the lowest and the highest mean iRFS."
        * (len(classes) > figures.MOST_CLASSES)
        + " Models: evenly spaced ranks of RFS." * (len(models) > figures.MODELS_AS_PANELS),
    }
    accuracy = found.rows("accuracy", norm, region=SIDES)
    rfs = found.rows("rfs", norm, level=found.levels(norm), **several)
    alternatives = {
        "fig2": "Scatter plot of accuracies under foreground and background noise, %: "
        + _told(accuracy, "model", found.ranked(norm), lambda share: f"{100 * share:.0f}"),
        "fig4": "Line plots over noise levels; RFS at each: "
        + _told(rfs, *(("group", [*found.members]) if several else ("model", models))),
        "fig5": "Density curves and scatter plots of single images, see the CSV for the numbers",
    }
    return [
        Picture(f"{k}_{norm}", functools.partial(draw, found, norm), captions[k], alternatives[k])
        for k, draw in drawings.items()
    ]


def _figure_6(found: Found) -> Picture:
    text = f"RFS of the accuracies averaged over levels and classes, with {_intervals(found)}."
    norm = found.norms[0]
    rows = found.rows("rfs_of_means", norm)
    alternative = "Bar chart of RFS: " + _told(rows, "model", found.ranked(norm))
    return Picture("fig6", functools.partial(figures.bars, found), text, alternative)


def _examples(found: Found, pictures: Pictures | None) -> Section:
    """Images with the lowest and the highest gap, and one of each class, as they were seen."""
    runs, norm = found.runs, found.norms[0]
    models = found.ranked(norm, figures.MODELS_AS_PANELS)
    level = words.levels_text(norm, [examples.shown(norm, found.levels(norm))])
    text = (
        "Images with the lowest and the highest p_bg - p_fg, at most one of each class, under "
        f"noise of {level}. Probabilities p of the true class are means over "
        f"{counted(runs.trials, 'noise draw')}; pictures show one draw. All images by "
        f"p_bg - p_fg: {examples.FILE}."
    )
    seen = functools.cache(pictures) if pictures else lambda name: ()
    three = "photo, noise on the foreground, noise on the background"
    drawn = [
        Picture(
            f"fig1_{norm}",
            lambda: examples.figure_1(runs, models, seen),
            f"Figure 1: images with the lowest and the highest p_bg - p_fg: {three}, {level}.",
            "Photos with their probabilities; see the table",
            photos=True,
        ),
        Picture(
            f"examples_{norm}",
            lambda: examples.one_of_each(runs, seen),
            f"One image of each class: {three}, {level}.",
            "Contact sheet of one image per class, clean and noised",
            photos=True,
        ),
    ]
    return Section("Examples", [text], drawn if pictures else (), [examples.table(runs, models)])


def _intervals(found: Found) -> str:
    return f"{100 * found.options['confidence']:g} % intervals"


def _told(
    rows: Results, field: str, names: Sequence[str], cell: Callable[[float], str] = "{:+.2f}".format
) -> str:
    """The estimates of every name, in words."""
    shown = [
        f"{name} {', '.join(cell(row['estimate']) for row in rows.where(**{field: name}))}"
        for name in names[:TOLD]
    ]
    more = [f"and {len(names) - TOLD} more"] if len(names) > TOLD else []
    return "; ".join([*shown, *more])
