"""Masks for photos without any (RobustViT, section 4; TokenCut, CVPR 2022).

Networks x photos of one shape: a unit of work, saved when its masks are written. The masks lie in
folders that the data set `masked_folder` reads, with the photos.
"""

from __future__ import annotations

import functools
import hashlib
import shlex
from collections import Counter
from typing import Any

import numpy as np
from rich.console import Console

from rival_jax import data, models
from rival_jax.data.photos import sentences
from rival_jax.experiments._bilateral import CHOICES
from rival_jax.experiments._photos import Photo, read, true_mask
from rival_jax.experiments._preprocessing import preprocessing
from rival_jax.experiments._subject import one_of
from rival_jax.experiments._tokencut_masks import make, pixels
from rival_jax.experiments._tokencut_unit import FEATURES
from rival_jax.experiments._tokencut_work import Work, cost
from rival_jax.models.positions import METHODS
from rival_jax.report import tokencut as numbers
from rival_jax.report import tokencut_page
from rival_jax.report.document import shown_again
from rival_jax.report.tokencut_figures import Shown
from rival_jax.runtime import hosts, parallel
from rival_jax.runtime.progress import Meter, duration
from rival_jax.runtime.results import Run, digest
from rival_jax.tokencut import GRAPHS

VALUES = {
    "feature": FEATURES,
    "graph": GRAPHS,
    "precision": ("float64", "float32"),
    "positions": METHODS,
    "refine": ("bilateral", "none"),
    "choice": CHOICES,
}
WORST = 12  # photos


def check(config: Any) -> None:
    """Raises ValueError for settings that cannot be run."""
    c = config.tokencut
    for key, known in VALUES.items():
        one_of(f"tokencut.{key}", c[key], known)
    one_of("data.on_bad", config.data.on_bad, ("error", "skip"))
    if not config.models or len(set(config.models)) < len(config.models):
        raise ValueError(f"config.models {tuple(config.models)}: name at least one, each once")
    if not 0 <= c.tau < 1:
        raise ValueError(f"config.tokencut.tau={c.tau}: at least 0 and below 1")
    if len(c.sigmas) != 3 or min(c.sigmas) <= 0:
        raise ValueError(
            f"config.tokencut.sigmas={tuple(c.sigmas)}: three numbers above 0, of pixels, luma, "
            "chroma"
        )
    if not 0 <= c.agreement <= 1:
        raise ValueError(f"config.tokencut.agreement={c.agreement}: from 0 to 1, an IoU")
    if c.scale <= 0:
        raise ValueError(f"config.tokencut.scale={c.scale}: a number above 0")
    if c.block != "auto" and (isinstance(c.block, bool) or not isinstance(c.block, int)):
        raise ValueError(
            f"config.tokencut.block={c.block!r}: 'auto' or the number of a block, -1 the last"
        )
    for key in ("max_tokens", "min_pixels", "per_class", "shown"):
        if c[key] < 0:
            raise ValueError(f"config.tokencut.{key}={c[key]}: a number from 0 up")
    size = config.batch_size
    if size != "auto" and not (isinstance(size, int) and size > 0):
        raise ValueError(f"config.batch_size={size}: 'auto' or a number from 1 up")


class Material:
    """Networks and photos, checked; nothing is computed."""

    def __init__(self, config: Any, run: Run | None, console: Console):
        check(config)
        c = config.data
        options = config.data.get(c.name.replace(".", "_"), {})
        self.mesh = parallel.data_mesh()
        self.source = data.load(c.name, c.root, c.split, **options)
        idle = preprocessing(config).keys() & {"interpolation", "crop_pct"}
        if idle:
            raise ValueError(
                f"config.preprocessing.{min(idle)} would do nothing: a photo is scaled whole by "
                "config.tokencut.scale; omit it"
            )
        self.works = [Work(config, run, self.source, name, self.mesh) for name in config.models]
        names = [work.model.name for work in self.works]
        if len(set(names)) < len(names):
            raise ValueError(f"two of config.models have one name: {names}")
        self.console, self.notices = console, []
        for notice in getattr(self.source, "notices", ()):
            self.note(notice)
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
        self.notices = [*getattr(self.source, "notices", ()), *said]
        for notice in self.notices:
            console.print(f"note: {notice}", markup=False)
        for work in self.works:
            work.check(self.photos)

    def note(self, text: str) -> None:
        """As `Subject.note`: on the console and at the top of the page, once."""
        if text and text not in self.notices:
            self.notices.append(text)
            self.console.print(f"note: {text}", markup=False)

    def facts(self, config: Any) -> dict[str, Any]:
        """What data.json and the report say of the photos."""
        labels = np.array([photo.label for photo in self.photos])
        return {
            "name": config.data.name,
            "root": str(config.data.root),
            "split": config.data.split,
            "classes": list(self.source.classes),
            "counts": [int((labels == i).sum()) for i in range(len(self.source.classes))],
            "images": len(self.photos),
            "skipped": [list(item) for item in self.skipped],
            "fingerprint": digest([photo.digest for photo in self.photos]),
            "notices": list(self.notices),
        }


