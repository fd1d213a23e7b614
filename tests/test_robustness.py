import dataclasses
import inspect
import json
import os
import shutil
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.numpy import load_file, save_file
from scipy import special

from rival_jax import calibration, models, protocols, shares, significance
from rival_jax.data import class_maps
from rival_jax.data.shard import RED, Shard, framed
from rival_jax.data.transforms import resize_photo
from rival_jax.experiments import runner, streamed
from rival_jax.experiments.cures import Cure, cure, pairs
from rival_jax.experiments.robustness import Experiment
from rival_jax.experiments.robustness.study import accuracies, beyond
from rival_jax.images import Images, by_unit, confidence_gaps, joined, per_image, split
from rival_jax.named import Axis
from rival_jax.report import document, exact
from rival_jax.report.results import Results
from rival_jax.report.study import Measure, Study
from rival_jax.runtime.results import digest, parsed, read_rows
from rival_jax.scoring import Protocols
from rival_jax.types import Geometry
from tests import invented_sets
from tests.fake_hosts import on_hosts
from tests.helpers import (
    REFERENCE,
    config_of,
    dry_run,
    quiet,
    row_bytes,
    run_in,
    save_tiny_vit,
)  # fmt: skip
from tests.multihost import Forked, finish, launch, printed

SMALL = Geometry((16, 16), "crop", "bilinear", 1.0)
SET = "tests.invented_sets"


@pytest.fixture(scope="module")
def networks(tmp_path_factory):
    """Two networks of ImageNet's outputs, whose answers vary from photo to photo."""
    folder, found = tmp_path_factory.mktemp("networks"), []
    for name, seed in (("net0", 1), ("net1", 3)):
        found.append(save_tiny_vit(folder / name, classes=1000, seed=seed))
        model, variables = models.load(str(found[-1]))
        louder = lambda leaf: np.asarray(leaf) * (20 if leaf.ndim > 1 else 1)  # noqa: E731
        models.save(found[-1], model, jax.tree.map(louder, dict(variables)))
    return found


def tiny(networks, *sets, **changes):
    """A config of robustness that takes seconds."""
    config = config_of("robustness")
    config.models = tuple(map(str, networks))
    config.sets = sets or (f"{SET} photos=30 as=invented",)
    config.shard, config.batch_size, config.statistics.resamples = 12, 8, 60
    with config.unlocked():
        config.update_from_flattened_dict(changes)
    return config


@pytest.fixture
def no_figures(monkeypatch):
    """Results alone: drawing takes longer than measuring."""
    monkeypatch.setattr(runner, "write_document", lambda *a: None)


@pytest.fixture(scope="module")
def done(networks, tmp_path_factory):
    """A finished run of two networks and two sets, one of which is drawn by unit."""
    sets = f"{SET} photos=30 as=invented evaluation_only=True", f"{SET} photos=24 clustered=True"
    return run_in(tmp_path_factory.mktemp("robustness") / "run", tiny(networks, *sets))


def logits_by_hand(network, source):
    """Of every photo of a source, resized by PIL as a network with the whole photo sees it."""
    model, variables = models.load(str(network))
    photos = [
        source[i]["image"].resize((16, 16), Image.Resampling.BILINEAR) for i in range(len(source))
    ]
    image = np.stack([np.asarray(photo) for photo in photos]) / np.float32(255)
    return np.asarray(jax.jit(model.forward)(variables, image, {})[0])


# What is scored.


RULES = Protocols(
    outputs=((3,), (5, 7), (11,), ()),
    ways=1000,
    columns=(3, 5, 7, 11),
    among=(("a_200", (3, 400)),),
    real=True,
)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**31))
def test_scores_are_those_of_brute_force(seed):
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(12, 1000)).astype(np.float32)
    logits[:, [3, 5, 7, 11]] += rng.choice([0, 6], size=(12, 4))
    labels = rng.integers(0, 3, 12)
    lists = [
        [int(i) for i in rng.choice([3, 5, 500], k, replace=False)] for k in rng.integers(0, 3, 12)
    ]
    found = jax.device_get(RULES.scores(logits, labels, protocols.accepts(lists, 1000)))
    for i, label in enumerate(labels):
        right, order = RULES.outputs[label], np.argsort(-logits[i])
        among = sorted(RULES.columns, key=lambda c: -logits[i, c])
        assert found["any"][i] == (order[0] in right)
        assert found["any_5"][i] == bool(set(order[:5].tolist()) & set(right))
        assert found["first"][i] == (order[0] == right[0])
        assert found["subset"][i] == (among[0] in right)
        assert "subset_5" not in found  # of four outputs
        if lists[i]:
            assert found["real"][i] == (order[0] in lists[i])
        else:
            assert np.isnan(found["real"][i])
        if label == 0:
            assert found["a_200"][i] == (logits[i, 3] > logits[i, 400])
        else:
            assert np.isnan(found["a_200"][i])
        p = np.exp(logits[i].astype(np.float64) - logits[i].max())
        p /= p.sum()
        assert found["probability"][i] == pytest.approx(p[list(right)].sum(), abs=REFERENCE)
        assert found["confidence"][i] == pytest.approx(p.max(), abs=REFERENCE)
        assert found["predicted"][i] == order[0]
    assert (found["subset"] >= found["any"]).all()
    assert (found["any"] >= found["first"]).all()


def test_the_first_listed_output_counts_alone_only_where_most_classes_have_one():
    assert "first" in RULES.names
    assert RULES.names[0] == "any"
    many = Protocols(((1, 2), (3, 4)), 1000)
    assert many.names == ("any", "any_5")
    assert Protocols(((0,), (1,)), 2).names == ("full",)
    assert "grouped" in dataclasses.replace(many, groups=(0,) * 1000).names


# How photos are read.


def source(**options):
    return invented_sets.load(Path(), "test", **options)


