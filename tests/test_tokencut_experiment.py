"""Masks from photos to files: what is written, what is skipped, and who reads it."""

import ast
import importlib
import io
import json
import shlex

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from rich.console import Console
from scipy import linalg

from rival_jax import bilateral, data, models, weights
from rival_jax.bilateral import centre_box, filled_box, overlap, rated
from rival_jax.data import Examples
from rival_jax.data.any_size import Photo
from rival_jax.experiments import runner
from rival_jax.experiments.tokencut import networks, page, study
from rival_jax.experiments.tokencut.networks import chosen_block
from rival_jax.experiments.tokencut.study import Experiment
from rival_jax.models import vit
from rival_jax.models.transformer import qkv_tap
from rival_jax.report.document import write_document
from rival_jax.report.results import Results
from rival_jax.report.tables import write_csv
from rival_jax.runtime import footprint
from rival_jax.runtime.results import Run, read_rows
from rival_jax.tokencut import token_features
from rival_jax.types import Geometry
from tests.damaged_runs import NAMES, check_csv, renamed, reported
from tests.helpers import config_of, draw_study, frozen, nhwc


def quiet():
    return Console(file=io.StringIO())


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """A folder with `data`, squares with masks at two sizes, and `tiny`, a ViT of colours."""
    folder = tmp_path_factory.mktemp("tokencut")
    draw_study(folder / "data", size=32, per_class=3)
    for kind in ("images", "masks"):
        path = folder / "data" / kind / "class1" / "0.png"
        Image.open(path).resize((48, 30)).save(path)
    save_colour_vit(folder / "tiny")
    return folder


def save_colour_vit(folder):
    """A ViT of one block whose keys are the mean colours of its patches of 8 x 8 pixels."""
    model = vit.build(
        name="tiny", image_size=(32, 32), num_classes=3, patch_size=8, width=16, depth=1, heads=2
    )
    variables = jax.tree.map(np.zeros_like, model.init(jax.random.key(0)))
    params, basis = variables["params"], linalg.hadamard(16).astype(np.float32)
    params["patch_embed"]["kernel"][:] = 10 * basis[1:4] / 64
    params["patch_embed"]["bias"][:] = basis[4] - 5 * basis[1:4].sum(0)  # grey is a direction too
    block = params["blocks_0"]
    block["norm1"]["scale"][:] = 1
    block["attn"]["qkv"]["kernel"][:, 16:32] = np.eye(16)
    models.save(folder, model, variables)


def tiny(photos, **changes):
    """A config of tokencut that takes seconds."""
    config = config_of("tokencut")
    config.models = (str(photos / "tiny"),)
    config.data.name = "masked_folder"
    config.data.root = str(photos / "data")
    config.tokencut.block, config.tokencut.tau = -1, 0.2
    config.tokencut.sigmas = (4.0, 16.0, 8.0)
    config.tokencut.shown = 4
    config.statistics.resamples = 50
    with config.unlocked():
        config.update_from_flattened_dict(changes)
    return config


def run_in(folder, config, extend=False, console=None):
    console = console or quiet()
    run = Run(folder, config.to_dict(), extend=extend)
    run.log("start", argv=[])
    runner.run(Experiment(config, console), run, console)
    return Results.read(folder)


def count(results, measure, model="tiny"):
    """Of all classes."""
    return results.one(model=model, measure=measure, **{"class": None})["estimate"]


@pytest.fixture
def no_figures(monkeypatch):
    """Results alone: drawing takes longer than cutting."""
    monkeypatch.setattr(runner, "write_document", lambda *a: None)


@pytest.fixture(scope="module")
def done(photos, tmp_path_factory):
    folder = tmp_path_factory.mktemp("done")
    return folder, run_in(folder, tiny(photos))


def files(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for kind in ("rows", "masks")
        for path in sorted((folder / kind).rglob("*.p*"))
    }


