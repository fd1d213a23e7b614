"""The normalised cut, the bilateral solver and the ImageNet-S masks against the reference data."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy import linalg, ndimage

import rival_jax
from rival_jax import bilateral as _bilateral
from rival_jax.bilateral import Sigmas
from rival_jax.data.mask_formats import READERS
from rival_jax.tokencut import GRAPHS, component, normalised_cut, token_size, upscale

GRID = (5, 6)
CASES = ("square_binary", "rect_binary", "square_weighted")


cut_of = jax.jit(normalised_cut, static_argnames=("grid", "tau", "graph"))
component_of = jax.jit(component)


def reference(shared, name):
    with np.load(shared / "golden" / "robustvit" / f"{name}.npz") as file:
        return dict(file)


def up_to_sign(got, expected):
    return got * np.sign((got * expected).sum())


@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize("case", CASES)
def test_golden_cut(shared, case, precision):
    """The integers exactly; the eigenvector of unit D-norm as the reference's, up to its sign."""
    expected = reference(shared, f"tokencut_ncut_{case}")
    grid, graph = expected["bipartition"].shape, case.partition("_")[2]
    with jax.enable_x64(precision == "float64"):
        features = jnp.asarray(expected["features"].T[None], precision)
        cut = cut_of(features, grid, graph=graph)
        assert cut.eigenvector.dtype == precision
        pixels = upscale(cut.component, expected["mask_image"].shape)
    np.testing.assert_array_equal(cut.seed, [expected["seed"]])
    np.testing.assert_array_equal(cut.bipartition[0], expected["bipartition"])
    np.testing.assert_array_equal(cut.component[0], expected["principal_component"])
    np.testing.assert_array_equal(pixels[0], expected["mask_image"])
    vector = up_to_sign(np.asarray(cut.eigenvector[0]), expected["second_eigenvector"])
    np.testing.assert_allclose(vector, expected["second_eigenvector"], rtol=0, atol=1e-6)
    values = expected["second_eigenvalue"], expected["third_eigenvalue"]
    np.testing.assert_allclose(cut.eigenvalues[0], values, rtol=0, atol=1e-6)


def random_features(seed, images=1, width=8):
    """Two kinds of token and noise, so that cuts differ and seldom tie."""
    rng = np.random.default_rng(seed)
    kinds = rng.normal(size=(2, width))
    member = rng.integers(0, 2, (images, GRID[0] * GRID[1]))
    noise = rng.normal(size=(*member.shape, width))
    return (kinds[member] + 0.7 * noise).astype(np.float32)


def distinct(features):
    """Whether rounding cannot change the cut: eigenvalues and the two largest |v| differ."""
    cut = cut_of(jnp.asarray(features), GRID)
    ranked = np.sort(np.abs(np.asarray(cut.eigenvector)), axis=1)
    values = np.asarray(cut.eigenvalues)
    centred = np.asarray(cut.eigenvector - cut.eigenvector.mean(1, keepdims=True))
    return bool(
        (values[:, 1] - values[:, 0] > 1e-2).all()
        and (ranked[:, -1] - ranked[:, -2] > 1e-5).all()
        and (np.abs(centred) > 1e-5).all()
        and _no_cosine_at(features, 0.2)
    )


def _no_cosine_at(features, tau):
    unit = features / np.linalg.norm(features, axis=-1, keepdims=True)
    return (np.abs(np.einsum("bnc,bmc->bnm", unit, unit) - tau) > 1e-5).all()


seeds = st.integers(0, 10_000).map(random_features).filter(distinct)
several = st.integers(0, 10_000).map(lambda seed: random_features(seed, 3)).filter(distinct)


