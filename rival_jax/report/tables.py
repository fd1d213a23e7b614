"""The summary as tables: on the console, as Markdown and as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from rich import box
from rich.console import Console
from rich.table import Table as RichTable

from rival_jax.report.cubes import ends
from rival_jax.report.summary import Summary
from rival_jax.report.verdicts import HOLM, METHOD, verdicts
from rival_jax.runtime.console import Terminal, plain
from rival_jax.runtime.names import csv_cell
from rival_jax.runtime.names import markdown as in_markdown

SIDES = {"fg": "foreground", "bg": "background", "all": "whole-image"}
PRINTED, WIDE = 21, 200  # rows on the console, and columns where it is no terminal
CLASSES_SHOWN = 40
KINDS = {"differences": "models", "group_differences": "groups"}
NORM_TITLES = {"linf": "Pixel noise (linf)", "l2": "Noise of fixed l2 norm"}


class Table(NamedTuple):
    """Text cells ready to be shown."""

    title: str
    header: tuple[str, ...]
    rows: list[tuple[str, ...]]


def percent(interval: Mapping[str, float]) -> str:
    """An accuracy and its interval: "71.2 [68.0, 74.1]"."""
    estimate, low, high = (
        f"{round(100 * interval[name], 1) + 0.0:.1f}" for name in ("estimate", "low", "high")
    )
    return f"{estimate} [{low}, {high}]"


def ratio(interval: Mapping[str, float]) -> str:
    """An RFS and its interval: "+0.42 [+0.31, +0.51]"."""
    estimate, low, high = (signed(interval[name]) for name in ("estimate", "low", "high"))
    return f"{estimate} [{low}, {high}]"


def counted(count: int, thing: str) -> str:
    """How many there are, in words.

    >>> counted(1, "model"), counted(2, "class")
    ('1 model', '2 classes')
    """
    ending = "" if count == 1 else "es" if thing.endswith("s") else "s"
    return f"{count} {thing}{ending}"


def signed(value: float) -> str:
    """Two digits and a sign, none before zero."""
    text = f"{value:+.2f}"
    return text if float(text) else "0.00"


def results(summary: Summary, norm: str) -> Table:
    """Every model's accuracies, in percent, and RFS under noise of one norm, highest RFS first."""
    models = summary["models"]
    some = next(iter(models.values()))[norm]
    sides = [side for side in SIDES if f"accuracy_{side}" in some]
    rows = []
    for name in ranked(summary, norm):
        accuracies = [models[name]["accuracy_clean"]]
        accuracies += [models[name][norm][f"accuracy_{side}"]["mean"] for side in sides]
        rows.append((name, *map(percent, accuracies), ratio(models[name][norm]["rfs_of_means"])))
    title = f"{norm_title(norm)}: {levels_text(norm, some['levels'])}, "
    title += counted(some["trials"], "trial")
    header = ("model", "clean", *(f"{SIDES[side]} noise" for side in sides), "RFS")
    return Table(title, header, rows)


def further(summary: Summary, norm: str) -> Table:
    """The other order of averaging, iRFS, and what the finite number of trials adds to RFS."""
    rows = []
    for name in ranked(summary, norm):
        entry = summary["models"][name][norm]
        cells = (ratio(entry["mean_of_rfs"]), ratio(entry["irfs_mean"]))
        error = _error(entry["noise_error"]["rfs_of_means"])
        rows.append((name, *cells, percent(entry["irfs_negative"]), error))
    header = ("model", "mean of RFS", "mean iRFS", "iRFS < 0, %", "noise error of RFS")
    return Table(f"{norm_title(norm)}: other summaries", header, rows)