def dry_run(config: Any, console: Console) -> None:
    """Checks what a run would check and prints what it would cost."""
    material, seconds = Material(config, None, console), 0.0
    for work in material.works:
        units = list(work.units(material.photos))
        photos = sum(len(unit.photos) for unit in units)
        shapes = {unit.tokens for unit in units}
        mine = cost(work, units, material.mesh)
        seconds += mine
        console.print(
            f"{work.model.name}: {photos} photos of {len(shapes)} shapes in tokens, "
            f"about {duration(mine)}"
        )
    console.print(f"all models: about {duration(seconds)}; nothing was run")


def run(config: Any, run: Run, console: Console) -> dict[str, Any]:
    """Computes the units that are missing, then tables, figures and report; returns the summary."""
    material = Material(config, run, console)
    run.settle(material.facts(config))
    paths, computed = {}, 0
    with Meter(2 * len(material.photos) * len(material.works), "steps", console) as meter:
        for work in material.works:
            done = [work.run(run, unit, meter) for unit in work.units(material.photos)]
            if not done:
                raise ValueError(f"{work.model.name}: no photo is larger than two patches")
            if hosts.first():
                work.tidy()
            paths[work.model.name] = [path for path, _ in done]
            computed += sum(new for _, new in done)
    run.save_json("models.json", [_card(work) for work in material.works])
    photos = [(photo.name, photo.label) for photo in material.photos]
    found = None
    if hosts.first():  # which alone has all rows
        found = numbers.read(paths, material.source.classes, photos)
        for notice in tokencut_page.notices(found):
            material.note(notice)
    run.save_json("data.json", material.facts(config))
    units = sum(map(len, paths.values()))
    console.print(f"{computed} of {units} units computed, the others were there")
    for work in material.works:
        console.print(f"masks are in {work.folder}")
    if not computed and run.finished():
        return shown_again(run, console)
    if found is None:
        return {}
    shown = {
        work.model.name: functools.partial(_shown, config, material, found, m)
        for m, work in enumerate(material.works)
    }
    folders = {work.model.name: work.folder.parent for work in material.works}
    commands = {work.model.name: next_command(config, material, work) for work in material.works}
    return tokencut_page.write(run, console, found, folders, commands, shown)


def next_command(config: Any, material: Material, work: Work) -> str:
    """A command that reads a network's masks as it stands; "" where one cannot be known.

    Drawn scenes have test photos, so a network is finetuned with the masks; else a classifier of
    these classes is measured on them.
    """
    model, classes = work.model, len(material.source.classes)
    root, split = shlex.quote(str(work.folder.parent)), shlex.quote(work.folder.name)
    start = "python -m rival_jax.main --config=configs/"
    network = shlex.quote(f'--config.models=("{work.name}",)')
    if config.data.name == "scenes" and model.num_classes == classes:
        return (
            f"{start}finetune.py {network} --config.variants=\"('tokencut',)\" "
            f"--config.tokencut.root={root} --config.tokencut.split={split} "
            "--config.split.on_few=take --workdir=runs/finetune_tokencut"
        )
    if model.num_classes != classes:
        return ""
    data_flags = tokencut_page.flags(work.folder.parent, split)
    return (
        f"{start}rfs.py:clean {network} --config.head=own {data_flags} --workdir=runs/rfs_tokencut"
    )


def _card(work: Work) -> dict[str, Any]:
    text = models.describe(work.model)
    head = f"{work.settings.feature} features of {work.tap.partition('/')[0]}, patch {work.patch}"
    return {"name": work.model.name, "parameters": work.parameters, "input": text, "head": head}


def _shown(
    config: Any, material: Material, found: numbers.Masks, m: int
) -> tuple[list[Shown], list[Shown]]:
    """Photos of one network to look at: some at random, and those with the lowest IoU."""
    order = sorted(range(len(found.names)), key=lambda row: _draw(config.seed, found.names[row]))
    cut = [row for row in order if found.components[m][row] is not None]
    cut.sort(key=lambda row: not found.doubts[m][row])  # doubtful ones first
    iou = found.values[m, :, list(numbers.MEASURES).index("iou")]
    rated = [row for row in cut if np.isfinite(iou[row])]
    count = int(config.tokencut.shown)
    worst = sorted(rated, key=lambda row: iou[row])[: min(count, WORST)]
    by_name = {photo.name: photo for photo in material.photos}

    def look(row: int) -> Shown:
        photo, component = by_name[found.names[row]], found.components[m][row]
        assert component is not None
        return _look(
            config,
            material,
            photo,
            component,
            float(iou[row]),
            (found.reasons[m][row], found.doubts[m][row]),
        )

    return [look(row) for row in cut[:count]], [look(row) for row in worst]


def _look(
    config: Any,
    material: Material,
    photo: Photo,
    component: np.ndarray,
    iou: float,
    told: tuple[str, str],
) -> Shown:
    item = material.source[photo.position]
    image = np.asarray(item["image"])
    made = make(image, component, np.inf, config.tokencut)
    coarse = pixels(component, image.shape[:2])
    label = material.source.classes[photo.label]
    return Shown(photo.name, label, image, coarse, made.mask, true_mask(item), iou, *told)


def _draw(seed: int, name: str) -> bytes:
    return hashlib.blake2b(f"{seed}\0{name}".encode(), digest_size=8).digest()
