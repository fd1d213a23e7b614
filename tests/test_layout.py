"""The folder listing is the architecture: which way imports point, and how long files are."""

import ast
import configparser
import importlib.metadata
import re
import sys
from pathlib import Path

import pytest

import rival_jax
from rival_jax import experiments

PACKAGE = Path(rival_jax.__file__).parent
COMPONENTS = ("models", "weights", "heads", "data", "report", "saliency", "objectives", "interop")
ALLOWED_BETWEEN = {("objectives", "saliency"), ("models", "weights"), ("interop", "models")}
FILES = sorted(PACKAGE.rglob("*.py"))
SETUP = Path(__file__).parent.parent / "setup.cfg"
NUMERICS_MAY = {"jax", "numpy", "scipy", "optax", "jaxtyping"}


def room(path: Path) -> str:
    """The part of the package a file belongs to."""
    parts = path.relative_to(PACKAGE).parts
    if len(parts) > 1:
        return parts[0]
    stem = path.stem
    return {"__init__": "facade", "_version": "version"}.get(
        stem, stem if stem in ("types", "main", "command") else "numerics"
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
    "command": 6,
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


def lowest_versions() -> dict[str, tuple[int, ...]]:
    """Of every package that setup.cfg names with a lowest version."""
    setup = configparser.ConfigParser()
    setup.read(SETUP, encoding="utf-8")
    lines = "\n".join(
        [setup["options"]["install_requires"], *setup["options.extras_require"].values()]
    )
    found = re.findall(r"^([\w-]+)(?:\[\w+\])?>=([\d.]+)", lines, re.MULTILINE)
    return {name: tuple(map(int, version.split("."))) for name, version in found}


@pytest.mark.parametrize(
    ("package", "lowest"), [("grain", (0, 2, 15)), ("scipy", (1, 15)), ("pytest-xdist", (3, 8))]
)
def test_what_is_called_is_in_the_lowest_versions_allowed(package, lowest):
    """Its iterators' close, its bootstrap's rng and --no-loadscope-reorder are new in these."""
    assert lowest_versions()[package] >= lowest


def test_every_package_that_is_imported_has_a_lowest_version():
    known = importlib.metadata.packages_distributions()
    names = {name.split(".")[0] for path in FILES for name in imported(path)}
    for name in names - {*sys.stdlib_module_names, "rival_jax"}:
        called = {name, *known.get(name, ())}  # not every optional package is installed
        assert {part.replace("_", "-").lower() for part in called} & {
            package.replace("_", "-").lower() for package in lowest_versions()
        }, name


def test_the_changelog_begins_with_the_version():
    heading = re.search(r"^## (.*)$", (SETUP.parent / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert heading is not None
    assert heading[1].removesuffix(" (unreleased)") == rival_jax.__version__


def test_rooms_do_not_import_each_other():
    """Only `report`, which joins runs of rfs, and `pareto` and `sweep`, finetunings."""
    joined = {("report", "rfs"), ("pareto", "finetune"), ("sweep", "finetune")}
    for path in (PACKAGE / "experiments").rglob("*.py"):
        parts = path.relative_to(PACKAGE / "experiments").parts
        mine = parts[0].removesuffix(".py")
        for name in imported(path):
            if name.startswith("rival_jax.experiments."):
                other = name.split(".")[2]
                shared = other in experiments.PARTS and mine not in experiments.PARTS
                both = {mine, other} <= experiments.PARTS
                assert other == mine or shared or both or (mine, other) in joined, (
                    f"{path.name} imports {name}"
                )


def test_numerics_are_pure():
    for path in PACKAGE.glob("*.py"):
        if room(path) in ("numerics", "types"):
            outside = {name.split(".")[0] for name in imported(path)}
            standard = {
                "__future__",
                "collections",
                "contextlib",
                "dataclasses",
                "functools",
                "itertools",
                "math",
            }
            standard |= {"typing"}
            assert outside <= NUMERICS_MAY | standard | {"rival_jax"}, path.name


def test_configs_are_made_without_the_rest_of_the_package():
    for path in (PACKAGE / "configs").glob("*.py"):
        names = imported(path)
        outside = {name.split(".")[0] for name in names} - {"rival_jax"}
        assert outside <= {*sys.stdlib_module_names, "ml_collections"}, path.name
        inside = {".".join(name.split(".")[:3]) for name in names if name.startswith("rival_jax.")}
        shared = {"rival_jax.runtime", "rival_jax.runtime.plugins"}
        assert all(n in shared or n.split(".")[1] == "configs" for n in inside), path.name


def test_folders_are_kinds_of_component():
    folders = {p.name for p in PACKAGE.iterdir() if p.is_dir() and p.name != "__pycache__"}
    assert folders <= {*COMPONENTS, "assets", "configs", "experiments", "runtime"}


def test_no_pickle_is_ever_loaded():
    for path in FILES:
        text = path.read_text()
        assert not re.search(r"(?<!inert_)pickle\.load", text), path  # that one executes nothing
        assert "allow_pickle=True" not in text, path


def test_core_is_read_in_an_hour():
    """The files that CONTRIBUTING lists, from a config to a row."""
    told = (PACKAGE.parent / "CONTRIBUTING.md").read_text(encoding="utf-8")
    listed = told.split("in this order:")[1].split("From rows to")[0]
    names = re.findall(r"`([\w/]+\.py)`", listed)
    assert len(names) == 9
    folder, lines = PACKAGE, 0
    for name in names:
        place = PACKAGE / name
        folder, place = (folder, folder / name) if not place.exists() else (place.parent, place)
        lines += len(place.read_text(encoding="utf-8").splitlines())
    assert lines <= 1200
