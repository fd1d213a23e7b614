"""The study's numbers: from logits to class accuracies to every figure, against the reference."""

import json

import jax
import numpy as np
import pytest

from rival_jax import metrics
from rival_jax.experiments.rfs import examples, figures, joined, measures
from rival_jax.experiments.rfs.measures import tabled
from rival_jax.images import per_image
from rival_jax.named import Axis
from tests.fake_runs import write_run
from tests.helpers import REFERENCE, golden

REGIONS = ("foreground", "background")
OPTIONS = {"resamples": 50, "confidence": 0.95, "method": "percentile"}


@pytest.fixture(scope="module")
def orders(shared):
    return json.loads((shared / "golden" / "rival10" / "02_orders.json").read_text())


@pytest.fixture(scope="module")
def found(shared, orders, tmp_path_factory):
    """21 models' stored logits, as rows of a run, read back; and the results of groups."""
    raw = golden(shared, "02b_results_raw.npz")
    accumulated = golden(shared, "02c_results_accumulated.npz")
    labels = raw["labels"]
    noisy = np.stack([raw["logits_fg"], raw["logits_bg"]], axis=2)  # [m, l, r, t, n, c]
    run = write_run(
        tmp_path_factory.mktemp("golden"),
        models=orders["model_order"],
        labels=labels,
        clean=true_class(raw["logits_clean"], labels),
        noise={"linf": (accumulated["sigma"].astype(float), *true_class(noisy, labels))},
    )
    return tabled(joined.read(run), orders["fig4_groups"], **OPTIONS)


def by_class(runs, column, region):
    """Class means [m, l, c] of a column under noise."""
    noisy = runs.images.values[column].without(norm="none").at(region=region).values
    return np.stack([noisy[runs.images.labels == c].mean(0) for c in range(10)], axis=-1)


def true_class(logits, labels):
    flat = logits.reshape(-1, logits.shape[-1])
    scores = jax.jit(metrics.true_class)(flat, np.resize(labels, len(flat)))
    return tuple(np.asarray(score).reshape(logits.shape[:-1]) for score in scores)


def near(got, want, atol=REFERENCE):
    np.testing.assert_allclose(got, want, atol=atol, rtol=0)


def test_rfs_of_the_reference(shared):
    want = golden(shared, "02a_rfs_scalar.npz")
    sides = np.stack([want["a_fg"], want["a_bg"]], axis=1)
    axes = (Axis(("example",), tuple((i,) for i in range(len(sides)))),)
    axes += (Axis(("region",), tuple((region,) for region in REGIONS)),)
    got = measures.rfs(per_image(sides, axes)).values
    defined = np.isfinite(want["rfs"])
    near(got[defined], want["rfs"][defined])
    assert not got[~defined].any(), "undefined, and 0 by convention"


def test_irfs_of_the_reference(shared):
    want = golden(shared, "02a_rfs_scalar.npz")
    got = np.asarray(jax.jit(metrics.irfs)(want["p_fg"], want["p_bg"]))
    finite = np.isfinite(want["irfs"])
    near(got[finite], want["irfs"][finite])
    assert np.isfinite(got).all()
    assert np.abs(got).max() <= 1


def test_accumulation_from_logits(shared, found):
    want = golden(shared, "02c_results_accumulated.npz")
    runs = found.runs
    for region, suffix in zip(REGIONS, ("fg", "bg"), strict=True):
        near(by_class(runs, "correct", region), want[f"acc_noisy_{suffix}"], atol=1e-6)
        probability = runs.images.values["probability"].at(norm="linf", region=region).values
        near(np.moveaxis(probability, 0, -1), want[f"ptrue_noisy_{suffix}"])
    clean = runs.images.values["probability"].at(norm="none").values[..., 0]
    near(clean.T, want["ptrue_clean"][:, 0])
    accuracy = found.rows("accuracy", None, region="clean")
    near([row["estimate"] for row in accuracy], want["acc_clean"][:, 0].mean(-1), atol=1e-6)


