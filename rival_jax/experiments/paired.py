"""Finished runs of one experiment, joined: networks of both measured on the same images."""

from __future__ import annotations

import dataclasses
import functools
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from rival_jax.configs import typed
from rival_jax.images import Images, per_image
from rival_jax.named import Axis, Named
from rival_jax.report import paired
from rival_jax.report.document import Document, Section
from rival_jax.report.paired import Pair
from rival_jax.report.results import Results, Row
from rival_jax.report.study import Study
from rival_jax.report.tables import counted, plain, ratio
from rival_jax.report.words import Words
from rival_jax.runtime import same_config
from rival_jax.runtime.names import by_difference
from rival_jax.runtime.plugins import plugin
from rival_jax.runtime.results import Run, parsed

WORDS = Words(__package__, "paired.toml")
# Keys of a config that are about networks, which before and after may differ in.
NETWORKS = ("models", "head", "probe", "dtype", "normalise", "preprocessing")
OTHERS = ("preset", "groups", "pairs", "shard")  # that change no row
DRAWN = 40  # numbers in a figure, at most
SAME = {"name": "the data set", "classes": "the classes", "fingerprint": "the pictures"}


def titled(models: Sequence[tuple[Path, str]]) -> list[str]:
    """What networks are called: one of a name in several runs with what tells the runs apart.

    Args:
      models: folder of the run and name of each.
    """
    once = Counter(name for _, name in models)
    folders = [*dict.fromkeys(folder for folder, _ in models)]
    apart = dict(zip(folders, by_difference([*map(str, folders)]), strict=True))
    return [name if once[name] == 1 else f"{name} ({apart[folder]})" for folder, name in models]


def pairs(models: Sequence[tuple[Path, str]]) -> list[Pair]:
    """Of two runs, the networks with one name in both, or the only one of each, as `titled`."""
    first, *second = dict.fromkeys(folder for folder, _ in models)
    if len(second) != 1:
        return []
    named = [*zip(models, titled(models), strict=True)]
    before, after = ([one for one in named if one[0][0] == folder] for folder in (first, *second))
    alone = len(before) == len(after) == 1
    return [(a, b) for (_, p), a in before for (_, q), b in after if alone or p == q]


def apart(folders: Sequence[Path]) -> str:
    """Why finished runs cannot be compared in pairs, in words; "" if they can.

    Raises:
      FileNotFoundError, ValueError: for a run that is not finished, or whose files are damaged.
    """
    configs, facts = _all(folders, "config"), _all(folders, "data")
    kinds = [str(config.get("experiment")) for config in configs]
    if len(folders) != 2:
        return f"there are {len(folders)} runs, and pairs are of two"
    if len({*kinds}) > 1:
        return f"one is of {kinds[0]}, the other of {kinds[1]}"
    if not hasattr(plugin("experiments", kinds[0]), "STUDY"):
        return f"{kinds[0]} has no rows of one study"
    for key, what in SAME.items():
        if facts[0].get(key) != facts[1].get(key):
            return f"{what} ({key} in data.json) of the two differ"
    _, changed = same_config.differences(*(dataclasses.asdict(_typed(one)) for one in configs))
    free = {*NETWORKS, *OTHERS}
    if told := [words for words in changed if words.partition(":")[0].split(".")[0] not in free]:
        return f"their configs differ: {'; '.join(told)}"
    if not pairs(_models(folders)):
        return "no network has one name in both, and one has several networks"
    return ""


def _models(folders: Sequence[Path]) -> list[tuple[Path, str]]:
    cards = zip(folders, _all(folders, "models"), strict=True)
    return [(folder, card["name"]) for folder, some in cards for card in some]


def _all(folders: Sequence[Path], name: str) -> list[Any]:
    return [parsed(folder / f"{name}.json") for folder in folders]


class Both(NamedTuple):
    """Two finished runs."""

    study: Study
    given: tuple[Any, ...]  # further arguments of its measures
    images: Images
    pairs: Sequence[Pair]
    data: Mapping[str, Any]  # data.json of the first, with what both have to say
    cards: Sequence[Mapping[str, Any]]  # models.json of both, by title
    folders: Sequence[Path]


def read(folders: Sequence[Path]) -> Both:
    """Two runs joined.

    Raises:
      ValueError: if they cannot be compared, see `apart`, or were not measured on the same images
        under the same settings.
    """
    if why := apart(folders):
        raise ValueError(f"{' and '.join(map(str, folders))} cannot be paired: {why}")
    models, config = _models(folders), parsed(folders[0] / "config.json")
    study: Study = plugin("experiments", config["experiment"]).STUDY
    facts, titles, parts = _all(folders, "data"), titled(models), []
    clean: dict[str, Any] = {}
    for folder, told in zip(folders, facts, strict=True):
        called = {m: t for (f, m), t in zip(models, titles, strict=True) if f == folder}
        clean |= {_retitled(name, called): share for name, share in told.get("clean", {}).items()}
        units = parsed(folder / "units.json")
        files = [folder / file for unit, file in units.items() if unit.rpartition("/")[0] in called]
        stored = dataclasses.replace(study, derived=dict).read(files, facts[0]["classes"])
        labels = {name: (title,) for name, title in called.items()}
        named = {k: v.relabelled("model", ("model",), labels) for k, v in stored.values.items()}
        parts.append(stored._replace(values=named))
    images = _joined(*parts)
    images = images._replace(values=study.derived(images.values))
    notices = [notice for one in facts for notice in one.get("notices", [])]
    cards = [card for some in _all(folders, "models") for card in some]
    return Both(
        study,
        study.alone(_typed(config)),
        images,
        pairs(models),
        {**facts[0], "notices": list(dict.fromkeys(notices)), "clean": clean},
        [{**card, "name": title} for card, title in zip(cards, titles, strict=True)],
        folders,
    )


