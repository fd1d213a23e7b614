import functools
import json
import shutil
import time
from pathlib import Path
from unittest.mock import ANY

import jax
import jax.numpy as jnp
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from rival_jax import models, noise, noise_trials
from rival_jax.experiments import runner
from rival_jax.experiments import subject as _subject
from rival_jax.experiments.rfs import joined
from rival_jax.experiments.rfs import study as rfs
from rival_jax.experiments.rfs.examples import noised_pictures
from rival_jax.experiments.rfs.measures import STUDY
from rival_jax.experiments.rows import clean_answers
from rival_jax.report.results import Results
from rival_jax.runtime import footprint, parallel
from rival_jax.runtime.plans import Plans
from rival_jax.runtime.results import Run, read_rows
from tests.finetune_cases import one_block_study
from tests.helpers import (
    QUICKLY,
    REFERENCE,
    dry_run,
    frozen,
    golden,
    held,
    nhwc,
    quiet,
    row_bytes,
    tiny_rfs,
)  # fmt: skip
from tests.multihost import Forked, restartable


def leave_out_reports(patch):
    patch.setattr(rfs.Experiment, "report", lambda *args: (Results([]), None))
    patch.setattr(runner, "write_document", lambda *args: None)


@pytest.fixture(autouse=True)
def no_report(monkeypatch):
    """Results and figures have their own tests."""
    leave_out_reports(monkeypatch)


def run_in(folder: Path, config, **options):
    run = Run(folder, config.to_dict(), **options)
    runner.run(rfs.Experiment(config, quiet()), run, quiet())
    return run


def sorted_rows(run: Run):
    keys = ["norm", "level", "region", "example", "trial"]
    return read_rows(run.path / "rows").sort_by([(key, "ascending") for key in keys])


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return one_block_study(tmp_path_factory.mktemp("study"))


@pytest.fixture(scope="module")
def undisturbed(study, tmp_path_factory) -> Run:
    """A finished run of `tiny_rfs` that others are compared with; those that add to it copy it."""
    folder = tmp_path_factory.mktemp("rfs")
    with pytest.MonkeyPatch.context() as patch:
        leave_out_reports(patch)
        return run_in(folder / "run", tiny_rfs(study, folder))


def copied(run: Run, folder: Path) -> Path:
    return shutil.copytree(run.path, folder, ignore=shutil.ignore_patterns(".lock"))


def test_a_finished_run_is_reported_again_only_for_pdf(study, undisturbed, tmp_path, monkeypatch):
    told = []
    monkeypatch.setattr(runner, "write_document", lambda *_: told.append("written"))
    monkeypatch.setattr(runner, "shown_again", lambda *_: told.append("shown"))
    monkeypatch.setattr(Run, "finished", lambda _: True)
    config = tiny_rfs(study, undisturbed.path.parent)
    run = Run(copied(undisturbed, tmp_path / "again"), config.to_dict())
    for folder in (None, tmp_path / "paper"):
        run.pdf = folder
        runner.run(rfs.Experiment(config, quiet()), run, quiet())
    assert told == ["shown", "written"]


