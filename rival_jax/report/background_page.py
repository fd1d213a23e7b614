"""The report of backgrounds and objects taken away: tables, figure 8, all treatments, photos."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from rival_jax.report import background
from rival_jax.report.background import Summary, regions_of, some_entry, treatments_of
from rival_jax.report.background_figures import HEADS, Shown, bars, contact, treatments
from rival_jax.report.document import Document, Picture, Section, write_document
from rival_jax.report.rows import read_json
from rival_jax.report.tables import Table, counted, percent
from rival_jax.report.verdicts import HOLM, METHOD, verdicts
from rival_jax.runtime.results import Run


def write(
    run: Run,
    console: Console,
    paths: Sequence[Path],
    groups: Mapping[str, Sequence[str]],
    shown: Callable[[], Shown],
) -> Summary:
    """Writes tables, figures and report.html of a run; returns the summary.

    Args:
      paths: of the units of rows.
      groups: group -> models, averaged in figure 8.
      shown: gives (example, class, {what was done: uint8 [h, w, 3]}).
    """
    data = read_json(run.path / "data.json")
    found = background.read(paths, data["classes"])
    summary = background.summarise(found, groups, **run.config["statistics"])
    run.save_json("summary.json", summary)
    write_document(run, console, _document(run.config, summary, shown))
    return summary


def _document(config: Mapping[str, Any], summary: Summary, shown: Callable[[], Shown]) -> Document:
    figure_8 = "grey" in treatments_of(summary) and "background" in regions_of(summary)
    pictures = [Picture("treatments", functools.partial(treatments, summary), *TREATMENTS_TEXT)]
    if figure_8:
        pictures.insert(0, Picture("fig8", functools.partial(bars, summary), *FIG8_TEXT))
    photos = Picture("photos", lambda: contact(shown()), *PHOTOS_TEXT, photos=True)
    tables = [table for region in regions_of(summary) for table in results(summary, region)]
    tables += [gap_table(summary)] if len(regions_of(summary)) == 2 else []
    further = [heads_table(summary)] if summary["heads"] else []
    further += [differences(summary)] if summary["differences"] else []
    return Document(
        title="Backgrounds and objects taken away",
        subtitle=f"{counted(len(summary['models']), 'model')}, "
        f"{counted(summary['dataset']['images'], 'image')}",
        headline=headline(summary),
        sections=[
            Section("What is lost", pictures=pictures, tables=tables),
            Section("Comparisons", tables=further),
            Section("What the networks were shown", pictures=[photos]),
        ],
        method=_method(config, summary),
        caveats=CAVEATS,
        source="Figure 8 is due to Moayeri et al., RIVAL10, CVPR 2022, section 5.3.",
    )


def headline(summary: Summary) -> list[str]:
    """One sentence for each model and head: background away against object away."""
    sentences = []
    first = treatments_of(summary)[0]
    for model, heads in summary["models"].items():
        for head, entry in heads.items():
            told = " and ".join(
                f"{percent(entry[first][region]['accuracy'])} % with the {region} treated"
                for region in regions_of(summary)
            )
            clean = percent(entry["clean"]["accuracy"])
            named = f"{model} ({HEADS.get(head, head + ' head')})"
            sentences.append(f"{named}: {clean} % accuracy on the photos, {told} ({first}).")
    return sentences[:8]


def results(summary: Summary, region: str) -> list[Table]:
    """Accuracy with a region treated, its paired drop, and the true class's probability."""
    names = [t for t in treatments_of(summary) if region in some_entry(summary)[t]]
    tables = []
    for measure, title in (
        ("accuracy", f"Accuracy with the {region} treated, percent"),
        ("accuracy_drop", f"Drop in accuracy with the {region} treated, points, paired"),
        ("probability", f"Probability of the true class with the {region} treated, percent"),
    ):
        rows = []
        for model, heads in summary["models"].items():
            for head, entry in heads.items():
                cells = [percent(entry[name][region][measure]) for name in names]
                clean = [] if "drop" in measure else [percent(entry["clean"][measure])]
                rows.append((model, head, *clean, *cells))
        photo = () if "drop" in measure else ("photo",)
        tables.append(Table(title, ("model", "head", *photo, *names), rows))
    return tables


