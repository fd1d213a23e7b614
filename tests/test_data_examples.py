"""Decoding a data set once, finding every bad example, and cutting batches."""

from __future__ import annotations

import sys
import time
import types

import jax.numpy as jnp
import numpy as np
import pytest

from rival_jax import data
from rival_jax.data import checks
from rival_jax.data.checks import SHOWN
from rival_jax.data.source import noise_id
from rival_jax.types import Geometry
from tests.pictures import SIZE, Drawn, disc, photo, plain, save

SMALL = Geometry((12, 16))
KEYS = {"image", "mask", "label", "index", "noise_id"}


def pixels(batches):
    """Every real row of some batches, by name of the array."""
    batches = list(batches)
    real = np.concatenate([batch["index"] for batch in batches]) >= 0
    return {key: np.concatenate([batch[key] for batch in batches])[real] for key in KEYS}


def assert_same(a, b):
    for key in KEYS:
        np.testing.assert_array_equal(a[key], b[key])


def test_batches_are_the_pixels_in_order():
    examples = data.Examples(Drawn(7), SMALL)
    batches = list(examples.batches(3))
    assert [batch["index"].tolist() for batch in batches] == [[0, 1, 2], [3, 4, 5], [6, -1, -1]]
    last = batches[-1]
    assert set(last) == KEYS
    for key in KEYS - {"index"}:
        np.testing.assert_array_equal(last[key], last[key][:1].repeat(3, 0))
    got = pixels(batches)
    np.testing.assert_array_equal(got["image"], np.float32(examples.images) / np.float32(255))
    np.testing.assert_array_equal(got["mask"], np.float32(examples.masks) / np.float32(255))
    np.testing.assert_array_equal(got["label"], [0, 1, 0, 1, 0, 1, 0])
    assert [last[key].dtype for key in ("image", "mask", "label", "index", "noise_id")] == [
        *(np.float32, np.float32),
        *(np.int32, np.int32, np.uint32),
    ]


@pytest.mark.parametrize("dtype", [jnp.bfloat16, np.float16, np.float64])
def test_other_dtypes_are_rounded_once(dtype):
    examples = data.Examples(Drawn(2), SMALL)
    batch = next(examples.batches(2, dtype))
    exact = np.divide(examples.images, 255, dtype=np.promote_types(dtype, np.float32))
    assert batch["image"].dtype == dtype
    np.testing.assert_array_equal(batch["image"], exact.astype(dtype))


@pytest.mark.parametrize(("arguments", "words"), [((0,), "batch_size 0"), ((2, int), "float")])
def test_odd_batches_are_refused_at_the_call(arguments, words):
    examples = data.Examples(Drawn(2), SMALL)
    with pytest.raises(ValueError, match=words):
        examples.batches(*arguments)


def test_a_data_set_too_large_to_hold_gives_the_same_bytes():
    bad = {3: {"mask": plain(0)}}
    held = data.Examples(Drawn(9, bad), SMALL, on_bad="skip", held_gib=9 * 12 * 16 * 4 / 2**30)
    again = data.Examples(
        Drawn(9, bad), SMALL, on_bad="skip", held_gib=(9 * 12 * 16 * 4 - 1) / 2**30
    )
    assert held.images.shape == (8, 12, 16, 3)
    for name in ("images", "masks"):
        with pytest.raises(
            ValueError,
            match=r"more than config\.data\.held_gib = .*use batches\(\), or raise that key",
        ):
            getattr(again, name)
    assert held.fingerprint == again.fingerprint
    assert held.skipped == again.skipped
    assert_same(pixels(held.batches(3)), pixels(again.batches(3)))
    for row in (0, 7):
        ours, theirs = held.example(row), again.example(row)
        assert (ours["name"], ours["label"]) == (theirs["name"], theirs["label"])
        np.testing.assert_array_equal(ours["image"], theirs["image"])
        np.testing.assert_array_equal(ours["mask"], theirs["mask"])


def test_the_next_batch_is_decoded_while_a_network_computes():
    class Counting(Drawn):
        read = 0

        def __getitem__(self, position):
            self.read += 1
            return super().__getitem__(position)

    source = Counting(40)
    examples = data.Examples(source, SMALL, held_gib=0.0, threads=1)
    source.read = 0
    batches = examples.batches(12)
    next(batches)
    for _ in range(200):  # nothing else is asked for meanwhile
        if source.read >= 24:
            break
        time.sleep(0.01)
    assert 24 <= source.read <= 32  # not the whole set


def test_bad_examples_are_found_before_any_batch_without_holding():
    with pytest.raises(ValueError, match=r"cat/004\.png"):
        data.Examples(Drawn(5, {4: {"mask": plain(0)}}), SMALL, held_gib=0.0)


