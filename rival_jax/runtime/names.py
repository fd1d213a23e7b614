"""Names of classes, models and photos for display: always text, never a command.

A name may be any string from a folder, manifest or checkpoint. Each function makes it safe for one
kind of place; nothing else in the package escapes names.
"""

from __future__ import annotations

import hashlib
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

LONGEST = 60  # characters of a name in a figure or file name
JOINERS = "\u200c\u200d"  # joiners within words and emoji: harmless, and part of their spelling
FORMULA = re.compile(r"'*\s*[=+\-@\uff1d\uff0b\uff0d\uff20]")  # as text of a spreadsheet
RESERVED = {"con", "prn", "aux", "nul", *(f"{p}{n}" for p in ("com", "lpt") for n in range(1, 10))}


def visible(text: str, keep: str = "") -> str:
    r"""Text without control characters, marks that turn its direction and halves of characters.

    Each is replaced by its escape, so that it neither acts nor hides: on a terminal, in XML, in a
    table. A second application changes nothing.

    Args:
      text: any string, including file names that are not Unicode.
      keep: control characters to keep, such as "\n".

    >>> print(visible("a\x1b[31m\u202eb\n"))
    a\x1b[31m\u202eb\n
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if c in keep or _shows(c) else _escape(c) for c in text)


def _shows(character: str) -> bool:
    if character in JOINERS:
        return True
    kind, code = unicodedata.category(character), ord(character)
    odd = code & 0xFFFE == 0xFFFE or 0xFDD0 <= code <= 0xFDEF  # noncharacters, not allowed in XML
    return not odd and kind not in ("Cc", "Cf", "Cs", "Zl", "Zp")


def _escape(character: str) -> str:
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")


def short(text: str, most: int = LONGEST) -> str:
    """At most `most` characters: the beginning and the end of a longer text.

    >>> short("a_network_with_a_long_name", 12)
    'a_netwo…name'
    """
    if len(text) <= most:
        return text
    end = (most - 1) // 3 + 1
    return f"{text[: most - 1 - end]}\N{HORIZONTAL ELLIPSIS}{text[-end:]}"


def markdown(text: str) -> str:
    r"""Text as one cell of a GitHub table, shown as it is: no markup, link, formula or new cell.

    >>> print(markdown("a|b <b>x</b> $a_b$ +0.1 [0.0, 0.2]"))
    a\|b &lt;b&gt;x&lt;/b&gt; \$a_b\$ +0.1 [0.0, 0.2]
    """
    text = visible(text).strip()
    text = re.sub(r"([\\`*|~$])", r"\\\1", text)
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    text = re.sub(r"(?<!\w)_|_(?!\w)", r"\\_", text)  # inside a word it is no markup
    return re.sub(r"\](?=[(\[:])", r"\\]", text)


def csv_cell(value: Any) -> Any:
    """A value as a cell of a CSV file that no spreadsheet takes for a formula.

    Numbers are unchanged. Text that begins like a formula gets an apostrophe in front, and so does
    text that begins with such apostrophes: removing one restores the text.

    >>> [csv_cell(value) for value in (-0.5, "=1+1", "@a", "cat", "'=1")]
    [-0.5, "'=1+1", "'@a", 'cat', "''=1"]
    """
    if not isinstance(value, str):
        return value
    text = visible(value)
    return f"'{text}" if FORMULA.match(text) else text


def of_csv_cell(text: str) -> str:
    """The text that `csv_cell` made a cell of.

    >>> [of_csv_cell(cell) for cell in ("'=1+1", "cat", "''=1", "'x")]
    ['=1+1', 'cat', "'=1", "'x"]
    """
    return text[1:] if text.startswith("'") and FORMULA.match(text) else text


def latex(text: str) -> str:
    r"""Text escaped for LaTeX.

    >>> print(latex("50 % of $a_b$"))
    50 \% of \$a\_b\$
    """
    words = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    words |= {"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}"}
    words |= {c: f"\\{c}" for c in "&%$#_{}"}
    return "".join(words.get(c, c) for c in visible(text))


def by_difference(paths: Sequence[str]) -> list[str]:
    """What tells paths apart: each without what all begin with and what all end with.

    >>> by_difference(["runs/a/model", "runs/b/model"]), by_difference(["a/model", "a/b/model"])
    (['a', 'b'], ['model', 'b/model'])
    """
    every = [Path(os.path.abspath(path)).parts for path in paths]
    for step in (1, -1):  # from the beginning, then from the end
        while min(map(len, every)) > 1 and len({parts[(step - 1) // 2] for parts in every}) == 1:
            every = [parts[1:] if step > 0 else parts[:-1] for parts in every]
    return ["/".join(parts) for parts in every]


def file_name(text: str) -> str:
    """Text as the name of one file or folder on every system; different texts, different names.

    Valid names stay unchanged; others end in a digest of the text.

    >>> file_name("vit_tiny.augreg 2"), file_name("nul"), file_name("..")[:2]
    ('vit_tiny.augreg 2', '_nul-5bc585ee', '_-')
    """
    clean = re.sub(r'[<>:"/\\|?*]+', "_", visible(text)).strip(". ")
    if clean.partition(".")[0].rstrip().casefold() in RESERVED:
        clean = f"_{clean}"
    fits = len(text.encode("utf-8", "surrogatepass")) <= 2 * LONGEST
    if clean == text and text and fits and unicodedata.is_normalized("NFC", text):
        return text
    return f"{clean[: LONGEST // 2] or '_'}-{_digest(text)}"


def file_path(text: str) -> str:
    """Text with slashes as a path of folders below another: `file_name` of each part.

    >>> file_path("scenes/vit_00"), file_path("../x").count("..")
    ('scenes/vit_00', 0)
    """
    return "/".join(map(file_name, text.split("/")))


def file_names(texts: Sequence[str]) -> dict[str, str]:
    """Texts as distinct (parts of) names of figure files.

    Only letters, digits, `_`, `.` and `-`; with a digest if two names would be equal on a system
    that ignores case.

    >>> file_names(["scenes/vit_00", "a b", "a/b"])["scenes/vit_00"]
    'scenes_vit_00'
    """
    plain = {text: re.sub(r"[^\w.-]+", "_", text) for text in texts}
    count = Counter(name.casefold() for name in plain.values())
    return {
        text: name
        if count[name.casefold()] == 1 and file_name(name) == name
        else f"{name.strip('.')[: LONGEST // 2] or '_'}-{_digest(text)}"
        for text, name in plain.items()
    }


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=4).hexdigest()
