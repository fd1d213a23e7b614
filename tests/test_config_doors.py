"""Configs as dataclasses and as what flags change, and the ways to name one."""

from __future__ import annotations

import configparser
import dataclasses
import importlib
import json
import math
import pkgutil
import re
from pathlib import Path
from typing import Annotated, Literal

import ml_collections
import pytest
from absl import flags

import rival_jax
from rival_jax import configs
from rival_jax.configs import at_preset, blocks, config_dict, options, rfs, typed
from rival_jax.configs.values import BatchSize, Distinct, Inside, Several, Share
from rival_jax.runtime.config_flag import DEFINE_config, check_config_keys, load_config

PACKAGE = Path(rival_jax.__file__).parent
NAMES = sorted(
    m.name for m in pkgutil.iter_modules(configs.__path__) if m.name not in configs.PARTS
)
MODULES = {name: importlib.import_module(f"rival_jax.configs.{name}") for name in NAMES}
PRESETS = [(name, preset) for name, module in MODULES.items() for preset in module.PRESETS]


@dataclasses.dataclass(frozen=True)
class Inner:
    """A block."""

    numbers: tuple[float, ...] = (0.5,)
    many: int | str = "auto"
    on: bool = False


@dataclasses.dataclass(frozen=True)
class Outer:
    """A config without own blocks."""

    preset: str = "demo"
    count: int = 1
    inner: Inner = Inner()


@dataclasses.dataclass(frozen=True)
class Bounded:
    """Values that are told in their types."""

    kind: Literal["soft", "binary"] = "soft"
    some: Several = 1
    share: Share = 0.5
    inside: Inside = 0.5
    size: BatchSize = "auto"
    words: Annotated[tuple[Literal["a", "b"], ...], Distinct()] = ("a",)


def test_every_config_has_a_door(root):
    assert [path.stem for path in sorted((root / "configs").glob("*.py"))] == NAMES


@pytest.mark.parametrize(("name", "preset"), PRESETS)
def test_a_config_is_the_same_as_flags_a_dataclass_and_json(name, preset):
    module = MODULES[name]
    config = module.get_config(preset)
    found = typed(module.Config, config)
    assert config_dict(found).to_dict() == config.to_dict()
    assert typed(module.Config, json.loads(json.dumps(config.to_dict()))) == found
    assert typed(module.Config, found) is found
    assert found.experiment == name
    assert hash(found) == hash(typed(module.Config, config))
    assert (found == module.Config()) == (not preset)


def test_a_preset_is_unlocked_and_independent():
    first, second = rfs.get_config("clean"), rfs.get_config("clean")
    first.noise.trials = 1
    first.more = 2
    assert second.noise.trials == "auto"
    assert "more" not in second