def test_a_shard_is_decoded_once_for_all_who_read_it():
    photos = source(photos=11)
    shard = Shard(photos, np.arange(11), SMALL)
    first, second = list(shard.batches(4)), list(shard.batches(11))
    assert sorted(photos.read) == list(range(11))
    assert [batch["index"].tolist() for batch in first] == [
        [0, 1, 2, 3],
        [4, 5, 6, 7],
        [8, 9, 10, -1],
    ]
    assert second[0]["index"].tolist() == list(range(11))
    together = np.concatenate([batch["image"] for batch in first])[:11]
    np.testing.assert_array_equal(together, second[0]["image"])
    want = photos[5]["image"].resize((16, 16), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(together[5], np.asarray(want))


def test_bad_photos_are_all_named_or_left_out():
    photos = source(photos=11, bad=(2, 7))
    with pytest.raises(ValueError, match=r"2 of 11 photos cannot be used.*on_bad") as raised:
        list(Shard(photos, np.arange(11), SMALL).batches(4))
    assert "002.png" in str(raised.value)
    assert "007.png" in str(raised.value)
    index = [b["index"] for b in Shard(photos, np.arange(11), SMALL, on_bad="skip").batches(4)]
    assert [i for i in np.concatenate(index) if i >= 0] == [0, 1, 3, 4, 5, 6, 8, 9, 10]


def test_photos_that_must_not_be_resized_are_not():
    photos = source(photos=3, resized=True)
    shard = Shard(photos, np.arange(3), SMALL)
    np.testing.assert_array_equal(
        next(shard.batches(3))["image"][1], np.asarray(photos[1]["image"])
    )
    other = Shard(photos, np.arange(3), dataclasses.replace(SMALL, size=(8, 8)), on_bad="skip")
    with pytest.raises(ValueError, match=r"16 x 16 pixels and must not be resized.*takes 8 x 8"):
        other.check()


def test_a_shard_is_known_by_names_labels_and_its_first_photo():
    known = lambda photos, first=0: Shard(photos, np.arange(first, 8), SMALL).digest  # noqa: E731
    assert known(source()) == known(source())
    moved = dataclasses.replace(source(), labels=source().labels[::-1])
    others = [
        known(source(shift=1)),
        known(source(), 1),
        known(moved),
        known(source(resized=True)),
    ]
    assert len({known(source()), *others}) == 5


@pytest.mark.parametrize("photos", [3, 10])
def test_hosts_read_their_parts_in_as_many_steps(monkeypatch, photos):
    def program():
        shard = Shard(source(photos=photos), np.arange(photos), SMALL)
        return [batch["index"].tolist() for batch in shard.batches(4)]

    parts = on_hosts(monkeypatch, 4, program)
    assert len({len(part) for part in parts}) == 1
    found = [[i for batch in part for i in batch if i >= 0] for part in parts]
    assert [i for part in found for i in part] == list(range(photos))


def test_shown_photos_have_a_red_border_where_terms_ask_for_it():
    plain, red = (framed(source(evaluation_only=only), 1, SMALL) for only in (False, True))
    rim = np.ones((16, 16), bool)
    rim[1:-1, 1:-1] = False
    assert (red[rim] == RED).all()
    np.testing.assert_array_equal(red[~rim], plain[~rim])
    assert not (plain[rim] == RED).all()


# From rows to results.


def test_rows_are_those_of_the_logits(done, networks):
    run, _ = done
    rows = [row for row in read_rows(run.path / "rows").to_pylist() if row["set"] == "invented"]
    photos = source(photos=30)
    scored = [i for i in range(30) if i % 4 != 3]
    assert len(rows) == 2 * len(scored)
    for network in networks:
        logits = logits_by_hand(network, photos)
        mine = {row["example"]: row for row in rows if row["model"] == network.name}
        for i in scored:
            row, right = mine[photos.names[i]], invented_sets.OUTPUTS[i % 4]
            assert row["predicted"] == class_maps.imagenet()[logits[i].argmax()].wnid
            assert row["any"] == (logits[i].argmax() in right)
            best = max((3, 5, 7, 11), key=lambda c: logits[i, c])
            assert row["subset"] == (best in right)
            p = np.exp(logits[i] - logits[i].max())
            assert row["probability"] == pytest.approx(p[list(right)].sum() / p.sum(), rel=1e-3)
            assert (row["label"], row["hue"]) == (photos.classes[i % 4], photos.factors["hue"][i])


def test_results_are_means_over_photos_and_over_classes(done):
    run, results = done
    rows = [r for r in read_rows(run.path / "rows").to_pylist() if r["set"] == "invented"]
    for model in ("net0", "net1"):
        mine = [row for row in rows if row["model"] == model]
        right = np.array([row["subset"] for row in mine], float)
        told = results.where(set="invented", model=model, contrast="", factor=None)
        level = told.where(measure="accuracy", protocol="subset", **{"class": None})
        micro = level.one(average="micro")
        assert micro["estimate"] == pytest.approx(right.mean(), abs=1e-6)
        assert micro["low"] <= micro["estimate"] <= micro["high"]
        assert micro["images"] == len(mine)
        classes = [right[[r["label"] == c for r in mine]].mean() for c in ("sky", "sea", "sand")]
        assert level.one(average="macro")["estimate"] == pytest.approx(np.mean(classes), abs=1e-6)
        hits = np.array([row["any"] for row in mine])
        confidence = np.array([row["confidence"] for row in mine])
        ece = calibration.expected_calibration_error(confidence, hits)
        assert told.one(measure="ece")["estimate"] == pytest.approx(ece, abs=1e-5)
        for name in ("nll", "brier"):
            mean = np.mean([row[name] for row in mine])
            assert told.one(measure=name)["estimate"] == pytest.approx(mean, rel=1e-5)
        real = [row["real"] for row in mine if not np.isnan(row["real"])]
        real_row = told.one(measure="accuracy", protocol="real", **{"class": None})
        assert real_row["images"] == len(real) < len(mine)
        assert real_row["estimate"] == pytest.approx(np.mean(real), abs=1e-6)
        cells = results.where(set="invented", model=model, contrast="", factor="hue")
        for hue in ("red", "blue"):
            some = np.mean([row["subset"] for row in mine if row["hue"] == hue])
            cell = cells.one(measure="accuracy", value=hue, protocol="subset")
            assert cell["estimate"] == pytest.approx(some, abs=1e-6)
        worst = min(c["estimate"] for c in cells.where(measure="accuracy", protocol="subset"))
        found = cells.one(measure="worst_accuracy", protocol="subset")["estimate"]
        assert found == pytest.approx(worst, abs=1e-6)


def test_classes_and_pairs_are_counted_photo_by_photo():
    rng = np.random.default_rng(6)
    values = (rng.random((50, 2)) < (0.5, 0.7)) * 1.0
    values[:5] = np.nan  # left out by the protocol
    labels = np.arange(50) % 3
    found = Images({}, labels, ("a", "b", "none", "c"))
    found = found._replace(labels=np.array([0, 1, 3])[labels])
    pair = [("model0", "model1")]
    told = Results(exact.of_classes(named(values, "model"), found, pair, 0.95))
    for label, name in ((0, "a"), (1, "b"), (3, "c")):
        some = values[(found.labels == label) & np.isfinite(values[:, 0])]
        level = told.one(measure="accuracy", model="model1", contrast="", **{"class": name})
        assert level["estimate"] == pytest.approx(some[:, 1].mean())
        low, high = shares.binomial_interval(np.array(some[:, 1].sum(), int), np.array(len(some)))
        assert (level["low"], level["high"]) == pytest.approx((float(low), float(high)))
        change = told.one(measure="accuracy", contrast="minus model0", **{"class": name})
        assert change["estimate"] == pytest.approx((some[:, 1] - some[:, 0]).mean())
        assert change["low"] <= change["estimate"] <= change["high"]
        assert change["images"] == len(some)
    some = values[5:]
    gained, lost = (int((some @ sign > 0).sum()) for sign in ([-1, 1], [1, -1]))
    assert told.one(measure="gained")["estimate"] == gained > 0
    assert told.one(measure="lost")["estimate"] == lost > 0
    p = significance.mcnemar(np.array(lost), np.array(gained))
    assert told.one(measure="lost")["p"] == pytest.approx(float(p))
    assert told.one(measure="lost")["images"] == 45
    assert not told.where(**{"class": "none"}).rows


def test_page_and_files(done):
    run, _ = done
    page = (run.path / "report.html").read_text()
    for word in ("Accuracy on shifted data sets", "invented by hue", "subset", "McNemar"):
        assert word in page or word == "McNemar"
    data = json.loads((run.path / "data.json").read_text())
    assert dict(zip(data["classes"], data["counts"], strict=True))["invented"] == 23
    for name in ("accuracy", "cells_1_hue", "wrong_1", "wrong_2"):
        assert (run.path / "figures" / f"{name}.csv").stat().st_size > 0
    with Image.open(run.path / "figures" / "wrong_1.png") as picture:
        pixels = np.asarray(picture.convert("RGB")).reshape(-1, 3)
    assert (np.abs(pixels.astype(int) - RED).sum(1) < 60).any()  # of its terms


def test_the_surest_mistakes_are_shown_and_nothing_that_was_right(done, networks, monkeypatch):
    run, _ = done
    subject = Experiment(tiny(networks, f"{SET} photos=30 as=invented"), quiet()).subject
    files = {unit: run.path / name for unit, name in parsed(run.path / "units.json").items()}
    rows = read_rows(*subject.files(subject.sets[0], files, subject.names[0]))
    main = rows.schema.names.index(subject.sets[0].protocols.names[0])
    right = np.arange(len(rows)) % 6 > 0  # fewer mistakes than are shown
    told = rows.set_column(main, rows.schema.names[main], pa.array(right))
    monkeypatch.setattr(streamed, "read_rows", lambda *files: told)
    wrong = told.filter(pa.array(~right)).sort_by([("confidence", "descending")])
    shown = [example for _, example, _ in subject.mistaken(subject.sets[0], files)]
    assert shown == wrong["example"].to_pylist()


def test_a_deleted_unit_comes_back_the_same_and_nothing_else_is_computed(
    done, networks, tmp_path, no_figures, monkeypatch
):
    run, _ = done
    shutil.copytree(run.path, tmp_path / "run")
    before, config = row_bytes(run.path), tiny(networks, *run.config["sets"])
    assert len(before) == 2 * (2 + 2)
    victim = sorted((tmp_path / "run" / "rows").rglob("*.parquet"))[3]
    victim.unlink()
    console = quiet()
    run_in(tmp_path / "run", config, console)
    assert "1 of 8 units computed" in console.file.getvalue()
    assert row_bytes(tmp_path / "run") == before
    config.data.scenes.size = 65  # of no set in it
    more = tiny([*networks, save_tiny_vit(tmp_path / "net2", classes=1000, seed=2)], *config.sets)
    with pytest.raises(ValueError, match="models"):
        run_in(tmp_path / "run", more, console)


def test_rows_do_not_depend_on_the_batch_size(done, networks, tmp_path, no_figures):
    run, _ = done
    config = tiny(networks, *run.config["sets"], batch_size=5, shard=1000)
    other, _ = run_in(tmp_path / "run", config)
    get = lambda folder: {  # noqa: E731
        (r["model"], r["set"], r["example"]): r for r in read_rows(folder / "rows").to_pylist()
    }
    want, got = get(run.path), get(other.path)
    assert want.keys() == got.keys()
    for key, row in got.items():
        assert row["probability"] == pytest.approx(want[key]["probability"], abs=REFERENCE)
        assert (row["any"], row["predicted"]) == (want[key]["any"], want[key]["predicted"])


@pytest.mark.parametrize(
    "other", ["photos=30 tint=1 as=x", "photos=30 shift=1 as=x", "photos=30 clustered=True as=x"]
)
def test_other_photos_under_the_same_name_are_other_units(networks, other):
    def names(words):
        made = Experiment(tiny(networks[:1], f"{SET} {words}"), quiet())
        plans = {"net0": {"images": 8, "flops": 1.0}}
        units = made.subject.units(made.subject.sets[0], plans)
        return [(unit.name, digest(unit.depends_on)) for unit in units]

    one, same, two = map(names, ("photos=30 as=x", "photos=30 as=x", other))
    assert one == same
    assert [name for name, _ in one] == [name for name, _ in two]
    assert not {known for _, known in one} & {known for _, known in two}


def test_units_of_several_classes_are_one_in_each(done, networks):
    name = f"{SET} photos=24 clustered=True"
    (one,) = Experiment(tiny(networks, name), quiet()).subject.sets
    labels = one.source.labels[one.positions]
    assert len(set(one.units)) == len(set(zip(one.units, labels.tolist(), strict=True)))
    assert len(set(one.units)) < len(one.units)
    told = done[1].where(set=one.name)
    assert told.where(measure="accuracy", average="micro").of("class") == []  # none is exact
    level = told.one(measure="accuracy", model="net0", protocol="subset", contrast="", factor=None)
    rows = [r for r in read_rows(done[0].path / "rows").to_pylist() if r["set"] == one.name]
    mine = [row["subset"] for row in rows if row["model"] == "net0"]
    assert (level["images"], level["average"]) == (len(mine), "micro")
    assert level["estimate"] == pytest.approx(np.mean(mine), abs=1e-6)


def test_skipped_photos_are_told(networks, tmp_path, no_figures):
    config = tiny(networks[:1], f"{SET} photos=12 bad=(4,)", **{"data.on_bad": "skip"})
    run, results = run_in(tmp_path / "run", config)
    told = run.read_json("data.json")
    assert told["skipped"] == [
        ["test/004.png", f"photo of {SET} photos=12 bad=(4,) could not be read"]
    ]
    again, _ = run_in(tmp_path / "run", config)
    assert again.read_json("data.json") == told
    level = results.where(measure="accuracy", average="micro", factor=None, **{"class": None})
    assert level.one(protocol="any")["images"] == 8
    config = tiny(networks[:1], f"{SET} photos=12 bad=(4,)")
    with pytest.raises(ValueError, match=r"photo test/004.png cannot be decoded; drop it or pass"):
        run_in(tmp_path / "other", config)


# Statistics that are new here.


def named(values, *fields):
    """A named array of images with invented keys."""
    axes = [Axis(("example",), tuple((f"i{k}",) for k in range(len(values))))]
    axes += [
        Axis((field,), tuple((f"{field}{k}",) for k in range(size)))
        for field, size in zip(fields, values.shape[1:], strict=True)
    ]
    return per_image(values, axes)


def levels(means):
    for name, one in means.items():
        yield Measure(name, one)
        yield Measure(name, one.differences("model"))


def class_levels(means):
    for name, one in means.items():
        for by in ("images", "each"):
            yield Measure(f"{name} {by}", one.mean("class", by=by))
            yield Measure(f"{name} {by}", one.mean("class", by=by).differences("model"))


def test_averages_are_those_of_class_means():
    rng = np.random.default_rng(0)
    labels = np.sort(rng.integers(0, 5, 60))
    labels[0], classes = 5, tuple("abcdef")  # a class of one image
    found = Images({"hit": named((rng.random((60, 2)) < 0.6) * 1.0, "model")}, labels, classes)
    options = {"resamples": 400, "seed": 1}
    want = Study("x", (), (), class_levels).results(found, **options)
    got = Study("x", (), (), levels, averages=("micro", "macro")).results(found, **options)
    for average, by in (("micro", "images"), ("macro", "each")):
        for model, contrast in (("model0", ""), ("model1", ""), ("model1", "minus model0")):
            one = got.one(average=average, model=model, contrast=contrast)
            two = want.one(measure=f"hit {by}", model=model, contrast=contrast)
            for key in ("estimate", "low", "high", "p"):
                assert one[key] == pytest.approx(two[key], abs=1e-5, nan_ok=True), key
            assert (one["images"], one["classes"]) == (two["images"], two["classes"])


def test_an_average_of_some_images_is_theirs_alone():
    rng = np.random.default_rng(1)
    values = (rng.random((80, 2)) < 0.5) * 1.0
    values[::4] = [0, 1]  # of one class, most of which is left out
    values[np.arange(80) % 4 * 20 < rng.integers(0, 20, 80)] = np.nan
    found = Images({"hit": named(values, "model")}, np.arange(80) % 4, tuple("abcd"))
    study = Study("x", (), (), levels, averages=("micro", "macro"))
    results = study.results(found, resamples=400)
    some = values[np.isfinite(values[:, 0])]
    for k in range(2):
        row = results.one(model=f"model{k}", contrast="")  # no macro average of them
        assert row["average"] == "micro"
        assert row["estimate"] == pytest.approx(some[:, k].mean(), abs=1e-6)
        assert row["images"] == len(some)
    pair = results.one(contrast="minus model0")
    alone = Study("x", (), (), levels, averages=("micro",)).results(
        Images({"hit": named(some, "model")}, np.zeros(len(some), int), ("a",)), resamples=400
    )
    for key in ("estimate", "p"):
        assert pair[key] == pytest.approx(alone.one(contrast="minus model0")[key], abs=0.02), key
    for key in ("low", "high"):
        assert pair[key] == pytest.approx(alone.one(contrast="minus model0")[key], abs=0.06), key


def test_units_count_as_many_as_they_have_photos():
    rng = np.random.default_rng(2)
    values = (rng.random((90, 1)) < 0.5) * 1.0
    units = [f"u{k}" for k in np.sort(rng.integers(0, 20, 90))]
    found = Images({"hit": named(values, "model")}, np.zeros(90, int), ("a",))
    drawn = by_unit(found, units)
    assert len(drawn.labels) == len(set(units))
    study = Study("x", (), (), levels, averages=("micro", "macro"))
    row = study.results(drawn, resamples=200).one()
    assert row["estimate"] == pytest.approx(values.mean(), abs=1e-6)
    assert row["images"] == 90


def test_photos_that_go_together_make_the_interval_wider():
    rng = np.random.default_rng(3)
    alike = np.repeat((rng.random(30) < 0.5) * 1.0, 10)[:, None]
    found = Images({"hit": named(alike, "model")}, np.zeros(300, int), ("a",))
    study = Study("x", (), (), levels, averages=("micro",))
    one = study.results(found, resamples=400).one()
    two = study.results(by_unit(found, [f"u{k // 10}" for k in range(300)]), resamples=400).one()
    assert two["high"] - two["low"] > 2.5 * (one["high"] - one["low"])
    assert two["estimate"] == pytest.approx(one["estimate"])


def test_splitting_by_words_is_in_their_order():
    one = split(named(np.arange(4.0)[:, None], "model"), "size", ["10", "9", "10", "9.5"])
    assert one.of("size") == ("9", "9.5", "10")
    assert np.isnan(one.values[0, :2, 0]).all()
    assert one.values[0, 2, 0] == 0
    some = split(named(np.ones((3, 1)), "model"), "size", ["2", "", "1"])  # unknown of one
    assert some.of("size") == ("1", "2")
    assert np.isfinite(some.values[:, :, 0]).sum(1).tolist() == [1, 0, 1]
    assert split(named(np.ones((2, 1)), "model"), "hue", ["red", "blue"]).of("hue") == (
        "blue",
        "red",
    )


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 30), st.integers(0, 30), st.integers(0, 40))
def test_paired_intervals_agree_with_mcnemar(lost, gained, alike):
    images = lost + gained + alike + 1
    low, high = shares.paired_interval(*map(np.array, (lost, gained, images)))
    assert low <= (gained - lost) / images + 1e-12
    assert high >= (gained - lost) / images - 1e-12
    p = significance.mcnemar(np.array(lost), np.array(gained))
    assert (low > 0 or high < 0) == (p < 0.05)


