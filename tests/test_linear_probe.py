"""Heads that are fitted, saved and scored, without an experiment around them."""

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file

from rival_jax import data, models
from rival_jax.experiments import finetune, linear_probe
from rival_jax.models import clip_vit, vit
from rival_jax.runtime.results import read_rows
from rival_jax.types import Geometry
from tests import finetune_cases as cases
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


def save_trunk(folder, kind="vit"):
    """A network without classes, as self-supervision leaves it."""
    if kind == "clip":
        size = {"image_size": (16, 16), "patch_size": 8, "width": 16, "depth": 1, "heads": 2}
        model = clip_vit.build(name="trunk", projection=8, **size)
    else:
        extra = {"distilled": kind == "distilled", "pool": "avg" if kind == "avg" else "token"}
        size = {"image_size": (16, 16), "patch_size": 8, "width": 16, "depth": 1, "heads": 2}
        model = vit.build(name="trunk", num_classes=0, **size, **extra)
    models.save(folder, model, jax.jit(model.init)(jax.random.key(0)))
    return model, models.load(str(folder))[1]


def test_a_trunk_with_its_head_can_be_finetuned(tmp_path):
    """From a network without classes to one that decides, and is trained through its head."""
    folder = cases.make(tmp_path / "study")
    save_trunk(folder / "trunk")
    config = tiny(tmp_path)
    config.models = (str(folder / "trunk"),)
    config.data.name, config.data.root = "masked_folder", str(folder / "data")
    config.data.split = "test"
    run, _ = run_in(tmp_path / "run", config)
    kept = run.path / "models" / "trunk"
    model, variables = models.load(str(kept))
    assert model.class_names == cases.CLASSES
    examples = data.Examples(
        data.load("masked_folder", folder / "data", "test"), Geometry((16, 16), "squash")
    )
    batch = next(examples.batches(16))
    logits, _ = jax.jit(model.forward)(variables, batch["image"], {})
    rows = read_rows(run.path / "rows").to_pylist()
    predicted = {row["example"]: row["predicted"] for row in rows}
    for name, row in zip(examples.names, np.argmax(logits, 1), strict=True):
        assert predicted[name] == cases.CLASSES[row]
    changes = {"variants": ("cross_entropy",), "models": (str(kept),), "train.trained": ""}
    tuned = finetune.Experiment(cases.config(folder, **changes), quiet())
    assert "head" in tuned.original.variables["params"]


@pytest.mark.parametrize("kind", ["distilled", "clip"])
def test_a_head_that_is_not_the_networks_last_layer_is_refused(kind, tmp_path):
    model, variables = save_trunk(tmp_path / "trunk", kind)
    width = 32 if kind == "distilled" else 16
    with pytest.raises(ValueError, match="not one layer on its features"):
        models.with_head(model, variables, np.zeros((width, 2)), np.zeros(2), ("a", "b"))


def test_a_dry_run_tells_what_features_cost(tmp_path):
    assert "scenes/vit_00: features of 80 images, 1 x" in dry_run(tiny(tmp_path))


def test_another_head_is_refused(tmp_path):
    config = tiny(tmp_path)
    config.head = "own"
    with pytest.raises(ValueError, match=r"config.head: no 'own'; .*probe"):
        linear_probe.Experiment(config, quiet())
