"""Class folders that are numbers are in the order of the numbers; all others as their letters."""

from __future__ import annotations

import csv
import json

import pytest

from rival_jax import data
from rival_jax.data.source import class_order
from tests.pictures import disc, photo, save

TWELVE = tuple(str(k) for k in range(12))


@pytest.mark.parametrize(
    ("folders", "order"),
    [
        (TWELVE, TWELVE),
        (("100", "20", "3"), ("3", "20", "100")),
        (("010", "002", "001"), ("001", "002", "010")),
        (("10", "9", "background"), ("10", "9", "background")),
        (("class10", "class9"), ("class10", "class9")),
        (("10", "9", "-1"), ("-1", "10", "9")),
        (("²", "10", "9"), ("10", "9", "²")),
    ],
)
def test_only_whole_numbers_throughout_are_sorted_as_numbers(folders, order):
    assert class_order(reversed(folders)) == order


@pytest.fixture
def root(tmp_path):
    """A photo in each of the folders 0 to 11."""
    for name in TWELVE:
        save(photo(int(name)), tmp_path / "images" / name / "a.jpg")
        save(disc(), tmp_path / "masks" / name / "a.png")
    return tmp_path


def labelled(source):
    return {name.split("/")[-2]: source.classes[label] for name, label in
            zip(source.names, source.labels, strict=True)}  # fmt: skip


def test_numbered_folders_keep_their_numbers(root):
    """In every source that lists folders: with masks, without, by CSV file and by class map."""
    with (root / "photos.csv").open("w", newline="") as file:
        lines = [(f"images/{k}/a.jpg", f"masks/{k}/a.png", k) for k in TWELVE]
        csv.writer(file).writerows([("image", "mask", "class"), *lines])
    (root / "map.json").write_text(json.dumps({k: k for k in TWELVE}))
    sources = [
        data.load("masked_folder", root, "test"),
        data.load("image_folder", root, "test"),
        data.load("masked_folder", root, "test", manifest="photos.csv"),
        data.load("masked_folder", root, "test", class_map="map.json"),
    ]
    for source in sources:
        assert source.classes == TWELVE
        assert labelled(source) == {k: k for k in TWELVE}


def test_a_class_map_still_orders_as_it_says(root):
    (root / "map.json").write_text(json.dumps({k: [k, 11 - int(k)] for k in TWELVE}))
    source = data.load("masked_folder", root, "test", class_map="map.json")
    assert source.classes == TWELVE[::-1]
    assert labelled(source) == {k: k for k in TWELVE}
