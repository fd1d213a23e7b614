"""Looks at photos and masks before networks do."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import scipy
from rich.console import Console

from rival_jax.configs import typed
from rival_jax.configs.look import Config
from rival_jax.data import Examples
from rival_jax.data.remarks import remarks
from rival_jax.data.source import name_hash
from rival_jax.experiments.subject import Material, source_of
from rival_jax.report.document import Document, write_document
from rival_jax.report.explorer import Explorer, Seen
from rival_jax.report.figures import Drawn
from rival_jax.report.grids import outlined, sheet, thumb
from rival_jax.report.results import Results, plain
from rival_jax.report.tables import Table, counted, write_csv
from rival_jax.report.words import Words
from rival_jax.runtime.results import Run
from rival_jax.types import Geometry

ONE_PROCESS = True  # not for several hosts

WORDS = Words(__package__)
ACROSS = 6  # photos in a line of the sheet
LISTED = 200  # doubtful photos on the page; all are in the file
FILE = "doubtful.csv"
KINDS = ("photo with outline", "photo", "mask")  # in the explorer


class Found(NamedTuple):
    """What a photo's mask is like."""

    name: str
    label: str
    area: float  # the object's share of the photo
    parts: int
    doubts: tuple[str, ...]  # of `titles.doubts` in words.toml


def run(config: Any, run: Run, console: Console) -> None:
    """Reads everything; writes the table of results, the page, the explorer and `FILE`."""
    config = typed(Config, config)
    subject = Material(config, console)
    examples = _examples(config, subject)
    found = looked(examples, config)
    told = examples.classes, examples.labels, examples.skipped, examples.fingerprint
    run.save_json("data.json", subject.described(*told))
    run.save_json("models.json", [])
    table = results(found)
    table.write(run.path)
    doubts = _doubts(config)
    listed = [(*one[:4], "; ".join(map(doubts.__getitem__, one.doubts))) for one in found]
    listed = [line for line in listed if line[-1]]
    write_csv(run.path / FILE, ("example", "class", "area", "parts", "doubts"), listed)
    every = Explorer(WORDS.text("title"), KINDS, ("area",), _seen(examples, found), len(found))
    document = _page(config, examples, found, listed, table)
    write_document(run, console, document._replace(explorer=every))


def dry_run(config: Any, console: Console) -> None:
    """Prints what would be read."""
    config = typed(Config, config)
    source = source_of(config.data, config.data.split)
    sizes = counted(len(source), "photo"), counted(len(source.classes), "class")
    console.print(f"{config.data.name} {config.data.split}: {' of '.join(sizes)}; nothing was read")


def _examples(config: Config, subject: Material) -> Examples:
    place, side = config.data, config.image_size
    source = source_of(place, place.split)
    return subject.read(source, Geometry((side, side), place.resize), f"{place.name} {place.split}")


def looked(examples: Examples, config: Config) -> list[Found]:
    """Every photo's mask, in the examples' order."""
    limits, found = config.doubtful, list[Found]()
    keys: list[tuple[bytes, bytes]] = []
    for row in range(len(examples)):
        item = examples.example(row)
        inside = item["mask"] > 127
        area, parts = float(inside.mean()), int(scipy.ndimage.label(inside)[1])
        told = {
            "small": area < limits.smallest,
            "large": area > limits.largest,
            "border": "framed" in remarks(item["mask"], False),
            "parts": parts > limits.parts,
        }
        label, doubts = (
            examples.classes[item["label"]],
            tuple(k for k, true in told.items() if true),
        )
        found.append(Found(item["name"], label, area, parts, doubts))
        keys.append((_key(item["mask"]), _key(item["image"])))
    counts = [Counter(some) for some in zip(*keys, strict=True)]
    return [
        one._replace(
            doubts=(
                *one.doubts,
                *(
                    k
                    for k, n, key in zip(("mask", "photo"), counts, pair, strict=True)
                    if n[key] > 1
                ),
            )
        )
        for one, pair in zip(found, keys, strict=True)
    ]


def _key(pixels: np.ndarray) -> bytes:
    return hashlib.blake2b(pixels.tobytes(), digest_size=16).digest()


