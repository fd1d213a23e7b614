"""Maps as segmentations: metrics as released and corrected, what is read, and the experiment."""

from __future__ import annotations

import functools
import json

import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict
from PIL import Image

from rival_jax import maps, segmentation
from rival_jax.data import Examples, load
from rival_jax.experiments import runner
from rival_jax.runtime.results import read_rows
from rival_jax.types import Geometry
from tests.finetune_cases import one_block_study
from tests.helpers import EXACT, QUICKLY, REFERENCE, config_of, dry_run, row_bytes, run_in

FIRST = ("mean", "otsu")
parts = QUICKLY(functools.partial(segmentation.parts, rules=FIRST, levels=(0.0, 0.5)))
above = QUICKLY(segmentation.shares_above)
normalised = QUICKLY(maps.minmax_normalise)


def released(shared, name):
    with np.load(shared / "golden" / "robustvit" / name) as file:
        return dict(file)


def pixels(found, count):
    """(hit, marked, object, labelled) of the first rule as numbers of pixels."""
    cut = [np.asarray(found[name], np.float64)[:, 0] for name in ("hit", "marked")]
    cut += [np.asarray(found[name], np.float64) for name in ("object", "labelled")]
    return [np.round(count * share, 3) for share in cut]


# ---- metrics


def test_golden_metrics_as_released(shared):
    stored = released(shared, "segmentation.npz")
    found = normalised(stored["relevance"][:, 0])
    threshold = QUICKLY(segmentation.RULES["mean"])(found)
    np.testing.assert_allclose(threshold, stored["threshold"], atol=EXACT)
    got = parts(found, stored["masks"].astype(np.float32))
    hit, marked, target, labelled = pixels(got, stored["relevance"][0, 0].size)
    np.testing.assert_array_equal(labelled, stored["per_image_labeled"])
    np.testing.assert_array_equal(labelled - marked - target + 2 * hit, stored["per_image_correct"])
    np.testing.assert_array_equal(hit, stored["per_image_intersection"][:, 1])
    np.testing.assert_array_equal(marked + target - hit, stored["per_image_union"][:, 1])
    np.testing.assert_array_equal(labelled - hit, stored["per_image_union"][:, 0])
    precise = stored["per_image_average_precision"]
    np.testing.assert_allclose(got["map"], precise, atol=REFERENCE)
    pooled = [np.float32(x.sum()) for x in (hit, marked, target, labelled)]
    for name in ("pixel_accuracy", "mean_iou"):
        got = QUICKLY(getattr(segmentation, name))(*pooled)
        np.testing.assert_allclose(got, stored[name], atol=REFERENCE)


def test_golden_curve_of_precision_and_recall(shared):
    """At the released curve's own levels: its distinct scores, ascending; it ends at (1, 0)."""
    stored = released(shared, "segmentation.npz")
    found = normalised(stored["relevance"][:, 0])
    levels = np.unique(found)
    assert stored["pr_curve_length"] in (len(levels), len(levels) + 1)
    some, target = levels[stored["pr_curve_index"]], stored["masks"] > 0
    got = np.asarray(above(found, target, np.ones_like(target), some)).sum(0)
    for share, name in ((got[:, 1], "precision"), (target.mean((1, 2)).sum(), "recall")):
        want = stored[f"pr_curve_{name}"]
        precise = QUICKLY(segmentation.precision)(got[:, 0], np.float32(share))
        np.testing.assert_allclose(precise, want, atol=REFERENCE)


@pytest.mark.parametrize("case", ["ignore", "constant"])
def test_golden_edges(shared, case):
    stored = released(shared, "segmentation_edge.npz")
    found, mask = (
        np.broadcast_to(one, (6, 32, 32)).astype(np.float32)  # one program for all tests
        for one in (stored["relevance_normalised"][:, 0], stored[f"{case}_masks"])
    )
    found = 0 * found + 0.3 if case == "constant" else found
    got = parts(jnp.asarray(found), jnp.where(mask < 0, 0.5, mask))
    hit, marked, target, labelled = (x[0] for x in pixels(got, mask[0].size))
    assert labelled == stored[f"{case}_labeled"]
    assert labelled - marked - target + 2 * hit == stored[f"{case}_correct"]
    assert [labelled - marked - target + hit, hit] == stored[f"{case}_intersection"].tolist()
    assert [labelled - hit, marked + target - hit] == stored[f"{case}_union"].tolist()
    precise = stored[f"{case}_average_precision"]
    np.testing.assert_allclose(got["map"][0], precise, atol=REFERENCE)


