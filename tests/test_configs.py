"""Every config in every preset: loads, names things that exist, and its demo runs."""

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from rival_jax.runtime.plugins import plugin
from tests.helpers import config_of

CONFIGS = sorted(path.stem for path in (Path(__file__).parent.parent / "configs").glob("*.py"))
PRESETS = [
    (name, preset)
    for name in CONFIGS
    for preset in getattr(config_of(name, module=True), "PRESETS", ("",))
]


@pytest.mark.parametrize(("name", "preset"), PRESETS)
def test_every_preset_names_an_experiment(name, preset):
    config = config_of(name, preset)
    module = plugin("experiments", config.experiment)
    assert config.experiment == name
    if not hasattr(module, "Experiment"):  # what the runner of them all takes
        assert callable(module.run)
        assert callable(module.dry_run)
    json.dumps(config.to_dict())
    if "name" in config.get("data", {}):
        plugin("data", config.data.name)
    if "head" in config:
        plugin("heads", config.head)


@pytest.mark.parametrize("name", CONFIGS)
def test_what_is_pasted_is_a_door_to_the_packages_own(name, root):
    text = (root / "configs" / f"{name}.py").read_text()
    usage, door = ast.parse(text).body
    assert isinstance(usage, ast.Expr)
    assert f"--config=configs/{name}.py" in text
    assert ast.unparse(door) == f"from rival_jax.configs.{name} import PRESETS, get_config"


@pytest.mark.parametrize("name", CONFIGS)
def test_an_unknown_preset_lists_those_there_are(name):
    with pytest.raises(ValueError, match="no preset 'nonsense'"):
        config_of(name, "nonsense")


def test_presets_hold_the_protocols():
    demo, clean, paper, released = (config_of("rfs", p) for p in ("", "clean", "paper", "released"))
    levels = [pytest.approx(k * 30 / 255) for k in range(1, 8)]
    for config in (demo, clean, paper):
        assert list(config.noise.sigmas) == levels
        assert config.noise.trials == (10 if config is paper else "auto")
    assert list(paper.noise.epsilons) == [25.0 * k for k in range(1, 9)]
    assert list(released.noise.sigmas) == [pytest.approx(k * 30 / 255 / 255) for k in range(1, 8)]
    assert released.noise.trials == 1
    assert (clean.normalise, paper.normalise, released.normalise) == ("model", "none", "none")
    assert (paper.data.mask, released.data.mask) == ("binary", "soft")
    assert released.probe.select == "test"
    assert clean.probe.recipe == "converged"


# With less of everything than users see, as far as a config has it.
SMALLER = {
    "ablation.treatments": 2,
    "config.models": 2,
    "config.sets": 2,
    "config.variants": 2,
    "neurons.least_images": 2,
    "noise.epsilons": 1,
    "noise.sigmas": 1,
    "noise.trials": 1,
    "perturbation.fills": 1,
    "perturbation.shares": 2,
    "perturbation.tests": 2,
    "resnet.epochs": 1,
    "robustness.sets": 2,
    "saliency.draws": 2,
    "scenes.per_class": 4,
    "sizes.num_classes": 1,
    "sizes.per_class": 2,
    "split.per_class": 2,
    "split.validation_per_class": 1,
    "statistics.resamples": 100,
    "train.epochs": 1,
    "vit.epochs": 1,
}


def smaller(config, prefix="config"):
    """Flags that make a demo small: numbers become smaller, lists shorter."""
    flags = []
    for key, value in config.items():
        if hasattr(value, "items"):
            flags += smaller(value, f"{prefix}.{key}")
        elif known := SMALLER.get(f"{prefix.rpartition('.')[2]}.{key}"):
            less = min(value, known) if not isinstance(value, tuple) else value[:known]
            if key == "models":  # of four, one of each kind
                less = value[:: max(1, len(value) // known)][:known]
            flags.append(f"--{prefix}.{key}={less}")
    return flags


# rfs's demo is the README's first command, which .ci/run runs as it is written there; study's demo
# is those of finetune and of its stages. rfs's pages are looked at in test_pages.py.
ELSEWHERE = {"report", "rfs", "finetune", *config_of("study").stages}
PAGELESS = {"check_model", "doctor", "models", "train_scenes"}


@pytest.mark.parametrize("name", [name for name in CONFIGS if name not in ELSEWHERE])
@pytest.mark.whole
def test_the_demo_runs(name, root, tmp_path, browser):
    command = [sys.executable, "-m", "rival_jax.main", f"--config=configs/{name}.py"]
    command += [f"--workdir={tmp_path}"]
    command += smaller(config_of(name))
    # On one device, as users have it, but as tests are compiled: most of a small demo is compiling.
    flags = re.sub(r"--xla_force_host_platform_device_count=\d+", "", os.environ["XLA_FLAGS"])
    environment = os.environ | {"XLA_FLAGS": flags}
    done = subprocess.run(
        command, cwd=root, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.glob("summary.*"))  # .csv where results are one table, or .json
    if name not in PAGELESS:
        browser.look(tmp_path)
