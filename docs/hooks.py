"""Pages of the documentation made from the package, so that they cannot disagree with it."""

from __future__ import annotations

import ast
import dataclasses
import functools
import inspect
import json
import pkgutil
import re
import string
import sys
import tomllib
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from rival_jax import configs  # noqa: E402
from rival_jax.experiments.claims.page import differences  # noqa: E402
from rival_jax.report.tables import as_markdown  # noqa: E402
from rival_jax.report.words import TESTS  # noqa: E402
from rival_jax.runtime.plugins import plugin  # noqa: E402

NAMES = [m.name for m in pkgutil.iter_modules(configs.__path__) if m.name not in configs.PARTS]
RUNS = ROOT / "runs"  # whose figures the gallery shows
EXAMPLES = ROOT / "examples"
COPIES = {
    "changelog.md": "CHANGELOG.md",
    "contributing.md": "CONTRIBUTING.md",
    "benchmarks.md": "benchmarks/README.md",
    "launch.md": "launch/README.md",
}


def on_files(files: Files, config: Any) -> Files:
    """Adds a page for every config, the presets, the gallery and the changes."""
    made = {f"experiments/{name}.md": experiment(name) for name in NAMES}
    made |= {"experiments.md": overview(), "presets.md": presets()}
    made |= {page: (ROOT / path).read_text(encoding="utf-8") for page, path in COPIES.items()}
    made |= {f"{path.stem}.md": notebook(path) for path in sorted(EXAMPLES.glob("*.ipynb"))}
    made["gallery.md"] = gallery(files, config)
    for path, text in made.items():
        files.append(File.generated(config, path, content=text))
    return files


class _Named(string.Formatter):
    """Fills in a text's {names} with themselves, in italics."""

    def get_value(self, key: Any, args: Any, kwargs: Any) -> str:
        return TESTS.get(key) or f"*{key.replace('_', ' ')}*"

    def format_field(self, value: Any, format_spec: str) -> str:
        return value

    def get_field(self, field_name: str, args: Any, kwargs: Any) -> tuple[str, str]:
        return self.get_value(field_name, args, kwargs), field_name


def said(text: str) -> str:
    """A text of words.toml as Markdown; {names} that continue a word, as further texts do, go."""
    return _Named().format(re.sub(r"(?<=[\w.,;])\{\w+\}", "", " ".join(text.split())))


def words(name: str) -> dict[str, Any]:
    """The words of a room, {} if it has none."""
    file = ROOT / "rival_jax" / "experiments" / name / "words.toml"
    return tomllib.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}


def first_line(thing: Any) -> str:
    """What a docstring begins with."""
    return (inspect.getdoc(thing) or "").split("\n\n")[0].replace("\n", " ")


def overview() -> str:
    """All configs and what they ask."""
    lines = ["# Experiments", "", "| config | what it does |", "| --- | --- |"]
    for name in NAMES:
        about = first_line(plugin("configs", name)).rstrip(".")
        lines.append(f"| [`{name}`](experiments/{name}.md) | {about} |")
    more = """
Each runs as a demo on bundled pictures by default: `rival-jax NAME`. With your photos and networks
it takes the same flags, see [your data](data.md) and [your model](models.md); `--dry_run` prints
passes, operations and time, and runs nothing. The same command again continues where a run stopped.
"""
    return "\n".join(lines) + "\n" + more


def experiment(name: str) -> str:
    """A config's page: how to run it, what it shows and does not show, and all its options."""
    module, told = plugin("configs", name), words(name)
    room = plugin("experiments", name)
    parts = [f"# {name}", inspect.getdoc(module) or "", _commands(name, module)]
    if (about := first_line(room)) and about not in parts[1]:
        parts.insert(1, about)
    shown = told.get("figures", {}).values()
    if shown:
        parts += ["## What its page shows", "\n".join(f"- {said(one['caption'])}" for one in shown)]
    tables = [said(one["title"]) for one in told.get("tables", {}).values() if "title" in one]
    if tables:
        parts.append("Tables: " + "; ".join(dict.fromkeys(tables)) + ".")
    if told.get("caveats"):
        caveats = "\n".join(f"- **{said(c['claim'])}** {said(c['why'])}" for c in told["caveats"])
        parts += ["## What it does not show", caveats]
    if source := told.get("text", {}).get("source"):
        parts.append(said(source))
    parts += ["## Options", _options(module.Config)]
    return "\n\n".join(parts) + "\n"