@pytest.mark.parametrize("network", ["resnet", "vit"])
@pytest.mark.parametrize("norm", held(["linf", "l2"], left_out=["l2"]))
def test_golden_end_to_end_from_the_stored_noise(shared, tmp_path, monkeypatch, network, norm):
    stored = golden(shared, "03_noise_e2e_inputs.npz")
    want = golden(shared, f"03_noise_e2e_{network}.npz")
    model, variables = load_golden(shared, tmp_path, network)
    images, labels = nhwc(stored["images"]), stored["labels"].astype(np.int32)
    units = jnp.asarray(nhwc(stored["noise"]))  # [sigma, trial, sample, h, w, 3]
    # noise_id is the row here and the key the level's number, so that the stored tensor can be
    # handed out by level, trial and image.
    monkeypatch.setattr(noise, "gaussian", lambda key, ids, trial, shape: units[key, trial][ids])
    sides = ("foreground", "background")
    sweep = noise_trials.Sweep(norm, sides, units.shape[1], 3, binary_mask=False, draws="shared")
    batch = {
        "image": images,
        "mask": stored["masks"][:, 0],
        "label": labels,
        "noise_id": np.arange(len(labels), dtype=np.uint32),
    }
    clean = QUICKLY(functools.partial(clean_answers, model.forward))(variables, batch)
    noisy = QUICKLY(functools.partial(noise_trials.noise_trials, model.forward, sweep))
    levels = stored["linf_sigma" if norm == "linf" else "l2_eps"]
    for i, level in enumerate(levels):
        got = noisy(variables, batch, i, level.item())
        for region, suffix in enumerate(("fg", "bg")):
            probability = np.asarray(got["probability"])[..., region].mean(1)
            expected = want[f"{norm}_ptrue_noisy_{suffix}"][i]
            np.testing.assert_allclose(probability, expected, atol=REFERENCE)
            correct = np.asarray(got["correct"])[..., region].mean(1)
            by_class = [correct[labels == c].mean() for c in range(10)]
            np.testing.assert_allclose(by_class, want[f"{norm}_acc_noisy_{suffix}"][i], atol=1e-7)
        expected = want[f"{norm}_ptrue_clean"][i]
        np.testing.assert_allclose(clean["probability"], expected, atol=REFERENCE)
        by_class = [np.asarray(clean["correct"])[labels == c].mean() for c in range(10)]
        np.testing.assert_array_equal(by_class, want[f"{norm}_acc_clean"][i].astype(float))


def load_golden(shared: Path, folder: Path, network: str):
    """The stored network through the same door as anybody's checkpoint."""
    file = shared / "golden" / "rival10" / f"03_noise_e2e_{network}.safetensors"
    (folder / network).mkdir()
    shutil.copy(file, folder / network / "model.safetensors")
    config = {
        "architecture": network,
        "pretrained_cfg": {"input_size": [3, 32, 32], "mean": [0, 0, 0], "std": [1, 1, 1]},
    }
    config |= {"model_args": {"num_heads": 4}} if network == "vit" else {}
    (folder / network / "config.json").write_text(json.dumps(config))
    return models.load(str(folder / network))


@pytest.mark.parametrize(
    ("batch_size", "devices", "norms"),
    [(1, 1, ("linf", "l2")), (7, 2, ("linf", "l2")), (32, 4, ("linf",)), (4, 4, ("l2",))],
)
def test_rows_do_not_depend_on_batches_or_devices(
    study, undisturbed, tmp_path, monkeypatch, batch_size, devices, norms
):
    config = tiny_rfs(study, tmp_path)
    config.noise.norms = norms
    reference = sorted_rows(undisturbed)
    kept = pc.is_in(reference["norm"].cast(pa.string()), pa.array(["none", *norms]))
    reference = reference.filter(kept)
    mesh = parallel.data_mesh(jax.devices()[:devices])
    monkeypatch.setattr(parallel, "data_mesh", lambda: mesh)
    config.batch_size = batch_size
    rows = sorted_rows(run_in(tmp_path / "other", config))
    levels = sum({"linf": 2, "l2": 1}[norm] for norm in norms)
    assert rows.num_rows == reference.num_rows == 15 * (1 + levels * 4 * 2)
    for name in ("example", "region", "norm", "level", "trial", "correct"):
        assert rows[name].to_pylist() == reference[name].to_pylist(), name
    np.testing.assert_allclose(rows["probability"], reference["probability"], atol=REFERENCE)
    assert np.std(reference["probability"].to_numpy()) > 1e-3


def test_progress_counts_every_forward(undisturbed):
    events = [
        json.loads(line) for line in (undisturbed.path / "log.jsonl").read_text().splitlines()
    ]
    assert [event["seconds_left"] for event in events if event["event"] == "unit"][-1] == 0