def _typed(config: Mapping[str, Any]) -> Any:
    return typed(plugin("configs", config["experiment"]).Config, config)


def _retitled(name: str, called: Mapping[str, str]) -> str:
    """A network's name, perhaps with more in brackets, with its title for the name."""
    model = max((one for one in called if f"{name} ".startswith(f"{one} ")), key=len)
    return called[model] + name.removeprefix(model)


def _joined(first: Images, second: Images) -> Images:
    """The networks of both, on the first's images in its order.

    Raises:
      ValueError: for different images or settings.
    """
    return first._replace(
        values={name: _side_by_side(one, second.values[name]) for name, one in first.values.items()}
    )


def _side_by_side(one: Named, other: Named) -> Named:
    place = next(i for i, axis in enumerate(one.axes) if "model" in axis.fields)
    for number, (axis, theirs) in enumerate(zip(one.axes, other.axes, strict=True)):
        if number == place:
            continue
        if odd := {*axis.keys} ^ {*theirs.keys}:
            named, key = ", ".join(axis.fields), " ".join(map(str, min(odd, key=str)))
            raise ValueError(
                f"{named} {key} is in one of the runs only; pairs are of the same images and "
                "settings: finish the run that has less"
            )
        other = other.reordered(axis)
    joined = Axis(one.axes[place].fields, (*one.axes[place].keys, *other.axes[place].keys))
    values = np.concatenate([np.asarray(one.values), np.asarray(other.values)], place)
    return per_image(values, (*one.axes[:place], joined, *one.axes[place + 1 :]))


def told(run: Run, both: Both, **options: Any) -> tuple[Results, Document]:
    """All numbers of both runs and their changes, and the page about these; writes `paired.FILE`.

    Args:
      options: of `statistics.bootstrap`.
    """
    study, given = both.study, both.given
    results = study.results(both.images, *given, **options)
    changed = paired.changes(study, both.pairs, *given).results(both.images, **options)
    measured = [(pair, measure) for pair in both.pairs for measure in changed.of("measure")]
    sections = [
        _section(results, changed.where(measure=measure), pair, options["confidence"], number)
        for number, (pair, measure) in enumerate(measured, 1)
    ]
    tables = [table for section in sections for table in section.tables]
    paired.write(tables, run.path / paired.FILE)
    return results + changed, _page(both, sections, options["confidence"])


def _section(
    results: Results, changed: Results, pair: Pair, confidence: float, number: int
) -> Section:
    """One measure under all settings."""
    measure = changed.rows[0]["measure"]
    axes = [axis for axis in results.axes() if axis not in ("model", "measure")]
    several = [axis for axis in axes if len({str(row.get(axis)) for row in changed}) > 1]

    def named(row: Row) -> str:
        words = [row[axis] for axis in several if row.get(axis) not in (None, "none")]
        told = (f"{word:g}" if isinstance(word, float) else str(word) for word in words)
        return " ".join(told) or ("none" if several else measure.replace("_", " "))

    lines = paired.lines(results, changed, pair, named)
    title = f"{measure.replace('_', ' ')}, {pair[1]} after {pair[0]}"
    cell = lambda row: (ratio if row["contrast"] else plain)(row)  # noqa: E731
    table = paired.table(title, pair, lines, confidence, cell)
    told = {"measure": measure, "before": pair[0], "after": pair[1]}
    draw = functools.partial(paired.drawn, lines, pair, "")
    picture = WORDS.picture(f"{paired.NAME}_{number}", draw, words=paired.NAME, **told)
    return Section(title, pictures=[picture] if len(lines) <= DRAWN else [], tables=[table])


def _page(both: Both, sections: Sequence[Section], confidence: float) -> Document:
    """Every measure of every pair."""
    judged = [[row[-2] == "yes" for row in s.tables[0].rows] for s in sections]
    document = WORDS.document(
        {"study": both.study.name.replace("_", " "), "percent": 100 * confidence},
        subtitle=f"{counted(len(both.pairs), 'pair')}, {counted(len(both.images.names), 'image')}",
        headline=[
            f"{section.tables[0].title}: {sum(some)} of {counted(len(some), 'number')} differ"
            + "s" * (len(some) == 1)
            for section, some in zip(sections, judged, strict=True)
        ],
        sections=sections,
    )
    return document._replace(runs=both.folders)