def test_a_preset_sets_keys_that_there_are():
    with pytest.raises(KeyError, match="numbrs"):
        at_preset(Outer(), {"": {"inner.numbrs": (1.0,)}}, "")
    with pytest.raises(TypeError):
        at_preset(Outer(), {"": {"inner.numbers": 1.0}}, "")
    assert at_preset(Outer(), {"one": {"count": 2}}, "one").to_dict() == {
        "preset": "one",
        "count": 2,
        "inner": {"numbers": (0.5,), "many": "auto", "on": False},
    }
    with pytest.raises(ValueError, match=r"^no preset 'x'; there are: a, b$"):
        at_preset(Outer(), {"": {}, "a": {}, "b": {}}, "x")
    with pytest.raises(ValueError, match=r"^no preset 'x'; this config has none$"):
        at_preset(Outer(), {"": {}}, "x")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"inner": {"numbrs": ()}}, "no 'inner.numbrs'; did you mean 'inner.numbers'"),
        ({"innr": {"numbers": ()}}, "no 'innr'; did you mean 'inner'?"),
        ({"own": {"a": {}}}, "no 'own'"),
        ({"count": 1.5}, "config.count: got 1.5, expected a whole number"),
        ({"count": True}, "config.count: got True, expected a whole number"),
        ({"count": None}, "config.count: got None, expected a whole number"),
        ({"inner": {"on": 1}}, "config.inner.on: got 1, expected True or False"),
        ({"inner": {"many": 1.5}}, "config.inner.many: got 1.5, expected a whole number or a word"),
        ({"inner": {"numbers": 1.5}}, "got 1.5, expected a list, each item a number"),
        ({"inner": {"numbers": ("a",)}}, "config.inner.numbers: got 'a', expected a number"),
        ({"inner": 3}, "config.inner: got 3, expected a block of keys"),
        (3, "config: got 3, expected a block of keys"),
    ],
)
def test_what_does_not_fit_is_named(given, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        typed(Outer, given)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"kind": "sof"}, "config.kind: no 'sof'; did you mean 'soft'? There are: binary, soft"),
        ({"kind": 3}, "config.kind: got 3, expected 'soft' or 'binary'"),
        ({"some": 0}, "config.some: got 0, expected a whole number from 1 up"),
        ({"share": 1.1}, "config.share: got 1.1, expected a number from 0 to 1"),
        ({"share": math.nan}, "config.share: got nan, expected a number from 0 to 1"),
        ({"inside": 1}, "config.inside: got 1, expected a number between 0 and 1"),
        ({"size": 0}, "config.size: got 0, expected 'auto' or a whole number from 1 up"),
        ({"size": "outo"}, "config.size: got 'outo', expected 'auto' or a whole number from 1 up"),
        ({"words": ["c"]}, "config.words: no 'c'"),
        ({"words": ["a", "a"]}, "each item 'a' or 'b', no two alike, at least one"),
        ({"words": []}, "config.words: got [], expected a list"),
    ],
)
def test_what_a_type_leaves_out_is_refused(given, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        typed(Bounded, given)


def test_ends_belong_to_a_share_and_not_to_what_is_inside():
    given = {"share": 1, "some": 1, "size": 3, "words": ["b", "a"], "kind": "binary"}
    found = typed(Bounded, given)
    assert (found.share, found.some, found.size, found.words) == (1.0, 1, 3, ("b", "a"))
    with pytest.raises(ValueError, match="between 0 and 1"):
        typed(Bounded, {"inside": 0.0})


def test_what_comes_in_is_made_what_is_read():
    found = typed(Outer, {"inner": {"numbers": [1, 2.5], "many": 3}})
    assert found == Outer(inner=Inner(numbers=(1.0, 2.5), many=3))
    assert all(type(number) is float for number in found.inner.numbers)


def test_options_of_ones_own_data_set_are_kept():
    config = rfs.get_config()
    config.data.mylab_cub = ml_collections.ConfigDict({"crop": True, "parts": (1, 2)})
    found = typed(rfs.Config, config.lock())
    assert found.data.own == {"mylab_cub": {"crop": True, "parts": (1, 2)}}
    assert config_dict(found).to_dict() == config.to_dict()
    assert found != rfs.Config()
    for either in (config, found):
        assert options(either.data, "mylab_cub") == {"crop": True, "parts": (1, 2)}
        assert options(either.data, "rival10") == {"variant": "ordinary"}
        assert options(either.data, "another") == {}
        assert options(either, "statistics")["resamples"] == 2000
        assert options(either, "nothing") == {}
    assert typed(blocks.Place, {"own": {"a": 1}}).own == {"own": {"a": 1}}
    config.unlock().mylab = ml_collections.ConfigDict({"a": 1})
    with pytest.raises(ValueError, match="no 'mylab'"):  # nobody would read it there
        typed(rfs.Config, config)
    changed = MODULES["finetune"].get_config()
    changed.robustvit = ml_collections.ConfigDict({"temperature": 2.0})
    found = typed(MODULES["finetune"].Config, changed)
    assert options(found, "robustvit") == {"temperature": 2.0}
    assert options(found, "rrr") == {"relevance_weight": 0.8}


def test_a_word_is_the_packages_config_and_a_file_comes_first(tmp_path, monkeypatch, root):
    monkeypatch.chdir(tmp_path)
    clean = rfs.get_config("clean").to_dict()
    assert load_config("rfs:clean").to_dict() == clean
    assert load_config("rfs").to_dict() == rfs.get_config().to_dict()
    assert load_config(f"{root}/configs/rfs.py:clean").to_dict() == clean
    (tmp_path / "rfs").mkdir()
    assert load_config("rfs:clean").to_dict() == clean
    (tmp_path / "rfs").rmdir()
    (tmp_path / "rfs").write_text("def get_config():\n    return {'mine': 1}\n")
    assert load_config("rfs") == {"mine": 1}


def test_a_file_of_ones_own_may_hold_a_dataclass(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(
        "from __future__ import annotations\n"
        "from dataclasses import dataclass\n"
        "from rival_jax.configs import at_preset, blocks, rfs\n"
        "@dataclass(frozen=True)\n"
        "class Cub:\n"
        "    crop: bool = True\n"
        "@dataclass(frozen=True)\n"
        "class Data(blocks.ObjectData):\n"
        "    name: str = 'mylab.cub'\n"
        "    mylab_cub: Cub = Cub()\n"
        "@dataclass(frozen=True)\n"
        "class Config(rfs.Config):\n"
        "    data: Data = Data()\n"
        "def get_config(preset=''):\n"
        "    return at_preset(Config(), rfs.PRESETS, preset)\n"
    )
    config = load_config(f"{path}:clean")
    assert config.data.mask == "binary"
    assert options(typed(rfs.Config, config).data, "mylab_cub") == {"crop": True}


def test_names_that_are_no_config_are_told(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="no 'rsf'; did you mean 'rfs'"):
        load_config("rsf")
    with pytest.raises(ValueError, match=r"no 'blocks'; .*There are: attributes, background"):
        load_config("blocks")
    with pytest.raises(FileNotFoundError, match=r"no config file 'configs/rfs.py' here"):
        load_config("configs/rfs.py")


@pytest.mark.parametrize("config", ["rfs:clean", "configs/rfs.py:clean"])
@pytest.mark.parametrize("form", [["--config={}"], ["--config", "{}"], ["-config={}"]])
def test_keys_are_checked_however_the_config_is_named(config, form, root, monkeypatch):
    monkeypatch.chdir(root)
    named = [word.format(config) for word in form]
    check_config_keys(["main", *named, "--config.noise.trials=3", "--workdir=x", "config.py"])
    for wrong in (["--config.noise.trails=3"], ["--config.noise.trails", "3"]):
        with pytest.raises(ValueError, match=r"did you mean 'config\.noise\.trials'"):
            check_config_keys(["main", *named, *wrong])
    with pytest.raises(ValueError, match=r"no 'config\.tokencut\.foto'"):
        check_config_keys(["main", "--config=tokencut", "--noconfig.tokencut.foto"])


def parsed(monkeypatch, *arguments: str):
    """The config that these arguments of the command give."""
    monkeypatch.setattr("sys.argv", ["main", *arguments])
    values = flags.FlagValues()
    DEFINE_config("config", "What to run.", values)
    values(["main", *arguments])
    return values.config


@pytest.mark.parametrize(
    "config", [["--config=rfs"], ["--config", "rfs"], ["--config=configs/rfs.py"]]
)
def test_flags_change_both_forms(config, root, monkeypatch):
    monkeypatch.chdir(root)
    found = parsed(
        monkeypatch,
        *config,
        "--config.batch_size=32",
        "--config.models=('a','b')",
        "--config.noise.trials=2",
        "--config.seed",
        "3",
    )
    assert (found.batch_size, found.models, found.noise.trials) == (32, ("a", "b"), 2)
    assert found.seed == 3
    assert found.is_locked
    assert parsed(monkeypatch, *config, "--config.batch_size=auto").batch_size == "auto"
    assert parsed(monkeypatch, *config).to_dict() == rfs.get_config().to_dict()


def test_errors_of_a_config_are_one_line(monkeypatch):
    with pytest.raises(OSError, match=r"^--config=rfs:cleen: no preset 'cleen'; there are: clean"):
        parsed(monkeypatch, "--config=rfs:cleen")


def test_a_wheel_holds_the_configs_and_all_files_that_are_no_code(root):
    setup = configparser.ConfigParser()
    setup.read(root / "setup.cfg", encoding="utf-8")
    assert setup["options"]["packages"] == "find:"  # folders with __init__.py, of these names
    assert setup["options.packages.find"]["include"] == "rival_jax*"
    for path in PACKAGE.rglob("*.py"):
        assert (path.parent / "__init__.py").exists(), path
    patterns = setup["options.package_data"]["rival_jax"].split()
    matched = {path for pattern in patterns for path in PACKAGE.glob(pattern)}
    others = {p for p in PACKAGE.rglob("*") if p.is_file() and p.suffix not in (".py", ".pyc")}
    assert others <= matched
