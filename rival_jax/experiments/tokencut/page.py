"""The page of TokenCut: how many masks, how good, which photos are skipped, what they show."""

from __future__ import annotations

import functools
import shlex
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from rival_jax.configs.tokencut import Config
from rival_jax.experiments.tokencut.figures import Shown, sheets
from rival_jax.experiments.tokencut.ratings import MEASURES, Cut
from rival_jax.experiments.tokencut.work import Work
from rival_jax.report import figures, tables
from rival_jax.report.document import Document, Picture, Section
from rival_jax.report.results import Results, Row
from rival_jax.report.tables import Table, as_csv, counted, percent, ratio, signed
from rival_jax.report.verdicts import HOLM, METHOD
from rival_jax.runtime.names import file_names
from rival_jax.runtime.results import atomic

COUNTS = ("photos", "masks", "skipped", "doubtful")
IN_PERCENT = ("area", "box")
COMPARED = ("area", "iou", "iou_coarse", "box")  # in the table of differences
TITLES = {name: text + (", %" if name in IN_PERCENT else "") for name, text in MEASURES.items()}
LISTED = 50  # photos of a list on the page; all are in its CSV file


class Listed(NamedTuple):
    """Photos to be looked up by name."""

    title: str
    what: str  # is told of each
    rows: list[tuple[str, str, str]]  # (network, photo, what)

    def table(self) -> list[Table]:
        """None for a list without rows."""
        title = counted(len(self.rows), self.title)
        rows: list[tuple[str, ...]] = [*self.rows[:LISTED]]
        return [Table(title, ("model", "example", self.what), rows)] if rows else []


def listed(
    made: Mapping[str, Sequence[Cut]], unreadable: Sequence[tuple[str, str]]
) -> dict[str, Listed]:
    """The photos without a mask, (name, reason) of `unreadable` ones first, and doubtful masks."""
    every = [(model, cut) for model, some in made.items() for cut in some]
    skipped = [(model, cut.photo.name, cut.reason) for model, cut in every if cut.reason]
    doubtful = [(model, cut.photo.name, cut.doubt) for model, cut in every if cut.doubt]
    return {
        "skipped": Listed("skipped photo", "reason", [*(("", *u) for u in unreadable), *skipped]),
        "doubtful": Listed("doubtful mask", "doubt", doubtful),
    }


def write_lists(folder: Path, lists: Mapping[str, Listed]) -> None:
    """Writes skipped.csv and doubtful.csv."""
    for name, one in lists.items():
        with atomic(folder / f"{name}.csv") as partial:
            text = as_csv(("model", "example", one.what), one.rows)
            partial.write_text(text, encoding="utf-8")


def page(
    config: Config,
    results: Results,
    made: Mapping[str, Sequence[Cut]],
    lists: Mapping[str, Listed],
    uses: Sequence[str],
    look: Callable[[Cut], Shown],
) -> Document:
    """All that the results say, and some photos with their masks.

    Args:
      made: network -> what became of every photo.
      lists: see `listed`.
      uses: see `use`.
      look: gives a photo to look at.
    """
    levels, rated = results.where(contrast=""), bool(results.where(measure="iou_coarse").rows)
    measure, stems = "iou" if rated else "area", file_names(list(made))
    c, photos = config.tokencut, len(next(iter(made.values())))
    return Document(
        title="Masks by TokenCut",
        subtitle=f"{', '.join(made)}; {counted(photos, 'photo')}",
        headline=[sentence for name, some in made.items() for sentence in told(name, levels, some)],
        sections=[
            Section(
                "How good the masks are" if rated else "The masks, not rated",
                pictures=_by_class(levels, measure),
                tables=[quality(levels), *_differences(config, results)],
            ),
            Section("By class", tables=[classes(levels, measure)]),
            Section("Skipped photos", tables=lists["skipped"].table()),
            Section("Doubtful masks", tables=lists["doubtful"].table()),
            Section(
                "The masks",
                pictures=[
                    picture
                    for name, some in made.items()
                    for picture in sheets(stems[name], name, some, look, int(c.shown), config.seed)
                ],
            ),
            Section("Training with them", text=uses),
        ],
        method=_method(config),
        caveats=CAVEATS,
        source="TokenCut is due to Wang et al., CVPR 2022; the bilateral solver to Barron and "
        "Poole, ECCV 2016.",
    )


def told(name: str, levels: Results, made: Sequence[Cut]) -> list[str]:
    """What came out for a network, in a sentence or two."""
    whole = levels.where(model=name, **{"class": None})
    photos, masks, _, doubtful = (int(whole.one(measure=m)["estimate"]) for m in COUNTS)
    reasons = Counter(cut.reason.partition(":")[0] for cut in made if cut.reason)
    left_out = ", ".join(f"{reason} {n}" for reason, n in reasons.items())
    text = f"{name}: masks for {masks} of {counted(photos, 'photo')}"
    sentences = [f"{text}{f' (skipped: {left_out})' if left_out else ''}, {doubtful} doubtful."]
    if whole.where(measure="iou").rows:
        iou, centred, box = (_cell(whole.one(measure=m)) for m in ("iou", "centred", "box"))
        sentences.append(
            f"Their IoU with the true masks is {iou}, {centred} that of centred boxes of the same "
            f"areas; {box} % of the objects are found (boxes overlap by more than 1/2)."
        )
    return sentences


def quality(levels: Results) -> Table:
    """Every measure of every network, and how many masks there are."""
    whole, columns = levels.where(**{"class": None}), (*COUNTS[:3], *MEASURES)
    title = "Masks, means over classes"
    return tables.pivot(title, whole, ("model",), "measure", _cell, titles=TITLES, columns=columns)


