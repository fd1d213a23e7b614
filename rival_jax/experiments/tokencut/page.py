"""The page of TokenCut: number and quality of masks, skipped photos, pictures."""

from __future__ import annotations

import functools
import shlex
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from rival_jax.configs.tokencut import Config
from rival_jax.data.source import name_hash
from rival_jax.experiments.tokencut.masks import MEASURES, Cut, counts
from rival_jax.experiments.tokencut.work import WORDS, Work
from rival_jax.report import figures, tables
from rival_jax.report.document import Document, Picture, Section
from rival_jax.report.figures import Drawn
from rival_jax.report.grids import THUMB, rim, sheet, thumb
from rival_jax.report.results import Results, Row
from rival_jax.report.tables import Table, counted, percent, ratio
from rival_jax.report.verdicts import HOLM, METHOD
from rival_jax.runtime.names import file_names

COUNTS = ("photos", "masks", "skipped")
IN_PERCENT = ("area", "box")
COMPARED = ("area", "iou", "iou_coarse", "box")  # in the table of differences
TITLES = {name: text + (", %" if name in IN_PERCENT else "") for name, text in MEASURES.items()}
LISTED = 50  # photos per list on the page; its CSV file has all
ACROSS = 4  # photos side by side on a sheet, three pictures each
WORST = 12  # photos
TRUTH, FOUND = (0, 200, 83), (255, 255, 255)
Shown = tuple[str, np.ndarray, np.ndarray, np.ndarray, np.ndarray | None]
"""(class, photo uint8 [h, w, 3], cut, mask and true mask bool [h, w]) of a photo to show."""


def listed(
    made: Mapping[str, Sequence[Cut]], unreadable: Sequence[tuple[str, str]]
) -> dict[str, Table]:
    """Photos without a mask, (name, reason) of `unreadable` ones first, and doubtful masks."""
    every = [(model, cut) for model, some in made.items() for cut in some]
    skipped: list[tuple[str, ...]] = [("", *one) for one in unreadable]
    skipped += [(model, cut.photo.name, cut.reason) for model, cut in every if cut.reason]
    doubtful = [(model, cut.photo.name, cut.doubt) for model, cut in every if cut.doubt]
    columns, titles = ("model", "example"), ("skipped photo", "doubtful mask")
    return {
        "skipped": Table(counted(len(skipped), titles[0]), (*columns, "reason"), skipped),
        "doubtful": Table(counted(len(doubtful), titles[1]), (*columns, "doubt"), [*doubtful]),
    }


def page(
    config: Config,
    results: Results,
    made: Mapping[str, Sequence[Cut]],
    lists: Mapping[str, Table],
    commands: Sequence[str],
    look: Callable[[Cut], Shown],
) -> Document:
    """All results, and some photos with their masks.

    Args:
      made: network -> the `Cut` of every photo.
      lists: see `listed`.
      commands: see `uses`.
      look: returns a photo to show.
    """
    levels, rated = results.where(contrast=""), bool(results.where(measure="iou_coarse").rows)
    few = {name: [one._replace(rows=one.rows[:LISTED])] for name, one in lists.items()}
    best, photos = "iou" if rated else "area", len(next(iter(made.values())))
    seen = [picture for name in made for picture in sheets(config, name, made, look)]
    whole, each = (levels.where(**{"class": c}) for c in (None, bool))
    columns, model = (*COUNTS, *MEASURES), ("model",)
    quality = tables.pivot(
        "Masks, means over classes", whole, model, "measure", _cell, titles=TITLES, columns=columns
    )
    told = {"by": "model", "label": MEASURES[best], "lines": whole.where(measure=best)}
    draw = functools.partial(figures.dots, each.where(measure=best), "class", **told)
    by_class = [WORDS.picture("by_class", draw, label=MEASURES[best])]
    return Document(
        title=WORDS.text("title"),
        subtitle=f"{', '.join(made)}; {counted(photos, 'photo')}",
        headline=[text for name, some in made.items() for text in found(name, whole, some)],
        sections=[
            Section(
                "How good the masks are" if rated else "The masks, not rated",
                pictures=by_class if each.where(measure=best).rows else [],
                tables=[quality, differences(config, results)],
            ),
            Section("By class", tables=[classes(each, best)]),
            Section("Skipped photos", tables=few["skipped"]),
            Section("Doubtful masks", tables=few["doubtful"]),
            Section("The masks", pictures=seen),
            Section("Training with them", text=commands),
        ],
        method=_method(config),
        caveats=WORDS.caveats(),
        source=WORDS.text("source"),
    )


def found(name: str, whole: Results, made: Sequence[Cut]) -> list[str]:
    """A network's results in a sentence or two."""
    reasons = Counter(cut.reason.partition(":")[0] for cut in made if cut.reason)
    left_out = ", ".join(f"{reason} {n}" for reason, n in reasons.items())
    told = counts(made) | {"model": name, "photos": counted(len(made), "photo")}
    told["left_out"] = f" (skipped: {left_out})" if left_out else ""
    rated = {row["measure"]: _cell(row) for row in whole.where(model=name)}
    sentences = [WORDS.text("counts", **told)]
    return [*sentences, WORDS.text("rated", **rated)] if "iou" in rated else sentences


def classes(each: Results, measure: str) -> Table:
    """One measure by class, and the photos of each."""
    photos = each.where(measure="photos").changed(lambda row: {**row, "model": ""})
    shown, columns = photos + each.where(measure=measure), ("", *each.of("model"))
    title, titles = f"{TITLES[measure]}, by class", {"": "photos"}
    return tables.pivot(title, shown, ("class",), "model", _cell, titles=titles, columns=columns)


