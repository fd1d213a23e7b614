"""The command `rival-jax`: an experiment in short flags, and what is known, shown and compared."""

from __future__ import annotations

import argparse
import importlib
import itertools
import pkgutil
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from rival_jax import configs
from rival_jax.experiments import models, paired
from rival_jax.report.printed import show_tables
from rival_jax.report.results import Results
from rival_jax.report.shown import read_tables, side_by_side
from rival_jax.report.tables import as_latex
from rival_jax.runtime.config_flag import load_config
from rival_jax.runtime.console import Terminal
from rival_jax.runtime.environment import read_argv
from rival_jax.runtime.plugins import no_such, plugin
from rival_jax.weights import catalogue

USAGE = """\
  rival-jax rfs                                     a demo on drawn pictures
  rival-jax rfs --data photos --model timm/resnet50.a1_in1k --out runs/a
  rival-jax rfs:paper --dry-run                     a preset, and what it would cost
  rival-jax masks photos                            masks for photos that have none, by TokenCut
  rival-jax list [models|data|methods|heads|objectives]
  rival-jax show runs/a                             the tables of a finished run
  rival-jax compare runs/a runs/b --out runs/ab     before and after, in pairs
  rival-jax figures runs/a --out paper              its figures as PDF, for a paper
"""
OWN = "clean"  # the preset for one's own data, in configs that have it
# What a bare folder is: the first kind with such a path in it, else the first that a config has.
MARKS = (
    *(("masked_folder", "masks"), ("masked_folder", "*/masks"), ("voc", "**/JPEGImages")),
    *(
        ("cvat", "annotations.xml"),
        ("cvat", "*/annotations.xml"),
        ("coco", "annotations/**/*.json"),
    ),
    *(("yolo", "*.yaml"), ("hub_parquet", "**/*.parquet"), ("labelme", "**/*.json")),
)
FOLDERS = ("masked_folder", "image_folder", "rival10")


class Short(NamedTuple):
    """A short flag, the keys it stands for (a config has one of them), and its help."""

    name: str
    keys: tuple[str, ...]
    help: str
    several: bool = False  # it may be given more than once


SHORT = (
    Short("data", ("data.root",), "a folder of photos and masks, or KIND=FOLDER (see list data)"),
    Short("split", ("data.split",), "which part of the data; default test"),
    Short("model", ("models",), "a network's name, folder or file; again for more", several=True),
    Short("head", ("head",), "from a network's outputs to your classes, see list heads"),
    Short("method", ("saliency.methods", "sis.methods"), "a saliency method; again for more", True),
    Short("set", ("sets",), "a data set of robustness, KIND=FOLDER; again for more", several=True),
    Short("trials", ("noise.trials",), "draws of noise for each photo"),
    Short("batch-size", ("batch_size",), "images per step; default by memory"),
)
# Flags of `rival_jax.main` that are passed on; "out" and "dry-run" are its workdir and dry_run.
PASSED = {"config", "extend", "profile", "distributed", "num_processes", "process_id", "heartbeat"}


def cli(argv: Sequence[str] | None = None) -> None:
    """Reads the command line and does what it says; bad input ends in one line."""
    words = list(sys.argv[1:] if argv is None else argv)
    if not words or words[0] in ("-h", "--help", "help"):
        print(help_text(), end="")
        return
    others = {"list": _list, "show": _show, "compare": _compare}
    try:
        if words[0] in others:
            others[words[0]](words[1:])
            return
        given = _figures(words[1:]) if words[0] == "figures" else main_flags(words)
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")
    _run(given)


def _run(flags: Sequence[str]) -> None:
    """`python -m rival_jax.main` with these flags."""
    from rival_jax import main  # defines absl's flags

    sys.argv = ["rival-jax", *flags]
    main.cli()


def help_text() -> str:
    """What `--help` prints: usage, experiments, and the short flags."""
    lines = ["Does an image classifier look at the object or at the background?\n", USAGE]
    lines += ["experiments, with their presets:", *(f"  {line}" for line in _experiments())]
    lines += ["", "flags (any other key of a config: --config.key=VALUE):"]
    told = [("--out", "folder of the results; default runs/EXPERIMENT")]
    told += [("--pdf", "folder where every figure goes as PDF too, for a paper")]
    told += [("--dry-run", "check everything, print the cost, run nothing")]
    for flag, said in [*((f"--{short.name}", short.help) for short in SHORT), *told]:
        lines.append(f"  {flag:14}{said}")
    return "\n".join(lines) + "\n"


