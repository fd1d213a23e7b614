"""The folder listing is the architecture: which way imports point, and how long files are."""

import ast
import re
from pathlib import Path

import pytest

import rival_jax

PACKAGE = Path(rival_jax.__file__).parent
COMPONENTS = ("models", "weights", "heads", "data", "report", "saliency", "objectives", "interop")
ALLOWED_BETWEEN = {("objectives", "saliency"), ("models", "weights"), ("interop", "models")}
FILES = sorted(PACKAGE.rglob("*.py"))
NUMERICS_MAY = {"jax", "numpy", "scipy", "optax", "jaxtyping"}


def room(path: Path) -> str:
    """The part of the package a file belongs to."""
    parts = path.relative_to(PACKAGE).parts
    if len(parts) > 1:
        return parts[0]
    stem = path.stem
    return {"__init__": "facade", "_version": "version"}.get(
        stem, stem if stem in ("types", "main") else "numerics"
    )


def imported(path: Path) -> set[str]:
    """Full names of the modules a file imports, wherever in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def rooms(path: Path) -> set[str]:
    """Rooms of the package that a file imports from."""
    found = set()
    for name in imported(path):
        parts = name.split(".")
        if parts[0] == "rival_jax" and len(parts) > 1:
            below = PACKAGE.joinpath(parts[1])
            if below.is_dir():
                found.add(parts[1])
            elif below.with_suffix(".py").exists():
                found.add(room(below.with_suffix(".py")))
    return found


RANK = {
    "version": 0,
    "types": 0,
    "numerics": 1,
    "runtime": 2,
    "facade": 4,
    "experiments": 4,
    "main": 5,
}


def rank(name: str) -> int:
    return RANK.get(name, 3)


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_one_way(path):
    mine = room(path)
    for other in rooms(path):
        if other == mine:
            continue
        if rank(mine) == rank(other) == 3:
            assert (mine, other) in ALLOWED_BETWEEN, f"{mine} imports {other}"
        else:
            assert rank(mine) > rank(other), f"{mine} imports {other}"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_files_are_read_in_one_sitting(path):
    assert len(path.read_text().splitlines()) <= 300


def test_experiments_do_not_import_each_other():
    for path in (PACKAGE / "experiments").glob("*.py"):
        for name in imported(path):
            if name.startswith("rival_jax.experiments."):
                assert name.split(".")[2].startswith("_"), f"{path.name} imports {name}"


def test_numerics_are_pure():
    for path in PACKAGE.glob("*.py"):
        if room(path) in ("numerics", "types"):
            outside = {name.split(".")[0] for name in imported(path)}
            standard = {"__future__", "collections", "dataclasses", "functools", "math", "typing"}
            assert outside <= NUMERICS_MAY | standard | {"rival_jax"}, path.name


def test_folders_are_kinds_of_component():
    folders = {p.name for p in PACKAGE.iterdir() if p.is_dir() and p.name != "__pycache__"}
    assert folders <= {*COMPONENTS, "assets", "experiments", "runtime"}


def test_no_pickle_is_ever_loaded():
    for path in FILES:
        text = path.read_text()
        assert not re.search(r"(?<!inert_)pickle\.load", text), path  # that one executes nothing
        assert "allow_pickle=True" not in text, path


def test_core_is_read_in_an_hour():
    core = ("types", "taps", "noise", "metrics", "statistics", "experiments/rfs", "main")
    lines = sum(len((PACKAGE / f"{name}.py").read_text().splitlines()) for name in core)
    assert lines <= 1000
