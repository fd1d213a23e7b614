"""The report of TokenCut: how many masks, how good, which photos are skipped, what they show."""

from __future__ import annotations

import functools
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from rival_jax.report import tokencut
from rival_jax.report.document import Document, Picture, Section, write_document
from rival_jax.report.rows import read_json
from rival_jax.report.saliency_tables import cell, known
from rival_jax.report.style import told
from rival_jax.report.tables import Table, as_csv, counted, percent
from rival_jax.report.tokencut import MEASURES, Masks, Summary
from rival_jax.report.tokencut_figures import Shown, by_class, overlays
from rival_jax.report.verdicts import HOLM, METHOD, STAR, by_measure, starred
from rival_jax.runtime.names import file_names
from rival_jax.runtime.results import Run, atomic

IN_PERCENT = ("area", "box")
Looks = tuple[Sequence[Shown], Sequence[Shown]]
LISTED = 50  # skipped photos on the page; all are in skipped.csv


def write(
    run: Run,
    console: Console,
    found: Masks,
    folders: Mapping[str, Path],
    commands: Mapping[str, str],
    shown: Mapping[str, Callable[[], Looks]],
) -> Summary:
    """Writes tables, figures, skipped.csv and report.html of a run; returns the summary.

    Args:
      found: of all networks.
      folders: network -> what --config.data.root of another experiment is to be.
      commands: network -> a command that reads them, "" where none is known.
      shown: network -> gives (photos taken at random, photos whose masks are worst).
    """
    summary = tokencut.summarise(found, **run.config["statistics"])
    for name, folder in folders.items():
        summary["models"][name] |= {"folder": str(folder), "next": commands[name]}
    run.save_json("summary.json", summary)
    unreadable = [("", *item) for item in read_json(run.path / "data.json")["skipped"]]
    skipped = [*unreadable, *tokencut.skipped(found)]
    _list(run.path / "skipped.csv", "reason", skipped)
    doubtful = tokencut.doubtful(found)
    _list(run.path / "doubtful.csv", "doubt", doubtful)
    looks: dict[str, Looks] = {}
    for name, look in shown.items():
        try:
            looks[name] = look()
        except Exception as error:  # photos gone since: the numbers are there
            told(f"of the masks of {name}", error, run, console)
    write_document(run, console, _document(run.config, summary, (skipped, doubtful), looks))
    for line in _use(run.config, summary):
        console.print(line, soft_wrap=True, markup=False, highlight=False)
    return summary


def _list(path: Path, what: str, rows: Sequence[tuple[str, str, str]]) -> None:
    with atomic(path) as partial:
        partial.write_text(as_csv(("model", "example", what), rows), encoding="utf-8")


def notices(found: Masks) -> list[str]:
    """What a reader must know before the masks are used: how many are doubtful, and not rated."""
    told = []
    for m, model in enumerate(found.models):
        doubtful, masks = sum(map(bool, found.doubts[m])), found.reasons[m].count("")
        if doubtful:
            told.append(
                f"{model}: {doubtful} of {masks} masks are doubtful by what they look like; look "
                "at them before use (doubtful.csv lists them, the page shows them first)"
            )
    if np.isnan(found.values[..., list(MEASURES).index("iou_coarse")]).all():
        told.append(
            "There are no true masks of these photos: how good the masks are was not measured. "
            "Look at a sample of them before use"
        )
    return told


def _document(
    config: Mapping[str, Any],
    summary: Summary,
    listed: tuple[Sequence[tuple[str, str, str]], Sequence[tuple[str, str, str]]],
    shown: Mapping[str, Looks],
) -> Document:
    measure = "iou" if _has_truth(summary) else "area"
    bars = Picture(
        "by_class",
        functools.partial(by_class, summary, measure),
        f"{MEASURES[measure]} by class; dotted: the mean over classes.",
        f"Dot plot of the {MEASURES[measure]} by class",
    )
    tables = [quality(summary)] + ([differences(summary)] if summary["differences"] else [])
    skipped, doubtful = listed
    left_out = _listing(counted(len(skipped), "skipped photo"), "reason", skipped)
    odd = _listing(counted(len(doubtful), "doubtful mask"), "doubt", doubtful)
    rated = _has_truth(summary)
    stems = file_names(list(shown))
    pictures = [
        picture for name, some in shown.items() for picture in _sheets(name, stems[name], *some)
    ]
    return Document(
        title="Masks by TokenCut",
        subtitle=f"{', '.join(summary['models'])}; "
        f"{counted(summary['dataset']['images'], 'photo')}",
        headline=headline(summary),
        sections=[
            Section(
                "How good the masks are" if rated else "The masks, not rated",
                pictures=[bars],
                tables=tables,
            ),
            Section("By class", tables=[classes(summary, measure)]),
            Section("Skipped photos", tables=left_out),
            Section("Doubtful masks", tables=odd),
            Section("The masks", pictures=pictures),
            Section("Training with them", text=_use(config, summary)),
        ],
        method=_method(config),
        caveats=CAVEATS,
        source="TokenCut is due to Wang et al., CVPR 2022; the bilateral solver to Barron and "
        "Poole, ECCV 2016.",
    )


def _listing(title: str, what: str, rows: Sequence[tuple[str, str, str]]) -> list[Table]:
    table = Table(title, ("model", "example", what), [])
    table.rows.extend(tuple(map(str, row)) for row in rows[:LISTED])
    return [table] if rows else []


def _has_truth(summary: Summary) -> bool:
    return any(known(entry["iou_coarse"]) for entry in summary["models"].values())


