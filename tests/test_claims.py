"""Claims: the published numbers decide them as people did; one's own only where they can."""

import csv
import io
import json
import math
import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from rival_jax.data.rival10 import SYNSETS
from rival_jax.experiments import claims, runner
from rival_jax.experiments.claims import numbers, study, tables
from rival_jax.experiments.claims.definitions import deviation
from rival_jax.experiments.claims.language import Reader
from rival_jax.experiments.claims.numbers import UNKNOWN, Number, number
from rival_jax.experiments.claims.page import FAILS, HOLDS, OPEN, PRESETS, differences
from rival_jax.experiments.claims.runs import Finished, read
from rival_jax.experiments.claims.study import judged
from rival_jax.experiments.claims.values import Index, Measured, Missing, Printed, restricted
from rival_jax.report.results import Results
from rival_jax.runtime.results import Run
from tests.helpers import config_of, run_in

CLAIMS = {claim.id: claim for claim in tables.claims()}
WORD = {"yes": HOLDS, "no": FAILS, "not_available": OPEN, "yes_without_vit_b": OPEN}
# Definitions that no paper prints numbers for; the package's own functions are held against them.
DEFINED = {"R10-030", "R10-031"}
NAN = math.nan
RIVAL10 = ["truck", "car", "plane", "ship", "cat", "dog", "equine", "deer", "frog", "bird"]


def members(paper):
    """A paper's sets as the paper has them."""
    return {name: one.members for name, one in tables.sets(paper).items()}


def row(study, measure, model, estimate, low=NAN, high=NAN, p=NAN, contrast="", **axes):
    told = {"study": study, "measure": measure, "model": model, "contrast": contrast, **axes}
    return {**told, "estimate": estimate, "low": low, "high": high, "p": p}


def write(folder, experiment, rows, config=None, **data):
    """A work directory of a finished run with these results."""
    folder.mkdir(parents=True)
    facts = {"name": "rival10", "split": "test", "classes": RIVAL10, "counts": [1] * 10}
    facts |= {"images": 10, "skipped": [], "fingerprint": "", "notices": [], **data}
    names = list(dict.fromkeys(row["model"] for row in rows if row.get("model"))) or [
        "scenes/vit_00"
    ]
    cards = [{"name": name, "input": "squash to 224 x 224"} for name in names]
    files = {"config": {"experiment": experiment, **(config or {})}, "data": facts, "models": cards}
    for name, value in files.items():
        (folder / f"{name}.json").write_text(json.dumps(value))
    Results({"images": 10, "classes": 10, **row} for row in rows).write(folder)
    return folder


def verdict(claim, *folders, exact=False, networks=()):
    """A claim on the papers' networks in these runs: its verdict, and what is missing."""
    measured = Measured(Index(read([str(f) for f in folders], networks)), exact=exact)
    found = judged(CLAIMS[claim], measured, members(claim[:3]))
    return found, list(measured.missing)


@pytest.fixture
def only(monkeypatch):
    """Has some claims judged alone, so that it takes no time."""
    return lambda *names: monkeypatch.setattr(tables, "claims", lambda: [CLAIMS[n] for n in names])


def published(shared, name):
    with (shared / "reference/published" / name).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def people_said(shared):
    files = ("rival10_claims.csv", "robustvit_claims.csv")
    return {one["id"]: one["holds_in_published"] for f in files for one in published(shared, f)}


def test_printed_numbers_decide_each_claim_as_people_did(shared):
    said = people_said(shared)
    assert said.keys() == CLAIMS.keys()
    for name, claim in CLAIMS.items():
        found = judged(claim, Printed(), members(claim.paper)).word
        assert found == (HOLDS if name in DEFINED else WORD[said[name]]), name


@pytest.mark.parametrize("name", ["RVT-017", "RVT-018"])
def test_claims_with_unreadable_cells_hold_without_that_network(name):
    sets = members("RVT")
    some = {**sets, "BASELINE_MODELS": sets["BASELINE_MODELS"][1:]}
    assert sets["BASELINE_MODELS"][0] == "vit_b"
    assert judged(CLAIMS[name], Printed(), some).word == HOLDS