def test_rows_do_not_depend_on_order(study, undisturbed, tmp_path, monkeypatch):
    config = tiny_rfs(study, tmp_path)
    reference = sorted_rows(undisturbed)
    load = _subject.data.load

    def shuffled(*args, **options):
        source = load(*args, **options)
        order = np.random.default_rng(1).permutation(len(source))
        return Shuffled(source, order)

    monkeypatch.setattr(_subject.data, "load", shuffled)
    rows = sorted_rows(run_in(tmp_path / "other", config))
    assert rows["example"].to_pylist() == reference["example"].to_pylist()
    np.testing.assert_allclose(rows["probability"], reference["probability"], atol=REFERENCE)
    assert rows["correct"].to_pylist() == reference["correct"].to_pylist()


class Shuffled:
    def __init__(self, source, order):
        self.source, self.order = source, order
        self.classes, self.class_wnids = source.classes, source.class_wnids
        self.names = [source.names[i] for i in order]
        self.labels = source.labels[order]

    def __len__(self):
        return len(self.order)

    def __getitem__(self, i):
        return self.source[int(self.order[i])]


def test_a_second_run_computes_nothing_and_a_new_level_only_itself(
    study, undisturbed, tmp_path, monkeypatch
):
    config = tiny_rfs(study, undisturbed.path.parent)
    before = row_bytes(undisturbed.path)
    copied(undisturbed, tmp_path / "run")
    calls = []
    map_examples = parallel.map_examples
    monkeypatch.setattr(
        parallel, "map_examples", lambda *a, **k: calls.append(1) or map_examples(*a, **k)
    )
    assert row_bytes(run_in(tmp_path / "run", config).path) == before
    assert not calls
    config.noise.sigmas = (0.1, 0.4, 0.7)
    run = run_in(tmp_path / "run", config, extend=True)
    assert len(calls) == 1
    after = row_bytes(run.path)
    assert len(after) == len(before) + 1
    assert {name: after[name] for name in before} == before


@pytest.mark.parametrize("trials", [3, 6])
def test_another_number_of_trials_extends_a_run(study, undisturbed, tmp_path, trials):
    config = tiny_rfs(study, undisturbed.path.parent)
    config.noise.trials, config.noise.norms = trials, ("l2",)
    run = run_in(copied(undisturbed, tmp_path / "run"), config, extend=True)
    (added,) = set(row_bytes(run.path)) - set(row_bytes(undisturbed.path))
    rows = read_rows(next(run.path.rglob(added)))
    assert sorted(set(rows["trial"].to_pylist())) == list(range(trials))
    assert rows.num_rows == 15 * trials * 2
    reference = sorted_rows(undisturbed)
    reference = reference.filter(pc.equal(reference["norm"].cast(pa.string()), "l2"))
    keys = [(key, "ascending") for key in ("region", "example", "trial")]
    got, want = (
        table.filter(pc.less(table["trial"], min(trials, 4))).sort_by(keys)
        for table in (rows, reference)
    )
    assert got["correct"].to_pylist() == want["correct"].to_pylist()
    np.testing.assert_allclose(got["probability"], want["probability"], atol=REFERENCE)


def test_killed_at_random_moments_and_restarted_gives_the_same_bytes(study, undisturbed, tmp_path):
    want, folder = row_bytes(undisturbed.path), tmp_path / "killed"
    script = tmp_path / "again.py"
    script.write_text(
        "import sys\n"
        "from rich.console import Console\n"
        "from ml_collections import ConfigDict\n"
        "import json\n"
        "from rival_jax.experiments import rfs, runner\n"
        "from rival_jax.runtime.results import Run\n"
        "config = ConfigDict(json.load(open(sys.argv[1])), convert_dict=True)\n"
        "console = Console(quiet=True)\n"
        "experiment = rfs.Experiment(config, console)\n"
        "runner.run(experiment, Run(sys.argv[2], config.to_dict()), console)\n"
    )
    command = [script, undisturbed.path / "config.json", folder]
    env, random = restartable(tmp_path), np.random.default_rng()

    for name in ("clean*", "linf*"):  # rows under noise, too, are a killed process's
        process = Forked(command, tmp_path / "log.txt", env)
        while process.poll() is None and not list((folder / "rows").rglob(name)):
            time.sleep(0.01)
        time.sleep(random.uniform(0, 0.5))
        process.kill()
        process.wait()
    assert list((folder / "rows").rglob("linf*"))
    run_in(folder, tiny_rfs(study, undisturbed.path.parent))
    got = {p.name: p.read_bytes() for p in (folder / "rows").rglob("*.parquet")}
    assert {name for name in got if not name.startswith(".partial")} == set(want)
    assert all(got[name] == want[name] for name in want)


