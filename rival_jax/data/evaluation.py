"""What the sets that networks are evaluated on have in common."""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np

from rival_jax.data import class_maps
from rival_jax.data.archives import Files
from rival_jax.data.checks import report
from rival_jax.data.photos import DEFAULT, PhotoRules, counted
from rival_jax.data.source import Item, class_order
from rival_jax.runtime.plugins import no_such
from rival_jax.scoring import Protocols

WNID = re.compile(r"n\d{8}")
WAYS = 1000  # ImageNet's outputs
# On ImageNet's validation photos, to fit ImageNet-A and -R: 200 outputs, photos of 200 classes.
AMONG = {"a_200": "imagenet_a", "r_200": "imagenet_r"}
# The keys of `class_maps.published` and `protocols.FITS` for a set and a protocol.
PUBLISHED = {
    ("imagenet", "full"): "val",
    ("imagenet", "real"): "real",
    ("imagenet_v2", "full"): "v2",
    ("imagenet_sketch", "full"): "sketch",
    ("imagenet_a", "subset"): "a_200",
    ("imagenet_r", "subset"): "r_200",
    **{("imagenet", name): f"val_{name}" for name in AMONG},
}


@dataclasses.dataclass(frozen=True, eq=False)
class Evaluation:
    """An `EvaluationSource` of pictures by name; its fields are described there."""

    title: str  # the data set's name, for sentences
    files: Files
    classes: tuple[str, ...]
    names: list[str]
    labels: np.ndarray
    outputs: tuple[tuple[int, ...], ...]
    class_wnids: tuple[tuple[str, ...], ...] | None = None
    columns: tuple[int, ...] | None = None
    groups: np.ndarray | None = None
    real: tuple[tuple[int, ...], ...] | None = None
    factors: Mapping[str, Sequence[str]] = dataclasses.field(default_factory=dict)
    units: Sequence[str] | None = None
    evaluation_only: bool = False
    resized: bool = False
    told: tuple[str, ...] = ()  # what had to be assumed
    whole: tuple[int, ...] = ()  # how many photos a complete copy has; (): not known
    said: tuple[int, ...] = ()  # how many it is said to have, if that was not verified
    border: int = 0  # pixels that are cut off on each side
    rules: PhotoRules = DEFAULT

    @property
    def notices(self) -> tuple[str, ...]:
        """See `Source`; if the set is incomplete, one says how much of it is there."""
        if not (lacking := self.lacking):
            return self.told
        filled = f"of {len(set(self.labels.tolist()))} of {len(self.classes)} classes"
        there, known = lacking
        said = counted(there, f"{filled} {'is' if there == 1 else 'are'}")
        told = f"{self.title}: {said} there, and {known}: a part gives other numbers"
        return (f"{told} than the whole", *self.told)

    @property
    def lacking(self) -> tuple[int, str] | None:
        """How many photos there are, and what is known of a complete copy, if that has others."""
        count, known = len(self), self.whole or self.said
        if not known or count in known:
            return None
        counts = " or ".join(f"{n:,}" for n in known)
        said = (
            f"{counts} are known" if self.whole else f"it is said to have {counts} (not verified)"
        )
        return count, said

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, position: int) -> Item:
        name, cut = self.names[position], self.border
        photo = self.files.photo(name, self.rules)
        if min(photo.size) <= 2 * cut:
            raise ValueError(f"photo {name} is {photo.size}, too small to cut {cut} pixels off")
        if cut:
            photo = photo.crop((cut, cut, photo.width - cut, photo.height - cut))
        return {"image": photo}


def of_synsets(title: str, files: Files, columns: Sequence[int], **more: Any) -> Evaluation:
    """A source of FOLDER/NAME whose folders are synsets or numbers of ImageNet's classes.

    Args:
      title: of the data set.
      files: see `Files`; leading folders that all pictures share are skipped.
      columns: the outputs of the set's classes, in the set's order.
      more: further fields of `Evaluation`.

    Raises:
      ValueError: naming folders that are not among the classes, and pictures in no folder.
    """
    synsets = [class_maps.imagenet()[output].wnid for output in columns]
    files = files.trimmed({*synsets, *map(str, range(1000))})
    folders = {name.partition("/")[0] for name in files.pictures}
    known = {wnid: label for label, wnid in enumerate(synsets)}
    if folders and all(f.isascii() and f.isdigit() for f in folders):
        known = numbered(title, files, folders, columns)
    names, labels = in_folders(title, files, known)
    subset = None if len(columns) == len(class_maps.imagenet()) else tuple(columns)
    outputs = tuple((output,) for output in columns)
    wnids = tuple((wnid,) for wnid in synsets)
    return Evaluation(title, files, tuple(synsets), names, labels, outputs, wnids, subset, **more)


def numbered(
    title: str, files: Files, folders: Collection[str], columns: Sequence[int]
) -> dict[str, int]:
    """The label of each folder that is named by a number, in whatever order they are listed.

    In a set with some of ImageNet's classes, numbers may be places in its own order (0 to 199) or
    outputs (0 to 999). That is clear only if every place is there, or a number beyond them.

    Raises:
      ValueError: if it is not clear, or for numbers that are neither.
    """
    numbers, count = {folder: int(folder) for folder in folders}, len(columns)
    places = {output: label for label, output in enumerate(columns)}
    if count == len(class_maps.imagenet()) or set(numbers.values()) == set(range(count)):
        places = {label: label for label in range(count)}
    elif max(numbers.values()) < count:
        raise ValueError(
            f"{title}: folders of {files.where} are named by numbers up to {count - 1}, and not "
            f"all {count} are there: they may be places among its classes or outputs of ImageNet; "
            "name the folders by their synsets, n01440764"
        )
    wrong = sorted(n for n in numbers.values() if n not in places)
    if wrong:
        raise ValueError(f"{title}: folder {wrong[0]} of {files.where} is not one of its classes")
    return {folder: places[number] for folder, number in numbers.items()}


