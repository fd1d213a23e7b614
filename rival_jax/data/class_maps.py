"""ImageNet's 1000 classes, and the classes of the sets that its networks are evaluated on.

An output is the number of a class in the order of the synsets, as timm, torchvision and
TensorFlow Datasets have them. The tables are `assets/evaluation/*.csv`.
"""

from __future__ import annotations

import csv
import functools
import pathlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from rival_jax.runtime.plugins import no_such

_ASSETS = pathlib.Path(__file__).parent.parent / "assets"

IMAGENET9 = (
    *("Dog", "Bird", "Vehicle", "Reptile", "Carnivore", "Insect", "Instrument", "Primate"),
    "Fish",
)
"""ImageNet-9's classes in their order; folders are called "00_dog" to "08_fish"."""

_SUBSETS = ("50", "300", "919")  # of ImageNet-S, each a subset of the next


@dataclass(frozen=True)
class Synset:
    """A class of ImageNet-1k."""

    index: int
    wnid: str
    name: str  # not unique: there are two cranes and two maillots


@dataclass(frozen=True)
class ObjectNetFolder:
    """A class of ObjectNet. The two numberings differ, so sets are joined only by folder name."""

    folder: str
    label: str  # differs from the folder's name for 26 of 313
    challenge_id: int  # place among sorted labels, not among sorted folders
    outputs: tuple[int, ...]  # all right outputs; () for the 200 classes that ImageNet lacks

    @property
    def first(self) -> int | None:
        """The only output that the protocol `first` accepts."""
        return self.outputs[0] if self.outputs else None


@dataclass(frozen=True)
class SiScoreClass:
    """A class of SI-Score's generator; 61 of its 112 were released."""

    name: str  # of its folder
    index: int
    wnid: str
    released: bool
    dataset_label: int | None  # place among the released classes


@functools.cache
def imagenet() -> tuple[Synset, ...]:
    """ImageNet-1k's classes, the first output's first.

    >>> imagenet()[0]
    Synset(index=0, wnid='n01440764', name='tench')
    """
    wnids = (_ASSETS / "imagenet_wnids.txt").read_text(encoding="utf-8").split()
    names = [row["name"] for row in _table("imagenet")]
    return tuple(map(Synset, range(len(wnids)), wnids, names))


@functools.cache
def index_of() -> Mapping[str, int]:
    """The output of each synset."""
    return {synset.wnid: synset.index for synset in imagenet()}


@functools.cache
def objectnet() -> tuple[ObjectNetFolder, ...]:
    """ObjectNet's 313 classes in the order of their folders."""
    rows = _table("objectnet")
    ids = {label: number for number, label in enumerate(sorted(row["label"] for row in rows))}
    return tuple(
        ObjectNetFolder(row["folder"], row["label"], ids[row["label"]], _numbers(row["outputs"]))
        for row in rows
    )


@functools.cache
def siscore() -> tuple[SiScoreClass, ...]:
    """The 112 classes of SI-Score's generator in the order of their names."""
    rows = _table("siscore")
    released = [row["name"] for row in rows if row["released"]]
    label = {name: number for number, name in enumerate(released)}
    return tuple(
        SiScoreClass(
            name=row["name"],
            index=int(row["output"]),
            wnid=imagenet()[int(row["output"])].wnid,
            released=bool(row["released"]),
            dataset_label=label.get(row["name"]),
        )
        for row in rows
    )


@functools.cache
def imagenet9() -> np.ndarray:
    """int [1000]: each output's class as a place in `IMAGENET9`, -1 for the other 630."""
    groups = np.array([int(row["imagenet9"] or -1) for row in _table("imagenet")])
    groups.setflags(write=False)
    return groups


@functools.cache
def imagenet_s_merges() -> Mapping[int, int]:
    """The five outputs without a class in ImageNet-S -> the outputs they are counted as."""
    kept = [row["imagenet_s_merged"] for row in _table("imagenet")]
    return {index: int(other) for index, other in enumerate(kept) if other}


@functools.cache
def imagenet_d() -> Mapping[str, tuple[int, ...]]:
    """ImageNet-D's 113 folders and the outputs that are right: ObjectNet's, under other names."""
    found = {
        row["imagenet_d"] or row["folder"]: _numbers(row["outputs"])
        for row in _table("objectnet")
        if row["outputs"]
    }
    return dict(sorted(found.items()))


@functools.cache
def pug() -> Mapping[str, tuple[int, ...]]:
    """PUG: ImageNet's 151 classes in its own spelling, and the outputs that are right.

    One output, a sweatshirt's, is right for two of them.
    """
    return {row["name"]: _numbers(row["outputs"]) for row in _table("pug")}


def columns(name: str) -> tuple[int, ...]:
    """The outputs that belong to a set's classes, each once, in the order of its classes.

    Args:
      name: "imagenet_a", "imagenet_r", "imagenet_o", "imagenet_s919" (its id is the place + 1),
        "imagenet_s300", "imagenet_s50", "imagenet9", "imagenet_d", "objectnet", "pug" or "siscore"
        (the released 61).

    Raises:
      ValueError: for an unknown set, with the nearest names.

    >>> len(columns("objectnet")), columns("imagenet_a")[:3]
    (125, (6, 11, 13))
    """
    sets = _columns()
    if name not in sets:
        raise ValueError("class map: " + no_such(name, sets))
    return sets[name]


@functools.cache
def _columns() -> Mapping[str, tuple[int, ...]]:
    rows = _table("imagenet")
    found = {
        name: [index for index, row in enumerate(rows) if row[name]]
        for name in ("imagenet_a", "imagenet_r", "imagenet_o", "imagenet9")
    }
    for place, subset in enumerate(_SUBSETS):
        within = _SUBSETS[: place + 1]
        found[f"imagenet_s{subset}"] = [
            index for index, row in enumerate(rows) if row["imagenet_s"] in within
        ]
    found["objectnet"] = [output for one in objectnet() for output in one.outputs]
    found["siscore"] = [one.index for one in siscore() if one.released]
    for name, table in (("imagenet_d", imagenet_d()), ("pug", pug())):
        found[name] = [output for outputs in table.values() for output in outputs]
    return {name: tuple(dict.fromkeys(outputs)) for name, outputs in found.items()}


@functools.cache
def published() -> Mapping[str, Mapping[str, float]]:
    """Top-1 accuracy in [0, 1], published by timm, of 760 networks that take 224 pixels.

    By timm's name, "resnet50.a1_in1k", then by set: "val", "real", "v2" (matched-frequency) and
    "sketch" are by the protocols `full` and `real`. "a_200" and "r_200" are by `subset`, 200 ways,
    and so are "val_a_200" and "val_r_200", of the validation photos of those classes. Preprocessing
    is the network's own.

    Source: pytorch-image-models, results/*.csv at aa4b585.

    >>> published()["resnet50.a1_in1k"]["a_200"]
    0.09973
    """
    return {
        row.pop("model"): {name: round(float(points) / 100, 5) for name, points in row.items()}
        for row in _table("timm_224")
    }


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split()))


def _table(name: str) -> list[dict[str, str]]:
    path = _ASSETS / "evaluation" / f"{name}.csv"
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))