def test_masks_lie_where_other_experiments_read_them(photos, done):
    """As `masked_folder`, photo by photo the pixels that were cut; sizes are the photos' own."""
    folder, results = done
    rows = read_rows(folder / "rows").to_pylist()
    kept = {row["file"]: row for row in rows if not row["reason"]}
    assert len(kept) == count(results, "masks") > 5
    assert count(results, "photos") == len(rows) == 9
    made = data.load("masked_folder", folder / "masks" / "tiny", "train")
    assert made.classes == ("class0", "class1", "class2")
    assert {name.removesuffix(".png") for name in made.names} == set(kept)
    before = data.load("masked_folder", photos / "data", "train")
    for name in made.names:
        item = made[made.names.index(name)]
        truth = before[before.names.index(name)]
        np.testing.assert_array_equal(item["image"], truth["image"])
        mask = np.asarray(item["mask"])
        assert set(np.unique(mask)) == {0, 255}
        row = kept[name.removesuffix(".png")]
        assert row["area"] == pytest.approx((mask > 0).mean())
        assert row["iou"] == pytest.approx(overlap(mask > 0, np.asarray(truth["mask"]) > 127))
    sizes = {(row["rows"], row["columns"]) for row in rows}
    assert sizes == {(4, 4), (4, 6)}
    examples = Examples(made, Geometry(size=(32, 32)))
    assert len(examples) == len(kept)


def test_the_report_says_what_was_found(done):
    folder, results = done
    text = (folder / "report.html").read_text()
    assert "masked_folder" in text
    assert f"masks for {count(results, 'masks'):.0f} of 9 photos" in text
    for name in ("by_class", "sample_tiny", "worst_tiny"):
        assert (folder / "figures" / f"{name}.png").exists()
        assert (folder / "figures" / f"{name}.csv").exists()
    assert (folder / "skipped.csv").read_text().startswith("model,example,reason\n")
    iou = results.one(measure="iou", **{"class": None})
    assert 0 <= iou["low"] < iou["estimate"] < iou["high"] <= 1
    of_class = {}
    for row in read_rows(folder / "rows").to_pylist():
        of_class.setdefault(row["label"], []).append(row["iou"])
    assert iou["estimate"] == pytest.approx(np.mean([np.nanmean(v) for v in of_class.values()]))


def test_a_stopped_run_ends_with_the_same_files(photos, tmp_path, monkeypatch, no_figures):
    monkeypatch.setattr(networks, "UNIT", 3)
    config = tiny(photos)
    run_in(tmp_path / "whole", config)
    whole, made = files(tmp_path / "whole"), 0
    finish = bilateral.made

    def stopping(*args, **options):
        nonlocal made
        made += 1
        if made == 5:
            raise KeyboardInterrupt
        return finish(*args, **options)

    monkeypatch.setattr(bilateral, "made", stopping)
    with pytest.raises(KeyboardInterrupt):
        run_in(tmp_path / "stopped", config)
    units = len(list((tmp_path / "stopped/rows").rglob("*.parquet")))
    assert 0 < units < 4
    run_in(tmp_path / "stopped", config)
    assert files(tmp_path / "stopped") == whole


def test_masks_that_were_changed_are_made_again(photos, tmp_path, no_figures):
    config = tiny(photos, **{"tokencut.refine": "none"})
    run_in(tmp_path, config)
    before = files(tmp_path)
    masks = sorted(path for path in before if "/masks/" in path)
    (tmp_path / masks[0]).unlink()
    Image.new("L", (32, 32), 255).save(tmp_path / masks[1])
    (tmp_path / masks[2].replace("/masks/", "/images/")).unlink()
    run_in(tmp_path, config)
    assert files(tmp_path) == before


