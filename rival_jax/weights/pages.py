"""Web pages served in place of a file: a login, an error, a link to a page."""

from __future__ import annotations

import re
from pathlib import Path

_START = re.compile(rb"\s*<(!doctype|html|head|body|title|meta|script|\?xml|!--)", re.IGNORECASE)
_TITLE = re.compile(rb"<title[^>]*>\s*([^<]{1,80})", re.IGNORECASE)
_BOM = b"\xef\xbb\xbf"


class WebPage(FileNotFoundError):
    """The address holds a web page, not a file."""


def is_page(head: bytes) -> bool:
    """Whether a file's first bytes are HTML or XML, with which no file of weights begins."""
    return _START.match(head.removeprefix(_BOM)) is not None


def title(path: Path) -> str | None:
    """The title of a web page, "" if it has none; None for any other file."""
    with path.open("rb") as file:
        head = file.read(1 << 16)
    if not is_page(head[:512]):
        return None
    found = _TITLE.search(head)
    return " ".join(found[1].decode("utf-8", "replace").split()) if found else ""


def refuse(path: Path, address: str) -> None:
    """Deletes a file that is a web page.

    Raises:
      WebPage: it was one; names the address.
    """
    said = title(path)
    if said is None:
        return
    path.unlink()
    named = f" titled {said!r}" if said else ""
    raise WebPage(
        f"{address} gave a web page{named} and not a file of weights: it may want a login, or the "
        "link is of a page about the file; nothing was kept"
    )
