"""Tables of photos and masks: CSV files as written by spreadsheets, scripts and people."""

from __future__ import annotations

import codecs
import csv
import io
import os
from pathlib import Path, PurePosixPath

from rival_jax.data import mask_files, segments
from rival_jax.data.checks import report
from rival_jax.data.files import Finder, Row, nfc

COLUMNS = ("image", "mask", "class")
SEPARATORS = (",", ";", "\t", "|")
MARKS = (  # a file's first bytes; UTF-32's come first, since they begin with UTF-16's
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
    (codecs.BOM_UTF8, "utf-8-sig"),
)
CURE = "save the table as CSV in UTF-8"
CURE_ROWS = "fix these rows"


def read(path: Path, split: str, *, several: bool = False) -> list[Row]:
    """The rows of one split.

    The first line names the columns, in any order: image, mask, class and perhaps split. It also
    tells the separator: comma, semicolon, tab or bar. Spaces around cells do not count. Encoding:
    UTF-8, or what the first bytes say (UTF-16 is a spreadsheet's "Unicode text").

    Args:
      path: the table; paths in it are relative to its folder.
      split: value of the column `split`. A table without that column serves any split.
      several: whether every object has a line with its mask, so that a photo may be on several.

    Raises:
      ValueError: naming the file and the lines, for another encoding, missing or repeated columns,
        missing or surplus cells, missing files, a photo on two lines (if `several`, of two classes,
        with one mask, or with all that segment-anything found), and a split without rows.
    """
    header, lines = _cells(path)
    rows, faults, seen = dict[str, Row](), [], {}
    find = Finder(path.parent)
    splits, cure = set[str](), CURE_ROWS
    for number, cells in lines:
        if len(cells) != len(header):
            faults.append(
                f"line {number} has {len(cells)} cells, the header {len(header)}: {cells}"
            )
            continue
        line = dict(zip(header, cells, strict=True))
        splits.add(line.get("split", split))
        if not line.get("split", "all"):
            faults.append(f"line {number}: there is no split ''")
        if line.get("split", split) != split:
            continue
        names = [str(PurePosixPath(line[c].replace("\\", "/"))) for c in COLUMNS[:2]]
        image, mask = map(find, names)
        row = Row(nfc(names[0]), image, ((nfc(names[1]), mask),), line["class"])
        files = (("image", image), ("mask", mask))
        absent = [column for column, file in files if not os.path.isfile(file)]
        absent += [] if line["class"] else ["class"]
        if absent:
            said = ", no ".join(f"{what} {line[what]!r}" for what in absent)
            faults.append(f"line {number}: there is no {said}")
        elif row.name not in rows:
            rows[row.name], seen[row.name] = row, number
        elif (said := _again(rows[row.name], row)) or not several:
            first = seen[row.name]
            faults.append(f"line {number}: photo {row.name} is on line {first} already{said}")
            cure = CURE_ROWS if said else f"{CURE_ROWS}; {mask_files.HINT}"
        else:
            rows[row.name] = row._replace(masks=rows[row.name].masks + row.masks)
    for row in rows.values() if several else ():
        paths = [path for _, path in row.masks]
        faults += segments.unchosen(f"line {seen[row.name]}: ", paths, picked=True)
    if any(segments.METADATA in fault for fault in faults):
        cure = segments.CHOOSE
    if faults:
        raise ValueError(f"manifest {path}: " + report(faults, len(lines), "rows", cure))
    if not rows:
        raise ValueError(
            f"manifest {path} has no row of split {split!r}; its splits are {sorted(splits)}"
        )
    return [*rows.values()]


def _again(before: Row, row: Row) -> str:
    """What is odd about a further line of a photo."""
    if row.folder != before.folder:
        return f", of class {before.folder!r}"
    return ", with the same mask" if row.masks[0] in before.masks else ""


def _cells(path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """The header, and the number and cells of every other line that is not empty."""
    text = io.StringIO(_text(path), newline="")
    first = text.readline()
    found = {mark: _names(first, mark) for mark in SEPARATORS}
    mark = max(SEPARATORS, key=lambda mark: len(set(COLUMNS) & set(found[mark])))
    header = found[mark]
    missing = [column for column in COLUMNS if column not in header]
    if missing:
        raise ValueError(
            f"manifest {path} has no column {', '.join(missing)}; it has {', '.join(header)}"
        )
    twice = sorted({column for column in header if header.count(column) > 1})
    if twice:
        raise ValueError(f"manifest {path}, line 1: column {', '.join(twice)} occurs twice")
    reader, lines = csv.reader(text, delimiter=mark, strict=True), []
    start = 2
    try:
        for cells in reader:
            cells = [nfc(cell.strip()) for cell in cells]
            while len(cells) > len(header) and not cells[-1]:  # padding by spreadsheets
                del cells[-1]
            if any(cells):
                lines.append((start, cells))
            start = reader.line_num + 2
    except csv.Error as error:
        raise ValueError(f"manifest {path}, line {start}: {error}; fix the quotes there") from error
    return header, lines


def _names(line: str, separator: str) -> list[str]:
    """The columns that a header names."""
    cells = [cell.strip() for cell in next(csv.reader([line], delimiter=separator), [])]
    while cells and not cells[-1]:
        del cells[-1]
    return cells


def _text(path: Path) -> str:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ValueError(f"manifest {path} cannot be read: {error.strerror}") from error
    encoding = next((name for mark, name in MARKS if content.startswith(mark)), "utf-8")
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise ValueError(
            f"manifest {path}, line {line}: byte {content[error.start]:#x} is not of {encoding}, "
            f"so the table is in another encoding, or no table: {CURE}"
        ) from error
    if "\0" in text:
        raise ValueError(f"manifest {path} has zero bytes, as UTF-16 without its mark has: {CURE}")
    return text
