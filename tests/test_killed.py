"""Experiments that were killed after a unit end with the rows of those that were not."""

from __future__ import annotations

import json
import signal

import pytest

from rival_jax.experiments import runner
from tests.finetune_cases import make, one_block_study, sweep
from tests.helpers import config_of, row_bytes, run_in
from tests.multihost import Forked, restartable

SMALLER = {"sizes.num_classes": (2,), "seeds": (0,), "shifted.name": ""}
pytestmark = pytest.mark.whole
SCRIPT = """
import json, os, signal, sys
from ml_collections import ConfigDict
from rich.console import Console
from rival_jax.experiments import runner
from rival_jax.runtime.plugins import plugin
from rival_jax.runtime.results import Run
log = Run.log
def told(run, event, **about):
    log(run, event, **about)
    if sys.argv[3] in about.get("unit", ""):
        os.kill(os.getpid(), signal.SIGKILL)
Run.log = told
config = ConfigDict(json.load(open(sys.argv[1])), convert_dict=True)
console = Console(quiet=True)
run = Run(sys.argv[2], config.to_dict())
runner.run(plugin("experiments", config.experiment).Experiment(config, console), run, console)
"""


@pytest.mark.parametrize(
    ("name", "last"),
    [("knn", "0001"), ("sis", "gradient"), ("sweep", "per_class=1_seed0/training")],
)
def test_killed_and_restarted_gives_the_same_bytes(name, last, tmp_path, monkeypatch):
    monkeypatch.setattr(runner, "write_document", lambda *args: None)
    if name == "sweep":
        config = sweep(make(tmp_path / "study"), **SMALLER)
    else:
        study, config = one_block_study(tmp_path / "study"), config_of(name)
        config.models, config.statistics.resamples = (str(study / "tiny"),), 40
        config.data.name, config.data.root = "masked_folder", str(study / "data")
    if name == "knn":
        config.knn.k, config.shard = (4,), 4
    elif name == "sis":
        config.cache, config.sis.pixels = str(tmp_path), 64
    calm, _ = run_in(tmp_path / "calm", config)
    (tmp_path / "config.json").write_text(json.dumps(config.to_dict()))
    (tmp_path / "again.py").write_text(SCRIPT)
    command = [tmp_path / "again.py", tmp_path / "config.json", tmp_path / "hit", last]
    killed = Forked(command, tmp_path / "log.txt", restartable(tmp_path))
    assert killed.wait() == -signal.SIGKILL, (tmp_path / "log.txt").read_text()
    want = row_bytes(calm.path)
    assert 0 < len(row_bytes(tmp_path / "hit")) < len(want)
    run_in(tmp_path / "hit", config)
    assert row_bytes(tmp_path / "hit") == want