def test_a_file_that_changed_since_it_was_checked_is_told():
    source = Drawn(3)
    examples = data.Examples(source, SMALL, held_gib=0.0)
    source.changes[1] = {"mask": plain(0)}
    with pytest.raises(ValueError, match=r"dog/001\.png.*was well when"):
        list(examples.batches(2))


def test_one_example():
    examples = data.Examples(Drawn(3), SMALL)
    got = examples.example(1)
    assert (got["name"], got["label"]) == ("dog/001.png", 1)
    np.testing.assert_array_equal(got["image"], examples.images[1])
    np.testing.assert_array_equal(got["mask"], examples.masks[1])


PIXELS = SMALL.size[0] * SMALL.size[1]
BAD = {
    "empty": ({"mask": plain(0)}, f"mask cat/002.png is 0 of {PIXELS} pixels"),
    "full": ({"mask": plain(255)}, f"mask cat/002.png is {PIXELS} of {PIXELS} pixels"),
    "grey": ({"mask": plain(128)}, "mask cat/002.png is grey 128 of 255 everywhere"),
    "named": ({"mask": plain(0), "mask_name": "m.png"}, "mask m.png is 0 of"),
    "turned": ({"mask": disc(SIZE[::-1])}, "is 30 x 40 pixels.*its photo, 40 x 30"),
    "labels": ({"mask": disc(white=1)}, "holds 0 and 1, expected 0 to 255"),
    "mask mode": ({"mask": disc().convert("RGB")}, "modes RGB and RGB, expected L and RGB"),
    "photo mode": ({"image": photo().convert("L")}, "modes L and L"),
    "refused": (ValueError("photo x.jpg has mode CMYK"), "photo x.jpg has mode CMYK"),
    "missing": (FileNotFoundError("no x.png"), "no x.png"),
    "damaged": (OSError("x.png is truncated"), "x.png is truncated"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_example_is_named_with_its_cure(name):
    change, words = BAD[name]
    cure = r"; drop it or pass --config\.data\.on_bad='skip'$"
    with pytest.raises(ValueError, match=words + r".*" + cure):
        data.Examples(Drawn(6, {2: change}), SMALL)


@pytest.mark.parametrize("name", BAD)
def test_bad_example_is_dropped_on_demand(name):
    change, words = BAD[name]
    examples = data.Examples(Drawn(6, {2: change}), SMALL, on_bad="skip")
    assert [skipped for skipped, _ in examples.skipped] == ["cat/002.png"]
    with pytest.raises(ValueError, match=words):
        raise ValueError(examples.skipped[0][1])
    assert examples.positions.tolist() == [0, 1, 3, 4, 5]
    kept = data.Examples(Drawn(5, names=examples.names), SMALL)
    np.testing.assert_array_equal(examples.images, kept.images)
    assert examples.labels.tolist() == [0, 1, 1, 0, 1]


def test_labels_out_of_range_are_bad_examples():
    source = Drawn(4)
    source.labels = np.array([0, 1, 2, -1], np.int32)
    with pytest.raises(ValueError, match=r"label 2 of cat/002\.png is none of the 2") as error:
        data.Examples(source, SMALL)
    assert "label -1 of dog/003.png" in str(error.value)
    assert len(data.Examples(source, SMALL, on_bad="skip")) == 2


def test_all_bad_examples_are_reported_together_ten_in_words():
    changes = {i: {"mask": plain(0)} for i in range(2, 15)}
    with pytest.raises(ValueError, match="13 of 20 examples cannot be used; drop them") as error:
        data.Examples(Drawn(20, changes), SMALL)
    text = str(error.value)
    assert text.count("pixels") == SHOWN == 10
    assert "cat/002.png" in text
    assert "cat/012.png" not in text
    assert text.endswith("and 3 more")


def test_an_option_that_all_faults_advise_is_said_once():
    faults = [f"mask {i}.png holds {i}: pass --config.x='({i},)'" for i in (1, 2)]
    assert "2.png holds 2: pass" in checks.report(faults, 9, "examples", "drop them")
    text = checks.report(
        [f"mask {i} is odd: pass --config.x" for i in "ab"], 9, "masks", "drop them"
    )
    assert text.startswith("2 of 9 masks cannot be used; pass --config.x; or drop them:")
    assert text.endswith(":\n  mask a is odd\n  mask b is odd")
    text = checks.report([f"photo {i} is damaged: cut short" for i in "ab"], 9, "photos", "mend")
    assert text.count("cut short") == 2


def test_class_without_images_is_an_error():
    changes = {i: {"mask": plain(0)} for i in (1, 3)}
    with pytest.raises(ValueError, match=r"no good image is left of class dog.*dog/001\.png"):
        data.Examples(Drawn(4, changes), SMALL, on_bad="skip")


def test_class_that_was_never_there_is_fine():
    source = Drawn(4)
    source.classes = ("cat", "dog", "eel")
    assert len(data.Examples(source, SMALL)) == 4


@pytest.mark.parametrize(
    ("source", "options", "words"),
    [
        (Drawn(0), {}, "empty"),
        (Drawn(2, names=["a", "a"]), {}, "1 names occur twice, such as a"),
        (Drawn(2), {"on_bad": "drop"}, "on_bad 'drop', expected one of error, skip"),
    ],
)
def test_odd_calls_are_refused(source, options, words):
    with pytest.raises(ValueError, match=words):
        data.Examples(source, SMALL, **options)


def test_errors_of_the_program_are_not_taken_for_bad_examples():
    with pytest.raises(KeyError, match="slip"):
        data.Examples(Drawn(4, {1: KeyError("slip")}), SMALL, on_bad="skip")


@pytest.mark.parametrize("size", [(20, 15), (80, 60), (20, 16), (21, 15), (41, 30), (19, 14)])
def test_masks_of_another_size_but_the_photos_shape_are_used(size):
    assert len(data.Examples(Drawn(2, {0: {"mask": disc(size)}}), SMALL)) == 2


@pytest.mark.parametrize("size", [(20, 17), (80, 63), (30, 30), (22, 15), (42, 30)])
def test_masks_of_another_shape_are_bad(size):
    with pytest.raises(ValueError, match=f"is {size[0]} x {size[1]} pixels"):
        data.Examples(Drawn(2, {0: {"mask": disc(size)}}), SMALL)


@pytest.mark.parametrize("threads", [1, 3])
def test_threads_change_nothing(threads):
    one = data.Examples(Drawn(12), SMALL, threads=1)
    other = data.Examples(Drawn(12), SMALL, threads=threads)
    assert one.fingerprint == other.fingerprint
    assert_same(pixels(one.augmented_batches(5, 0, 0)), pixels(other.augmented_batches(5, 0, 0)))


def test_order_in_the_file_system_changes_nothing(tmp_path):
    names = ["cat/b", "dog/a", "cat/a", "dog/z"]
    prints = []
    for place, order in (("here", names), ("there", names[::-1])):
        for name in order:
            save(photo(sum(name.encode())), tmp_path / place / "images" / f"{name}.png")
            save(disc(), tmp_path / place / "masks" / f"{name}.png")
        examples = data.Examples(data.load("masked_folder", tmp_path / place, "test"), SMALL)
        prints.append((examples.fingerprint, examples.names, examples.noise_ids.tolist()))
    assert prints[0] == prints[1]


def test_fingerprint_tells_contents_apart():
    base = Drawn(4)
    renamed, relabelled, repainted = Drawn(4), Drawn(4), Drawn(4, {1: {"image": photo(99)}})
    remasked, reclassed = Drawn(4, {1: {"mask": disc().rotate(90)}}), Drawn(4)
    renamed.names = ["cat/000.png", "dog/001.png", "cat/002.png", "dog/9.png"]
    renamed.changes = {3: Drawn(4)[3]}
    relabelled.labels = np.array([0, 1, 1, 1], np.int32)
    reclassed.classes = ("cat", "hound")
    sources = (base, renamed, relabelled, repainted, remasked, reclassed)
    assert len({data.Examples(source, SMALL).fingerprint for source in sources}) == 6
    assert data.Examples(base, SMALL).fingerprint == data.Examples(Drawn(4), SMALL).fingerprint


def test_noise_ids_belong_to_names_not_to_positions():
    whole = data.Examples(Drawn(6), SMALL)
    part = data.Examples(Drawn(2, names=[whole.names[5], whole.names[2]]), SMALL)
    assert part.noise_ids.tolist() == whole.noise_ids[[5, 2]].tolist()
    assert len(set(whole.noise_ids.tolist())) == 6
    assert noise_id("cat/000.png") == whole.noise_ids[0]


def test_progress_is_told():
    seen = []
    data.Examples(Drawn(3), SMALL, on_item=lambda done, total: seen.append((done, total)))
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_augmented_examples_depend_on_seed_epoch_and_name_alone():
    examples = data.Examples(Drawn(8), SMALL)
    first = pixels(examples.augmented_batches(3, 0, 0))
    assert sorted(first["index"].tolist()) == list(range(8))
    assert first["index"].tolist() != list(range(8))
    assert_same(first, pixels(examples.augmented_batches(5, 0, 0)))
    by_name = dict(zip(first["noise_id"].tolist(), first["image"], strict=True))
    part = data.Examples(Drawn(2, names=[examples.names[5], examples.names[2]]), SMALL)
    got = pixels(part.augmented_batches(2, 0, 0))
    for name, image in zip(got["noise_id"].tolist(), got["image"], strict=True):
        np.testing.assert_array_equal(image, by_name[name])
    for epoch, seed in ((1, 0), (0, 1)):
        other = pixels(examples.augmented_batches(3, epoch, seed))
        moved = dict(zip(other["noise_id"].tolist(), other["image"], strict=True))
        assert all((moved[name] != image).any() for name, image in by_name.items())
        assert other["index"].tolist() != first["index"].tolist()


def test_augmented_examples_are_those_that_were_kept():
    whole = data.Examples(Drawn(5), SMALL)
    part = data.Examples(Drawn(5, {0: {"mask": plain(0)}}), SMALL, on_bad="skip")
    theirs, ours = (pixels(e.augmented_batches(5, 0, 0)) for e in (whole, part))
    by_name = dict(zip(theirs["noise_id"].tolist(), theirs["image"], strict=True))
    for name, image in zip(ours["noise_id"].tolist(), ours["image"], strict=True):
        np.testing.assert_array_equal(image, by_name[name])


def test_augmented_labels_follow_their_examples():
    examples = data.Examples(Drawn(9), SMALL)
    batches = list(examples.augmented_batches(4, 2, 3))
    assert batches[-1]["index"][1:].tolist() == [-1, -1, -1]
    got = pixels(batches)
    np.testing.assert_array_equal(got["label"], examples.labels[got["index"]])
    np.testing.assert_array_equal(got["noise_id"], examples.noise_ids[got["index"]])
    assert got["image"].min() >= 0
    assert got["image"].max() <= 1


@pytest.mark.parametrize(
    ("mask", "words"),
    [
        (np.full((4, 4), np.nan), "16 NaN values of 16"),
        (np.where(np.eye(4) > 0, np.nan, 0.5), "4 NaN values of 16"),
        (np.linspace(-0.5, 1, 16).reshape(4, 4), r"reaches from -0\.5 to 1, expected \[0, 1\]"),
        (np.linspace(0, 255, 16).reshape(4, 4), "reaches from 0 to 255"),
        (np.where(np.eye(4) > 0, np.inf, 0), "reaches from 0 to inf"),
        (np.zeros((4, 4)), "is 0 of 16 pixels"),
        (np.zeros((4, 4), bool), "is 0 of 16 pixels"),
        (np.ones((4, 4), np.float32), "is 16 of 16 pixels"),
        (np.full((4, 4), 0.5), "grey 0.5 of 1"),
        (np.eye(4, dtype=np.int64), "is int64, expected bool, float or uint8"),
        (np.ones((1, 4, 4)), r"shape \(1, 4, 4\), expected \(height, width\)"),
        (np.ones((0, 4)), r"shape \(0, 4\)"),
    ],
)
def test_callers_masks_are_checked(mask, words):
    with pytest.raises(ValueError, match=rf"mask m\.png.*{words}.*on_bad='skip'"):
        data.check_mask(mask, "m.png")


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.float16, np.float32, np.float64])
def test_masks_with_both_regions_pass(dtype):
    data.check_mask(np.eye(4).astype(dtype), "m.png")


def test_unknown_data_set_lists_the_data_sets():
    with pytest.raises(ValueError, match="no 'rival'; did you mean 'rival10'") as error:
        data.load("rival", ".", "test")
    assert "masked_folder" in str(error.value)
    for part in ("transforms", "examples", "pickles"):
        assert part not in str(error.value)
        with pytest.raises(ValueError, match=f"no '{part}'"):
            data.load(part, ".", "test")


def test_unknown_option_lists_the_options():
    with pytest.raises(ValueError, match=r"no 'varient'; did you mean 'variant'.*attributes"):
        data.load("rival10", ".", "test", varient="removed")


def test_data_set_from_elsewhere(monkeypatch, tmp_path):
    package, module = types.ModuleType("mylab"), types.ModuleType("mylab.cub")
    module.load = lambda root, split, *, count=2: Drawn(count)
    monkeypatch.setitem(sys.modules, "mylab", package)
    monkeypatch.setitem(sys.modules, "mylab.cub", module)
    source = data.load("mylab.cub", tmp_path, "test", count=4)
    assert isinstance(source, data.Source)
    assert len(source) == 4
    del module.load
    with pytest.raises(ValueError, match="no function load"):
        data.load("mylab.cub", tmp_path, "test")