@pytest.mark.parametrize("graph", GRAPHS)
def test_the_eigenproblem_is_the_generalised_one(graph):
    with jax.enable_x64(True):
        features = random_features(3).astype(np.float64)
        cut = jax.tree.map(np.asarray, cut_of(jnp.asarray(features), GRID, graph=graph))
    unit = features[0] / np.linalg.norm(features[0], axis=1, keepdims=True)
    cosine = unit @ unit.T
    weights = np.where(cosine > 0.2, cosine if graph == "weighted" else 1, 1e-5)
    degrees = np.diag(weights.sum(1))
    values, vectors = linalg.eigh(degrees - weights, degrees)
    np.testing.assert_allclose(cut.eigenvalues[0], values[1:3], atol=1e-12)
    vector = up_to_sign(np.asarray(cut.eigenvector[0]), vectors[:, 1])
    np.testing.assert_allclose(vector, vectors[:, 1], atol=1e-10)
    np.testing.assert_allclose(vector @ degrees @ vector, 1, atol=1e-12)
    parts = ndimage.label(np.asarray(cut.bipartition[0]))[0]
    held = parts == parts.ravel()[int(cut.seed[0])]
    np.testing.assert_array_equal(cut.component[0], held)
    assert cut.eigenvector[0, cut.seed[0]] > 0  # of either sign that a solver may return


def test_the_sign_of_the_solver_does_not_matter(monkeypatch):
    features = jnp.asarray(random_features(5, 4))
    expected = normalised_cut(features, GRID)
    solve = jnp.linalg.eigh
    monkeypatch.setattr(jnp.linalg, "eigh", lambda m: (solve(m)[0], -solve(m)[1]))
    for got, wanted in zip(normalised_cut(features, GRID), expected, strict=True):
        np.testing.assert_array_equal(got, wanted)


@settings(deadline=None, max_examples=25)
@given(seeds, st.randoms())
def test_relabelled_tokens_give_the_relabelled_cut(features, random):
    order = np.array(random.sample(range(30), 30))
    before = cut_of(jnp.asarray(features), GRID)
    after = cut_of(jnp.asarray(features[:, order]), GRID)
    assert order[int(after.seed[0])] == int(before.seed[0])
    np.testing.assert_array_equal(
        after.bipartition.reshape(-1), before.bipartition.reshape(-1)[order]
    )
    np.testing.assert_allclose(after.eigenvector[0], before.eigenvector[0, order], atol=2e-5)


@settings(deadline=None, max_examples=25)
@given(seeds, st.floats(1e-3, 1e3))
def test_the_length_of_features_does_not_matter(features, scale):
    lengths = scale * np.linspace(0.5, 2, 30, dtype=np.float32)[None, :, None]
    before = cut_of(jnp.asarray(features), GRID)
    after = cut_of(jnp.asarray(features * lengths), GRID)
    np.testing.assert_array_equal(after.bipartition, before.bipartition)
    np.testing.assert_array_equal(after.component, before.component)
    np.testing.assert_array_equal(after.seed, before.seed)


@settings(deadline=None, max_examples=15)
@given(several)
def test_images_of_a_batch_do_not_meet(features):
    whole = cut_of(jnp.asarray(features), GRID)
    for i in range(len(features)):
        alone = cut_of(jnp.asarray(features[i : i + 1]), GRID)
        np.testing.assert_array_equal(whole.component[i], alone.component[0])
        np.testing.assert_allclose(whole.eigenvector[i], alone.eigenvector[0], atol=1e-5)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 3), st.integers(0, 3), st.integers(2, 3), st.integers(2, 3),
       st.integers(0, 10_000))  # fmt: skip
def test_a_planted_object_is_found(top, left, height, width, seed):
    """A box of less than half the tokens whose features are another direction, with noise.

    Not of one or two tokens: the rest of the eigenvector is then so near its mean that noise alone
    puts a token of the background above it.
    """
    box = np.zeros(GRID, bool)
    box[top : top + height, left : left + width] = True
    rng = np.random.default_rng(seed)
    kinds = np.eye(8)[box.ravel().astype(int)]
    features = (kinds + 0.05 * rng.normal(size=kinds.shape)).astype(np.float32)
    cut = cut_of(jnp.asarray(features[None]), GRID)
    np.testing.assert_array_equal(cut.component[0], box)
    np.testing.assert_array_equal(cut.bipartition[0], box)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**30 - 1), st.integers(0, 29))