def differences(config: Config, results: Results) -> Table:
    """Networks in pairs, on the photos that both have masks of."""
    pairs = results.where(measure=COMPARED, contrast=bool)
    title, columns = "Differences between models, paired", ("model", "measure")
    confidence, titles = config.statistics.confidence, TITLES | {"model": "models"}
    return tables.differences(title, pairs, columns, _cell, confidence, titles=titles)


def _cell(row: Row) -> str:
    """A count, or a number and its interval if there is one."""
    if row["measure"] in COUNTS:
        return f"{row['estimate']:.0f}"
    return percent(row) if row["measure"] in IN_PERCENT else ratio(row)


def notices(made: Mapping[str, Sequence[Cut]]) -> list[str]:
    """Warnings before the masks are used: how many are doubtful, and whether they are unrated."""
    told = [{"model": model, **counts(some)} for model, some in made.items()]
    doubtful = [WORDS.text("doubtful", **one) for one in told if one["doubtful"]]
    unrated = np.isnan([cut.iou_coarse for some in made.values() for cut in some]).all()
    return [*doubtful, *([WORDS.text("unrated")] if unrated else [])]


def uses(config: Config, works: Sequence[Work], classes: int) -> list[str]:
    """Commands to paste into a shell that read each network's masks."""
    if not config.tokencut.photos:
        return [WORDS.text("without_photos")]
    told = ((work.model.name, command(config, work, classes)) for work in works)
    return [WORDS.text("use", model=name, command=text) for name, text in told]


def command(config: Config, work: Work, classes: int) -> str:
    """A command that reads a network's masks; only flags if no complete one is known.

    Drawn scenes have test photos, so a network is finetuned with the masks; else a classifier of
    these classes is measured on them.
    """
    kind = "finetune" if config.data.name == "scenes" else "rfs"
    return WORDS.text(
        kind if work.model.num_classes == classes else "any",
        network=shlex.quote(f'--config.models=("{work.name}",)'),
        root=shlex.quote(str(work.folder.parent)),
        split=shlex.quote(work.folder.name),
    )


def _method(config: Config) -> list[str]:
    c = config.tokencut
    told: dict[str, Any] = {**vars(c), "sigmas": ", ".join(f"{s:g}" for s in c.sigmas)}
    told["block"] = {-1: "the last block", "auto": "one block"}.get(c.block, f"block {c.block}")
    refined = c.choice if c.refine == "bilateral" else c.refine
    names = ("cut", c.graph, refined, "skipped", "brackets")
    return [*(WORDS.text(name, **told) for name in names), METHOD.format(HOLM)]


def sheets(
    config: Config, name: str, made: Mapping[str, Sequence[Cut]], look: Callable[[Cut], Shown]
) -> list[Picture]:
    """Two sheets of a network: photos taken at random, and those with the lowest IoU."""
    draw = lambda cut: name_hash(f"{config.seed}\0{cut.photo.name}", 8)  # noqa: E731
    cut = [one for one in sorted(made[name], key=draw) if one.component is not None]
    cut.sort(key=lambda one: not one.doubt)  # doubtful ones first
    worst = sorted((one for one in cut if np.isfinite(one.iou)), key=lambda one: one.iou)
    rated, most = any(np.isfinite(one.iou_coarse) for one in made[name]), config.tokencut.shown
    told = {"model": name, "outline": WORDS.text("outline_truth" if rated else "outline")}
    stem = file_names(list(made))[name]
    return [
        WORDS.picture(f"{kind}_{stem}", draw, words=kind, photos=True, **told)
        for kind, some in (("sample", cut[:most]), ("worst", worst[: min(most, WORST)]))
        for draw in [functools.partial(overlays, some, look)]
        if some
    ]


def overlays(photos: Sequence[Cut], look: Callable[[Cut], Shown]) -> Drawn:
    """Photo, cut and mask of some photos, outlined in white; the true outline is green."""
    cells, lines = [], []
    for place, one in enumerate(photos):
        (row, column), (label, photo, coarse, mask, truth) = divmod(place, ACROSS), look(one)
        told = "skipped" if one.reason else f"IoU {one.iou:.2f}" if np.isfinite(one.iou) else ""
        told += ", doubtful" if one.doubt else ""
        pictures = (
            (photo, label, ""),
            (_outlined(photo, coarse, truth), "", "cut"),
            (_outlined(photo, mask, truth), "", f"mask {told}".strip()),
        )
        for k, (picture, title, text) in enumerate(pictures):
            square = ImageOps.pad(Image.fromarray(picture), (THUMB, THUMB), color="white")
            cells.append((row, 3 * column + k, np.asarray(square), title, text))
        lines.append((one.photo.name, label, float(mask.mean()), one.iou, one.reason, one.doubt))
    return Drawn(sheet(cells), ("example", "class", "area", "iou", "reason", "doubt"), lines)


def _outlined(photo: np.ndarray, mask: np.ndarray, truth: np.ndarray | None) -> np.ndarray:
    """The photo at about the size shown, darkened outside the mask."""
    size = ImageOps.contain(Image.fromarray(photo), (THUMB, THUMB)).size
    small, inside = thumb(photo, size), thumb(mask, size)
    drawn = np.where(inside[..., None], small, small * 0.45).astype(np.uint8)
    if truth is not None:
        drawn[rim(thumb(truth, size))] = TRUTH
    drawn[rim(inside)] = FOUND
    return drawn
