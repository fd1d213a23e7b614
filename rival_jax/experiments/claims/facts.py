"""Facts about the data, settings and networks of finished runs, beside their results.

One function for each fact in `quantities.csv`. Its arguments are the runs, the newest first, and
the fact's own; it returns None if no run knows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow.csv
import pyarrow.parquet as pq

from rival_jax.experiments.claims.runs import Finished
from rival_jax.experiments.claims.tables import network, word
from rival_jax.runtime.results import parsed
from rival_jax.weights import catalogue

Runs = Sequence[Finished]


def n_images(runs: Runs, split: str) -> int | None:
    """Photos of RIVAL10's splits "train" and "test", or of both: "all"."""
    newest = next(_of(runs, "attributes"), None)  # whose label shares are of the training split
    shares = [row for row in (newest.rows if newest else ()) if row["measure"] == "label_share"]
    train = sum({row["class"]: row["images"] for row in shares}.values()) or None
    test = _first(run.data["images"] + len(run.data["skipped"]) for run in _tests(runs))
    every = train + test if train and test is not None else None
    return {"train": train, "test": test, "all": every}[split]


def class_names(runs: Runs) -> tuple[str, ...] | None:
    """All classes."""
    return _first(tuple(run.data["classes"]) for run in _tests(runs))


def attribute_names(runs: Runs) -> tuple[str, ...] | None:
    """All attributes."""
    return _first(tuple(run.data["attributes"]) for run in _of(runs, "attributes"))


def max_label_correlation(runs: Runs) -> float | None:
    """The largest correlation between the labels of two attributes, without its sign."""
    every = (row for run in _of(runs, "attributes") for row in run.rows)
    rows = [row for row in every if row["measure"] == "label_correlation"]
    found = [abs(r["estimate"]) for r in rows if r["attribute"] != r["other_attribute"]]
    return max((value for value in found if value == value), default=None)


def share_with_object_mask(runs: Runs) -> float | None:
    """The share of photos with an object's mask; those without are skipped, or stop a run."""
    run = next(_tests(runs), None)
    if run is None:
        return None
    lacking = sum("mask" in reason for _, reason in run.data["skipped"])
    return 1 - lacking / (run.data["images"] + len(run.data["skipped"]))


def share_positive_with_mask(runs: Runs) -> float | None:
    """Of the attributes of test photos the share with a mask."""
    found = (_rows(run, "example", "attribute", "area") for run in _of(runs, "attributes"))
    pairs = _first(found)
    return pairs and sum(area > 0 for *_, area in pairs) / len(pairs)


def n_synsets(runs: Runs, *classes: str) -> int | None:
    """Synsets that test photos are of."""
    found = _names(runs) or []
    kept = [Path(name).name.split("_")[0] for name, label in found if label in (classes or [label])]
    return len(set(kept)) or None


n_synsets_of = n_synsets


def test_share_from_imagenet_train(runs: Runs) -> float | None:
    """Of test photos the share that are not ImageNet's validation photos."""
    found = _names(runs)
    return sum("ILSVRC2012_val" not in n for n, _ in found) / len(found) if found else None


def wrong_hits(runs: Runs, *classes: str) -> float | None:
    """The share of saliency's hits in some classes that are classified wrongly."""
    for run in _of(runs, "saliency"):
        hits = pyarrow.csv.read_csv(run.path / "hits.csv").to_pylist()
        mine = [hit["label"] != hit["predicted"] for hit in hits if hit["label"] in classes]
        return sum(mine) / len(mine) if mine else None
    return None


def setting(runs: Runs, experiment: str, key: str) -> Any:
    """A value of the newest run's config; of trials "auto", as many as it needed."""
    found = _first(run.at(key) for run in _of(runs, experiment))
    if (key, found) == ("noise.trials", "auto"):
        found = _first(_trials(run) for run in _of(runs, experiment))
    return tuple(found) if isinstance(found, list) else found


def hyper(runs: Runs, name: str, what: str) -> float | int | None:
    """What a network was finetuned with, by the papers' words for settings."""
    mine = (run for run in _of(runs, "finetune") if network(name) in run.begun)
    return _first(run.at(word("hyper", what) or what) for run in mine)


def n_validation(runs: Runs) -> int | None:
    """Photos of held-out classes that finetuning is validated on."""
    for run in _of(runs, "finetune"):
        if run.at("split.validation") == "held_out":
            others = len(run.data["classes"]) - run.at("split.num_classes")
            return others * run.at("split.validation_per_class")
    return None


def imagenet_s_classes(runs: Runs) -> int | None:
    """Classes of ImageNet-S's training photos."""
    return len(_imagenet_s(runs)) or None


def imagenet_s_images_per_class(runs: Runs) -> int | None:
    """The most photos that one of these classes has."""
    return max(_imagenet_s(runs), default=0) or None


def image_size(runs: Runs, name: str) -> int | None:
    """Side of a network's input, from "squash to 224 x 224"."""
    cards = (card for run in runs for card in run.cards if network(card["name"]) == network(name))
    told = (str(card.get("input", "")).partition(" x ")[0].split() for card in cards)
    return _first(int(words[-1]) if words and words[-1].isdigit() else None for words in told)


def patch_size(runs: Runs, name: str) -> int | None:
    """Side of a published transformer's patches."""
    found = catalogue.find(network(name))
    config = found.config if found else None
    _, _, after = ((config and config.architecture) or "").partition("patch")
    return int(after.split("_")[0]) if after else None


def _of(runs: Runs, experiment: str) -> Iterator[Finished]:
    return (run for run in runs if run.experiment == experiment)


def _tests(runs: Runs) -> Iterator[Finished]:
    """Runs on a test split."""
    return (run for run in runs if run.data.get("split") == "test" and run.data["images"])


def _first(values: Iterable[Any]) -> Any:
    """The first that is there."""
    return next((value for value in values if value is not None), None)


def _rows(run: Finished, *columns: str) -> list[tuple[Any, ...]] | None:
    """Columns of its first file of rows that has them, each line once."""
    units = run.path / "units.json"
    for name in parsed(units).values() if units.is_file() else ():
        if set(columns) <= set(pq.read_schema(run.path / name).names):
            table = pq.read_table(run.path / name, columns=list(columns))
            return list(dict.fromkeys(zip(*table.to_pydict().values(), strict=True)))
    return None


def _trials(run: Finished) -> int | None:
    """Noise draws per image, region and level: the fewest that a network has at a level."""
    units, most = run.path / "units.json", dict[tuple[str, ...], int]()
    place = ["model", "norm", "level"]
    for name in parsed(units).values() if units.is_file() else ():
        if "trial" in pq.read_schema(run.path / name).names:
            rows = pq.read_table(run.path / name, columns=[*place, "trial"])
            for row in rows.group_by(place).aggregate([("trial", "max")]).to_pylist():
                if row["trial_max"] >= 0:  # of noise
                    key = tuple(row[field] for field in place)
                    most[key] = max(most.get(key, 0), 1 + row["trial_max"])
    return min(most.values(), default=None)


def _names(runs: Runs) -> list[tuple[str, str]] | None:
    """Test photos by name, which begins with a synset, and class."""
    found = _first(_rows(run, "example", "label") for run in _tests(runs)) or []
    return found if found and all(Path(name).name.startswith("n0") for name, _ in found) else None


def _imagenet_s(runs: Runs) -> Sequence[int]:
    """Images of each class among ImageNet-S's training photos."""
    for run in _of(runs, "tokencut"):
        training = str(run.at("data.split")).startswith("train")
        if training and run.at("data.masked_folder.mask_format") == "imagenet_s":
            return run.data["counts"]
    return ()