def test_binomial_intervals_cover():
    counts = np.arange(21)
    low, high = shares.binomial_interval(counts, np.full(21, 20))
    assert (low[0], high[-1]) == (0, 1)
    for share in (0.05, 0.3, 0.7):
        chance = np.array([share**k * (1 - share) ** (20 - k) for k in counts])
        chance *= [
            float(np.prod(np.arange(20 - k + 1, 21)) / np.prod(np.arange(1, k + 1))) for k in counts
        ]
        assert chance[(low <= share) & (share <= high)].sum() >= 0.95
    unchecked = inspect.unwrap(shares.binomial_interval)
    with pytest.raises(ValueError, match=r"images: got \(2,\), expected right's \(3,\)"):
        unchecked(np.arange(3), np.arange(2))


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**31))
def test_calibration_is_that_of_the_bins(seed):
    rng = np.random.default_rng(seed)
    confidence = named(rng.random((40, 2)), "model")
    right = named((rng.random((40, 2)) < confidence.values**2) * 1.0, "model")
    gaps = confidence_gaps(confidence, right).values
    for k in range(2):
        want = calibration.expected_calibration_error(
            confidence.values[:, k], right.values[:, k] > 0.5
        )
        assert np.abs(gaps[:, k].mean(0)).sum() == pytest.approx(want)