def _commands(name: str, module: Any) -> str:
    presets = [preset for preset in getattr(module, "PRESETS", {}) if preset]
    lines = [f"rival-jax {name}", *(f"rival-jax {name}:{preset}" for preset in presets)]
    return "```sh\n" + "\n".join(lines) + "\n```"


def _options(kind: Any) -> str:
    lines = ["| key | default | what it may be | |", "| --- | --- | --- | --- |"]
    for key, default, what, why in _keys(kind, kind(), ""):
        cells = (f"`{key}`", f"`{default!r}`" if default != "" else "", what, why)
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines)


def _keys(kind: Any, value: Any, prefix: str) -> Iterator[tuple[str, Any, str, str]]:
    kinds = typing.get_type_hints(kind, include_extras=True)
    for field in dataclasses.fields(kind):
        inner = getattr(value, field.name)
        if dataclasses.is_dataclass(inner):
            yield from _keys(type(inner), inner, f"{prefix}{field.name}.")
        elif field.name != configs.OWN:
            owner = next(one for one in kind.__mro__ if field.name in _comments(one))
            what = configs._name(kinds[field.name])
            yield prefix + field.name, inner, what, _comments(owner)[field.name]


@functools.cache
def _comments(kind: Any) -> dict[str, str]:
    """What the comments beside or above a dataclass's own fields say."""
    try:
        lines = inspect.getsource(kind).splitlines()
    except (OSError, TypeError):
        return {}
    found: dict[str, str] = {}
    for node in ast.parse("\n".join(lines)).body[0].body:  # type: ignore[attr-defined]
        if not isinstance(node, ast.AnnAssign) or not isinstance(node.target, ast.Name):
            continue
        last = lines[(node.end_lineno or node.lineno) - 1]
        told = [last.split("  # ", 1)[1]] if "  # " in last else []
        above = node.lineno - 2
        while not told[1:] and lines[above].strip().startswith("# "):
            told.insert(0, lines[above].strip()[2:])
            above -= 1
        found[node.target.id] = " ".join(told)
    return found


def presets() -> str:
    """Every value in which presets differ."""
    table = as_markdown(differences()).replace("### ", "# ", 1)
    return f"{table}\nWhy they differ: [protocols](protocols.md).\n"


def notebook(path: Path) -> str:
    """A notebook's cells; whoever runs it sees the results."""
    parts = []
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        text = "".join(cell["source"])
        parts.append(text if cell["cell_type"] == "markdown" else f"```python\n{text}\n```")
    parts.append(f"This page is the notebook `examples/{path.name}`.")
    return "\n\n".join(parts) + "\n"


def gallery(files: Files, config: Any) -> str:
    """The figures of finished runs below `runs/`, one experiment after another."""
    parts = [
        "# Gallery",
        "Figures of the demos, which are made from drawn pictures whose truth is known. Photos look"
        " the same. Every figure of a run is also there as SVG and as numbers.",
    ]
    for run in sorted(path.parent for path in RUNS.glob("*/report.html")):
        parts.append(f"## {run.name}")
        for picture in sorted((run / "figures").glob("*.svg")):
            name = f"gallery/{run.name}/{picture.name}"
            files.append(File.generated(config, name, abs_src_path=str(picture)))
            parts.append(f"![{picture.stem.replace('_', ' ')}]({name})")
    if len(parts) == 2:
        parts += ["## rfs", "![Accuracy under noise, and RFS, of four networks](demo.png)"]
        parts.append("More with `rival-jax NAME --out runs/NAME`, and built again.")
    return "\n\n".join(parts) + "\n"
