import csv
import dataclasses
import json
import os
import shutil
import signal
import types
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from rich.console import Console

from rival_jax import data, models
from rival_jax.data.chosen import Chosen
from rival_jax.data.split import split
from rival_jax.data.training import images_of_seeds
from rival_jax.experiments import runner
from rival_jax.experiments.finetune import measures, photos, study, trainings
from rival_jax.experiments.finetune.measures import Network
from rival_jax.experiments.finetune.page import page
from rival_jax.experiments.finetune.variants import VARIANTS, settings
from rival_jax.experiments.subject import Loaded, Material, Subject
from rival_jax.report.document import write_document
from rival_jax.report.results import Results
from rival_jax.runtime import row_files, train
from rival_jax.runtime.signals import Interrupted
from rival_jax.types import Geometry
from tests import finetune_cases as cases
from tests.damaged_runs import NAMES, renamed, reported
from tests.finetune_cases import CLASSES, config, row_bytes, run_in
from tests.helpers import config_of, frozen

WHOLE = {"seed": None, "class": None, "set": None}
VARIED = ("original", "robustvit", "cross_entropy")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return cases.make(tmp_path_factory.mktemp("finetune"))


@pytest.fixture(scope="module")
def finished(folder):
    changes = {"variants": VARIED, "seeds": (0, 1)}
    return run_in(folder / "finished", config(folder, **changes))


@pytest.fixture
def no_report(monkeypatch):
    """Trainings and rows alone: the report takes longer."""
    monkeypatch.setattr(study.Experiment, "report", cases.no_report)


def columns(run, network, unit):
    return pq.read_table(run.path / run.read_json("units.json")[f"{network}/{unit}"])


def test_one_command_gives_the_table(finished):
    found = Results.read(finished.path)
    assert found.of("variant") == list(VARIED)
    levels = found.where(measure="accuracy", contrast="")
    for name in VARIED[1:]:
        assert found.where(variant=name).of("alpha") == [1, 0.5]
        for test in ("as trained", "decorrelated"):
            mine = levels.where(variant=name, test=test, alpha=1.0)
            whole = mine.one(**WHOLE)
            assert whole["low"] <= whole["estimate"]
            each = mine.where(seed=(0, 1)).rows
            assert np.mean([row["estimate"] for row in each]) == pytest.approx(whole["estimate"])
            assert np.isnan([row[end] for row in each for end in ("low", "high", "p")]).all()
            for contrast in ("", measures.GAIN):
                one = found.where(variant=name, test=test, alpha=1.0, contrast=contrast)
                assert (one.of("set"), one.of("class")) == (["A", "B"], list(CLASSES))
        assert -1 <= found.one(measure="rfs", contrast="", variant=name, seed=None)["estimate"] <= 1
    text = (finished.path / "tables.md").read_text()
    assert "Gained over the original" in text
    assert "standard deviation" in text
    assert (finished.path / "report.html").stat().st_size > 10_000
    for name in ("comparison", "rfs", "maps", "training", "path"):
        assert (finished.path / "figures" / f"{name}.csv").exists()


def test_the_kept_networks_are_those_that_were_tested(finished, folder):
    saved = {card["name"]: card for card in finished.read_json("networks.json")}
    examples = data.Examples(
        data.load("masked_folder", folder / "shifted", "test"), Geometry((16, 16))
    )
    batch = next(examples.batches(len(examples)))
    image = jnp.asarray(batch["image"])
    original, before = models.load(str(folder / "tiny"))
    forward = jax.jit(original.forward)
    for name in ("robustvit_seed0", "cross_entropy_seed1"):
        model, variables = models.load(saved[name]["best"])
        assert model.name == f"{name}_best"
        _, last = models.load(saved[name]["last"])
        logits, _ = jax.jit(model.forward)(variables, image, {})
        rows = columns(finished, name, "decorrelated")
        correct = np.asarray(logits.argmax(1) == batch["label"])
        assert rows["correct"].to_pylist() == correct.tolist()
        moved = [
            float(jnp.abs(a - b).max())
            for a, b in zip(jax.tree.leaves(before), jax.tree.leaves(last), strict=True)
        ]
        assert 1e-4 < max(moved) < 0.2
        mixture = _finetune_mix(before, variables)
        mixed, _ = forward(mixture, image, {})
        share = jax.nn.softmax(mixed)[np.arange(len(examples)), batch["label"]]
        found = columns(finished, f"{name}_alpha0.5", "decorrelated")["probability"]
        np.testing.assert_allclose(found.to_pylist(), share, atol=1e-5)


