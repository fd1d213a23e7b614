"""What a sweep shows and what it does not, in sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import scipy  # which loads its `stats` when that is first used: a second and a half

from rival_jax.report.summary import Summary
from rival_jax.report.sweep import Sweep
from rival_jax.report.tables import counted, norm_title, percent, ranked, ratio
from rival_jax.report.verdicts import verdicts

CLEAN_SHOWN = 8  # networks that a headline names
CROWDED = 0.05  # mean accuracies this near 0 or 1 leave RFS a ratio of small numbers


def headline(summary: Summary) -> list[str]:
    """The main results, one sentence or two for each norm."""
    sentences = []
    for norm in summary["differences"]:
        names = ranked(summary, norm)
        if len(names) == 1:
            sentences.append(_one(summary, norm, names[0]))
        else:
            sentences.append(_many(summary, norm, names))
    if len(sentences) > 1 and len(summary["models"]) > 2:
        sentences.append(_agreement(summary))
    return sentences


def clean(shares: Mapping[str, Mapping[str, float]]) -> list[str]:
    """How often networks are right on the photos as they are: one sentence for all, or none.

    Args:
      shares: name of a network -> interval of its accuracy; with `right` and `images` where it is
        a plain share of images.
    """
    told = []
    for name, found in list(shares.items())[:CLEAN_SHOWN]:
        counted = f" ({found['right']} of {found['images']} images)" if "images" in found else ""
        told.append(f"{name} {percent(found)} %{counted}")
    more = len(shares) - CLEAN_SHOWN
    told += [f"and {more} more"] if more > 0 else []
    return [f"Right on the photos as they are: {', '.join(told)}."] if told else []


def _one(summary: Summary, norm: str, name: str) -> str:
    entry = summary["models"][name][norm]
    fg, bg = (100 * entry[f"accuracy_{side}"]["mean"]["estimate"] for side in ("fg", "bg"))
    return (
        f"{norm_title(norm)}: {name} keeps {fg:.1f} % accuracy under noise on the foreground and "
        f"{bg:.1f} % under the same noise on the background, an RFS of "
        f"{ratio(entry['rfs_of_means'])}: {_leaning(summary, norm, name)}."
    )


def _many(summary: Summary, norm: str, names: list[str]) -> str:
    first, last = names[0], names[-1]
    top, bottom = (summary["models"][name][norm]["rfs_of_means"] for name in (first, last))
    pairs = summary["differences"][norm]
    number = summary["dataset"]["images"]
    tests = [pair["rfs_of_means"] for pair in pairs]
    apart = sum(v.differs for v in verdicts(tests, summary["statistics"], number))
    images = counted(number, "image")
    if not apart:
        return (
            f"{norm_title(norm)}: {images} show no two of the {len(names)} models to differ in "
            "relative foreground sensitivity; they lie between "
            f"{ratio(bottom)} ({last}) and {ratio(top)} ({first})."
        )
    ends = next(pair for pair in pairs if {pair["model"], pair["minus"]} == {first, last})
    found = ends["rfs_of_means"]
    if ends["model"] == last:
        found = {"estimate": -found["estimate"], "low": -found["high"], "high": -found["low"]}
    return (
        f"{norm_title(norm)}: relative foreground sensitivity is highest for {first}, "
        f"{ratio(top)}, and lowest for {last}, {ratio(bottom)}. The difference, paired over the "
        f"same {images} and the same noise, is {ratio(found)}; {apart} of {len(pairs)} pairs of "
        f"models differ by a test adjusted for their number. For {last}, "
        f"{_leaning(summary, norm, last)}."
    )


def _leaning(summary: Summary, norm: str, name: str) -> str:
    """Which noise costs a model more, if its RFS differs from 0 among those of all models."""
    names = list(summary["models"])
    every = [summary["models"][model][norm]["rfs_of_means"] for model in names]
    told = verdicts(every, summary["statistics"], summary["dataset"]["images"])
    rfs, verdict = every[names.index(name)], told[names.index(name)]
    if not verdict.differs:
        count = summary["dataset"]["images"]
        images = "1 image does not tell" if count == 1 else f"{count} images do not tell"
        return f"{images} which of the two noises costs it more accuracy"
    region = "foreground" if rfs["estimate"] > 0 else "background"
    return f"noise on the {region} costs it more accuracy"


def _agreement(summary: Summary) -> str:
    (first, second), names = list(summary["differences"])[:2], list(summary["models"])
    values = [
        [summary["models"][name][norm]["rfs_of_means"]["estimate"] for name in names]
        for norm in (first, second)
    ]
    ranks = [scipy.stats.rankdata(value) for value in values]
    if np.array_equal(*ranks):
        return f"The two kinds of noise order the {len(names)} models alike."
    tied = any(np.ptp(rank) == 0 for rank in ranks)
    rho = "" if tied else f" (Spearman's rho {np.corrcoef(*ranks)[0, 1]:.2f})"
    return f"The two kinds of noise order the {len(names)} models differently{rho}."


def caveats(sweep: Sweep, summary: Summary) -> list[tuple[str, str]]:
    """What the figures do not establish: (claim, why), with the numbers of this run."""
    counts = summary["dataset"]["classes"]
    smallest = min(counts, key=counts.__getitem__)
    crowded, points = _crowded(summary)
    model, norm, gap = _order_matters(summary)
    pairs = sum(map(len, summary["differences"].values()))
    heads = ", ".join(sorted({str(card.get("head", "unknown")) for card in sweep.cards}))
    found = [
        ("That a model uses the background.",
         "Noise is a stand-in for taking a region's information away. It also adds something no "
         "photo has, and models differ in how they take that. RFS says which region's corruption "
         "costs more; blurring, greying or swapping a region may order the models differently."),
        ("That a low RFS is a fault.",
         "Context can be evidence: ships are on water. RFS does not tell a useful context from a "
         "spurious one; only a test set in which the context changes does."),
        ("How large an effect is, where accuracies are near 0 or 1.",
         "RFS divides the gap by the largest gap possible at that mean accuracy. It is 1 or -1 as "
         "soon as one of the two accuracies is 0 or 1, however small the gap, and 0 by convention "
         "where both are 0 or both are 1. "
         f"In this report the mean accuracy of {crowded} of {points} (model, level) is within "
         f"{CROWDED:g} of 0 or 1: read those together with the accuracies."),
        ("A number that does not depend on the order of averaging.",
         "RFS of averaged accuracies (rfs_of_means, the headline, as in the study's figures 4 and "
         f"6) and averaged RFS (mean_of_rfs) are different numbers; here they differ by up to "
         f"{gap:.2f} ({model}, {norm})."),
        ("That foreground and background were corrupted equally.", _area(list(sweep.noise))),
        ("A property of the features alone.",
         f"Features and head are measured together. Head here: {heads}. Another head, or one "
         "fitted on other data, can give another RFS."),
        ("That other training runs would agree.",
         "The intervals say how the numbers would move with other images of the same kind. They "
         "do not cover training seeds, the choice of classes or noise levels, or errors in masks "
         f"and labels. The smallest class, {smallest}, has {counted(counts[smallest], 'image')}; "
         "of a class with one, what varies is taken from the other smallest classes. What the "
         "finite number of noise draws adds is listed as noise error."),
    ]  # fmt: skip
    if pairs > 1:
        found.append(
            ("That every difference marked is real.",
             f"{pairs} differences are tested, and p adjusted so that one false mark in a table is "
             "as rare as the confidence says. Intervals are for one number each: of twenty whose "
             "true difference is 0, one excludes 0 by chance."),
        )  # fmt: skip
    if any(run["config"].get("normalise") == "none" for run in sweep.runs):
        found.append(
            ("How these models behave in use.",
             "They were fed bare pixels (normalise = none, as in the released code of the study), "
             "not the normalised input they were trained on."),
        )  # fmt: skip
    if sweep.dataset == "scenes":
        found.append(
            ("Anything about photographs.",
             "The pictures are drawn by the renderer that ships with the package; they show that "
             "the measurement works where the truth is known."),
        )  # fmt: skip
    return found


def _area(norms: list[str]) -> str:
    both = {
        "linf": "linf noise has the same standard deviation in every pixel, so the larger region "
        "receives more of it",
        "l2": "l2 noise has the same total size in both regions, so the smaller region receives "
        "more per pixel",
    }
    missing = "" if len(norms) > 1 else " Only one of the two common choices was run."
    return (
        "The two regions have different areas: "
        + "; ".join(both[norm] for norm in norms)
        + ". Object size therefore enters RFS, and data sets with other object sizes are not "
        "comparable." + missing
    )


def _crowded(summary: Summary) -> tuple[int, int]:
    means = [
        (fg["estimate"] + bg["estimate"]) / 2
        for entry in summary["models"].values()
        for norm in summary["differences"]
        for fg, bg in zip(
            *(entry[norm][f"accuracy_{side}"]["by_level"] for side in ("fg", "bg")), strict=True
        )
    ]
    return sum(min(mean, 1 - mean) < CROWDED for mean in means), len(means)


def _order_matters(summary: Summary) -> tuple[str, str, float]:
    gaps = [
        (
            abs(entry[norm]["rfs_of_means"]["estimate"] - entry[norm]["mean_of_rfs"]["estimate"]),
            name,
            norm,
        )
        for name, entry in summary["models"].items()
        for norm in summary["differences"]
    ]
    gap, name, norm = max(gaps)
    return name, norm, gap


def protocol(sweep: Sweep) -> list[tuple[str, list[str]]]:
    """Every config value of the runs of a sweep: (key, value in each run)."""
    return config_table([run["config"] for run in sweep.runs])


def config_table(nested: Sequence[Mapping[str, Any]]) -> list[tuple[str, list[str]]]:
    """Every value of some configs, flat: (key, value in each)."""
    configs = [_flat(config) for config in nested]
    keys = dict.fromkeys(key for config in configs for key in config)
    return [(key, [_shown(config.get(key)) for config in configs]) for key in keys]


def _flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(_shown, value)) or "none"
    if isinstance(value, float):
        return f"{value:.6g}"
    return "not set" if value in (None, "") else str(value)
