"""Saliency's numbers as tables: a line for each model under each method."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from rival_jax.experiments.saliency.measures import (
    EFFECTS,
    GREYED,
    MEASURES,
    METRICS,
    SHARES,
    subjects,
)
from rival_jax.report import tables, verdicts
from rival_jax.report.images import Images
from rival_jax.report.results import Results, Row
from rival_jax.report.tables import Table, percent, ratio
from rival_jax.report.verdicts import STAR

COMPARED = ("iou", "density_gap", "average_precision")  # in the table of differences
DROPS = {f"target_drop_{region}": f"drop, {region}" for region in GREYED}


def alignment_table(raw: Images, levels: Results, filed: str) -> Table:
    """Every model and every metric."""
    flat = dict(zip(subjects(raw), raw.values["flat"].values.sum(0), strict=True))

    def left_out(row: Row) -> str:
        counted = min(_images(levels, row["subject"], metric) for metric in METRICS)
        return f"{flat[row['model'], row['method']]:.0f}, {row['images'] - counted}"

    order = dict.fromkeys([*levels.where(measure="iou").ranked("subject"), *levels.of("subject")])
    title = f"Alignment of maps and objects, images filed under their {filed} class"
    columns = ("accuracy", *METRICS, "flat, not counted")
    rows = levels + _column(levels, "flat, not counted", left_out)
    return _by_subject(title, rows, columns, order=list(order))


def differences(results: Results, confidence: float) -> list[Table]:
    """Paired differences of `COMPARED`; none for one model under one method."""
    pairs = Results(row for row in results.where(measure=COMPARED) if row["contrast"])
    named = pairs.changed(lambda row: {**row, "subject": f"{row['subject']} {row['contrast']}"})
    title = f"Differences on the same images, true classes; {STAR}"
    return [_by_subject(title, _starred(named, confidence), COMPARED)] if pairs.rows else []


def hits_table(levels: Results, hits: Results, count: int) -> Table:
    """What the finder's images are like."""
    titles = {name: f"{words}, %" for name, words in SHARES.items()} | DROPS
    titles["true_drop_salient"] = "drop of true class, salient"
    number = _column(levels, "hits", lambda row: str(_images(hits, row["subject"], "density_gap")))
    columns = ("hits", *SHARES, "density_gap", *DROPS, "true_drop_salient")
    title = f"The hits: {count} lowest density gaps of each class"
    return _by_subject(title, number + hits, columns, titles=titles)


def effects_table(levels: Results, confidence: float) -> Table:
    """Drops of both probabilities over all images with a salient background."""
    images = lambda row: str(_images(levels, row["subject"], "target_excess"))  # noqa: E731
    starred = _starred(levels.where(measure=list(EFFECTS)), confidence)
    rows = _column(levels, "images", images) + starred
    return _by_subject(f"Drops of probability; {STAR}", rows, ("images", *EFFECTS))


def _by_subject(
    title: str,
    results: Results,
    columns: Sequence[str],
    *,
    titles: Mapping[str, str] | None = None,
    order: Sequence[str] | None = None,
) -> Table:
    told = {**MEASURES, **(titles or {}), "subject": "model"}
    options = {"titles": told, "columns": columns, "order": order}
    return tables.pivot(title, results, ("subject",), "measure", _cell, **options)


def _cell(row: Row) -> str:
    return row.get("cell") or (percent if row["measure"] in SHARES else ratio)(row)


def _column(levels: Results, name: str, cell: Callable[[Row], str]) -> Results:
    """A column that every model has a cell in, written from its accuracy."""
    accuracy = levels.where(measure="accuracy")
    return accuracy.changed(lambda row: {**row, "measure": name, "cell": cell(row)})


def _images(results: Results, subject: str, measure: str) -> int:
    return sum(row["images"] for row in results.where(subject=subject, measure=measure))


def _starred(results: Results, confidence: float) -> Results:
    """With cells that tell what differs from 0, all being of one table."""
    told = verdicts.of_rows(results, confidence)
    cells = [verdicts.starred(ratio(row), v) for row, v in zip(results, told, strict=True)]
    return Results({**row, "cell": cell} for row, cell in zip(results, cells, strict=True))
