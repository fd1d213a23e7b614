"""The study's numbers: from logits to class accuracies to every figure, against the reference."""

import json

import jax.numpy as jnp
import numpy as np
import pytest

from rival_jax import metrics
from rival_jax.report import numbers
from rival_jax.report.summary import summarise
from rival_jax.report.sweep import Sweep
from tests.fake_runs import invented, write_run
from tests.helpers import REFERENCE, golden

REGIONS = ("foreground", "background")


@pytest.fixture(scope="module")
def orders(shared):
    return json.loads((shared / "golden" / "rival10" / "02_orders.json").read_text())


@pytest.fixture(scope="module")
def sweep(shared, orders, tmp_path_factory):
    """21 models' stored logits, as rows of a run, read back."""
    raw = golden(shared, "02b_results_raw.npz")
    accumulated = golden(shared, "02c_results_accumulated.npz")
    labels = raw["labels"]
    noisy = np.stack([raw["logits_fg"], raw["logits_bg"]], axis=2)  # [m, l, r, t, n, c]
    return Sweep.read(
        write_run(
            tmp_path_factory.mktemp("golden"),
            models=orders["model_order"],
            labels=labels,
            clean=true_class(raw["logits_clean"], labels),
            noise={"linf": (accumulated["sigma"].astype(float), *true_class(noisy, labels))},
        )
    )


@pytest.fixture(scope="module")
def noise(sweep):
    return sweep.noise["linf"]


def true_class(logits, labels):
    flat = logits.reshape(-1, logits.shape[-1])
    scores = metrics.true_class(jnp.asarray(flat), jnp.asarray(np.resize(labels, len(flat))))
    return tuple(np.asarray(score).reshape(logits.shape[:-1]) for score in scores)


def rows_of(sweep, models):
    return [sweep.models.index(model) for model in models]


def near(got, want, atol=REFERENCE):
    np.testing.assert_allclose(got, want, atol=atol, rtol=0)


def test_rfs_of_the_reference(shared):
    want = golden(shared, "02a_rfs_scalar.npz")
    fg, bg = want["a_fg"], want["a_bg"]
    defined = np.isfinite(want["rfs"])
    got = numbers.rfs(fg, bg)
    near(got[defined], want["rfs"][defined])
    assert not got[~defined].any(), "undefined, and 0 by convention"
    defined = np.isfinite(want["relative_diff"])
    near(numbers.relative_difference(fg, bg)[defined], want["relative_diff"][defined])
    near(bg - fg, want["raw_diff"])


def test_irfs_of_the_reference(shared):
    want = golden(shared, "02a_rfs_scalar.npz")
    got = np.asarray(metrics.irfs(jnp.asarray(want["p_fg"]), jnp.asarray(want["p_bg"])))
    finite = np.isfinite(want["irfs"])
    near(got[finite], want["irfs"][finite])
    assert np.isfinite(got).all()
    assert np.abs(got).max() <= 1


def test_accumulation_from_logits(shared, sweep, noise):
    want = golden(shared, "02c_results_accumulated.npz")
    for region, suffix in zip(REGIONS, ("fg", "bg"), strict=True):
        near(noise.region(noise.accuracy, region), want[f"acc_noisy_{suffix}"], atol=1e-7)
        near(noise.region(noise.probability, region), want[f"ptrue_noisy_{suffix}"])
    clean = numbers.class_means(sweep, sweep.correct)
    near(clean, want["acc_clean"][:, 0], atol=1e-7)
    near(sweep.probability, want["ptrue_clean"][:, 0])
    near(noise.accuracy, numbers.class_means(sweep, noise.correct), atol=1e-6)


def test_figure_1(shared, orders, sweep, noise):
    want = golden(shared, "02d_figures.npz")
    level = int(np.argmin(np.abs(noise.levels - orders["fig1_sigma"])))
    for k, m in enumerate(rows_of(sweep, orders["fig1_model_order"])):
        fg, bg = noise.probability[m, level]
        index, gap = numbers.worst(fg, bg, sweep.labels, 5)
        np.testing.assert_array_equal(index, want["fig1_worst_index"][k])
        near(gap, want["fig1_worst_gap"][k])
        near(np.where(index >= 0, fg[index], np.nan), want["fig1_worst_pfg"][k])


