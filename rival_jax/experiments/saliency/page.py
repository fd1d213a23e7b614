"""The page of saliency: what its tables and figures are made of, its sentences and galleries."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from rival_jax.alignment import METRICS
from rival_jax.configs.saliency import Config
from rival_jax.experiments.saliency.measures import GREYED, HIT, subjects
from rival_jax.images import Images
from rival_jax.report import explorer
from rival_jax.report.document import Document, Picture
from rival_jax.report.figures import Drawn
from rival_jax.report.grids import Cell, heated, outlined, sheet, thumb
from rival_jax.report.results import Results, Row
from rival_jax.report.tables import counted, percent, ratio
from rival_jax.report.words import Words
from rival_jax.runtime.names import file_names

WORDS = Words(__package__)
TITLES = WORDS.titles("columns")
EVERY = {"class": None, "group": None, "contrast": ""}
GALLERIES = 8  # models whose hits are on the page
IN_GALLERY, MOST_CLASSES = 2, 10  # hits of each class, three pictures each; and classes
EXPLORED = 60  # hits with the maps of all models whose hits are on the page
COLUMNS = ("density_gap", "iou")  # in the explorer
Seen = Callable[[tuple[str, str], Sequence[str]], Iterable[Sequence[np.ndarray]]]
"""(model, method) and names of images -> photo, object, map and salient background of each."""


def page(config: Config, raw: Images, results: Results, hits: Results, seen: Seen) -> Document:
    """The whole report, from the columns of the rows, the results, and `HIT` of each hit."""
    c, results, level = config.saliency, named(results), 100 * config.statistics.confidence
    shown = results.where(filed=c.classes, subset="all", contrast="")
    levels, extremes = shown.where(**EVERY), results.where(subset="hits")
    models = results.of("model")
    labels, counts = np.unique(raw.labels, return_counts=True)
    over = "groups" if shown.of("group") else "models"
    told = {**vars(c), "images": counted(len(raw.names), "image")}
    told |= {"methods": ", ".join(c.methods), "draws": counted(c.draws, "draw"), "percent": level}
    told |= {"smallest": raw.classes[labels[counts.argmin()]], "size": counts.min(), "by": over}
    told |= {"area": 100 * levels.where(measure="area").rows[0]["estimate"]}
    told |= {"mask": WORDS.text(config.data.mask), "explained": WORDS.text(c.target)}
    told |= {"shown": models[0] if len(models) == 1 else counted(len(models), "model")}
    told |= {"flat": WORDS.text(c.flat), "bars": "" if over == "groups" else "*"}
    heat = functools.partial(WORDS.drawn, results=shown, words="heat", filed=c.classes)
    names = {(row["model"], row["method"]): row["subject"] for row in levels}
    some = {subject: names[subject] for subject in subjects(raw)[:GALLERIES]}
    hits = Results(sorted(hits, key=lambda hit: hit["density_gap"]))
    pictures = {
        "heat": [heat(f"heat_{name}", metric=TITLES[name], panel=name) for name in METRICS],
        "fig7": galleries(some, hits, seen),
    }
    every, confidence = in_words(raw, levels, hits) + results, config.statistics.confidence
    document = WORDS.document(
        told,
        subtitle=f"{', '.join(results.of('method'))}; {told['images']}, "
        f"{counted(len(raw.classes), 'class')}",
        headline=headline(shown, extremes),
        sections=WORDS.sections(every, told, pictures=pictures, confidence=confidence),
        cases=[config.data.name],
    )
    found = hits.of("example")
    images, kinds = explored(raw, some, found[:EXPLORED], seen), ("photo", "object", *some.values())
    columns = [TITLES[name] for name in COLUMNS]
    every_map = explorer.Explorer(WORDS.text("explorer"), kinds, columns, images, len(found))
    return document._replace(explorer=every_map if found else None)


def explored(
    raw: Images, some: Mapping[tuple[str, str], str], names: Sequence[str], seen: Seen
) -> Iterator[explorer.Seen]:
    """Images with the maps of the first subjects; in batches like the galleries', for compiling."""
    values, rows = [np.asarray(raw.values[name].values) for name in COLUMNS], raw.names
    for first in range(0, len(names), IN_GALLERY):
        part = names[first : first + IN_GALLERY]
        parts = zip(*(seen(subject, part) for subject in some), strict=True)
        for name, maps in zip(part, parts, strict=True):
            row, (photo, inside, *_) = rows.index(name), maps[0]
            heat = [heated(own, found) for own, _, found, _ in maps]
            pictures = photo, 255 * inside.astype(np.uint8), *heat
            numbers = {one: [v[row, s] for v in values] for s, one in enumerate(some.values())}
            yield explorer.Seen(name, raw.classes[raw.labels[row]], pictures, numbers)


