"""What finished runs show and what they do not, in sentences."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy  # which loads its `stats` when that is first used: a second and a half

from rival_jax.experiments.rfs.figures import NORMS, Found
from rival_jax.report import verdicts
from rival_jax.report.run_files import read_json
from rival_jax.report.tables import counted, ratio

CROWDED = 0.05  # mean accuracies this near 0 or 1 leave RFS a ratio of small numbers
RFS = (
    "Gaussian noise is added to the object (foreground) or to everything else (background), and "
    "the loss of accuracy is compared. Relative foreground sensitivity is RFS = (a_bg - a_fg) / "
    "(2 min(a, 1 - a)), where a_fg and a_bg are the accuracies under foreground and background "
    "noise and a is their mean. It lies between -1 and 1; positive means that noise on the object "
    "costs more. iRFS is the same for one image, with the probability of its true class in the "
    "place of accuracy."
)


def levels_text(norm: str, levels: Sequence[float]) -> str:
    """The levels of a norm in words, whole steps of pixel values as such.

    >>> levels_text("linf", [30 / 255, 60 / 255]), levels_text("l2", [25.0])
    ('sigma 30/255 to 60/255 (2 levels)', 'eps 25')
    """
    steps = [round(255 * level) for level in levels]
    whole = norm == "linf" and all(
        abs(255 * level - step) < 1e-3 for level, step in zip(levels, steps, strict=True)
    )
    words = [f"{step}/255" for step in steps] if whole else [f"{level:.3g}" for level in levels]
    name = "sigma" if norm == "linf" else "eps"
    if len(words) == 1:
        return f"{name} {words[0]}"
    return f"{name} {words[0]} to {words[-1]} ({len(words)} levels)"


def footnote(found: Found) -> str:
    """What the brackets are."""
    options = found.options
    kind = {"bca": "BCa", "percentile": "percentile"}[options["method"]]
    return (
        f"Accuracies in percent, averaged over classes and noise levels. Brackets: "
        f"{100 * options['confidence']:g} % {kind} bootstrap intervals over "
        f"{counted(len(found.runs.images.names), 'image')}, resampled within classes "
        f"({options['resamples']} resamples). RFS is computed from the averaged accuracies "
        "(rfs_of_means); mean of RFS averages it over the levels instead. Noise error: what the "
        "finite number of noise draws adds, as a standard error."
    )


def headline(found: Found) -> list[str]:
    """The main results, one sentence or two for each norm."""
    one = len(found.runs.models) == 1
    sentences = [(_one if one else _many)(found, norm) for norm in found.norms]
    if len(sentences) > 1 and len(found.runs.models) > 2:
        sentences.append(_agreement(found))
    return sentences


def _one(found: Found, norm: str) -> str:
    (name,) = found.runs.models
    accuracy = found.rows("accuracy", norm)
    fg, bg = (100 * accuracy.one(region=r)["estimate"] for r in ("foreground", "background"))
    return (
        f"{NORMS[norm]}: {name} keeps {fg:.1f} % accuracy under noise on the foreground and "
        f"{bg:.1f} % under the same noise on the background, an RFS of "
        f"{ratio(found.rows('rfs_of_means', norm).one())}: {_leaning(found, norm, name)}."
    )


def _many(found: Found, norm: str) -> str:
    names, pairs = found.ranked(norm), found.pairs(norm)
    first, last = names[0], names[-1]
    rfs = found.rows("rfs_of_means", norm)
    top, bottom = (ratio(rfs.one(model=name)) for name in (first, last))
    apart = sum(v.differs for v in verdicts.of_rows(pairs, found.options["confidence"]))
    images = counted(len(found.runs.images.names), "image")
    if not apart:
        return (
            f"{NORMS[norm]}: {images} show no two of the {len(names)} models to differ in "
            f"relative foreground sensitivity; they lie between {bottom} ({last}) and {top} "
            f"({first})."
        )
    turned = pairs.where(model=last, contrast=f"minus {first}").rows
    ends = turned[0] if turned else pairs.one(model=first, contrast=f"minus {last}")
    if turned:
        ends = {"estimate": -ends["estimate"], "low": -ends["high"], "high": -ends["low"]}
    return (
        f"{NORMS[norm]}: relative foreground sensitivity is highest for {first}, {top}, and lowest "
        f"for {last}, {bottom}. The difference, paired over the same {images} and the same noise, "
        f"is {ratio(ends)}; {apart} of {len(pairs)} pairs of models differ by a test adjusted for "
        f"their number. For {last}, {_leaning(found, norm, last)}."
    )


def _leaning(found: Found, norm: str, name: str) -> str:
    """Which noise costs a model more, if its RFS differs from 0 among those of all models."""
    every = found.rows("rfs_of_means", norm)
    judged = verdicts.of_rows(every, found.options["confidence"])
    told = dict(zip(every.of("model"), judged, strict=True))
    if not told[name].differs:
        count = len(found.runs.images.names)
        images = "1 image does not tell" if count == 1 else f"{count} images do not tell"
        return f"{images} which of the two noises costs it more accuracy"
    region = "foreground" if every.one(model=name)["estimate"] > 0 else "background"
    return f"noise on the {region} costs it more accuracy"


def _agreement(found: Found) -> str:
    count = len(found.runs.models)
    rfs = [found.rows("rfs_of_means", norm) for norm in found.norms[:2]]
    ranks = [scipy.stats.rankdata([row["estimate"] for row in rows]) for rows in rfs]
    if np.array_equal(*ranks):
        return f"The two kinds of noise order the {count} models alike."
    tied = any(np.ptp(rank) == 0 for rank in ranks)
    rho = "" if tied else f" (Spearman's rho {np.corrcoef(*ranks)[0, 1]:.2f})"
    return f"The two kinds of noise order the {count} models differently{rho}."


def caveats(found: Found) -> list[tuple[str, str]]:
    """What the figures do not establish: (claim, why), with the numbers of this run."""
    runs = found.runs
    counts = {k: n for k, n in zip(runs.data["classes"], runs.data["counts"], strict=True) if n}
    smallest = min(counts, key=counts.__getitem__)
    crowded, points = _crowded(found)
    gap, model, norm = _order_matters(found)
    pairs = sum(len(found.pairs(norm)) for norm in found.norms)
    heads = ", ".join(sorted({str(card.get("head", "unknown")) for card in runs.cards}))
    told = [
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
        ("That foreground and background were corrupted equally.", _area(found.norms)),
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
        told.append(
            ("That every difference marked is real.",
             f"{pairs} differences are tested, and p adjusted so that one false mark in a table is "
             "as rare as the confidence says. Intervals are for one number each: of twenty whose "
             "true difference is 0, one excludes 0 by chance."),
        )  # fmt: skip
    configs = [read_json(folder / "config.json") for folder in runs.folders]
    if any(config.get("normalise") == "none" for config in configs):
        told.append(
            ("How these models behave in use.",
             "They were fed bare pixels (normalise = none, as in the released code of the study), "
             "not the normalised input they were trained on."),
        )  # fmt: skip
    if runs.data["name"] == "scenes":
        told.append(
            ("Anything about photographs.",
             "The pictures are drawn by the renderer that ships with the package; they show that "
             "the measurement works where the truth is known."),
        )  # fmt: skip
    return told


def _area(norms: Sequence[str]) -> str:
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


def _crowded(found: Found) -> tuple[int, int]:
    """How many mean accuracies of a model at a level are near 0 or 1, and how many there are."""
    means = []
    for norm in found.norms:
        told = found.rows("accuracy", norm, level=found.levels(norm))
        fg, bg = (told.where(region=region) for region in ("foreground", "background"))
        means += [(a["estimate"] + b["estimate"]) / 2 for a, b in zip(fg, bg, strict=True)]
    return sum(min(mean, 1 - mean) < CROWDED for mean in means), len(means)


def _order_matters(found: Found) -> tuple[float, str, str]:
    """Where the two orders of averaging RFS differ most: (by how much, model, norm)."""
    first, second = (found.rows(m, found.norms) for m in ("rfs_of_means", "mean_of_rfs"))
    return max(
        (abs(a["estimate"] - b["estimate"]), a["model"], a["norm"])
        for a, b in zip(first, second, strict=True)
    )
