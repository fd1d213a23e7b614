"""Backgrounds or objects taken away (RIVAL10 study, section 5.3 and figure 8).

Models x heads x treatments x regions; one treatment of one region for one head is a unit of work.
Heads are fitted on unchanged photos and on photos with a grey background.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from rich.console import Console

from rival_jax import noise
from rival_jax.changes import Treatment, places, treated, treated_answers
from rival_jax.configs import options, typed
from rival_jax.configs.background import Config
from rival_jax.configs.groups import groups, with_singles
from rival_jax.data import Examples
from rival_jax.data.donors import lent_pixels, partners, with_others
from rival_jax.experiments.background.page import page
from rival_jax.experiments.rows import tidy
from rival_jax.experiments.runner import Pass, Unit
from rival_jax.experiments.subject import Loaded, Subject
from rival_jax.report.document import Document
from rival_jax.report.grids import Shown, pictures
from rival_jax.report.results import Results
from rival_jax.report.study import Means, Measure, Study
from rival_jax.runtime import parallel
from rival_jax.runtime.results import Run

ROWS_VERSION = 2  # part of every unit's hash: raise it when the same inputs give other rows
SHOWN = 6  # images on the sheet of all treatments
_treated = jax.jit(treated, static_argnums=0)


def measures(means: Means, members: Mapping[str, Sequence[str]]) -> Iterator[Measure]:
    """Accuracy and probability, their drops from unchanged photos, and differences."""
    for name, column in (("accuracy", "correct"), ("probability", "probability")):
        level = means[column].mean("class")
        for one in (level, *([level.grouped("model", members)] if members else [])):
            drop = one.at(treatment="none", region="none") - one.without(treatment="none")
            yield Measure(name, one)
            yield Measure(f"{name}_drop", drop)
        drop = level.at(treatment="none", region="none") - level.without(treatment="none")
        yield Measure(f"{name}_drop", drop.differences("model"))
        yield Measure(name, level.differences("head"))
        if len(drop.of("region")) == 2:
            costs = [drop.at(region=region) for region in ("foreground", "background")]
            yield Measure(f"{name}_drop", costs[0] - costs[1], "foreground minus background")


STUDY = Study(
    "background",
    axes=("model", "head", ("treatment", "region")),
    columns=("correct", "probability"),
    measures=measures,
    apart="each",
    alone=lambda config: ({},),
)


def sheet(
    how: Treatment,
    seed: int,
    examples: Examples,
    settings: Sequence[tuple[str, str]],
    others: np.ndarray,
) -> Shown:
    """One image of each class, at most `SHOWN`, under every setting; the first setting is none."""
    rows = np.sort(np.unique(examples.labels, return_index=True)[1])[:SHOWN]
    pixels = *lent_pixels(examples, rows), *lent_pixels(examples, others[rows])
    names = "image", "mask", "other_image", "other_mask"
    batch = dict(zip(names, pixels, strict=True)) | {"noise_id": examples.noise_ids[rows]}
    changes = {}
    for treatment, region in settings:
        name = "photo" if treatment == "none" else f"{region}: {treatment}"
        changes[name] = noise.key(seed), *places(treatment, region)
    seen = pictures(functools.partial(_treated, how, batch), changes)
    classes = [examples.classes[examples.labels[row]] for row in rows]
    return list(zip(classes, (examples.names[row] for row in rows), seen, strict=True))


class Experiment:
    """Networks, heads and treatments, checked."""

    def __init__(self, config: Any, console: Console):
        config = typed(Config, config)
        self.config, self.subject = config, Subject(config, console)
        classes = np.unique(self.subject.first_examples().labels)
        if "swap" in config.ablation.treatments and len(classes) < 2:
            raise ValueError(
                "treatment 'swap' takes pixels of another class, and the data have one class only; "
                "pass --config.ablation.treatments without it"
            )
        self.members = with_singles([m.name for m in self.subject.models], groups(config.groups))

    @property
    def how(self) -> Treatment:
        """How regions are treated; which and by what are arguments of one compiled program."""
        c = self.config.ablation
        return Treatment(c.grey, c.blur, c.patches, self.config.data.mask == "binary")

    @property
    def settings(self) -> list[tuple[str, str]]:
        """(treatment, region) of every unit of a network and head."""
        c = self.config.ablation
        return [("none", "none"), *((t, r) for t in c.treatments for r in c.regions)]

    def heads(self) -> dict[str, dict[str, str]]:
        """Names of the heads, and the values of config.probe that each is fitted with."""
        if self.config.head != "probe":
            return {self.config.head: {}}
        names = {"all": "normal", "foreground": "grey"}
        return {names[region]: {"region": region} for region in self.config.probe.regions}

    def forwards(self) -> int:
        """Forward passes per image and network."""
        return len(self.settings) * len(self.heads())

    def units(self, loaded: Loaded, plan: Mapping[str, Any], head: str) -> Iterator[Unit]:
        """The units of one network and head, unchanged photos first."""
        config, name, size = self.config, loaded.model.name, plan["images"]
        examples = self.subject.examples(loaded.geometry)
        fn = parallel.Bound(treated_answers, (loaded.model.forward, self.how))
        several = f"{name} ({head} head)" if len(self.heads()) > 1 else name
        for treatment, region in self.settings:
            words = {"head": head, "treatment": treatment, "region": region}
            known = self._settled(treatment) | words
            args = noise.key(config.seed), *map(np.int32, places(treatment, region))
            others = self._others(examples) if treatment == "swap" else None
            batches = functools.partial(with_others, examples, size, others)
            columns = functools.partial(tidy, self.subject, loaded, words)
            rows = Pass(self.subject, loaded, size, fn, args, columns, batches=batches)
            known = self.subject.identity(loaded, ROWS_VERSION, **known)
            clean = several if treatment == "none" else ""
            yield Unit(f"{name}/{head}_{treatment}_{region}", known, rows, plan["flops"], clean)

    def _settled(self, treatment: str) -> dict[str, Any]:
        """What determines a treatment's pixels."""
        settled: dict[str, Any] = {} if treatment == "none" else {"mask": self.config.data.mask}
        if used := {"grey": "grey", "blur": "blur", "shuffle": "patches"}.get(treatment):
            settled[used] = getattr(self.config.ablation, used)
        return settled | ({"seed": self.config.seed} if treatment in ("shuffle", "swap") else {})

    def _others(self, examples: Examples) -> np.ndarray:
        """The donor of each image, from another class [n]."""
        return partners(examples, np.arange(len(examples)), f"{self.config.seed} background")

    def report(self, run: Run, files: Mapping[str, Path]) -> tuple[Results, Document]:
        """The table of results and the page about it."""
        examples = self.subject.first_examples()
        found = STUDY.read(list(files.values()), examples.classes)
        results = STUDY.results(found, self.members, **options(self.config, "statistics"))
        known = self.how, self.config.seed, examples, self.settings, self._others(examples)
        return results, page(self.config, results, functools.partial(sheet, *known))