def step_by_step(found, target):
    """Average precision in float64, ties together."""
    order = np.unique(found)[::-1]
    hits = np.array([(target & (found >= level)).sum() for level in order], np.float64)
    marked = np.array([(found >= level).sum() for level in order])
    return (np.diff(hits, prepend=0) * hits / marked).sum() / max(target.sum(), 1)


def test_numbers_are_those_counted_by_hand():
    rng = np.random.default_rng(0)
    found = rng.integers(0, 9, (6, 32, 32)).astype(np.float32) / 8
    found[:, 0, :2] = 0, 1
    mask = rng.choice([0, 0.5, 1], (6, 32, 32)).astype(np.float32)
    got = parts(jnp.asarray(found), jnp.asarray(mask))
    for i, (one, target) in enumerate(zip(found, mask, strict=True)):
        target, known = target == 1, target != 0.5
        cuts = [one > one.astype(np.float64).mean(), one > by_hand(one), one >= 0, one >= 0.5]
        hits = [(cut & target & known).mean() for cut in cuts]
        np.testing.assert_allclose(got["hit"][i], hits, atol=EXACT)
        np.testing.assert_allclose(got["marked"][i], [(c & known).mean() for c in cuts], atol=EXACT)
        each = step_by_step(one[known], target[known]), step_by_step(1 - one[known], ~target[known])
        np.testing.assert_allclose(got["map_class_wise"][i], np.mean(each), atol=REFERENCE)
        both = np.concatenate([one[known], 1 - one[known]])
        both = step_by_step(both, np.concatenate([target[known], ~target[known]]))
        np.testing.assert_allclose(got["map"][i], both, atol=REFERENCE)


def by_hand(one):
    """Otsu's threshold in float64: the edge of 256 with the largest variance between classes."""
    edges, best = np.arange(1, 257) / 256, (-1.0, 1.0)
    middle = (np.clip(np.ceil(256 * one) - 1, 0, 255) + 0.5) / 256
    for edge in edges:
        low = one <= edge
        if low.any() and not low.all():
            gap = middle[low].mean() - middle[~low].mean()
            variance = low.mean() * (1 - low.mean()) * gap**2
            if variance > best[0] * (1 + 1e-5):
                best = variance, edge
    return best[1]


def test_otsu_of_a_flat_map_marks_nothing():
    flat = jnp.broadcast_to(jnp.arange(6)[:, None, None] / 5, (6, 32, 32))
    assert not (flat > QUICKLY(segmentation.otsu)(flat)[:, None, None]).any()


# ---- what is read


def write_mat(path, photos, labels):
    """As MATLAB 7.3 stores the data set: references, and references to references."""
    h5py = pytest.importorskip("h5py", reason="reading MATLAB's file needs the extra hdf5")
    with h5py.File(path, "w") as file:
        kind = h5py.special_dtype(ref=h5py.Reference)
        inside = file.create_group("#refs#")
        shape = (len(photos), 1)
        images, truths = (file.create_dataset(f"value/{n}", shape, kind) for n in ("img", "gt"))
        for i, (photo, label) in enumerate(zip(photos, labels, strict=True)):
            images[i, 0] = inside.create_dataset(f"i{i}", data=photo.transpose(2, 1, 0)).ref
            stored = inside.create_dataset(f"l{i}", data=label.transpose(1, 0))
            cell = inside.create_dataset(f"c{i}", (1, 1), kind)
            cell[0, 0] = stored.ref
            truths[i, 0] = cell.ref


def test_matlabs_two_reference_levels_are_read(tmp_path):
    rng = np.random.default_rng(0)
    photos = rng.integers(0, 256, (3, 20, 12, 3), np.uint8)
    labels = rng.integers(-1, 2, (3, 20, 12)).astype(np.int16)
    write_mat(tmp_path / "gtsegs_ijcv.mat", photos, labels)
    for root in (tmp_path, tmp_path / "gtsegs_ijcv.mat"):
        source = load("imagenet_segmentation", root, "test")
        assert (len(source), source.classes) == (3, ("object",))
        assert "3 photos, where 4,276 are known" in source.notices[0]
    item = source[1]
    np.testing.assert_array_equal(item["image"], photos[1])
    examples = Examples(source, Geometry((20, 12)), mask="labelled")
    want = np.choose(labels + 1, [127, 0, 255])
    np.testing.assert_array_equal(examples.masks, want)
    np.testing.assert_array_equal(examples.images, photos)
    nearest = Examples(source, Geometry((10, 6)), mask="labelled").masks
    assert set(np.unique(nearest)) <= {0, 127, 255}
    with pytest.raises(ValueError, match="has unlabelled pixels, which void='ignored' leaves out"):
        Examples(source, Geometry((20, 12)))


