"""The page of parts taken away: drops against their control, heat maps, figure 3, the photos."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from rival_jax import significance
from rival_jax.configs.attributes import Config
from rival_jax.report import figures, tables, verdicts
from rival_jax.report.document import Document, Picture, Section
from rival_jax.report.grids import contact, heat_maps, with_means
from rival_jax.report.results import Results
from rival_jax.report.tables import Table, counted, percent
from rival_jax.report.verdicts import METHOD, RATE, Verdict

Shown = Callable[[], Sequence[tuple[str, str, Mapping[str, np.ndarray]]]]
"""Gives images to look at: (attribute, example, {change: uint8 [h, w, 3]})."""

FIRST = 3  # attributes that the headline names
PANELS = 4  # models that the figures by attribute and by class show
EXCESS = "probability_excess"  # what parts are ranked and models are compared by
DROPS = {
    "area": "area, % of object",
    "accuracy_drop": "accuracy drop",
    "control_accuracy_drop": "control",
    "probability_drop": "probability drop",
    "control_probability_drop": "control",
    EXCESS: "difference",
}
SWAPS = {
    "swap_accuracy_drop": "accuracy drop",
    "swap_probability_drop": "probability drop",
    "swap_beyond_grey": "probability drop beyond grey",
    "swap_lender_rise": "rise of the lender's class",
}
MAPS = {
    "accuracy_drop": "accuracy",
    "accuracy_excess": "accuracy, excess",
    "probability_drop": "probability",
    EXCESS: "probability, excess",
}
MARKS = {"probability_drop": "attribute", "control_probability_drop": "random region"}


def page(config: Config, results: Results, shown: Shown) -> Document:
    """All that the results say, and the photos as they were shown, where a part can be swapped."""
    levels, confidence = results.where(contrast="", **{"class": None}), config.statistics.confidence
    models, names = (levels.where(measure=EXCESS).of(axis) for axis in ("model", "attribute"))
    compared = _comparisons(results, confidence)
    swaps = tables.pivot(
        "Swapped for the same attribute of another class, points",
        levels.where(measure=tuple(SWAPS)),
        ("attribute", "model", "images"),
        "measure",
        percent,
        titles=SWAPS,
        order=names,
    )
    photos = Picture("photos", lambda: contact(shown(), ("attribute", "example")), *PHOTOS, True)
    return Document(
        title="Parts taken away",
        subtitle=f"{counted(len(models), 'model')}, {counted(len(names), 'attribute')}",
        headline=headline(levels, confidence),
        sections=[
            Section(
                "What counts",
                pictures=_pictures(results, levels),
                tables=[by_model(levels, model, confidence) for model in models],
            ),
            Section("Swaps", tables=[swaps] if swaps.rows else []),
            Section("Comparisons", tables=[compared] if compared.rows else []),
            Section("Attributes and classes", pictures=[_figure_3(results)]),
            Section("What the networks were shown", pictures=[photos] if swaps.rows else []),
        ],
        method=_method(config),
        caveats=CAVEATS,
        source="The measurement is due to Moayeri et al., RIVAL10, CVPR 2022; its code greys parts "
        "without a control.",
    )


def headline(levels: Results, confidence: float) -> list[str]:
    """Which parts count most for each model, beyond their size; and what attributes alone tell."""
    sentences = []
    for model in levels.where(measure=EXCESS).of("model")[:6]:
        excess, told = _excess(levels, model, confidence)
        sure = [row for row in excess if told[row["attribute"]].differs and row["estimate"] > 0]
        most = ", ".join(f"{row['attribute']} ({percent(row)} points)" for row in sure[:FIRST])
        sentences.append(
            f"{model}: beyond a random region of equal area, the true class's probability falls "
            f"most without {most}."
            if sure
            else f"{model}: the images show no part to cost more probability than a random region "
            "of its size."
        )
    accuracy = percent(levels.one(measure="classifier_accuracy"))
    sentences.append(
        f"A linear classifier of the attribute labels alone is right on {accuracy} % of the images "
        "(93.3 % in the study, on all of RIVAL10)."
    )
    return sentences


def _excess(levels: Results, model: str, confidence: float) -> tuple[Results, dict[str, Verdict]]:
    """What attributes cost a model beyond their control, largest first; whether each differs."""
    found = levels.where(measure=EXCESS, model=model)
    told = verdicts.of_rows(found, confidence, significance.benjamini_hochberg)
    ranked = Results(found.one(attribute=name) for name in found.ranked("attribute"))
    return ranked, dict(zip(found.of("attribute"), told, strict=True))


def by_model(levels: Results, model: str, confidence: float) -> Table:
    """All attributes for one model, by excess."""
    excess, told = _excess(levels, model, confidence)
    table = tables.pivot(
        f"{model}: drops in points when an attribute is greyed",
        levels.where(measure=tuple(DROPS), model=(None, model)),
        ("attribute", "images"),
        "measure",
        lambda row: f"{100 * row['estimate']:.0f}" if row["measure"] == "area" else percent(row),
        titles=DROPS,
        columns=tuple(DROPS),
        order=excess.of("attribute"),
    )
    lines = [(*line, told[line[0]].word, told[line[0]].p) for line in table.rows]
    return Table(table.title, (*table.header, "differs", "p"), lines)


def _comparisons(results: Results, confidence: float) -> Table:
    """Every pair of models: the difference of their excess."""
    excess = results.where(measure=EXCESS)
    return tables.differences(
        "Differences between models",
        Results(row for row in excess if row["contrast"]),
        ("model", "attribute"),
        percent,
        confidence,
        quantity="difference in excess, points",
        titles={"model": "models"},
        adjust=significance.benjamini_hochberg,
    )


def _pictures(results: Results, levels: Results) -> list[Picture]:
    """Drops against their controls, and heat maps of attributes by models and by classes."""
    excess = results.where(measure=EXCESS, contrast="")
    models, by_model = excess.of("model")[:PANELS], {}
    for measure, title in MAPS.items():
        table, names, columns = _grid(levels.where(measure=measure), "attribute", "model", 100.0)
        by_model[title] = with_means(table), [*names, "mean"], [*columns, "mean"]
    by_class = {m: _grid(excess.where(model=m), "attribute", "class", 100.0) for m in models}
    ranks = functools.partial(
        figures.dots,
        levels.where(measure=tuple(MARKS), model=models),
        "attribute",
        panel="model",
        by="measure",
        label="drop in probability",
        titles=MARKS,
        names=levels.where(measure=EXCESS, model=models).ranked("attribute"),
    )
    named = ("quantity", "attribute", "model"), ("model", "attribute", "class")
    draw = functools.partial(heat_maps, digits=0)
    return [
        Picture("ranks", ranks, *RANKS),
        Picture("models", functools.partial(draw, by_model, named=named[0]), *MODELS),
        Picture("classes", functools.partial(draw, by_class, named=named[1]), *CLASSES),
    ]


def _figure_3(results: Results) -> Picture:
    shares, both = (results.where(measure=name) for name in ("label_share", "label_correlation"))
    shown = {
        "correlations": _grid(both, "attribute", "other_attribute"),
        "class means": _grid(shares, "class", "attribute"),
    }
    named = ("quantity", "row", "attribute")
    return Picture("fig3", functools.partial(heat_maps, shown, digits=1, named=named), *FIG3)


def _grid(
    results: Results, row: str, column: str, scale: float = 1.0
) -> tuple[np.ndarray, list[str], list[str]]:
    """Estimates as a table, and the names of its rows and columns; NaN where there is none."""
    rows, columns = results.of(row), results.of(column)
    found = {(one[row], one.get(column)): scale * one["estimate"] for one in results}
    return np.array([[found.get((r, c), np.nan) for c in columns] for r in rows]), rows, columns


def _method(config: Config) -> list[str]:
    c = config.ablation
    kept = {"kept": "The background is kept.", "black": "The background is black throughout."}
    pooled = {
        "classes": "Numbers are means over images of a class, then over the classes that have the "
        "attribute.",
        "images": "Numbers are means over all images that have the attribute (as released).",
    }
    return [
        f"Each attribute is replaced by grey {c.grey:g} in the images that have it. "
        f"{kept[c.background]} {pooled[c.pooling]}",
        f"Control: in the same image, the pixels of the object nearest to a random one of them, as "
        f"many as the attribute's area, grey likewise; mean over {counted(c.draws, 'draw')}. "
        "It may cover the attribute, and does where the attribute is the whole object, so that the "
        "difference is then 0 by construction.",
        "Swap: the same attribute of an image of another class, filled up from its surroundings, "
        "moved and stretched box to box, shown inside the attribute's mask.",
        "Brackets are bootstrap intervals with images as the clusters, resampled within classes; "
        "drops, controls and swaps are paired over the same images.",
        METHOD.format(RATE),
    ]


RANKS = (
    "Drop in the true class's probability when an attribute is grey (circles), and when a random "
    "region of its area in the same object is (squares), with intervals; largest difference of any "
    "model first.",
    "Dot plots by attribute and model; numbers in the CSV",
)
MODELS = (
    "Drop in accuracy and in the true class's probability when an attribute is grey, points, and "
    "what of it goes beyond the control's (excess); with means of rows and columns.",
    "Heat maps of attributes by models; numbers in the CSV",
)
CLASSES = (
    "By class: drop in probability beyond the control, points.",
    "Heat maps of attributes by classes for each model; numbers in the CSV",
)
FIG3 = (
    "Figure 3: correlations between attribute labels, and the share of every class's images that "
    "has an attribute, on the training split. Empty: an attribute that all images have, or none.",
    "Heat maps of correlations and class means; numbers in the CSV",
)
PHOTOS = (
    "One image for each attribute: as it is, attribute grey, a random region of its area grey, "
    "attribute swapped for that of another class.",
    "Contact sheet: a column for each attribute, a row for each change",
)
CAVEATS = [
    (
        "That a part with a small difference is not used.",
        "Other parts may carry the same evidence; only one is taken away at a time. And an "
        "attribute of the whole object has no smaller control: its difference is near 0 whatever "
        "it is worth.",
    ),
    (
        "That shape plays no role.",
        "The control has the part's area, not its outline: it is compact, where wheels or ears are "
        "several pieces at the rim.",
    ),
    (
        "Every finding at once.",
        "Of the differences marked, one in twenty is expected to be false. Intervals are for one "
        "attribute and model each, and are not adjusted.",
    ),
]
