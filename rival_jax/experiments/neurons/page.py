"""The page of neurons and attributes: tables, figure 10, and what it says in words."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from rival_jax.configs.neurons import Config
from rival_jax.experiments.neurons.detectors import Found
from rival_jax.experiments.neurons.figures import Shown, of_model, pair_title
from rival_jax.report import tables
from rival_jax.report.document import Document, Section
from rival_jax.report.results import Results, Row
from rival_jax.report.tables import Table
from rival_jax.runtime.names import file_names


def page(config: Config, results: Results, found: Found, shown: Mapping[str, Shown]) -> Document:
    """All that the results say; `shown`: photos of every model."""
    models = results.of("model")
    whole = results.where(**{"class": None})
    stems = file_names(models)
    sections = [Section("Detectors", _calibration(config, whole), (), (_models(whole),))]
    for name in models:
        pairs = results.where(model=name, **{"class": results.of("class")})
        pictures = of_model(stems[name], pairs, found, shown[name], config.neurons.pictures)
        sections.append(Section(name, (), pictures, (_pairs(name, pairs),)))
    return Document(
        title="Neurons and attributes",
        subtitle="Which feature marks which attribute, and whether it does on images it was not "
        "chosen by",
        headline=[_headline(name, results.where(model=name)) for name in models],
        sections=sections,
        method=_method(config),
        caveats=CAVEATS + (DRAWN if config.data.name == "scenes" else []),
        source="The measurement is due to Moayeri et al., CVPR 2022, section 6.",
    )


def _headline(name: str, results: Results) -> str:
    whole = results.where(**{"class": None})
    tested, reported = (
        int(whole.one(measure=measure)["estimate"]) for measure in ("tested", "reported")
    )
    text = (
        f"{name}: of {tested} pairs of a class and an attribute, {reported} have a feature that "
        "marks the attribute on held-out images better than chance"
    )
    if reported:
        best = results.where(measure="iou", **{"class": results.of("class")}).rows[0]
        text += (
            f"; mean IoU over these {_interval(whole.one(measure='iou_reported'))}, the best "
            f"{_interval(best)} for {best['attribute']} of {best['class']} "
            f"(feature {best['feature']})"
        )
    return f"{text}."


def _calibration(config: Config, whole: Results) -> list[str]:
    count = config.neurons.shuffled
    if not count:
        return ["No network of shuffled weights was searched: p-values are those of pairing alone."]
    alarms = "; ".join(
        f"{row['model']}: {row['estimate']:.0f} of {count}"
        for row in whole.where(measure="shuffled_reporting")
    )
    return [
        "Calibration: each network of shuffled weights in the place of the one in question, "
        f"against the others. It passes that comparison for some pair in {alarms}."
    ]


def _models(whole: Results) -> Table:
    title = "Held-out IoU of the best features"
    columns, titles = list(OF_ALL), OF_ALL
    return tables.pivot(title, whole, ("model",), "measure", _cell, titles=titles, columns=columns)


def _pairs(name: str, pairs: Results) -> Table:
    """A line for every pair, in the order of the results."""
    images = pairs.where(measure="iou").changed(lambda row: {**row, "measure": "images"})
    named = (pairs + images).changed(lambda row: {**row, "class, attribute": pair_title(row)})
    return tables.pivot(
        f"{name}: best feature of each class and attribute",
        named.changed(lambda row: {**row, "feature": _feature(row["feature"])}),
        ("class, attribute", "feature"),
        "measure",
        lambda row: OF_PAIR[row["measure"]][1](row),
        titles={measure: title for measure, (title, _) in OF_PAIR.items()},
        columns=list(OF_PAIR),
    )


def _feature(number: int) -> str:
    return str(number) if number >= 0 else "none"


def _cell(row: Row) -> str:
    if row["measure"] in ("tested", "reported"):
        return f"{row['estimate']:.0f}"
    return _interval(row)


def _interval(row: Row) -> str:
    """A number, and its interval if there is one."""
    text = f"{row['estimate']:.2f}"
    return text if np.isnan(row["low"]) else f"{text} [{row['low']:.2f}, {row['high']:.2f}]"


def _method(config: Config) -> list[str]:
    c, options = config.neurons, config.statistics
    absent = {
        "empty": "an image without the attribute counts with IoU 0",
        "left_out": "images without the attribute do not count",
    }[c.absent]
    return [
        f"Of every feature of the penultimate layer, the {c.top} training images of each class "
        "that activate it most are taken. Its saliency on them is GradCAM with the feature as the "
        "target (with global average pooling: its own feature map), scaled to its range and cut "
        f"at {c.threshold:g}. A feature's score for an attribute is the mean IoU with the "
        f"attribute's mask over these images; {absent}. The feature with the highest score is the "
        "attribute's; of equals the first, and none where no score exceeds 0.",
        "Held out: the IoU of that feature on all images of the other split with the class and "
        f"the attribute. Pairs with fewer than {c.least_images} images in either split are left "
        "out.",
        f"Pairing: masks are permuted among up to {c.permuted_images} of these images "
        f"({c.permutations} times). Features of random networks pass that: they do follow "
        "bright or dark parts. Shuffled weights: the whole search is repeated on "
        f"{c.shuffled} networks with the weights permuted within every tensor, and the "
        "excess of a pair's held-out IoU over the mean of all networks is ranked among theirs. A "
        "pair's p-value is the larger of the two, so both have to be small; q is adjusted over "
        f"all pairs of a model (Benjamini-Hochberg), and reported is q up to "
        f"{c.false_discovery_rate:g}. Features need no adjustment: they were chosen on other "
        "images.",
        f"Brackets: {100 * options.confidence:g} % bootstrap intervals over images, resampled "
        f"within classes ({options.resamples} resamples, {options.method}).",
    ]


OF_ALL = {
    "tested": "pairs tested",
    "reported": "reported",
    "iou_reported": "IoU of those",
    "iou": "IoU of all",
    "shuffled_iou": "shuffled weights",
}
OF_PAIR: dict[str, tuple[str, Callable[[Row], str]]] = {
    "train_iou": ("IoU on its top images", _interval),
    "iou": ("held-out IoU", _interval),
    "images": ("images", lambda row: str(row["images"])),
    "shuffled_iou": ("shuffled weights", _interval),
    "p_pairing": ("p pairing", lambda row: f"{row['estimate']:.4f}"),
    "p_shuffled": ("p shuffled", lambda row: f"{row['estimate']:.4f}"),
    "q": ("q", lambda row: f"{row['estimate']:.3f}"),
    "reported": ("reported", lambda row: "yes" if row["estimate"] else "no"),
}
CAVEATS = [
    (
        "That a feature means its attribute.",
        "IoU says that it looks at the place. A feature that marks the whole object has a high "
        "IoU with attributes whose mask is the whole object, such as hairy or metallic.",
    ),
    (
        "That no other feature marks an attribute.",
        "One feature per class and attribute is tested: the best on the training images.",
    ),
    (
        "That small parts are not represented.",
        "Saliency has the resolution of the last layer's grid; a mask smaller than a cell of it "
        "cannot reach a high IoU whatever the feature stands for.",
    ),
    (
        "That a pair which is not reported has no detector.",
        "With few held-out images or shuffled networks only strong ones are found. Small p-values "
        "need several shuffled networks: at least 1 / rate of them for a single pair.",
    ),
    (
        "How high the IoU of the reported pairs is in general.",
        "They were picked by the same held-out images; their mean is a little optimistic.",
    ),
]
DRAWN = [
    (
        "Anything about photographs.",
        "The pictures are drawn by the renderer that ships with the package.",
    )
]
