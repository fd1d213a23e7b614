"""Saliency's numbers as tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from rival_jax.report import saliency
from rival_jax.report.saliency import METRICS
from rival_jax.report.saliency_summary import Summary, filed
from rival_jax.report.tables import Table, percent, ratio
from rival_jax.report.verdicts import STAR, by_measure, starred

COMPARED = ("iou", "density_gap", "average_precision")  # in the table of differences
SHARES = {"on_background": "gap below 0", "missed": "maximum off the object", "wrong": "wrong"}


def alignment_table(summary: Summary) -> Table:
    """Every subject and every metric."""
    means, _ = filed(summary)
    subjects = summary["subjects"]
    order = sorted(subjects, key=lambda name: -estimate(subjects[name][means]["iou"]))
    shown = ("accuracy", *METRICS)
    rows = [
        (
            name,
            *(cell(subjects[name][means][metric]) for metric in shown),
            _excluded(subjects[name]),
        )
        for name in order
    ]
    title = "Alignment of maps and objects, images filed under their "
    title += f"{summary['statistics']['classes']} class"
    header = ("model", *(summary["measures"][metric] for metric in shown), "flat, not counted")
    return Table(title, header, rows)


def _excluded(entry: Mapping[str, Any]) -> str:
    most = max((entry["excluded"].get(metric, 0) for metric in METRICS), default=0)
    return f"{entry['flat']}, {most}"


def differences_table(summary: Summary) -> list[Table]:
    """Paired differences of `COMPARED`; none for one subject."""
    rows = []
    images = summary["dataset"]["images"]
    pairs = [(pair, images) for pair in summary["differences"]]
    told = by_measure(pairs, COMPARED, summary["statistics"])
    for pair, mine in zip(summary["differences"], told, strict=True):
        cells = (starred(cell(pair[m]), mine[m]) for m in COMPARED)
        rows.append((f"{pair['subject']} minus {pair['minus']}", *cells))
    header = ("", *(METRICS[metric] for metric in COMPARED))
    title = f"Differences on the same images, true classes; {STAR}"
    return [Table(title, header, rows)] if rows else []


def hits_table(summary: Summary) -> Table:
    """What the finder's images are like, subject by subject."""
    rows = []
    for name, entry in summary["subjects"].items():
        hits = entry["hits"]
        cells = [percent(hits[share]) if known(hits[share]) else "" for share in SHARES]
        cells += [cell(hits["density_gap"])]
        cells += [cell(hits[f"target_drop_{region}"]) for region in saliency.REGIONS]
        rows.append((name, str(hits["images"]), *cells, cell(hits["true_drop_salient"])))
    header = ("model", "hits", *(f"{words}, %" for words in SHARES.values()), "density gap")
    header += tuple(f"drop, {region}" for region in saliency.REGIONS)
    title = f"The hits: {summary['statistics']['hits']} lowest density gaps of each class"
    return Table(title, (*header, "drop of true class, salient"), rows)


def effects_table(summary: Summary) -> Table:
    """Drops of both probabilities over all images with a salient background."""
    means, _ = filed(summary)
    subjects = [
        (entry[means], summary["dataset"]["images"] - entry["excluded"].get("target_excess", 0))
        for entry in summary["subjects"].values()
    ]
    told = by_measure(subjects, tuple(saliency.EFFECTS), summary["statistics"])
    rows = [
        (name, str(images), *(starred(cell(entry[m]), mine[m]) for m in saliency.EFFECTS))
        for name, (entry, images), mine in zip(summary["subjects"], subjects, told, strict=True)
    ]
    header = ("model", "images", *saliency.EFFECTS.values())
    return Table(f"Drops of probability; {STAR}", header, rows)


def estimate(interval: Mapping[str, float]) -> float:
    """The number to sort by; what is not known comes last."""
    return interval["estimate"] if known(interval) else -np.inf


def known(interval: Mapping[str, float]) -> bool:
    """Whether there is a number at all."""
    return bool(np.isfinite(interval["estimate"]))


def cell(interval: Mapping[str, float]) -> str:
    """A number and its interval, as far as they are known."""
    if not known(interval):
        return ""
    if not np.isfinite(interval["low"]):
        return f"{interval['estimate']:+.2f}"
    return ratio(interval)