def test_the_calibration_error_of_one_unit_is_at_most_one():
    right = named(np.ones((9, 1, 2)), "set", "model")
    found = Images({"full": right}, np.zeros(9, int), ("a",))
    gap = confidence_gaps(named(np.full((9, 1, 2), 0.7), "set", "model"), right)
    study = Study("x", (), (), accuracies, signed=("gap",), averages=("micro", "macro"))
    drawn = by_unit(found._replace(values={"full": right, "gap": gap}), ["object"] * 9)
    for within, most in (({}, 14.6), ({"ece": (-1.0, 1.0)}, 1.0)):
        ended = dataclasses.replace(study, within=within)
        row = ended.results(drawn, [], resamples=50).where(measure="ece").rows[0]
        assert row["estimate"] == pytest.approx(0.3, abs=1e-6)
        assert row["low"] <= row["estimate"]
        assert row["high"] == pytest.approx(most, abs=0.1)


def by_line(key, shifted, base):
    """Effective robustness of two networks from (images, hits) on two sets."""
    study = Study("x", (), (), beyond, averages=("micro",))
    both, pairs = joined("part", {"shifted": shifted, "base": base}), [("model0", "model1")]
    return study.results(both, pairs, protocols.FITS[key], resamples=200)


def test_effective_robustness_is_that_of_the_formula():
    rng = np.random.default_rng(4)
    parts = {}
    for part, (count, share) in {"shifted": (120, 0.5), "base": (200, 0.7)}.items():
        hit = named((rng.random((count, 2)) < share) * 1.0, "model")
        parts[part] = Images({"hit": hit}, np.arange(count) % 4, tuple("abcd")), hit
    results = by_line("v2", parts["shifted"], parts["base"])
    fit = protocols.FITS["v2"]
    accuracy, base = (parts[part][1].values.mean(0) for part in ("shifted", "base"))
    want = accuracy - special.expit(fit.slope * special.logit(base) + fit.intercept)
    for k in range(2):
        row = results.one(model=f"model{k}", contrast="")
        assert row["estimate"] == pytest.approx(float(want[k]), abs=1e-5)
        assert row["low"] < row["estimate"] < row["high"]
    change = results.one(contrast="minus model0")
    assert change["estimate"] == pytest.approx(float(want[1] - want[0]), abs=1e-5)
    assert change["low"] < change["estimate"] < change["high"]