def _finetune_mix(a, b):
    return {"params": jax.tree.map(lambda x, y: (x + y) / 2, a["params"], b["params"])}


def test_rows_say_which_classes_had_masks(finished):
    table = columns(finished, "robustvit_seed0", "as trained")
    pairs = set(zip(table["label"].to_pylist(), table["class_set"].to_pylist(), strict=True))
    assert pairs == {("ant", "A"), ("bee", "A"), ("cow", "B"), ("dog", "B")}


def test_the_log_and_the_curves_hold_every_epoch(finished):
    lines = [json.loads(line) for line in (finished.path / "log.jsonl").read_text().splitlines()]
    epochs = [line for line in lines if line["event"] == "epoch"]
    assert {(e["member"], e["epoch"]) for e in epochs} == {
        (f"{name}_seed{seed}", epoch)
        for name in VARIED[1:]
        for seed in (0, 1)
        for epoch in (-1, 0, 1)
    }
    first = next(e for e in epochs if e["member"] == "robustvit_seed1" and e["epoch"] == -1)
    assert first["train"] is None
    assert {"background", "foreground", "classification", "total", "correct"} == set(
        first["held_out"]
    )
    units = finished.read_json("units.json")
    curves = measures.losses([finished.path / units["robustvit_seed1/training"]])
    assert curves.of("model") == ["robustvit_seed1"]
    held_out = curves.where(part="held out")
    assert held_out.one(epoch=0)["estimate"] == first["held_out"]["total"]
    (kept,) = curves.where(part="kept")
    assert kept["estimate"] == held_out.one(epoch=kept["epoch"])["estimate"]
    assert [row["epoch"] for row in curves.where(part="train")] == [1, 2]
    assert len(list((finished.path / "tensorboard").glob("*/events*"))) == 4


def test_seeds_with_different_numbers_of_images_are_refused():
    source = data.load("scenes", "", "train", per_class=4)
    kept = {"images and masks of seed 0": 2, "images and masks of seed 1": 1}  # some are bad
    sizes = {"num_classes": 2, "per_class": 2, "validation_per_class": 1}

    def read(part, said):
        return data.Examples(Chosen(part, range(kept[said])), Geometry((16, 16)))

    assert len(images_of_seeds(source, (0,), read, "scenes", **sizes)[0].train) == 2
    with pytest.raises(ValueError, match=r"different numbers of training images \(\[1, 2\]\)"):
        images_of_seeds(source, (0, 1), read, "scenes", **sizes)
    with pytest.raises(ValueError, match="scenes, split 'x': class bird has 4 images"):
        images_of_seeds(source, (0,), read, "scenes, split 'x'", **{**sizes, "per_class": 9})


def test_again_computes_nothing_and_a_seed_more_itself(
    finished, folder, monkeypatch, tmp_path, no_report
):
    copied = tmp_path / "copy"
    shutil.copytree(finished.path, copied)
    before = row_bytes(finished)
    fitted = []
    fit = train.fit
    monkeypatch.setattr(
        train, "fit", lambda *a, **k: fitted.append([m.name for m in a[3]]) or fit(*a, **k)
    )
    again = run_in(copied, config(folder, variants=VARIED, seeds=(0, 1)))
    assert (fitted, row_bytes(again)) == ([], before)
    more = config(folder, variants=VARIED[:2], seeds=(0, 1, 2))
    after = row_bytes(run_in(copied, more, extend=True))
    assert fitted == [["robustvit_seed2"]]
    assert {name: after[name] for name in before} == before


