"""Published networks by name: the lines of `assets/catalogue.csv`, and other hub repositories.

Names, addresses, hashes and input sizes come from the publishers' code: timm, torchvision,
openai/CLIP, open_clip, facebookresearch/deit and /dino, big_vision, robust-models-transfer,
lightning-bolts. No file was fetched for it. `notes` lists what could not be verified that way.
"""

from __future__ import annotations

import csv
import dataclasses
import difflib
import fractions
import functools
import json
import os
import pathlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

from rival_jax.runtime.plugins import no_such
from rival_jax.weights.foreign import OPEN_CLIP, OPEN_CLIP_TENSORS
from rival_jax.weights.hub_folder import CONFIG, TENSORS, Config

FAMILIES = ("vit", "resnet", "clip_vit", "clip_resnet")
STUDIES = ("rival10", "robustvit", "tokencut", "other")
HUB = "hf:"  # prefix of a repository in `Entry.source`
TIMM = "timm/"  # the hub's organisation with timm's weights
SUFFIXES = (".safetensors", ".npz", ".pth", ".pt", ".ckpt", ".bin")  # of files of weights
_TABLE = pathlib.Path(__file__).parent.parent / "assets" / "catalogue.csv"
_OWN = ("augreg", "big_vision", "deit", "dino", "pl_bolts", "torchvision", "vitjx")  # not hub names
TOWERS = "open_clip/"  # before a repository: its image tower as open_clip has it
_PREFIXES = ("hf-hub:", "hf_hub:", HUB, "https://huggingface.co/", TOWERS)
_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


