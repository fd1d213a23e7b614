import json
import signal

import jax
import numpy as np
import pytest
from scipy import special

from rival_jax.changes import TREATMENTS
from rival_jax.configs import typed
from rival_jax.configs.background import Config
from rival_jax.configs.groups import with_singles
from rival_jax.experiments import runner
from rival_jax.experiments import subject as _subject
from rival_jax.experiments.background import study as background
from rival_jax.experiments.subject import Subject
from rival_jax.images import Images, per_image
from rival_jax.named import Axis
from rival_jax.report.document import write_document
from rival_jax.runtime.results import parsed, read_rows
from tests.damaged_runs import NAMES, renamed, reported
from tests.finetune_cases import one_block_study
from tests.helpers import (
    REFERENCE,
    config_of,
    dry_run,
    golden,
    quiet,
    row_bytes,
    run_in,
)  # fmt: skip
from tests.multihost import Forked, restartable

SINGLES = {"m0": ["m0"], "m1": ["m1"]}


def tiny(study, cache, **changes):
    """A config of background that takes seconds: the fixture `study`."""
    config = config_of("background")
    config.models = (str(study / "tiny"),)
    config.head = "own"
    config.data.name = "masked_folder"
    config.data.root = str(study / "data")
    config.statistics.resamples = 50
    config.cache = str(cache)
    with config.unlocked():
        config.update_from_flattened_dict(changes)
    return config


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return one_block_study(tmp_path_factory.mktemp("study"))


@pytest.fixture
def no_figures(monkeypatch):
    """Results alone: drawing takes longer than measuring."""
    monkeypatch.setattr(runner, "write_document", lambda *a: None)


@pytest.fixture(scope="module")
def done(study, tmp_path_factory):
    """A finished run of all treatments."""
    folder = tmp_path_factory.mktemp("background")
    return run_in(folder / "run", tiny(study, folder / "cache"))


def test_golden_figure_8(shared):
    stored = golden(shared, "07g_fig8.npz")
    orders = json.loads((shared / "golden" / "rival10" / "07_orders.json").read_text())
    models, groups = orders["fig8_model_order"], orders["fig8_groups"]
    values = np.stack([stored["acc"], stored["acc_fg_only"]], axis=1)
    axes = (Axis(("model",), tuple((m,) for m in models)), Axis(("kind",), (("all",), ("fg",))))
    bars = per_image(values, axes).grouped("model", groups)
    np.testing.assert_allclose(bars.values, stored["bars"], atol=REFERENCE)


def test_rows_and_summary(done, study):
    run, results = done
    rows = read_rows(run.path / "rows")
    assert rows.num_rows == 15 * (1 + 6 * 2)
    assert set(rows["treatment"].to_pylist()) == {"none", *TREATMENTS}
    mine = [r for r in rows.to_pylist() if (r["treatment"], r["region"]) == ("grey", "background")]
    clean = [r for r in rows.to_pylist() if r["treatment"] == "none"]
    assert all(r["correct"] == (r["predicted"] == r["label"]) for r in rows.to_pylist())
    by_class = lambda rows: np.mean(  # noqa: E731
        [
            np.mean([r["correct"] for r in rows if r["label"] == c])
            for c in {r["label"] for r in rows}
        ]
    )
    grey = results.where(model="tiny", treatment="grey", region="background", contrast="")
    accuracy = grey.one(measure="accuracy")
    assert accuracy["estimate"] == pytest.approx(by_class(mine), abs=1e-6)
    assert (accuracy["images"], accuracy["classes"]) == (15, 3)
    drop = by_class(clean) - by_class(mine)
    assert grey.one(measure="accuracy_drop")["estimate"] == pytest.approx(drop, abs=1e-6)
    probability = grey.one(measure="probability")
    assert probability["low"] <= probability["estimate"] <= probability["high"]
    assert (run.path / "report.html").exists()
    for name in ("fig8", "treatments", "photos"):
        for ending in ("png", "svg", "csv"):
            assert (run.path / "figures" / f"{name}.{ending}").stat().st_size > 0


def test_the_rows_are_those_of_the_pictures_shown(done, study):
    """Logits of the pictures, scored by hand, are the rows."""
    run, _ = done
    config = tiny(study, run.path.parent / "cache")
    subject = Subject(config, quiet())
    loaded = subject.load(str(study / "tiny"))
    examples = subject.examples(loaded.geometry)
    image, mask = (np.float32(x / 255) for x in (examples.images, examples.masks))
    shown = image * (1 - mask[..., None])
    logits, _ = jax.jit(loaded.model.forward)(loaded.variables, shown, {})
    want = special.softmax(logits, axis=1)[np.arange(15), examples.labels]
    rows = [
        r
        for r in read_rows(run.path / "rows").to_pylist()
        if (r["treatment"], r["region"]) == ("black", "foreground")
    ]
    assert [r["example"] for r in rows] == examples.names
    np.testing.assert_allclose([r["probability"] for r in rows], want, atol=REFERENCE)