def test_the_same_photos_by_two_protocols_are_paired():
    rng = np.random.default_rng(5)
    hit = named((rng.random((60, 2)) < 0.6) * 1.0, "model")
    found = Images({"hit": hit}, np.arange(60) % 3, tuple("abc"))
    whole = joined("part", {"shifted": (found, hit), "base": (found, hit)})
    assert whole.values["joined"].values.shape == (60, 2, 2)
    assert np.isfinite(whole.values["joined"].values).all()
    row = by_line("real", (found, hit), (found, hit)).one(model="model0", contrast="")
    # Alike photos move both together: twice as many apart would vary by more.
    other = dataclasses.replace(hit, values=np.roll(hit.values, 7, 0))
    apart = Images({"hit": other}, found.labels, found.classes)
    two = by_line("real", (found, hit), (apart, other)).one(model="model0", contrast="")
    assert two["estimate"] == pytest.approx(row["estimate"], abs=1e-6)
    assert two["high"] - two["low"] > 1.5 * (row["high"] - row["low"])


def cured_networks(folder, networks):
    """A folder as config finetune leaves one: net0 is the original, net1 is made from it."""
    kept = folder / "models" / "abc123" / "energy_seed0_best"
    kept.parent.mkdir(parents=True)
    shutil.copytree(networks[1], kept)
    cards = [{"name": "original", "masked": []}]
    made = {"name": "energy_seed0", "variant": "energy", "masked": ["sky"]}
    cards.append({**made, "best": str(kept), "last": "x"})
    (folder / "networks.json").write_text(json.dumps(cards))
    (folder / "config.json").write_text(json.dumps({"models": [str(networks[0])]}))
    return kept


