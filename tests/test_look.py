"""The page of photos and masks: each planted fault is found, and nothing else."""

import csv
import io
import json
import re
import shlex

import numpy as np
import pytest
from PIL import Image

from rival_jax import command, read_results
from rival_jax.data.scenes import Scenes
from rival_jax.experiments import look
from rival_jax.experiments.look import study
from rival_jax.experiments.looked import looked
from rival_jax.report.explorer import FILE as EXPLORER
from rival_jax.runtime.config_flag import check_config_keys
from rival_jax.runtime.console import Terminal
from rival_jax.runtime.results import Run
from tests.helpers import config_of, quiet

SIZE = 48


def square(low, high):
    mask = np.zeros((SIZE, SIZE), np.uint8)
    mask[low:high, low:high] = 255
    return mask


def dots():
    mask = np.zeros((SIZE, SIZE), np.uint8)
    mask[4:44:8, 4:44:8] = 255
    return mask


FAULTS = {
    "good": (square(10, 20), ""),
    "good_too": (square(12, 30), ""),
    "speck": (square(8, 10), "small"),
    "filling": (square(1, SIZE), "large"),
    "inverted": (255 - square(16, 32), "border"),
    "dots": (dots(), "parts"),
    "twin_a": (square(20, 33), "mask"),
    "twin_b": (square(20, 33), "mask"),
    "copy_a": (square(20, 34), "photo"),
    "copy_b": (square(20, 35), "photo"),
}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder, rng = tmp_path_factory.mktemp("look"), np.random.default_rng(0)
    photos = {name: rng.integers(0, 256, (SIZE, SIZE, 3), np.uint8) for name in FAULTS}
    photos["copy_b"] = photos["copy_a"]
    for name, (mask, _) in FAULTS.items():
        for kind, pixels in (("images", photos[name]), ("masks", mask)):
            path = folder / kind / ("dog" if name < "g" else "cat") / f"{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
    (folder / "images" / "cat" / "lost.png").write_bytes(b"no photo")
    Image.fromarray(square(9, 19)).save(folder / "masks" / "cat" / "lost.png")
    config = config_of("look").unlock()
    config.data.name, config.data.root = "masked_folder", str(folder)
    config.image_size = SIZE
    made = Run(folder / "run", config.to_dict())
    look.run(config, made, quiet())
    return made.path


def test_a_mask_for_each_object_is_shown_as_their_union(tmp_path):
    rng, parts = np.random.default_rng(0), (square(4, 12), square(20, 34))
    for name in ("images/cat/a.png", "images/dog/a.png"):
        (tmp_path / name).parent.mkdir(parents=True)
        Image.fromarray(rng.integers(0, 256, (SIZE, SIZE, 3), np.uint8)).save(tmp_path / name)
    for name, part in zip(("cat/a_0.png", "cat/a_1.png"), parts, strict=True):
        (tmp_path / "masks" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(part).save(tmp_path / "masks" / name)
    (tmp_path / "masks/dog/a").mkdir(parents=True)
    Image.fromarray(parts[1]).save(tmp_path / "masks/dog/a/1.png")
    words = ["look", f"--data={tmp_path}", f"--out={tmp_path / 'run'}"]
    words.append("--config.data.masked_folder.masks_per_photo=several")
    flags = command.main_flags(words)
    check_config_keys(flags)
    config = config_of("look").unlock()
    config.data.name, config.data.root, config.image_size = "masked_folder", str(tmp_path), SIZE
    config.data.masked_folder.masks_per_photo = "several"
    look.run(config, Run(tmp_path / "run", config.to_dict()), quiet())
    with (tmp_path / "run/figures/sheet.csv").open() as file:
        found = {row["example"]: (float(row["area"]), row["parts"]) for row in csv.DictReader(file)}
    areas = [(part > 0).mean() for part in parts]
    assert found == {"cat/a.png": (sum(areas), "2"), "dog/a.png": (areas[1], "1")}
    assert "2 photos have 3 masks, 1 to 2 each" in (tmp_path / "run/report.html").read_text()


def test_each_fault_is_found_and_nothing_else(run):
    with (run / "figures" / "sheet.csv").open() as file:
        found = {row["example"]: row["doubts"] for row in csv.DictReader(file)}
    names = {name.split("/")[-1].partition(".")[0]: doubts for name, doubts in found.items()}
    assert names == {name: doubts for name, (_, doubts) in FAULTS.items()}


def test_doubtful_photos_come_first_and_are_listed(run):
    with (run / study.FILE).open() as file:
        listed = [row["example"] for row in csv.DictReader(file)]
    with (run / "figures" / "sheet.csv").open() as file:
        order = [row["example"] for row in csv.DictReader(file)]
    assert len(listed) == 8
    assert set(order[:8]) == set(listed)


def test_the_table_of_classes_is_their_order_with_counts_and_areas(run):
    table = {
        (row["class"], row["measure"]): row["estimate"] for row in read_results(run).to_pylist()
    }
    mine = sorted(float(m.mean() / 255) for name, (m, _) in FAULTS.items() if name < "g")
    assert table["dog", "photos"] == len(mine)
    assert table["dog", "smallest"] == pytest.approx(mine[0])
    assert table["dog", "area"] == pytest.approx(np.median(mine))
    assert table[None, "doubtful"] == 8
    text = (run / "tables.md").read_text()
    assert text.index("| cat | 0 |") < text.index("| dog | 1 |")


def test_the_page_names_what_cannot_be_used_and_leads_to_all_photos(run):
    text = (run / "report.html").read_text()
    assert "lost.png" in text
    assert f'href="{EXPLORER}"' in text
    block = re.search(r'id="data">(.*?)</script>', (run / EXPLORER).read_text(), re.DOTALL)
    assert block is not None
    assert len(json.loads(block[1])["images"]) == len(FAULTS)


def test_runs_on_the_same_data_lead_to_the_page_and_others_name_its_command(run):
    config = config_of("rfs").unlock()
    config.data.name, config.data.root = "masked_folder", str(run.parent)
    found = looked(Run(run.parent / "same", config.to_dict()))
    assert found == (f"../{run.name}/report.html", "")
    config.data.root, config.data.masked_folder.mask_values = "my photos", ("1", "2")
    page, line = looked(Run(run.parent / "other", config.to_dict()))
    program, *words = shlex.split(line)
    assert (page, program, words[0]) == ("", "rival-jax", "look")
    flags = command.main_flags(words)
    check_config_keys(flags)
    assert "--config.data.root=my photos" in flags
    assert "--config.data.masked_folder.mask_values=('1', '2')" in flags
    assert f"--workdir={run.parent / 'look'}" in flags
    config = config_of("robustness")
    assert looked(Run(run.parent / "bare", config.to_dict())) == ("", "")


def test_a_dry_run_says_what_there_is_and_reads_nothing(monkeypatch):
    monkeypatch.setattr(study, "_examples", lambda *_: pytest.fail("it read"))
    monkeypatch.setattr(Scenes, "__getitem__", lambda *_: pytest.fail("it drew"))
    console = Terminal(file=io.StringIO(), width=200)
    look.dry_run(config_of("look"), console)
    said = console.file.getvalue()
    assert said == "scenes test: 100 photos of 10 classes; nothing was read\n"