def test_another_matlab_file_is_refused(tmp_path):
    h5py = pytest.importorskip("h5py", reason="reading MATLAB's file needs the extra hdf5")
    file = tmp_path / "gtsegs_ijcv.mat"
    with pytest.raises(ValueError, match=r"there is no .*gtsegs_ijcv.mat; --config.data.root"):
        load("imagenet_segmentation", tmp_path, "test")
    file.write_bytes(b"MATLAB 5.0 MAT-file")
    with pytest.raises(ValueError, match=r"is no file of MATLAB 7\.3, which is HDF5"):
        load("imagenet_segmentation", tmp_path, "test")
    with h5py.File(file, "w") as stored:
        stored["other"] = 1
    with pytest.raises(ValueError, match="has no value/img and value/gt"):
        load("imagenet_segmentation", tmp_path, "test")
    write_mat(file, np.zeros((1, 4, 4, 3), np.uint8), np.full((1, 4, 4), 7))
    with pytest.raises(ValueError, match=r"photo 00000 .* with labels \[7\], expected"):
        load("imagenet_segmentation", tmp_path, "test")[0]


def test_without_h5py_the_error_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "h5py", None)
    with pytest.raises(ValueError, match=r"needs h5py: pip install 'rival_jax\[hdf5\]'"):
        load("imagenet_segmentation", tmp_path, "test")