def test_cured_networks_are_compared_with_their_originals(networks, tmp_path, no_figures):
    kept = cured_networks(tmp_path / "finetune", networks)
    assert cure(str(kept)) == Cure(str(networks[0]), ("sky",), "energy", tmp_path / "finetune")
    assert cure(str(networks[0])) is None
    other = save_tiny_vit(tmp_path / "net2", classes=1000, seed=2)
    config = tiny([networks[0], other, kept], f"{SET} photos=36 as=invented", protocols=("subset",))
    _, results = run_in(tmp_path / "run", config)
    between = results.where(factor=None)
    assert between.of("contrast") == ["", "minus net0"]
    assert set(results.where(contrast="minus net0").of("model")) == {kept.name}
    parts = results.where(measure="class_accuracy", set="invented")
    assert parts.of("class") == ["A", "B", "A minus B"]
    of_class = results.where(measure="accuracy", contrast="minus net0", factor=None)
    change = {row["class"]: row["estimate"] for row in of_class if row.get("class")}
    a, b = change["sky"], (change["sea"] + change["sand"]) / 2
    found = [parts.one(**{"class": part})["estimate"] for part in ("A", "B", "A minus B")]
    assert abs(a - b) > 0.1
    np.testing.assert_allclose(found, [a, b, a - b], atol=1e-6)


def test_pairs_are_as_named_or_of_cures_or_all():
    called = {"p/a": "a", "b": "b", "c": "c"}
    made = ((), "energy", Path())
    assert pairs((), called, {}) == [("a", "b"), ("a", "c"), ("b", "c")]
    assert pairs((), called, {"c": Cure("p/a", *made)}) == [("a", "c")]
    assert pairs((), called, {"c": Cure("elsewhere", *made)}) == [
        ("a", "b"),
        ("a", "c"),
        ("b", "c"),
    ]
    assert pairs(("p/a = b", "b=c"), called, {}) == [("a", "b"), ("b", "c")]
    with pytest.raises(ValueError, match=r"config\.pairs: got 'a=d', expected"):
        pairs(("a=d",), called, {})
    with pytest.raises(ValueError, match="name b before a"):
        pairs(("b=a",), called, {})


# Sets as they are laid out.


def on_favourites(network, folder, names, seed):
    """Photos in the folder of what the network takes them for, and every third in another's."""
    model, variables = models.load(str(network))
    pixels = np.random.default_rng(seed).integers(0, 256, (18, 16, 16, 3), np.uint8)
    logits = jax.jit(model.forward)(variables, pixels / np.float32(255), {})[0]
    predicted = np.asarray(logits).argmax(1)
    for i, (photo, output) in enumerate(zip(pixels, predicted, strict=True)):
        place = folder / names[(output + (i % 3 == 0)) % 1000]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(photo).save(place / f"{i}.png")
    return predicted


def test_networks_lie_beside_the_line_and_what_timm_publishes(networks, tmp_path, monkeypatch):
    name = "vit_tiny_patch16_224.augreg_in21k_ft_in1k"
    shutil.copytree(networks[0], tmp_path / name)
    wnids = [one.wnid for one in class_maps.imagenet()]
    on_favourites(networks[0], tmp_path / "val", wnids, 0)
    v2 = tmp_path / "imagenetv2-matched-frequency-format-val"
    on_favourites(networks[0], v2, [str(i) for i in range(1000)], 1)
    sets = (f"imagenet={tmp_path / 'val'}", f"imagenet_v2={tmp_path}")
    run, results = run_in(tmp_path / "run", tiny([tmp_path / name], *sets))
    level = results.where(measure="accuracy", average="micro", protocol="full", **{"class": None})
    assert [level.one(set=s)["estimate"] for s in ("imagenet", "imagenet_v2")] == [
        pytest.approx(2 / 3, abs=1e-6)
    ] * 2
    fit = protocols.FITS["v2"]
    want = protocols.effective_robustness(
        jnp.array(2 / 3), jnp.array(2 / 3), slope=fit.slope, intercept=fit.intercept
    )
    row = results.one(measure="effective_robustness", contrast="")
    assert (row["set"], row["protocol"]) == ("imagenet_v2", "full")
    assert row["estimate"] == pytest.approx(float(want), abs=1e-5)
    drawn = (run.path / "figures" / "line_v2.csv").read_text()
    assert drawn.count("other networks") == 41
    assert drawn.count(name) == 1
    told, known = (run.path / "tables.md").read_text(), class_maps.published()[name]
    for key in ("val", "v2"):
        assert f"(timm {100 * known[key]:.1f})" in told
    changed = tiny([tmp_path / name], *sets, **{"preprocessing.mean": (0.5, 0.5, 0.5)})
    changed.preprocessing.std = (0.5, 0.5, 0.5)
    monkeypatch.setattr(document, "attempt", lambda *_: "its figures are those above")
    other, _ = run_in(tmp_path / "other", changed)
    assert "(timm" not in (other.path / "tables.md").read_text()  # not by their preprocessing
    assert "mean (0.5, 0.5, 0.5)" in (other.path / "report.html").read_text()


def test_a_folder_of_synsets_is_scored_among_them(networks, tmp_path, no_figures):
    wnids = [one.wnid for one in class_maps.imagenet()]
    predicted = on_favourites(networks[0], tmp_path / "data", wnids, 2)
    run, results = run_in(tmp_path / "run", tiny(networks[:1], f"image_folder={tmp_path / 'data'}"))
    level = results.where(measure="accuracy", average="micro", **{"class": None})
    assert level.one(protocol="full")["estimate"] == pytest.approx(2 / 3, abs=1e-6)
    assert level.one(protocol="subset")["estimate"] >= 2 / 3 - 1e-6
    rows = read_rows(run.path / "rows")
    assert set(rows["predicted"].to_pylist()) == {wnids[i] for i in predicted}


# What is refused, and what is said.


@pytest.mark.parametrize(
    ("sets", "message"),
    [
        (("tests.invented_sets nonsense",), "config.sets: got 'tests.invented_sets nonsense'"),
        (("imagenet_aa=/x",), "no 'imagenet_aa'; did you mean 'imagenet_a'"),
        (("imagenet_a=/nowhere",), "there is no folder or archive /nowhere"),
        ((f"{SET} fotos=3",), "option: no 'fotos'; did you mean 'photos'"),
        ((f"{SET} photos=many",), "option photos: got 'many', expected a whole number"),
        ((f"{SET} photos=8", f"{SET} photos=9 as='{SET} photos=8'"), "two have one name"),
        ((f"{SET} wrong=1",), "a label is none of its 4 classes"),
        ((f"{SET} factor=label",), "factor label has the name of a column"),
        (("scenes",), "scenes has 10 classes, the networks 1000 outputs"),
        ((f"{SET} bad=(0,)",), "test/000.png cannot be decoded; drop it or pass"),
        ((f"{SET} resized=True", f"{SET} photos=3"), "16 x 16"),
    ],
)
def test_bad_sets_stop_before_any_work(networks, tmp_path, sets, message):
    if "resized" in sets[0]:
        networks = [save_tiny_vit(tmp_path / "large", classes=1000, size=24)]
    with pytest.raises(ValueError, match=message):
        run_in(tmp_path / "run", tiny(networks, *sets))
    assert not list((tmp_path / "run").rglob("*.parquet"))


