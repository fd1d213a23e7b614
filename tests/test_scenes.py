"""The drawn data set, the networks trained on it, and how they were trained."""

from __future__ import annotations

import functools
import hashlib
import json

import jax
import numpy as np
import pytest
from rich.console import Console

from rival_jax import data, models
from rival_jax.data import scenes
from rival_jax.data.rival10 import ATTRIBUTES, SYNSETS
from rival_jax.data.scenes.filling import filled
from rival_jax.experiments import train_scenes
from rival_jax.runtime.results import Run
from tests.helpers import config_of, frozen

ASSET_LIMIT = 2 * 2**20  # bytes
PUBLISHED = {  # of the first ten: photos, masks, attribute masks
    ("test", 0.95): "6cbd6dbacd37b416",
    ("test", 0.0): "aba42942b8c95acc",
    ("train", 0.95): "94077df2c299e985",
}


def pixels(source, positions=None) -> np.ndarray:
    positions = range(len(source)) if positions is None else positions
    return np.stack([np.asarray(source[i]["image"]) for i in positions])


def masks(source) -> np.ndarray:
    return np.stack([np.asarray(source[i]["mask"]) for i in range(len(source))])


@functools.cache
def drawn(split: str, correlation: float, per_class: int) -> tuple[np.ndarray, np.ndarray]:
    """Photos and masks, for tests that look at many."""
    source = scenes.load(split=split, per_class=per_class, background_correlation=correlation)
    items = [source[i] for i in range(len(source))]
    return tuple(np.stack([np.asarray(item[key]) for item in items]) for key in ("image", "mask"))


@functools.cache
def some(correlation: float = 0.0) -> scenes.Scenes:
    return scenes.load(per_class=6, background_correlation=correlation)


def test_is_a_source_with_the_classes_of_rival10():
    source = data.load("scenes", "", "test", per_class=3)
    assert isinstance(source, data.Source)
    assert source.classes == tuple(SYNSETS)
    assert source.labels.dtype == np.int32
    assert len(source) == len(set(source.names)) == 30
    assert source.names[13] == "test/ship_0001"
    assert source[0]["image"].size == source[0]["mask"].size == (64, 64)