def test_rows_do_not_depend_on_the_batch_size(done, study, tmp_path, no_figures):
    run, _ = done
    config = tiny(study, tmp_path, batch_size=7)
    config.ablation.treatments = ("shuffle", "swap")
    other, _ = run_in(tmp_path / "run", config)
    keys = ("treatment", "region", "example")
    get = lambda folder: {  # noqa: E731
        tuple(r[k] for k in keys): r["probability"] for r in read_rows(folder / "rows").to_pylist()
    }
    want, got = get(run.path), get(other.path)
    assert len(got) == 15 * 5
    for key, value in got.items():
        assert value == pytest.approx(want[key], abs=REFERENCE), key


def test_a_deleted_unit_comes_back_the_same(done, study, no_figures):
    run, results = done
    before = row_bytes(run.path)
    (gone,) = (run.path / "rows").rglob("own_swap_background*")
    gone.unlink()
    config = tiny(study, run.path.parent / "cache")
    _, again = run_in(run.path, config)
    assert row_bytes(run.path) == before
    assert json.dumps(again.rows) == json.dumps(results.rows)


@pytest.mark.whole
def test_killed_and_restarted_gives_the_same_bytes(done, study, tmp_path, no_figures):
    want = row_bytes(done[0].path)
    script = tmp_path / "again.py"
    script.write_text(
        "import json, os, signal, sys\n"
        "from ml_collections import ConfigDict\n"
        "from rich.console import Console\n"
        "from rival_jax.experiments import background, runner\n"
        "from rival_jax.runtime.results import Run\n"
        "log = Run.log\n"
        "def told(run, event, **about):\n"
        "    log(run, event, **about)\n"
        "    if 'shuffle' in about.get('unit', ''):\n"  # whose rows depend on the seed
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "Run.log = told\n"
        "config = ConfigDict(json.load(open(sys.argv[1])), convert_dict=True)\n"
        "console = Console(quiet=True)\n"
        "run = Run(sys.argv[2], config.to_dict())\n"
        "runner.run(background.Experiment(config, console), run, console)\n"
    )
    command, log = [script, done[0].path / "config.json", tmp_path / "k"], tmp_path / "log.txt"
    assert Forked(command, log, restartable(tmp_path)).wait() == -signal.SIGKILL, log.read_text()
    assert 0 < len(row_bytes(tmp_path / "k")) < len(want)
    run_in(tmp_path / "k", tiny(study, done[0].path.parent / "cache"))
    got = row_bytes(tmp_path / "k")
    assert {name: got[name] for name in want} == want


def test_heads_fitted_on_grey_backgrounds_are_a_second_head(
    study, tmp_path, monkeypatch, no_figures
):
    """Train and test are one folder here, which `Subject` refuses: so the split is forged."""
    config = tiny(study, tmp_path, head="probe")
    config.probe.recipe, config.probe.epochs = "study", 2
    config.ablation.treatments = ("grey",)
    config.ablation.regions = ("background",)
    source = _subject.source_of

    def renamed(place, split, **options):
        found = source(place, split, **options)
        if split == "train":
            found.names = [f"train/{name}" for name in found.names]
        return found

    monkeypatch.setattr(_subject, "source_of", renamed)
    run, results = run_in(tmp_path / "run", config)
    heads = [card["head"] for card in run.read_json("models.json")]
    assert heads[0].count("photos with a grey background") == 1
    grey = results.where(model="tiny", treatment="grey", region="background")
    levels = grey.where(measure="accuracy", contrast="")
    assert levels.of("head") == ["normal", "grey"]
    both = [levels.one(head=head)["estimate"] for head in ("normal", "grey")]
    gain = grey.one(measure="accuracy", contrast="minus normal")
    assert gain["head"] == "grey"
    assert gain["estimate"] == pytest.approx(both[1] - both[0], abs=1e-6)
    clean = results.where(model="tiny", measure="probability", treatment="none", contrast="")
    assert clean.one(head="normal")["estimate"] != clean.one(head="grey")["estimate"]


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("ablation.treatments", ("gray",), "config.ablation.treatments: no 'gray'; did you mean"),
        ("ablation.treatments", ("grey", "grey"), "config.ablation.treatments: .*no two alike"),
        ("ablation.regions", ("object",), "config.ablation.regions: no 'object'"),
        ("ablation.blur", 0.0, "config.ablation.blur: got 0.0, expected a number above 0"),
        ("ablation.grey", 2.0, "config.ablation.grey: got 2.0, expected a number from 0 to 1"),
        ("probe.regions", ("background",), "config.probe.regions: no 'background'"),
        ("groups", ("A=tinny",), "group 'A' names tinny; the models are tiny"),
        ("groups", ("tiny",), "expected 'name=model,model'"),
    ],
)
def test_bad_values_stop_before_any_work(study, tmp_path, key, value, message):
    with pytest.raises(ValueError, match=message):
        run_in(tmp_path / "run", tiny(study, tmp_path, **{key: value}))
    assert not list((tmp_path / "run").rglob("*.parquet"))