def test_cures_are_words_of_the_set(networks, tmp_path):
    place = tmp_path / "imagenetv2-top-images-format-val" / "3"
    place.mkdir(parents=True)
    Image.new("RGB", (16, 16)).save(place / "a.png")
    with pytest.raises(ValueError, match="variant=top-images or name the other folder"):
        Experiment(tiny(networks, f"imagenet_v2={place.parent}"), quiet())
    found = Experiment(tiny(networks, f"imagenet_v2={place.parent} variant=top-images"), quiet())
    assert found.subject.sets[0].published == {}  # the line is of the other variant


def test_bad_networks_stop_before_any_work(networks, tmp_path):
    with pytest.raises(ValueError, match="different numbers of outputs"):
        Experiment(tiny([networks[0], "scenes/vit_00"]), quiet())
    with pytest.raises(ValueError, match=r"config\.protocols: no 'ful'"):
        Experiment(tiny(networks, protocols=("ful",)), quiet())
    with pytest.raises(ValueError, match=r"two of config\.models have one name"):
        Experiment(tiny([networks[0], f"{networks[0]}/"]), quiet())  # one folder, twice


def test_folders_with_one_name_are_called_by_what_differs(networks, tmp_path):
    places = [shutil.copytree(networks[0], tmp_path / name / "model") for name in "ab"]
    found = Experiment(tiny([*places, networks[1]]), quiet())
    names = [one.model.name for one in found.subject.networks]
    assert names == ["a", "b", networks[1].name]
    assert names == [one.facts["name"] for one in found.subject.networks]


def test_protocols_that_are_not_asked_for_are_not_told(networks, tmp_path, no_figures):
    config = tiny(networks, protocols=("first", "full"))
    _, results = run_in(tmp_path / "run", config)
    assert results.where(measure="accuracy").of("protocol") == ["first"]


def test_dry_run_prints_the_cost_and_runs_nothing(networks):
    assert "net0: 23 photos of 1 data sets" in dry_run(tiny(networks)).replace(
        "1 sets", "1 data sets"
    )


def test_outputs_meet_classes_by_name(networks, tmp_path, no_figures):
    """A network whose outputs stand in another order gives the same rows."""
    order = np.random.default_rng(0).permutation(1000)
    model, variables = models.load(str(networks[0]))
    wnids = [one.wnid for one in class_maps.imagenet()]
    turned = jax.tree.map(np.asarray, dict(variables))
    head = turned["params"]["head"]
    head["kernel"], head["bias"] = head["kernel"][:, order], head["bias"][order]
    turned_model = dataclasses.replace(
        model, name="net0", class_names=tuple(wnids[i] for i in order)
    )
    models.save(tmp_path / "net0", turned_model, turned)
    rows = []
    for network in (networks[0], tmp_path / "net0"):
        run, _ = run_in(tmp_path / f"run{len(rows)}", tiny([network]))
        rows.append(read_rows(run.path / "rows").to_pylist())
    for one, two in zip(*rows, strict=True):
        assert one["predicted"] == two["predicted"]
        assert one["probability"] == pytest.approx(two["probability"], rel=1e-4)


def test_presets_hold_the_protocols():
    clean, paper, released, table_2 = (
        config_of("robustness", name) for name in ("clean", "paper", "released", "released_si")
    )
    assert tuple(paper.preprocessing.mean) == tuple(paper.preprocessing.std) == (0.5, 0.5, 0.5)
    assert (paper.preprocessing.interpolation, paper.preprocessing.crop_pct) == ("bilinear", 0.875)
    assert not clean.preprocessing.crop_pct
    assert not clean.protocols
    assert "first" in paper.protocols
    assert "subset" not in paper.protocols
    borders = [config.data.objectnet.border for config in (clean, paper, released)]
    assert borders == [2, 1, 0]
    assert len(clean.sets) == 6
    assert len(table_2.sets) == 3


# Whole: real photos and networks, several processes.


def command(networks, *flags):
    """Arguments of a run that takes seconds."""
    sets = f"('{SET} photos=60 as=invented','{SET} photos=60 clustered=True as=two')"
    given = {"sets": sets, "models": str(tuple(map(str, networks))), "shard": "12"}
    given |= {"batch_size": "4", "statistics.resamples": "50"}
    named = [f"--config.{name}={value}" for name, value in given.items()]
    return ["rival_jax.main", "--config=configs/robustness.py", *named, *flags]


def sorted_rows(folder):
    """All rows of a run in one order."""
    rows = read_rows(folder / "rows")
    return rows.sort_by([(key, "ascending") for key in ("set", "model", "example")])


@pytest.mark.whole
def test_killed_and_restarted_gives_the_same_bytes(networks, tmp_path):
    whole, parts, log = tmp_path / "whole", tmp_path / "parts", tmp_path / "log.txt"

    def started(folder):
        return Forked(command(networks, f"--workdir={folder}"), log, dict(os.environ))

    assert started(whole).wait() == 0, log.read_text()
    killed = started(parts)
    while killed.poll() is None and len(list(parts.rglob("*.parquet"))) < 3:
        time.sleep(0.01)
    killed.kill()
    killed.wait()
    assert 0 < len(row_bytes(parts)) < len(row_bytes(whole)) == 16
    assert started(parts).wait() == 0, log.read_text()
    assert row_bytes(parts) == row_bytes(whole)
    results = [Results.read(folder).rows for folder in (whole, parts)]
    assert str(results[0]) == str(results[1])


