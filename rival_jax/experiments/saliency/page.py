"""The page of saliency: sentences, tables, figures, and what goes where."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rival_jax.alignment import METRICS
from rival_jax.configs import options
from rival_jax.configs.saliency import Config
from rival_jax.experiments.saliency.gallery import IN_GALLERY, gallery
from rival_jax.experiments.saliency.measures import EFFECTS, GREYED, subjects
from rival_jax.report import figures, grids, tables
from rival_jax.report.document import Document, Picture, Section
from rival_jax.report.images import Images
from rival_jax.report.results import Results, Row
from rival_jax.report.style import MUTED
from rival_jax.report.tables import Table, counted, percent, ratio
from rival_jax.report.verdicts import STAR, starred
from rival_jax.report.words import Words
from rival_jax.runtime.names import file_names

WORDS = Words(__package__)
EVERY = {"class": None, "group": None, "contrast": ""}
COMPARED = ("iou", "density_gap", "average_precision")  # in the table of differences
SHARES = ("on_background", "missed", "wrong")
TITLES, HITS, DROPS = map(WORDS.titles, ("columns", "hits", "drops"))
MOST_COLUMNS = 20  # classes of a heat map: those with the lowest and the highest mean
GALLERIES = 8  # models whose hits are on the page
Pictures = Mapping[tuple[str, str], Path]  # of the hits, by model and method


def page(
    config: Config, raw: Images, results: Results, hits: Sequence[Row], pictures: Pictures
) -> Document:
    """The whole report, from the columns of the rows, the results, and the hits."""
    c, results = config.saliency, named(results)
    shown = results.where(filed=c.classes, subset="all", contrast="")
    levels, extremes = shown.where(**EVERY), results.where(subset="hits")
    models, confidence = results.of("model"), config.statistics.confidence
    labels, counts = np.unique(raw.labels, return_counts=True)
    told = options(config, "saliency") | {"images": counted(len(raw.names), "image")}
    told |= {"methods": ", ".join(c.methods), "draws": counted(c.draws, "draw")}
    told |= {"smallest": raw.classes[labels[counts.argmin()]], "size": counts.min()}
    told |= {"area": 100 * levels.where(measure="area").rows[0]["estimate"]}
    told |= {"mask": WORDS.text(config.data.mask), "explained": WORDS.text(c.target)}
    area, finder, greying = ([WORDS.text(n, **told)] for n in ("area", "finder", "greying"))
    of_class = [heat(shown, metric, c.classes) for metric in METRICS]
    aligned = [alignment(raw, levels, c.classes), differences(results, confidence)]
    seen = list(galleries(raw, extremes, hits, pictures)), [hits_table(levels, extremes, c.hits)]
    cost = [drops(levels, extremes)], [effects_table(levels, confidence)]
    return Document(
        title=f"Where {models[0] if len(models) == 1 else counted(len(models), 'model')} look",
        subtitle=f"{', '.join(results.of('method'))}; {told['images']}, "
        f"{counted(len(raw.classes), 'class')}",
        headline=headline(shown, extremes),
        sections=[
            Section("Alignment", area, bars(shown, confidence), aligned),
            Section("Alignment by class", pictures=of_class),
            Section("Images whose maps lie on the background", finder, *seen),
            Section("What greying the salient background costs", greying, *cost),
        ],
        method=WORDS.texts("method", **told | {"flat": WORDS.text(c.flat)}),
        caveats=WORDS.caveats(config.data.name, **told),
        source=WORDS.text("source"),
    )


def named(results: Results) -> Results:
    """Adds a column "subject": the model or group, and the method if there are several."""
    several = len(results.of("method")) > 1

    def name(row: Row) -> Row:
        first = row.get("model") or row.get("group")
        return {**row, "subject": f"{first} {row['method']}" if first and several else first}

    return results.changed(name)


def headline(shown: Results, hits: Results) -> list[str]:
    """The main results in sentences."""
    sentences, levels = flat(shown), shown.where(measure="iou", **EVERY)
    if not levels.rows:
        return [*sentences, WORDS.text("nothing")]
    order = levels.ranked("subject")
    told: dict[str, Any] = {"first": order[0], "last": order[-1]}
    told |= {f"{end}_iou": ratio(levels.one(subject=name)) for end, name in told.items()}
    classes = shown.where(measure="iou", model=None, group=None)
    for over, rows in (("classes", classes), ("models", levels)):
        values = [row["estimate"] for row in rows]
        told[over] = f"{max(values):.2f} to {min(values):.2f}"
    sentences.append(WORDS.text("several" if len(order) > 1 else "one", **told))
    outside = hits.where(measure="on_background")
    if outside.rows:
        name = outside.ranked("subject")[0]
        mine, row = hits.where(subject=name), outside.one(subject=name)
        images, share = counted(row["images"], "image"), percent(row)
        sentences.append(WORDS.text("outside", images=images, model=name, share=share))
        if mine.where(measure="target_drop_salient").rows:
            cost = {region: ratio(mine.one(measure=f"target_drop_{region}")) for region in GREYED}
            sentences[-1] += " " + WORDS.text("cost", **cost)
    return sentences


def flat(shown: Results) -> list[str]:
    """A sentence for each model whose maps mark nothing at all."""
    rows = shown.where(measure="flat", **EVERY)
    all_flat = [row for row in rows if round(row["estimate"], 6) == 1]
    return [WORDS.text("all_flat", model=r["subject"], images=r["images"]) for r in all_flat]


def alignment(raw: Images, levels: Results, filed: str) -> Table:
    """Every model and every metric."""
    flat = dict(zip(subjects(raw), raw.values["flat"].values.sum(0), strict=True))

    def left_out(row: Row) -> str:
        counted = min(_images(levels, row["subject"], metric) for metric in METRICS)
        return f"{flat[row['model'], row['method']]:.0f}, {row['images'] - counted}"

    order = [*levels.where(measure="iou").ranked("subject"), *levels.of("subject")]
    title = f"Alignment of maps and objects, images filed under their {filed} class"
    rows = levels + _column(levels, "flat, not counted", left_out)
    columns = ("accuracy", *METRICS, "flat, not counted")
    return _by_subject(title, rows, columns, order=list(dict.fromkeys(order)))


def differences(results: Results, confidence: float) -> Table:
    """Paired differences of `COMPARED`; no rows for one model under one method."""
    pairs = results.where(measure=COMPARED, contrast=bool)
    told = pairs.changed(lambda row: {**row, "subject": f"{row['subject']} {row['contrast']}"})
    title = f"Differences on the same images, true classes; {STAR}"
    return _by_subject(title, starred(told, confidence, ratio), COMPARED)


def hits_table(levels: Results, hits: Results, count: int) -> Table:
    """What the finder's images are like."""
    number = _column(levels, "hits", lambda row: str(_images(hits, row["subject"], "density_gap")))
    columns = ("hits", *SHARES, "density_gap", *HITS)
    title = f"The hits: {count} lowest density gaps of each class"
    return _by_subject(title, number + hits, columns, titles=TITLES | HITS)


