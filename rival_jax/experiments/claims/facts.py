"""What finished runs tell beside their results: of their data, their settings, their networks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow.csv
import pyarrow.parquet as pq

from rival_jax.experiments.claims.runs import Finished
from rival_jax.experiments.claims.tables import network
from rival_jax.report.run_files import read_json
from rival_jax.weights import catalogue

Runs = Sequence[Finished]
HYPER = {  # the papers' words for settings of config finetune
    "lr": "train.learning_rate",
    "temperature": "loss.temperature",
    "epochs": "train.epochs",
    "batch_size": "train.batch",
    "lambda_relevance": "loss.relevance_weight",
    "lambda_classification": "loss.classification_weight",
    "lambda_background": "loss.background_weight",
    "lambda_foreground": "loss.foreground_weight",
}


def _of(runs: Runs, experiment: str) -> Iterator[Finished]:
    return (run for run in runs if run.experiment == experiment)


def _tests(runs: Runs) -> Iterator[Finished]:
    """Runs on a test split."""
    return (run for run in runs if run.data.get("split") == "test" and run.data["images"])


def _some(values: Iterator[Any]) -> Any:
    """The first that is there."""
    return next((value for value in values if value is not None), None)


def _images(runs: Runs, split: str) -> int | None:
    newest = next(_of(runs, "attributes"), None)  # whose label shares are of the training split
    shares = [row for row in (newest.rows if newest else ()) if row["measure"] == "label_share"]
    train = sum({row["class"]: row["images"] for row in shares}.values()) or None
    test = _some(run.data["images"] + len(run.data["skipped"]) for run in _tests(runs))
    if split == "all":
        return None if train is None or test is None else train + test
    return test if split == "test" else train


def _correlation(runs: Runs) -> float | None:
    every = (row for run in _of(runs, "attributes") for row in run.rows)
    rows = [row for row in every if row["measure"] == "label_correlation"]
    found = [abs(r["estimate"]) for r in rows if r["attribute"] != r["other_attribute"]]
    return max((value for value in found if value == value), default=None)


def _masked(run: Finished) -> float:
    """The share of photos with an object's mask; those without are skipped, or stop a run."""
    lacking = sum("mask" in reason for _, reason in run.data["skipped"])
    return 1 - lacking / (run.data["images"] + len(run.data["skipped"]))


def _rows(run: Finished, *columns: str) -> list[tuple[Any, ...]] | None:
    """Columns of its first file of rows that has them, each line once."""
    units = run.path / "units.json"
    for name in read_json(units).values() if units.is_file() else ():
        if set(columns) <= set(pq.read_schema(run.path / name).names):
            table = pq.read_table(run.path / name, columns=list(columns))
            return list(dict.fromkeys(zip(*table.to_pydict().values(), strict=True)))
    return None


def _with_mask(runs: Runs) -> float | None:
    """Of the attributes of test photos the share with a mask."""
    pairs = _some(_rows(run, "example", "attribute", "area") for run in _of(runs, "attributes"))
    return pairs and sum(area > 0 for *_, area in pairs) / len(pairs)


def _names(runs: Runs) -> list[tuple[str, str]] | None:
    """Test photos by name, which begins with a synset, and class."""
    found = _some(_rows(run, "example", "label") for run in _tests(runs)) or []
    return found if found and all(Path(name).name.startswith("n0") for name, _ in found) else None


def _synsets(runs: Runs, *classes: str) -> int | None:
    found = _names(runs) or []
    kept = [Path(name).name.split("_")[0] for name, label in found if label in (classes or [label])]
    return len(set(kept)) or None


def _from_training(runs: Runs) -> float | None:
    found = _names(runs)
    return sum("ILSVRC2012_val" not in n for n, _ in found) / len(found) if found else None


def _wrong(runs: Runs, *classes: str) -> float | None:
    """Of saliency's hits of some classes, the share that is taken for another class."""
    for run in _of(runs, "saliency"):
        hits = pyarrow.csv.read_csv(run.path / "hits.csv").to_pylist()
        mine = [hit["label"] != hit["predicted"] for hit in hits if hit["label"] in classes]
        return sum(mine) / len(mine) if mine else None
    return None


def _setting(runs: Runs, experiment: str, key: str) -> Any:
    found = _some(run.at(key) for run in _of(runs, experiment))
    return tuple(found) if isinstance(found, list) else found


def _hyper(runs: Runs, name: str, what: str) -> float | int | None:
    mine = (run for run in _of(runs, "finetune") if network(name) in run.begun)
    return _some(run.at(HYPER[what]) for run in mine)


def _validation(runs: Runs) -> int | None:
    for run in _of(runs, "finetune"):
        if run.at("split.validation") == "held_out":
            others = len(run.data["classes"]) - run.at("split.num_classes")
            return others * run.at("split.validation_per_class")
    return None


def _imagenet_s(runs: Runs) -> list[int] | None:
    """Images of each class among ImageNet-S's training photos."""
    for run in _of(runs, "tokencut"):
        training = str(run.at("data.split")).startswith("train")
        if training and run.at("data.masked_folder.mask_format") == "imagenet_s":
            return run.data["counts"]
    return None


def _side(runs: Runs, name: str) -> int | None:
    """Of a network's input, from "squash to 224 x 224"."""
    cards = (card for run in runs for card in run.cards if network(card["name"]) == network(name))
    told = (str(card.get("input", "")).partition(" x ")[0].split() for card in cards)
    return _some(int(words[-1]) if words and words[-1].isdigit() else None for words in told)


def _patch(runs: Runs, name: str) -> int | None:
    del runs
    found = catalogue.find(network(name))
    config = found.config if found else None
    _, _, after = ((config and config.architecture) or "").partition("patch")
    return int(after.split("_")[0]) if after else None


Fact = Callable[..., Any]
ATTRIBUTES, TEST = "a run of attributes", "a run on the test split"
PHOTOS = "a run of tokencut on ImageNet-S's training photos"
FACTS: dict[str, tuple[Fact, str]] = {  # what tells it from runs; what is missing if none can
    "n_images": (_images, "runs on the test split, one of them of attributes"),
    "class_names": (lambda runs: _some(tuple(r.data["classes"]) for r in _tests(runs)), TEST),
    "attribute_names": (
        lambda runs: _some(tuple(r.data["attributes"]) for r in _of(runs, "attributes")),
        ATTRIBUTES,
    ),
    "max_label_correlation": (_correlation, ATTRIBUTES),
    "share_with_object_mask": (lambda runs: _some(map(_masked, _tests(runs))), TEST),
    "share_positive_with_mask": (_with_mask, ATTRIBUTES),
    "n_synsets": (_synsets, TEST),
    "n_synsets_of": (_synsets, TEST),
    "test_share_from_imagenet_train": (_from_training, TEST),
    "wrong_hits": (_wrong, "a run of saliency with hits in these classes"),
    "setting": (_setting, "a run of {}"),
    "hyper": (_hyper, "a run of finetune of each network"),
    "n_validation": (_validation, "a run of finetune that is validated on held-out classes"),
    "imagenet_s_classes": (lambda runs: len(_imagenet_s(runs) or ()) or None, PHOTOS),
    "imagenet_s_images_per_class": (lambda runs: max(_imagenet_s(runs) or [0]) or None, PHOTOS),
    "spread_over_classes": (
        lambda runs, part: None,
        "changes of single classes by whether they had masks",
    ),
    "image_size": (_side, "a run of each network"),
    "patch_size": (_patch, "networks of the catalogue"),
}
PRINTED = "nothing that a run measures: it is about what is printed"