def test_photos_without_masks(photos, tmp_path, no_figures):
    """ImageNet's layout; no quality is claimed, and experiments that need masks say so."""
    root = tmp_path / "photos"
    (root / "train").mkdir(parents=True)
    for path in (photos / "data" / "images").glob("*/*"):
        target = root / "train" / path.parent.name / path.name
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(path.read_bytes())
    config = tiny(photos, **{"data.name": "image_folder", "data.root": str(root)})
    results = run_in(tmp_path / "run", config)
    assert count(results, "photos") == 9
    assert not results.where(measure=("iou", "iou_coarse", "box", "centred")).rows
    assert np.isfinite(count(results, "area"))
    source = data.load("image_folder", root, "train")
    assert source.names[0] == "class0/0.png"
    with pytest.raises(ValueError, match=r"photo class0/0\.png has no mask: config tokencut"):
        Examples(source, Geometry(size=(32, 32)))
    with pytest.raises(ValueError, match=r"no photos: looked for CLASS/NAME\.jpg in .*val"):
        data.load("image_folder", tmp_path / "nothing", "val")
    (root / "train" / "class9").mkdir()
    with pytest.raises(ValueError, match="class folder class9 holds no photo"):
        data.load("image_folder", root, "train")


@pytest.fixture
def segments(photos, tmp_path):
    """As segment-anything writes them: two halves of each object, and two of its background."""
    for path in (photos / "data" / "masks").glob("*/*.png"):
        mask = np.asarray(Image.open(path)) > 127
        left = np.arange(mask.shape[1]) < np.median(np.nonzero(mask)[1])
        folder = tmp_path / "segments" / path.parent.name / path.stem
        folder.mkdir(parents=True)
        for number, part in enumerate((mask & left, mask & ~left, ~mask & left, ~mask & ~left)):
            Image.fromarray(np.uint8(255) * part).save(folder / f"{number}.png")
        lines = [f"{number},.9,.9" for number in range(4)]
        table = "\n".join(["id,predicted_iou,stability_score", *lines])
        (folder / "metadata.csv").write_text(table)
    return tmp_path / "segments"


def test_the_object_is_the_segments_that_lie_mostly_in_the_mask(
    photos, done, segments, tmp_path, no_figures
):
    run_in(tmp_path, tiny(photos, **{"tokencut.segments": str(segments)}))
    rows, compared = read_rows(tmp_path / "rows").to_pylist(), 0
    for row in rows:
        place = f"masks/tiny/train/masks/{row['file']}.png"
        parts = [np.asarray(Image.open(segments / row["file"] / f"{k}.png")) > 0 for k in range(4)]
        before = np.asarray(Image.open(done[0] / place)) > 0
        some = [part for part in parts if before[part].mean() > 0.5]
        if not some or np.any(some, 0).all():
            none = "no segment: none lies in the cut by more than half"
            assert row["reason"] == ("all of the photo" if some else none)
            continue
        mask = np.asarray(Image.open(tmp_path / place)) > 0
        np.testing.assert_array_equal(mask, np.any(some, 0))
        assert row["agreement"] == pytest.approx(overlap(mask, before))
        compared += not np.array_equal(mask, before)
    assert compared > 5


def test_segments_are_part_of_what_was_measured(photos, segments, tmp_path, no_figures):
    config = tiny(photos, **{"tokencut.segments": str(segments)})
    run_in(tmp_path / "run", config)
    before = files(tmp_path / "run")
    config.tokencut.segments = str(segments.rename(tmp_path / "moved"))
    run_in(tmp_path / "run", config)
    assert files(tmp_path / "run") == before
    one = tmp_path / "moved/class0/0/0.png"
    one.unlink()
    with pytest.raises(
        ValueError, match=r"mask class0/0\.png, segment 0 is missing.*on_bad='skip'"
    ):
        run_in(tmp_path / "run", config)
    Image.new("L", (8, 8), 255).save(one)
    with pytest.raises(ValueError, match="segment 0 is 8 x 8 pixels, its photo 32 x 32"):
        run_in(tmp_path / "run", config)
    Image.new("L", (32, 32), 255).save(one)
    run_in(tmp_path / "run", config)
    rows = [path for path in before if path.startswith("rows")]
    assert {*rows} < {*files(tmp_path / "run")}, "a unit of its own"
    (one.parent / "metadata.csv").unlink()
    with pytest.raises(
        ValueError, match=r"photo class0/0\.png has no segments: looked for .*class0/0"
    ):
        run_in(tmp_path / "run", config)
    config.data.on_bad = "skip"
    assert count(run_in(tmp_path / "other", config), "photos") == 8