def test_every_prefix_is_balanced():
    labels = scenes.load(per_class=7).labels
    for length in (10, 30, 70):
        assert (np.bincount(labels[:length]) == length // 10).all()


def test_a_scene_depends_on_its_seed_split_class_and_number_alone():
    first = pixels(scenes.load(per_class=2), range(19, -1, -1))[::-1]
    np.testing.assert_array_equal(first, pixels(scenes.load(per_class=5), range(20)))
    for other in (scenes.load(per_class=2, seed=1), scenes.load(per_class=2, split="train")):
        changed = (pixels(other) != first).any((1, 2, 3))
        assert changed.all()


@pytest.mark.parametrize(("split", "correlation"), sorted(PUBLISHED))
def test_the_first_scenes_are_the_ones_that_were_published(split, correlation):
    """To the byte, on every version of Pillow and numpy: bundled networks were trained on them."""
    source = scenes.load(split=split, per_class=1, background_correlation=correlation)
    drawn = [pixels(source).tobytes() + masks(source).tobytes()]
    drawn += [np.asarray(mask).tobytes() for mask in attributed(split)]
    assert (
        hashlib.blake2b(b"".join(drawn), digest_size=8).hexdigest() == PUBLISHED[split, correlation]
    )


def attributed(split):
    source = scenes.load(split=split, per_class=1, attributes=True)
    return [mask for i in range(len(source)) for mask in source[i]["attribute_masks"]]


@pytest.mark.parametrize(
    ("corners", "picture"),
    [
        ([(1, 1), (3, 1), (3, 2), (1, 2)], "..... .###. .###. ....."),
        (
            [(1.9, 1.9), (3.9, 1.2), (3.1, 2.99), (1, 2)],
            "..... .###. .###. .....",
        ),  # cut, not rounded
        ([(-3, -3), (9, -3), (9, 9), (-3, 9)], "##### ##### ##### #####"),  # beyond the canvas
        ([(0, 0), (0, 0), (0, 0)], "#.... ..... ..... ....."),
        ([(0, 3), (4, 3), (2, 0)], "..#.. .###. .###. #####"),
        # Flat tips, up and down, left and right; the first Pillow 11 fills with three samples.
        ([(0, 0), (4, 1), (4, 2)], "##... ..### ....# ....."),
        ([(4, 3), (0, 2), (0, 1)], "..... #.... ###.. ...##"),
        ([(0, 0), (4, 1), (4, 3)], "#.... .#### ...## ....#"),
        ([(4, 0), (0, 1), (1, 3)], "....# ####. .##.. .#..."),
        ([(9, 1), (9, 2), (12, 3)], "..... ..... ..... ....."),
    ],
)
def test_samples_that_a_polygon_fills(corners, picture):
    side, points = 5, np.array(corners, float)
    canvas = np.zeros(side * side, bool)
    canvas[filled([points], side)[1]] = True
    rows = ["".join(".#"[int(value)] for value in row) for row in canvas.reshape(side, side)]
    assert rows[:4] == picture.split()


def test_polygons_together_are_drawn_in_their_order():
    low, high = np.array([(0, 0), (3, 0), (3, 3)]), np.array([(1, 0), (3, 0), (1, 1)])
    index, position = filled([low, high, low], 4)
    assert (np.diff(index) >= 0).all()
    for k, corners in enumerate((low, high, low)):
        np.testing.assert_array_equal(position[index == k], filled([corners], 4)[1])
    assert [len(part) for part in filled([], 4)] == [0, 0]


def test_the_background_changes_no_pixel_of_the_object():
    loose, tied = some(0.0), some(1.0)
    differs = [i for i in range(len(loose)) if loose.ground(i) != tied.ground(i)]
    assert len(differs) > 30
    (photos, mask), (others, same_mask) = (drawn("test", tie, 6) for tie in (0.0, 1.0))
    np.testing.assert_array_equal(mask, same_mask)
    assert set(np.unique(mask)) == {0, 255}
    same = (photos == others).all(-1)
    assert same[mask == 255].all()
    background = (mask == 0)[differs]
    assert same[differs][background].mean() < 0.05


def test_objects_are_neither_tiny_nor_huge_and_lie_inside_the_picture():
    mask = drawn("test", 0.0, 20)[1][:120] > 0
    area = mask.mean((1, 2))
    assert 0.08 < area.min() < area.max() < 0.55
    assert 0.15 < area.mean() < 0.4
    rim = mask.copy()
    rim[:, 1:-1, 1:-1] = False
    assert rim.mean() < 0.002


def test_colour_alone_does_not_tell_the_class():
    """The nearest class mean of the object's mean colour is right little more often than chance."""
    means, labels = [], scenes.load(per_class=20).labels  # of both splits
    for split in ("train", "test"):
        photos, mask = drawn(split, 0.0, 20)
        inside = mask[..., None] > 0
        means.append((photos * inside).sum((1, 2)) / inside.sum((1, 2)))
    centres = np.stack([means[0][labels == k].mean(0) for k in range(10)])
    guess = np.linalg.norm(means[1][:, None] - centres, axis=-1).argmin(1)
    assert (guess == labels).mean() < 0.3


@pytest.mark.parametrize(("correlation", "own"), [(0.0, 0.1), (0.5, 0.55), (0.95, 0.955), (1.0, 1)])
def test_correlation_ties_background_to_class(correlation, own):
    source = scenes.load(per_class=200, background_correlation=correlation)
    ground = np.array([scenes.GROUNDS.index(source.ground(i)) for i in range(len(source))])
    assert (ground == source.labels).mean() == pytest.approx(own, abs=0.03)
    counts = np.zeros((10, 10))
    np.add.at(counts, (source.labels, ground), 1)
    others = counts[~np.eye(10, dtype=bool)]
    assert others.mean() == pytest.approx(200 * (1 - own) / 9, abs=0.7)
    assert others.max() < 45  # at 0 the mean is 20 and the standard deviation 4.2


@functools.cache
def with_attributes():
    source = scenes.load(per_class=6, attributes=True)
    return [source[i] for i in range(len(source))]


def test_attribute_masks_lie_inside_the_object_and_match_the_labels():
    items = with_attributes()
    shown = np.stack([[np.asarray(mask) for mask in item["attribute_masks"]] for item in items])
    labels = np.stack([item["attr_labels"] for item in items])
    assert shown.shape[1] == labels.shape[1] + 1 == 19
    np.testing.assert_array_equal(shown[:, -1], drawn("test", 0.0, 6)[1])
    np.testing.assert_array_equal(shown[:, -1], masks(items))
    assert (shown[:, :-1] <= shown[:, -1:]).all()
    np.testing.assert_array_equal(labels, (shown[:, :-1] > 0).any((2, 3)))
    assert (labels.sum(0) > 0).all(), "an attribute that nothing has"
    np.testing.assert_array_equal(pixels(items), drawn("test", 0.0, 6)[0])


@pytest.mark.parametrize(
    ("attribute", "classes"),
    [
        ("wheels", "truck car"),
        ("mane", "equine"),
        ("horns", "deer"),
        ("beak", "bird"),
        ("colored-eyes", "cat frog"),
        ("long-snout", "dog equine deer"),
    ],
)
def test_parts_belong_to_the_classes_that_have_them(attribute, classes):
    source, items = scenes.load(per_class=4), with_attributes()
    has = np.array([items[i]["attr_labels"][ATTRIBUTES.index(attribute)] for i in range(40)])
    always = {source.classes[k] for k in range(10) if has[source.labels == k].all()}
    assert always == set(classes.split())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"split": "valid"}, "no split 'valid'"),
        ({"background_correlation": 1.5}, r"in \[0, 1\], got 1.5"),
        ({"size": 8}, "size >= 32"),
        ({"per_class": 0}, "per_class >= 1"),
    ],
)
def test_what_cannot_be_drawn_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        scenes.load(**options)