def main_flags(words: Sequence[str]) -> list[str]:
    """The flags of `rival_jax.main` that a short command line stands for.

    Args:
      words: an experiment, perhaps with a preset, and flags; or "masks" and a folder of photos.

    Raises:
      ValueError: for an unknown experiment or flag, with the nearest, a flag whose key the
        experiment's config does not have, and words that are no flags.

    >>> main_flags(["rfs", "--model", "a", "--model=b", "--out", "runs/a"])
    ['--config=rfs', "--config.models=('a', 'b')", '--workdir=runs/a']
    """
    if words[0] == "masks":
        if len(words) < 2 or words[1].startswith("-"):
            raise ValueError("masks: name a folder of photos: rival-jax masks photos")
        words = ["tokencut", f"--data=image_folder={words[1]}", *words[2:]]
    named, *rest = words
    given, passed = _parsed(rest)
    named = _with_preset(named, own="data" in given)
    config = load_config(named)
    flags = [f"--config={named}"]
    for short in SHORT:
        if short.name in given:
            value = given[short.name]
            key = _key(config, short, named)
            if short.name == "data":
                kind, value = _place(config, value)
                flags.append(f"--config.data.name={kind}")
            flags.append(f"--config.{key}={tuple(value) if short.several else value}")
    for name, flag in (("out", "workdir"), ("pdf", "pdf")):
        flags += [f"--{flag}={given[name]}"] if name in given else []
    return flags + (["--dry_run"] if "dry_run" in given else []) + passed


