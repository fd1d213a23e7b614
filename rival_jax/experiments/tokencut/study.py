"""Masks for photos without any (RobustViT, section 4; TokenCut, CVPR 2022).

A network and photos of one shape are a unit of work, saved when its masks are written. Masks and
photos lie in folders that the data set `masked_folder` reads.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from rival_jax.configs import options, typed
from rival_jax.configs.tokencut import Config
from rival_jax.data import any_size
from rival_jax.data.photos import sentences
from rival_jax.experiments.preprocessing import preprocessing
from rival_jax.experiments.runner import Bench, Unit
from rival_jax.experiments.subject import Material, source_of
from rival_jax.experiments.tokencut.masks import MEASURES, Cut, counts, cuts, make
from rival_jax.experiments.tokencut.page import Shown, listed, notices, page, uses
from rival_jax.experiments.tokencut.work import Work
from rival_jax.named import Named
from rival_jax.report.document import Document
from rival_jax.report.results import Results, Row, plain
from rival_jax.report.study import Means, Measure, Study
from rival_jax.report.tables import write_csv
from rival_jax.runtime import hosts
from rival_jax.runtime.progress import Meter
from rival_jax.runtime.results import Run, digest

DIFFERENCES = {f"{name} difference": name for name in MEASURES}


def derived(values: dict[str, Named]) -> dict[str, Named]:
    """Adds differences between networks, on the photos for which both have values."""
    if len(values["area"].of("model")) < 2:
        return values
    return values | {new: values[name].differences("model") for new, name in DIFFERENCES.items()}


def measures(means: Means) -> Iterator[Measure]:
    """Every measure, its means over the classes first, and its differences."""
    for name, one in means.items():
        yield Measure(DIFFERENCES.get(name, name), one.mean("class"))
        if name in MEASURES:
            yield Measure(name, one)


STUDY = Study(
    *("tokencut", ("model",), tuple(MEASURES), measures, derived),
    signed=tuple(DIFFERENCES),
    sparse=True,
)


def results(
    files: Sequence[Path], made: Mapping[str, Sequence[Cut]], classes: Sequence[str], **options: Any
) -> Results:
    """Every measure of every network, by class, and paired differences; then counts of photos.

    Means are over the photos of a class that have a value, then over classes. A skipped photo has
    no area and no IoU, and its box counts as missed. `made`: see `cuts`; `options`: of
    `statistics.bootstrap`.
    """
    rows: list[Row] = []
    for model, some in made.items():
        labels = Counter(sorted(cut.photo.label for cut in some))
        numbers = counts(some).items()
        rows += [plain(STUDY.name, m, n, len(some), len(labels), model=model) for m, n in numbers]
        for label, n in labels.items():
            of_class = {"model": model, "class": classes[label]}
            rows.append(plain(STUDY.name, "photos", n, n, 1, **of_class))
    return STUDY.results(STUDY.read(files, classes), **options) + Results(rows)


class Experiment(Material):
    """Networks and photos, checked."""

    counted = "steps"

    def __init__(self, config: Any, console: Console):
        super().__init__(typed(Config, config), console)
        self.subject = self  # it has everything the runner needs
        c, place = self.config.tokencut, self.config.data
        if len(c.sigmas) != 3:
            raise ValueError("config.tokencut.sigmas: three numbers, of pixels, luma and chroma")
        self.source = source_of(self.config, place.split)
        idle = preprocessing(self.config).keys() & {"interpolation", "crop_pct"}
        if idle:
            raise ValueError(
                f"config.preprocessing.{min(idle)} would do nothing: a photo is scaled whole by "
                "config.tokencut.scale; omit it"
            )
        self.works = [Work(self.config, self.source, name, self.mesh) for name in config.models]
        self.distinct([work.model.name for work in self.works])
        for work in self.works:
            self.note(*work.model.notices, work.notice)
        with Meter(len(self.source), "photos", console) as meter:
            meter.say(f"reading {place.name} {place.split}")
            found = any_size.read(self.source, place.on_bad, c.per_class, meter)
        self.photos, self.skipped = found
        for name, reason in self.skipped:
            console.print(f"skipped {name}: {reason}")
        remarks = Counter(remark for photo in self.photos for remark in photo.remarks)
        said = sentences(remarks, len(self.photos))
        self.note(*getattr(self.source, "notices", ()), *said)
        for work in self.works:
            if self.config.output:
                work.put_in(Path(self.config.output), self.photos)
            if not any(work.groups(self.photos)):
                raise ValueError(f"{work.model.name}: no photo is larger than two patches")
        self.cuts: dict[str, list[Cut]] = {}  # each network's, once all are made; on host 0

    def total(self) -> int:
        """Two steps per photo: its cut, and its mask."""
        return 2 * len(self.photos) * len(self.works)

    def facts(self) -> dict[str, Any]:
        """What data.json and the report say about the photos."""
        labels = np.array([photo.label for photo in self.photos])
        fingerprint = digest([photo.digest for photo in self.photos])
        return self.described(self.source.classes, labels, self.skipped, fingerprint)

    def costs(self) -> Iterator[tuple[str, float]]:
        """The cost of each network's cuts."""
        for work in self.works:
            groups = list(work.groups(self.photos))
            photos, shapes = sum(len(g.photos) for g in groups), {g.tokens for g in groups}
            text = f"{work.model.name}: {photos} photos of {len(shapes)} shapes in tokens"
            yield text, work.seconds(groups)

    def work(self, bench: Bench) -> Iterator[Unit]:
        """Units of one shape and network; at the end the console says where the masks are."""
        for work in self.works:
            work.put_in(Path(self.config.output or bench.run.path / "masks"), self.photos)
        for work in self.works:
            for group in work.groups(self.photos):
                work.renew(bench.run, group)
                yield Unit(group.name, group.depends_on, functools.partial(work.compute, group))
            if hosts.first():
                work.tidy()
            bench.cards.append(work.card())
        if hosts.first():  # only it has all rows
            models = [work.model.name for work in self.works]
            self.cuts = cuts(bench.files.values(), models, self.photos)
            self.note(*notices(self.cuts))
        for work in self.works:
            self.console.print(f"masks are in {work.folder}")
        for line in uses(self.config, self.works, len(self.source.classes)):
            self.console.print(line, soft_wrap=True, markup=False, highlight=False)

    def look(self, one: Cut) -> Shown:
        """A photo with its masks, computed again from the cut."""
        assert one.component is not None
        item = self.source[one.photo.position]
        image, label = np.asarray(item["image"]), self.source.classes[one.photo.label]
        made = make(image, one.component, np.inf, self.config.tokencut)
        return label, image, made.coarse, made.mask, any_size.true_mask(item)

    def report(self, run: Run, files: Mapping[str, Path]) -> tuple[Results, Document]:
        """The table of results and the page about it, and skipped.csv and doubtful.csv."""
        classes, told = self.source.classes, options(self.config, "statistics")
        found = results(list(files.values()), self.cuts, classes, **told)
        lists = listed(self.cuts, self.skipped)
        for name, one in lists.items():
            write_csv(run.path / f"{name}.csv", one.header, one.rows)
        commands = uses(self.config, self.works, len(classes))
        return found, page(self.config, found, self.cuts, lists, commands, self.look)