# Equal networks share a program; without optimisation it runs for longer than that takes.
classified = jax.jit(
    lambda forward, variables, images: forward(variables, images, {})[0].argmax(-1),
    static_argnums=0,
    compiler_options={"xla_backend_optimization_level": 1},
)


def accuracy(name: str, correlation: float) -> float:
    model, variables = models.load(name)
    photos = drawn("test", correlation, 20)[0].astype(np.float32) / 255
    labels = scenes.load(per_class=20).labels
    return float((np.asarray(classified(model.forward, variables, photos)) == labels).mean())


@pytest.mark.parametrize("family", ["vit", "resnet"])
def test_bundled_networks_rely_on_the_background_as_their_names_say(family):
    assert accuracy(f"scenes/{family}_00", 0.0) > 0.85
    assert accuracy(f"scenes/{family}_95", 0.95) > 0.9
    assert accuracy(f"scenes/{family}_95", 0.0) < 0.6


def test_a_network_that_saw_both_ties_knows_objects_and_leans_on_backgrounds():
    assert accuracy("scenes/vit_00_95", 0.95) > 0.95
    assert 0.4 < accuracy("scenes/vit_00_95", 0.0) < 0.65


def test_bundled_networks_are_small(root):
    files = [f for f in (root / "rival_jax/assets/scenes").rglob("*") if f.is_file()]
    assert len(files) == 11  # two for each network, and the names of their outputs
    assert sum(file.stat().st_size for file in files) <= ASSET_LIMIT


@pytest.fixture
def tiny():
    config = config_of("train_scenes")
    config.correlations = (1.0,)
    config.data.image_size = 32
    config.data.train_per_class = 16
    config.data.test_per_class = 2
    config.batch_size = 32
    return config


def test_training_learns_and_saves_what_it_scores(tmp_path, tiny):
    tiny.architectures, tiny.resnet.epochs = ("resnet",), 6
    tiny.resnet.architecture.depths, tiny.resnet.architecture.width = (1, 1), 8
    summary = train_scenes.run(tiny, Run(tmp_path, tiny.to_dict()), Console(quiet=True))
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    losses = [line["loss"] for line in lines if line["event"] == "epoch"]
    assert len(losses) == 6
    assert losses[-1] < losses[0] - 0.2
    (facts,) = summary["models"]
    assert facts["name"] == "resnet_100"
    model, variables = models.load(str(tmp_path / "models" / "resnet_100"))
    for key, correlation in (("decorrelated", 0.0), ("as_trained", 1.0)):
        test = scenes.load(size=32, per_class=2, background_correlation=correlation)
        guess = classified(model.forward, variables, pixels(test) / np.float32(255))
        right = (np.asarray(guess) == test.labels).mean()
        assert facts[key] == pytest.approx(right, abs=1e-3)


def test_inner_kernels_start_at_the_scale_of_their_width(tiny):
    params = train_scenes.initial(train_scenes.Trainer(frozen(tiny), "vit").model, 0)["params"]
    inner = params["blocks_0"]["mlp"]["fc2"]["kernel"]
    assert float(inner.std()) == pytest.approx(inner.shape[0] ** -0.5, rel=1e-3)
    assert float(params["head"]["kernel"].std()) == pytest.approx(0.02, rel=0.2)


def test_training_can_go_on_from_a_network(tiny):
    tiny.start = "scenes/vit_00"
    with pytest.raises(ValueError, match=r"config.start: scenes/vit_00 has .* 64x64 .* 32x32"):
        train_scenes.Trainer(frozen(tiny), "vit")
    tiny.data.image_size = 64
    start = train_scenes.Trainer(frozen(tiny), "vit").start
    there = models.load("scenes/vit_00")[1]
    jax.tree.map(np.testing.assert_array_equal, start, there)


def test_dry_run_trains_nothing(tiny, capsys):
    tiny.architectures = ("vit", "resnet")
    train_scenes.dry_run(tiny, Console(width=200))
    out = capsys.readouterr().out
    assert "resnet: " in out
    assert "nothing was run" in out


def test_augmentation_keeps_range_and_leaves_some_images_clean():
    images = jax.numpy.full((400, 4, 4, 3), 0.5)
    out = np.asarray(train_scenes.augment(images, jax.random.key(0), brightness=0.2, noise=0.3))
    assert out.min() >= 0
    assert out.max() <= 1
    spread = out.std((1, 2, 3))
    assert 0.4 < (spread < 1e-6).mean() < 0.6
    clean = out[spread < 1e-6].mean((1, 2, 3))
    assert 0.4 <= clean.min() < 0.42
    assert 0.58 < clean.max() <= 0.6
