"""Masks for photos without any (RobustViT, section 4; TokenCut, CVPR 2022).

Networks x photos of one shape: a unit of work, saved when its masks are written. The masks lie in
folders that the data set `masked_folder` reads, with the photos.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from rival_jax.configs import options, typed
from rival_jax.configs.tokencut import Config
from rival_jax.data.photos import sentences
from rival_jax.experiments.preprocessing import preprocessing
from rival_jax.experiments.runner import Bench, Unit
from rival_jax.experiments.subject import source_of
from rival_jax.experiments.tokencut.figures import Shown
from rival_jax.experiments.tokencut.masks import make, pixels
from rival_jax.experiments.tokencut.page import listed, page, use, write_lists
from rival_jax.experiments.tokencut.photos import read, true_mask
from rival_jax.experiments.tokencut.ratings import Cut, cuts, notices, results
from rival_jax.experiments.tokencut.work import Work
from rival_jax.report.document import Document
from rival_jax.report.results import Results
from rival_jax.runtime import hosts, parallel
from rival_jax.runtime.progress import Meter
from rival_jax.runtime.results import Run, digest


class Material:
    """Networks and photos, checked; nothing is computed."""

    def __init__(self, config: Config, console: Console):
        c = config.data
        self.config, self.console, self.mesh = config, console, parallel.data_mesh()
        self.notices: list[str] = []
        self.source = source_of(config, c.split)
        idle = preprocessing(config).keys() & {"interpolation", "crop_pct"}
        if idle:
            raise ValueError(
                f"config.preprocessing.{min(idle)} would do nothing: a photo is scaled whole by "
                "config.tokencut.scale; omit it"
            )
        self.works = [Work(config, self.source, name, self.mesh) for name in config.models]
        names = [work.model.name for work in self.works]
        if len(set(names)) < len(names):
            raise ValueError(f"two of config.models have one name: {names}")
        for work in self.works:
            for notice in (*work.model.notices, work.notice):
                self.note(notice)
        with Meter(len(self.source), "photos", console) as meter:
            meter.say(f"reading {c.name} {c.split}")
            found = read(self.source, c.on_bad, int(config.tokencut.per_class), meter)
        self.photos, self.skipped = found
        for name, reason in self.skipped:
            console.print(f"skipped {name}: {reason}")
        counts = Counter(remark for photo in self.photos for remark in photo.remarks)
        said = sentences(counts, len(self.photos))
        for notice in (*getattr(self.source, "notices", ()), *said):
            self.note(notice)
        for work in self.works:
            if config.output:
                work.put_in(Path(config.output).expanduser(), self.photos)
            if not any(work.groups(self.photos)):
                raise ValueError(f"{work.model.name}: no photo is larger than two patches")

    def note(self, text: str) -> None:
        """As `Subject.note`: on the console and at the top of the page, once."""
        if text and text not in self.notices:
            self.notices.append(text)
            self.console.print(f"note: {text}", markup=False)

    def facts(self) -> dict[str, Any]:
        """What data.json and the report say of the photos."""
        labels, c = np.array([photo.label for photo in self.photos]), self.config.data
        return {
            "name": c.name,
            "root": str(c.root),
            "split": c.split,
            "classes": list(self.source.classes),
            "counts": [int((labels == i).sum()) for i in range(len(self.source.classes))],
            "images": len(self.photos),
            "skipped": [list(item) for item in self.skipped],
            "fingerprint": digest([photo.digest for photo in self.photos]),
            "notices": list(self.notices),
        }

    def look(self, one: Cut) -> Shown:
        """A photo with its masks, made again from the cut."""
        assert one.component is not None
        item = self.source[one.photo.position]
        image = np.asarray(item["image"])
        made = make(image, one.component, np.inf, self.config.tokencut)
        coarse, truth = pixels(one.component, image.shape[:2]), true_mask(item)
        label = self.source.classes[one.photo.label]
        return Shown(label, image, coarse, made.mask, truth)


class Experiment:
    """Networks and photos, checked."""

    counted = "steps"

    def __init__(self, config: Any, console: Console):
        config = typed(Config, config)
        if len(config.tokencut.sigmas) != 3:
            raise ValueError("config.tokencut.sigmas: three numbers, of pixels, luma and chroma")
        self.config, self.console = config, console
        self.subject = Material(config, console)
        self.cuts: dict[str, list[Cut]] = {}  # of every network, once all are made; on host 0

    def total(self) -> int:
        """Two steps of each photo: its cut, and its mask."""
        return 2 * len(self.subject.photos) * len(self.subject.works)

    def costs(self) -> Iterator[tuple[str, float]]:
        """What each network's cuts would cost."""
        for work in self.subject.works:
            groups = list(work.groups(self.subject.photos))
            photos, shapes = sum(len(g.photos) for g in groups), {g.tokens for g in groups}
            text = f"{work.model.name}: {photos} photos of {len(shapes)} shapes in tokens"
            yield text, work.seconds(groups)

    def work(self, bench: Bench) -> Iterator[Unit]:
        """Photos of one shape and network; in the end it is said where their masks are."""
        material, output = self.subject, self.config.output
        base = Path(output).expanduser() if output else bench.run.path / "masks"
        for work in material.works:
            work.put_in(base, material.photos)
        for work in material.works:
            for group in work.groups(material.photos):
                work.renew(bench.run, group)
                yield Unit(group.name, group.depends_on, functools.partial(work.compute, group))
            if hosts.first():
                work.tidy()
            bench.cards.append(work.card())
        if hosts.first():  # which alone has all rows
            models = [work.model.name for work in material.works]
            self.cuts = cuts(bench.files.values(), models, material.photos)
            for notice in notices(self.cuts):
                material.note(notice)
        for work in material.works:
            self.console.print(f"masks are in {work.folder}")
        for line in use(self.config, material.works, len(material.source.classes)):
            self.console.print(line, soft_wrap=True, markup=False, highlight=False)

    def report(self, run: Run, files: Mapping[str, Path]) -> tuple[Results, Document]:
        """The table of results and the page about it, and skipped.csv and doubtful.csv."""
        material, classes = self.subject, self.subject.source.classes
        told = options(self.config, "statistics")
        found = results(list(files.values()), self.cuts, classes, **told)
        lists = listed(self.cuts, material.skipped)
        write_lists(run.path, lists)
        uses = use(self.config, material.works, len(classes))
        return found, page(self.config, found, self.cuts, lists, uses, material.look)
