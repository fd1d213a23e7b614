"""From photos to a cured network and its card: finetuned, then measured before and after.

Each stage is a run of its own below the work directory, with its page, and continues by itself. The
network of the first variant and seed is written for others to use, with a card of all numbers.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from rival_jax import models
from rival_jax.configs import config_dict, typed
from rival_jax.configs.study import Config
from rival_jax.experiments import runner
from rival_jax.interop import timm
from rival_jax.report.document import Document, Section, write_document
from rival_jax.report.results import Results, Row
from rival_jax.report.tables import Table, counted, percent, ratio
from rival_jax.report.words import Words
from rival_jax.runtime import hosts
from rival_jax.runtime.plugins import plugin
from rival_jax.runtime.results import Run, parsed

WORDS = Words(__package__)
RATIOS = ("rfs", "nll", "brier")  # all else is a share
PHOTOS = ("name", "root", "split", "on_bad", "held_gib", "resize", "scenes", "rival10")
FINETUNE, CARD = "finetune", "model"
ENDS = ("estimate", "low", "high", "p", "images", "classes", "contrast")


def run(config: Any, run: Run, console: Console) -> None:
    """All stages, the network's folder with its card, the table of results and the page."""
    config = typed(Config, config)
    _check(config, console)
    _stage(run, FINETUNE, config.finetune, console)
    card = _cured(run, config.finetune.evaluate.checkpoint)
    networks = (config.finetune.models[0], card["folder"])
    for stage in config.stages:
        _stage(run, stage, _after(config, stage, networks), console)
    if hosts.first():
        changes = {name: _changes(run, name, card) for name in (FINETUNE, *config.stages)}
        results = Results(row for name in changes for row in Results.read(run.path / name))
        results.write(run.path)
        folder = run.path / CARD
        _write_card(config, folder, card, changes)
        for name in ("data.json", "models.json"):
            run.save_json(name, parsed(run.path / FINETUNE / name))
        write_document(run, console, _page(config, changes, folder))


def dry_run(config: Any, console: Console) -> None:
    """Prints what each stage would cost; those after the first, for the original alone."""
    config = typed(Config, config)
    for stage, made in _stages(config):
        console.print(f"{stage}:")
        runner.dry_run(plugin("experiments", stage).Experiment(made, console), console)


def _stages(config: Config) -> list[tuple[str, Any]]:
    """The stages' configs as far as they are known before the first: of the original alone."""
    later = [(stage, _after(config, stage, config.finetune.models)) for stage in config.stages]
    return [(FINETUNE, config.finetune), *later]


def _check(config: Config, console: Console) -> None:
    """Makes every stage's experiment, which finds what is wrong before the training.

    Raises ValueError also for several seeds: finetune's numbers are means over them, and the other
    stages' are of one network.
    """
    if len(config.finetune.seeds) > 1:
        seeds = ", ".join(map(str, config.finetune.seeds))
        raise ValueError(
            f"config.finetune.seeds has {seeds}, and a study is of one network: name one seed"
        )
    quiet = Console(quiet=True)
    for stage, made in _stages(config)[1:]:
        console.print(f"checking {stage}")
        plugin("experiments", stage).Experiment(made, quiet)


def _after(config: Config, stage: str, networks: tuple[str, ...]) -> Any:
    """A stage's config for some networks, with the data of finetune's first test set."""
    made = dataclasses.replace(getattr(config, stage), models=networks)
    if stage == "robustness":
        return made
    given, tuned = made.data, config.finetune.data
    told = {name: getattr(tuned, name) for name in PHOTOS}
    for name in ("masked_folder", "tfds"):  # how unlabelled pixels count is the stage's
        void = getattr(given, name).void
        told[name] = dataclasses.replace(getattr(tuned, name), void=void)
    data = dataclasses.replace(given, **told)
    return dataclasses.replace(made, data=data, head=config.finetune.head)


