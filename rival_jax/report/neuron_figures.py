"""The study's figure 10, and held-out IoU against networks of shuffled weights."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from rival_jax.report.document import Picture
from rival_jax.report.figures import Drawn
from rival_jax.report.lettering import letters
from rival_jax.report.neurons import Found, Shown, Summary
from rival_jax.report.style import COLOURS, FAINT, INK, MUTED

EACH = 5  # images of a feature
MOST_PAIRS = 30  # in the overview of a model
BINS = np.linspace(0, 1, 21)


def of_model(name: str, stem: str, summary: Summary, found: Found, shown: Shown) -> list[Picture]:
    """A model's pictures: its best features at work, their IoU, and all pairs.

    `stem`: how the names of their files begin.
    """
    options = summary["settings"]
    pairs = summary["models"][name]["pairs"][: options["pictures"]]
    overview = Picture(
        f"{stem}_pairs",
        functools.partial(_overview, summary["models"][name]["pairs"]),
        f"{name}: mean IoU on held-out images of the best feature of each class and attribute, "
        "with its interval; grey: the same for networks of shuffled weights.",
        f"Dots with intervals for up to {MOST_PAIRS} pairs of class and attribute.",
    )
    if not pairs:
        return [overview]
    return [
        Picture(
            f"{stem}_fig10_top",
            functools.partial(_top, pairs, found, shown),
            "Figure 10, top: the held-out images that activate a feature most, of those with the "
            "class and the attribute. Red: its saliency above the threshold; outlined in white: "
            "the attribute's mask.",
            f"Rows of {EACH} photos for {', '.join(map(_title, pairs))}.",
            photos=True,
        ),
        Picture(
            f"{stem}_fig10_bottom",
            functools.partial(_bottom, pairs, found),
            "Figure 10, bottom: IoU of the feature's saliency with the attribute's mask on all "
            "held-out images of the class with the attribute; the line is their mean, grey is the "
            "mean for networks of shuffled weights.",
            f"Histograms for {', '.join(map(_title, pairs))}.",
        ),
        overview,
    ]


def _title(pair: dict[str, Any]) -> str:
    return f"{pair['class']}, {pair['attribute']}"


def _place(pair: dict[str, Any], found: Found) -> int:
    keys = list(zip(found.classes, found.attributes, strict=True))
    return keys.index((pair["class"], pair["attribute"]))


def _top(pairs: Sequence[dict[str, Any]], found: Found, shown: Shown) -> Drawn:
    side, left = 1.15, 1.3
    figure = Figure(figsize=(left + EACH * side, len(pairs) * (side + 0.18)))
    lines: list[Sequence[Any]] = []
    for row, pair in enumerate(pairs):
        t = _place(pair, found)
        activation = np.where(np.isnan(found.activation[:, t]), -np.inf, found.activation[:, t])
        best = np.argsort(-activation, kind="stable")[:EACH]
        best = best[np.isfinite(activation[best])]
        for column, i in enumerate(best.tolist()):
            x, y = left + column * side, row * (side + 0.18)
            axes = figure.add_axes(_box(figure, x, y, side))
            _overlay(axes, *shown(found.names[i], pair["feature"], pair["attribute"]))
            value = found.iou[0, i, t]
            axes.set_title(f"IoU {value:.2f}", fontsize=6.5, color=MUTED, pad=2)
            lines.append(
                (*_key(pair), found.names[i], found.activation[i, t], value, pair["reported"])
            )
        text = f"{pair['class']}\n{pair['attribute']}\nfeature {pair['feature']}"
        text += "" if pair["reported"] else "\nnot reported"
        height = figure.get_figheight()
        figure.text(0.02, 1 - (row * (side + 0.18) + 0.2) / height, text, va="top", fontsize=7.5)
    header = ("class", "attribute", "feature", "example", "activation", "iou", "reported")
    return Drawn(figure, header, lines)


def _key(pair: dict[str, Any]) -> tuple[Any, ...]:
    return pair["class"], pair["attribute"], pair["feature"]


def _box(figure: Figure, x: float, y: float, side: float) -> tuple[float, float, float, float]:
    width, height = figure.get_size_inches()
    inner = 0.94 * side
    return x / width, 1 - (y + 0.16 + inner) / height, inner / width, inner / height


def _overlay(axes: Any, photo: np.ndarray, saliency: np.ndarray, mask: np.ndarray) -> None:
    axes.imshow(photo)
    red = np.zeros((*saliency.shape, 4))
    red[..., 0], red[..., 3] = 0.9, np.where(saliency > 0.5, 0.45, 0.0)
    axes.imshow(red)
    if mask.any() and not mask.all():
        axes.contour(mask, levels=[0.5], colors="black", linewidths=1.6)
        axes.contour(mask, levels=[0.5], colors="white", linewidths=0.8)
    axes.set_axis_off()


def _bottom(pairs: Sequence[dict[str, Any]], found: Found) -> Drawn:
    figure = Figure(figsize=(0.5 + 2.5 * len(pairs), 2.1))
    lines: list[Sequence[Any]] = []
    for column, pair in enumerate(pairs):
        t = _place(pair, found)
        values = found.iou[0, :, t]
        values = values[np.isfinite(values)]
        counts, _ = np.histogram(values, BINS)
        axes = figure.add_subplot(1, len(pairs), column + 1)
        colour = COLOURS[0] if pair["reported"] else MUTED
        axes.bar(BINS[:-1], counts, width=0.05, align="edge", color=colour, alpha=0.6, lw=0)
        axes.axvline(pair["iou"]["estimate"], color=INK, lw=1.2)
        if pair["shuffled_iou"] is not None:
            axes.axvline(pair["shuffled_iou"], color=FAINT, lw=1.2)
        axes.set_title(f"{_title(pair)}\nfeature {pair['feature']}", loc="left")
        axes.set(xlim=(0, 1), xlabel="IoU")
        if column == 0:
            axes.set_ylabel("held-out images")
        lines += [
            (*_key(pair), low, high, int(n))
            for low, high, n in zip(BINS[:-1].round(2), BINS[1:].round(2), counts, strict=True)
        ]
    letters(figure)  # whose sizes the layout follows
    figure.tight_layout()
    return Drawn(figure, ("class", "attribute", "feature", "iou_from", "iou_to", "images"), lines)


def _overview(pairs: Sequence[dict[str, Any]]) -> Drawn:
    some = pairs[:MOST_PAIRS]
    height = 0.7 + 0.2 * len(some)
    figure = Figure(figsize=(5.2, height))
    axes = figure.add_axes((0.36, 0.45 / height, 0.6, 1 - 0.55 / height))
    for row, pair in enumerate(some):
        iou, colour = pair["iou"], COLOURS[0] if pair["reported"] else MUTED
        axes.hlines(row, iou["low"], iou["high"], color=colour, lw=1.2)
        axes.plot(iou["estimate"], row, "o", color=colour, ms=4.5)
        if pair["shuffled_iou"] is not None:
            axes.plot(pair["shuffled_iou"], row, "|", color=FAINT, ms=8, mew=1.8)
    axes.set_yticks(range(len(some)), [f"{_title(p)} ({p['feature']})" for p in some])
    axes.set(ylim=(len(some) - 0.4, -0.6), xlim=(0, 1), xlabel="IoU on held-out images")
    axes.tick_params(axis="y", length=0)
    header = ("class", "attribute", "feature", "iou", "low", "high", "shuffled_iou", "q",
              "reported")  # fmt: skip
    lines = [
        (*_key(p), *p["iou"].values(), p["shuffled_iou"], p["q"], p["reported"]) for p in pairs
    ]
    return Drawn(figure, header, lines)
