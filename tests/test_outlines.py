"""Masks as people have them: the same photos in every form give the same masks."""

import base64
import functools
import io
import json
import re
import sys
from typing import Any

import contourpy
import jax
import jax.numpy as jnp
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy import ndimage

from rival_jax import metrics, models
from rival_jax.data import load
from rival_jax.data.outlines import filled, polygon
from rival_jax.experiments import runner
from rival_jax.experiments.rfs import study as rfs
from rival_jax.models import vit
from rival_jax.report.results import Results
from rival_jax.runtime.progress import Meter
from rival_jax.runtime.results import read_rows
from tests.helpers import run_in, tiny_rfs

WORDS = ("cat", "dog", "truck")
SIZE = (48, 36)


def _shape(seed) -> np.ndarray:
    """A mask without holes [36, 48]: a blurred random field's largest part."""
    field = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=SIZE[::-1]), 4)
    parts = np.empty(field.shape, int)
    ndimage.label(field > np.quantile(field, 0.7), output=parts)
    largest = np.bincount(parts.ravel())[1:].argmax() + 1
    return np.asarray(ndimage.binary_fill_holes(parts == largest))


def _polygons(mask):
    """Its outline as corners [n, 2]: between pixels, as tools trace it."""
    padded = np.pad(mask, 1).astype(float)
    lines = contourpy.contour_generator(z=padded).lines(0.5)
    return [np.asarray(line, np.float64) - 0.5 for line in lines]


