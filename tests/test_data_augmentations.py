import numpy as np
import pytest
from PIL import Image

from rival_jax import data
from rival_jax.data.transforms import (
    AUGMENTATIONS,
    mirror_augment,
    resize_mask,
    resize_photo,
    square_augment,
    square_crop,
)
from rival_jax.types import Geometry
from tests.helpers import EXACT, nhwc

HALF_A_LEVEL = 0.5 / 255  # masks are kept as whole levels of 255
SMALL = Geometry((28, 28))


@pytest.fixture
def pictures():
    rng = np.random.default_rng(0)
    photo = Image.fromarray(rng.integers(0, 256, (40, 52, 3), np.uint8))
    mask = np.zeros((40, 52), np.uint8)
    mask[10:30, 12:40] = 255
    return photo, Image.fromarray(mask)


@pytest.mark.parametrize(("flip", "suffix"), [(False, ""), (True, "_flip")])
def test_square_crop_is_the_released_training_transform(shared, flip, suffix):
    with np.load(shared / "golden" / "robustvit" / "transforms.npz") as file:
        stored = dict(file)
    photo = Image.fromarray(stored["image"])
    mask = Image.fromarray((255 * stored["mask"]).astype(np.uint8))
    image, marked = square_crop(photo, mask, SMALL, (3, 1), flip)
    want = nhwc(stored[f"train_image_normalised{suffix}"]) * 0.5 + 0.5
    np.testing.assert_allclose(image / 255, want, atol=EXACT)
    np.testing.assert_allclose(
        marked / 255, stored[f"train_mask{suffix}"], atol=HALF_A_LEVEL + EXACT
    )


def test_the_evaluation_crop_is_the_released_one(shared):
    with np.load(shared / "golden" / "robustvit" / "transforms.npz") as file:
        stored = dict(file)
    photo = Image.fromarray(stored["image"])
    image = resize_photo(photo, Geometry((28, 28), "crop", "bilinear", 28 / 32))
    want = nhwc(stored["eval_image_normalised"]) * 0.5 + 0.5
    np.testing.assert_allclose(image / 255, want, atol=EXACT)


def test_square_crops_move_with_their_masks(pictures):
    photo, mask = pictures
    seen = set()
    for seed in range(20):
        image, marked = square_augment(photo, mask, SMALL, np.random.default_rng(seed))
        assert (image.shape, marked.shape) == ((28, 28, 3), (28, 28))
        same = square_augment(mask.convert("RGB"), mask, SMALL, np.random.default_rng(seed))
        assert (same[0][marked == 255] > 127).all()
        assert (same[0][marked == 0] < 128).all()
        seen.add(image.tobytes())
    assert len(seen) > 10


def test_mirroring_shows_the_whole_photo(pictures):
    photo, mask = pictures
    whole = resize_photo(photo, SMALL), resize_mask(mask, SMALL, photo.size)
    mirrored = 0
    for seed in range(10):
        image, marked = mirror_augment(photo, mask, SMALL, np.random.default_rng(seed))
        if not np.array_equal(image, whole[0]):
            image, marked, mirrored = image[:, ::-1], marked[:, ::-1], mirrored + 1
        np.testing.assert_array_equal(image, whole[0])
        np.testing.assert_array_equal(marked, whole[1])
    assert 0 < mirrored < 10


@pytest.mark.parametrize("augmentation", AUGMENTATIONS)
def test_an_epoch_can_be_entered_at_any_batch(augmentation):
    source = data.load("scenes", "", "train", per_class=1, size=32)
    examples = data.Examples(source, Geometry((32, 32)))
    options = {"augmentation": augmentation}
    whole = list(examples.augmented_batches(4, 2, 7, **options))
    for first in range(4):
        rest = list(examples.augmented_batches(4, 2, 7, first=first, **options))
        assert len(rest) == 3 - first if first < 3 else not rest
        for got, want in zip(rest, whole[first:], strict=True):
            for name in want:
                np.testing.assert_array_equal(got[name], want[name])
    with pytest.raises(ValueError, match="augmentation: no 'squares'; did you mean 'square'"):
        next(examples.augmented_batches(4, 0, 0, augmentation="squares"))


def test_further_rounds_are_other_orders_and_crops():
    source = data.load("scenes", "", "train", per_class=1, size=32)
    examples = data.Examples(source, Geometry((32, 32)))
    count, size = len(examples), 4
    once = list(examples.augmented_batches(size, 2, 7))
    found = list(examples.augmented_batches(size, 2, 7, shown=count + 6))
    assert [len(batch["index"]) for batch in found] == [size] * 4
    index = np.concatenate([batch["index"] for batch in found])
    assert (np.bincount(index[:count]) == 1).all()
    assert len(set(index[count:].tolist())) == 6
    assert index[count:].tolist() != index[:6].tolist()
    for name in once[0]:
        np.testing.assert_array_equal(found[0][name], once[0][name])
    shown = {int(i): found[k // size]["image"][k % size] for k, i in enumerate(index[:count])}
    for k, i in enumerate(index[count:], count):
        assert found[k // size]["label"][k % size] == examples.labels[i]
        assert not np.array_equal(found[k // size]["image"][k % size], shown[int(i)])
    rest = list(examples.augmented_batches(size, 2, 7, shown=count + 6, first=3))
    np.testing.assert_array_equal(rest[0]["image"], found[3]["image"])