def classes(levels: Results, measure: str) -> Table:
    """One measure by class, and the photos of each."""
    each = levels.where(**{"class": levels.of("class")})
    counts = each.where(measure="photos").changed(lambda row: {**row, "model": ""})
    shown = counts + each.where(measure=measure)
    columns = ("", *each.of("model"))
    title, titles = f"{TITLES[measure]}, by class", {"": "photos"}
    return tables.pivot(title, shown, ("class",), "model", _cell, titles=titles, columns=columns)


def _by_class(levels: Results, measure: str) -> list[Picture]:
    mine = levels.where(measure=measure)
    each = mine.where(**{"class": levels.of("class")})
    if not each.rows:
        return []
    lines, label = mine.where(**{"class": None}), MEASURES[measure]
    draw = functools.partial(figures.dots, each, "class", by="model", label=label, lines=lines)
    caption = f"{label} by class; upright lines: the means over classes."
    return [Picture("by_class", draw, caption, f"Dot plot of the {label} by class")]


def _differences(config: Config, results: Results) -> list[Table]:
    """Networks in pairs, on the photos that both have masks of."""
    found = Results(row for row in results.where(measure=COMPARED) if row["contrast"])
    title, columns = "Differences between models, paired", ("model", "measure")
    if not found.rows:
        return []
    confidence, titles = config.statistics.confidence, TITLES | {"model": "models"}
    return [tables.differences(title, found, columns, _cell, confidence, titles=titles)]


def _cell(row: Row) -> str:
    """A count, or a number and its interval if there is one."""
    if row["measure"] in COUNTS:
        return f"{row['estimate']:.0f}"
    in_percent = row["measure"] in IN_PERCENT
    if np.isnan(row["low"]):
        return f"{100 * row['estimate']:.1f}" if in_percent else signed(row["estimate"])
    return percent(row) if in_percent else ratio(row)


def use(config: Config, works: Sequence[Work], classes: int) -> list[str]:
    """What reads the masks of each network, as it is pasted into a shell."""
    if not config.tokencut.photos:
        return ["Masks were written without photos: put them beside the photos they belong to."]
    return [
        f"{work.model.name}: what reads these photos and masks, once they were looked at: "
        + (next_command(config, work, classes) or f"any experiment with {flags(work.folder)}")
        for work in works
    ]


def next_command(config: Config, work: Work, classes: int) -> str:
    """A command that reads a network's masks as it stands; "" where one cannot be known.

    Drawn scenes have test photos, so a network is finetuned with the masks; else a classifier of
    these classes is measured on them.
    """
    if work.model.num_classes != classes:
        return ""
    start = "python -m rival_jax.main --config=configs/"
    network = shlex.quote(f'--config.models=("{work.name}",)')
    if config.data.name == "scenes":
        root, split = shlex.quote(str(work.folder.parent)), shlex.quote(work.folder.name)
        return (
            f"{start}finetune.py {network} --config.variants=\"('tokencut',)\" "
            f"--config.tokencut.root={root} --config.tokencut.split={split} "
            "--config.split.on_few=take --workdir=runs/finetune_tokencut"
        )
    return (
        f"{start}rfs.py:clean {network} --config.head=own {flags(work.folder)} "
        "--workdir=runs/rfs_tokencut"
    )


def flags(folder: Path) -> str:
    """What another experiment reads masks with, as it is pasted into a shell."""
    root, split = shlex.quote(str(folder.parent)), shlex.quote(folder.name)
    return f"--config.data.name=masked_folder --config.data.root={root} --config.data.split={split}"


def _method(config: Config) -> list[str]:
    c = config.tokencut
    block = {-1: "the last block", "auto": "one block"}.get(c.block, f"block {c.block}")
    weigh = {"binary": "alike", "weighted": "by their cosine"}[c.graph]
    refined = {
        "bilateral": "The mask is moved to the photo's edges by a bilateral solver (sigmas "
        f"{', '.join(f'{s:g}' for s in c.sigmas)}) and its "
        + {
            "largest": "largest part is kept; where its IoU with the cut is below "
            f"{c.agreement:g}, the cut is.",
            "released": "second largest part is kept, the background counted, as released: of an "
            "object above half of the photo that is the background, and the photo is then skipped.",
        }[c.choice],
        "none": "It is not refined.",
    }[c.refine]
    return [
        f"The {c.feature} features of {block}'s tokens, all heads side by side, make a graph: "
        f"tokens whose cosine is above {c.tau:g} are joined, edges weigh {weigh}. The second "
        "eigenvector of its normalised Laplacian parts the tokens at its mean; the part of the "
        "token that stands out most is taken, and of it what hangs together with that token.",
        refined,
        f"Skipped are masks below {c.min_pixels} pixels, and photos whose second and third "
        f"eigenvalue differ by {c.min_gap:g} or less, in which no cut stands out.",
        "Brackets: bootstrap intervals over photos, resampled within classes.",
        METHOD.format(HOLM),
    ]


CAVEATS = [
    (
        "That a mask shows the object of the label.",
        "The cut never sees a label. It takes what stands out: of two objects one, and where the "
        "background stands out, that.",
    ),
    (
        "That other networks would do as well, or as badly.",
        "The method was made for the keys of self-supervised DINO networks, which part objects "
        "from their surroundings as those of classifiers seldom do.",
    ),
    (
        "That a high IoU is skill.",
        "Objects of photographs are large and in the middle: compare with the centred box of the "
        "mask's area, which has not looked at the photo.",
    ),
]