def test_interrupted_and_run_again_gives_the_same_bytes(folder, tmp_path, monkeypatch, no_report):
    settings = config(folder, variants=("robustvit",), **{"evaluate.alphas": ()})
    meters = []

    class Kept(runner.Meter):
        def __enter__(self):
            meters.append(self)
            return super().__enter__()

    with monkeypatch.context() as patch:
        patch.setattr(runner, "Meter", Kept)
        whole = row_bytes(run_in(tmp_path / "whole", settings))
    assert [meter.done for meter in meters] == [meter.total for meter in meters]
    check = train._Loop._check
    steps = []

    def counted(self, *args):
        steps.append(1)
        if len(steps) == 3:
            os.kill(os.getpid(), signal.SIGTERM)
        return check(self, *args)

    monkeypatch.setattr(train._Loop, "_check", counted)
    with pytest.raises(Interrupted):
        run_in(tmp_path / "stopped", settings)
    assert not list((tmp_path / "stopped").rglob("*.parquet"))
    assert list((tmp_path / "stopped" / "training").iterdir())
    assert row_bytes(run_in(tmp_path / "stopped", settings)) == whole
    assert not list((tmp_path / "stopped" / "training").iterdir())


def test_programs_side_by_side_train_the_same_networks(finished, folder, tmp_path, monkeypatch):
    monkeypatch.setattr(runner, "write_document", lambda *args: None)
    changes = {"variants": ("robustvit",), "seeds": (0, 1), "train.together": 2}
    changes |= {"settings": ("", "background_weight=4 learning_rate=1e-3"), "evaluate.alphas": ()}
    run = run_in(tmp_path / "together", config(folder, **changes))
    assert Results.read(run.path).of("variant") == [
        "original",
        "robustvit",
        "robustvit+background_weight=4+learning_rate=1e-3",
    ]
    for name in ("robustvit_seed0", "robustvit_seed1"):
        a, b = (columns(r, name, "decorrelated")["probability"] for r in (run, finished))
        np.testing.assert_allclose(a.to_pylist(), b.to_pylist(), atol=1e-4)


@pytest.fixture(scope="module")
def source(folder):
    return data.load("masked_folder", folder / "data", "train")


class TestNeeds:
    """What an objective is given beside images, masks and labels."""

    LABELS = np.array([13, 12, 11, 10], np.int32)

    def data(self, folder, source, **changes):
        c = config(folder, **changes)
        material = Material(frozen(c), Console(quiet=True))
        training = photos.training(material, source, Geometry((16, 16)), self.LABELS)
        return training.data(("other", "outputs")), training.images[0]

    def others(self, batches):
        """By index: the other image and mask, from what is no padding."""
        return {
            int(index): (image, mask)
            for batch in batches
            for index, image, mask in zip(
                *(batch[name] for name in ("index", "other_image", "other_mask")), strict=True
            )
            if index >= 0
        }

    def test_another_example_for_each(self, folder, source):
        """Each is one of the others', once; those of a batch do not depend on its size."""
        found, images = self.data(folder, source, **{"train.batch": 3})
        for examples, got in (
            (images.train, self.others(found.train(0, 1, 0))),
            (images.validation, self.others(found.held_out(0))),
        ):
            assert sorted(got) == list(range(len(examples)))
            place = {e.tobytes(): i for i, e in enumerate(examples.images)}
            partners = [place[got[i][0].tobytes()] for i in sorted(got)]
            assert sorted(partners) == sorted(got)
            assert all(i != partner for i, partner in enumerate(partners))
            for i, partner in enumerate(partners):
                np.testing.assert_array_equal(got[i][1], examples.masks[partner])
        wide, _ = self.data(folder, source, **{"train.batch": 8})
        got, again = self.others(found.train(0, 1, 0)), self.others(wide.train(0, 1, 0))
        assert all((got[i][0] == again[i][0]).all() for i in got)
        rest = self.others(found.train(0, 1, 1))
        assert len(rest) == len(got) - 3
        assert all((got[i][0] == rest[i][0]).all() for i in rest)
        later = self.others(found.train(0, 2, 0))
        assert any((got[i][0] != later[i][0]).any() for i in got)

    def test_outputs_are_those_of_the_classes_with_masks(self, folder, source):
        found, images = self.data(folder, source)
        batch = next(found.train(0, 0, 0))
        assert images.masked == ("ant", "bee")
        np.testing.assert_array_equal(batch["outputs"], [[13, 12]] * 4)
        assert set(batch["label"]) <= {12, 13}


