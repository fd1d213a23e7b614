"""Photos with labels and factors from a CSV file, joined by file name, or from folder names.

For PUG: ImageNet, pass table=labels_pug_imagenet.csv label=character_label named=pug; for
Spawrious, whose folders say it all, levels=('environment','place','label').
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from rival_jax.data import archives
from rival_jax.data.archives import Files
from rival_jax.data.evaluation import Evaluation, of_words

LAYOUT = (
    "photos in any folders with a CSV file that names each and its label and factors, or "
    "FACTOR/.../LABEL/*.png; or an archive of them"
)


def load(
    root: Path,
    split: str,
    *,
    table: str = "",
    levels: tuple[str, ...] = (),
    file: str = "filename",
    label: str = "label",
    factors: tuple[str, ...] = (),
    unit: tuple[str, ...] = (),
    named: str = "",
) -> Evaluation:
    """The photos that the table names; if it has a column `split`, only those of the split.

    Args:
      root: a folder or an archive.
      split: a value of the column `split`.
      table: the CSV file in it.
      levels: instead of a table, the columns that folder names stand for, outermost first.
      file: column of the photos' paths below `root`, or of their names if these are unique.
      label: column of the class.
      factors: columns that are factors; (): all others, except those constant or different in every
        row.
      unit: columns that together identify photos resampled as one; (): each photo by itself.
      named: see `evaluation.of_words`.

    Raises:
      ValueError: for columns and files that are not there; see also `archives.at` and
        `evaluation.of_words`.
    """
    if bool(table) == bool(levels):
        raise ValueError("factor_table: say where labels are: table=FILE.csv or levels=(...)")
    files = archives.at(root)
    rows = _of_table(files, table, file) if table else _of_folders(files, levels)
    columns = list(next(iter(rows.values())))
    for column in (label, *factors, *unit):
        if column not in columns:
            raise ValueError(
                f"factor_table: no column {column!r} in {table or levels}; there are "
                f"{', '.join(columns)}"
            )
    if "split" in columns:
        rows = {name: row for name, row in rows.items() if row["split"] == split}
    names = sorted(name for name in rows if name in files.places)
    if not names:
        raise ValueError(f"factor_table: no photo of {table or 'a split'} {split} is in {root}")
    given = [rows[name] for name in names]
    factors = factors or _varied(given, {file, label, "split"})
    return of_words(
        "factor_table",
        files,
        names,
        [row[label] for row in given],
        named,
        factors={column: [row[column] for row in given] for column in factors},
        units=["/".join(row[column] for column in unit) for row in given] if unit else None,
        whole=(len(rows),),
    )


def _varied(rows: Sequence[Mapping[str, str]], without: set[str]) -> tuple[str, ...]:
    """Columns with more than one value, and fewer values than rows."""
    counts = {column: len({row[column] for row in rows}) for column in rows[0]}
    return tuple(c for c, n in counts.items() if c not in without and 1 < n < len(rows))


def _of_table(files: Files, table: str, file: str) -> dict[str, Mapping[str, str]]:
    """The lines of a table by photo name in `files`; missing photos by their expected names."""
    rows = files.table(table)
    if not rows or file not in rows[0]:
        raise ValueError(
            f"factor_table: {files.where / table} is not there, is empty or has no column {file!r} "
            "of file names; pass file=COLUMN"
        )
    bases = [name.rpartition("/")[2] for name in files.pictures]
    by_base = dict(zip(bases, files.pictures, strict=True))
    by_base = by_base if len(by_base) == len(bases) else {}
    found = {}
    for row in rows:
        name = row[file].removeprefix("./")
        name = name if name in files.places else by_base.get(name.rpartition("/")[2], name)
        if name in found:
            raise ValueError(f"factor_table: {files.where / table} names {name} twice")
        found[name] = row
    return found


def _of_folders(files: Files, levels: Sequence[str]) -> dict[str, Mapping[str, str]]:
    """The names of the folders above each photo, the innermost for the last level."""
    found = {}
    for name in files.pictures:
        parts = name.split("/")[:-1]
        if len(parts) < len(levels):
            raise ValueError(
                f"factor_table: photo {name} of {files.where} lies in {len(parts)} folders, and "
                f"levels={tuple(levels)} names {len(levels)}"
            )
        found[name] = dict(zip(levels, parts[len(parts) - len(levels) :], strict=True))
    return found
