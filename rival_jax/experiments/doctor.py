"""Looks at data sets before networks do: what is there, what is missing, how to lay it out."""

from __future__ import annotations

import pkgutil
from pathlib import Path
from types import ModuleType
from typing import Any

from rich.console import Console

from rival_jax import data
from rival_jax.data.inspection import examine
from rival_jax.data.photos import counted
from rival_jax.runtime.plugins import plugin
from rival_jax.runtime.results import Run

ONE_PROCESS = True  # not for several hosts

EXAMPLE = "\"('imagenet_a=/data/imagenet-a',)\""
SHOWN = 8  # words of a factor that are printed


def run(config: Any, run: Run, console: Console) -> dict[str, Any]:
    """Prints and returns what is found of each of `config.sets`, or how all are laid out.

    Raises:
      ValueError: something would make a number wrong; raised after everything is printed and saved.
    """
    if not config.sets:
        return {"layouts": layouts(console)}
    found = []
    for text in config.sets:
        options = {"samples": config.samples, "hashes": config.hashes}
        told = {"set": text, **examine(*_called(text, config), **options)}
        show(told, console)
        found.append(told)
    run.save_json("summary.json", {"sets": found})
    wrong = [told["set"].partition("=")[0] for told in found if told["faults"]]
    if wrong:
        raise ValueError(
            f"{len(wrong)} of {len(found)} data sets would give wrong numbers: {', '.join(wrong)}"
        )
    return {"sets": found}


def dry_run(config: Any, console: Console) -> None:
    """Prints what a run would look at, and whether its folder exists.

    Raises:
      ValueError: for an unknown set.
    """
    for text in config.sets:
        _, root, *_ = _called(text, config)
        there = "there" if root.exists() else "not there"
        console.print(f"{text}: {root} is {there}", markup=False)
    console.print(f"{len(config.sets)} data sets; nothing was read")


def layouts(console: Console) -> dict[str, str]:
    """Prints and returns how each evaluation set is laid out."""
    modules = (m.name for m in pkgutil.iter_modules(data.__path__) if m.name not in data.PARTS)
    found = {name: getattr(plugin("data", name), "LAYOUT", "") for name in modules}
    found = {name: layout for name, layout in found.items() if layout}
    for name, layout in found.items():
        console.print(f"{name}: {layout}", markup=False)
    console.print(f"Check some: --config.sets={EXAMPLE}", markup=False)
    return found


def show(told: dict[str, Any], console: Console) -> None:
    """One set's lines, and its layout if something is wrong."""
    lines = [f"{told['set']}: {'WRONG' if told['faults'] else 'good'}"]
    if "photos" in told:
        low, high = told["labels"]
        filled, classes = told["filled"], told["classes"]
        lines.append(
            f"{counted(told['photos'])} of {filled} of {classes} classes, labels {low}-{high}"
        )
    for factor, words in told.get("factors", {}).items():
        some = ", ".join(f"{word or 'unknown'} {n:,}" for word, n in list(words.items())[:SHOWN])
        more = f" and {len(words) - SHOWN} more" if len(words) > SHOWN else ""
        lines.append(f"{factor}: {some}{more}")
    lines += [f"wrong: {fault}" for fault in told["faults"]]
    lines += [f"note: {note}" for note in told["notes"]]
    if told["faults"]:
        lines.append(f"expected: {told['layout']}")
    console.print("\n  ".join(lines), markup=False)


def _called(text: str, config: Any) -> tuple[ModuleType, Path, str, dict[str, Any]]:
    """A set's module, its root, split and options."""
    one = data.named(text)
    root = Path(one.root or config.root).expanduser()
    return plugin("data", one.kind), root, one.split or config.split, one.options