def _photo(seed, folder, name):
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(256, size=(*SIZE[::-1], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / name)


def _png(array):
    file = io.BytesIO()
    Image.fromarray(array).save(file, "PNG")
    return file.getvalue()


MASKS = {f"photo{seed}": _shape(seed) for seed in range(6)}
CLASS = {name: WORDS[place % 3] for place, name in enumerate(MASKS)}


def masked_folder(root):
    for seed, (name, mask) in enumerate(MASKS.items()):
        _photo(seed, root / "images" / CLASS[name], f"{name}.png")
        (root / "masks" / CLASS[name]).mkdir(parents=True, exist_ok=True)
        (root / "masks" / CLASS[name] / f"{name}.png").write_bytes(_png(mask * np.uint8(255)))


def labelme(root, kind="polygon"):
    for seed, (name, mask) in enumerate(MASKS.items()):
        _photo(seed, root, f"{name}.png")
        shapes = [
            {"label": CLASS[name], "points": line.tolist(), "shape_type": "polygon"}
            for line in _polygons(mask)
        ]
        if kind == "mask":
            y, x = np.nonzero(mask)
            part = mask[y.min() : y.max() + 1, x.min() : x.max() + 1]
            ends = [[int(x.min()), int(y.min())], [int(x.max()), int(y.max())]]
            coded = base64.b64encode(_png(part * np.uint8(255))).decode()
            shapes = [{"label": CLASS[name], "points": ends, "shape_type": "mask", "mask": coded}]
        shapes.append({"label": "nose", "points": [[1, 1]], "shape_type": "point"})
        told = {"shapes": shapes, "imagePath": f"..\\photos\\{name}.png"}
        told |= {"imageWidth": SIZE[0], "imageHeight": SIZE[1]}
        (root / f"{name}.json").write_text(json.dumps(told))


def _annotations(root, outline):
    told = {"images": [], "annotations": []}
    told["categories"] = [{"id": place, "name": word} for place, word in enumerate(WORDS)]
    for seed, (name, mask) in enumerate(MASKS.items()):
        _photo(seed, root / "images", f"{name}.png")
        told["images"].append({"id": seed, "file_name": f"{name}.png"})
        one = {"image_id": seed, "category_id": WORDS.index(CLASS[name])}
        told["annotations"].append(one | {"segmentation": outline(mask)})
    (root / "annotations").mkdir()
    (root / "annotations" / "test.json").write_text(json.dumps(told))


def coco_polygons(root):
    _annotations(root, lambda mask: [line.ravel().tolist() for line in _polygons(mask)])


def _counts(flat):
    ends = np.flatnonzero(np.diff(flat.astype(int))) + 1
    runs = np.diff(np.array([0, *ends, flat.size])).tolist()
    return [0, *runs] if flat[0] else runs


def coco_runs(root):
    _annotations(root, lambda mask: {"size": SIZE[::-1], "counts": _counts(mask.T.ravel())})


def cvat(root, kind="polygon"):
    images = []
    for seed, (name, mask) in enumerate(MASKS.items()):
        _photo(seed, root / "images", f"{name}.png")
        word = f'label="{CLASS[name]}"'
        lines = [";".join(f"{x:.2f},{y:.2f}" for x, y in line) for line in _polygons(mask)]
        inside = "".join(f'<polygon {word} points="{line}"/>' for line in lines)
        if kind == "mask":
            top = np.flatnonzero(mask.any(1))[0]
            runs = ", ".join(map(str, _counts(mask[top:].ravel())))
            place = f'left="0" top="{top}" width="{SIZE[0]}" height="{SIZE[1] - top}"'
            inside = f'<mask {word} rle="{runs}" {place}/>'
        inside += '<points label="nose" points="1,1"/>'
        size = f'width="{SIZE[0]}" height="{SIZE[1]}"'
        images.append(f'<image id="{seed}" name="{name}.png" {size}>{inside}</image>')
    (root / "annotations.xml").write_text(f"<annotations>{''.join(images)}</annotations>")


def yolo(root):
    (root / "labels" / "val").mkdir(parents=True)
    (root / "data.yaml").write_text("names: {0: cat, 1: dog, 2: truck}\n")
    for seed, (name, mask) in enumerate(MASKS.items()):
        _photo(seed, root / "images" / "val", f"{name}.png")
        lines = [
            " ".join([str(WORDS.index(CLASS[name])), *(f"{v:.6f}" for v in (line / SIZE).ravel())])
            for line in _polygons(mask)
        ]
        file = root / "labels" / "val" / f"{name}.txt"
        file.parent.mkdir(exist_ok=True)
        file.write_text("\n".join(lines))


def hub_parquet(root, groups=4):
    rows = {"image": [], "label": [], "mask": []}
    for seed, (name, mask) in enumerate(MASKS.items()):
        _photo(seed, root, f"{name}.png")
        data = (root / f"{name}.png").read_bytes()
        rows["image"].append({"bytes": data, "path": f"{name}.png"})
        rows["mask"].append({"bytes": _png(mask * np.uint8(255)), "path": f"{name}.png"})
        rows["label"].append(WORDS.index(CLASS[name]))
    names = {"info": {"features": {"label": {"names": list(WORDS), "_type": "ClassLabel"}}}}
    table = pa.table(rows).replace_schema_metadata({"huggingface": json.dumps(names)})
    (root / "data").mkdir()
    pq.write_table(table, root / "data" / "test-00000-of-00001.parquet", row_group_size=groups)


def voc(root):
    """A palette with a void border, as masks of a folder."""
    masked_folder(root)
    for file in (root / "masks").rglob("*.png"):
        mask = MASKS[file.stem]
        labels = np.where(mask, 1 + WORDS.index(CLASS[file.stem]), 0).astype(np.uint8)
        labels[0, :5] = np.where(mask[0, :5], labels[0, :5], 255)
        picture = Image.fromarray(labels).convert("P")
        picture.putdata(labels.ravel().tolist())
        picture.putpalette([value for i in range(256) for value in (i, 255 - i, i // 2)])
        picture.save(file)


def objects(root):
    """A file for each half of a mask: numbered beside each other, or in a folder of the photo's."""
    masked_folder(root)
    for place, file in enumerate(sorted((root / "masks").rglob("*.png"))):
        mask = MASKS[file.stem]
        middle = int(np.median(np.nonzero(mask)[1]))
        file.unlink()
        for number, columns in enumerate((slice(middle + 2), slice(middle, None))):
            part = np.zeros_like(mask)
            part[:, columns] = mask[:, columns]
            name = (f"{file.stem}_{number}.png", f"{file.stem}/part{number}.png")[place % 2]
            (file.parent / name).parent.mkdir(exist_ok=True)
            (file.parent / name).write_bytes(_png(part * np.uint8(255)))


FORMS = {
    "masked_folder": (masked_folder, "masked_folder", {}),
    "labelme": (labelme, "labelme", {}),
    "labelme masks": (functools.partial(labelme, kind="mask"), "labelme", {}),
    "coco polygons": (coco_polygons, "coco", {}),
    "coco runs": (coco_runs, "coco", {}),
    "cvat": (cvat, "cvat", {}),
    "cvat masks": (functools.partial(cvat, kind="mask"), "cvat", {}),
    "yolo": (yolo, "yolo", {}),
    "hub_parquet": (hub_parquet, "hub_parquet", {}),
    "voc": (voc, "masked_folder", {"mask_values": (1, 2, 3), "ignore": (255,)}),
    "objects": (objects, "masked_folder", {"masks_per_photo": "several"}),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_masks_and_classes(form, tmp_path):
    make, name, options = FORMS[form]
    make(tmp_path)
    source = load(name, tmp_path, "test", **options)
    assert len(source) == len(MASKS)
    assert source.classes == WORDS
    for position, called in enumerate(source.names):
        item, stem = source[position], called.rpartition("/")[2].removesuffix(".png")
        assert WORDS[source.labels[position]] == CLASS[stem]
        found = np.asarray(item["mask"])
        np.testing.assert_array_equal(found == 255, MASKS[stem], err_msg=called)
        assert item["image"].size == SIZE


SEVEN = ("labelme", "coco polygons", "coco runs", "cvat", "voc", "yolo", "objects")
FOLDERS = ("voc", "objects")  # the others lay out photos by their classes' names here


def test_every_form_gives_the_same_rfs(tmp_path, monkeypatch):
    """40 photos under noise; their names are the same, since noise is drawn by them."""
    monkeypatch.setattr(rfs.Experiment, "report", lambda *_: (Results([]), None))
    monkeypatch.setattr(runner, "write_document", lambda *_: None)
    phases, say = set(), Meter.say
    noted = lambda meter, text, *more: phases.add(text.split()[0]) or say(meter, text, *more)  # noqa: E731
    monkeypatch.setattr(Meter, "say", noted)
    model = vit.build(name="net", image_size=SIZE[::-1], num_classes=3, patch_size=12, width=16,
                      depth=1, heads=2)  # fmt: skip
    models.save(tmp_path / "net", model, model.init(jax.random.key(3)))
    masks, found = {f"photo{seed}": _shape(seed) for seed in range(40)}, {}
    words = {name: WORDS[place % 3] for place, name in enumerate(masks)}
    for form in SEVEN:
        make, kind, options = FORMS[form]
        # Those of a folder put photos into folders of classes by themselves.
        called = {name: f"{words[name]}/{name}" if form not in FOLDERS else name for name in masks}
        here = sys.modules[__name__]
        monkeypatch.setattr(here, "MASKS", {called[name]: mask for name, mask in masks.items()})
        monkeypatch.setattr(here, "CLASS", {called[name]: word for name, word in words.items()})
        make(tmp_path / form)
        config = tiny_rfs(tmp_path, tmp_path / "cache").unlock()
        config.models, config.noise.trials = (str(tmp_path / "net"),), 1
        config.noise.norms = ("linf",)
        config.data.name, config.data.root, config.data.mask = kind, str(tmp_path / form), "binary"
        for key, value in options.items():
            config.data[kind][key] = value
        run, _ = run_in(tmp_path / "runs" / form, config)
        rows = read_rows(run.path / "rows").to_pylist()
        found[form] = {(r["example"], r["region"], r["level"]): r["probability"] for r in rows}
        by_region = {side: np.mean([r["probability"] for r in rows if r["region"] == side])
                     for side in ("foreground", "background")}  # fmt: skip
        found[form]["rfs"] = float(metrics.rfs(*map(jnp.float32, by_region.values())))
    assert found["voc"]["rfs"] != 0
    assert phases >= {"reading", "measuring"}
    first = found[SEVEN[0]]
    assert len(first) == 1 + 40 * (1 + 2 * 2)
    assert len(set(first.values())) > 150, "noise changes what the network says"
    for form in SEVEN[1:]:
        assert found[form] == first, form


@given(st.lists(st.tuples(st.floats(-5, 25), st.floats(-5, 20)), min_size=3, max_size=9))
@settings(deadline=None)
def test_pixels_are_inside_if_their_centres_are(corners):
    points = np.array(corners)
    found = filled(points, (20, 15))
    x, y = np.meshgrid(np.arange(20) + 0.5, np.arange(15) + 0.5)
    inside = np.zeros((15, 20), bool)
    for (x1, y1), (x2, y2) in zip(points, np.roll(points, -1, axis=0), strict=True):
        crosses = (y1 <= y) != (y2 <= y)
        with np.errstate(all="ignore"):
            at = x1 + (y - y1) * ((x2 - x1) / (y2 - y1))
        inside ^= crosses & (at <= x)
    np.testing.assert_array_equal(found, inside)


def test_a_polygons_area_is_its_pixels():
    outline = polygon("a", [[2, 3], [12, 3], [12, 8], [2, 8]])
    assert outline.area == outline.draw((20, 15)).sum() == 50


def _turned(root, size):
    """A LabelMe photo stored lying, to be shown standing, labelled at `size`."""
    picture = Image.new("RGB", SIZE)
    exif = picture.getexif()
    exif[0x0112] = 6
    picture.save(root / "a.jpg", exif=exif)
    shape = {"label": "cat", "points": [[0, 0], [10, 4]], "shape_type": "rectangle"}
    told = {"shapes": [shape], "imagePath": "a.jpg"}
    told |= {"imageWidth": size[0], "imageHeight": size[1]}
    (root / "a.json").write_text(json.dumps(told))
    return load("labelme", root, "test")[0]


def test_outlines_follow_a_turned_photo(tmp_path):
    shown = _turned(tmp_path, SIZE[::-1])
    assert shown["image"].size == SIZE[::-1]
    assert np.asarray(shown["mask"])[:4, :10].all()
    stored = _turned(tmp_path, SIZE)
    assert stored["mask"].size == SIZE[::-1]
    assert np.asarray(stored["mask"])[:10, -4:].all()
    with pytest.raises(ValueError, match="but was labelled at"):
        _turned(tmp_path, (7, 7))


def test_words_to_ignore_and_classes_of_folders(tmp_path):
    cvat(tmp_path)
    file = tmp_path / "annotations.xml"
    drawn = '<box label="blur" xtl="0" ytl="0" xbr="48" ybr="2"/><points'
    file.write_text(file.read_text().replace("<points", drawn, 1))
    found = load("cvat", tmp_path, "test", ignore=("blur",))
    assert found.classes == WORDS
    assert (np.asarray(found[0]["mask"])[:2] == 127).all()
    with pytest.raises(ValueError, match="did you mean 'blur'"):
        load("cvat", tmp_path, "test", ignore=("blurr",))
    with pytest.raises(ValueError, match="is in no folder"):
        load("cvat", tmp_path, "test", class_from="folder")
    file.write_text(re.sub(r"<polygon[^>]*cat[^>]*/>", "", file.read_text()))
    lacking: Any = load("cvat", tmp_path, "test", ignore=("blur",))
    assert len(lacking) == 4
    assert "2 of 6 photos have no outline of an object" in lacking.notices[0]


def _cut(file, *change):
    file.write_text(file.read_text().replace(*change, 1))


FAULTS = [
    (labelme, "photo0.json", ('"shapes"', '"forms"'), "photo0.json is not LabelMe's"),
    (labelme, "photo0.json", ("photo0.png", "other.png"), "photo other.png is missing"),
    (labelme, "photo0.json", ('"polygon"', '"blob"'), "'blob' is not read"),
    (cvat, "annotations.xml", ("</image>", ""), "annotations.xml is not CVAT's"),
    (cvat, "annotations.xml", ("photo0.png", "../photo0.png"), "not below the data's folder"),
    (cvat, "annotations.xml", ("<annotations>", "<!DOCTYPE a><annotations>"), "declares entities"),
    (cvat, "annotations.xml", ('width="48"', 'width="x"'), "photo photo0.png: an outline"),
    (yolo, "labels/val/photo0.txt", ("0 ", "7 "), "photo0.txt, line 1: no class 7"),
    (yolo, "labels/val/photo0.txt", ("0 ", "0 .1 .2 .3 .4\n0 "), "line 1: a box, not an outline"),
    (yolo, "data.yaml", ("names", "nomes"), "no names of classes"),
    (yolo, "data.yaml", ("names: {", "names: {{"), "does not name the classes"),
]


@pytest.mark.parametrize(("make", "file", "change", "said"), FAULTS)
def test_faults_are_named(make, file, change, said, tmp_path):
    make(tmp_path)
    _cut(tmp_path / file, *change)
    with pytest.raises(ValueError, match=re.escape(said)):
        load(make.__name__, tmp_path, "test")


@pytest.mark.parametrize("name", ["labelme", "cvat", "yolo", "hub_parquet"])
def test_an_empty_folder_says_where_it_looked(name, tmp_path):
    with pytest.raises(ValueError, match=f"{name}: no .*looked for"):
        load(name, tmp_path, "test")


def test_faults_of_parquet_are_named(tmp_path):
    hub_parquet(tmp_path)
    with pytest.raises(ValueError, match="did you mean 'image'"):
        load("hub_parquet", tmp_path, "test", image="imag")
    with pytest.raises(ValueError, match="column 'label' holds no pictures"):
        load("hub_parquet", tmp_path, "test", mask="label")
    file = tmp_path / "data" / "test-00000-of-00001.parquet"
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(ValueError, match="is damaged"):
        load("hub_parquet", tmp_path, "test")