def test_the_batch_size_picked_is_recorded_and_reused(study, undisturbed, tmp_path, monkeypatch):
    config = tiny_rfs(study, undisturbed.path.parent)
    run = Run(copied(undisturbed, tmp_path / "run"), config.to_dict())
    picked = run.read_json("plans.json")
    plan = {"images": pytest.approx(16, abs=12), "trials": 4, "flops": ANY, "devices": 4}
    plan |= {"for": ANY, "check": ANY}
    assert picked == {"tiny": plan}
    monkeypatch.setattr(footprint, "memory_budget", lambda device: 1)
    for path in (run.path / "rows").rglob("linf*"):
        path.unlink()
    seen = []
    batches = _subject.data.Examples.batches
    monkeypatch.setattr(
        _subject.data.Examples,
        "batches",
        lambda self, size, **how: seen.append(size) or batches(self, size, **how),
    )
    run_in(tmp_path / "run", config)
    assert picked["tiny"]["images"] in seen
    assert run.read_json("plans.json") == picked


@pytest.mark.parametrize(("devices", "images"), [(4, 12), (8, 24), (1, 3), (3, 9)])
def test_a_plan_on_other_devices_keeps_the_images_of_each(tmp_path, devices, images):
    run = Run(tmp_path, {})
    Plans(run, 4).of("a", lambda: {"images": 12})
    again = Plans(run, devices).of("a", lambda: pytest.fail("picked again"))
    assert again["images"] == images


def test_a_plan_is_picked_anew_for_other_settings_and_kept_for_the_same(tmp_path):
    def of(trials, images=8, **config):
        run = Run(tmp_path, {"batch_size": "auto", **config}, extend=True)
        return Plans(run, 1).of("a", lambda: {"images": images, "trials": trials}, trials=trials)

    assert of(2)["trials"] == 2
    assert [of(trials)["trials"] for trials in (3, 6, 5, 10)] == [3, 6, 5, 10]
    assert of(10, images=9)["images"] == 8
    assert of(10, images=9, batch_size=9)["images"] == 9
    assert of(10, images=7, batch_size=9, dtype="bfloat16")["images"] == 7


@pytest.mark.parametrize(
    "damaged", [b"", b"{", b"[]", b"\xff", b'{"a": 3}', b'{"a": {"images": 3}}', None]
)
def test_damaged_plans_are_picked_anew_and_said(tmp_path, damaged):
    run = Run(tmp_path, {})
    Plans(run, 1).of("a", lambda: {"images": 12})
    file = tmp_path / "plans.json"
    before = file.read_text()
    file.write_bytes(before.replace("12", "13").encode() if damaged is None else damaged)
    said = []
    plan = Plans(Run(tmp_path, {}, say=said.append), 1).of("a", lambda: {"images": 12})
    assert plan["images"] == 12
    assert file.read_text() == before
    assert "plans.json is damaged" in said[0]


@pytest.mark.parametrize("budget", [1, 1 << 20, 1 << 34])
def test_any_memory_budget_gives_the_same_rows(study, undisturbed, tmp_path, monkeypatch, budget):
    config = tiny_rfs(study, tmp_path)
    reference = sorted_rows(undisturbed)
    monkeypatch.setattr(footprint, "memory_budget", lambda device: budget)
    rows = sorted_rows(run_in(tmp_path / "other", config))
    assert rows["correct"].to_pylist() == reference["correct"].to_pylist()
    np.testing.assert_allclose(rows["probability"], reference["probability"], atol=REFERENCE)