def differences(summary: Summary, norm: str, kind: str = "differences") -> Table:
    """Every pair of models: RFS of one minus RFS of the other on the same images and noise.

    Args:
      summary: what to show.
      norm: of the noise.
      kind: "differences" of models or "group_differences".
    """
    pairs = summary[kind][norm]
    told = verdicts(
        [pair["rfs_of_means"] for pair in pairs],
        summary["statistics"],
        summary["dataset"]["images"],
    )
    rows = [
        (
            f"{pair['model']} minus {pair['minus']}",
            ratio(pair["rfs_of_means"]),
            verdict.word,
            verdict.p,
            _error(pair["noise_error"]),
        )
        for pair, verdict in zip(pairs, told, strict=True)
    ]
    title = f"{norm_title(norm)}: differences in RFS between {KINDS[kind]}"
    return Table(title, (KINDS[kind], "difference", "differs", "p", "noise error"), rows)


def _error(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def by_class(summary: Summary, norm: str) -> Table:
    """RFS of every class, from its accuracies averaged over levels, lowest first."""
    names = ranked(summary, norm)
    columns = [summary["models"][name][norm]["rfs_by_class"] for name in names]
    classes = sorted(columns[0], key=lambda label: sum(c[label]["estimate"] for c in columns))
    if len(classes) > CLASSES_SHOWN:
        half = CLASSES_SHOWN // 2
        classes = classes[:half] + classes[-half:]
    rows = [(label, *(ratio(column[label]) for column in columns)) for label in classes]
    some = f", the {CLASSES_SHOWN} most extreme" if len(columns[0]) > CLASSES_SHOWN else ""
    return Table(f"{norm_title(norm)}: RFS by class{some}", ("class", *names), rows)


def ranked(summary: Summary, norm: str, most: int | None = None) -> list[str]:
    """Model names, highest RFS first; no more than `most`, at evenly spaced ranks."""
    models = summary["models"]
    names = sorted(models, key=lambda name: -models[name][norm]["rfs_of_means"]["estimate"])
    if most is None or len(names) <= most:
        return names
    return [names[round(k * (len(names) - 1) / (most - 1))] for k in range(most)]


def norm_title(norm: str) -> str:
    """What the noise of a norm is, in words."""
    return NORM_TITLES[norm]


def levels_text(norm: str, levels: Sequence[float]) -> str:
    """The levels of a norm in words, whole steps of pixel values as such.

    >>> levels_text("linf", [30 / 255, 60 / 255]), levels_text("l2", [25.0])
    ('sigma 30/255 to 60/255 (2 levels)', 'eps 25')
    """
    steps = [round(255 * level) for level in levels]
    whole = norm == "linf" and all(
        abs(255 * level - step) < 1e-3 for level, step in zip(levels, steps, strict=True)
    )
    words = [f"{step}/255" for step in steps] if whole else [f"{level:.3g}" for level in levels]
    name = "sigma" if norm == "linf" else "eps"
    if len(words) == 1:
        return f"{name} {words[0]}"
    return f"{name} {words[0]} to {words[-1]} ({len(words)} levels)"


def markdown(summary: Summary) -> str:
    """All tables as GitHub Markdown."""
    return "\n".join(map(as_markdown, all_tables(summary))) + "\n" + footnote(summary) + "\n"


def as_markdown(table: Table) -> str:
    """A table under its title as GitHub Markdown."""
    rows = (table.header, *table.rows)
    lines = ["| " + " | ".join(map(in_markdown, row)) + " |" for row in rows]
    lines.insert(1, "|" + " --- |" * len(table.header))
    return f"### {in_markdown(table.title)}\n\n" + "\n".join(lines) + "\n"


def all_tables(summary: Summary) -> Iterator[Table]:
    """Results, other summaries and differences, for every norm."""
    for norm in summary["differences"]:
        yield results(summary, norm)
        yield further(summary, norm)
        for kind in KINDS:
            if summary[kind][norm]:
                yield differences(summary, norm, kind)


def footnote(summary: Summary) -> str:
    """What the brackets are."""
    options = summary["statistics"]
    kind = {"bca": "BCa", "percentile": "percentile"}[options["method"]]
    return (
        f"Accuracies in percent, averaged over classes and noise levels. Brackets: "
        f"{100 * options['confidence']:g} % {kind} bootstrap intervals over "
        f"{counted(summary['dataset']['images'], 'image')}, resampled within classes "
        f"({options['resamples']} resamples). RFS is computed from the averaged accuracies "
        "(rfs_of_means); mean of RFS averages it over the levels instead. Noise error: what the "
        f"finite number of noise draws adds, as a standard error. {METHOD.format(HOLM)}"
    )


def to_csv(summary: Summary) -> str:
    """One line per number, unrounded."""
    place = ("kind", "name", "minus", "norm", "quantity", "level", "class")
    lines: list[Sequence[Any]] = []
    for kind, entries in (("model", summary["models"]), ("group", summary["groups"])):
        for name, entry in entries.items():
            clean = entry["accuracy_clean"]
            lines.append((kind, name, "", "", "accuracy_clean", "", "", *_cells(clean)))
            for norm in summary["differences"]:
                for quantity, level, label, interval in _flat(entry[norm]):
                    row = (kind, name, "", norm, quantity, level, label, *_cells(interval))
                    lines.append(row)
    for kind in KINDS:
        for norm, pairs in summary[kind].items():
            for pair in pairs:
                row = (kind[:-1], pair["model"], pair["minus"], norm, "rfs_of_means", "", "")
                lines.append((*row, *_cells(pair["rfs_of_means"])))
    return as_csv((*place, "estimate", "low", "high", "p"), lines)


def as_csv(header: Sequence[str], lines: Iterable[Sequence[Any]]) -> str:
    """A CSV file's text; numbers as they are, text so that no spreadsheet computes it."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerows([csv_cell(cell) for cell in line] for line in (header, *lines))
    return buffer.getvalue()


def _cells(interval: Mapping[str, float]) -> tuple[float | str, ...]:
    return (*ends(interval).values(), interval.get("p", ""))


def _flat(entry: dict[str, Any]) -> Iterator[tuple[str, Any, str, dict[str, float]]]:
    """(quantity, level, class, interval) of one model and norm."""
    for quantity, value in entry.items():
        if quantity.startswith("accuracy"):
            yield quantity, "", "", value["mean"]
            for level, interval in zip(entry["levels"], value["by_level"], strict=True):
                yield quantity, level, "", interval
        elif quantity == "rfs_by_level":
            for level, interval in zip(entry["levels"], value, strict=True):
                yield "rfs", level, "", interval
        elif quantity == "rfs_by_class":
            for name, interval in value.items():
                yield "rfs_of_means", "", name, interval
        elif quantity in ("rfs_of_means", "mean_of_rfs", "irfs_mean", "irfs_negative"):
            yield quantity, "", "", value


def show(summary: Summary, console: Console) -> None:
    """Prints the main columns of the tables, and what the brackets are."""
    show_tables(all_tables(summary), console)
    console.print(plain(footnote(summary)), soft_wrap=True)


def show_tables(tables: Iterable[Table], console: Console) -> None:
    """Prints at most `PRINTED` lines of each; wide and without frames where it is no terminal."""
    frame = box.SIMPLE_HEAD
    if not console.is_terminal:
        console, frame = Terminal(file=console.file, width=WIDE, quiet=console.quiet), None
    for table in tables:
        shown = RichTable(
            title=plain(table.title, "bold"),
            title_justify="left",
            box=frame,
            pad_edge=False,
        )
        for i, name in enumerate(table.header):
            shown.add_column(plain(name), justify="right" if i else "left", no_wrap=i == 0)
        for row in table.rows[:PRINTED]:
            # breaks before the bracket
            shown.add_row(*(plain(cell.replace(", ", ",")) for cell in row))
        console.print(shown, soft_wrap=False)
        if len(table.rows) > PRINTED:
            console.print(f"({len(table.rows) - PRINTED} more in tables.md)")
