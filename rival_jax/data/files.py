"""Which files of a folder are pictures, and what they are called.

A photo's name is its path below the folder of the classes, with forward slashes and in Unicode's
composed form (NFC), whatever form the file system keeps: macOS and some archives split letters ("e"
and an accent). So a name keys the same noise wherever the photos are copied, and a photo finds its
mask even if only one of the two was split.
"""

from __future__ import annotations

import os
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from rival_jax.data.checks import SHOWN

SUFFIXES = {
    *(
        ".jpg",
        ".jpeg",
        ".jpe",
        ".jfif",
        ".jif",
        ".pjpeg",
        ".pjp",
        ".png",
        ".apng",
        ".bmp",
        ".dib",
        ".gif",
    ),
    *(".webp", ".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm"),
}
UNREAD = {  # also pictures, in formats that are not read
    *(".heic", ".heif", ".hif", ".avif", ".avifs", ".jxl", ".jp2", ".j2k", ".jpx", ".jpf", ".svg"),
    *(".psd", ".tga", ".ico", ".exr", ".hdr", ".pcx", ".mpo", ".eps", ".pdf", ".ai"),
    *(".dng", ".raw", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".rw2", ".raf", ".dcm", ".nii"),
    *(".npy", ".npz", ".mat"),  # arrays, as masks are exported
}
PICTURES = SUFFIXES | UNREAD
HARMLESS = {".txt", ".md", ".csv", ".json", ".xml", ".yaml", ".yml", ".html", ".log", ".db", ".ini"}
READ = f"read are {', '.join(sorted(SUFFIXES))}"


class Row(NamedTuple):
    """One photo with its mask, or with a mask for each of its objects: names and paths."""

    name: str
    image: Path
    masks: tuple[tuple[str, Path], ...]
    folder: str  # the class as spelled in the data


def nfc(name: str) -> str:
    """A name in Unicode's composed form."""
    return unicodedata.normalize("NFC", name)


def hidden(name: str) -> bool:
    """Whether it is a program's own file: .DS_Store, .ipynb_checkpoints, __MACOSX."""
    return name.startswith(".") or name == "__MACOSX"


def below(base: Path) -> Iterator[tuple[str, Path]]:
    """(name, path) of every file in the class folders of `base`, at any depth; nothing hidden.

    Linked folders are followed, each once.
    """
    for folder in base.iterdir() if base.is_dir() else ():
        if not folder.is_dir() or hidden(folder.name):
            continue
        seen = set()
        for here, inner, names in os.walk(folder, followlinks=True):
            seen.add(os.path.realpath(here))
            inner[:] = [
                name
                for name in inner
                if not hidden(name) and os.path.realpath(os.path.join(here, name)) not in seen
            ]
            for name in names:
                path = Path(here, name)
                if not hidden(name):
                    yield nfc(path.relative_to(base).as_posix()), path


def class_folders(base: Path) -> set[str]:
    """Names of the folders in `base`; nothing hidden."""
    inside = base.iterdir() if base.is_dir() else ()
    return {nfc(path.name) for path in inside if path.is_dir() and not hidden(path.name)}


def loose(base: Path) -> list[str]:
    """Names of the pictures in `base` that lie in no class folder."""
    inside = base.iterdir() if base.is_dir() else ()
    files = (path for path in inside if path.is_file() and not hidden(path.name))
    return sorted(nfc(path.name) for path in files if suffix(path.name) in PICTURES)


def suffix(name: str) -> str:
    """A name's ending in lower case, ".jpg"; "" without one."""
    return os.path.splitext(name)[1].lower()


def unread(names: Iterable[str]) -> tuple[list[str], list[str]]:
    """The pictures in formats that are not read, and the files of unknown kind.

    Both without files that only differ in suffix from a picture that is read: copies of it.
    """
    names = sorted(names)
    read = {os.path.splitext(name)[0] for name in names if suffix(name) in SUFFIXES}
    others = [name for name in names if os.path.splitext(name)[0] not in read]
    strange = [name for name in others if suffix(name) not in PICTURES | HARMLESS]
    return [name for name in others if suffix(name) in UNREAD], strange


def unread_notice(base: Path, strange: Sequence[str]) -> tuple[str, ...]:
    """A sentence on files of unknown kind; empty if there are none."""
    if not strange:
        return ()
    kinds = Counter(suffix(name) or "none" for name in strange)
    said = ", ".join(f"{kind} ({count})" for kind, count in sorted(kinds.items())[:SHOWN])
    return (f"{base}: files of suffix {said} are not read, such as {min(strange)}; {READ}",)


class Finder:
    """Files below a folder, found even if their names are in another Unicode form."""

    def __init__(self, base: Path) -> None:
        self._base = base
        self._inside: dict[Path, dict[str, Path]] = {}

    def __call__(self, name: str) -> Path:
        """The file called `name`; if it exists in neither form, the path it would have."""
        exact = self._base / name
        if os.path.exists(exact):  # `Path.exists` raises for names that are too long
            return exact
        here = self._base
        for part in Path(name).parts:
            there = here / part
            here = there if os.path.exists(there) else self._listed(here, nfc(part))
        return here

    def _listed(self, here: Path, part: str) -> Path:
        if here not in self._inside:
            inside = here.iterdir() if os.path.isdir(here) else ()
            self._inside[here] = {nfc(path.name): path for path in inside}
        return self._inside[here].get(part, here / part)
