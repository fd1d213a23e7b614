"""The package's own tables against the reference's: every row of every file is made anew."""

import numpy as np
import pytest

from rival_jax import protocols
from rival_jax.data import class_maps
from rival_jax.data.class_maps import columns, imagenet, imagenet9, objectnet, siscore
from tests.golden import tables

PLACES = {name: columns(name) for name in ("imagenet_a", "imagenet_r", "imagenet_o")}
SUBSETS = {name: columns(f"imagenet_s{name}") for name in ("919", "300", "50")}


def place(outputs, index, start=0):
    """Where an output stands among those of a set, as a cell."""
    return str(outputs.index(index) + start) if index in outputs else ""


def joined(outputs):
    return ";".join(map(str, outputs))


def synset(index):
    return {"index": str(index), "wnid": imagenet()[index].wnid}


def two_hundred(name, other=None):
    for position, index in enumerate(PLACES[name]):
        row = {"pos": str(position), **synset(index)}
        if other:
            row[f"also_in_{other[-1]}"] = str(int(index in PLACES[other]))
        yield row


def of_objectnet():
    for position, one in enumerate(objectnet()):
        yield {
            "folder_pos": str(position),
            "challenge_id": str(one.challenge_id),
            "folder": one.folder,
            "label": one.label,
            "imagenet_indices": joined(one.outputs),
            "authors_accept": "" if one.first is None else str(one.first),
        }


def of_siscore():
    for one in siscore():
        yield {
            "name": one.name,
            "imagenet_index": str(one.index),
            "wnid": one.wnid,
            "in_released_61": str(int(one.released)),
            "tfds_dataset_label": "" if one.dataset_label is None else str(one.dataset_label),
        }


def of_imagenet9():
    for index in columns("imagenet9"):
        group = imagenet9()[index]
        name = class_maps.IMAGENET9[group]
        yield {
            "in9": str(group),
            "in9_name": name,
            "imagenet_index": str(index),
            "wnid": synset(index)["wnid"],
        }


def of_merges():
    for removed, kept in class_maps.imagenet_s_merges().items():
        yield {f"{key}_removed": value for key, value in synset(removed).items()} | {
            f"{key}_kept": value for key, value in synset(kept).items()
        }


def of_folders(table, title):
    for name, outputs in table.items():
        yield {title: name, "imagenet_indices": joined(outputs)}


def of_classes():
    strings = sorted(map(str, range(1000)))
    folders, images = objectnet(), class_maps.pug()
    kept = class_maps.imagenet_s_merges()
    for index, wnid, name in ((s.index, s.wnid, s.name) for s in imagenet()):
        objects = [one.folder for one in folders if index in one.outputs]
        scored = [one for one in siscore() if one.index == index]
        group = imagenet9()[index]
        yield {
            "index": str(index),
            "wnid": wnid,
            "name": name,
            "imagenet_a_pos": place(PLACES["imagenet_a"], index),
            "imagenet_r_pos": place(PLACES["imagenet_r"], index),
            "objectnet_folder": "|".join(objects),
            "siscore_name": "|".join(one.name for one in scored),
            "siscore_released": "|".join(str(int(one.released)) for one in scored),
            "in9": "" if group < 0 else str(group),
            **{f"imagenet_s{n}_id": place(ids, index, 1) for n, ids in SUBSETS.items()},
            "imagenet_s_merged_into": synset(kept[index])["wnid"] if index in kept else "",
            "v2_string_sort_pos": str(strings.index(str(index))),
            "pug_imagenet": "|".join(n for n, outputs in images.items() if index in outputs),
        }


REBUILT = {
    "imagenet_a": lambda: two_hundred("imagenet_a", "imagenet_r"),
    "imagenet_r": lambda: two_hundred("imagenet_r", "imagenet_a"),
    "imagenet_o": lambda: two_hundred("imagenet_o"),
    "objectnet": of_objectnet,
    "siscore": of_siscore,
    "imagenet9": of_imagenet9,
    "imagenet_s_merge": of_merges,
    "imagenet_d": lambda: of_folders(class_maps.imagenet_d(), "folder"),
    "pug_imagenet": lambda: of_folders(class_maps.pug(), "pug_class"),
    "imagenet_classes": of_classes,
}


