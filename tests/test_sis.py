"""Sufficient input subsets: orders of removal, the smallest that is enough, the experiment."""

from __future__ import annotations

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rival_jax import sis
from rival_jax.experiments import runner
from rival_jax.experiments.sis import Experiment
from rival_jax.runtime.results import read_rows
from tests.finetune_cases import one_block_study
from tests.helpers import REFERENCE, config_of, dry_run, quiet, row_bytes, run_in

PARTS = 7


def judge(seed=0, images=3):
    """A confidence that is neither additive nor monotone, of `PARTS` parts."""
    rng = np.random.default_rng(seed)
    one, two = rng.normal(size=(images, PARTS)), rng.normal(size=(images, PARTS, PARTS))

    def confidence(removed):
        kept = 1 - removed
        value = (kept * one).sum(1) + jnp.einsum("bi,bij,bj->b", kept, two, kept)
        return jax.nn.sigmoid(value)

    return confidence


def test_the_exact_order_tries_everything():
    """BackSelect, written down."""
    confidence, images = judge(), 3
    order, recorded = jax.jit(lambda: sis.exact_order(confidence, (images, PARTS)))()
    order, recorded, evaluate = np.asarray(order), np.asarray(recorded), jax.jit(confidence)
    for image in range(images):
        removed = np.zeros((images, PARTS), np.float32)
        for step in range(PARTS):
            now = np.asarray(evaluate(removed))
            np.testing.assert_allclose(recorded[step, image], now[image], atol=1e-6)
            tried = {}
            for part in np.flatnonzero(removed[image] == 0):
                removed[image, part] = 1
                tried[part] = np.asarray(evaluate(removed))[image]
                removed[image, part] = 0
            best = max(tried, key=tried.get)
            assert order[image, best] == step
            removed[image, best] = 1


def test_of_equal_parts_the_first_goes():
    less = lambda removed: 1 - 0.1 * removed.sum(1)  # noqa: E731
    order, _ = jax.jit(lambda: sis.exact_order(less, (2, 5)))()
    assert order.tolist() == [[0, 1, 2, 3, 4]] * 2
    left = lambda removed: 1 - removed.sum((1, 2))  # noqa: E731
    flat, _ = jax.jit(lambda: sis.order_in_steps(left, (1, 2, 3), 2))()
    assert flat.tolist() == [[[0, 0, 1], [1, 2, 2]]]