def test_components_are_scipys(bits, seed):
    region = np.array([bits >> i & 1 for i in range(30)], bool).reshape(GRID)
    got = component_of(jnp.asarray(region[None]), jnp.array([seed]))[0]
    parts = ndimage.label(region)[0]
    here = parts.ravel()[seed]
    np.testing.assert_array_equal(got, (parts == here) & (here > 0))


def test_a_long_winding_component_is_whole():
    snake = np.zeros((9, 9), bool)
    snake[::2] = True
    snake[1::4, -1] = snake[3::4, 0] = True
    assert component(jnp.asarray(snake[None]), jnp.array([0])).sum() == snake.sum()


def test_images_without_a_cut_have_equal_eigenvalues():
    alike, none = np.ones((30, 4), np.float32), np.zeros((30, 4), np.float32)
    cut = cut_of(jnp.asarray([alike, none]), GRID)
    np.testing.assert_allclose(cut.eigenvalues[:, 0], cut.eigenvalues[:, 1], atol=1e-5)
    assert np.isfinite(cut.eigenvector).all()
    assert np.isnan(cut_of(jnp.full((2, 30, 4), jnp.nan), GRID).eigenvalues).all()


@pytest.mark.parametrize(
    ("shape", "grid", "options", "match"),
    [
        ((1, 30, 4), (5, 5), {}, r"features: got \(1, 30, 4\), expected \[b, 5 x 5, c\]"),
        ((1, 2, 4), (1, 2), {}, "features: got"),
        ((1, 30, 4), GRID, {"graph": "full"}, "graph 'full', expected one of binary, weighted"),
        ((1, 30, 4), GRID, {"tau": 1.0}, "tau 1.0, expected at least 0 and below 1"),
        ((1, 30, 4), GRID, {"tau": -0.1}, "tau -0.1"),
    ],
)
def test_bad_input_is_named(shape, grid, options, match):
    with pytest.raises(ValueError, match=match):
        normalised_cut(jnp.ones(shape), grid, **options)


def test_it_is_in_the_facade():
    assert rival_jax.normalised_cut is normalised_cut


@pytest.mark.parametrize(
    ("size", "most", "expected"),
    [((224, 224), 0, (14, 14)), ((170, 231), 0, (11, 14)), ((24, 40), 0, (2, 2)),
     ((5, 5), 0, (1, 1)), ((1600, 1600), 100, (10, 10)), ((16, 16000), 100, (1, 100))],
)  # fmt: skip
def test_sizes_in_tokens(size, most, expected):
    assert token_size(size, 16, most) == expected


@pytest.mark.parametrize(("sigmas", "suffix"), [((16, 16, 8), ""), ((24, 4, 4), "_24_4_4")])
def test_golden_bilateral_solver(shared, sigmas, suffix):
    expected = reference(shared, "bilateral_solver")
    image, target = expected["image"], expected["target"]
    grid = _bilateral.Grid(image, Sigmas(*sigmas))
    assert grid.size == expected[f"n_vertices{suffix}"]
    soft = _bilateral.solve(image, target, Sigmas(*sigmas))
    np.testing.assert_allclose(soft, expected[f"soft{suffix}"], rtol=0, atol=1e-9)
    for choice in _bilateral.CHOICES:
        refined = _bilateral.choose(soft, target > 0, choice)
        np.testing.assert_array_equal(refined.mask, expected[f"mask{suffix}"])
    if not suffix:
        assert refined.iou == pytest.approx(float(expected["iou_target_mask"]), abs=1e-7)