def results(found: Sequence[Found]) -> Results:
    """Of every class and of all: photos, doubtful ones, and the object's share of a photo."""
    rows = []
    for label in (None, *dict.fromkeys(one.label for one in found)):
        mine = [one for one in found if label in (None, one.label)]
        areas = [one.area for one in mine]
        numbers = {"photos": len(mine), "doubtful": sum(bool(one.doubts) for one in mine)}
        numbers |= {"area": np.median(areas), "smallest": min(areas), "largest": max(areas)}
        sizes = len(mine), len({one.label for one in mine})
        rows += [plain("look", name, n, *sizes, **{"class": label}) for name, n in numbers.items()]
    return Results(rows)


def _page(
    config: Config,
    examples: Examples,
    found: Sequence[Found],
    listed: Sequence[Sequence[Any]],
    table: Results,
) -> Document:
    count = len(examples.skipped)
    whole = table.where(**{"class": None})
    fields = {**_limits(config), "size": config.image_size, "resize": config.data.resize}
    fields |= {"images": counted(len(found), "photo"), "doubtful": len(listed)}
    fields |= {"classes": counted(len(set(examples.labels.tolist())), "class")}
    fields |= {"area": 100 * whole.one(measure="area")["estimate"]}
    fields["skipped"] = WORDS.text("skipped", count=count) if count else ""
    tables = {"doubtful": [_listed(listed)], "classes": [_classes(table, examples.classes)]}
    pictures = {"sheet": lambda: _sheet(config, examples, found)}
    return WORDS.document(
        fields,
        subtitle=f"{config.data.name}, split {config.data.split}",
        headline=[WORDS.text("headline", **fields)],
        sections=WORDS.sections(table, fields, pictures=pictures, tables=tables),
    )


def _limits(config: Config) -> dict[str, Any]:
    limits = config.doubtful
    shares = {"smallest": 100 * limits.smallest, "largest": 100 * limits.largest}
    return {**shares, "parts": limits.parts}


def _doubts(config: Config) -> Mapping[str, str]:
    """What is doubtful, in words."""
    return {k: text.format(**_limits(config)) for k, text in WORDS.titles("doubts").items()}


def _listed(lines: Sequence[Sequence[Any]]) -> Table:
    """The doubtful photos, up to `LISTED`."""
    more = f" (the first {LISTED} of {len(lines)}; all in {FILE})" if len(lines) > LISTED else ""
    rows = [
        (name, label, why, f"{100 * area:.1f}", str(parts))
        for name, label, area, parts, why in lines[:LISTED]
    ]
    return Table(f"Doubtful masks{more}", ("photo", "class", "doubt", "area, %", "parts"), rows)


def _classes(table: Results, classes: Sequence[str]) -> Table:
    """All classes in their order, which outputs without names are taken to have."""
    rows = []
    for place, name in enumerate(classes):
        mine = {row["measure"]: row["estimate"] for row in table.where(**{"class": name})}
        counts = [f"{mine.get(key, 0):.0f}" for key in ("photos", "doubtful")]
        areas = [f"{100 * mine[k]:.1f}" if mine else "" for k in ("area", "smallest", "largest")]
        rows.append((name, str(place), *counts, *areas))
    header = ("class", "number", "photos", "doubtful", "area, %", "smallest", "largest")
    return Table("Classes in their order; area: the object's share of a photo", header, rows)


def _sheet(config: Config, examples: Examples, found: Sequence[Found]) -> Drawn:
    """Doubtful photos first, then others by the hash of their names."""
    drawn = lambda i: name_hash(f"{config.seed}\0{found[i].name}", 8)  # noqa: E731
    order = sorted(range(len(found)), key=lambda i: (not found[i].doubts, drawn(i)))
    cells, lines = [], []
    for place, i in enumerate(order[: config.shown]):
        one, said = found[i], f"{100 * found[i].area:.0f} %"
        said += f", {', '.join(one.doubts)}" if one.doubts else ""
        cells.append((*divmod(place, ACROSS), _outlined(examples, i), one.label, said))
        lines.append((one.name, one.label, one.area, one.parts, " ".join(one.doubts)))
    return Drawn(sheet(cells), ("example", "class", "area", "parts", "doubts"), lines)


def _outlined(examples: Examples, row: int) -> np.ndarray:
    item = examples.example(row)
    return outlined(thumb(item["image"]), thumb(item["mask"] > 127))


def _seen(examples: Examples, found: Sequence[Found]) -> Iterator[Seen]:
    for row, one in enumerate(found):
        item = examples.example(row)
        pictures = outlined(item["image"], item["mask"] > 127), item["image"], item["mask"]
        yield Seen(one.name, one.label, pictures, {"masks": (one.area,)})
