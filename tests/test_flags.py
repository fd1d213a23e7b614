"""Flags and keys of configs that errors, docstrings and documents name are ones that there are."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import rival_jax
from rival_jax import command
from tests.helpers import config_of

PACKAGE = Path(rival_jax.__file__).parent
ROOT = Path(__file__).parent.parent
CONFIGS = sorted(path.stem for path in (ROOT / "configs").glob("*.py"))
FILES = sorted([*PACKAGE.rglob("*.py"), *(ROOT / "configs").glob("*.py")])
VALUE = "\0"  # stands for what an f-string fills in
FLAG = re.compile(r"(?<![\w-])--([a-z][\w.-]*)(\0?)")
KEY = re.compile(r"(?<![\w./-])config\.([a-z_][\w.]*)(\0?)")
PREPARE = PACKAGE / "data/rival10_tfds/__main__.py"  # a program with flags of its own
OWN = set(re.findall(r'add_argument\("--(\w+)"', PREPARE.read_text(encoding="utf-8")))
# Read, not imported: a process has one set of flags, and other programs of the tests define theirs.
COMMAND = (PACKAGE / "main.py").read_text(encoding="utf-8")
MAIN = set(re.findall(r'DEFINE_\w+\(\s*"(\w+)"', COMMAND))
SHORT = {"out", "dry-run", *(short.name for short in command.SHORT)}  # of the command rival-jax
ELSEWHERE = {  # flags of absl, pip, git, sha256sum, ruff, pyright and XLA
    *("help", "no-deps", "always", "dirty", "abbrev", "check"),
    *("pythonpath", "xla_force_host_platform_device_count"),
}
NO_KEYS = {"json", "key", "model.classifier"}  # a file's name; any key; a key of Scenic's configs


def literals(path: Path) -> Iterator[str]:
    """Every string of a file; an f-string with `VALUE` for what is filled in."""
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    joined = [node for node in nodes if isinstance(node, ast.JoinedStr)]
    inside = {id(part) for node in joined for part in node.values}
    for node in joined:
        parts = [part.value if isinstance(part, ast.Constant) else VALUE for part in node.values]
        yield "".join(map(str, parts))
    for node in nodes:
        if (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and id(node) not in inside
        ):
            yield node.value


def keys(config, prefix: str = "") -> Iterator[str]:
    """All keys of a nested config, dotted; of one that holds others also "key."."""
    for key in config:
        yield prefix + key
        if hasattr(config[key], "keys"):
            yield f"{prefix}{key}."
            yield from keys(config[key], f"{prefix}{key}.")


@pytest.fixture(scope="module")
def known() -> set[str]:
    """Every key of every config in every preset."""
    found = {"", *NO_KEYS}
    for name in CONFIGS:
        for preset in getattr(config_of(name, module=True), "PRESETS", ("",)):
            found |= set(keys(config_of(name, preset)))
    return found


def strange(text: str, known: set[str]) -> list[str]:
    """The flags and keys in a text that there are not.

    What ends in a point is the beginning of keys if a value or the string's end follows, or else
    it ends a sentence.
    """
    found = []
    for match in (*FLAG.finditer(text), *KEY.finditer(text)):
        name, value = match.groups()
        plain = name.rstrip(".-")
        if match.re is FLAG and not name.startswith("config."):
            found += [] if plain in {*MAIN, *SHORT, *OWN, *ELSEWHERE} else [match.group()]
            continue
        meant = {name} if value else {plain, name} if match.end() == len(text) else {plain}
        found += [] if {key.removeprefix("config.") for key in meant} & known else [match.group()]
    return found


def test_what_strings_of_the_package_name(known):
    found = {
        f"{path.relative_to(ROOT)}: {name}"
        for path in FILES
        for text in literals(path)
        for name in strange(text, known)
    }
    assert not found


PAGES = sorted(path.relative_to(ROOT) for path in (ROOT / "docs" / "pages").glob("*.md"))


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", *map(str, PAGES)])
def test_what_documents_name(known, name):
    text = (ROOT / name).read_text(encoding="utf-8")
    assert not [found for line in text.splitlines() for found in strange(line, known)]


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("pass --config.data.masked_folder.manifest=FILE.csv", 0),
        ("pass --config.data.manifest=FILE.csv", 1),
        ("name another --workdir.", 0),
        ("name another --work_dir", 1),
        ("config.data.root and config.data.rot", 1),
        (f"pass --config.data.tfds.{VALUE}", 0),
        (f"pass --config.data.tdfs.{VALUE}", 1),
        (f"pass --config.data.root{VALUE}", 0),
        ("--config.data.masked_folder.", 0),
        ("pass --config.data.root.", 0),
        ("--config.data.folder.", 1),
        ("use --config.head. Or not --config.heat.", 1),
        ("use --config.data.masked_folder. Or not.", 0),
    ],
)
def test_the_reader_of_texts_tells_them_apart(known, text, count):
    assert len(strange(text, known)) == count


def test_parts_of_one_string_are_one(tmp_path):
    (tmp_path / "a.py").write_text('x = ("--config.da" "ta.root", f"--config.{1}.root" "x")\n')
    assert set(literals(tmp_path / "a.py")) == {"--config.data.root", f"--config.{VALUE}.rootx"}