def test_pixels_go_by_their_derivative():
    """Those with the largest first, some at a time; the confidence is that before each step."""
    weight = np.random.default_rng(1).permutation(12).astype(np.float32).reshape(1, 3, 4)
    left = lambda removed: ((1 - removed) * weight).sum((1, 2)) / weight.sum()  # noqa: E731

    @jax.jit
    def orders(score):
        ordered = functools.partial(sis.order_in_steps, left, (1, 3, 4), 5)
        return ordered(), ordered(steps=1), ordered(score=score)

    (order, recorded), (first, short), (by_score, _) = orders(weight)
    np.testing.assert_array_equal(order, (weight // 5).astype(int))
    np.testing.assert_allclose(np.asarray(recorded)[:, 0], [1, 56 / 66, 21 / 66], rtol=1e-6)
    np.testing.assert_array_equal(first, np.where(weight < 5, 0, -1))
    assert short.shape == (1, 1)
    np.testing.assert_array_equal(by_score, ((11 - weight) // 5).astype(int))
    with pytest.raises(ValueError, match="per_step: got 13, expected 1 to 12, all pixels"):
        sis.order_in_steps(left, (1, 3, 4), 13)


def test_the_subset_is_found_from_the_end():
    """A confidence that dips and comes back; one that never suffices; what never was removed."""
    order = np.array([[0, 1, 2, 3], [0, 1, 2, 3], [0, -1, 1, -1]])
    recorded = np.array([[0.9, 0.5, 0.8, 0.1], [0.5, 0.6, 0.6, 0.6], [0.9, 0.9, 0.9, 0.9]]).T
    kept, found = jax.jit(sis.sufficient, static_argnums=2)(order, recorded, 0.7)
    assert found.tolist() == [True, False, True]
    assert kept.tolist() == [
        [False, False, True, True],
        [False] * 4,
        [False, True, False, True],
    ]


def test_patches_are_removed_whole():
    weight = np.random.default_rng(2).permutation(6).astype(np.float32).reshape(2, 3)
    wide = weight.repeat(4, 0).repeat(2, 1)
    left = lambda removed: ((1 - removed) * wide).sum((1, 2)) / wide.sum()  # noqa: E731
    order, recorded = jax.jit(lambda: sis.patch_order(left, (1, 8, 6), (2, 3)))()
    np.testing.assert_array_equal(np.asarray(order)[0], wide)
    assert recorded.shape == (6, 1)


# ---- the experiment


def tiny(study, **changes):
    config = config_of("sis")
    config.models, config.cache = (str(study / "tiny"),), str(study / "cache")
    config.data.name, config.data.root = "masked_folder", str(study / "data")
    config.statistics.resamples = 40
    config.sis.methods, config.sis.pixels = ("gradient", "patches", "random"), 64
    config.sis.targets, config.sis.threshold = ("predicted", "class1"), 0.35
    with config.unlocked():
        config.update_from_flattened_dict(changes)
    return config


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A finished run of all methods."""
    study = one_block_study(tmp_path_factory.mktemp("sis"))
    run, results = run_in(study / "run", tiny(study))
    return study, run, results


def shown(study):
    """The experiment's network as a function of photos, and its photos and masks by name."""
    subject = Experiment(tiny(study), quiet()).subject
    loaded = subject.load(str(study / "tiny"))
    examples = subject.examples(loaded.geometry)
    forward = jax.jit(lambda x: jax.nn.softmax(loaded.model.forward(loaded.variables, x, {})[0]))
    photos = zip(examples.images / np.float32(255), examples.masks / np.float32(255), strict=True)
    return forward, dict(zip(examples.names, photos, strict=True)), loaded.model.mean


def test_what_is_kept_is_enough(done):
    """The pixels that the page shows make the network as confident as asked, and are counted."""
    study, run, _ = done
    forward, photos, mean = shown(study)
    rows = [r for r in read_rows(run.path / "rows").to_pylist() if r["kept"]]
    assert {r["method"] for r in rows} == {"gradient", "patches", "random"}
    for row in rows:
        image, mask = photos[row["example"]]
        bits = np.unpackbits(np.frombuffer(bytes.fromhex(row["kept"]), np.uint8)).reshape(16, 16)
        probability = np.asarray(forward(np.where(bits[..., None], image, mean)[None])[0])
        explained = int(row["explained"].removeprefix("class"))
        assert probability[explained] >= 0.35 - 1e-6
        assert row["size"] == pytest.approx(bits.mean(), abs=1e-6)
        assert row["inside"] == pytest.approx((bits * mask).sum() / bits.sum(), abs=REFERENCE)
        assert row["area"] == pytest.approx(mask.mean(), abs=REFERENCE)


def test_patches_are_an_exact_search(done):
    """Of four patches, each time the one whose loss leaves the highest probability."""
    study, run, _ = done
    forward, photos, mean = shown(study)
    for row in read_rows(run.path / "rows").to_pylist():
        if (row["method"], row["target"]) != ("patches", "class1"):
            continue
        image, kept, sizes = photos[row["example"]][0], [0, 1, 2, 3], []
        while kept:
            if probability(forward, image, kept, mean)[1] >= 0.35:
                sizes.append(len(kept) / 4)
            rest = [[k for k in kept if k != gone] for gone in kept]
            kept = max(rest, key=lambda some: probability(forward, image, some, mean)[1])
        assert row["reached"] == bool(sizes)
        assert row["size"] == sizes[-1] if sizes else np.isnan(row["size"])


def probability(forward, image, kept, mean):
    """Of a photo of which only some of its four patches are seen."""
    mask = np.zeros(4, bool)
    mask[kept] = True
    wide = mask.reshape(2, 2).repeat(8, 0).repeat(8, 1)
    return np.asarray(forward(np.where(wide[..., None], image, mean)[None])[0])


def test_results_and_page(done):
    _, run, results = done
    rows = read_rows(run.path / "rows").to_pylist()
    assert len(rows) == 15 * 3 * 2
    for method, target in itertools.product(("gradient", "random"), ("predicted", "class1")):
        mine = [r for r in rows if (r["method"], r["target"]) == (method, target)]
        told = results.where(method=method, target=target, contrast="")
        by_class = [
            np.mean([r["reached"] for r in mine if r["label"] == label])
            for label in {r["label"] for r in mine}
        ]
        assert told.one(measure="reached")["estimate"] == pytest.approx(np.mean(by_class), abs=1e-6)
    assert results.where(measure="reached", method="random").of("contrast") == [
        *("", "minus gradient", "minus patches")
    ]
    for name in ("inside", "photos"):
        for ending in ("png", "svg", "csv"):
            assert (run.path / "figures" / f"{name}.{ending}").stat().st_size > 0
    assert "tiny: " in (run.path / "report.html").read_text()


def test_a_deleted_unit_comes_back_the_same(done, monkeypatch):
    study, run, _ = done
    monkeypatch.setattr(runner, "write_document", lambda *args: None)
    before = row_bytes(run.path)
    next((run.path / "rows").rglob("random_class1*.parquet")).unlink()
    run_in(run.path, tiny(study))
    assert row_bytes(run.path) == before


def test_what_cannot_be_asked_for(done):
    study = done[0]
    with pytest.raises(ValueError, match=r"config.sis.targets: no 'class9'; did you mean 'class"):
        Experiment(tiny(study, **{"sis.targets": ("class9",)}), quiet())
    resnet = tiny(study, models=("scenes/resnet_00",), **{"data.name": "scenes"})
    resnet.sis.targets = ("predicted",)
    with pytest.raises(ValueError, match="scenes/resnet_00 has no 'patches'; omit them"):
        Experiment(resnet, quiet())
    # 4 steps with a backward pass, 5/8 of 4 x 4 patches, 4 random steps; for two classes.
    assert "15 images x 52 = 780 forwards" in dry_run(tiny(study))


@pytest.mark.whole
def test_subsets_tell_who_looks_at_the_background(tmp_path):
    """On the bundled scenes: if backgrounds gave it away, less of what is enough is object."""
    config = config_of("sis")
    config.sis.methods, config.data.scenes.per_class, config.cache = ("gradient",), 3, str(tmp_path)
    _, results = run_in(tmp_path / "run", config)
    inside = results.where(measure="inside", method="gradient")
    free, tied = (inside.one(model=f"scenes/vit_{n}", contrast="") for n in ("00", "95"))
    assert tied["high"] < free["estimate"]
    assert inside.one(contrast="minus scenes/vit_00")["p"] < 0.05