class TestSplit:
    """Which images are seen."""

    def found(self, folder, source, seed=0, **changes):
        c = config(folder, **{f"split.{key}": value for key, value in changes.items()})
        return split(source, seed, **vars(frozen(c).split))

    def names(self, source, positions):
        return [source.names[i] for i in positions]

    def test_the_first_half_of_the_sorted_classes(self, folder, source):
        got = self.found(folder, source, images="first")
        assert got.masked == ("ant", "bee")
        assert self.names(source, got.train) == [
            f"{c}/a{i}.png" for c in ("ant", "bee") for i in range(4)
        ]
        assert self.names(source, got.validation) == [
            f"{c}/a{i}.png" for c in ("ant", "bee") for i in (4, 5)
        ]

    def test_held_out_classes_pick_the_epoch(self, folder, source):
        got = self.found(folder, source, images="first", validation="held_out")
        assert {source.labels[i] for i in got.validation} == {2, 3}
        assert len(got.validation) == 4
        assert len(got.train) == 8

    def test_seeds_choose_images_and_classes(self, folder, source):
        images = {self.found(folder, source, seed).train for seed in range(4)}
        assert len(images) > 1
        masked = {self.found(folder, source, seed, by="seed").masked for seed in range(8)}
        assert len(masked) > 1
        again = self.found(folder, source, 3, by="seed")
        assert again == self.found(folder, source, 3, by="seed")
        assert not set(again.train) & set(again.validation)

    def test_classes_can_be_named(self, folder, source):
        assert self.found(folder, source, classes=("dog", "ant")).masked == ("dog", "ant")
        with pytest.raises(ValueError, match=r"split.classes: no 'cat'; did you mean"):
            self.found(folder, source, classes=("cat",))

    def test_too_few_images_are_named(self, folder, source):
        with pytest.raises(
            ValueError, match=r"class ant has 7 images, and 32 are asked for: lower"
        ):
            self.found(folder, source, per_class=30)
        got = self.found(folder, source, per_class=30, on_few="take")
        assert (len(got.train), len(got.validation)) == (10, 4)
        with pytest.raises(ValueError, match="num_classes=9, but there are 4 classes"):
            self.found(folder, source, num_classes=9)
        with pytest.raises(ValueError, match=r"needs classes that are not trained on"):
            self.found(folder, source, num_classes=4, validation="held_out")


def test_other_masks_train_another_network(finished, folder, tmp_path, no_report):
    found = cases.draw_found(tmp_path / "found")
    changes = {"variants": ("tokencut",), "tokencut.root": str(found)}
    run = run_in(tmp_path / "run", config(folder, **changes, **{"evaluate.alphas": ()}))
    assert run.read_json("networks.json")[1]["variant"] == "tokencut"
    a = columns(run, "tokencut_seed0", "decorrelated")["iou"].to_numpy()
    b = columns(finished, "robustvit_seed0", "decorrelated")["iou"].to_numpy()
    assert np.abs(a - b).max() > 1e-3
    with pytest.raises(ValueError, match="'tokencut' needs the folder of masks"):
        run_in(tmp_path / "none", config(folder, variants=("tokencut",)))