def test_the_tables_hold_what_was_printed(shared):
    known = Printed().known
    for name, columns in (
        ("robustvit_table1", "dataset metric"),
        ("robustvit_table2", "dataset metric"),
    ):
        for one in published(shared, f"{name}.csv"):
            key = ("acc", *(one[c] for c in ("model", "method", "masks", *columns.split())))
            if one["model"] != "mean_change":
                assert known[key] == one["value"]
    for one in published(shared, "robustvit_table4.csv"):
        assert known["table4", one["model"], one["variant"], one["dataset"]] == one["value"]
    for one in published(shared, "robustvit_table3.csv"):
        assert known["seg", one["model"], one["method"], one["metric"]] == one["value"]


def as_results(shared):
    """Tables 1 to 4 as rows of robustness and segmentation."""
    sets = {"imagenet_val": "imagenet", "si_location": "siscore kind=location"}
    sets |= {"si_rotation": "siscore kind=rotation", "si_size": "siscore kind=area"}

    def accuracy(model, one):
        where, five = one["dataset"], "_5" * (one["metric"] == "top5")
        protocol = ("first" if where == "objectnet" else "full") + five
        axes = {"set": sets.get(where, where), "protocol": protocol, "average": "micro"}
        return row("robustness", "accuracy", model, float(one["value"]) / 100, **axes)

    def named(one):
        after = f" {one['method']} {one['masks']}"
        return one["model"] + after * (one["method"] != "original")

    one_to_two = published(shared, "robustvit_table1.csv") + published(
        shared, "robustvit_table2.csv"
    )
    rows = [accuracy(named(one), one) for one in one_to_two if one["model"] != "mean_change"]
    for one in published(shared, "robustvit_table4.csv"):
        if one["variant"] not in ("original", "ours"):
            rows.append(accuracy(f"{one['model']} {one['variant']} annotated", one))
    seg = [
        row(
            "segmentation",
            one["metric"],
            named({**one, "masks": "annotated"}),
            float(one["value"]) / 100,
            method="relevance",
            **({} if one["metric"] == "map" else {"rule": "mean"}),
        )
        for one in published(shared, "robustvit_table3.csv")
    ]
    return rows, seg, [*sets.values(), "imagenet_v2", "imagenet_a", "imagenet_r", "objectnet"]


def test_printed_numbers_as_results_are_read_by_the_same_filters(shared, tmp_path):
    rows, seg, sets = as_results(shared)
    runs = [
        write(tmp_path / "a", "robustness", rows, {"sets": sets, "models": []}, name="imagenet"),
        write(tmp_path / "b", "segmentation", seg, name="imagenet"),
    ]
    runs = read([str(run) for run in runs], ())
    said, index, decided = people_said(shared), Index(runs), 0
    for name, claim in CLAIMS.items():
        of_print = any(
            word in claim.relation for word in ("printed_", "table4", "with_baselines", "_size")
        )
        if claim.needs in ("robustness", "segmentation") and claim.relation and not of_print:
            measured = Measured(index, exact=True)
            found = judged(claim, measured, members("RVT"))
            assert found.word == WORD[said[name]], name
            assert found.word != OPEN or measured.missing
            decided += found.word != OPEN
    assert decided == 35
    beside = claims.page.printed_table(study.theirs(runs))
    own = {line[0]: line for line in beside.rows}
    assert own["acc vit_b original none objectnet top1"][2:5] == ("35.1", "35.1", "+0")
    assert own["table4 deit_b no_background si_size"][4] == "+0"
    assert len(own) == 370 - 24 + 186 + 42 + 144


def test_intervals_decide_and_an_interval_around_the_threshold_does_not(tmp_path):
    def at(estimate, low, high):
        rows = [
            row("rfs", "rfs_of_means", name, estimate, low, high, norm="linf")
            for name in tables.sets("R10")["MODELS"].members
        ]
        return verdict("R10-044", write(tmp_path / f"{estimate}", "rfs", rows))[0]

    assert at(0.2, 0.1, 0.3).word == HOLDS
    assert at(-0.2, -0.3, -0.1).word == FAILS
    found = at(0.1, -0.1, 0.3)
    assert found.word == OPEN
    assert (found.value.estimate, found.value.low) == (pytest.approx(0.1), pytest.approx(-0.1))
    assert at(0.4, NAN, NAN).word == OPEN, "a number without an interval decides nothing"