def test_photos_that_cannot_be_used_are_listed(photos, tmp_path, no_figures):
    root = tmp_path / "photos"
    for i, size in enumerate(((32, 32), (32, 24), (8, 8))):
        target = root / "a" / f"{i}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(i).integers(0, 256, (*size, 3), np.uint8)
        Image.fromarray(pixels).save(target)
    Image.new("RGB", (32, 32), "grey").save(root / "a" / "flat.png")
    (root / "a" / "broken.jpg").write_bytes(b"no picture")
    config = tiny(photos, **{"data.name": "image_folder", "data.root": str(root)})
    with pytest.raises(ValueError, match=r"photo a/broken.jpg cannot be decoded.*on_bad='skip'"):
        run_in(tmp_path / "run", config)
    assert not (tmp_path / "run" / "rows").exists()
    config.data.on_bad = "skip"
    config.tokencut.min_pixels = 2000
    results = run_in(tmp_path / "run", config, extend=True)
    listed = (tmp_path / "run" / "skipped.csv").read_text()
    assert ",a/broken.jpg,photo a/broken.jpg cannot be decoded" in listed
    assert "tiny,a/2.png,photo too small: fewer tokens than 3" in listed
    assert "tiny,a/0.png,mask too small: " in listed
    assert count(results, "masks") == 0
    assert count(results, "skipped") == 4
    assert not results.where(measure="area").rows


def test_objects_larger_than_half_the_photo():
    """By the default rule they have masks; as released they are negated and skipped."""
    image = np.full((32, 32, 3), 20, np.uint8)
    image[2:30, 2:30] = (200, 180, 40)
    coarse = np.ones((32, 32), bool)
    coarse[:8, :8] = False
    options = {"sigmas": (4.0, 16.0, 8.0), "agreement": 0.3}
    made = bilateral.made(image, coarse, 1.0, **options)
    assert not made.reason
    assert made.mask.mean() > 0.5
    dropped = bilateral.made(image, coarse, 1.0, choice="released", **options)
    assert dropped.reason.startswith("negated, as released")
    assert rated(None, dropped.coarse, made.mask)["box"] == 0
    assert bilateral.made(image, coarse, 0.0, **options).reason.startswith("no cut: ")
    assert bilateral.made(image, coarse | True, 1.0, **options).reason == "all of the photo"
    few = bilateral.made(image, ~coarse, 1.0, refine="none", min_pixels=65)
    assert few.reason == "mask too small: 64 pixels of at least 65"


def test_ratings_by_hand():
    mask, truth = np.zeros((2, 10, 10), bool)
    mask[2:6, 2:6], truth[2:6, 2:7] = True, True
    found = rated(mask, truth, truth)
    assert found["iou"] == pytest.approx(16 / 20)
    assert (found["iou_coarse"], found["box"]) == (1, 1)
    assert centre_box((10, 10), 0.16)[3:7, 3:7].all()
    assert centre_box((10, 10), 0.16).sum() == 16
    assert found["centred"] == pytest.approx(overlap(centre_box((10, 10), 0.16), truth))
    dotted = np.zeros((10, 10), bool)
    dotted[1, 1] = dotted[4, 8] = True
    assert filled_box(dotted).sum() == 4 * 8
    none = rated(None, truth, truth)
    assert np.isnan([none["iou"], none["centred"]]).all()