def _parsed(words: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """The short flags' values by name, and the words that go on as they are."""
    parser = _Parser(add_help=False, allow_abbrev=False, argument_default=argparse.SUPPRESS)
    for short in SHORT:
        parser.add_argument(f"--{short.name}", action="append" if short.several else "store")
    parser.add_argument("--out", "--workdir")
    parser.add_argument("--pdf")
    parser.add_argument("--dry-run", "--dry_run", action="store_true")
    found, rest = parser.parse_known_args(list(words))
    known = [*(short.name for short in SHORT), "out", "pdf", "dry-run", *PASSED]
    for word in rest:
        name = word.lstrip("-").partition("=")[0]
        if not word.startswith("--"):
            raise ValueError(f"unexpected {word!r}; flags look like --model=NAME")
        if not name.startswith(("config.", "noconfig.")) and name.removeprefix("no") not in PASSED:
            raise ValueError("flags: " + no_such(name, known))
    return {name.replace("batch_size", "batch-size"): v for name, v in vars(found).items()}, rest


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ValueError(f"flags: {message}")


def _with_preset(named: str, *, own: bool) -> str:
    """The config with the preset for one's own data, if none is named."""
    if ":" in named or not own or named.endswith(".py"):
        return named
    presets = plugin("configs", named).PRESETS
    return f"{named}:{OWN}" if OWN in presets else named


def _key(config: Any, short: Short, named: str) -> str:
    for key in short.keys:
        block: Any = config
        *path, last = key.split(".")
        for part in path:
            block = block.get(part, {})
        if last in block:
            return key
    raise ValueError(f"{named} has no --{short.name}; its keys: configs/{named.split(':')[0]}.py")


def _place(config: Any, text: str) -> tuple[str, str]:
    """A data set's kind and folder."""
    kind, equals, folder = text.partition("=")
    if equals and re.fullmatch(r"[\w.]+", kind):
        return kind, folder
    default = next((kind for kind in FOLDERS if kind in config.data), FOLDERS[0])
    if default == FOLDERS[0]:
        there = Path(text).expanduser()
        default = next((kind for kind, mark in MARKS if any(there.glob(mark))), default)
    return default, text


def _components(kind: str) -> Iterator[tuple[str, Any]]:
    """The modules of a folder of the package that one can name, each with its name."""
    package = importlib.import_module(f"rival_jax.{kind}")
    for module in pkgutil.iter_modules(package.__path__):
        if not module.name.startswith("_") and module.name not in getattr(package, "PARTS", ()):
            yield module.name, importlib.import_module(f"rival_jax.{kind}.{module.name}")


def _told(name: str, module: Any) -> str:
    return f"{name:22}{(module.__doc__ or '').strip().splitlines()[0]}"


def _experiments() -> Iterator[str]:
    for name in sorted({module.name for module in pkgutil.iter_modules(configs.__path__)}):
        if name not in configs.PARTS:
            module = plugin("configs", name)
            presets = " ".join(f":{preset}" for preset in module.PRESETS if preset)
            yield f"{_told(name, module)}{'  ' + presets if presets else ''}"


def _list(words: Sequence[str]) -> None:
    """Experiments, or the models, data sets, methods, heads or objectives there are."""
    kinds = {"data": "data", "methods": "saliency", "heads": "heads", "objectives": "objectives"}
    if len(words) > 1:
        raise ValueError(f"list: got {len(words)} words, expected at most one")
    console = Terminal(soft_wrap=True)
    if not words:
        for line in _experiments():
            console.print(line)
        here = [e for e in catalogue.entries() if models.facts(e)["bytes"]]
        console.print(f"\n{len(catalogue.entries())} published networks, {len(here)} of them here")
        console.print(f"more: rival-jax list {'|'.join(['models', *kinds])}")
    elif words[0] == "models":
        models.show([models.facts(entry) for entry in catalogue.entries()], console)
    elif words[0] in kinds:
        for name, module in _components(kinds[words[0]]):
            console.print(_told(name, module))
    else:
        raise ValueError("list: " + no_such(words[0], ["models", *kinds]))


def _show(words: Sequence[str]) -> None:
    """The tables of finished runs, as they were printed."""
    if not words:
        raise ValueError("show: name the folder of a finished run: rival-jax show runs/a")
    for folder in map(Path, words):
        show_tables(read_tables(folder), Terminal())
        if (folder / "report.html").is_file():
            print(f"report: {folder / 'report.html'}")


def _figures(words: Sequence[str]) -> list[str]:
    """The flags that report a finished run again, with its figures as PDF too."""
    folders, given, passed = _folders(words)
    if len(folders) != 1 or not (argv := read_argv(Path(folders[0]))):
        raise ValueError("figures: name a finished run: rival-jax figures runs/a --out paper")
    again = [word for word in argv if not word.startswith(("--workdir=", "--pdf="))]
    return [*again, f"--workdir={folders[0]}", f"--pdf={given.get('out', 'paper')}", *passed]


def _compare(words: Sequence[str]) -> None:
    """Runs on the same images: one report, compared in pairs. Others: beside each other."""
    folders, given, passed = _folders(words)
    if len(folders) < 2:
        raise ValueError("compare: name two finished runs: rival-jax compare runs/a runs/b")
    found, out = {folder: Results.read(folder) for folder in folders}, given.get("out")
    of_rfs = all("rfs" in results.of("study") for results in found.values())
    why = "" if of_rfs else paired.apart([*map(Path, folders)])
    if not why:
        out = out or "runs/compare"
        flags = [f"--config.runs={tuple(folders)}", f"--workdir={out}", f"--pdf={out}/pdf"]
        _run(["--config=report", *flags, *passed])
        return
    shown = [*side_by_side(found)]
    show_tables(shown, Terminal())
    if out:
        path = Path(out) / "compared.tex"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(map(as_latex, shown)), encoding="utf-8")
        print(f"LaTeX: {path}")
    print(f"no paired intervals: {why}")


def _folders(words: Sequence[str]) -> tuple[list[str], dict[str, Any], list[str]]:
    """Folders of runs, then flags: `--out`, and those that go on as they are."""
    folders = list(itertools.takewhile(lambda word: not word.startswith("--"), words))
    given, passed = _parsed(words[len(folders) :])
    for name in given.keys() - {"out"}:
        raise ValueError(f"flags: --{name} is not for finished runs; they take --out")
    return folders, given, passed