def headline(summary: Summary) -> list[str]:
    """What came out, a sentence or two for each network."""
    sentences = []
    for name, entry in summary["models"].items():
        left_out = ", ".join(f"{reason} {n}" for reason, n in entry["skipped"].items())
        told = f"{name}: masks for {entry['masks']} of {counted(entry['photos'], 'photo')}"
        sentences.append(
            f"{told}{f' (skipped: {left_out})' if left_out else ''}, {entry['doubtful']} doubtful."
        )
        if known(entry["iou"]):
            sentences.append(
                f"Their IoU with the true masks is {cell(entry['iou'])}, {cell(entry['centred'])} "
                f"that of centred boxes of the same areas; {percent(entry['box'])} % of the "
                "objects are found (boxes overlap by more than 1/2)."
            )
    return sentences


def quality(summary: Summary) -> Table:
    """Every measure of every network."""
    rows = []
    for name, entry in summary["models"].items():
        counts = (entry["photos"], entry["masks"], entry["photos"] - entry["masks"])
        rows.append((name, *map(str, counts), *(_cell(entry, m) for m in MEASURES)))
    header = ("model", "photos", "masks", "skipped", *(_title(m) for m in MEASURES))
    return Table("Masks, means over classes", header, rows)


def classes(summary: Summary, measure: str) -> Table:
    """One measure by class."""
    models = summary["models"]
    rows = [
        (name, str(count), *(_cell(entry["by_class"][name], measure) for entry in models.values()))
        for name, count in summary["dataset"]["classes"].items()
        if count
    ]
    return Table(f"{_title(measure)}, by class", ("class", "photos", *models), rows)


def differences(summary: Summary) -> Table:
    """Networks in pairs, on the photos that both have masks of."""
    measures = [
        m for m in ("area", "iou", "iou_coarse", "box") if known(summary["differences"][0][m])
    ]
    pairs, images = summary["differences"], summary["dataset"]["images"]
    told = by_measure([(pair, images) for pair in pairs], measures, summary["statistics"])
    rows = [
        (
            f"{pair['model']} minus {pair['minus']}",
            *(starred(_cell(pair, m), mine[m]) for m in measures),
        )
        for pair, mine in zip(pairs, told, strict=True)
    ]
    header = ("models", *(_title(m) for m in measures))
    return Table(f"Differences between models, paired; {STAR}", header, rows)


def _title(measure: str) -> str:
    return MEASURES[measure] + (", %" if measure in IN_PERCENT else "")


def _cell(entry: Mapping[str, Any], measure: str) -> str:
    value = entry[measure]
    if measure in IN_PERCENT:
        if known(value) and np.isfinite(value["low"]):
            return percent(value)
        return f"{100 * value['estimate']:.1f}" if known(value) else ""
    return cell(value)


def _sheets(name: str, base: str, some: Sequence[Shown], worst: Sequence[Shown]) -> list[Picture]:
    text = "Photo, cut and mask; what lies outside is dark. White: the outline found"
    outline = "; green: the true one." if any(s.truth is not None for s in some) else "."
    told = {
        "sample": (some, "Doubtful masks first, then photos taken at random"),
        "worst": (worst, "The least certain masks"),
    }
    if any(np.isfinite(one.iou) for one in worst):
        told["worst"] = (worst, "The masks of the lowest IoU")
    return [
        Picture(
            f"{kind}_{base}",
            functools.partial(overlays, photos),
            f"{name}: {title.lower()}. {text}{outline}",
            f"{title} with the masks of {name}",
            photos=True,
        )
        for kind, (photos, title) in told.items()
        if photos
    ]


def _use(config: Mapping[str, Any], summary: Summary) -> list[str]:
    if not config["tokencut"]["photos"]:
        return ["Masks were written without photos: put them beside the photos they belong to."]
    split = shlex.quote(config["data"]["split"])
    return [
        f"{name}: what reads these photos and masks, once they were looked at: "
        + (entry["next"] or f"any experiment with {flags(entry['folder'], split)}")
        for name, entry in summary["models"].items()
    ]


def flags(folder: Path | str, split: str) -> str:
    """What another experiment reads the masks with, as it is pasted into a shell."""
    root = shlex.quote(str(folder))
    return f"--config.data.name=masked_folder --config.data.root={root} --config.data.split={split}"


def _method(config: Mapping[str, Any]) -> list[str]:
    c = config["tokencut"]
    block = {-1: "the last block", "auto": "one block"}.get(c["block"], f"block {c['block']}")
    weigh = {"binary": "alike", "weighted": "by their cosine"}[c["graph"]]
    refined = {
        "bilateral": "The mask is moved to the photo's edges by a bilateral solver (sigmas "
        f"{', '.join(f'{s:g}' for s in c['sigmas'])}) and its "
        + {
            "largest": "largest part is kept; where its IoU with the cut is below "
            f"{c['agreement']:g}, the cut is.",
            "released": "second largest part is kept, the background counted, as released: of an "
            "object above half of the photo that is the background, and the photo is then skipped.",
        }[c["choice"]],
        "none": "It is not refined.",
    }[c["refine"]]
    return [
        f"The {c['feature']} features of {block}'s tokens, all heads side by side, make a graph: "
        f"tokens whose cosine is above {c['tau']:g} are joined, edges weigh {weigh}. The second "
        "eigenvector of its normalised Laplacian parts the tokens at its mean; the part of the "
        "token that stands out most is taken, and of it what hangs together with that token.",
        refined,
        f"Skipped are masks below {c['min_pixels']} pixels, and photos whose second and third "
        f"eigenvalue differ by {c['min_gap']:g} or less, in which no cut stands out.",
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