def palette(labels):
    picture = Image.fromarray(labels).convert("P")
    picture.putdata(labels.ravel().tolist())
    picture.putpalette([value for i in range(256) for value in (i, 255 - i, i // 2)])
    return picture


def test_voc_is_read_as_it_unpacks(tmp_path):
    base = tmp_path / "VOCdevkit/VOC2012"
    for folder in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (base / folder).mkdir(parents=True)
    labels = np.zeros((12, 16), np.uint8)
    labels[2:8, 2:8], labels[8:, :4], labels[2, 2:8] = 12, 15, 255
    palette(labels).save(base / "SegmentationClass/2007_1.png")
    Image.new("RGB", (16, 12), "red").save(base / "JPEGImages/2007_1.jpg")
    (base / "ImageSets/Segmentation/val.txt").write_text("2007_1\n")
    source = load("voc", tmp_path, "test")
    assert source.classes[source.labels[0]] == "dog"
    found = Examples(source, Geometry((12, 16)), mask="labelled").masks[0]
    np.testing.assert_array_equal(found, np.select([labels == 255, labels > 0], [127, 255]))
    palette(np.full((12, 16), 99, np.uint8)).save(base / "SegmentationClass/2007_1.png")
    with pytest.raises(ValueError, match=r"voc: mask 2007_1 \(P\) holds \[99\]"):
        load("voc", tmp_path, "val")
    with pytest.raises(ValueError, match="no list of photos: looked for"):
        load("voc", tmp_path, "train")


def test_outlines_in_cocos_form_are_drawn(tmp_path):
    (tmp_path / "annotations/val").mkdir(parents=True)
    (tmp_path / "images/val").mkdir(parents=True)
    name = "n02102480_7.JPEG"
    Image.new("RGB", (8, 6), "blue").save(tmp_path / "images/val" / name)
    # Runs down the columns: 12 pixels before, 12 inside; compressed, 12 is "<" and 24 is "h0".
    runs = {"size": [6, 8], "counts": [12, 12, 24]}
    told = {
        "images": [{"id": 3, "file_name": name}],
        "categories": [{"id": 1, "name": "head"}],
        "annotations": [
            {"image_id": 3, "category_id": 1, "segmentation": [[0, 0, 2, 0, 2, 6, 0, 6]]},
            {"image_id": 3, "category_id": 1, "segmentation": runs},
        ],
    }
    file = tmp_path / "annotations/val/val.json"
    for counts in (runs["counts"], "<<h0"):
        runs["counts"] = counts
        file.write_text(json.dumps(told))
        source = load("coco", tmp_path, "val")
        assert source.class_wnids == (("n02102480",),)
        mask = np.asarray(source[0]["mask"])
        np.testing.assert_array_equal(mask, np.broadcast_to(255 * (np.arange(8) < 4), (6, 8)))
    runs["size"] = [8, 6]
    file.write_text(json.dumps(told))
    with pytest.raises(ValueError, match=r"outline of n02102480_7\.JPEG cannot be drawn: its runs"):
        load("coco", tmp_path, "val")[0]
    file.write_text("{}")
    with pytest.raises(ValueError, match="is not COCO's JSON"):
        load("coco", tmp_path, "val")


@pytest.mark.parametrize("kind", ["imagenet_s", "ignore"])
def test_unlabelled_pixels_of_a_folder_are_left_out(tmp_path, kind):
    """ImageNet-S's id 1000; and VOC's 255, of all that is not 0."""
    for folder in ("images", "masks"):
        (tmp_path / folder / "n02102480").mkdir(parents=True)
    ids = np.zeros((6, 8), np.int32)
    ids[1:4, 1:5], ids[4:, :] = (419, 1000) if kind == "imagenet_s" else (3, 255)
    picture = Image.fromarray(np.stack([ids % 256, ids // 256, 0 * ids], -1).astype(np.uint8))
    if kind == "ignore":
        picture = palette(ids.astype(np.uint8))
    picture.save(tmp_path / "masks/n02102480/a.png")
    Image.new("RGB", (8, 6), "blue").save(tmp_path / "images/n02102480/a.png")
    options = {"mask_format": "imagenet_s"}
    if kind == "ignore":
        options = {"mask_format": "nonzero", "ignore": (255,)}
    source = load("masked_folder", tmp_path, "test", void="ignored", **options)
    found = Examples(source, Geometry((6, 8)), mask="labelled").masks[0]
    want = np.select([ids == ids.max(), ids > 0], [127, 255])
    np.testing.assert_array_equal(found, want)
    with pytest.raises(ValueError, match="has unlabelled pixels"):
        Examples(source, Geometry((6, 8)), mask="binary")


# ---- the experiment


def tiny(study, **changes):
    config = config_of("segmentation")
    config.models = (str(study / "tiny"),)
    config.data.name, config.data.root = "masked_folder", str(study / "data")
    config.statistics.resamples = 30
    config.segmentation.levels = 4
    with config.unlocked():
        config.update_from_flattened_dict(changes)
    return config


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = one_block_study(tmp_path_factory.mktemp("study"))
    one_block_study(folder / "other", seed=1)
    (folder / "other/tiny").rename(folder / "cured")
    return folder


@pytest.fixture(scope="module")
def done(study, tmp_path_factory):
    """A finished run of a pair of networks."""
    folder = tmp_path_factory.mktemp("segmentation")
    both = (str(study / "tiny"), str(study / "cured"))
    return run_in(folder / "run", tiny(study, models=both, pairs=("tiny=cured",)))


@pytest.fixture
def no_figures(monkeypatch):
    monkeypatch.setattr(runner, "write_document", lambda *a: None)


def test_results_are_those_of_the_rows(done):
    run, results = done
    rows = [row for row in read_rows(run.path / "rows").to_pylist() if row["model"] == "tiny"]
    flat = {row["example"] for row in rows if row["flat"]}
    assert (len(rows), 0 < len(flat) < 15) == (15 * (2 + 4), True)
    rows = [row for row in rows if row["example"] not in flat]
    cut = [row for row in rows if row["rule"] == "mean"]

    def iou(some):
        h, m, o, all_ = (sum(r[n] for r in some) for n in ("hit", "marked", "object", "labelled"))
        return (h / (m + o - h) + (all_ - m - o + h) / (all_ - h)) / 2

    mine = results.where(model="tiny", contrast="")
    at = mine.where(rule="mean")
    assert at.one(measure="miou")["estimate"] == pytest.approx(iou(cut), abs=REFERENCE)
    alone = np.mean([iou([row]) for row in cut])
    assert at.one(measure="miou_by_photo")["estimate"] == pytest.approx(alone, abs=REFERENCE)
    classes = {row["label"] for row in cut}
    by_class = np.mean([iou([row for row in cut if row["label"] == c]) for c in classes])
    assert at.one(measure="miou_by_class")["estimate"] == pytest.approx(by_class, abs=REFERENCE)
    for name in ("map", "map_class_wise"):
        row = mine.one(measure=name)
        assert row["estimate"] == pytest.approx(np.mean([r[name] for r in cut]), abs=REFERENCE)
        assert row["low"] <= row["estimate"] <= row["high"]
        assert row.get("rule") is None
    lowest = [row for row in rows if row["rule"] == "level" and row["level"] == 0]
    precision = sum(r["hit"] for r in lowest) / sum(r["marked"] for r in lowest)
    at = mine.where(level=0.0)
    assert at.one(measure="recall")["estimate"] == 1
    assert at.one(measure="precision")["estimate"] == pytest.approx(precision, abs=REFERENCE)
    assert at.rows[0]["images"] == 15 - len(flat)
    assert mine.one(measure="flat")["estimate"] == pytest.approx(len(flat) / 15, abs=EXACT)


def test_a_cure_is_compared_with_its_original(done):
    _, results = done
    for rule in FIRST:
        both = [
            results.one(measure="miou", rule=rule, model=model, contrast="")["estimate"]
            for model in ("tiny", "cured")
        ]
        change = results.one(measure="miou", rule=rule, contrast="minus tiny")
        assert change["model"] == "cured"
        assert change["estimate"] == pytest.approx(both[1] - both[0], abs=EXACT)
        assert change["p"] > 0


def test_the_page_shows_tables_curve_and_photos(done):
    run, _ = done
    for name in ("metrics", "curve", "photos"):
        for ending in ("png", "svg", "csv"):
            assert (run.path / "figures" / f"{name}.{ending}").stat().st_size > 0
    told = (run.path / "tables.md").read_text()
    assert "| cured relevance minus tiny | mIoU |" in told
    assert "relevance: pixel accuracy" in (run.path / "report.html").read_text()


def test_a_deleted_unit_comes_back_the_same(done, no_figures):
    run, results = done
    before = row_bytes(run.path)
    (gone,) = (run.path / "rows" / "tiny").glob("*.parquet")
    gone.unlink()
    _, again = run_in(run.path, run_config(run))
    assert row_bytes(run.path) == before
    assert json.dumps(again.rows) == json.dumps(results.rows)


def run_config(run):
    return ConfigDict(run.read_json("config.json"), convert_dict=True)


@pytest.mark.whole
def test_rows_do_not_depend_on_the_batch_size(done, study, tmp_path, no_figures):
    other, _ = run_in(tmp_path / "run", tiny(study, batch_size=7))
    key = lambda r: (r["example"], r["rule"], r["level"])  # noqa: E731
    rows = [read_rows(path / "rows" / "tiny").to_pylist() for path in (done[0].path, other.path)]
    want, got = ({key(r): r for r in some} for some in rows)
    assert want.keys() == got.keys()
    for place in want:
        for name in ("hit", "marked", "map", "probability"):
            same = pytest.approx(want[place][name], abs=5e-3, nan_ok=True)
            assert got[place][name] == same, place


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("segmentation.rules", ("median",), "config.segmentation.rules: no 'median'"),
        ("segmentation.metrics", ("iou",), "config.segmentation.metrics: no 'iou'"),
        ("data.mask", "soft", "config.data.mask: no 'soft'"),
        ("saliency.methods", ("gradcamm",), "no 'gradcamm'; did you mean 'gradcam'"),
        ("pairs", ("tiny=other",), "config.pairs: got 'tiny=other'"),
    ],
)
def test_bad_values_stop_before_any_work(study, key, value, message):
    config = tiny(study)
    section, _, name = key.rpartition(".")
    (config[section] if section else config)[name] = value
    with pytest.raises(ValueError, match=message):
        dry_run(config)


@pytest.mark.whole
def test_the_released_protocol_on_matlabs_file(study, tmp_path, no_figures):
    """All outputs, no classes, mean and std 1/2; flat maps are all background."""
    rng = np.random.default_rng(0)
    photos = rng.integers(0, 256, (4, 16, 16, 3), np.uint8)
    labels = rng.integers(-1, 2, (4, 16, 16)).astype(np.int16)
    write_mat(tmp_path / "gtsegs_ijcv.mat", photos, labels)
    config = config_of("segmentation", "released")
    config.models, config.data.root = (str(study / "tiny"),), str(tmp_path / "gtsegs_ijcv.mat")
    config.statistics.resamples = 30
    run, results = run_in(tmp_path / "run", config)
    assert results.of("measure")[:3] == ["pixel_accuracy", "miou", "map"]
    assert not any(np.isnan(row["hit"]) for row in read_rows(run.path / "rows").to_pylist())
    known = {row["labelled"] for row in read_rows(run.path / "rows").to_pylist()}
    assert known == {np.float32((one >= 0).mean()) for one in labels}


@pytest.mark.whole
def test_a_dry_run_tells_the_cost(study):
    said = dry_run(tiny(study))
    assert "tiny, relevance: 15 images" in said
    assert "nothing was run" in said


def test_presets_hold_the_protocols():
    clean, paper, released_ = (config_of("segmentation", p) for p in ("clean", "paper", "released"))
    assert clean.segmentation.metrics[-1] == "map_class_wise"
    for config in (paper, released_):
        assert config.segmentation.metrics == ("pixel_accuracy", "miou", "map")
        assert (config.data.mask, config.data.resize) == ("labelled", "squash")
        assert config.preprocessing.mean == (0.5, 0.5, 0.5)
    assert {c.data.name for c in (clean, paper)} == {"imagenet_segmentation"}