def test_figure_1_and_the_ranked_images(shared, orders, found):
    want = golden(shared, "02d_figures.npz")
    labels, names = found.runs.images.labels, found.runs.images.names
    for k, model in enumerate(orders["fig1_model_order"]):
        lines = [*examples.ranked(found.runs, model)]
        gaps = [line["p_bg"] - line["p_fg"] for line in lines]
        assert gaps == sorted(gaps)
        assert np.unique([line["level"] for line in lines]) == pytest.approx(orders["fig1_sigma"])
        assert sorted(line["example"] for line in lines) == sorted(names)
        for c, label in enumerate(found.runs.images.classes):
            mine = [line for line in lines if line["class"] == label][:5]
            index = [names.index(line["example"]) for line in mine]
            stored = [i for i in want["fig1_worst_index"][k, c] if i >= 0]
            assert index == stored
            assert (labels[index] == c).all()
            near([m["p_bg"] - m["p_fg"] for m in mine], want["fig1_worst_gap"][k, c, : len(mine)])
            near([m["p_fg"] for m in mine], want["fig1_worst_pfg"][k, c, : len(mine)])


def test_figure_2(shared, orders, found):
    want = golden(shared, "02d_figures.npz")
    header, lines = figures.accuracies(found, "linf")[1:]
    rows = [dict(zip(header, line, strict=True)) for line in lines]
    for k, model in enumerate(orders["fig2_model_order"]):
        whole, *classes = (
            (r["accuracy_fg"], r["accuracy_bg"]) for r in rows if r["model"] == model
        )
        near(whole, want["fig2_acc_model_xy"][k])
        near(classes, want["fig2_acc_class_xy"][k])
        m = found.runs.models.index(model)
        means = [by_class(found.runs, "probability", r)[m].mean(0) for r in REGIONS]
        near(np.stack(means, axis=-1), want["fig2_prob_class_xy"][k])
    millions = [orders["param_counts_millions"][name] for name in orders["fig2_model_order"]]
    for card in found.runs.cards:
        area = next(row["marker_area"] for row in rows if row["model"] == card["name"])
        assert area == pytest.approx(1.5 * card["parameters"] / 1e6)
    near(figures.AREA_PER_MILLION * np.array(millions), want["fig2_marker_area"])


def test_figure_4(shared, orders, found):
    want = golden(shared, "02d_figures.npz")
    assert list(orders["fig4_groups"]) == orders["fig4_group_order"]
    gap = "background minus foreground"
    for g, group in enumerate(orders["fig4_group_order"]):

        def curve(measure, group=group, **wanted):
            levels = found.levels("linf")
            rows = found.rows(measure, "linf", level=levels, group=group, **wanted)
            return [row["estimate"] for row in rows]

        near(curve("accuracy", region="foreground"), want["fig4_fg"][g])
        near(curve("accuracy", region="background"), want["fig4_bg"][g])
        near(curve("rfs"), want["fig4_rfs"][g])
        near(curve("relative_difference", contrast=gap), want["fig4_relative_diff"][g])
        near(curve("accuracy", contrast=gap), want["fig4_raw_diff"][g])


def test_figure_5(shared, orders, found):
    want = golden(shared, "02d_figures.npz")
    near(figures.GRID, want["fig5_kde_x"])
    noisy = found.runs.images.values["probability"].without(norm="none")
    irfs, labels = measures.rfs(noisy), found.runs.images.labels
    for k, model in enumerate(orders["fig5_model_order"]):
        fg, bg = (noisy.at(model=model, region=region).values for region in REGIONS)
        for j, c in enumerate(orders["fig5_class_order"]):
            members = labels == c
            pooled = irfs.at(model=model).values[members].T.ravel()
            padded = want["fig5_irfs_padded"][k, j]
            near(pooled, padded[~np.isnan(padded)])
            near(figures.density(pooled), want["fig5_kde"][k, j])
            assert (want["fig5_scatter_npoints"][k, :, j] == members.sum()).all()
            near(fg[members].sum(0), want["fig5_scatter_xsum"][k, :, j])
            near(bg[members].sum(0), want["fig5_scatter_ysum"][k, :, j])


def test_figure_6_takes_rfs_of_grand_means(shared, orders, found):
    want = golden(shared, "02d_figures.npz")
    for bars in ("patch", "adv"):
        lines = [line.split(": ")[1].split(", ") for line in orders[f"fig6_{bars}_order"]]
        rfs, other = (
            np.array([[found.rows(m, "linf", model=name).one()["estimate"] for name in line]
                      for line in lines])
            for m in ("rfs_of_means", "mean_of_rfs")
        )  # fmt: skip
        near(rfs, want[f"fig6_{bars}"])
        assert np.abs(other - want[f"fig6_{bars}"]).max() > 0.01, "the order matters"


def test_density_of_equal_values_is_undefined():
    assert np.isnan(figures.density(np.full(7, 0.25))).all()
    assert np.isnan(figures.density(np.array([0.25]))).all()
    assert np.trapezoid(figures.density(np.array([-0.1, 0.0, 0.1])), figures.GRID) > 0.99