def test_precision_and_steps_change_no_mask(photos, tmp_path, no_figures):
    masks = []
    for name, changes in (
        ("a", {}),
        ("b", {"tokencut.precision": "float32"}),
        ("c", {"batch_size": 1}),
    ):
        run_in(tmp_path / name, tiny(photos, **changes))
        masks.append({k: v for k, v in files(tmp_path / name).items() if "/masks/" in k})
    assert masks[0] == masks[1] == masks[2]
    assert not jax.config.jax_enable_x64


def test_a_dry_run_and_first_photos_of_each_class(photos, tmp_path, no_figures):
    console = quiet()
    runner.dry_run(Experiment(tiny(photos), console), console)
    assert "tiny: 9 photos of 2 shapes in tokens" in console.file.getvalue()
    results = run_in(tmp_path, tiny(photos, **{"tokencut.per_class": 1}))
    assert count(results, "photos") == 3


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"tokencut.feature": "keys"}, "config.tokencut.feature: no 'keys'; did you mean 'key'"),
        ({"tokencut.graph": "full"}, "config.tokencut.graph: no 'full'"),
        ({"tokencut.tau": 1.5}, "config.tokencut.tau: got 1.5"),
        ({"tokencut.sigmas": (0.0, 1.0, 1.0)}, "config.tokencut.sigmas"),
        ({"tokencut.scale": 0.0}, "config.tokencut.scale: got 0.0, expected a number above 0"),
        ({"tokencut.block": "last"}, "config.tokencut.block: got 'last', expected 'auto' or"),
        ({"tokencut.block": True}, "config.tokencut.block: got True, expected 'auto' or a whole"),
        ({"tokencut.block": 7}, "config.tokencut.block: no 7: tiny has blocks 0 to 0"),
        ({"models": ()}, "config.models: .*at least one"),
        ({"batch_size": 0}, "config.batch_size: got 0"),
        ({"data.split": "nonsense", "data.name": "scenes"}, "scenes has no split 'nonsense'"),
        ({"models": ("scenes/resnet_95",)}, "resnet_95 has no attention.*name a ViT"),
    ],
)
def test_mistakes_are_named_before_any_work(photos, tmp_path, changes, match):
    with pytest.raises(ValueError, match=match):
        run_in(tmp_path, tiny(photos, **changes))
    assert not (tmp_path / "masks").exists()


def test_masks_of_other_photos_are_not_mixed_in(photos, tmp_path, no_figures):
    stranger = tmp_path / "out" / "tiny" / "train" / "masks" / "class0" / "other.png"
    stranger.parent.mkdir(parents=True)
    Image.new("L", (4, 4)).save(stranger)
    with pytest.raises(ValueError, match=r"holds 1 masks of other photos, such as other.png"):
        run_in(tmp_path / "run", tiny(photos, output=str(tmp_path / "out")))


def test_golden_key_features(shared, tmp_path):
    """Queries, keys and values of DINO's last block at 40 x 56 pixels, as the cut takes them."""
    folder = shared / "golden" / "robustvit"
    tensors = weights.read_tensors(folder / "dino_weights.safetensors")
    config = weights.Config(num_classes=0, model_args={"num_heads": 3})
    built = vit.build(name="dino", **vit.infer(tensors, config))
    models.save(tmp_path / "dino", built, vit.convert(tensors, built))
    model, variables = models.load(str(tmp_path / "dino"), image_size=(40, 56), positions="dino")
    with np.load(folder / "dino_key_features.npz") as file:
        expected = dict(file)
    _, values = jax.jit(model.forward)(variables, jnp.asarray(nhwc(expected["image"])), {})
    value = values[model.attention_taps[-1].replace("attention", "qkv")]
    for feature in ("query", "key", "value"):
        got = token_features(model.to_grid, feature, value)
        reference = expected[f"features_{feature[0]}"]
        assert got.shape == (1, 5, 7, 24)
        got, atol = got.reshape(1, 35, 24).swapaxes(1, 2), 2e-5 * np.abs(reference).max()
        np.testing.assert_allclose(got, reference, rtol=0, atol=atol)


