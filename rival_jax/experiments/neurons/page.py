"""The page of neurons and attributes: tables, figure 10, and all pairs of each network."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from rival_jax.configs.neurons import Config
from rival_jax.experiments.neurons.measures import Found
from rival_jax.report import figures
from rival_jax.report.document import Document, Picture, Section
from rival_jax.report.figures import Drawn
from rival_jax.report.grids import Cell, outlined, sheet, thumb
from rival_jax.report.lettering import letters
from rival_jax.report.results import NO_INTERVAL, Results, Row
from rival_jax.report.style import COLOURS, FAINT, INK, MUTED
from rival_jax.report.words import Words
from rival_jax.runtime.names import file_names

Shown = Callable[[str, int, str], tuple[np.ndarray, ...]]
"""(example, feature, attribute) -> photo uint8 [h, w, 3], salient pixels and mask bool [h, w]."""

WORDS = Words(__package__)
EACH = 5  # images of a feature
MOST_PAIRS = 30  # in the overview of a model
BINS = np.linspace(0, 1, 21)
RED = np.array([230, 0, 0])
KEY = ("class", "attribute", "feature")
WRITTEN = {
    **dict.fromkeys(("tested", "reported", "images"), "{:.0f}"),
    **dict.fromkeys(("p_pairing", "p_shuffled"), "{:.4f}"),
    "q": "{:.3f}",
}


def page(config: Config, results: Results, found: Found, shown: Mapping[str, Shown]) -> Document:
    """All results.

    Args:
      found: the rows behind them.
      shown: model -> its photos.
    """
    c, models, cells = config.neurons, results.of("model"), {"number": _cell}
    whole = results.where(**{"class": None})
    alarms = "; ".join(
        f"{row['model']}: {row['estimate']:.0f} of {c.shuffled}"
        for row in whole.where(measure="shuffled_reporting")
    )
    text = [WORDS.text("calibration" if c.shuffled else "not_shuffled", alarms=alarms)]
    sections = [Section("Detectors", text, tables=WORDS.tables(whole, "detectors", cells=cells))]
    for name, stem in file_names(models).items():
        pairs = results.where(model=name, **{"class": bool})
        pairs = pairs.changed(lambda row: {**row, "pair": f"{_pair(row)} ({row['feature']})"})
        pictures = _pictures(name, stem, pairs, found, shown[name], c.pictures)
        tables = WORDS.tables(_lines(pairs), "pairs", cells=cells, model=name)
        sections.append(Section(name, (), [*pictures], tables))
    told = {**vars(c), **vars(config.statistics), "absent": WORDS.text(c.absent)}
    told["percent"] = 100 * config.statistics.confidence
    return Document(
        title=WORDS.text("title"),
        subtitle=WORDS.text("subtitle"),
        headline=[_headline(name, results.where(model=name)) for name in models],
        sections=sections,
        method=WORDS.texts("method", **told),
        caveats=WORDS.caveats(config.data.name),
        source=WORDS.text("source"),
    )


def _pair(row: Row) -> str:
    return f"{row['class']}, {row['attribute']}"


def _lines(pairs: Results) -> Results:
    """A line of a table for every pair, with its number of images."""
    images = [{**row, **NO_INTERVAL, "estimate": row["images"]} for row in pairs]
    told = pairs + Results(images).where(measure="iou").having(measure="images")
    feature = lambda row: "none" if row["feature"] < 0 else row["feature"]  # noqa: E731
    return told.changed(
        lambda row: {**row, "class, attribute": _pair(row), "feature": feature(row)}
    )


def _headline(name: str, results: Results) -> str:
    whole, best = results.where(**{"class": None}), results.where(measure="iou").rows[1]
    told = {k: int(whole.one(measure=k)["estimate"]) for k in ("tested", "reported")}
    sentence = WORDS.text("headline", model=name, **told)
    if not told["reported"]:
        return f"{sentence}."
    mean = _cell(whole.one(measure="iou_reported"))
    more = WORDS.text("best", mean=mean, iou=_cell(best), pair=best, feature=best["feature"])
    return f"{sentence}; {more}."


def _cell(row: Row) -> str:
    """A number, and its interval if there is one."""
    if row["measure"] == "reported" and row.get("class"):
        return "yes" if row["estimate"] else "no"
    text = WRITTEN.get(row["measure"], "{:.2f}").format(row["estimate"])
    return text if np.isnan(row["low"]) else f"{text} [{row['low']:.2f}, {row['high']:.2f}]"


def _pictures(
    name: str, stem: str, results: Results, found: Found, shown: Shown, count: int
) -> Iterator[Picture]:
    """A model's best `count` features at work and their IoU; all pairs.

    Args:
      stem: how the names of their files begin.
      results: of the model's pairs.
      found, shown: its rows and photos.
    """
    numbers: dict[str, dict[str, float]] = {}
    for row in results:
        numbers.setdefault(row["pair"], {})[row["measure"]] = row["estimate"]
    best = results.where(measure="iou").rows[:count]
    pairs = [(row, numbers[row["pair"]], *found.of(row)) for row in best]
    told: dict[str, Any] = {"pairs": "; ".join(map(_pair, best))}
    told |= {"model": name, "each": EACH, "most": MOST_PAIRS}
    if pairs:
        top = lambda: _top(pairs, shown)  # noqa: E731
        yield WORDS.picture(f"{stem}_fig10_top", top, words="fig10_top", photos=True, **told)
        bottom = lambda: _bottom(pairs)  # noqa: E731
        yield WORDS.picture(f"{stem}_fig10_bottom", bottom, words="fig10_bottom", **told)
    yield WORDS.picture(f"{stem}_pairs", lambda: _overview(results), words="pairs", **told)


def _top(pairs: Sequence[Any], shown: Shown) -> Drawn:
    """The images that activate each pair's feature most."""
    cells: list[Cell] = []
    lines: list[Sequence[Any]] = []
    for place, (pair, numbers, iou, activation, names) in enumerate(pairs):
        reported = bool(numbers["reported"])
        title = f"{_pair(pair)} (feature {pair['feature']})"
        title += "" if reported else ", not reported"
        for column, i in enumerate(np.argsort(-activation, kind="stable")[:EACH].tolist()):
            photo, salient, mask = map(thumb, shown(names[i], pair["feature"], pair["attribute"]))
            red = np.where(salient[..., None], 0.55 * photo + 0.45 * RED, photo).astype(np.uint8)
            heading = "" if column else title, f"IoU {iou[i]:.2f}"
            cells.append((place, column, outlined(red, mask), *heading))
            told = (pair[name] for name in KEY)
            lines.append((*told, names[i], activation[i], iou[i], reported))
    return Drawn(sheet(cells), (*KEY, "example", "activation", "iou", "reported"), lines)