def test_a_difference_that_a_run_tested_counts_and_not_two_intervals(tmp_path):
    def pair(name, p, **more):
        rows = [
            row("rfs", "rfs_of_means", "resnet50", 0.40, 0.25, 0.55, norm="linf"),
            row("rfs", "rfs_of_means", "robust_resnet50", 0.30, 0.15, 0.45, norm="linf"),
            row("rfs", "rfs_of_means", "robust_resnet50_eps1", 0.30, 0.15, 0.45, norm="linf"),
        ]
        for tuned in ("robust_resnet50", "robust_resnet50_eps1") if p is not None else ():
            named = {"contrast": "minus resnet50", "norm": "linf"}
            rows.append(row("rfs", "rfs_of_means", tuned, -0.10, -0.16, -0.04, p, **named))
        relation = "rfs('robust_resnet50') < rfs('resnet50')" + more.get("and_", "")
        claim = CLAIMS["R10-073"]._replace(relation=relation)
        measured = Measured(Index(read([str(write(tmp_path / name, "rfs", rows))], ())))
        return judged(claim, measured, {}).word

    both = " and rfs('robust_resnet50_eps1') < rfs('resnet50')"
    assert pair("apart", None) == OPEN
    assert pair("tested", 0.03) == HOLDS
    assert pair("no", 0.2) == OPEN, "p of the difference says that it is none"
    assert pair("twice", 0.03, and_=both) == OPEN, "p is adjusted for two comparisons"
    assert pair("sure", 0.001, and_=both) == HOLDS
    turned = CLAIMS["R10-073"]._replace(relation="rfs('resnet50') < rfs('robust_resnet50')")
    index = Index(read([str(tmp_path / "sure")], ()))
    assert judged(turned, Measured(index), {}).word == FAILS


def test_the_largest_of_some_levels_is_a_level(tmp_path):
    rows = [row("rfs", "rfs", "resnet50", 0.4, 0.3, 0.5, norm="linf", level=90 / 255)]
    index = Index(read([str(write(tmp_path / "a", "rfs", rows))], ()))
    claim = CLAIMS["R10-085"]._replace(relation="rfs_at('resnet50', max([30 / 255, 90 / 255])) > 0")
    assert judged(claim, Measured(index), {}).word == HOLDS
    measured = Measured(index)
    claim = claim._replace(relation="rfs_at('resnet50', min([30 / 255, 90 / 255])) > 0")
    assert judged(claim, measured, {}).word == OPEN
    assert [*measured.missing] == [Missing("rfs", "resnet50", "0.1176")]


def test_a_zero_has_no_sign():
    assert claims.page.written(Number(-0.0, -0.2, 0.2)) == "0 [-0.2, 0.2]"


def test_what_is_missing_is_named(tmp_path):
    rows = [row("rfs", "rfs_of_means", "simclr", 0.1, 0.0, 0.2, norm="linf")]
    found, missing = verdict("R10-059", write(tmp_path / "a", "rfs", rows))
    assert found.word == OPEN
    assert missing == [
        Missing("rfs", name, "") for name in ("resnet18", "resnet50", "resnet101", "resnet152")
    ]
    text = "; ".join(claims.page.lacking(missing))
    assert text == "rfs of resnet18, resnet50, resnet101, resnet152"
    _, missing = verdict("RVT-055", tmp_path / "a")
    assert "; ".join(claims.page.lacking(missing)) == (
        "robustness of vit_b ours annotated, vit_b ground_truth annotated (imagenet_a full)"
    )


def test_one_number_may_decide_what_others_are_missing_for(tmp_path):
    rows = [row("rfs", "accuracy", "vit_tiny", 0.5, 0.4, 0.6, region="clean")]
    found, missing = verdict("R10-029", write(tmp_path / "a", "rfs", rows))
    assert found.word == FAILS, "every network is to reach 90 %"
    assert len(missing) == 16