@dataclasses.dataclass(frozen=True)
class Entry:
    """A published network: its name, the place of its file, and its input."""

    name: str
    source: str  # "hf:timm/vit_tiny_patch16_224.augreg_in21k_ft_in1k", or the file's address
    file: str  # its name there and on disk
    aliases: tuple[str, ...] = ()
    family: str = ""  # one of FAMILIES; "": not in the table, so the tensors decide
    sha256: str = ""  # of the file: all 64 hex digits or the first ones; "" if unknown
    licence: str = ""
    config: Config | None = None  # None: not in the table, see the folder's `described`
    described: str = CONFIG  # the file that says what it is, where the table does not
    study: tuple[str, ...] = ()  # of STUDIES
    notes: str = ""

    @property
    def repository(self) -> str:
        """The hub repository, "" for a file elsewhere."""
        return self.source.removeprefix(HUB) if self.source.startswith(HUB) else ""

    @property
    def folder(self) -> str:
        """Its path below the cache's folder of models, and on a mirror."""
        return _stem(self.name)

    @property
    def files(self) -> tuple[str, ...]:
        """The files needed to load it."""
        return (self.file,) if self.config else (self.file, self.described)

    def address(self, file: str) -> str:
        """The download address of one of its files; respects HF_ENDPOINT."""
        if not self.repository:
            return self.source
        hub = (os.environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")
        return f"{hub}/{self.repository}/resolve/main/{file}"


@functools.cache
def entries() -> tuple[Entry, ...]:
    """All lines of the table, in order.

    Raises:
      ValueError: a line that cannot be read, with its number.
    """
    with _TABLE.open(newline="", encoding="utf-8") as file:
        return tuple(_entry(line, row) for line, row in enumerate(csv.DictReader(file), 2))


def find(name: str) -> Entry | None:
    """The network with a name, or None; ignores case.

    Args:
      name: a name or alias in the table, with or without "timm/" ("vit_base_patch16_224.dino") and
        the file's ending ("augreg/Ti_16-....npz"), or the file's address (also gs://). Any other
        "organisation/repository" means a repository of the hub with `config.json` and
        `model.safetensors`, or after "open_clip/" with open_clip's files.

    >>> find("resnet50").name, find("timm/vit_tiny_patch16_224.augreg_in21k_ft_in1k").licence
    ('torchvision/resnet50.IMAGENET1K_V1', 'apache-2.0')
    >>> find("mylab/our_vit").source, find("resnet51")
    ('hf:mylab/our_vit', None)
    """
    bare = name.removeprefix("gs://")
    if bare != name:
        name = f"https://storage.googleapis.com/{bare}"
    towers = name.startswith(TOWERS)
    for prefix in _PREFIXES:
        name = name.removeprefix(prefix)
    found = _index().get(_key(name))
    if found or not _REPOSITORY.fullmatch(name) or name.split("/")[0] in _OWN:
        return found
    if towers:
        return Entry(name, HUB + name, OPEN_CLIP_TENSORS, described=OPEN_CLIP)
    return Entry(name=name, source=HUB + name, file=TENSORS)


def nearest(name: str, count: int = 3) -> list[str]:
    """Names and aliases similar to `name`, the likeliest first.

    >>> nearest("timm/vit_tiny_patch16_224")[0]
    'timm/vit_tiny_patch16_224.augreg_in21k_ft_in1k'
    """
    key, known = (
        _key(name),
        {_key(alias): alias for e in entries() for alias in (e.name, *e.aliases)},
    )
    longer = sorted((k for k in known if k.startswith(key)), key=lambda k: k.count("."))
    found: dict[str, str] = {}  # one name for each network
    for near in (*longer, *difflib.get_close_matches(key, known, n=count + 2, cutoff=0.5)):
        found.setdefault(_index()[near].name, known[near])
    return list(found.values())[:count]


def matching(study: str, match: str) -> list[Entry]:
    """The entries of a study ("" for all) with `match` in their name or an alias.

    Raises:
      ValueError: there is no such study, or nothing matches.

    >>> [entry.family for entry in matching("rival10", "clip_vit")]
    ['clip_vit', 'clip_vit']
    """
    if study and study not in STUDIES:
        raise ValueError("config.study: " + no_such(study, STUDIES))
    found = [
        entry
        for entry in entries()
        if (not study or study in entry.study)
        and any(match.casefold() in name.casefold() for name in (entry.name, *entry.aliases))
    ]
    if not found:
        near = " or ".join(nearest(match))
        raise ValueError(
            f"config.match: no name{f' of {study}' if study else ''} has {match!r} in it"
            + (f"; did you mean {near}?" if near else "")
        )
    return found


@functools.cache
def _index() -> Mapping[str, Entry]:
    return {_key(name): entry for entry in entries() for name in names(entry)}


def names(entry: Entry) -> Iterator[str]:
    """All names under which `find` knows a line of the table."""
    yield from (entry.name, *entry.aliases)
    if not entry.repository:
        yield entry.source


def _key(name: str) -> str:
    """A form of a name that is the same for all its spellings."""
    return _stem(name).casefold().removeprefix("timm/")


def _stem(name: str) -> str:
    """A name without the ending of a file of weights; its other dots stay."""
    for suffix in SUFFIXES:
        name = name.removesuffix(suffix)
    return name


def _entry(line: int, row: Mapping[str, str]) -> Entry:
    try:
        height, width = row["input_size"].split("x")
        return Entry(
            name=row["name"],
            source=row["source"],
            file=row["file"],
            aliases=tuple(row["aliases"].split()),
            family=row["family"],
            sha256=row["sha256"],
            licence=row["licence"],
            config=Config(
                architecture=row["architecture"],
                num_classes=int(row["num_classes"]),
                model_args=dict(_setting(part) for part in row["model_args"].split()),
                image_size=(int(height), int(width)),
                mean=tuple(map(float, row["mean"].split())),
                std=tuple(map(float, row["std"].split())),
                interpolation=row["interpolation"],
                crop_pct=float(fractions.Fraction(row["crop_pct"])),  # "224/232" is exact
                class_names=imagenet() if row["num_classes"] == "1000" else None,
            ),
            study=tuple(row["study"].split()),
            notes=row["notes"],
        )
    except (AttributeError, KeyError, ValueError) as error:
        raise ValueError(f"{_TABLE}, line {line}: {error!r}") from error


@functools.cache
def imagenet() -> tuple[str, ...]:
    """The synsets of ImageNet-1k's outputs, shared by all published networks with 1000 outputs."""
    return tuple((_TABLE.parent / "imagenet_wnids.txt").read_text(encoding="utf-8").split())


def _setting(text: str) -> tuple[str, Any]:
    """ "act_layer=gelu" or "num_heads=16": what is not JSON is a string."""
    name, _, value = text.partition("=")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value
