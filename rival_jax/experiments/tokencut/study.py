"""Masks for photos without any (RobustViT, section 4; TokenCut, CVPR 2022).

A network and photos of one shape are a unit of work, saved when its masks are written. Masks and
photos lie in folders that the data set `masked_folder` reads.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from rival_jax.configs import options, typed
from rival_jax.configs.tokencut import Config
from rival_jax.data import any_size, segments
from rival_jax.data.any_size import Photo
from rival_jax.data.mask_folder import MaskFolder
from rival_jax.experiments.preprocessing import preprocessing
from rival_jax.experiments.runner import Bench, Unit
from rival_jax.experiments.subject import Material, source_of
from rival_jax.experiments.tokencut import page
from rival_jax.experiments.tokencut.networks import Network
from rival_jax.named import Named
from rival_jax.report.document import Document
from rival_jax.report.results import Results, Row, plain
from rival_jax.report.study import Means, Measure, Study
from rival_jax.report.tables import write_csv
from rival_jax.runtime import hosts, row_files
from rival_jax.runtime.progress import Meter
from rival_jax.runtime.results import Run, digest, read_rows

DIFFERENCES = {f"{name} difference": name for name in page.MEASURES}
# Of a photo without a row of a network.
ABSENT = {"reason": "photo too small: fewer tokens than 3", "doubt": "", "component": None}
ABSENT |= dict.fromkeys(("iou", "iou_coarse"), np.nan)


def derived(values: dict[str, Named]) -> dict[str, Named]:
    """Adds differences between networks, on the photos for which both have values."""
    if len(values["area"].of("model")) < 2:
        return values
    return values | {new: values[name].differences("model") for new, name in DIFFERENCES.items()}


def measures(means: Means) -> Iterator[Measure]:
    """Every measure, its means over the classes first, and its differences."""
    for name, one in means.items():
        yield Measure(DIFFERENCES.get(name, name), one.mean("class"))
        if name not in DIFFERENCES:
            yield Measure(name, one)


STUDY = Study(
    *("tokencut", ("model",), page.MEASURES, measures, derived),
    signed=tuple(DIFFERENCES),
    sparse=True,
    apart="each",
)


def outcomes(
    files: Sequence[Path], models: Sequence[str], photos: Sequence[Photo], classes: Sequence[str]
) -> Results:
    """A row for every network and photo, in order, also of photos with too few tokens."""
    there = {(row["model"], row["example"]): row for row in read_rows(*files).to_pylist()}
    found = []
    for model, photo in itertools.product(models, photos):
        row = there.get((model, photo.name), ABSENT)
        told = {"model": model, "example": photo.name, "label": classes[photo.label]}
        found.append({**row, **told, "position": photo.position})
    return Results(found)


def results(
    files: Sequence[Path], found: Results, classes: Sequence[str], **options: Any
) -> Results:
    """Every measure of every network, by class, and paired differences; then counts of photos.

    Means are over the photos of a class that have a value, then over classes. A skipped photo has
    no area and no IoU, and its box counts as missed. `found`: see `outcomes`; `options`: of
    `statistics.bootstrap`.
    """
    rows: list[Row] = []
    for model in found.of("model"):
        mine = found.where(model=model)
        labels = Counter(row["label"] for row in mine)
        for name, n in page.counts(mine).items():
            rows.append(plain(STUDY.name, name, n, len(mine), len(labels), model=model))
        for name, n in sorted(labels.items(), key=lambda item: classes.index(item[0])):
            rows.append(plain(STUDY.name, "photos", n, n, 1, model=model, **{"class": name}))
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
        if idle := preprocessing(self.config).keys() & {"interpolation", "crop_pct"}:
            raise ValueError(
                f"config.preprocessing.{min(idle)} would do nothing: a photo is scaled whole by "
                "config.tokencut.scale; omit it"
            )
        self.source = source_of(place, place.split)
        given, titles = (self.config, self.source, self.mesh), self.titles.get
        self.networks = [Network(*given, name, titles(name, "")) for name in self.config.models]
        self.distinct([one.model.name for one in self.networks])
        for one in self.networks:
            self.note(*one.model.notices, one.notice)
        with Meter(len(self.source), "photos", console) as meter:
            meter.say(f"reading {place.name} {place.split}")
            given = self.source, place.on_bad, c.per_class, meter
            root = Path(c.segments).expanduser()
            beside = lambda name, size: segments.read(root, name, size).digest  # noqa: E731
            found = any_size.read(*given, *([beside] if c.segments else []))
        self.photos, self.skipped, notices = found
        for name, reason in self.skipped:
            console.print(f"skipped {name}: {reason}")
        self.note(*notices)
        for one in self.networks:
            one.take(self.photos)
        if self.config.output:
            self.folders(Path(self.config.output))
        self.found, self.uses = Results([]), list[str]()  # `outcomes` and `page.uses`, at the end

    def folders(self, base: Path) -> list[MaskFolder]:
        """Of each network's masks; raises ValueError if one holds those of other photos."""
        files, found = {photo.file for photo in self.photos}, []
        for one in self.networks:
            path = any_size.plain(one.model.name), any_size.plain(self.config.data.split)
            found.append(MaskFolder(base.expanduser().joinpath(*path), self.config.tokencut.photos))
            found[-1].refuse_others(files)
        return found

    def total(self) -> int:
        """Two steps per photo: its cut, and its mask."""
        return 2 * len(self.photos) * len(self.networks)

    def facts(self) -> dict[str, Any]:
        """What data.json and the report say about the photos."""
        labels = np.array([photo.label for photo in self.photos])
        fingerprint = digest([photo.digest for photo in self.photos])
        return self.described(self.source.classes, labels, self.skipped, fingerprint)

    def costs(self) -> Iterator[tuple[str, float]]:
        """The cost of each network's cuts."""
        return (one.cost() for one in self.networks)

    def work(self, bench: Bench) -> Iterator[Unit]:
        """Units of one shape and network; at the end the console says where the masks are."""
        run = bench.run
        folders = self.folders(Path(self.config.output or run.path / "masks"))
        for one, folder in zip(self.networks, folders, strict=True):
            for unit in one.units(folder):
                path = run.unit_path(unit.name, unit.depends_on)
                if run.intact(path) and hosts.first():
                    rows = row_files.read(path, ["file", "mask"]).to_pylist()
                    if not folder.intact((row["file"], row["mask"]) for row in rows):
                        told = f"not all masks in {folder.path} are as they were written; made anew"
                        run.say(f"{path.name}: {told}")
                        path.unlink()
                yield unit
            if hosts.first():
                folder.tidy()
            bench.cards.append(one.card)
        if hosts.first():  # only it has all rows
            models = [one.model.name for one in self.networks]
            self.found = outcomes([*bench.files.values()], models, self.photos, self.source.classes)
            self.note(*page.notices(self.found))
        for folder in folders:
            self.console.print(f"masks are in {folder.path}")
        places = [folder.path for folder in folders]
        self.uses = page.uses(self.config, self.networks, places, len(self.source.classes))
        for line in self.uses:
            self.console.print(line, soft_wrap=True, markup=False, highlight=False)

    def look(self, row: Row) -> page.Shown:
        """A photo with its masks, computed again from an outcome's cut."""
        item, size = self.source[row["position"]], (row["rows"], row["columns"])
        image = np.asarray(item["image"])
        bits = np.frombuffer(row["component"], np.uint8)
        component = np.unpackbits(bits, count=size[0] * size[1]).reshape(size) > 0
        made = self.networks[0].made(row["example"], image, component, np.inf)  # as all networks do
        return image, made.coarse, made.mask, any_size.true_mask(item)

    def report(self, run: Run, files: Mapping[str, Path]) -> tuple[Results, Document]:
        """The table of results and the page about it, and skipped.csv and doubtful.csv."""
        told = options(self.config, "statistics")
        found = results(list(files.values()), self.found, self.source.classes, **told)
        lists = page.listed(self.found, self.skipped)
        for name, one in lists.items():
            write_csv(run.path / f"{name}.csv", one.header, one.rows)
        return found, page.page(self.config, found, self.found, lists, self.uses, self.look)