def test_dry_run_prints_the_cost_and_runs_nothing(study, tmp_path):
    assert "15 images x 13 = 195 forwards" in dry_run(tiny(study, tmp_path))


def forged(rng, models=2, n=12):
    """Images of invented networks under grey of either region."""
    settings = (("none", "none"), ("grey", "background"), ("grey", "foreground"))
    names = tuple((f"m{i}",) for i in range(models))
    axes = (
        Axis(("example",), tuple((str(i),) for i in range(n))),
        Axis(("model",), names),
        Axis(("head",), (("own",),)),
        Axis(("treatment", "region"), settings),
    )
    values = rng.random((2, n, models, 1, 3))
    columns = zip(("correct", "probability"), values, strict=True)
    found = {name: per_image(some, axes) for name, some in columns}
    return Images(found, np.arange(n) % 3, ("a", "b", "c"))


def test_differences_and_regions_are_paired():
    found = forged(np.random.default_rng(0))
    for one in found.values.values():
        one.values[:, 1] = one.values[:, 0]
    results = background.STUDY.results(found, SINGLES, resamples=100, method="percentile")
    drops = results.where(measure="accuracy_drop", contrast="minus m0")
    assert len(drops) == 2
    for drop in drops:  # the same model twice: what was not seen may differ
        assert (drop["estimate"], drop["p"]) == (pytest.approx(0, abs=1e-7), 1)
        assert drop["low"] < 0 < drop["high"] < 1
    found = forged(np.random.default_rng(0))
    plain = background.STUDY.results(found, {"G": ["m0", "m1"]}, resamples=100)
    drops = plain.where(model="m0", measure="accuracy_drop")
    gap = [drops.one(region=r, contrast="")["estimate"] for r in ("foreground", "background")]
    got = drops.one(contrast="foreground minus background")["estimate"]
    assert got == pytest.approx(gap[0] - gap[1], abs=1e-6)
    levels = plain.where(measure="accuracy", treatment="grey", region="background", contrast="")
    each = [levels.one(model=m)["estimate"] for m in ("m0", "m1")]
    assert levels.one(group="G")["estimate"] == pytest.approx(np.mean(each), abs=1e-6)


def test_presets_hold_the_protocols():
    clean, paper, released = (config_of("background", p) for p in ("clean", "paper", "released"))
    assert (paper.data.mask, released.data.mask, clean.data.mask) == ("binary", "soft", "binary")
    assert released.probe.batch_norm == "drifting"
    assert (paper.probe.batch_norm, released.probe.select) == ("frozen", "test")
    assert tuple(released.ablation.treatments) == ("grey",)
    assert set(clean.ablation.treatments) == set(TREATMENTS)


def test_names_that_do_harm_are_text_on_page_and_console(done, tmp_path):
    folder = done[0].path
    classes = dict(zip(("class0", "class1", "class2"), NAMES, strict=False))
    renamed(folder, tmp_path / "run", {**classes, "tiny": "[/red]$_\x1b"})

    def write(run, console):
        paths = sorted((run.path / "rows").rglob("*.parquet"))
        found = background.STUDY.read(paths, parsed(run.path / "data.json")["classes"])
        models = found.values["correct"].of("model")
        results = background.STUDY.results(found, with_singles(models, {}), resamples=20)
        picture = dict.fromkeys(NAMES, np.zeros((8, 8, 3), np.uint8))
        results.write(run.path)
        shown = lambda: [("p", "$a_b$", picture)]  # noqa: E731
        write_document(run, console, background.page(typed(Config, run.config), results, shown))

    assert "[/red]$_\\x1b" in reported(tmp_path / "run", write)
