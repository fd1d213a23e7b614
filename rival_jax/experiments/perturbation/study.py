"""Photos perturbed in the order of networks' maps (RobustViT, appendix N; RISE).

Networks x maps x methods: a network scored by its own maps, in a random order, and, before and
after a cure, by the other's maps; each is a unit of work, with all tests at all shares.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from rich.console import Console

from rival_jax import noise, perturbation
from rival_jax.configs import options, typed
from rival_jax.configs.perturbation import Config
from rival_jax.configs.perturbation import Perturbation as Block
from rival_jax.experiments.cures import Pair, Pairs, crossed_between
from rival_jax.experiments.explained import RANDOM, Explaining, explained, nameless
from rival_jax.experiments.perturbation.page import page
from rival_jax.experiments.rows import setting_rows
from rival_jax.experiments.runner import Pass, Unit
from rival_jax.experiments.subject import Loaded
from rival_jax.named import Named, stacked
from rival_jax.report.document import Document
from rival_jax.report.results import Results
from rival_jax.report.study import Means, Measure, Study, compared
from rival_jax.runtime import parallel
from rival_jax.runtime.results import Run
from rival_jax.types import Array, Batch, Model, Variables

ROWS_VERSION = 1  # part of every unit's hash: raise it when the same inputs give other rows
OWN = "own"  # whose maps: the network's; or `RANDOM`
SETTING = ("test", "fill", "share")
PHOTO = ("none", "black", 0.0)  # unchanged; the first, where `clean.check` finds it
# What curves are of, and of which tests.
BY = {"accuracy": ("positive", "negative"), "explained_probability": ("deletion", "insertion")}


@dataclasses.dataclass(frozen=True)
class Plan:
    """How maps are made, and pixels filled in."""

    method: str  # or `RANDOM`
    target: str
    scaling: str
    blur: float  # sigma as a share of the height
    settings: tuple[perturbation.Setting, ...]  # the photo's first


def measure(
    plan: Plan, models: tuple[Model, Model], variables: Variables, batch: Batch, key: Array
) -> dict[str, Array]:
    """`perturbation.scores` of the second network, by the first one's maps or in a random order."""
    image, mask, label = (jnp.asarray(batch[name]) for name in ("image", "mask", "label"))
    seen = explained(plan, models[0], variables["maps"], batch, key)
    how = {"mean": models[1].mean, "sigma": plan.blur * image.shape[1], "mask": mask}
    given = models[1].forward, variables["scored"], image, label, jnp.nan_to_num(seen.maps)
    return perturbation.scores(*given, plan.settings, explained=seen.target, **how)


def derived(columns: dict[str, Named]) -> dict[str, Named]:
    """Without the object's share where nothing is taken away."""
    inside = columns.pop("inside")
    some = {"inside": inside.where(test="positive")} if "positive" in inside.of("test") else {}
    return {"accuracy": columns.pop("correct"), **columns, **some}


def measures(means: Means, pairs: Pairs, crossed: Pairs, c: Block) -> Iterator[Measure]:
    """Curves; areas under them, against a random order, and what cures change of them."""
    level = {name: one.mean("class", by="images") for name, one in means.items()}
    if "inside" in level:
        yield from compared("inside", level["inside"].where(fill=c.fills[0]).at(map=OWN), pairs)
    for name, tests in BY.items():
        yield Measure(name, level[name].where(test=["none", *tests]))
        if some := [key for key in curves_of(c) if key[0] in tests]:
            yield from areas(f"{name}_area", areas_of(level[name], some, c.area), pairs, crossed)


def areas_of(level: Named, keys: Sequence[tuple[str, str]], rule: Any) -> Named:
    """The areas under the curves of some tests and fills."""
    photo, found = level.at(**dict(zip(SETTING, PHOTO, strict=True))), {}
    for test, fill in keys:
        one = level.where(test=test, fill=fill).at(test=test, fill=fill)
        how = functools.partial(perturbation.curve_area, test, one.of("share"), rule)
        found[test, fill] = photo.map(how, *(one.at(share=share) for share in one.of("share")))
    return stacked(("test", "fill"), found)


def areas(name: str, area: Named, pairs: Pairs, crossed: Pairs) -> Iterator[Measure]:
    """Levels; pairs; own maps minus a random order; each network of a pair by the other's maps."""
    yield Measure(name, area)
    own = area.at(map=OWN)
    yield from list(compared(name, own, pairs))[1:]
    for model in own.of("model"):
        chance = area.at(model=model, map=RANDOM, method=RANDOM)
        yield Measure(name, own.where(model=model) - chance, "minus random order")
    yield from crossed_between(name, area, crossed)


def curves_of(c: Block) -> dict[tuple[str, str], tuple[float, ...]]:
    """The shares of every test and fill."""
    own = {"steps": c.steps, "deletion": c.deletion, "insertion": c.insertion}
    return perturbation.curves(c.tests, c.fills, c.shares, **own)