def named(results: Results) -> Results:
    """Adds "subject": the model or group, its method if there are several, and the contrast."""
    several = len(results.of("method")) > 1

    def name(row: Row) -> Row:
        first = row.get("model") or row.get("group")
        words = (first, row.get("method") if several else "", row["contrast"])
        return {**row, "subject": " ".join(filter(None, words)) if first else first}

    return results.changed(name)


def in_words(raw: Images, levels: Results, hits: Results) -> Results:
    """What tables say about every model in words: flat maps, hits, images with an effect."""
    lacking = {name: np.isnan(one.values).sum(0) for name, one in raw.values.items()}
    rows: list[Row] = []
    for s, (model, method) in enumerate(subjects(raw)):
        row = levels.one(measure="accuracy", model=model, method=method)
        flat, left = raw.values["flat"].values[:, s], max(lacking[name][s] for name in METRICS)
        told = {
            "flat, not counted": f"{flat.sum():.0f}, {left}",
            "hits": str(len(hits.where(model=model, method=method))),
            "images": str(row["images"] - lacking["target_salient"][s]),
        }
        for name, cell in told.items():
            subset = "hits" if name == "hits" else "all"
            rows.append({**row, "measure": name, "subset": subset, "cell": cell})
    return Results(rows)


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
    if outside := hits.where(measure="on_background").rows:
        row = max(outside, key=lambda row: row["estimate"])
        told = {"images": counted(row["images"], "image"), "share": percent(row)}
        sentences.append(WORDS.text("outside", model=row["subject"], **told))
        drops = [f"target_drop_{region}" for region in GREYED]
        if cost := hits.where(subject=row["subject"], measure=drops).rows:
            told = {row["measure"].rpartition("_")[2]: ratio(row) for row in cost}
            sentences[-1] += " " + WORDS.text("cost", **told)
    return sentences


def flat(shown: Results) -> list[str]:
    """A sentence for each model whose maps mark nothing at all."""
    rows = shown.where(measure="flat", **EVERY)
    all_flat = [row for row in rows if round(row["estimate"], 6) == 1]
    return [WORDS.text("all_flat", model=r["subject"], images=r["images"]) for r in all_flat]


def galleries(some: Mapping[tuple[str, str], str], hits: Results, seen: Seen) -> list[Picture]:
    """Figure 7, of every model and method that has hits."""
    stems, found = file_names(list(some.values())), []
    for (model, method), name in some.items():
        if mine := hits.where(model=model, method=method):
            told: dict[str, Any] = {"model": name, "stem": stems[name], "each": IN_GALLERY}
            found.append(WORDS.picture("fig7", functools.partial(gallery, mine, seen), **told))
    return found


def gallery(hits: Results, seen: Seen) -> Drawn:
    """Figure 7: hits, one class per row: the photo, its map, the salient background greyed."""
    cells, lines = list[Cell](), list[Sequence[Any]]()
    subject = hits.rows[0]["model"], hits.rows[0]["method"]
    for row, label in enumerate(hits.of("class")[:MOST_CLASSES]):
        mine, columns = hits.where(**{"class": label}).rows, itertools.count()
        lines += [tuple(hit.values()) for hit in mine]
        some = mine[:IN_GALLERY]
        parts = seen(subject, [hit["example"] for hit in some])
        for hit, (photo, inside, found, salient) in zip(some, parts, strict=True):
            wrong = "" if hit["label"] == hit["predicted"] else ", WRONG"
            before, after, control = (hit[f"target_{k}"] for k in ("none", "salient", "random"))
            moved = ", nothing to grey" if np.isnan(after) else f" to {after:.2f} ({control:.2f})"
            grey, rim = np.where(salient[..., None], np.uint8(127), photo), thumb(inside)
            for picture, title, text in (
                (photo, hit["label"], f"says {hit['predicted']}{wrong}"),
                (heated(photo, found), "map", f"gap {hit['density_gap']:+.2f}"),
                (grey, "salient greyed", f"p {before:.2f}{moved}"),
            ):
                cells.append((row, next(columns), outlined(thumb(picture), rim), title, text))
    return Drawn(sheet(cells), HIT, lines)
