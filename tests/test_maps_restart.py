"""Experiments on networks' maps that are killed, and go on to the same bytes."""

from __future__ import annotations

import json
import signal

import pytest
from ml_collections import ConfigDict

from rival_jax.experiments import runner
from rival_jax.runtime.plugins import plugin
from tests.finetune_cases import no_report, one_block_study, save_one_block
from tests.helpers import config_of, row_bytes, run_in
from tests.multihost import Forked, restartable

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
    if event == "unit":
        os.kill(os.getpid(), signal.SIGKILL)
Run.log = told
config = ConfigDict(json.load(open(sys.argv[1])), convert_dict=True)
console, run = Console(quiet=True), Run(sys.argv[2], config.to_dict())
runner.run(plugin("experiments", config.experiment).Experiment(config, console), run, console)
"""


def config_in(folder, name):
    """Two networks, which are compared; few settings."""
    config = config_of(name)
    config.models, config.pairs = (str(folder / "tiny"), str(folder / "cured")), ("tiny=cured",)
    config.data.name, config.data.root = "masked_folder", str(folder / "data")
    config.saliency.methods, config.statistics.resamples = ("gradcam",), 30
    if name == "perturbation":
        config.perturbation.tests, config.perturbation.fills = ("positive",), ("black",)
        config.perturbation.shares = (0.2, 0.6)
    else:
        config.segmentation.levels = 2
    return config


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = one_block_study(tmp_path_factory.mktemp("study"))
    save_one_block(folder / "cured", seed=1)
    return folder


@pytest.mark.parametrize("name", ["segmentation", "perturbation"])
def test_killed_and_restarted_gives_the_same_bytes(study, tmp_path, monkeypatch, name):
    monkeypatch.setattr(runner, "write_document", lambda *a: None)
    monkeypatch.setattr(plugin("experiments", name).Experiment, "report", no_report)
    calm, _ = run_in(tmp_path / "calm", config_in(study, name))
    want = row_bytes(calm.path)
    (tmp_path / "again.py").write_text(SCRIPT)
    files = calm.path / "config.json", tmp_path / "hit"
    command, log = [tmp_path / "again.py", *files], tmp_path / "log.txt"
    assert Forked(command, log, restartable(tmp_path)).wait() == -signal.SIGKILL, log.read_text()
    assert len(row_bytes(tmp_path / "hit")) == 1 < len(want)
    config = ConfigDict(json.loads(files[0].read_text()), convert_dict=True)
    run_in(tmp_path / "hit", config)
    assert row_bytes(tmp_path / "hit") == want