def test_every_attention_network_shows_its_keys(photos):
    tiny_vit = models.load(str(photos / "tiny"))[0]
    assert qkv_tap(tiny_vit, -1) == ("block0/qkv", 8)


def test_names_that_do_harm_are_text_on_page_and_console(done, tmp_path):
    classes, model = [f"class{i}" for i in range(3)], "../$_\x1b"
    names = {**dict(zip(classes, NAMES[4:], strict=False)), "tiny": model}
    folder = renamed(done[0], tmp_path / "run", names)
    look = np.zeros((8, 8, 3), np.uint8), *[np.zeros((8, 8), bool)] * 3

    def write(run, console):
        paths = sorted((run.path / "rows").rglob("*.parquet"))
        rows = read_rows(run.path / "rows").to_pylist()
        photos = [Photo(0, r["example"], NAMES.index(r["label"]), "", (8, 8), "", ()) for r in rows]
        found = study.outcomes(paths, [model], photos, NAMES)
        found += Results({**found.rows[0], "reason": name, "doubt": name} for name in NAMES)
        results = study.results(paths, found, NAMES, resamples=50)
        lists = page.listed(found, [(name, name) for name in NAMES])
        for name, one in lists.items():
            write_csv(run.path / f"{name}.csv", one.header, one.rows)
        given = results, found, lists, [model], lambda row: look
        told = page.page(frozen(tiny(folder)), *given)
        write_document(run, console, told)

    assert "../$_\\x1b" in reported(folder, write)
    check_csv(folder / "skipped.csv")


def network(photos, classes, depth):
    return vit.build(
        name="n",
        image_size=(32, 32),
        num_classes=classes,
        patch_size=8,
        width=16,
        depth=depth,
        heads=2,
    )


@pytest.mark.parametrize(
    ("classes", "depth", "block", "expected", "said"),
    [
        (0, 12, "auto", -1, "self-supervised"),
        (1000, 12, "auto", 7, "classifier of 1000 classes: TokenCut cuts block 7 of 0 to 11"),
        (3, 3, "auto", 1, "classifier of 3 classes: TokenCut cuts block 1 of 0 to 2"),
        (3, 1, "auto", 0, "block 0 of 0 to 0"),
        (1000, 12, -1, -1, ""),  # a number is taken as it is
        (0, 4, 2, 2, ""),
    ],
)
def test_the_block_follows_from_the_kind_of_network(photos, classes, depth, block, expected, said):
    chosen, notice = chosen_block(network(photos, classes, depth), block)
    assert chosen == expected
    assert said in notice if said else not notice


def masked(area, *, agreement=1.0, shape=(20, 20)):
    """A mask in the middle of a photo."""
    mask = centre_box(shape, area)
    return bilateral.Made(mask, mask, agreement, "")


@pytest.mark.parametrize(
    ("area", "second", "agreement", "odd"),
    [
        (0.25, 0.2, 0.9, ""),
        (0.49, 0.2, np.nan, ""),  # not refined
        (0.01, 0.2, 0.9, "covers 1.0 % of the photo"),
        (0.04, 0.2, 0.9, "covers 4.0 % of the photo"),
        (0.81, 0.2, 0.9, "covers 81.0 % of the photo"),
        (1.0, 0.2, 0.9, "covers 100.0 % of the photo; takes up 100 % of the photo's border"),
        (0.25, 0.2, 0.29, "refinement moved it, IoU 0.29"),
        (0.25, 0.99, 0.9, "another cut is as good"),
    ],
)
def test_what_makes_a_mask_doubtful(area, second, agreement, odd):
    assert bilateral.doubt(masked(area, agreement=agreement), second, 1.0) == odd


