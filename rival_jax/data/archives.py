"""Files by name, wherever they lie: in a folder, in a downloaded tar or zip, or in TFDS.

An archive is indexed once and read by offset, from any thread or process; nothing is unpacked.
"""

from __future__ import annotations

import csv
import dataclasses
import functools
import io
import os
import tarfile
import zipfile
import zlib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

from rival_jax.data import files
from rival_jax.data.photos import DEFAULT, PhotoRules
from rival_jax.data.tfds.prepared import DEPTHS, parser, prepared
from rival_jax.data.transforms import open_photo

GZIPPED = {".gz", ".tgz"}
SUFFIXES = {".tar", ".zip", *GZIPPED}
GZIP = b"\x1f\x8b"
PACKED = {zipfile.ZIP_STORED: "stored", zipfile.ZIP_DEFLATED: "deflated"}


class Span(NamedTuple):
    """The bytes of a file on disk or in an archive."""

    path: str
    start: int = 0
    size: int = -1  # to the end
    packed: str = ""  # in a zip: "stored" or "deflated"; `start` is then the header's

    @property
    def length(self) -> int:
        """Bytes that are stored."""
        return self.size if self.size >= 0 else os.path.getsize(self.path) - self.start

    def read(self) -> bytes:
        """Raises OSError for a file that is gone, ValueError for one that is cut off or damaged."""
        with open(self.path, "rb") as file:
            try:
                file.seek(self.start)
                if self.packed:
                    header = file.read(30)
                    file.seek(sum(int.from_bytes(header[i : i + 2], "little") for i in (26, 28)), 1)
                content = file.read(self.size)
                whole = len(content) >= self.size
                if whole and self.packed == "deflated":
                    content = zlib.decompress(content, -15)
            except (OSError, zlib.error) as error:  # an index of places that there are not
                raise ValueError(f"{self.path} is damaged ({error}); copy it again") from error
        if not whole:
            raise ValueError(f"{self.path} is cut off; copy it again")
        return content


class Record(NamedTuple):
    """A picture among the records of a prepared TFDS data set."""

    records: Any
    place: int
    parse: Any

    def read(self) -> bytes:
        """The picture's file as it was stored."""
        return self.parse(self.records[self.place])["image"]


Stored = Span | Record  # where a file's bytes are


@dataclasses.dataclass(frozen=True, eq=False)
class Files:
    """Files by their names with forward slashes; nothing hidden."""

    where: Path  # the folder or archive, named in errors
    places: Mapping[str, Stored]

    @functools.cached_property
    def pictures(self) -> list[str]:
        """Names of the pictures, sorted.

        Raises:
          ValueError: for pictures in folders in a format that is not read.
        """
        if any(files.suffix(name) in files.UNREAD for name in self.places):
            unread = [name for name in files.unread(self.places)[0] if "/" in name]
            if unread:
                raise ValueError(
                    f"{self.where}: {len(unread)} pictures are of formats that are not read, such "
                    f"as {unread[0]}; convert or remove them; {files.READ}"
                )
        return sorted(name for name in self.places if files.suffix(name) in files.SUFFIXES)

    def below(self, folder: str) -> Files:
        """The files below a folder, by their names relative to it; "" for all files."""
        if not folder:
            return self
        start = folder.rstrip("/") + "/"
        inside = {n[len(start) :]: place for n, place in self.places.items() if n.startswith(start)}
        return Files(self.where / folder, inside)

    def trimmed(self, known: Collection[str] = ()) -> Files:
        """The files below the folders that all pictures share, down to a folder named in `known`.

        A folder that holds pictures is always kept.
        """
        found = self
        while True:
            tops = {name.partition("/")[0] for name in found.pictures}
            inner = found.below(min(tops)) if len(tops) == 1 and not tops <= set(known) else found
            if not inner.pictures or inner is found or not all("/" in n for n in inner.pictures):
                return found
            found = inner

    def text(self, name: str) -> str | None:
        """A file's text; None if there is no such file.

        Raises:
          ValueError: if it is not UTF-8.
        """
        if name not in self.places:
            return None
        try:
            return self.places[name].read().decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise ValueError(f"{self.where / name} is not UTF-8: save it as that") from error

    def table(self, name: str) -> list[dict[str, str]]:
        """The lines of a CSV file by its header's columns; [] if there is no such file.

        Raises:
          ValueError: for lines with more or fewer cells than the header.
        """
        reader = csv.DictReader(io.StringIO(self.text(name) or "", newline=""))
        rows = list(reader)
        odd = [number for number, row in enumerate(rows, 2) if None in row or None in row.values()]
        if odd:
            raise ValueError(
                f"{self.where / name}: line {odd[0]} does not have the header's columns"
            )
        return rows

    def photo(self, name: str, rules: PhotoRules = DEFAULT) -> Image.Image:
        """A photo as RGB, see `transforms.open_photo`; never turned, even if its EXIF says so."""
        return open_photo(io.BytesIO(self.places[name].read()), name, rules)


