"""The page of TokenCut: number and quality of masks, skipped photos, pictures."""

from __future__ import annotations

import functools
import shlex
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from rival_jax.configs.tokencut import Config
from rival_jax.data.source import name_hash
from rival_jax.experiments.tokencut.networks import WORDS, Network
from rival_jax.report.document import Document, Picture
from rival_jax.report.figures import Drawn
from rival_jax.report.grids import THUMB, rim, sheet, thumb
from rival_jax.report.results import Results, Row
from rival_jax.report.tables import Table, counted, percent, ratio
from rival_jax.runtime.names import file_names

TITLES = WORDS.titles("measures")
MEASURES = tuple(TITLES)  # of a photo
LISTED = 50  # photos per list on the page; its CSV file has all
ACROSS = 4  # photos side by side on a sheet, three pictures each
WORST = 12  # photos
TRUTH, FOUND = (0, 200, 83), (255, 255, 255)
Shown = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray | None]
"""A photo uint8 [h, w, 3], its cut, its mask and its true mask, bool [h, w]."""


def page(
    config: Config,
    results: Results,
    found: Results,
    lists: Mapping[str, Table],
    commands: Sequence[str],
    look: Callable[[Row], Shown],
) -> Document:
    """All results, and some photos with their masks, whose pictures `look` returns.

    `found`: see `study.outcomes`; `lists`: see `listed`; `commands`: see `uses`.
    """
    c, models = config.tokencut, found.of("model")
    whole, each = (results.where(contrast="", **{"class": one}) for one in (None, bool))
    best = "iou" if results.where(measure="iou_coarse").rows else "area"
    told: dict[str, Any] = {**vars(c), "best": best, "named": TITLES[best]}
    told |= {"label": TITLES[best].removesuffix(", %"), "quality": WORDS.text(f"by_{best}")}
    told |= {"weights": WORDS.text(c.graph), "sigmas": ", ".join(f"{s:g}" for s in c.sigmas)}
    told["block"] = {-1: "the last block", "auto": "one block"}.get(c.block, f"block {c.block}")
    told["refined"] = WORDS.text(c.choice if c.refine == "bilateral" else c.refine, **told)
    told["refined"] += f" {WORDS.text('segments')}" if c.segments else ""
    by_class = each.where(measure="photos").having(model="photos") + each.where(measure=best)
    tables = {name: [one._replace(rows=one.rows[:LISTED])] for name, one in lists.items()}
    given: dict[str, Any] = {"tables": tables, "of": {"classes": by_class}}
    given["pictures"] = {"sample": [*sheets(config, found, look)]}
    given["confidence"] = config.statistics.confidence
    *sections, last = WORDS.sections(results, told, **given)
    return WORDS.document(
        told,
        subtitle=f"{', '.join(models)}; {counted(len(found) // len(models), 'photo')}",
        headline=[text for name in models for text in _headline(whole, found.where(model=name))],
        sections=[*sections, last._replace(text=commands)],
    )


def counts(outcomes: Results) -> dict[str, int]:
    """Counts of a network's outcomes."""
    skipped, doubtful = (len(outcomes.where(**{name: bool})) for name in ("reason", "doubt"))
    masks = len(outcomes) - skipped
    return {"photos": len(outcomes), "masks": masks, "skipped": skipped, "doubtful": doubtful}


def listed(found: Results, unreadable: Sequence[tuple[str, str]]) -> dict[str, Table]:
    """Photos without a mask, (name, reason) of `unreadable` ones first, and doubtful masks."""
    skipped = [("", *one) for one in unreadable]
    skipped += [(row["model"], row["example"], row["reason"]) for row in found.where(reason=bool)]
    doubtful = [(row["model"], row["example"], row["doubt"]) for row in found.where(doubt=bool)]
    titles = counted(len(skipped), "skipped photo"), counted(len(doubtful), "doubtful mask")
    return {
        "skipped": Table(titles[0], ("model", "example", "reason"), skipped),
        "doubtful": Table(titles[1], ("model", "example", "doubt"), doubtful),
    }