def test_masks_along_the_border_are_doubtful_and_skipped_photos_are_not():
    """Of usual area, as a sky or a floor with the sides of a photo."""
    frame = np.ones((20, 20), bool)
    frame[4:16, 4:16] = False
    made = bilateral.Made(frame, frame, 1.0, "")
    assert bilateral.doubt(made, 0.2, 1.0) == "takes up 100 % of the photo's border"
    half = frame & (np.arange(20) < 8)[:, None]
    assert bilateral.doubt(made._replace(mask=half), 0.2, 1.0) == ""
    assert bilateral.doubt(made._replace(reason="all of the photo"), 0.2, 1.0) == ""


def odd_in_turn(made):
    """Some masks are odd and others not, by nothing that decides their order."""
    return "odd" if made.mask.sum() % 3 == 0 else ""


def test_doubtful_masks_are_counted_listed_and_shown_first(photos, tmp_path, monkeypatch):
    monkeypatch.setattr(bilateral, "doubt", lambda made, *_: odd_in_turn(made))
    console = Console(file=io.StringIO(), width=400)
    drawn = []
    monkeypatch.setattr(runner, "write_document", lambda run, console, told, *_: drawn.append(told))
    seen, config = {}, tiny(photos, **{"tokencut.shown": 9, "tokencut.block": "auto"})
    monkeypatch.setattr(page, "overlays", lambda some, look: seen.update({len(seen): some}))
    results = run_in(tmp_path, config, console=console)
    rows = read_rows(tmp_path / "rows").to_pylist()
    odd = {row["example"]: row["doubt"] for row in rows if row["doubt"]}
    assert 0 < len(odd) == count(results, "doubtful")
    said = f"tiny: {len(odd)} of {count(results, 'masks'):.0f} masks look doubtful"
    assert f"note: {said}" in console.file.getvalue()
    facts = json.loads((tmp_path / "data.json").read_text())
    assert any(notice.startswith(said) for notice in facts["notices"])
    assert any("is a classifier of 3 classes" in notice for notice in facts["notices"])
    listed = (tmp_path / "doubtful.csv").read_text().splitlines()
    assert listed[0] == "model,example,doubt"
    assert {line.split(",")[1] for line in listed[1:]} == set(odd)
    (sheets,) = [s.pictures for s in drawn[0].sections if s.title == "The masks"]
    assert [picture.name for picture in sheets] == ["sample_tiny", "worst_tiny"]
    for picture in sheets:
        picture.draw()
    first = [bool(row["doubt"]) for row in seen[0]]
    assert first == sorted(first, reverse=True)
    assert len(set(first)) == 2
    worst = [row["iou"] for row in seen[1]]
    assert worst == sorted(worst)


def outcomes_of(model, labels, **known):
    """Of photos w, x, y, ... of a network, without masks."""
    names = "wxyz"[: len(labels)]
    rows = ({"example": n, "label": NAMES[c]} for n, c in zip(names, labels, strict=True))
    return Results({**study.ABSENT, "model": model, **row, **known} for row in rows)


def test_unrated_masks_are_not_called_good():
    assert any("was not measured" in notice for notice in page.notices(outcomes_of("n", [0])))
    assert page.notices(outcomes_of("n", [0], iou_coarse=0.0)) == []


def test_differences_are_of_photos_that_both_have(tmp_path):
    """Skipped by one of the networks, a photo counts for the other alone."""
    iou = {"a": [0.2, 0.4, np.nan, 0.9], "b": [0.3, np.nan, 0.8, 0.5]}
    labels, files = np.array([0, 0, 0, 1]), []
    run = Run(tmp_path, {})
    for model, values in iou.items():
        nothing = {name: np.full(4, np.nan) for name in page.MEASURES}
        columns = {
            "model": [model] * 4,
            "example": list("wxyz"),
            "label": [NAMES[label] for label in labels],
            **nothing,
            "iou": np.array(values),
            "box": np.array([1.0, 0.0, 1.0, 1.0]) if model == "a" else np.ones(4),
        }
        run.rows(model, {}, lambda columns=columns: columns)
        files.append(run.unit_path(model, {}))
    found = outcomes_of("a", labels) + outcomes_of("b", labels)
    results = study.results(files, found, NAMES, resamples=50)
    (found,) = results.where(measure="iou", contrast="minus a")
    assert found["model"] == "b"
    assert found["estimate"] == pytest.approx((0.1 - 0.4) / 2)
    assert found["images"] == 2
    assert results.one(measure="box", contrast="minus a")["estimate"] == pytest.approx(1 / 6)
    levels = results.where(measure="iou", contrast="", **{"class": None})
    assert [row["estimate"] for row in levels] == pytest.approx([(0.3 + 0.9) / 2, 0.525])
    assert not results.where(measure="area").rows
    (table,) = page.WORDS.tables(results, "differences")
    assert [row[:2] for row in table.rows] == [
        ("b minus a", "IoU with the true mask"),
        ("b minus a", "boxes overlap by more than 1/2, %"),
    ]