def test_every_variant_is_an_objective_with_its_options(folder):
    model, _ = models.load(str(folder / "tiny"))
    c = config(folder, variants=tuple(VARIANTS), **{"rrr.relevance_weight": 5.0})
    found = {setting.name: setting for setting in settings(frozen(c), model)}
    assert list(found) == list(VARIANTS)
    assert found["rrr"].numbers["relevance_weight"] == 5
    assert dict(found["rrr_released"].terms.given[2])["through_grads"] is False
    assert found["without_background"].numbers["background_weight"] == 0
    # Numbers that differ are arguments of one program.
    assert found["only_background"].terms == found["robustvit"].terms
    assert found["with_label"].terms != found["robustvit"].terms


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        (
            {"variants": ("robustvitt",)},
            "config.variants: no 'robustvitt'; did you mean 'robustvit",
        ),
        ({"variants": ("original",)}, "names nothing to finetune"),
        ({"settings": ("relevanceweight=1",)}, "did you mean 'relevance_weight'"),
        ({"settings": ("border=1",)}, "among the numbers of energy_swap is no 'border'"),
        ({"settings": ("per_class=1.5",)}, "per_class=1.5, expected a whole number from 1 up"),
        ({"settings": ("num_classes=9",)}, "num_classes=9, but there are 4 classes"),
        (
            {"settings": ("num_classes=1",), "split.classes": ("ant",)},
            "num_classes, but config.split.classes names",
        ),
        ({"train.trained": "attention"}, "trained='attention' names no parameter; there are: "),
        ({"settings": ("background_weight",)}, "expected 'background_weight=4'"),
        ({"seeds": (0, 0)}, "config.seeds: .*no two alike"),
        ({"dtype": "bfloat16"}, "config.dtype: no 'bfloat16'"),
        ({"train.dtype": "float16"}, "config.train.dtype: no 'float16'"),
        ({"train.augmentation": "none"}, "augmentation: no 'none'"),
        ({"split.by": "size"}, "split.by"),
        ({"evaluate.alphas": (1.5,)}, "config.evaluate.alphas: got 1.5"),
        ({"noise.norms": ("l1",)}, "noise.norms"),
        ({"models": ()}, "config.models: .*at least one"),
        ({"head": "imagenet"}, "needs ImageNet's 1000"),
        ({"shifted.root": "DATA", "shifted.split": "train"}, "photos are in both"),
        ({"evaluate.method": "gradcam@nowhere"}, r"config.evaluate.method: gradcam@nowhere of "),
    ],
)
def test_settings_that_cannot_be_run_are_named(folder, tmp_path, changes, text):
    changed = {k: str(folder / "data") if v == "DATA" else v for k, v in changes.items()}
    with pytest.raises(ValueError, match=text):
        run_in(tmp_path, config(folder, **changed))
    assert not list(tmp_path.rglob("*.parquet"))


class TestBadFiles:
    """Named before anything is trained."""

    @pytest.fixture
    def broken(self, folder, tmp_path):
        shutil.copytree(folder / "data", tmp_path / "data")
        return tmp_path

    def refused(self, folder, broken, text, **changes):
        c = config(folder, **changes)
        c.data.root = str(broken / "data")
        with pytest.raises(ValueError, match=text):
            run_in(broken / "run", c)
        assert not (broken / "run" / "models").exists()

    def test_an_image_without_mask(self, folder, broken):
        (broken / "data" / "train" / "masks" / "bee" / "a2.png").unlink()
        self.refused(folder, broken, "photo bee/a2.png has no mask masks/bee/a2")

    def test_a_mask_without_image(self, folder, broken):
        (broken / "data" / "train" / "images" / "bee" / "a2.png").unlink()
        self.refused(folder, broken, "mask bee/a2.png has no photo images/bee/a2")

    def test_an_empty_mask(self, folder, broken):
        for i in range(7):
            file = broken / "data" / "train" / "masks" / "ant" / f"a{i}.png"
            Image.fromarray(np.zeros((16, 16), np.uint8)).save(file)
        self.refused(folder, broken, r"mask ant/a\d.png is 0 of 256 pixels")

    def test_two_ids_in_a_mask(self, folder, broken):
        for file in (broken / "data").glob("*/masks/*/*.png"):
            mask = np.asarray(Image.open(file)) > 0
            coded = np.zeros((16, 16, 3), np.uint8)
            coded[mask] = (7, 1, 0)
            if file.parent.name == "bee" and file.parent.parent.parent.name == "train":
                coded[0, 0], coded[15, 15] = (7, 1, 0), (8, 1, 0)
            Image.fromarray(coded).save(file)
        c = {"data.masked_folder": config(folder).data.masked_folder}
        c["data.masked_folder"].mask_format = "imagenet_s"
        self.refused(folder, broken, r"bee/a\d.png .*(263|264)", **c)

    def test_a_network_of_other_classes(self, folder, broken):
        cases.save_one_block(broken / "other", classes=7)
        self.refused(folder, broken, "has 7 outputs", models=(str(broken / "other"),))

    def test_the_folder_of_another_run(self, folder, finished, broken):
        c = config(folder, variants=VARIED, seeds=(0, 1), **{"train.epochs": 9})
        with pytest.raises(ValueError, match=r"another config \(train.epochs: 2 there, 9 now\)"):
            run_in(finished.path, c)


