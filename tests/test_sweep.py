"""How much labelled data a cure needs."""

import io
import itertools

import pytest
from rich.console import Console

from rival_jax import data
from rival_jax.data.split import split
from rival_jax.experiments.sweep import Experiment, page
from rival_jax.report.results import Results
from tests import finetune_cases as cases
from tests.finetune_cases import run_in


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return cases.make(tmp_path_factory.mktemp("sweep"))


def made(folder, **changes):
    return Experiment(cases.sweep(folder, **changes), Console(file=io.StringIO()))


def test_training_sets_are_nested_and_shown_equally_often(folder):
    work = made(folder).trainings
    assert len(work.jobs) == 2 * 2 * 2
    jobs = {(job.seed, *dict(job.setting.sizes).values()): job for job in work.jobs}
    for seed, classes, photos in itertools.product((0, 1), (2, 3), (1, 3)):
        job = jobs[seed, classes, photos]
        assert (len(job.images.masked), len(job.images.train)) == (classes, classes * photos)
        largest = jobs[seed, 3, 3].images
        assert set(job.images.masked) <= set(largest.masked)
        assert set(job.images.train.names) <= set(largest.train.names)
        batches = list(work.training[job.setting.seen].data(()).train(seed, 0, 0))
        assert sum((batch["index"] >= 0).sum() for batch in batches) == 9
        assert max(batch["index"].max() for batch in batches) < classes * photos
    assert set(jobs[0, 2, 3].images.train.names) != set(jobs[1, 2, 3].images.train.names)
    assert len({str(job.depends_on) for job in work.jobs}) == len(work.jobs)


@pytest.mark.parametrize("by", ["sorted", "seed"])
def test_fewer_are_among_more(by):
    scenes = data.load("scenes", "", "train", per_class=6)
    given = {"validation_per_class": 1, "by": by, "images": "seed"}
    sets = [
        set(split(scenes, 3, num_classes=m, per_class=n, **given).train)
        for m, n in ((1, 1), (1, 4), (3, 4), (5, 5))
    ]
    assert [len(one) for one in sets] == [1, 4, 12, 25]
    assert all(few < more for few, more in itertools.pairwise(sets))


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"settings": ("per_class=2",)}, "sizes are those of config.sizes"),
        ({"sizes.per_class": (3,), "sizes.num_classes": (2,)}, "give several numbers"),
        ({"sizes.per_class": (3, 3)}, "config.sizes.per_class: .*no two alike"),
        ({"sizes.per_class": (1, 30)}, "class .* has 7 images, and 31 are asked for"),
    ],
)
def test_sizes_that_cannot_be_run_are_named(folder, changes, text):
    with pytest.raises(ValueError, match=text):
        made(folder, **changes)


@pytest.mark.parametrize(
    ("highs", "fewer"),
    [((0.05, 0.019, 0.01), 3), ((0.01, 0.03, 0.01), 9), ((0.0, 0.0, 0.05), None)],
)
def test_enough_is_asked_from_the_most_downwards(highs, fewer):
    """The first that is not enough ends it, whatever fewer would say."""
    told = {"margin": 2.0, "test": "shifted"}
    both = {"study": "sweep", "measure": "added", "cure": "a", "num_classes": 5}
    rows = [
        {**both, "per_class": n, "contrast": "27 per_class minus fewer"}
        | {"estimate": 0.0, "low": -0.01, "high": high}
        for n, high in zip((1, 3, 9), highs, strict=True)
    ]
    whole = {**both, "measure": "accuracy", "per_class": 27, "contrast": ""}
    said = page.enough(Results([*rows, whole]), "per_class", told)
    if fewer is None:
        assert "fewer than 27 photos of each are not shown to be enough" in said
        assert "to 9 of each they add 0.0 [-1.0, 5.0] points" in said
    else:
        assert f"{fewer} photos of each are enough on shifted; 27 of each add 0.0" in said


@pytest.mark.whole
def test_one_command_says_how_many_photos(folder, tmp_path):
    run = run_in(tmp_path / "run", cases.sweep(folder))
    found = Results.read(run.path).where(measure="accuracy", test="decorrelated", seed=None)
    found = found.where(**{"class": None, "set": None, "contrast": ""}, cure="cross_entropy")
    sizes = {(row["num_classes"], row["per_class"]): row for row in found}
    assert sorted(sizes) == [(2, 1), (2, 3), (3, 1), (3, 3)]
    assert {key: row["photos"] for key, row in sizes.items()} == {(m, n): m * n for m, n in sizes}
    added = Results.read(run.path).where(study="sweep", test="decorrelated")
    for m in (2, 3):
        row = added.one(num_classes=m, per_class=1, contrast="3 per_class minus fewer")
        more = sizes[m, 3]["estimate"] - sizes[m, 1]["estimate"]
        assert row["estimate"] == pytest.approx(more, abs=1e-6)
        assert row["low"] <= row["estimate"] <= row["high"]
    for name in ("per_class", "num_classes"):
        lines = (run.path / "figures" / f"{name}.csv").read_text().splitlines()
        assert len(lines) == 1 + 4 * 3  # the mean, and two seeds
    text = (run.path / "tables.md").read_text()
    assert "deviation between seeds" in text