def effects_table(levels: Results, confidence: float) -> Table:
    """Drops of both probabilities over all images with a salient background."""
    images = lambda row: str(_images(levels, row["subject"], "target_excess"))  # noqa: E731
    drops = starred(levels.where(measure=EFFECTS), confidence, ratio)
    rows = _column(levels, "images", images) + drops
    return _by_subject(f"Drops of probability; {STAR}", rows, ("images", *EFFECTS))


def _by_subject(title: str, results: Results, columns: Sequence[str], **look: Any) -> Table:
    def cell(row: Row) -> str:
        return row.get("cell") or (percent if row["measure"] in SHARES else ratio)(row)

    look = {"titles": TITLES, "columns": columns, **look}
    return tables.pivot(title, results, ("subject",), "measure", cell, **look)


def _column(levels: Results, name: str, cell: Callable[[Row], str]) -> Results:
    """A column with a cell for every model, written from its accuracy."""
    accuracy = levels.where(measure="accuracy")
    return accuracy.changed(lambda row: {**row, "measure": name, "cell": cell(row)})


def _images(results: Results, subject: str, measure: str) -> int:
    return sum(row["images"] for row in results.where(subject=subject, measure=measure))


def bars(shown: Results, confidence: float) -> list[Picture]:
    """Figure 9: IoU by group or model, and by class over all models."""
    iou = shown.where(measure="iou")
    levels, classes = iou.where(**{"class": None}), iou.where(model=None, group=None)
    groups = levels.where(model=None)

    def picture(name: str, by: str, rows: Results, y: str, **look: Any) -> Picture:
        draw = functools.partial(figures.bars, rows, y, label="IoU", names=rows.ranked(y), **look)
        return WORDS.picture(name, draw, words="fig9", by=by, confidence=100 * confidence)

    over, rows = ("groups", groups) if groups.rows else ("models", levels)
    grey = {"colours": lambda label: MUTED}
    return [
        picture("fig9", over, rows, "subject"),
        picture("fig9_classes", "class over all models", classes, "class", **grey),
    ]


def heat(shown: Results, metric: str, filed: str) -> Picture:
    """The supplement's heat map of a metric."""
    draw = functools.partial(heat_map, shown, metric)
    return WORDS.picture(f"heat_{metric}", draw, words="heat", metric=TITLES[metric], filed=filed)


def heat_map(shown: Results, metric: str) -> figures.Drawn:
    """A metric by model and class, with the means of both."""
    every = shown.where(subject=bool, **{"class": bool})
    places = {"rows": every.of("subject"), "columns": every.of("class"), "means": True}
    mine = every.where(measure=metric)
    table, models, classes = grids.estimates(mine, "subject", "class", **places)
    order = [c for c in np.argsort(table[-1, :-1]).tolist() if np.isfinite(table[-1, c])]
    half, last = MOST_COLUMNS // 2, len(classes) - 1
    some = range(last) if last <= MOST_COLUMNS else sorted({*order[:half], *order[-half:]})
    kept = [*some, last]
    drawn = {TITLES[metric]: (table[:, kept], models, [classes[c] for c in kept])}
    signed, named = metric == "density_gap", ("metric", "model", "class")
    return grids.heat_maps(drawn, signed=signed, named=named)


def galleries(
    raw: Images, extremes: Results, hits: Sequence[Row], pictures: Pictures
) -> Iterator[Picture]:
    """Figure 7, of every model that has hits."""
    names = {(row["model"], row["method"]): row["subject"] for row in extremes}
    stems = file_names(list(names.values()))
    for (model, method), subject in list(names.items())[:GALLERIES]:
        mine = Results(hits).where(model=model, method=method).rows
        draw = functools.partial(gallery, mine, raw.names, pictures[model, method])
        told = {"model": subject, "each": IN_GALLERY}
        yield WORDS.picture(f"fig7_{stems[subject]}", draw, words="fig7", photos=True, **told)


def drops(levels: Results, hits: Results) -> Picture:
    """What greying costs, by model and part."""
    rows = (levels + hits).where(measure=tuple(DROPS))
    titles = DROPS | {"all": "all images", "hits": "the hits"}
    look = {"panel": "subset", "by": "measure", "titles": titles}
    draw = functools.partial(figures.dots, rows, "subject", label="drop in probability", **look)
    return WORDS.picture("drops", draw)