def test_published_hyper_parameters(shared):
    file = shared / "reference" / "published" / "robustvit_hyperparameters.csv"
    lines = file.read_text().splitlines()
    rows = [row for row in csv.DictReader(lines) if row["source"] == "author_readme"]
    assert len(rows) == 7
    for row in rows:
        c = config_of("finetune", row["model"])
        got = (c.train.learning_rate, c.loss.temperature, c.train.epochs, c.train.batch)
        want = (row["lr"], row["temperature"], row["epochs"], row["batch_size"])
        assert got == tuple(map(float, want))
        weights = ("relevance", "classification", "background", "foreground")
        assert [c.loss[f"{name}_weight"] for name in weights] == [
            float(row[f"lambda_{name}"]) for name in weights
        ]
        decay = (c.train.weight_decay, c.train.rate_factor, c.train.rate_every, c.train.decayed)
        want = (row["weight_decay"], row["lr_decay"], row["lr_decay_every_epochs"])
        assert decay == (*map(float, want), "all")
        assert (c.loss.border, c.split.num_classes, c.split.per_class) == ("released", 500, 3)


def test_the_table_by_hand(tmp_path):
    networks = [
        Network("original", "original", None, 1.0, ("a",), {}),
        Network("x_seed0", "x", 0, 1.0, ("a",), {}),
        Network("x_seed1", "x", 1, 1.0, ("b",), {}),
    ]
    images = {"example": ["a0", "a1", "b0", "b1"], "label": ["a", "a", "b", "b"]}
    correct = np.array([[0, 1, 1], [0, 0, 1], [1, 1, 1], [0, 1, 1]], np.float32)
    files = {}

    def write(name, rows):
        files[name] = tmp_path / f"{len(files)}.parquet"
        row_files.write([pa.table(rows)], files[name], files[name].name)

    for place, one in enumerate(networks):
        told = {"model": [one.name] * 4, "test": ["t"] * 4, **images}
        told |= dict.fromkeys(("correct", "probability", *measures.MAPS), correct[:, place])
        write(f"{one.name}/t", told)
        told = {name: 2 * words for name, words in images.items()} | {"model": [one.name] * 8}
        told |= {"norm": ["linf"] * 8, "level": ["0.1"] * 8}
        told["region"] = ["foreground"] * 4 + ["background"] * 4
        write(f"{one.name}/linf_0.1", {**told, "correct": [0.0] * 4 + [float(place > 0)] * 4})
    files["x_seed0/training"] = tmp_path / "none.parquet"
    found = measures.results(files, networks, ["t"], ("a", "b"), resamples=20)
    found = found.where(variant="x")

    def at(measure, contrast="", **wanted):
        row = found.one(measure=measure, contrast=contrast, **{**WHOLE, **wanted})
        return pytest.approx(row["estimate"])

    assert [at("accuracy", seed=seed) for seed in (0, 1)] == [0.75, 1]
    for name in ("accuracy", "probability", *measures.MAPS):
        assert (at(name), at(name, measures.GAIN)) == (0.875, 0.625)
    # Seed 0: a is 1/2 with masks; seed 1: b is 1. The original: 0 on a, 1/2 on b.
    assert [at("accuracy", set=one) for one in "AB"] == [0.75, 1]
    assert at("accuracy", measures.GAIN, set="A") == 0.5
    assert at("accuracy", measures.GAIN, set="B") == 0.75
    assert at("accuracy", measures.GAIN, **{"class": "a"}) == 0.75
    assert (at("rfs"), at("rfs", measures.GAIN), at("rfs", seed=1)) == (1, 1, 1)
    assert (at("accuracy_fg"), at("accuracy_bg")) == (0, 1)
    assert found.one(measure="accuracy", contrast="", **{**WHOLE, "set": "A"})["images"] == 2


