"""Maps as segmentations of the object, before and after a cure (RobustViT, table 3).

Networks x methods; the map of one network by one method is a unit of work. Its rows have every
photo cut by every rule, and at the levels of the curve of precision and recall.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from rich.console import Console

from rival_jax import segmentation
from rival_jax.configs import options, typed
from rival_jax.configs.segmentation import Config, Segmentation
from rival_jax.experiments.cures import Pairs
from rival_jax.experiments.explained import Explaining, explained, nameless
from rival_jax.experiments.rows import setting_rows
from rival_jax.experiments.runner import Pass, Unit
from rival_jax.experiments.segmentation.page import page
from rival_jax.experiments.subject import Loaded
from rival_jax.metrics import answers
from rival_jax.named import Named, stacked
from rival_jax.report.document import Document
from rival_jax.report.grids import heated, outlined, thumb
from rival_jax.report.results import Results
from rival_jax.report.study import Means, Measure, Study, compared
from rival_jax.runtime import parallel
from rival_jax.runtime.results import Columns, Run
from rival_jax.types import Array, Batch, Model, Variables

ROWS_VERSION = 1  # part of every unit's hash: raise it when the same inputs give other rows
POOLED = ("hit", "marked", "object", "labelled")  # shares of all pixels


@dataclasses.dataclass(frozen=True)
class Plan:
    """How maps are made and cut."""

    method: str
    target: str
    scaling: str
    rules: tuple[str, ...]
    levels: tuple[float, ...]
    flat_is_nan: bool


def measure(plan: Plan, model: Model, variables: Variables, batch: Batch) -> dict[str, Array]:
    """What pixel metrics are made of, see `segmentation.parts`; and the `answers`."""
    seen, mask = explained(plan, model, variables, batch), jnp.asarray(batch["mask"])
    how = {"rules": plan.rules, "levels": plan.levels, "flat_is_nan": plan.flat_is_nan}
    return segmentation.parts(seen.maps, mask, **how) | answers(seen.logits, batch["label"])


def derived(columns: dict[str, Named]) -> dict[str, Named]:
    """Without copies of what does not depend on the cut, and with each photo's own mIoU."""
    rule, level = columns["hit"].axes[2].keys[0]
    cut = {name: columns[name] for name in POOLED[:2]}
    rest = {n: one.at(rule=rule, level=level) for n, one in columns.items() if n not in cut}
    own = [one.where(level=0.0) for one in cut.values()] + [rest[name] for name in POOLED[2:]]
    alone = own[0].map(lambda *s: np.asarray(segmentation.mean_iou(*map(jnp.asarray, s))), *own[1:])
    return {**cut, **rest, "miou_by_photo": alone}


def measures(means: Means, pairs: Pairs, c: Segmentation) -> Iterator[Measure]:
    """The metrics by rule, and what cures change of them; precision and recall by level."""
    by_photo = {name: one.mean("class", by="images") for name, one in means.items()}

    def shares(found: Mapping[str, Named], **where: Any) -> list[Named]:
        cut = [found[name].at(**where) for name in POOLED[:2]]
        return cut + [found[name] for name in POOLED[2:]]

    def by_rule(of: Any) -> Named:
        return stacked("rule", {rule: of({"rule": rule, "level": 0.0}) for rule in c.rules})

    def pooled(function: Any, found: Mapping[str, Named]) -> Named:
        return by_rule(lambda at: (parts := shares(found, **at))[0].map(function, *parts[1:]))

    told = {
        "pixel_accuracy": lambda: pooled(segmentation.pixel_accuracy, by_photo),
        "miou": lambda: pooled(segmentation.mean_iou, by_photo),
        "miou_by_class": lambda: pooled(segmentation.mean_iou, means).mean("class"),
        "miou_by_photo": lambda: by_rule(lambda at: by_photo["miou_by_photo"].at(**at)),
    }
    for name in c.metrics:
        yield from compared(name, told[name]() if name in told else by_photo[name], pairs)
    yield Measure("flat", by_photo["flat"])
    hit, marked, target, _ = shares(by_photo, rule="level")
    yield Measure("precision", hit.map(segmentation.precision, marked))
    yield Measure("recall", hit.map(segmentation.precision, target))


STUDY = Study(
    "segmentation",
    axes=(("model", "method"), ("rule", "level")),
    columns=(*POOLED, "map", "map_class_wise", "flat"),
    measures=measures,
    derived=derived,
    alone=lambda config: ([], config.segmentation),
)


class Experiment(Explaining):
    """Networks, and the methods that each allows, checked."""

    def __init__(self, config: Any, console: Console):
        config = typed(Config, config)
        c, e, flat = config.segmentation, config.saliency, config.segmentation.flat == "nan"
        levels = tuple(float(level) for level in np.linspace(0, 1, c.levels + 1)[:-1])
        way = lambda method: Plan(method, e.target, e.scaling, c.rules, levels, flat)  # noqa: E731
        super().__init__(config, console, way, lambda loaded, plan: (_fn(loaded, plan), ()))

    def units(self, loaded: Loaded, plan: Mapping[str, Any], head: str) -> Iterator[Unit]:
        """The units of one network, one per method."""
        name, classes = loaded.model.name, self.subject.first_examples().classes
        base = self.subject.identity(loaded, ROWS_VERSION, head=head)
        for number, one in enumerate(self.ways[name]):
            columns = functools.partial(self._columns, loaded, one)
            self.show(loaded, one, functools.partial(marked, one.rules[0]))
            clean = name if not number and len(classes) > 1 else ""
            rows = Pass(self.subject, loaded, plan["images"], _fn(loaded, one), (), columns)
            yield Unit(f"{name}/{one.method}", base | dataclasses.asdict(one), rows, clean=clean)

    def _columns(self, loaded: Loaded, plan: Plan, found: parallel.Rows) -> Columns:
        settings: dict[str, Any] = {"rule": [*plan.rules, *["level"] * len(plan.levels)]}
        settings["level"] = [*[0.0] * len(plan.rules), *plan.levels]
        return setting_rows(self.subject, loaded, {"method": plan.method}, settings, found)

    def report(self, run: Run, files: Mapping[str, Path]) -> tuple[Results, Document]:
        """The table of results and the page about it."""
        found = STUDY.read(list(files.values()), self.subject.first_examples().classes)
        told = options(self.config, "statistics")
        results = STUDY.results(found, self.pairs, self.config.segmentation, **told)
        return results, page(self.config, results, self.sheet)


def marked(rule: str, name: str, photo: np.ndarray, found: Array) -> dict[str, np.ndarray]:
    """A map on its photo, with the rim of what a rule marks."""
    inside = np.asarray(found > segmentation.RULES[rule](found))
    return {name: outlined(thumb(heated(photo, np.asarray(found))), thumb(inside))}


def _fn(loaded: Loaded, plan: Plan) -> parallel.Bound:
    return parallel.Bound(measure, (plan, nameless(loaded.model)))