def dry_run_of(command, **changes):
    """What a command says when it is pasted, with --dry_run, word by word as a shell splits it."""
    words = shlex.split(command)
    assert words[:3] == ["python", "-m", "rival_jax.main"]
    file, _, preset = words[3].removeprefix("--config=configs/").partition(":")
    config, flat = config_of(file.removesuffix(".py"), preset), {}
    for word in words[4:]:
        key, _, value = word.removeprefix("--config.").partition("=")
        if key != "--workdir":
            flat[key] = ast.literal_eval(value) if value.startswith("(") else value
    config.update_from_flattened_dict(flat)  # raises for a key that there is not
    config.update_from_flattened_dict(changes)
    console = Console(file=io.StringIO(), width=200)
    experiment = importlib.import_module(f"rival_jax.experiments.{config.experiment}")
    if hasattr(experiment, "Experiment"):
        runner.dry_run(experiment.Experiment(config, console), console)
    else:
        experiment.dry_run(config, console)
    return console.file.getvalue()


def test_the_command_at_the_end_works_when_pasted(photos, tmp_path, no_figures):
    config, console = tiny(photos), Console(file=io.StringIO(), width=80)
    run_in(tmp_path / "a run's $HOME", config, console=console)
    (line,) = [line for line in console.file.getvalue().splitlines() if "python -m" in line]
    assert "nothing was run" in dry_run_of(line[line.index("python -m") :])


def test_the_demos_command_works_when_pasted(photos, tmp_path, monkeypatch):
    """Finetuning with the masks; true ones stand in for those that the cut finds."""
    monkeypatch.setattr(footprint, "measure", lambda *args: footprint.Cost(1e9, 1.0, lambda: 1.0))
    config = tiny(photos, **{"models": ("scenes/vit_00",), "data.name": "scenes", "data.root": ""})
    config.data.scenes.per_class, config.tokencut.block = 5, "auto"
    material = Experiment(config, quiet())
    (folder,) = material.folders(tmp_path / "a run")
    for photo in material.photos:
        item = material.source[photo.position]
        for kind, picture in (("images", item["image"]), ("masks", item["mask"])):
            path = folder.path / kind / f"{photo.file}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            picture.save(path)
    few = {"data.scenes.per_class": 2, "shifted.scenes.per_class": 2}  # drawn and not looked at
    (line,) = page.uses(frozen(config), material.networks, [folder.path], 10)
    assert "nothing was run" in dry_run_of(line[line.index("python -m") :], **few)


def test_no_command_is_named_where_none_is_known(photos, tmp_path):
    """Of a network without classes, or with others: flags alone, that say the split too."""
    config = tiny(photos)
    (one,) = Experiment(config, quiet()).networks
    for classes in (0, 1000):
        one.model = network(photos, classes, 1)
        (got,) = page.uses(frozen(config), [one], [tmp_path / "a b" / "val"], 3)
        assert ": any experiment with --config.data.name=masked_folder " in got
        assert got.split("root=")[1] == f"'{tmp_path}/a b' --config.data.split=val"