def at(root: Path, *inner: str, tfds: str = "", split: str = "test") -> Files:
    """The files of a folder or archive, or of the first folder of `inner` that it contains.

    A folder with archives and no picture stands for the contents of its archives.

    Args:
      root: a folder, a .tar or .zip, or TFDS's data_dir.
      inner: names of folders that may lie below it.
      tfds: name of the data set in TFDS, used if it is prepared in `root`. Its pictures are named
        by label and file, n01440764/x.jpg.
      split: of that data set.

    Raises:
      ValueError: no place is named, or it is not there or has no picture; an archive is damaged,
        compressed as a whole or locked; a data set of TFDS is prepared in another format.
    """
    if root == Path():
        raise ValueError(
            "no folder of the data is named: name=folder, or --config.data.root=folder"
        )
    if tfds and _is_prepared(root / tfds.split("/")[0]):
        return _tfds(root, tfds, split)
    if root.is_dir():
        base = next((root / i for i in inner if i and (root / i).is_dir()), root)
        loose = ((files.nfc(p.name), p) for p in base.iterdir() if p.is_file())
        there = {name: path for name, path in loose if not files.hidden(name)}
        there |= dict(files.below(base))
        found = Files(base, {name: Span(str(path)) for name, path in there.items()})
        packed = sorted(p for n, p in there.items() if files.suffix(n) in SUFFIXES)
        if packed and not found.pictures:
            plain = [path for path in packed if files.suffix(path.name) not in GZIPPED] or packed
            inside = [_index(path) for path in plain]
            found = Files(base, {n: s for part in (found.places, *inside) for n, s in part.items()})
            found = _first(found, inner)
    elif root.is_file():
        found = _first(Files(root, _index(root)), inner)
    else:
        raise ValueError(f"there is no folder or archive {root}")
    if not found.pictures:
        raise ValueError(f"no photo in {found.where}")
    return found


def _first(found: Files, inner: tuple[str, ...]) -> Files:
    """The folder of `inner` in an archive, perhaps one level deeper."""
    parts = [found, found.trimmed(inner)]
    below = (part.below(folder) for folder in inner if folder for part in parts)
    return next((part for part in below if part.places), found)


def _index(path: Path) -> dict[str, Stored]:
    """Where each file of an archive is."""
    with path.open("rb") as file:
        if file.read(2) == GZIP:
            raise ValueError(
                f"{path} is compressed as a whole, so no photo in it can be read by itself: "
                f"run gunzip on it (gunzip -k {path.name}), or unpack it"
            )
    try:
        if zipfile.is_zipfile(path):
            return _zip(path)
        with tarfile.open(path, "r:") as tar:
            spans = {m.name: Span(str(path), m.offset_data, m.size) for m in tar if m.isreg()}
            end = Span(str(path), tar.offset, tarfile.BLOCKSIZE).read()
        if any(end):
            raise tarfile.ReadError("its end is missing")  # which tarfile does not report
    except (tarfile.TarError, zipfile.BadZipFile, EOFError) as error:
        raise ValueError(f"{path} cannot be read as an archive ({error}); copy it again") from error
    return _shown(spans)


def _zip(path: Path) -> dict[str, Stored]:
    spans = {}
    with zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            if entry.flag_bits & 1:
                raise ValueError(
                    f"{path} is locked; unpack it with the password its authors give, and name "
                    "the folder"
                )
            if entry.compress_type not in PACKED:
                raise ValueError(f"{path} is compressed in a way that is not read; unpack it")
            if not entry.is_dir():
                packed = PACKED[entry.compress_type]
                spans[entry.filename] = Span(
                    str(path), entry.header_offset, entry.compress_size, packed
                )
    return _shown(spans)


def _shown(spans: Mapping[str, Stored]) -> dict[str, Stored]:
    """The files that are not hidden, by names with forward slashes."""
    named = {files.nfc(name.removeprefix("./")): place for name, place in spans.items()}
    return {n: p for n, p in named.items() if not any(map(files.hidden, n.split("/")))}


def _is_prepared(folder: Path) -> bool:
    return any(any(folder.glob(depth.removeprefix("*/"))) for depth in DEPTHS)


def _tfds(root: Path, name: str, split: str) -> Files:
    from tensorflow_datasets import decode

    builder = prepared(name, root)
    features, raw = builder.info.features, decode.DeserializeMethod.RAW_BYTES
    if split not in builder.info.splits:
        raise ValueError(f"{name} in {root} has no split {split!r}")
    records = builder.as_data_source(split, deserialize_method=raw)
    told, picture = parser(features, ["label", "file_name"]), parser(features, ["image"])
    places = {}
    for place in range(len(records)):
        example = told(records[place])
        folder = features["label"].int2str(int(example["label"]))
        file = example["file_name"].decode().rpartition("/")[2]
        places[f"{folder}/{file}"] = Record(records, place, picture)
    return Files(root / name, places)