def _headline(whole: Results, mine: Results) -> Iterator[str]:
    """A network's results in a sentence or two."""
    reasons = Counter(row["reason"].partition(":")[0] for row in mine.where(reason=bool))
    left_out = ", ".join(f"{reason} {n}" for reason, n in reasons.items())
    told = counts(mine) | {"model": mine.rows[0]["model"], "photos": counted(len(mine), "photo")}
    yield WORDS.text("counts", **told, left_out=f" (skipped: {left_out})" if left_out else "")
    rated = {row["measure"]: row for row in whole.where(model=told["model"])}
    if "iou" in rated:
        shares = {name: ratio(rated[name]) for name in ("iou", "centred")}
        yield WORDS.text("rated", **shares, box=percent(rated["box"]))


def notices(found: Results) -> list[str]:
    """Warnings before the masks are used: how many are doubtful, and whether they are unrated."""
    told = [{"model": name, **counts(found.where(model=name))} for name in found.of("model")]
    unrated = np.isnan([row["iou_coarse"] for row in found]).all()
    doubtful = [WORDS.text("doubtful", **one) for one in told if one["doubtful"]]
    return [*doubtful, *([WORDS.text("unrated")] if unrated else [])]


def uses(
    config: Config, networks: Sequence[Network], folders: Sequence[Path], classes: int
) -> list[str]:
    """Commands to paste into a shell that read each network's masks.

    Only flags if no complete one is known. Drawn scenes have test photos, so a network is finetuned
    with the masks; else a classifier of these classes is measured on them.
    """
    if not config.tokencut.photos:
        return [WORDS.text("without_photos")]
    told, kind = [], "finetune" if config.data.name == "scenes" else "rfs"
    for one, folder in zip(networks, folders, strict=True):
        command = WORDS.text(
            kind if one.model.num_classes == classes else "any",
            network=shlex.quote(f'--config.models=("{one.name}",)'),
            root=shlex.quote(str(folder.parent)),
            split=shlex.quote(folder.name),
        )
        told.append(WORDS.text("use", model=one.model.name, command=command))
    return told


def sheets(config: Config, found: Results, look: Callable[[Row], Shown]) -> Iterator[Picture]:
    """Two sheets of each network: photos taken at random, doubtful first, and the lowest IoU."""
    drawn = lambda row: name_hash(f"{config.seed}\0{row['example']}", 8)  # noqa: E731
    for name, stem in file_names(found.of("model")).items():
        mine, most = found.where(model=name), config.tokencut.shown
        rated = any(np.isfinite(row["iou_coarse"]) for row in mine)
        told: dict[str, Any] = {"model": name, "stem": stem}
        told["outline"] = WORDS.text("outline_truth" if rated else "outline")
        some = sorted(mine.where(component=bool), key=lambda row: (not row["doubt"], drawn(row)))
        worst = sorted((row for row in some if np.isfinite(row["iou"])), key=lambda row: row["iou"])
        for kind, rows in (("sample", some[:most]), ("worst", worst[: min(most, WORST)])):
            if rows:
                yield WORDS.picture(kind, functools.partial(overlays, rows, look), **told)


def overlays(photos: Sequence[Row], look: Callable[[Row], Shown]) -> Drawn:
    """Photo, cut and mask of some outcomes, outlined in white; the true outline is green."""
    cells, lines = [], []
    for place, one in enumerate(photos):
        (row, column), (photo, coarse, mask, truth) = divmod(place, ACROSS), look(one)
        told = "skipped" if one["reason"] else f"IoU {one['iou']:.2f}"
        told = "mask" + (f" {told}" if told != "IoU nan" else "")
        pictures = (
            (photo, one["label"], ""),
            (_outlined(photo, coarse, truth), "", "cut"),
            (_outlined(photo, mask, truth), "", told + (", doubtful" if one["doubt"] else "")),
        )
        for k, (picture, title, text) in enumerate(pictures):
            square = ImageOps.pad(Image.fromarray(picture), (THUMB, THUMB), color="white")
            cells.append((row, 3 * column + k, np.asarray(square), title, text))
        told = (one["example"], one["label"], float(mask.mean()))
        lines.append((*told, *(one[name] for name in ("iou", "reason", "doubt"))))
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