def test_groups_are_as_a_run_averaged_them_or_the_mean_of_their_members(tmp_path):
    linf = {"norm": "linf"}
    rows = [
        row("rfs", "rfs_of_means", f"robust_resnet{n}", 0.2, 0.1, 0.3, **linf) for n in (18, 50)
    ]
    rows += [row("rfs", "rfs_of_means", "simclr", 0.3, 0.2, 0.4, **linf)]
    relation = "rfs('robust_resnets') < rfs('simclr')"
    claim, sets = CLAIMS["R10-058"]._replace(relation=relation), members("R10")
    alone = Measured(Index(read([str(write(tmp_path / "a", "rfs", rows))], ())))
    assert judged(claim, alone, sets).word == OPEN
    rows += [row("rfs", "rfs_of_means", None, 0.3, 0.2, 0.4, **linf, group="SimCLR", p=0.001)]
    rows += [row("rfs", "rfs_of_means", None, 0.21, 0.15, 0.3, **linf, group="robust")]
    named = {"contrast": "minus robust", "group": "SimCLR", **linf}
    rows += [row("rfs", "rfs_of_means", None, 0.09, 0.05, 0.12, 0.001, **named)]
    config = {"groups": ["SimCLR=simclr", "robust=robust_resnet18,robust_resnet50"]}
    grouped = Measured(Index(read([str(write(tmp_path / "b", "report", rows, config))], ())))
    assert judged(claim, grouped, sets).margin.estimate == pytest.approx(0.09)
    assert judged(claim, grouped, sets).word == HOLDS


def test_the_newest_run_counts_and_seeds_are_averaged(tmp_path):
    import os

    axes = {"set": "imagenet_a", "protocol": "full", "average": "micro"}
    values = (0.1, 0.3, 0.5)
    for k, value in enumerate(values):
        rows = [row("robustness", "accuracy", "vit_b", value, value, value, **axes)]
        rows += [
            row("robustness", "accuracy", f"cured{s}", s / 10, s / 10, s / 10, **axes)
            for s in (4, 6)
        ]
        folder = write(
            tmp_path / f"{k}", "robustness", rows, {"sets": ["imagenet_a"], "models": []}
        )
        os.utime(folder / "summary.parquet", (k, k))
    names = ["vit_b ours annotated=cured4,cured6"]
    measured = Measured(Index(read([str(tmp_path / f"{k}") for k in (1, 2, 0)], names)))
    assert measured.get("acc", "vit_b", "original", "none", "imagenet_a", "top1").estimate == 50
    found = measured.get("acc", "vit_b", "ours", "annotated", "imagenet_a", "top1")
    assert found.estimate == pytest.approx(50)


def test_finetuned_networks_are_known_by_their_folders(tmp_path):
    made = write(tmp_path / "made", "finetune", [], {"models": ["x"]})
    (made / "models.json").write_text(json.dumps([{"name": "deit_small"}]))
    best = made / "models/0123/without_background_seed1_best"
    facts = [
        {"name": "original", "variant": "original"},
        {"name": "n", "variant": "without_background", "best": str(best)},
    ]
    (made / "networks.json").write_text(json.dumps(facts))
    axes = {"set": "v2", "protocol": "full", "average": "micro"}
    rows = [row("robustness", "accuracy", best.name, 0.25, 0.2, 0.3, **axes)]
    for other in ("imagenet_v2 variant=top-images", "imagenet_v2 b=1", "scenes a=1", "scenes a=2"):
        rows.append(
            row("robustness", "accuracy", best.name, 0.9, 0.2, 1.0, **{**axes, "set": other})
        )
    sets = ["imagenet_v2=/top variant=top-images", "imagenet_v2=/data as=v2", "imagenet_v2=/b b=1"]
    run = write(tmp_path / "run", "robustness", rows, {"models": [str(best)], "sets": sets})
    measured = Measured(Index(read([str(run)], ())))
    assert measured.get("abl", "deit_s", "no_background", "imagenet_v2").estimate == 25
    assert len(measured.index.seen("robustness", "set")) == 5, "each set is one of its own"