def gap_table(summary: Summary) -> Table:
    """How much more the object's loss costs than the background's."""
    names = treatments_of(summary)
    rows = [
        (
            model,
            head,
            *(percent(entry[n]["foreground_minus_background"]["accuracy_drop"]) for n in names),
        )
        for model, heads in summary["models"].items()
        for head, entry in heads.items()
    ]
    title = "Drop with the object treated minus drop with the background treated, points, paired"
    return Table(title, ("model", "head", *names), rows)


def heads_table(summary: Summary) -> Table:
    """What a head that was fitted on grey backgrounds gains on every kind of photo."""
    columns = list(summary["heads"].values())
    rows = [
        (_setting(entries[0]), *(percent(entry["accuracy"]) for entry in entries))
        for entries in zip(*columns, strict=True)
    ]
    title = (
        "Accuracy of the head fitted on grey backgrounds minus that of the other, points, paired"
    )
    return Table(title, ("shown", *summary["heads"]), rows)


def differences(summary: Summary) -> Table:
    """Every pair of models: drop of one minus drop of the other, on the same images."""
    tests = [d["accuracy_drop"] for d in summary["differences"]]
    told = verdicts(tests, summary["statistics"], summary["dataset"]["images"])
    rows = [
        (
            f"{d['model']} minus {d['minus']}",
            d["head"],
            _setting(d),
            percent(d["accuracy_drop"]),
            verdict.word,
            verdict.p,
        )
        for d, verdict in zip(summary["differences"], told, strict=True)
    ]
    header = ("models", "head", "treatment", "difference of drops, points", "differs", "p")
    return Table("Differences between models", header, rows)


def _method(config: Mapping[str, Any], summary: Summary) -> list[str]:
    c = config["ablation"]
    told = {
        "grey": f"grey replaces it by {c['grey']:g}",
        "blur": f"blur is a Gaussian of sigma {100 * c['blur']:.3g} % of the height that sees the "
        "region's own pixels alone",
        "shuffle": f"shuffle moves {c['patches']} x {c['patches']} patches about inside it",
        "mean": "mean gives it its own mean colour",
        "black": "black replaces it by 0",
        "swap": "swap shows the same region of an image of another class, filled up from its "
        "surroundings where that image has none",
    }
    done = "; ".join(told[name] for name in treatments_of(summary))
    masks = {"soft": "as resized, their rims blend", "binary": "above 1/2"}[config["data"]["mask"]]
    return [
        f"One region of every photo is replaced: {done}. Masks are taken {masks}.",
        "Drops are differences between the same images with and without the treatment; brackets "
        "are bootstrap intervals with images as the clusters, resampled within classes.",
        METHOD.format(HOLM),
    ]


def _setting(row: Mapping[str, Any]) -> str:
    return "photo" if row["treatment"] == "none" else f"{row['treatment']} {row['region']}"


FIG8_TEXT = (
    "Figure 8: accuracy on photos with a grey background (bars, with intervals) and on the photos "
    "as they are (upright marks), averaged over the models of a group.",
    "Bar chart of the accuracy on grey backgrounds for every group and head; numbers in the CSV",
)
TREATMENTS_TEXT = (
    "Drop in accuracy under every treatment of the background (circles) and of the object "
    "(squares), paired with the same photos untreated; lines are intervals.",
    "Dot plots of the drop in accuracy by treatment, region and model; numbers in the CSV",
)
PHOTOS_TEXT = (
    "One image of each class, at most six, under every treatment, as the networks saw them.",
    "Contact sheet: a column for each image, a row for each treatment",
)
CAVEATS = [
    (
        "That the background is not used where its loss costs nothing.",
        "A network may read the same evidence from object and background; taking one away leaves "
        "the other.",
    ),
    (
        "How much information a region holds.",
        "Every treatment also adds something that no photo has: flat areas, edges at the mask. "
        "Networks differ in how they take that, so compare treatments before models. The mask's "
        "outline stays visible under all of them: with the object gone, its shape is still there.",
    ),
    (
        "The effect of a wrong context, except under swap.",
        "Grey, blur, mean colour, black and shuffling take context away; only swap shows that of "
        "another class, and its object-shaped hole is filled in smoothly, which can be seen.",
    ),
]
