"""Heads that are fitted, saved and scored, without an experiment around them."""

import numpy as np
import pytest
from safetensors.numpy import load_file

from rival_jax.experiments import linear_probe
from rival_jax.runtime.results import read_rows
from tests.helpers import config_of, dry_run, quiet, row_bytes, run_in


def tiny(cache):
    config = config_of("linear_probe")
    config.models, config.cache = ("scenes/vit_00",), str(cache)
    config.data.scenes.per_class, config.statistics.resamples = 4, 50
    return config


def test_accuracy_is_that_of_the_rows_and_the_head_is_kept(tmp_path):
    run, results = run_in(tmp_path / "run", tiny(tmp_path))
    row = results.one(measure="accuracy", model="scenes/vit_00")
    rows = read_rows(run.path / "rows")
    assert row["estimate"] == pytest.approx(np.mean(rows["correct"].to_pylist()), abs=1e-6)
    assert row["low"] < row["estimate"] < row["high"]
    assert (row["images"], row["classes"]) == (40, 10)
    head = load_file(run.path / "heads" / "scenes" / "vit_00.safetensors")
    assert all(np.isfinite(value).all() for value in head.values())
    assert len(head) >= 2
    text = (run.path / "report.html").read_text()
    assert f"scenes/vit_00: {100 * row['estimate']:.1f} [" in text
    before = row_bytes(run.path)
    again, _ = run_in(run.path, tiny(tmp_path))
    assert row_bytes(again.path) == before


def test_a_dry_run_tells_what_features_cost(tmp_path):
    assert "scenes/vit_00: features of 80 images, 1 x" in dry_run(tiny(tmp_path))


def test_another_head_is_refused(tmp_path):
    config = tiny(tmp_path)
    config.head = "own"
    with pytest.raises(ValueError, match=r"config.head: no 'own'; .*probe"):
        linear_probe.Experiment(config, quiet())