def test_a_finetunings_own_tests_stand_for_shifted_sets(tmp_path, only):
    only("RVT-001", "RVT-007", "RVT-010", "RVT-060", "RVT-064")

    def both(test, gain):
        told = {"test": test, "alpha": 1.0}
        ends = gain - 0.01, gain + 0.01, 0.001, "minus original"
        return [
            row("finetune", "accuracy", None, 0.5, 0.4, 0.6, variant="original", **told),
            row("finetune", "accuracy", None, 0.5 + gain, 0.4, 0.7, variant="robustvit", **told),
            row("finetune", "accuracy", None, gain, *ends, variant="robustvit", **told),
            row("finetune", "accuracy", None, 0.9, *ends, variant="robustvit", **told, seed=0),
        ]

    config = {
        "models": ["scenes/vit_00"],
        "data": {"test_name": "here"},
        "shifted": {"name": "scenes", "test_name": "there"},
        "split": {"num_classes": 5, "per_class": 3},
        "train": {"epochs": 50, "batch": 8},
    }
    rows = both("here", -0.02) + both("there", 0.1)
    runs = read([str(write(tmp_path / "a", "finetune", rows, config, name="scenes"))], ())
    found = {one.claim.id: one for one in study.judge(runs, study.theirs(runs), {})}
    for name, word in {
        "RVT-001": HOLDS,
        "RVT-007": OPEN,
        "RVT-010": HOLDS,
        "RVT-060": HOLDS,
        "RVT-064": FAILS,  # 15 images to train on
    }.items():
        assert found[name].own.word == word, name
        assert found[name].claimed.word == OPEN, name
    assert found["RVT-001"].own.margin.estimate == pytest.approx(10)


def test_other_networks_and_photos_stand_for_the_papers_in_a_column_of_their_own(tmp_path, only):
    only("R10-012", "R10-044", "R10-063")
    linf, names = {"norm": "linf"}, ("scenes/vit_00", "scenes/resnet_00")
    rows = [row("rfs", "rfs_of_means", name, 0.3, 0.2, 0.4, **linf) for name in names]
    rows += [
        row("rfs", "rfs", name, 0.1 * k + v * k * k / 20, 0, 1, **linf, level=k / 10)
        for v, name in enumerate(names)
        for k in (1, 2, 3)
    ]
    runs = read([str(write(tmp_path / "a", "rfs", rows, name="scenes"))], ())
    own = {"vits": ["scenes/vit_00"], "resnets": ["scenes/resnet_00"]}
    sets = restricted(tables.sets("R10"), Index(runs), "rfs", own)
    assert sets["MODELS"] == names
    assert sets["GROUPS"] == ("vits", "resnets") or set(sets["GROUPS"]) == {"vits", "resnets"}
    assert (sets["TRANSFORMERS"], sets["RESNET_LIKE"]) == (("vits",), ("resnets",))
    assert sets["SIGMAS"] == (0.1, 0.2, 0.3)
    found = {one.claim.id: one for one in study.judge(runs, study.theirs(runs), own)}
    assert (found["R10-044"].claimed.word, found["R10-044"].own.word) == (OPEN, HOLDS)
    assert found["R10-063"].own.margin.estimate == pytest.approx(1.0)  # RFS per unit of sigma
    assert found["R10-012"].own.word == OPEN, "what is said of RIVAL10 is of no other data"