def _bottom(pairs: Sequence[Any]) -> Drawn:
    """Histograms of each pair's IoU."""
    figure = Figure(figsize=(0.5 + 2.5 * len(pairs), 2.1))
    lines: list[Sequence[Any]] = []
    for column, (pair, numbers, iou, *_) in enumerate(pairs):
        counts, _ = np.histogram(iou, BINS)
        axes = figure.add_subplot(1, len(pairs), column + 1)
        colour = COLOURS[0] if numbers["reported"] else MUTED
        axes.bar(BINS[:-1], counts, width=0.05, align="edge", color=colour, alpha=0.6, lw=0)
        axes.axvline(pair["estimate"], color=INK, lw=1.2)
        axes.axvline(numbers.get("shuffled_iou", np.nan), color=FAINT, lw=1.2)
        axes.set_title(f"{_pair(pair)}\nfeature {pair['feature']}", loc="left")
        axes.set(xlim=(0, 1), xlabel="IoU", ylabel="" if column else "held-out images")
        for low, high, n in zip(BINS[:-1].round(2), BINS[1:].round(2), counts, strict=True):
            lines.append((*(pair[name] for name in KEY), low, high, int(n)))
    letters(figure)  # whose sizes the layout follows
    figure.tight_layout()
    return Drawn(figure, (*KEY, "iou_from", "iou_to", "images"), lines)


def _overview(results: Results) -> Drawn:
    reported = results.where(measure="reported", estimate=1.0).of("pair")
    return figures.bars(
        results.where(measure="iou"),
        "pair",
        label="IoU on held-out images",
        marks=results.where(measure="shuffled_iou"),
        names=results.of("pair")[:MOST_PAIRS],
        colours=lambda pair: COLOURS[0] if pair in reported else MUTED,
    )
