"""Finished runs, and what the papers call the networks in them."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rival_jax import data
from rival_jax.data.rival10 import SYNSETS
from rival_jax.experiments.claims.tables import entries, network
from rival_jax.experiments.groups import groups
from rival_jax.report.results import PARQUET, Results, Row
from rival_jax.report.run_files import read_json
from rival_jax.runtime.plugins import no_such

RUNS = Path("runs")  # where main puts work directories that are not named
# Variants of config finetune -> method and masks in the paper's tables.
DONE = {
    "robustvit": "ours annotated",
    "robustvit_second_order": "ours annotated",
    "tokencut": "ours tokencut",
    "gradmask": "gradmask annotated",
    "rrr": "rrr annotated",
    "without_classification": "no_classification annotated",
    "without_background": "no_background annotated",
    "without_foreground": "no_foreground annotated",
    "with_label": "ground_truth annotated",
    "only_background": "only_background annotated",
    "only_foreground": "only_foreground annotated",
}
SETS = {  # data sets of config robustness -> the paper's words
    **{name: name for name in ("imagenet_v2", "imagenet_a", "imagenet_r", "imagenet_sketch")},
    "objectnet": "objectnet",
    "imagenet": "imagenet_val",
    "siscore kind=location": "si_location",
    "siscore kind=rotation": "si_rotation",
    "siscore kind=area": "si_size",
}
MAPS = {"pixel_accuracy": "pixel_accuracy", "iou": "miou", "average_precision": "map"}


class Finished(NamedTuple):
    """One finished run."""

    path: Path
    config: Mapping[str, Any]
    data: Mapping[str, Any]
    cards: Sequence[Mapping[str, Any]]
    rows: Sequence[Row]  # of results; networks as the papers call them, blanks before what was done

    @property
    def experiment(self) -> str:
        """That it is of."""
        return self.config["experiment"]

    @property
    def begun(self) -> frozenset[str]:
        """All networks that it is of, without what was done to them."""
        every = [row["network"] for row in self.rows if row["network"]]
        return frozenset(name.split(" ")[0] for names in every for name in names)

    @property
    def rival10(self) -> bool:
        """Whether its photos are RIVAL10's."""
        named = self.data.get("name") in ("rival10", "tfds")
        return named and set(self.data.get("classes", ())) == set(SYNSETS)

    def at(self, key: str) -> Any:
        """A value of its config, "noise.trials"; None if there is no such."""
        found: Any = self.config
        for part in key.split("."):
            found = found.get(part) if isinstance(found, Mapping) else None
        return found


def read(folders: Sequence[str], told: Sequence[str]) -> list[Finished]:
    """Finished runs, the newest first.

    Args:
      folders: their work directories; (): all below `RUNS`.
      told: what networks are called in results, "vit_b ours annotated=my_vit,my_other".

    Raises:
      FileNotFoundError: for a folder that is no finished run.
      ValueError: for a network that the papers do not have.
    """
    called = groups(told)
    for name in called:
        if name.split(" ")[0] not in entries():
            raise ValueError("config.networks: " + no_such(name.split(" ")[0], entries()))
    names = {model: network(name) for name, models in called.items() for model in models}
    paths = [Path(folder) for folder in folders]
    paths = paths or [file.parent for file in RUNS.rglob(PARQUET)]
    found = [(path, read_json(path / "config.json"), Results.read(path)) for path in paths]
    found.sort(key=lambda run: -(run[0] / PARQUET).stat().st_mtime)
    return [_run(*run, names) for run in found if run[1]["experiment"] != "claims"]


def _run(
    path: Path, config: Mapping[str, Any], results: Results, names: Mapping[str, str]
) -> Finished:
    facts, cards = (read_json(path / f"{name}.json") for name in ("data", "models"))
    known = {**_finetuned(config, names), **names}
    rows: Iterable[Row] = results
    if config["experiment"] == "finetune":
        rows = _as_robustness(results, cards[0]["name"])
    called = functools.partial(_named, known, groups(config.get("groups", ())), _sets(config))
    return Finished(path, config, facts, cards, [called(row) for row in rows])


def _finetuned(config: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, str]:
    """Of a run's networks those that config finetune made: name in results -> what was done."""
    found = {}
    for model in map(Path, config.get("models", ())):
        folder = model.parents[2] if len(model.parts) > 3 else model
        if (folder / "networks.json").is_file():
            begun = read_json(folder / "models.json")[0]["name"]
            for one in read_json(folder / "networks.json"):
                if model.name in (Path(one.get(kind, "")).name for kind in ("best", "last")):
                    found[model.name] = _after(names.get(begun, begun), one["variant"])
    return found


def _sets(config: Mapping[str, Any]) -> dict[str, str]:
    """What the paper calls the data sets of a run of robustness: name in results -> its word.

    Of a set that is there in several forms it is the first.
    """
    found: dict[str, str] = {}
    for text in config.get("sets", ()):
        kind, _, given = data.named(text)
        name = given.pop("as", "")
        given.pop("split", None)
        told = " ".join([kind, *(f"{key}={value}" for key, value in given.items())])
        word = SETS.get(f"{kind} kind={given['kind']}" if "kind" in given else kind)
        matched = given.get("variant", "matched-frequency") == "matched-frequency"
        if word and matched and word not in found.values():
            found[name or told] = word
    return found


def _after(begun: str, variant: str) -> str:
    """A network after a variant of config finetune."""
    done = DONE.get(variant, f"{variant} annotated")
    return begun if variant == "original" else f"{begun} {done}"


def _as_robustness(rows: Results, begun: str) -> Iterator[Row]:
    """Results of config finetune as those of robustness and segmentation; means over seeds."""
    tests = dict.fromkeys(row["test"] for row in rows if row.get("test"))
    for row in rows:
        named = row.get("variant") and row.get("alpha") == 1 and row.get("seed") is None
        if not named or row.get("class") or row.get("test") is None:
            continue
        told = {"model": _after(begun, row["variant"])}
        told |= {name: row[name] for name in ("estimate", "low", "high", "p", "contrast")}
        if row["contrast"]:
            told["contrast"] = f"minus {begun}"
        if row["measure"] == "accuracy":
            told |= {"set": row["test"], "average": "micro", "protocol": "full"}
            part = row.get("set")
            told |= (
                {"measure": "class_accuracy", "class": part} if part else {"measure": "accuracy"}
            )
            yield {"study": "robustness", **told}
        elif row["measure"] in MAPS and row["test"] == next(iter(tests)):
            yield {"study": "segmentation", **told, "measure": MAPS[row["measure"]]}


def _named(
    known: Mapping[str, str],
    members: Mapping[str, Sequence[str]],
    sets: Mapping[str, str],
    row: Row,
) -> Row:
    """A row with "network", a set of names, in the place of "model" and "group"."""

    def named(name: str) -> str:
        begun, blank, done = name.partition(" ")  # what was done to it is known already
        return network(known.get(begun, begun)) + blank + done

    def those(word: str) -> frozenset[str]:
        return frozenset(map(named, members.get(word, [word])))

    told = {key: value for key, value in row.items() if key not in ("model", "group")}
    first = row.get("model") or row.get("group")
    minus = row["contrast"].removeprefix("minus ")
    if row.get("set"):
        told["set"] = sets.get(row["set"], row["set"])
    told["network"] = those(first) if first else None
    told["minus"] = those(minus) if minus != row["contrast"] else None
    return told