def test_figure_2(shared, orders, sweep, noise):
    want = golden(shared, "02d_figures.npz")
    models = rows_of(sweep, orders["fig2_model_order"])
    by_probability = numbers.class_means(sweep, noise.probability)
    for name, values in (("acc", noise.accuracy), ("prob", by_probability)):
        points = numbers.scatter(values[models])
        near(points.classes, want[f"fig2_{name}_class_xy"])
        near(points.models, want[f"fig2_{name}_model_xy"])
    millions = [orders["param_counts_millions"][name] for name in orders["fig2_model_order"]]
    near(numbers.marker_area(np.array(millions) * 1e6), want["fig2_marker_area"])


def test_figure_4(shared, orders, sweep, noise):
    want = golden(shared, "02d_figures.npz")
    assert list(orders["fig4_groups"]) == orders["fig4_group_order"]
    curves = numbers.group_curves(noise, sweep.models, orders["fig4_groups"])
    near(curves.fg, want["fig4_fg"])
    near(curves.bg, want["fig4_bg"])
    near(curves.rfs, want["fig4_rfs"])
    near(curves.relative_difference, want["fig4_relative_diff"])
    near(curves.difference, want["fig4_raw_diff"])


def test_figure_5(shared, orders, sweep, noise):
    want = golden(shared, "02d_figures.npz")
    near(numbers.GRID, want["fig5_kde_x"])
    irfs = numbers.irfs(noise)
    for k, m in enumerate(rows_of(sweep, orders["fig5_model_order"])):
        fg, bg = (noise.region(noise.probability, region)[m] for region in REGIONS)
        for j, c in enumerate(orders["fig5_class_order"]):
            members = sweep.labels == c
            pooled = irfs[m][:, members].ravel()
            padded = want["fig5_irfs_padded"][k, j]
            near(pooled, padded[~np.isnan(padded)])
            near(numbers.density(pooled), want["fig5_kde"][k, j])
            assert (want["fig5_scatter_npoints"][k, :, j] == members.sum()).all()
            near(fg[:, members].sum(1), want["fig5_scatter_xsum"][k, :, j])
            near(bg[:, members].sum(1), want["fig5_scatter_ysum"][k, :, j])


def test_figure_6_takes_rfs_of_grand_means(shared, orders, sweep, noise):
    want = golden(shared, "02d_figures.npz")
    fg, bg = (jnp.asarray(noise.region(noise.accuracy, region)) for region in REGIONS)
    rfs = np.asarray(numbers.rfs_of_means(fg, bg))
    other = np.asarray(numbers.mean_of_rfs(fg, bg))
    for bars in ("patch", "adv"):
        lines = [line.split(": ")[1].split(", ") for line in orders[f"fig6_{bars}_order"]]
        index = [rows_of(sweep, line) for line in lines]
        near(rfs[index], want[f"fig6_{bars}"])
        assert np.abs(other[index] - want[f"fig6_{bars}"]).max() > 0.01, "the order matters"


def test_summary_holds_the_numbers_of_figures_4_and_6(shared, orders, sweep):
    want = golden(shared, "02d_figures.npz")
    summary = summarise(sweep, orders["fig4_groups"], resamples=50)
    for g, group in enumerate(orders["fig4_group_order"]):
        curve = [level["estimate"] for level in summary["groups"][group]["linf"]["rfs_by_level"]]
        near(curve, want["fig4_rfs"][g])
    for line, row in zip(orders["fig6_patch_order"], want["fig6_patch"], strict=True):
        for name, value in zip(line.split(": ")[1].split(", "), row, strict=True):
            near(summary["models"][name]["linf"]["rfs_of_means"]["estimate"], value)


def test_orders_of_averaging_by_hand():
    fg = jnp.array([[[0.0, 0.5], [0.5, 0.5]]])  # one model, two levels, two classes
    bg = jnp.array([[[1.0, 0.5], [0.5, 1.0]]])
    # Means 0.375 and 0.75: 0.375 / (2 * 0.4375). Levels: (0.25, 0.75) and (0.5, 0.75).
    near(numbers.rfs_of_means(fg, bg), [0.375 / 0.875])
    near(numbers.mean_of_rfs(fg, bg), [(0.5 / 1.0 + 0.25 / 0.75) / 2])


def test_density_of_equal_values_is_undefined():
    assert np.isnan(numbers.density(np.full(7, 0.25))).all()
    assert np.isnan(numbers.density(np.array([0.25]))).all()
    assert np.trapezoid(numbers.density(np.array([-0.1, 0.0, 0.1])), numbers.GRID) > 0.99


def test_a_group_with_an_unknown_model_is_named(tmp_path):
    sweep = Sweep.read(invented(tmp_path, per_class=1, trials=1))
    with pytest.raises(ValueError, match=r"group 'ViTs' names vit_huge; the models.*vit_00"):
        sweep.groups({"ViTs": ["vit_huge"]})