def compare(shared, name, got):
    """Rows with those of the reference; or their digest, in the small set."""
    path = shared / "reference" / "evaluation" / f"{name}.csv"
    said = path.read_text(encoding="utf-8")
    if not said.startswith(tables.DIGEST):
        expected = tables.chosen(name, tables.read(path))
        assert got == expected
        said = tables.digest(expected)
    assert tables.digest(got) == said


@pytest.mark.parametrize("name", REBUILT)
def test_every_row_is_the_references(shared, name):
    compare(shared, name, list(REBUILT[name]()))


def test_every_file_is_looked_at(shared):
    files = {path.stem for path in (shared / "reference" / "evaluation").glob("*.csv")}
    assert files == {*REBUILT, "timm_224"}


def test_published_accuracies_are_the_references(shared):
    got = [
        {"model": model, **{name: f"{100 * point:.3f}" for name, point in points.items()}}
        for model, points in sorted(class_maps.published().items())
    ]
    compare(shared, "timm_224", got)


def test_sets_have_as_many_classes_as_is_said_of_them():
    """Without the reference too: counts that the sets' authors and readers give."""
    counts = {"imagenet_a": 200, "imagenet_r": 200, "imagenet_o": 200, "objectnet": 125, "pug": 176}
    counts |= {"siscore": 61, "imagenet9": 370, "imagenet_d": 125}
    counts |= {"imagenet_s919": 919, "imagenet_s300": 300, "imagenet_s50": 50}
    assert {name: len(columns(name)) for name in counts} == counts
    assert len(imagenet()) == len(class_maps.index_of()) == 1000
    both = set(PLACES["imagenet_a"]) & set(PLACES["imagenet_r"])
    assert len(both) == 86
    sizes = np.bincount(imagenet9() + 1).tolist()
    assert sizes == [630, 116, 52, 42, 36, 35, 27, 26, 20, 16]


def test_objectnets_numberings_differ():
    """Ids follow labels and folders follow folders: joining by number mixes classes up."""
    folders = objectnet()
    assert [one.folder for one in folders] == sorted(one.folder for one in folders)
    assert sum(one.challenge_id != position for position, one in enumerate(folders)) == 138
    scored = [one for one in folders if one.outputs]
    assert (len(folders), len(scored)) == (313, 113)
    assert sum(len(one.outputs) > 1 for one in scored) == 9
    assert all(one.first == one.outputs[0] for one in scored)
    pen = next(one for one in folders if one.folder == "pen")
    assert pen.outputs == (418, 749, 563)  # as it lists them, not sorted


def test_an_unknown_set_names_the_nearest():
    with pytest.raises(ValueError, match="did you mean 'imagenet_s50'"):
        columns("imagenet_s5")


def test_tables_are_packed(root):
    """What setup.cfg packs has them, and nothing is kept twice."""
    assert "assets/**/*" in (root / "setup.cfg").read_text()
    found = {path.name for path in (root / "rival_jax" / "assets" / "evaluation").iterdir()}
    assert found == {f"{n}.csv" for n in ("imagenet", "objectnet", "pug", "siscore", "timm_224")}


@pytest.mark.parametrize("name", protocols.FITS)
def test_fits_are_those_of_the_published_networks(name):
    """Of 760 networks of the 1,265 that were fitted, so nearly the same line."""
    fit = protocols.FITS[name]
    rows = class_maps.published().values()
    pairs = np.array([(row[fit.base], row[name]) for row in rows])
    x, y = np.log(pairs / (1 - pairs))[pairs.min(1) > 0].T
    slope, intercept = np.polyfit(x, y, 1)
    middle = np.median(x)
    assert slope == pytest.approx(fit.slope, rel=0.25)
    assert slope * middle + intercept == pytest.approx(fit.slope * middle + fit.intercept, abs=0.15)
    assert np.corrcoef(x, y)[0, 1] ** 2 == pytest.approx(fit.r2, abs=0.1)