@pytest.mark.whole
def test_rows_do_not_depend_on_the_hosts(networks, tmp_path):
    found = {}
    for topology in ((1, 1), (2, 2)):
        out = tmp_path / "{}x{}".format(*topology)
        started = launch(*topology, command(networks, f"--workdir={out}"), out / "logs")
        assert finish(started, 200) == [0] * topology[0], printed(out / "logs")
        found[topology] = sorted_rows(out)
    want, got = found.values()
    assert len(want) == 2 * 2 * 45
    for name in want.column_names:
        ours, theirs = want[name].to_pylist(), got[name].to_pylist()
        if isinstance(ours[0], float):
            np.testing.assert_allclose(theirs, ours, rtol=1e-4, atol=1e-5)
        else:
            assert theirs == ours, name


VIT_TINY = "data/weights/vit_tiny_patch16_224.augreg_in21k_ft_in1k"


@pytest.mark.whole
def test_stand_ins_and_corruptions_with_a_real_network(all_shared, tmp_path):
    """Which synset a stand-in is of is not known for sure: its rows count, not its accuracy."""
    mini = all_shared / "data" / "evaluation_mini"
    standin, corrupted = mini / "standin", mini / "corruptions_one_photo"
    model, variables = models.load(str(all_shared / VIT_TINY))
    geometry = Geometry(model.image_size, "crop", model.interpolation, model.crop_pct)

    forward = jax.jit(lambda variables, photos: model.forward(variables, photos, {})[0])

    def said(*files):
        photos = [resize_photo(Image.open(file).convert("RGB"), geometry) for file in files]
        some = np.stack([*photos, *[photos[0]] * (6 - len(photos))])  # one program
        logits = forward(variables, some / np.float32(255))
        return [class_maps.imagenet()[i].wnid for i in np.asarray(logits).argmax(1)][: len(files)]

    bird = said(corrupted / "clean" / "bird.jpeg")[0]
    kinds = ("imagenet_v2", "imagenet_a", "imagenet_r", "imagenet_sketch")
    sets = [
        *(f"{kind}={standin}" for kind in kinds),
        f"siscore={mini / 'siscore_demo'}",
        f"imagenet_c={corrupted} wnid={bird} as=corruptions",
    ]
    config = tiny([all_shared / VIT_TINY], *sets, shard=64, batch_size="auto")
    run, results = run_in(tmp_path / "run", config)
    rows = read_rows(run.path / "rows").to_pylist()
    folders = ("imagenetv2-matched-frequency-format-val", "imagenet-a", "imagenet-r", "sketch")
    for kind, folder in zip(kinds, folders, strict=True):
        mine = {row["example"]: row for row in rows if row["set"] == kind}
        files = [path for path in (standin / folder).rglob("*") if path.is_file()]
        assert len(mine) == len(files)
        some = [file.relative_to(standin / folder).as_posix() for file in files[:6]]
        assert [mine[name]["predicted"] for name in some] == said(*files[:6])
        if kind == "imagenet_v2":  # folders are numbers
            outputs = [class_maps.imagenet()[int(name.split("/")[0])].wnid for name in some]
            assert [mine[name]["label"] for name in some] == outputs
        if kind in ("imagenet_a", "imagenet_r"):
            assert all(row["subset"] >= row["full"] for row in mine.values())
    cells = results.where(set="corruptions", measure="accuracy", factor="corruption", contrast="")
    assert len(cells.of("value")) == 18
    assert {row["images"] for row in cells} == {5}
    severity = results.where(set="corruptions", measure="accuracy", factor="severity", contrast="")
    found = {row["value"]: row["estimate"] for row in severity if row["protocol"] == "full"}
    assert found["1"] > found["5"]
    for factor in ("corruption", "severity"):
        assert (run.path / "figures" / f"cells_6_{factor}.csv").exists()


def first_blocks(network, folder, depth):
    """A transformer without its other blocks, which compiles and trains in a part of the time."""
    tensors = load_file(network / "model.safetensors")
    block = lambda name: int(name.split(".")[1]) if name.startswith("blocks.") else 0  # noqa: E731
    folder.mkdir()
    kept = {name: tensor for name, tensor in tensors.items() if block(name) < depth}
    save_file(kept, folder / "model.safetensors")
    shutil.copy(network / "config.json", folder)
    return folder


@pytest.mark.whole
def test_before_and_after_a_short_cure_on_photos(all_shared, tmp_path):
    """A ViT-Tiny's first blocks finetuned on a few masked photos, judged on the others."""
    photos, folder = tmp_path / "photos", tmp_path / "finetune"
    network = first_blocks(all_shared / VIT_TINY, tmp_path / "first_blocks", 2)
    mini = all_shared / "data" / "imagenet_s_mini"
    for place in sorted((mini / "images").iterdir())[:5]:
        for number, file in enumerate(sorted(place.iterdir())[:8]):
            for kind in ("images", "masks"):
                (stored,) = (mini / kind / place.name).glob(f"{file.stem}.*")
                target = photos / ("train", "validation")[number % 2] / kind / place.name
                target.mkdir(parents=True, exist_ok=True)
                shutil.copy(stored, target)
    config = config_of("finetune", "released")
    config.models = (str(network),)
    config.data.root = str(photos)
    config.split.num_classes, config.split.per_class, config.split.on_few = 3, 2, "take"
    config.split.validation_per_class, config.split.validation = 1, "training"
    config.train.epochs, config.train.batch, config.train.learning_rate = 1, 4, 1e-4
    config.noise.trials, config.noise.sigmas = 1, (0.5,)
    config.evaluate.alphas, config.statistics.resamples = (), 50
    config.cache = str(tmp_path / "cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runner, "write_document", lambda *a: None)
        run_in(folder, config)
    (kept,) = folder.glob("models/*/*_best")
    networks = [network, kept]
    sets = f"image_folder={photos} split=validation as=photos"
    run, results = run_in(tmp_path / "run", tiny(networks, sets, shard=64, batch_size="auto"))
    change = results.where(measure="accuracy", average="micro", **{"class": None}).where(
        contrast=f"minus {networks[0].name}"
    )
    for row in change:
        assert row["model"] == kept.name
        assert row["low"] <= row["estimate"] <= row["high"]
        assert 0 < row["p"] <= 1
    nll = results.one(measure="nll", contrast=f"minus {networks[0].name}")
    assert nll["estimate"] != 0
    assert results.where(measure="class_accuracy").of("class") == ["A", "B", "A minus B"]
    assert "Change in classes with masks (A)" in (run.path / "tables.md").read_text()