def test_a_network_that_is_not_as_it_was_kept_is_named(finished, tmp_path):
    card = finished.read_json("networks.json")[1]
    gone = tmp_path / "models" / "0" / "x_seed0_best"
    with pytest.raises(FileNotFoundError, match=r"is gone.*delete .*rows/x_seed0 to train"):
        trainings.kept(gone)
    kept = Path(card["best"])
    shutil.copytree(kept, gone)
    for file in kept.parent.glob(f"{kept.name}.*"):
        shutil.copy(file, gone.parent / file.name.replace(kept.name, gone.name))
    assert trainings.kept(gone)["params"]
    with (gone / "model.safetensors").open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"\x7f")
    with pytest.raises(ValueError, match=r"not as it was written.*delete .*rows/x_seed0 to train"):
        trainings.kept(gone)


def test_the_dry_run_prints_the_cost(folder, capsys):
    console = Console(width=200)
    runner.dry_run(study.Experiment(config(folder), console), console)
    said = capsys.readouterr().out
    assert "energy_swap: 16 images in 1 trainings" in said
    assert "nothing was run" in said


def test_a_step_of_the_networks_own_outputs(folder, monkeypatch):
    """Classes of one ImageNet output each are trained as that output."""
    members = np.eye(4, 6)[::-1] > 0
    monkeypatch.setattr(trainings.head_context, "context", lambda *args: None)
    monkeypatch.setattr(trainings.imagenet, "check", lambda model, context: members)
    c = config(folder)
    c.unlock()
    c.head = "imagenet"
    model, _ = models.load(str(folder / "tiny"))
    headed = dataclasses.replace(model, name="headed")
    examples = types.SimpleNamespace(classes=CLASSES)
    subject = Subject.__new__(Subject)
    vars(subject).update(config=c, first_examples=lambda: examples)
    loaded = Loaded(headed, {}, Geometry((16, 16)), "", lambda: None, {})
    trained, labels = trainings.outputs(subject, model, loaded)
    assert (trained, labels.tolist()) == (model, [3, 2, 1, 0])
    c.outputs = "head"
    assert trainings.outputs(subject, model, loaded)[0] == headed
    c.outputs, members[0] = "own", True
    with pytest.raises(ValueError, match="class ant is several of ImageNet's classes"):
        trainings.outputs(subject, model, loaded)


def test_names_that_do_harm_are_text_on_page_and_console(finished, folder, tmp_path):
    classes = dict(zip(CLASSES, NAMES, strict=False))
    place = renamed(finished.path, tmp_path / "run", classes)
    picture, flat = np.zeros((8, 8, 3), np.uint8), np.zeros((8, 8))
    seen = [(flat, name) for name in NAMES[:2]]
    shown = [("p", NAMES[5], picture, picture[..., 0], seen)]

    def write(run, console):
        files = {name: run.path / path for name, path in run.read_json("units.json").items()}
        networks = [
            Network(card["name"], card["variant"], card["seed"], card["alpha"], tuple(masked), {})
            for card in run.read_json("networks.json")
            for masked in [card["masked"]]
        ]
        told = (run.read_json("data.json")["classes"], run.config["statistics"])
        tests = ("as trained", "decorrelated")
        results = measures.results(files, networks, tests, told[0], **told[1])
        losses = measures.losses([path for name, path in files.items() if "/training" in name])
        settled = config(folder, variants=VARIED, seeds=(0, 1))
        write_document(
            run, console, page(frozen(settled), results, networks, losses, lambda: shown)
        )

    reported(place, write)
