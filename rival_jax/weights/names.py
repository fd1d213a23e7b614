"""From a user's name for a network to its file of weights and the facts known on its input."""

from __future__ import annotations

import dataclasses
import difflib
import pathlib
from collections import defaultdict
from collections.abc import Sequence

from rival_jax.runtime.names import by_difference
from rival_jax.weights import catalogue, download, foreign
from rival_jax.weights.hub_folder import CONFIG, TENSORS, Config

MAX_NAME = 200  # bytes; file names with suffixes then stay below 255
_RESERVED = {
    "con",
    "prn",
    "aux",
    "nul",
    *(f"{port}{i}" for port in ("com", "lpt") for i in range(10)),
}


@dataclasses.dataclass(frozen=True)
class Located:
    """A network's file (or Orbax folder) of weights."""

    file: pathlib.Path
    name: str  # what tables call it
    config: Config | None  # None: only the tensors are known


def locate(name: str, others: Sequence[str] = ()) -> Located:
    """The file for a name; published ones are downloaded if missing.

    Args:
      name: a folder with `config.json` and `model.safetensors`, or an Orbax checkpoint; a file of
        weights, with or without `config.json` beside it; or a published network, see
        `catalogue.find`. A file with its publisher's name is recognised.
      others: further known names, for the error.

    Raises:
      ValueError: no network has this name; lists the nearest.
      FileNotFoundError: there is no such file or folder, or a folder lacks a file.
      OSError: a published file could not be fetched.
    """
    path = pathlib.Path(name).expanduser()
    if path.is_dir():
        return _folder(path)
    if path.is_file():
        there = any((path.parent / name).is_file() for name in _beside(path.name))
        config = foreign.described(path) if there else _published(path.name)
        return Located(path, called(_last(path), path), config)
    local = path.is_absolute() or name.startswith(".") or path.suffix == ".safetensors"
    if local or (len(path.parts) > 1 and path.parent.is_dir()):
        raise FileNotFoundError(f"no weights at {path}; name a file or folder that is there")
    entry = catalogue.find(name)
    near = [*difflib.get_close_matches(name, others, cutoff=0.7), *catalogue.nearest(name)]
    tagged = name.startswith(catalogue.TIMM) and "." in name  # the hub has far more than the table
    sure = tagged or name.startswith(catalogue.HUB)
    if entry is None or (entry.config is None and near and not sure):
        hint = f"; did you mean {' or '.join(near)}?" if near else "."
        if entry:
            hint += f" For the hub's repository of that name write {catalogue.HUB}{name}."
        raise ValueError(
            f"no model {name!r}{hint} Bundled are: {', '.join(others)}. The published ones: "
            "python -m rival_jax.main --config=configs/models.py. A local folder needs "
            f"{CONFIG} and {TENSORS}"
        )
    return fetched(entry)


def fetched(entry: catalogue.Entry) -> Located:
    """A published network's file, downloaded if missing; raises as `locate` does."""
    folder = download.fetch(entry)
    # The table's config is complete and checked; some publishers' files are wrong about their
    # weights.
    config = entry.config
    if config is None:
        config = foreign.described(folder / entry.file)
        if config.package == "transformers" and not (folder / foreign.PREPROCESSOR).is_file():
            download.also(entry, foreign.PREPROCESSOR)
            config = foreign.described(folder / entry.file)
    return Located(folder / entry.file, entry.name.rpartition("/")[2], config)


def told_apart(names: Sequence[str]) -> dict[str, str]:
    """Of folders and files that would be called alike: name -> what differs in its path."""
    alike: dict[str, list[str]] = defaultdict(list)
    for name in dict.fromkeys(names):
        if (path := pathlib.Path(name).expanduser()).exists():
            alike[_last(path)].append(name)
    several = [some for some in alike.values() if len(some) > 1]
    return {n: title for some in several for n, title in zip(some, _differ(some), strict=True)}


def _differ(names: Sequence[str]) -> list[str]:
    return by_difference([str(pathlib.Path(name).expanduser()) for name in names])


def _last(path: pathlib.Path) -> str:
    """The part of a path to weights that a network is called by."""
    if path.is_dir():
        return path.resolve().name
    return path.resolve().parent.name if path.name == TENSORS else path.stem


def called(name: str, path: pathlib.Path) -> str:
    """The name itself, if valid; results are filed under it.

    Raises:
      ValueError: it cannot be a folder's name on every system, or would lead out of a folder.
    """
    wrong = ""
    if not name.strip(". "):
        wrong = "is not a valid folder name"
    elif not name.isprintable() or set(name) & set('/\\:*?"<>|'):
        wrong = "has characters that some systems do not allow in folder names"
    elif len(name.encode()) > MAX_NAME:
        wrong = f"has more than {MAX_NAME} bytes"
    elif name.partition(".")[0].casefold() in _RESERVED or name.endswith((".parquet", ".", " ")):
        wrong = "is reserved"
    if wrong:
        raise ValueError(
            f"the model at {str(path)!r} would be called {name!r}, which {wrong}; rename the file "
            "or its folder, since results are filed under this name"
        )
    return name


def _folder(path: pathlib.Path) -> Located:
    tensors, config, name = path / TENSORS, path / CONFIG, called(_last(path), path)
    towers = path / foreign.OPEN_CLIP_TENSORS
    if not tensors.is_file() and towers.is_file() and (path / foreign.OPEN_CLIP).is_file():
        return Located(towers, name, foreign.described(towers))
    if tensors.is_file():
        return Located(tensors, name, foreign.described(tensors))
    known = foreign.described(tensors) if config.is_file() else None
    files = [p for p in sorted(path.iterdir()) if p.suffix in catalogue.SUFFIXES]
    if len(files) == 1:
        return Located(files[0], name, known or _published(files[0].name))
    if files:
        raise ValueError(
            f"{path} holds {len(files)} files of weights ({', '.join(p.name for p in files[:5])}); "
            "name one of them"
        )
    if (any(path.glob("*")) and not config.is_file()) or (path / "_METADATA").exists():
        return Located(path, name, known)  # Orbax's, or an error of its reader
    raise FileNotFoundError(f"no {TENSORS} in {path}; put the network's weights there")


def _beside(file: str) -> tuple[str, ...]:
    """The names of the configurations that may be of a file."""
    return (foreign.OPEN_CLIP, CONFIG) if file == foreign.OPEN_CLIP_TENSORS else (CONFIG,)


def _published(file: str) -> Config | None:
    """The configuration of the only published network with this file name."""
    found = [e for e in catalogue.entries() if e.file == file and file != TENSORS]
    return found[0].config if len(found) == 1 else None