def test_golden_objects_larger_than_half_the_image(shared):
    """As released the background, negated; by the default rule the object."""
    expected = reference(shared, "bilateral_solver_large_object")
    coarse = expected["target"] > 0
    soft = _bilateral.solve(expected["image"], expected["target"])
    np.testing.assert_allclose(soft, expected["soft"], rtol=0, atol=1e-6)
    released = _bilateral.choose(soft, coarse, "released")
    np.testing.assert_array_equal(released.mask, expected["final"])
    np.testing.assert_array_equal(released.mask, -expected["mask_from_solver"].astype(int))
    assert released.iou == pytest.approx(float(expected["iou_target_mask"]), abs=1e-7)
    found = _bilateral.choose(soft, coarse)
    assert found.mask.min() == 0
    assert found.mask.mean() > 0.5
    assert found.iou > 0.8
    assert _bilateral.overlap(found.mask > 0, coarse) == found.iou


def test_refinement_that_loses_the_object_keeps_the_coarse_mask():
    coarse = np.zeros((8, 8), bool)
    coarse[2:5, 2:5] = True
    nothing = np.zeros((8, 8))
    assert (_bilateral.choose(nothing, coarse).mask == coarse).all()
    assert (_bilateral.choose(nothing, coarse, "released").mask == -1).all()
    elsewhere = nothing.copy()
    elsewhere[6:, :] = 1
    kept = _bilateral.choose(elsewhere, coarse)
    assert (kept.mask == coarse).all()
    assert kept.iou == 0
    assert (_bilateral.choose(elsewhere, coarse, agreement=0.0).mask == (elsewhere > 0)).all()
    assert (_bilateral.choose(np.ones((8, 8)), coarse, agreement=0.0).mask == coarse).all()
    ring = np.zeros((8, 8))
    ring[1:6, 1:6], ring[3, 3] = 1, 0
    assert _bilateral.choose(ring, coarse | (ring > 0)).mask.sum() == 25  # holes are filled


@settings(deadline=None, max_examples=10)
@given(st.integers(0, 10_000), st.floats(0.05, 0.95))
def test_solving_keeps_constants_and_is_linear(seed, level):
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (12, 10, 3), np.uint8)
    flat = _bilateral.solve(image, np.full((12, 10), level))
    np.testing.assert_allclose(flat, level, atol=1e-4)
    target = (rng.random((12, 10)) > 0.5).astype(float)
    once, negated = _bilateral.solve(image, target), _bilateral.solve(image, 1 - target)
    np.testing.assert_allclose(once + negated, 1, atol=1e-2)  # iterations end at 1e-5 of residual


def test_a_mask_moves_to_the_edge_of_its_photo():
    image = np.full((40, 40, 3), 30, np.uint8)
    true = np.zeros((40, 40), bool)
    true[10:30, 10:30] = True
    image[true] = (220, 60, 40)
    coarse = np.zeros((40, 40), bool)
    coarse[8:32, 8:32] = True
    soft = _bilateral.solve(image, coarse.astype(float))
    refined = _bilateral.choose(soft, coarse)
    assert _bilateral.overlap(refined.mask > 0, true) > _bilateral.overlap(coarse, true)


@pytest.mark.parametrize("shape", [(8, 8), (8, 8, 4), (7, 8, 3)])
def test_a_photo_of_another_shape_is_refused(shape):
    with pytest.raises(ValueError, match="image: got uint8"):
        _bilateral.solve(np.zeros(shape, np.uint8), np.zeros((8, 8)))
    with pytest.raises(ValueError, match="choice 'best', expected one of largest, released"):
        _bilateral.choose(np.zeros((8, 8)), np.zeros((8, 8), bool), "best")


def test_golden_imagenet_s_mask(shared):
    folder = shared / "golden" / "robustvit"
    expected = reference(shared, "imagenet_s_mask")
    with Image.open(folder / "imagenet_s_mask.png") as picture:
        picture.load()
    np.testing.assert_array_equal(np.asarray(picture), expected["rgb"])
    read = np.asarray(READERS["imagenet_s"](picture, "golden"))
    np.testing.assert_array_equal(read / 255, expected["binary"])