def test_the_whole_on_runs_of_rival10(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = [
        row("rfs", "rfs_of_means", name, 0.3, 0.2, 0.4, norm="linf")
        for name in tables.sets("R10")["MODELS"].members
    ]
    write(tmp_path / "runs/a", "rfs", rows, {"noise": {"trials": 1, "sigmas": [0.1, 0.2]}})
    rows = [
        row("attributes", "label_share", None, 0.5, **{"class": c, "attribute": a})
        for c in RIVAL10
        for a in ("text", "wings")
    ]
    rows += [
        row("attributes", "label_correlation", None, value, attribute=a, other_attribute=b)
        for a, b, value in (("text", "text", 1.0), ("text", "wings", -0.7))
    ]
    write(tmp_path / "runs/b", "attributes", rows, attributes=["text", "wings"])
    config, console = config_of("claims"), Console(file=io.StringIO(), width=200)
    claims.dry_run(config, console)
    assert "runs/b: attributes, rival10" in console.file.getvalue()
    run = Run(tmp_path / "out", config.to_dict())
    claims.run(config, run, console)
    results = Results.read(tmp_path / "out")
    assert len(results) == 3 * 181
    assert set(results.of("verdict")) == {HOLDS, FAILS, OPEN}
    claimed = {one["claim"]: one for one in results.where(of="claimed")}
    for name, word in {
        "R10-001": FAILS,  # two attributes
        "R10-004": HOLDS,
        "R10-008": FAILS,
        "R10-010": HOLDS,
        "R10-012": FAILS,  # ten photos
        "R10-017": OPEN,
        "R10-038": FAILS,  # one trial
        "R10-044": HOLDS,
    }.items():
        assert claimed[name]["verdict"] == word, name
    assert claimed["R10-044"]["estimate"] == pytest.approx(0.3)
    assert claimed["R10-010"]["estimate"] == pytest.approx(0.7)
    assert claimed["R10-044"]["low"] == pytest.approx(0.2)
    page = (tmp_path / "out/report.html").read_text()
    assert "a person has to judge" in page
    assert "Presets of each config" in page
    tables_text = (tmp_path / "out/tables.md").read_text()
    assert all(f"| {name} |" in tables_text for name in CLAIMS)
    assert "| holds: 0.3 [0.2, 0.4] |" in tables_text
    assert "| rfs of resnet18, resnet50, resnet101, resnet152 and 13 more |" in tables_text
    beside = {
        line[0]: line[2:] for line in claims.page.printed_table(study.theirs(read((), ()))).rows
    }
    assert beside["n_images test"] == ("5306", "10", "-5296", "")
    assert beside["n_images train"][:3] == ("21178", "100", "-21078")


@pytest.mark.parametrize(("rounds", "word"), [((), OPEN), ((4,), FAILS), ((4, 10), HOLDS)])
def test_trials_until_it_is_enough_count_as_many_as_were_needed(tmp_path, rounds, word):
    rows = [row("rfs", "rfs_of_means", "resnet50", 0.3, norm="linf")]
    folder = write(tmp_path / "a", "rfs", rows, {"noise": {"trials": "auto", "sigmas": [0.1]}})
    units, first = {"clean": "clean.parquet"}, 0
    clean = {"model": ["resnet50"], "norm": ["none"], "level": [0.0], "trial": [-1]}
    pq.write_table(pa.table(clean), folder / "clean.parquet")
    for last in rounds:
        units[f"from_{first}"] = name = f"{first}.parquet"
        drawn = [("resnet50", "linf", 0.1, trial) for trial in range(first, last)]
        drawn += [("resnet50", "linf", 0.2, trial) for trial in range(first, 10 * (first == 0))]
        columns = zip(("model", "norm", "level", "trial"), zip(*drawn, strict=True), strict=True)
        pq.write_table(pa.table(dict(columns)), folder / name)
        first = last
    (folder / "units.json").write_text(json.dumps(units))
    assert verdict("R10-038", folder)[0].word == word


def few_photos(source, folder):
    """RIVAL10's layout with one test photo of each class."""
    classes, seen = {wnid: name for name, some in SYNSETS.items() for wnid in some}, set()
    for photo in sorted((source / "test" / "ordinary").glob("*_[0-9]*.JPEG")):
        name = classes[photo.name.split("_")[0]]
        if "merged" not in photo.name and name not in seen:
            seen.add(name)
            for kind in ("ordinary", "entire_object_masks"):
                (folder / "test" / kind).mkdir(parents=True, exist_ok=True)
                shutil.copy(source / "test" / kind / photo.name, folder / "test" / kind)
    return folder


@pytest.mark.whole
def test_real_photos_decide_what_they_can(all_shared, tmp_path, monkeypatch):
    """A run of rfs with a real ViT-Tiny: enough for its own claims."""
    monkeypatch.setattr(runner, "write_document", lambda *a: None)
    root = few_photos(all_shared / "data/rival10_mini/RIVAL10", tmp_path / "RIVAL10")
    network = all_shared / "data/weights/vit_tiny_patch16_224.augreg_in21k_ft_in1k"
    config = config_of("rfs", "clean")
    config.models, config.data.name, config.data.root = (str(network),), "rival10", str(root)
    config.head, config.noise.sigmas, config.noise.trials = "imagenet", (60 / 255,), 1
    config.noise.epsilons = (100.0,)
    config.cache, config.statistics.resamples = str(tmp_path / "cache"), 50
    _, results = run_in(tmp_path / "rfs", config)
    runs = read([str(tmp_path / "rfs")], ())
    found = list(study.judge(runs, study.theirs(runs), {"vits": ["vit_tiny"]}))
    assert len(found) == 181
    words = {one.claim.id: (one.claimed.word, one.own.word) for one in found}
    for name, (claimed, own) in {
        "R10-002": (HOLDS, HOLDS),  # every photo has a mask
        "R10-004": (HOLDS, HOLDS),  # ten classes
        "R10-012": (FAILS, FAILS),  # ten photos are no 5,000
        "R10-037": (FAILS, FAILS),  # one level of noise is no seven
        "R10-055": (OPEN, OPEN),  # one group alone does not differ
        "RVT-001": (OPEN, OPEN),  # nothing was cured
    }.items():
        assert words[name] == (claimed, own), name
    (clean,) = (one.own.value for one in found if one.claim.id == "R10-029")
    accuracy = results.where(measure="accuracy", region="clean", contrast="", **{"class": None})
    assert clean.estimate == pytest.approx(100 * accuracy.one(model=network.name)["estimate"])


def test_without_any_run_there_is_a_page(tmp_path, monkeypatch, only):
    monkeypatch.chdir(tmp_path)
    only("R10-030", "R10-036", "R10-044", "R10-090", "RVT-007")
    config = config_of("claims")
    claims.run(config, Run(tmp_path / "out", config.to_dict()), Console(file=io.StringIO()))
    assert "No finished run was read" in (tmp_path / "out/report.html").read_text()
    own = Results.read(tmp_path / "out").where(of="claimed", verdict=(HOLDS, FAILS))
    assert own.of("claim") == ["R10-030", "R10-036"]


def test_what_is_wrong_is_told_before_anything_is_judged(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"config\.json is missing|workdir of a finished"):
        read([str(tmp_path)], ())
    with pytest.raises(ValueError, match=r"config\.networks: no 'vit_bb'; did you mean 'vit_b'"):
        read([], ["vit_bb ours annotated=x"])
    with pytest.raises(ValueError, match=r"config\.groups: no 'vit'; did you mean 'vits'"):
        list(study.judge([], study.theirs([]), {"vit": ["x"]}))
    runs = [
        Finished(tmp_path, {"experiment": "rfs", "statistics": {"confidence": c}}, {}, [], [])
        for c in (0.9, 0.95)
    ]
    with pytest.raises(ValueError, match=r"several confidences, \[0\.9, 0\.95\]"):
        list(study.judge(runs, study.theirs([]), {}))


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os')",
        "rfs.__class__ > 0",
        "(lambda: 1)() > 0",
        "SIGMAS[0] > 0",
        "rfs(name='x') > 0",
        "rfs('x') ** 9 > 0",
        "all(rfs(a) > 0 for a, b in MODELS)",
        "{'x'} == {'x'}",
        "rfs('x') is None",
        "not_there('x') > 0",
        "rfs('x' > 0",
        "f'{rfs}' == 'x'",
    ],
)
def test_the_language_has_nothing_else(text):
    names = {"rfs": lambda name: number(1.0), "SIGMAS": (0.1,), "MODELS": ("a",)}
    with pytest.raises(ValueError, match="claim"):
        Reader(names, Number.__sub__)(text)