STUDY = Study(
    "perturbation",
    axes=(("model", "map", "method"), SETTING),
    columns=("correct", "explained_probability", "inside"),
    measures=measures,
    derived=derived,
    apart="images",
    alone=lambda config: ([], [], config.perturbation),
)


class Experiment(Explaining):
    """Networks, and the methods that each allows, checked."""

    def __init__(self, config: Any, console: Console):
        config = typed(Config, config)
        c, e = config.perturbation, config.saliency
        every = (PHOTO, *((*key, q) for key, shares in curves_of(c).items() for q in shares))
        self.way = lambda method: Plan(method, e.target, e.scaling, c.blur, every)
        make = lambda loaded, plan: (_fn(plan, loaded, loaded), (noise.key(0),))  # noqa: E731
        super().__init__(config, console, self.way, make, _both)
        self.both, self.loaded = self._crossed(), dict[str, Loaded]()  # of these pairs
        names = [*self.ways, *(name for pair in self.both for name in pair)]
        units = len(self.ways) + sum(len(self.ways[name]) for name in names)
        self.total = lambda: units * len(self.subject.first_examples())

    def _crossed(self) -> list[Pair]:
        """The pairs whose networks see the same pixels and allow the same methods; notes others."""
        networks, found = {model.name: model for model in self.subject.models}, []
        for pair in self.pairs:
            sizes = {self.subject.geometry(networks[name]) for name in pair}
            if len(sizes) == 1 and self.ways[pair[0]] == self.ways[pair[1]]:
                found.append(pair)
            else:
                told = "have no maps for each other: sizes of their photos, or methods, differ"
                self.subject.note(f"{' and '.join(pair)} {told}")
        return found

    def units(self, loaded: Loaded, plan: Mapping[str, Any], head: str) -> Iterator[Unit]:
        """The units of one network: own maps, a random order, and with networks before it."""
        name = loaded.model.name
        ways, self.loaded[name] = self.ways[name], loaded
        orders = [*((OWN, way, name, name) for way in ways), (RANDOM, self.way(RANDOM), name, name)]
        for pair in self.both:
            both = (pair, pair[::-1]) if pair[1] == name else ()
            orders += [(maps, way, maps, model) for maps, model in both for way in ways]
        for by, way, maps, model in orders:
            if by == OWN:
                self.show(loaded, way, left)
            clean = name if (by, way) == (OWN, ways[0]) else ""
            given = plan["images"], head, by, way, self.loaded[maps], self.loaded[model]
            yield self._unit(*given, clean)

    def _unit(
        self, size: int, head: str, by: str, way: Plan, maps: Loaded, loaded: Loaded, clean: str
    ) -> Unit:
        """The rows of a network in the order of another's `maps`, or its own."""
        c, examples = self.config, self.subject.examples(loaded.geometry)
        depends_on = {"version": ROWS_VERSION, "maps": maps.digest, "model": loaded.digest}
        depends_on |= {"dtype": c.dtype, "data": examples.fingerprint, "head": head, "by": by}
        depends_on |= {"seed": c.seed if by == RANDOM else None, **dataclasses.asdict(way)}
        values = zip(*way.settings, strict=True)
        settings: dict[str, Any] = dict(zip(SETTING, values, strict=True))
        words = {"map": by, "method": way.method}
        columns = functools.partial(setting_rows, self.subject, loaded, words, settings)
        weights = functools.partial(_both, maps.variables, loaded.variables)
        given = self.subject, loaded, size, _fn(way, maps, loaded), (noise.key(c.seed),), columns
        name = f"{loaded.model.name}/{by}_{way.method}"
        return Unit(name, depends_on, Pass(*given, weights=weights), clean=clean)

    def report(self, run: Run, files: Mapping[str, Path]) -> tuple[Results, Document]:
        """The table of results and the page about it."""
        found = STUDY.read(list(files.values()), self.subject.first_examples().classes)
        given = self.pairs, self.both, self.config.perturbation
        results = STUDY.results(found, *given, **options(self.config, "statistics"))
        return results, page(self.config, results, self.sheet)


def left(name: str, photo: np.ndarray, found: Array) -> dict[str, np.ndarray]:
    """What is left of a photo without the highest 30 % of a map."""
    gone = perturbation.highest(found, perturbation.descending(found), int(0.3 * found.size))
    return {f"{name}, 30 % gone": np.where(gone[..., None], np.uint8(0), photo)}


def _fn(plan: Plan, maps: Loaded, scored: Loaded) -> parallel.Bound:
    return parallel.Bound(measure, (plan, (nameless(maps.model), nameless(scored.model))))


def _both(maps: Variables, scored: Variables | None = None) -> Variables:
    return {"maps": maps, "scored": scored or maps}