def in_folders(title: str, files: Files, known: Mapping[str, int]) -> tuple[list[str], np.ndarray]:
    """The pictures FOLDER/NAME in the order of their names, and the label of each one's folder.

    Raises:
      ValueError: naming folders that are not `known`, and pictures in no folder.
    """
    names = files.pictures
    counts = Counter(name.rpartition("/")[0].partition("/")[0] for name in names)
    faults = [
        f"{counts[folder]} pictures lie in no class folder"
        if not folder
        else f"folder {folder} is not one of its {len(known)} classes"
        for folder in sorted(counts.keys() - known.keys())
    ]
    if faults:
        cure = f"expected folders such as {', '.join(sorted(known)[:3])}"
        raise ValueError(f"{title}: {files.where}: " + report(faults, len(counts), "folders", cure))
    folder_of = (name.partition("/")[0] for name in names)
    return names, np.array([known[folder] for folder in folder_of], np.int32)


def of_words(
    title: str, files: Files, names: list[str], words: Sequence[str], named: str = "", **more: Any
) -> Evaluation:
    """A source of photos whose classes are given as words, one per photo.

    Args:
      title: of the data set.
      files, names: see `Evaluation`.
      words: the class of each photo.
      named: which naming of ImageNet's classes the words follow, one of `NAMED`; "": synsets, if
        all of them are, or else the set's own classes, for which ImageNet has no output.
      more: further fields of `Evaluation`.

    Raises:
      ValueError: for an unknown `named`, or words that are not among its names.
    """
    synsets, index_of = class_maps.imagenet(), class_maps.index_of()
    known: dict[str, tuple[int, ...]] = {}
    if named:
        one_of(title, "named", named, NAMED)
        known = dict(NAMED[named]())
    elif set(words) <= index_of.keys():
        known = {wnid: (index_of[wnid],) for wnid in class_order(words)}
    own = not known
    known = known or dict.fromkeys(class_order(words), ())
    wrong = sorted(set(words) - known.keys())
    if wrong:
        raise ValueError(f"data {title}: named={named}: " + no_such(wrong[0], known))
    place = {name: label for label, name in enumerate(known)}
    wnids = tuple(tuple(synsets[i].wnid for i in outputs) for outputs in known.values())
    columns = tuple(dict.fromkeys(i for outputs in known.values() for i in outputs))
    return Evaluation(
        title,
        files,
        tuple(known),
        names,
        np.array([place[word] for word in words], np.int32),
        tuple(known.values()),
        None if own else wnids,
        None if own else columns,
        evaluation_only=named == "objectnet",
        **more,
    )


NAMED: Mapping[str, Callable[[], Mapping[str, tuple[int, ...]]]] = {
    "pug": class_maps.pug,
    "imagenet_d": class_maps.imagenet_d,
    "objectnet": lambda: {one.folder: one.outputs for one in class_maps.objectnet()},
    "siscore": lambda: {one.name: (one.index,) for one in class_maps.siscore()},
    "outputs": lambda: {str(one.index): (one.index,) for one in class_maps.imagenet()},
}
"""Names of classes, and the outputs of ImageNet that are right for each."""


def one_of(title: str, option: str, value: str, known: Collection[str]) -> None:
    """Raises ValueError with the nearest known value of an option, unless `value` is known."""
    if value not in known:
        raise ValueError(f"data {title}: {option}: " + no_such(value, known))


def protocols_of(name: str, kind: str, source: Any, ways: int) -> Protocols:
    """A set's scoring, for networks with its own classes, or with ImageNet's (joined by synset).

    Args:
      name: the set's, for errors. kind: its source's.
      source: see `EvaluationSource`; a plain `Source` with classes or synsets will do.
      ways: number of the networks' outputs.

    Raises:
      ValueError: if the outputs are neither, or a class has no synset of ImageNet.
    """
    if ways == len(source.classes) != WAYS:
        return Protocols(tuple((i,) for i in range(ways)), ways)
    outputs, wnids = getattr(source, "outputs", None), source.class_wnids
    if ways != WAYS or (outputs is None and wnids is None):
        raise ValueError(
            f"{name} has {len(source.classes)} classes, the networks {ways} outputs: expected as "
            f"many, or ImageNet's {WAYS} and classes whose synsets are known"
        )
    columns, groups = getattr(source, "columns", None), getattr(source, "groups", None)
    if outputs is None:
        index = class_maps.index_of()
        if unknown := sorted({wnid for some in wnids for wnid in some} - index.keys()):
            raise ValueError(f"{name}: {unknown[0]} is no synset of ImageNet-1k")
        outputs = [[index[wnid] for wnid in some] for some in wnids]
        columns = sorted({i for some in outputs for i in some})
    if groups is None and columns is not None and max(map(len, outputs)) > 1:
        groups = _groups(outputs)
    among = tuple((key, class_maps.columns(one)) for key, one in AMONG.items())
    return Protocols(
        tuple(map(tuple, outputs)),
        ways,
        None if columns is None or len(columns) == WAYS else tuple(columns),
        None if groups is None else tuple(np.asarray(groups).tolist()),
        among if kind == "imagenet" else (),
        getattr(source, "real", None) is not None,
    )


def _groups(outputs: Sequence[Sequence[int]]) -> np.ndarray | None:
    """int [1000], the class that each output is right for; None if one is for several."""
    every = [i for some in outputs for i in some]
    groups = np.full(WAYS, -1)
    for label, some in enumerate(outputs):
        groups[list(some)] = label
    return groups if len(set(every)) == len(every) else None