def test_every_kind_of_claim_is_known():
    assert {claim.kind for claim in CLAIMS.values()} == {"finding", "opinion", *tables.EXACT}


intervals = st.tuples(*[st.floats(-10, 10)] * 3).map(
    lambda t: Number(*[sorted(t)[k] for k in (1, 0, 2)])
)


def inside(one):
    """Some numbers of an interval."""
    return [one.low, one.estimate, one.high]


@settings(max_examples=25, deadline=None)
@given(intervals, intervals, st.floats(-3, 3))
def test_whatever_the_numbers_are_they_lie_in_the_interval(a, b, factor):
    for x in inside(a):
        for y in inside(b):
            for found, value in (
                (a + b, x + y), (a - b, x - y), (a * b, x * y), (a * factor, x * factor),
                (abs(a), abs(x)), (numbers.smallest([a, b]), min(x, y)),
                (numbers.largest([a, b]), max(x, y)), (numbers.spread([a, b]), abs(x - y)),
                (numbers.mean([a, b]), (x + y) / 2), (number(1) - a, 1 - x),
            ):  # fmt: skip
                assert found.low - 1e-6 <= value <= found.high + 1e-6


@settings(max_examples=25, deadline=None)
@given(st.lists(intervals, min_size=1, max_size=4))
def test_a_verdict_is_one_of_every_number_that_may_be(values):
    """All of, one of, and how many of some comparisons, against every choice from the intervals."""
    read = Reader({f"x{i}": value for i, value in enumerate(values)}, Number.__sub__)
    every = ", ".join(f"x{i} > 1" for i in range(len(values)))
    for text, truth in (("all([{}])", all), ("any([{}])", any)):
        margin, _ = read(text.format(every))
        for pick in range(3):
            really = truth(inside(value)[pick] > 1 for value in values)
            assert really or not margin.low > 0
            assert not really or not margin.high < 0
    share, _ = read(f"share([{every}]) >= 0.5")
    held = sum(value.estimate > 1 for value in values) / len(values)
    assert (held >= 0.5) or not share.low > 0


