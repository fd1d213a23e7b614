"""The page of noise in objects and backgrounds: results of each norm, comparisons, examples."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import scipy  # which loads its `stats` when that is first used: a second and a half

from rival_jax.experiments.rfs import examples, figures, measures
from rival_jax.experiments.rfs.examples import Pictures
from rival_jax.experiments.rfs.joined import Joined
from rival_jax.experiments.rfs.measures import NORMS, SIDES, WORDS, Found, levels_text
from rival_jax.report import paired, tables
from rival_jax.report.document import Document, Section
from rival_jax.report.explorer import Explorer
from rival_jax.report.figures import ENDS
from rival_jax.report.results import Results, Row
from rival_jax.report.tables import Table, counted, ratio
from rival_jax.report.verdicts import of_rows
from rival_jax.runtime.results import Run, parsed

MEASURES = WORDS.titles("measures")  # as before and after are compared
CLASSES_SHOWN = 40
CROWDED = 0.05  # mean accuracies this near 0 or 1 leave RFS a ratio of small numbers


def told(
    run: Run, runs: Joined, named: Mapping[str, Sequence[str]], pictures: Pictures | None = None
) -> tuple[Results, Document]:
    """The table of results and the page about it; writes `examples.FILE` and `paired.FILE`.

    Args:
      run: where to write; its config has the options of `statistics.bootstrap`.
      runs: finished ones.
      named: group -> models, see `Joined.groups`.
      pictures: without it the page has no photos.

    Raises:
      ValueError: for groups that do not fit the models.
    """
    found = measures.tabled(runs, named, **run.config["statistics"])
    lines = ([*row.values()] for model in runs.models for row in examples.ranked(runs, model))
    tables.write_csv(run.path / examples.FILE, examples.HEADER, lines)
    paired.write([_changes(found, pair) for pair in runs.pairs], run.path / paired.FILE)
    return found.results + found.changed, page(found, pictures)


def page(found: Found, pictures: Pictures | None) -> Document:
    """All that the results say, and the photos of some images."""
    runs, norms, options = found.runs, found.norms, found.options
    clean = found.rows("accuracy", region="clean")
    sizes = [counted(len(runs.models), "model"), counted(clean.rows[0]["images"], "image")]
    sizes += [counted(clean.rows[0]["classes"], "class")]
    noise = [f"{norm} noise, {levels_text(norm, found.levels(norm))}" for norm in norms]
    fields = {**options, "images": found.images, "kind": WORDS.text(options["method"])}
    fields |= {"percent": 100 * options["confidence"], "data": runs.data["name"]}
    fields |= {"shown": runs.models[0] if len(runs.models) == 1 else sizes[0]}
    fields |= limits(found) | _draws(runs)
    overview = [table for norm in norms for table in of_models(found, norm, "results")]
    fields |= {"norms": norms, "first": norms[0], "colours": lambda name: found.look(name)[0]}
    document = WORDS.document(
        fields,
        subtitle="; ".join([", ".join(sizes), *noise]),
        headline=headline(found),
        sections=[
            *_before_after(found, fields),
            *WORDS.sections(found.results, fields, "results", tables={"results": overview}),
            *(section for norm in norms for section in _of_norm(found, norm, fields)),
            *_examples(found, pictures),
        ],
        cases=[*_cases(found), runs.data["name"]],
    )
    of_photos = {row["model"]: {end: row[end] for end in ENDS} for row in clean}
    document = document._replace(runs=runs.folders, groups=found.members, clean=of_photos)
    if not pictures:
        return document
    level = levels_text(norms[0], [examples.shown(norms[0], found.levels(norms[0]))])
    kinds, columns = (*examples.KINDS, "mask"), [*examples.NUMBERS.values()]
    images, title = examples.explored(runs, pictures), WORDS.text("explorer", level=level)
    return document._replace(
        explorer=Explorer(title, kinds, columns, images, len(runs.images.names))
    )


def _before_after(found: Found, fields: Mapping[str, Any]) -> list[Section]:
    """The models of two runs in pairs; none unless they have some in common, or one each."""
    pictures, pairs = [], found.runs.pairs
    if not pairs:
        return []
    for number, pair in enumerate(pairs, 1):
        name = paired.NAME if len(pairs) == 1 else f"{paired.NAME}_{number}"
        lines = paired.lines(found.results, found.changed, pair, _measured)
        draw = functools.partial(paired.drawn, lines, pair, WORDS.text("shares"))
        told = {**fields, "before": pair[0], "after": pair[1]}
        pictures.append(WORDS.picture(name, draw, words=paired.NAME, **told))
    tables = {paired.NAME: [_changes(found, pair) for pair in pairs]}
    drawn = {paired.NAME: pictures}
    return WORDS.sections(found.changed, fields, paired.NAME, pictures=drawn, tables=tables)


def _changes(found: Found, pair: paired.Pair) -> Table:
    """The means over levels before and after, and their paired differences."""
    title = WORDS.text(paired.NAME, before=pair[0], after=pair[1])
    lines = paired.lines(found.results, found.changed, pair, _measured)
    cell = lambda row: (tables.percent if row["measure"] == "accuracy" else ratio)(row)  # noqa: E731
    return paired.table(title, pair, lines, found.options["confidence"], cell)


def _measured(row: Row) -> str:
    """What a change is of, in words; "" unless it is of clean images or a mean over levels."""
    region, clean = row.get("region"), row.get("region") == "clean"
    named = MEASURES.get(region or row["measure"], "") if clean or row.get("level") is None else ""
    return f"{named}, {row['norm']}" if named and not clean else named


def _of_norm(found: Found, norm: str, fields: Mapping[str, Any]) -> list[Section]:
    """Figures 2, 4 and 5, and all tables of a norm but the first."""
    further = {
        "dots": figures.with_classes(found),
        "groups": bool(found.members),
        "colour": len(found.curves[1]) > figures.CURVES_IN_COLOUR,
        "classes": len(found.results.of("class")) > figures.MOST_CLASSES,
        "models": len(found.runs.models) > figures.MODELS_AS_PANELS,
    }
    rows, look = figures.curves(found, norm)
    said = {**fields, **look, "norm": NORMS[norm], "key": norm}
    said |= {key: f" {WORDS.text(key)}" if true else "" for key, true in further.items()}
    drawn = {"fig2": figures.accuracies, "fig5": figures.densities}
    pictures = {name: functools.partial(draw, found, norm) for name, draw in drawn.items()}
    told = {
        "pairs": [differences(found, norm, field) for field in ("model", "group")],
        "by_class": [by_class(found, norm)],
    }
    shown_of = {"fig4": rows}
    return WORDS.sections(found.results, said, "norm", pictures=pictures, tables=told, of=shown_of)


def headline(found: Found) -> list[str]:
    """The main results: of each norm, and whether the norms order the models alike."""
    models = found.runs.models
    told = [_sentence(found, norm) for norm in found.norms]
    if len(told) > 1 and len(models) > 2:
        rfs = [found.rows("rfs_of_means", norm) for norm in found.norms[:2]]
        ranks = scipy.stats.rankdata([[row["estimate"] for row in rows] for rows in rfs], axis=1)
        rho = f" (Spearman's rho {np.corrcoef(ranks)[0, 1]:.2f})" if np.ptp(ranks, 1).all() else ""
        order = "same_order" if np.array_equal(*ranks) else "other_order"
        told.append(WORDS.text(order, models=len(models), rho=rho))
    return told


def _sentence(found: Found, norm: str) -> str:
    """A sentence on the only model, or on those with the highest and the lowest RFS."""
    names, pairs, rfs = found.ranked(norm), found.pairs(norm), found.rows("rfs_of_means", norm)
    first, last = names[0], names[-1]
    told = {"norm": NORMS[norm], "images": found.images, "models": len(names), "first": first}
    told |= {"last": last, "pairs": len(pairs), "leaning": _leaning(found, norm, last)}
    told |= {k: ratio(rfs.one(model=name)) for k, name in (("top", first), ("bottom", last))}
    if not pairs:
        shares = [found.rows("accuracy", norm, region=side).one()["estimate"] for side in SIDES]
        return WORDS.text("one", fg=100 * shares[0], bg=100 * shares[1], **told)
    apart = sum(v.differs for v in of_rows(pairs, found.options["confidence"]))
    gap = next(row for row in pairs if {row["model"], row["contrast"][6:]} == {first, last})
    if gap["model"] == last:
        gap = {"estimate": -gap["estimate"], "low": -gap["high"], "high": -gap["low"]}
    return WORDS.text("many" if apart else "alike", gap=ratio(gap), apart=apart, **told)


def _leaning(found: Found, norm: str, name: str) -> str:
    """Which noise costs a model more, if its RFS differs from 0, tested among all models."""
    every = found.rows("rfs_of_means", norm)
    judged = of_rows(every, found.options["confidence"])
    if not judged[every.of("model").index(name)].differs:
        few = len(found.runs.images.names) == 1
        return WORDS.text("unclear_one" if few else "unclear", images=found.images)
    region = "foreground" if every.one(model=name)["estimate"] > 0 else "background"
    return WORDS.text("costs", region=region)


def limits(found: Found) -> dict[str, Any]:
    """The numbers of this run that caveats name."""
    runs, norms = found.runs, found.norms
    counts = {k: n for k, n in zip(runs.data["classes"], runs.data["counts"], strict=True) if n}
    smallest = min(counts, key=counts.__getitem__)
    both = [found.rows("accuracy", n, level=found.levels(n), region=SIDES) for n in norms]
    sides = [[row["estimate"] for one in both for row in one.where(region=s)] for s in SIDES]
    means = np.mean(sides, axis=0)
    orders = (found.rows(measure, norms) for measure in ("rfs_of_means", "mean_of_rfs"))
    gaps = [
        (abs(a["estimate"] - b["estimate"]), a["model"], a["norm"])
        for a, b in zip(*orders, strict=True)
    ]
    told = dict(zip(("gap", "model", "norm"), max(gaps), strict=True))
    told |= {"crowded": int((np.minimum(means, 1 - means) < CROWDED).sum()), "near": CROWDED}
    told |= {"points": len(means), "area": "; ".join(WORDS.text(f"area_{norm}") for norm in norms)}
    told |= {"only": WORDS.text("one_norm") if len(norms) == 1 else "", "smallest": smallest}
    told |= {"heads": ", ".join(sorted({str(card.get("head", "unknown")) for card in runs.cards}))}
    pairs = sum(len(found.pairs(norm)) for norm in norms)
    return {**told, "fewest": counted(counts[smallest], "image"), "pairs": pairs}


def _draws(runs: Joined) -> dict[str, str]:
    """How noise was drawn, and if its rows decided how often, what that saved."""
    every = [config["noise"] for config in _configs(runs)]
    by_level = all(one.get("draws") == "by_level" for one in every)
    told = {"draws": WORDS.text("by_level" if by_level else "shared"), "enough": ""}
    if all(one["trials"] == "auto" for one in every):
        most, images = max(one["most_trials"] for one in every), len(runs.images.names)
        counts = np.isfinite(runs.by_trial.values).sum(0)  # [model, place]
        used, full = (images * (len(counts) + n) for n in (counts.sum(), most * counts.size))
        said = {"most": most, "trials": runs.trials(), "used": used, "full": full}
        wider = 100 * max(one["widening"] for one in every)
        said |= {"share": 100 * used / full, "wider": wider}
        said["first"] = WORDS.text("first") if by_level else ""
        told["enough"] = " " + WORDS.text("enough", **said)
    return told


def _configs(runs: Joined) -> list[Any]:
    return [parsed(folder / "config.json") for folder in runs.folders]


def _cases(found: Found) -> Iterator[str]:
    if sum(len(found.pairs(norm)) for norm in found.norms) > 1:
        yield "pairs"
    if any(config.get("normalise") == "none" for config in _configs(found.runs)):
        yield "bare"


def of_models(found: Found, norm: str, *names: str) -> list[Table]:
    """Tables of models under noise of one norm, highest RFS first; `names`: in words.toml."""
    rows = found.results.changed(lambda r: {**r, "column": r.get("region") or r["measure"]})
    said: dict[str, Any] = {"norm": NORMS[norm], "key": norm}
    said["trials"] = found.runs.trials(norm=norm)
    return WORDS.tables(rows, *names, levels=levels_text(norm, found.levels(norm)), **said)


def differences(found: Found, norm: str, field: str = "model") -> Table:
    """Every pair of models or groups: RFS of one minus RFS of the other, on the same images."""
    title = f"{NORMS[norm]}: differences in RFS between {field}s"
    confidence, named = found.options["confidence"], {field: f"{field}s"}
    pairs = found.pairs(norm, field)
    table = tables.differences(title, pairs, (field,), ratio, confidence, titles=named)
    errors = [row["estimate"] for row in found.pairs(norm, field, "rfs_of_means_noise_error")]
    texts = [f"{error:.3f}" for error in errors] or [""] * len(pairs)
    rows = [(*row, text) for row, text in zip(table.rows, texts, strict=True)]
    return Table(title, (*table.header, "noise error"), rows)


def by_class(found: Found, norm: str) -> Table:
    """RFS of every class, from its accuracies averaged over levels, lowest first."""
    rows, sums, some = found.rows("rfs_of_means", norm, **{"class": bool}), Counter[str](), ""
    for row in rows:
        sums[row["class"]] += row["estimate"]
    order = sorted(sums, key=sums.__getitem__)
    if len(order) > CLASSES_SHOWN:
        half, some = CLASSES_SHOWN // 2, f", the {CLASSES_SHOWN} most extreme"
        order = order[:half] + order[-half:]
    title = WORDS.text("by_class", norm=NORMS[norm], some=some)
    models = found.ranked(norm)
    return tables.pivot(title, rows, ("class",), "model", ratio, columns=models, order=order)


def _examples(found: Found, pictures: Pictures | None) -> list[Section]:
    """Images with the lowest and the highest gap, and one of each class, as they were seen."""
    runs, norm = found.runs, found.norms[0]
    models = found.ranked(norm, figures.MODELS_AS_PANELS)
    at = examples.shown(norm, found.levels(norm))
    level = levels_text(norm, [at])
    said = {"level": level, "trials": runs.trials(norm=norm, level=at), "file": examples.FILE}
    drawn = {}
    if pictures:
        seen = functools.cache(pictures)
        drawn["fig1"] = functools.partial(examples.figure_1, runs, models, seen)
        drawn["examples"] = functools.partial(examples.one_of_each, runs, seen)
    rows = examples.tabled(runs, models)
    return WORDS.sections(rows, {**said, "key": norm}, "examples", pictures=drawn)
