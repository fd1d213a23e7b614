"""The report of `neurons`: its tables and what it says in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console

from rival_jax.report import neuron_figures
from rival_jax.report.document import Document, Section, write_document
from rival_jax.report.neurons import Found, Shown, Summary, summarise
from rival_jax.report.rows import read_json
from rival_jax.report.tables import Table
from rival_jax.runtime.names import file_names
from rival_jax.runtime.results import Run


def write(run: Run, console: Console, pictures: Mapping[str, Shown]) -> Summary:
    """Writes summary.json, figures/, tables.md and report.html; returns the summary.

    Args:
      run: with the rows of every model, named in units.json.
      console: gets the tables.
      pictures: by model.
    """
    settings, options = run.config["neurons"], run.config["statistics"]
    found = {
        name: Found.read(*(run.path / units[u] for u in ("search", "test", "pairing")))
        for name, units in run.read_json("units.json").items()
    }
    data = read_json(run.path / "data.json")
    summary: Summary = {
        "dataset": {key: data[key] for key in ("name", "split", "images")},
        "statistics": dict(options),
        "settings": dict(settings),
        "models": {
            name: summarise(one, settings, run.config["seed"], **options)
            for name, one in found.items()
        },
    }
    run.save_json("summary.json", summary)
    write_document(run, console, _document(summary, found, pictures))
    return summary


def _document(
    summary: Summary, found: Mapping[str, Found], pictures: Mapping[str, Shown]
) -> Document:
    sections = [Section("Detectors", _calibration(summary), (), (_models(summary),))]
    stems = file_names(list(found))
    for name, one in found.items():
        drawn = neuron_figures.of_model(name, stems[name], summary, one, pictures[name])
        sections.append(Section(name, (), drawn, (_pairs(name, summary),)))
    return Document(
        "Neurons and attributes",
        "Which feature marks which attribute, and whether it does on images it was not chosen by",
        _headline(summary),
        sections,
        _method(summary),
        _caveats(summary),
        "The measurement is due to Moayeri et al., CVPR 2022, section 6.",
    )


def _headline(summary: Summary) -> list[str]:
    sentences = []
    for name, model in summary["models"].items():
        text = (
            f"{name}: of {model['tested']} pairs of a class and an attribute, {model['reported']} "
            "have a feature that marks the attribute on held-out images better than chance"
        )
        if model["reported"]:
            best = model["pairs"][0]
            text += (
                f"; mean IoU over these {_interval(model['iou_reported'])}, the best "
                f"{_interval(best['iou'])} for {best['attribute']} of {best['class']} "
                f"(feature {best['feature']})"
            )
        sentences.append(text + ".")
    return sentences


def _calibration(summary: Summary) -> list[str]:
    if not summary["settings"]["shuffled"]:
        return ["No network of shuffled weights was searched: p-values are those of pairing alone."]
    alarms = "; ".join(
        f"{name}: {model['shuffled_reporting']} of {model['shuffled_networks']}"
        for name, model in summary["models"].items()
    )
    return [
        "Calibration: each network of shuffled weights in the place of the one in question, "
        f"against the others. It passes that comparison for some pair in {alarms}."
    ]


def _models(summary: Summary) -> Table:
    header = ("model", "pairs tested", "reported", "IoU of those", "IoU of all", "shuffled weights")
    rows = [
        (
            name,
            str(model["tested"]),
            str(model["reported"]),
            _interval(model["iou_reported"]) if model["reported"] else "",
            _interval(model["iou"]),
            _number(model["shuffled_iou"]),
        )
        for name, model in summary["models"].items()
    ]
    return Table("Held-out IoU of the best features", header, rows)


def _pairs(name: str, summary: Summary) -> Table:
    header = ("class, attribute", "feature", "IoU on its top images", "held-out IoU", "images",
              "shuffled weights", "p pairing", "p shuffled", "q", "reported")  # fmt: skip
    rows = [
        (
            f"{pair['class']}, {pair['attribute']}",
            str(pair["feature"]) if pair["feature"] >= 0 else "none",
            _number(pair["train_score"]),
            _interval(pair["iou"]),
            str(pair["images"]),
            _number(pair["shuffled_iou"]),
            f"{pair['p_pairing']:.4f}",
            "" if pair["p_shuffled"] is None else f"{pair['p_shuffled']:.4f}",
            f"{pair['q']:.3f}",
            "yes" if pair["reported"] else "no",
        )
        for pair in summary["models"][name]["pairs"]
    ]
    return Table(f"{name}: best feature of each class and attribute", header, rows)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _interval(interval: Mapping[str, float]) -> str:
    return "{estimate:.2f} [{low:.2f}, {high:.2f}]".format(**interval)


def _method(summary: Summary) -> list[str]:
    c, options = summary["settings"], summary["statistics"]
    absent = {
        "empty": "an image without the attribute counts with IoU 0",
        "left_out": "images without the attribute do not count",
    }[c["absent"]]
    return [
        f"Of every feature of the penultimate layer, the {c['top']} training images of each class "
        "that activate it most are taken. Its saliency on them is GradCAM with the feature as the "
        "target (with global average pooling: its own feature map), scaled to its range and cut "
        f"at {c['threshold']:g}. A feature's score for an attribute is the mean IoU with the "
        f"attribute's mask over these images; {absent}. The feature with the highest score is the "
        "attribute's; of equals the first, and none where no score exceeds 0.",
        "Held out: the IoU of that feature on all images of the other split with the class and "
        f"the attribute. Pairs with fewer than {c['least_images']} images in either split are left "
        "out.",
        f"Pairing: masks are permuted among up to {c['permuted_images']} of these images "
        f"({c['permutations']} times). Features of random networks pass that: they do follow "
        "bright or dark parts. Shuffled weights: the whole search is repeated on "
        f"{c['shuffled']} networks with the weights permuted within every tensor, and the "
        "excess of a pair's held-out IoU over the mean of all networks is ranked among theirs. A "
        "pair's p-value is the larger of the two, so both have to be small; q is adjusted over "
        f"all pairs of a model (Benjamini-Hochberg), and reported is q up to "
        f"{c['false_discovery_rate']:g}. Features need no adjustment: they were chosen on other "
        "images.",
        f"Brackets: {100 * options['confidence']:g} % bootstrap intervals over images, resampled "
        f"within classes ({options['resamples']} resamples, {options['method']}).",
    ]


def _caveats(summary: Summary) -> list[tuple[str, str]]:
    found: list[tuple[str, Any]] = [
        ("That a feature means its attribute.",
         "IoU says that it looks at the place. A feature that marks the whole object has a high "
         "IoU with attributes whose mask is the whole object, such as hairy or metallic."),
        ("That no other feature marks an attribute.",
         "One feature per class and attribute is tested: the best on the training images."),
        ("That small parts are not represented.",
         "Saliency has the resolution of the last layer's grid; a mask smaller than a cell of it "
         "cannot reach a high IoU whatever the feature stands for."),
        ("That a pair which is not reported has no detector.",
         "With few held-out images or shuffled networks only strong ones are found. Small p-values "
         "need several shuffled networks: at least 1 / rate of them for a single pair."),
        ("How high the IoU of the reported pairs is in general.",
         "They were picked by the same held-out images; their mean is a little optimistic."),
    ]  # fmt: skip
    if summary["dataset"]["name"] == "scenes":
        found.append(
            ("Anything about photographs.",
             "The pictures are drawn by the renderer that ships with the package.")
        )  # fmt: skip
    return found
