"""The page of neurons and attributes: tables, figure 10, and all pairs of each network."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from rival_jax.configs.neurons import Config
from rival_jax.report.document import Document
from rival_jax.report.figures import Drawn
from rival_jax.report.grids import Cell, outlined, sheet, thumb
from rival_jax.report.results import Results, Row
from rival_jax.report.style import COLOURS, FAINT, INK, MUTED, panels_of
from rival_jax.report.tables import plain
from rival_jax.report.words import Pictures, Words
from rival_jax.runtime.names import file_names

Found = Callable[[Row], tuple[np.ndarray, np.ndarray, list[str]]]
"""A pair's row -> IoU and activation of its feature on held-out images, and their names."""
Shown = Callable[[str, int, str], tuple[np.ndarray, ...]]
"""(example, feature, attribute) -> photo uint8 [h, w, 3], salient pixels and mask bool [h, w]."""

WORDS = Words(__package__)
EACH, MOST_PAIRS = 5, 30  # images of a feature; pairs in the overview of a model
BINS, RED = np.linspace(0, 1, 21), np.array([230, 0, 0])
KEY = ("class", "attribute", "feature")


def page(config: Config, results: Results, found: Found, shown: Mapping[str, Shown]) -> Document:
    """All results; `shown`: model -> its photos."""
    c, whole, models = config.neurons, results.where(**{"class": None}), results.of("model")
    passing = whole.where(measure="shuffled_reporting")
    alarms = "; ".join(f"{r['model']}: {r['estimate']:.0f} of {c.shuffled}" for r in passing)
    told: dict[str, Any] = {**vars(c), **vars(config.statistics), "absent": WORDS.text(c.absent)}
    told |= {"percent": 100 * config.statistics.confidence, "each": EACH, "most": MOST_PAIRS}
    told["null"] = WORDS.text("calibration" if c.shuffled else "not_shuffled", alarms=alarms)
    sections = WORDS.sections(whole, told, "detectors")
    for name, stem in file_names(models).items():
        pairs = results.where(model=name, **{"class": bool})
        pairs = pairs.changed(lambda row: {**row, "pair": f"{_pair(row)} ({row['feature']})"})
        reported = pairs.where(measure="reported", estimate=1.0).of("pair")
        best = pairs.where(measure="iou").rows[: c.pictures]
        told |= {"model": name, "stem": stem, "pairs": "; ".join(map(_pair, best))}
        first = told["first"] = pairs.of("pair")[:MOST_PAIRS]
        told["colours"] = {one: COLOURS[0] if one in reported else MUTED for one in first}.get
        seen = [(row, row["pair"] in reported, *found(row)) for row in best]
        pictures: Pictures = {
            "fig10_top": functools.partial(_top, seen, shown[name]),
            "fig10_bottom": functools.partial(_bottom, seen, pairs.where(measure="shuffled_iou")),
        }
        lines = (pairs + pairs.where(measure="iou").having(measure="images")).changed(_line)
        given: dict[str, Any] = {"pictures": pictures if best else {}, "of": {"best": lines}}
        sections += WORDS.sections(pairs, told, "model", **given)
    return WORDS.document(
        told,
        subtitle=WORDS.text("subtitle"),
        headline=[_headline(name, results.where(model=name)) for name in models],
        sections=sections,
        cases=[config.data.name],
    )


def _pair(row: Row) -> str:
    return f"{row['class']}, {row['attribute']}"


def _line(row: Row) -> Row:
    """A result of a pair as its table has it."""
    words = {"reported": "yes" if row["estimate"] else "no", "images": str(row["images"])}
    told = {"cell": words[row["measure"]]} if row["measure"] in words else {}
    told["feature"] = "none" if row["feature"] < 0 else row["feature"]
    return {**row, "class, attribute": _pair(row), **told}


def _headline(name: str, results: Results) -> str:
    whole, best = results.where(**{"class": None}), results.where(measure="iou").rows[1]
    told = {k: int(whole.one(measure=k)["estimate"]) for k in ("tested", "reported")}
    sentence = WORDS.text("headline", model=name, **told)
    if not told["reported"]:
        return f"{sentence}."
    mean = plain(whole.one(measure="iou_reported"))
    more = WORDS.text("best", mean=mean, iou=plain(best), pair=best)
    return f"{sentence}; {more}."


def _top(best: Sequence[Any], shown: Shown) -> Drawn:
    """The images that activate each pair's feature most."""
    cells, lines = list[Cell](), list[Sequence[Any]]()
    for place, (pair, reported, iou, activation, names) in enumerate(best):
        title = f"{_pair(pair)} (feature {pair['feature']})"
        title += "" if reported else ", not reported"
        for column, i in enumerate(np.argsort(-activation, kind="stable")[:EACH].tolist()):
            photo, salient, mask = map(thumb, shown(names[i], pair["feature"], pair["attribute"]))
            red = np.where(salient[..., None], 0.55 * photo + 0.45 * RED, photo).astype(np.uint8)
            heading = "" if column else title, f"IoU {iou[i]:.2f}"
            cells.append((place, column, outlined(red, mask), *heading))
            lines.append((*map(pair.get, KEY), names[i], activation[i], iou[i], reported))
    return Drawn(sheet(cells), (*KEY, "example", "activation", "iou", "reported"), lines)


def _bottom(best: Sequence[Any], chance: Results) -> Drawn:
    """Histograms of each pair's IoU; `chance`: means for networks of shuffled weights."""
    figure, panels = panels_of(len(best), 0.5 + 2.5 * len(best), 2.1)
    lines: list[Sequence[Any]] = []
    for axes, (pair, reported, iou, *_) in zip(panels, best, strict=True):
        counts, _ = np.histogram(iou, BINS)
        colour = COLOURS[0] if reported else MUTED
        axes.bar(BINS[:-1], counts, width=0.05, align="edge", color=colour, alpha=0.6, lw=0)
        axes.axvline(pair["estimate"], color=INK, lw=1.2)
        for row in chance.where(pair=pair["pair"]):
            axes.axvline(row["estimate"], color=FAINT, lw=1.2)
        axes.set_title(f"{_pair(pair)}\nfeature {pair['feature']}", loc="left")
        axes.set(xlim=(0, 1), xlabel="IoU")
        axes.locator_params("y", integer=True)
        for low, high, n in zip(BINS[:-1].round(2), BINS[1:].round(2), counts, strict=True):
            lines.append((*map(pair.get, KEY), low, high, int(n)))
    panels[0].set_ylabel("held-out images")
    return Drawn(figure, (*KEY, "iou_from", "iou_to", "images"), lines)