def _stage(run: Run, name: str, config: Any, console: Console) -> None:
    """A stage in a folder of its own; nothing is computed twice."""
    console.print(f"{name}:")
    told = config_dict(config).to_dict()
    part = Run(run.path / name, told, extend=True, say=lambda text: console.print(text))
    part.log("start", argv=["--config", name])
    runner.run(plugin("experiments", name).Experiment(config, console), part, console)
    part.finish()
    part.close()


def _cured(run: Run, checkpoint: str) -> dict[str, Any]:
    """The entry in networks.json of the network that all stages measure, with its "folder"."""
    cards = parsed(run.path / FINETUNE / "networks.json")
    card = next(card for card in cards[1:] if card["alpha"] == 1)  # the first is the original
    return {**card, "folder": card[checkpoint]}


def _changes(run: Run, stage: str, card: Mapping[str, Any]) -> list[tuple[Row, Row, Row]]:
    """Each number of a stage before and after, and their difference; no classes, no curves."""
    before, after, column = "original", card["variant"], "variant"
    if stage != FINETUNE:
        column, after = "model", Path(card["folder"]).name
        before = parsed(run.path / stage / "models.json")[0]["name"]
    whole = {"class": None, "factor": None, "seed": None, "share": None, "map": (None, "own")}
    found = Results.read(run.path / stage).where(**whole)
    axes = [name for name in found.axes() if name not in (column, "map")]
    key = lambda row: (row["measure"], *(row.get(axis) for axis in axes))  # noqa: E731
    level = {
        name: {key(row): row for row in found.where(**{column: name}, contrast="")}
        for name in (before, after)
    }
    gains = found.where(**{column: after}, contrast=f"minus {before}")
    told = [row for row in gains if row.get("average") in (None, "micro")]
    told = [row for row in told if not str(row.get("protocol")).endswith("_5")]
    both = [row for row in told if all(key(row) in known for known in level.values())]
    return [(level[before][key(row)], level[after][key(row)], row) for row in both]


def _table(stage: str, changes: Sequence[tuple[Row, Row, Row]]) -> Table:
    lines = [(_of(rows[-1]), *map(_cell, rows)) for rows in changes]
    return Table(stage, ("number, percent", "before", "after", "change"), lines)


def _cell(row: Row) -> str:
    return (ratio if row["measure"] in RATIOS else percent)(row)


def _of(row: Row) -> str:
    """What a number is of: its measure and the values of its axes."""
    skipped = ("study", "model", "variant", "alpha", *ENDS)
    return ", ".join(
        str(value) for name, value in row.items() if name not in skipped and value is not None
    )


def _write_card(
    config: Config,
    folder: Path,
    card: Mapping[str, Any],
    changes: Mapping[str, Sequence[tuple[Row, Row, Row]]],
) -> None:
    """The finetuned network as a folder that we and, where it knows the network, timm load."""
    model, variables = models.load(card["folder"])
    train = config.finetune.train
    made = WORDS.text(
        "made", original=config.finetune.models[0], variant=card["variant"], **vars(train)
    )
    told: dict[str, Any] = {"What was done": made}
    for stage, rows in changes.items():
        told[WORDS.text(stage)] = {
            _of(gain): f"{_cell(before)} -> {_cell(after)} ({_cell(gain)})"
            for before, after, gain in rows
        }
    told["Limits"] = " ".join(f"{claim} {why}" for claim, why in WORDS.caveats())
    timm.save_with_card(folder, model, variables, told)


def _page(
    config: Config, changes: Mapping[str, Sequence[tuple[Row, Row, Row]]], folder: Path
) -> Document:
    tables = {name: _table(WORDS.text(name), rows) for name, rows in changes.items()}
    return Document(
        title=WORDS.text("title"),
        subtitle=f"{config.finetune.models[0]}, {counted(len(changes), 'stage')}",
        headline=[WORDS.text("headline", folder=folder)],
        sections=[
            Section(name.title(), [WORDS.text("page", stage=name)], (), [table])
            for name, table in tables.items()
        ],
        method=WORDS.texts("method"),
        caveats=WORDS.caveats(),
        source=WORDS.text("source"),
    )