def test_a_network_that_gives_nan_is_named_and_nothing_is_saved(study, tmp_path, monkeypatch):
    config = tiny_rfs(study, tmp_path)
    load = models.load

    def broken(name, **options):
        model, variables = load(name, **options)
        return model, jax.tree.map(lambda leaf: leaf * jnp.nan, variables)

    monkeypatch.setattr(models, "load", broken)
    with pytest.raises(ValueError, match=r"tiny gives NaN for 15 of 15 images"):
        run_in(tmp_path / "run", config)
    assert not list((tmp_path / "run").rglob("*.parquet"))


def test_whole_image_region_is_an_option(study, tmp_path):
    config = tiny_rfs(study, tmp_path)
    config.noise.regions = ("foreground", "background", "all")
    config.noise.norms = ("linf",)
    rows = sorted_rows(run_in(tmp_path / "run", config))
    assert set(rows["region"].to_pylist()) == {"clean", "foreground", "background", "all"}


def test_finished_rows_are_read_alike_by_the_study_and_joined(undisturbed):
    files = [undisturbed.path / file for file in undisturbed.read_json("units.json").values()]
    classes = undisturbed.read_json("data.json")["classes"]
    found = STUDY.read(files, classes)
    runs = joined.read(undisturbed.path)
    again = STUDY.derived(runs.images.values)
    np.testing.assert_array_equal(runs.images.labels, found.labels)
    for name, one in found.values.items():
        where = {key: place for place, key in enumerate(one.axes[-1].keys)}
        order = [where[key] for key in again[name].axes[-1].keys]
        np.testing.assert_allclose(again[name].values, one.values[..., order], atol=1e-6)
        assert np.std(one.values) > 0, name


def test_a_dry_run_tells_what_a_run_costs(study, tmp_path):
    config = tiny_rfs(study, tmp_path)
    assert f"15 images x {1 + 3 * 4 * 2} = 375 forwards" in dry_run(config)


def test_pictures_are_the_noise_that_was_scored(study, tmp_path):
    config = tiny_rfs(study, tmp_path)
    subject = _subject.Subject(config, quiet())
    name = subject.first_examples().names[3]
    pictures = noised_pictures(frozen(config), subject)
    photo, fg, bg, mask = pictures(name)
    np.testing.assert_array_equal(mask, subject.first_examples().example(3)["mask"])
    assert photo.shape == fg.shape == bg.shape == (16, 16, 3)
    np.testing.assert_array_equal(fg[mask == 0], photo[mask == 0])
    np.testing.assert_array_equal(bg[mask == 255], photo[mask == 255])
    assert (fg != photo).any()
    assert (bg != photo).any()


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("noise.norms", ("linf", "l3"), "config.noise.norms: no 'l3'; did you mean 'l2'"),
        ("noise.regions", ("foreground",), "needs 'foreground' and 'background'"),
        ("noise.sigmas", (0.1, -0.1), "config.noise.sigmas: got -0.1, expected a number above 0"),
        (
            "noise.trials",
            0,
            "config.noise.trials: got 0, expected 'auto' or a whole number from 1 up",
        ),
        ("batch_size", 0, "config.batch_size: got 0"),
        ("batch_size", "many", "config.batch_size: got 'many'"),
        ("data.mask", "hard", "config.data.mask: no 'hard'"),
        ("data.name", "rival", "did you mean 'rival10'"),
        ("models", (), "config.models: .*at least one"),
        ("models", ("scenes/vit_0",), "scenes/vit_00"),
        ("head", "probes", "did you mean 'probe'"),
        ("head", "imagenet", "1000"),
        ("head", "probe", "15 photos are in both 'train' and 'test'"),
        ("dtype", "float8", "float8"),
    ],
)
def test_bad_values_stop_before_any_work(study, tmp_path, key, value, message):
    config = tiny_rfs(study, tmp_path)
    with config.unlocked():
        config.update_from_flattened_dict({key: value})
    with pytest.raises(ValueError, match=message):
        run_in(tmp_path / "run", config)
    assert not list((tmp_path / "run").rglob("*.parquet"))
