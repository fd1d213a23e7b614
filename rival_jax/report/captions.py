"""A caption and a text alternative for every figure of the page."""

from __future__ import annotations

from collections.abc import Callable

from rival_jax.report import examples, figures, instances, tables
from rival_jax.report.figures import Material

TOLD = 8  # models whose numbers a text alternative lists


def caption(material: Material, kind: str, norm: str) -> tuple[str, str]:
    """(caption, text alternative) of "fig2", "fig4", "fig5", "fig6" or "examples"."""
    return _WRITERS[kind](material, norm)


def _fig2(material: Material, norm: str) -> tuple[str, str]:
    models = material.summary["models"]
    classes = "; small dots are classes" if len(models) <= figures.MODELS_WITH_CLASSES else ""
    text = (
        "Accuracy under background noise over accuracy under foreground noise, averaged over "
        f"levels and classes. Bars are {_intervals(material)}{classes}; marker area grows with the "
        "number of parameters. On the solid line both noises hurt equally; dotted lines join "
        "points of equal RFS: 0.25, 0.5 and 0.75 above it, the negatives below."
    )

    def told(name: str) -> str:
        fg, bg = (
            100 * models[name][norm][f"accuracy_{side}"]["mean"]["estimate"]
            for side in ("fg", "bg")
        )
        return f"{name} {fg:.0f} % under foreground noise and {bg:.0f} % under background noise"

    return text, "Scatter plot of accuracies: " + _told(tables.ranked(material.summary, norm), told)


def _fig4(material: Material, norm: str) -> tuple[str, str]:
    groups = material.groups
    text = (
        "Accuracy under foreground noise, under background noise, and RFS at every level. Bands "
        f"are {_intervals(material)}."
    )
    if material.summary["groups"]:
        text += " The accuracies of a group are averaged over its models before RFS is formed."
    if len(groups) > figures.CURVES_IN_COLOUR:
        text += " In colour: the highest and the lowest RFS."

    def told(group: str) -> str:
        curve = material.entry(group, norm)["rfs_by_level"]
        return f"{group} from {curve[0]['estimate']:+.2f} to {curve[-1]['estimate']:+.2f}"

    return text, "Line plots over noise levels; RFS of " + _told(list(groups), told)


def _fig5(material: Material, norm: str) -> tuple[str, str]:
    del norm
    sweep = material.sweep
    text = (
        "Single images at all levels. Top: density of iRFS (Gaussian kernel, Scott's bandwidth). "
        "Bottom: probability of the true class under background noise over that under foreground "
        "noise; above the line the foreground matters more."
    )
    if len(sweep.classes) > instances.MOST_CLASSES:
        text += " Classes: those with the lowest and the highest mean iRFS."
    if len(sweep.models) > figures.MODELS_AS_PANELS:
        text += " Models: evenly spaced ranks of RFS."
    return text, "Density curves and scatter plots of single images, see the CSV for the numbers"


def _fig6(material: Material, norm: str) -> tuple[str, str]:
    del norm
    models = material.summary["models"]
    first = next(iter(material.sweep.noise))

    def told(name: str) -> str:
        return f"{name} {models[name][first]['rfs_of_means']['estimate']:+.2f}"

    text = f"RFS of the accuracies averaged over levels and classes, with {_intervals(material)}."
    return text, "Bar chart of RFS: " + _told(tables.ranked(material.summary, first), told)


def _examples(material: Material, norm: str) -> tuple[str, str]:
    noise = material.sweep.noise[norm]
    level = tables.levels_text(norm, [float(noise.levels[examples.level_shown(noise)])])
    text = "One image of each class: photo, noise on the foreground, noise on the background"
    return f"{text}, {level}.", "Contact sheet of one image per class, clean and noised"


def _intervals(material: Material) -> str:
    return f"{100 * material.summary['statistics']['confidence']:g} % intervals"


def _told(names: list[str], told: Callable[[str], str]) -> str:
    more = f"; and {len(names) - TOLD} more" if len(names) > TOLD else ""
    return "; ".join(map(told, names[:TOLD])) + more


_WRITERS = {"fig2": _fig2, "fig4": _fig4, "fig5": _fig5, "fig6": _fig6, "examples": _examples}