def test_of_nothing_nothing_is_known():
    read = Reader({"NOBODY": (), "rfs": lambda name: number(1.0)}, Number.__sub__)
    for text in (
        "all(rfs(m) > 0 for m in NOBODY)",
        "any(rfs(m) > 0 for m in NOBODY)",
        "mean([rfs(m) for m in NOBODY]) > 0",
        "spread([rfs(m) for m in NOBODY]) >= 0",
    ):
        margin, _ = read(text)
        assert margin.low <= 0 <= margin.high, text
    assert numbers.spearman([1, 2, 3], [1, 2, 3]) is UNKNOWN
    assert numbers.spread([1.0]) is UNKNOWN


def test_exact_ends_are_told_apart():
    read = Reader({"x": number(5.0)}, Number.__sub__)
    words = {
        "x > 5": FAILS,
        "x >= 5": HOLDS,
        "x == 5": HOLDS,
        "x < 5.1": HOLDS,
        "4 < x <= 5": HOLDS,
    }
    for text, word in words.items():
        margin, _ = read(text)
        assert (HOLDS if margin.low > 0 else FAILS if margin.high < 0 else OPEN) == word, text
    touching = Reader({"x": Number(4.0, 3.0, 5.0)}, Number.__sub__)("x < 5")[0]
    assert touching.low <= 0 < touching.high, "it may be 5"


def test_many_comparisons_are_told_with_less_confidence():
    one = Number(1.0, 0.5, 1.5)
    assert one.stretched(1, 0.95).low == pytest.approx(0.5)
    assert one.stretched(20, 0.95).low == pytest.approx(1 - 0.5 * 3.0233 / 1.95996, abs=1e-3)


def test_extremes_of_many_numbers_are_told_with_less_confidence():
    """Of ten equal classes two differ at 95 % more often than not."""
    ends = {f"c{k}": Number(0.5, 0.3, 0.7) for k in range(8)}
    ends |= {"c8": Number(0.9, 0.75, 1.05), "c9": Number(0.45, 0.25, 0.65)}
    relation, claim = "spread([{}]) > 0", CLAIMS["R10-045"]

    class Classes(Printed):
        def get(self, quantity, *arguments):
            return ends[arguments[0]]

    def of(*names):
        listed = ", ".join(f"rfs('{name}')" for name in names)
        return judged(claim._replace(relation=relation.format(listed)), Classes(), {}).word

    assert of("c8", "c9") == HOLDS
    assert of(*ends) == OPEN
    assert of("c8") == OPEN, "of one alone"


def test_rank_correlation_has_the_published_interval():
    """Bonett and Wright: r = 0.7 of 20 pairs has 0.36 to 0.88, of 17 for 0.2: includes 0."""
    first = list(range(20))
    second = [1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, 13, 12, 15, 14, 17, 16, 19, 18]
    found = numbers.spearman(first, second)
    assert found.estimate == pytest.approx(1 - 6 * 20 / (20 * 399))
    z, half = math.atanh(found.estimate), 1.96 * math.sqrt((1 + found.estimate**2 / 2) / 17)
    assert (found.low, found.high) == pytest.approx(
        (math.tanh(z - half), math.tanh(z + half)), abs=1e-4
    )


@pytest.mark.parametrize("name", ["rfs", "irfs", "distance", "noise"])
def test_the_package_is_as_the_study_defines(name):
    assert deviation(name) < 1e-5


def test_presets_differ_where_it_is_said():
    table = differences()
    rows = {line[:2]: line[2:] for line in table.rows}
    assert rows["rfs", "noise.trials"] == ("10", "1", "auto")
    assert rows["background", "data.mask"] == ("binary", "soft", "binary")
    assert ("rfs", "preset") not in rows
    assert table.header[2:] == PRESETS
    assert all(len(set(values)) > 1 for values in rows.values())
    for name in ("rfs", "saliency", "finetune", "attributes", "neurons", "tokencut", "background"):
        assert any(config == name for config, _ in rows) or name == "tokencut"
