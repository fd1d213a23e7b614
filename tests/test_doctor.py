"""The doctor of data sets: what would make a number wrong ends it with an error."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from rival_jax import data
from rival_jax.data import class_maps, imagenet, imagenet_a, inspection, masked_folder
from rival_jax.data.archives import Files
from rival_jax.data.evaluation import Evaluation
from rival_jax.experiments import doctor
from rival_jax.runtime.results import Run
from tests.evaluation_layouts import encoded, lay, siscore, tar_of
from tests.helpers import config_of
from tests.pictures import disc, plain, save

WNIDS = [one.wnid for one in class_maps.imagenet()]
V2 = "imagenetv2-matched-frequency-format-val"


def wide():
    """A console whose text is kept, and not wrapped."""
    return Console(file=io.StringIO(), width=10_000)


def seen(folder, *sets, **changes):
    """What the doctor finds of sets, what it prints, and the words of its error, if it ends so."""
    config, console, error = config_of("doctor").unlock(), wide(), ""
    config.sets = sets
    for key, value in changes.items():
        config[key] = value
    try:
        doctor.run(config, Run(folder / "run", config.to_dict()), console)
    except ValueError as fault:
        error = str(fault)
    told = json.loads((folder / "run" / "summary.json").read_text())["sets"]
    return told, console.file.getvalue(), error


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """All 10,000 photos of ImageNet-v2, alike, in a tar."""
    root, content = tmp_path_factory.mktemp("whole"), encoded()
    names = [f"{V2}/{i}/{k}.jpeg" for i in range(1000) for k in range(10)]
    return tar_of(root / "v2.tar", dict.fromkeys(names, content))


def test_a_whole_set_is_good(whole, tmp_path):
    (told,), text, error = seen(tmp_path, f"imagenet_v2={whole}")
    assert not error
    assert "good\n  10,000 photos of 1000 of 1000 classes, labels 0-999" in text
    assert told["faults"] == []
    (note,) = told["notes"]  # it is the same photo everywhere
    assert note.startswith("9,999 photos are copies of others, byte for byte, such as ")


def test_copies_are_counted_and_named(tmp_path, monkeypatch):
    content = {
        f"{c}/{i}.jpg": encoded(3 * i + (c == "cat")) for c in ("cat", "dog") for i in range(3)
    }
    content |= {"cat/8.jpg": content["cat/1.jpg"], "dog/9.jpg": content["cat/1.jpg"]}
    content["dog/7.jpg"] = content["dog/0.jpg"][:-1] + b"!"  # of equal length
    root = lay(tmp_path / "pets", content, content)
    (note,) = seen(tmp_path, f"labelled_folder={root}", samples=1)[0][0]["notes"]
    assert note.startswith(
        "2 photos are copies of others, byte for byte, such as cat/8.jpg of cat/1.jpg; 1 photo is "
    )
    (root / "cat/8.jpg").unlink()
    (root / "dog/9.jpg").unlink()
    assert not seen(tmp_path, f"labelled_folder={root}", samples=1)[0][0]["notes"]
    monkeypatch.setattr(inspection, "MUCH", 10)
    (note,) = seen(tmp_path, f"labelled_folder={root}", samples=1)[0][0]["notes"]
    assert note.startswith("copies were not looked for: pass --config.hashes")
    assert not seen(tmp_path, f"labelled_folder={root}", samples=1, hashes=True)[0][0]["notes"]


def test_numbers_that_nobody_verified_are_notes(tmp_path):
    row = "0,.5,.5,.2,21.0,0,1,0,1,1,1"
    siscore(tmp_path / "rotation", {"koala/0.jpg": row})
    lay(tmp_path / "bg", ["original/val/00_dog/n02085620_1.JPEG"])
    sets = f"siscore={tmp_path} kind=rotation", f"imagenet9={tmp_path / 'bg'}"
    found, text, _ = seen(tmp_path, *sets)
    said = "1 photo is there, it is said to have {} (not verified)"
    assert said.format("39,540") in found[0]["notes"]
    assert said.format("4,050") in found[1]["notes"]
    assert not any("said" in fault for told in found for fault in told["faults"])
    assert f"note: {said.format('39,540')}" in text


def test_classes_and_styles_that_nobody_verified_are_notes(tmp_path):
    names = [f"val/{WNIDS[k]}_a.JPEG" for k in (379, 0)]
    lay(tmp_path / "hard", names, encoded(1, "PNG"))
    lay(tmp_path / "hard", [f"images/val/{WNIDS[k]}/a.JPEG" for k in (379, 0)])
    lay(tmp_path / "r", [f"imagenet-r/{WNIDS[1]}/{style}_0.jpg" for style in ("art", "collage")])
    hard, renditions = seen(
        tmp_path, f"hard_imagenet={tmp_path / 'hard'}", f"imagenet_r={tmp_path / 'r'}"
    )[0]
    assert any("tench: none of the 15 classes that it is said to have" in n for n in hard["notes"])
    assert any("1 style, such as 'collage'" in note for note in renditions["notes"])


def test_what_is_missing_is_counted_and_the_layout_told(tmp_path):
    root = lay(tmp_path / "a", [f"imagenet-a/{WNIDS[6]}/x.jpg"])
    (told, other), text, error = seen(
        tmp_path, f"imagenet_a={root}", "imagenet_r=nowhere", samples=3
    )
    assert told["faults"] == [
        "1 photo is there, 7,500 are known",
        "199 of 200 classes have no photo, such as n01531178",
    ]
    assert other["faults"] == ["there is no folder or archive nowhere"]
    assert f"expected: {imagenet_a.LAYOUT}" in text
    assert error == "2 of 2 data sets would give wrong numbers: imagenet_a, imagenet_r"


def test_a_mask_for_each_object_is_told_and_its_files_are_opened(tmp_path):
    for name in ("images/cat/a.jpg", "masks/cat/a_0.png", "masks/cat/a_1.png"):
        save(disc(), tmp_path / name)
    sets = f"masked_folder={tmp_path}", f"masked_folder={tmp_path} masks_per_photo=several"
    (one, several), text, _ = seen(tmp_path, *sets)
    assert several["notes"] == [
        "1 photo has 2 masks; the object of a photo is all of its masks together"
    ]
    assert not several["faults"]
    assert "masks_per_photo=several" in one["faults"][0]
    assert f"expected: {masked_folder.LAYOUT}" in text
    save(plain(0), tmp_path / "masks/cat/a_1.png")
    ((fault,),) = (told["faults"] for told in seen(tmp_path, sets[1])[0])
    assert fault == "mask cat/a_1.png is 0 of 1200 pixels"


def test_damaged_photos_are_found_among_the_samples(tmp_path):
    content = {f"cat/{i}.jpg": encoded() for i in range(4)} | {"dog/9.jpg": encoded()[:200]}
    root = lay(tmp_path / "pets", content, content)
    (told,), _, error = seen(tmp_path, f"labelled_folder={root}", samples=2)  # first and last
    assert len(told["faults"]) == 1
    assert "photo dog/9.jpg cannot be decoded" in told["faults"][0]
    assert error
    assert not seen(tmp_path, f"labelled_folder={root}", samples=1)[2]


def test_pictures_that_were_resized_are_told(tmp_path):
    content = {f"fog/1/{WNIDS[0]}/{i}.JPEG": encoded() for i in range(2)}
    root = lay(tmp_path / "c", content, content)
    assert not any(
        "resized" in fault for fault in seen(tmp_path, f"imagenet_c={root}")[0][0]["faults"]
    )
    (root / f"fog/1/{WNIDS[0]}/0.JPEG").write_bytes(encoded(0, "JPEG", (30, 20)))
    faults = seen(tmp_path, f"imagenet_c={root}")[0][0]["faults"]
    assert any("30 x 20, 12 x 10: they have been resized" in fault for fault in faults)


def test_archives_are_compared_with_what_was_published(tmp_path, monkeypatch):
    root = lay(tmp_path / "a", [f"{WNIDS[6]}/x.jpg"])
    (root / "imagenet-a.tar").write_bytes(b"half of it")
    faults = seen(tmp_path, f"imagenet_a={root}")[0][0]["faults"]
    assert "has 10 bytes, 687,552,512 were published: download it again" in faults[0]
    right = hashlib.sha256(b"half of it").hexdigest()
    for digest, wrong in ((right, False), ("0" * 64, True)):
        monkeypatch.setattr(imagenet_a, "FILES", {"imagenet-a.tar": (10, digest)})
        faults = seen(tmp_path, f"imagenet_a={root}")[0][0]["faults"]
        assert any("not what was published" in fault for fault in faults) == wrong
    monkeypatch.setattr(inspection, "SMALL", 5)
    for hashes in (False, True):
        faults = seen(tmp_path, f"imagenet_a={root}", hashes=hashes)[0][0]["faults"]
        assert any("not what was published" in fault for fault in faults) == hashes


def test_the_published_real_labels_are_known(all_shared, tmp_path):
    real = all_shared / "data" / "evaluation_mini" / "imagenet_real" / "real.json"
    root = lay(tmp_path / "val", ["ILSVRC2012_val_00000001.JPEG"])
    (root / "real.json").write_bytes(real.read_bytes())
    (root / "validation_labels.txt").write_text("\n".join(WNIDS * 50))
    told = seen(tmp_path, f"imagenet={root} real=real.json")[0][0]
    assert not any("real.json" in fault for fault in told["faults"])
    (root / "real.json").write_bytes(real.read_bytes().replace(b"795", b"794", 1))
    told = seen(tmp_path, f"imagenet={root} real=real.json")[0][0]
    assert any("real.json is not what was published" in fault for fault in told["faults"])


def test_labels_of_the_validation_photos_are_checked_as_a_whole(tmp_path):
    labels = np.repeat(np.arange(1000), 50).astype(np.int32)  # in another order than published
    names = [f"ILSVRC2012_val_{n:08d}.JPEG" for n in range(1, 50_001)]
    outputs = tuple((i,) for i in range(1000))
    source = Evaluation("imagenet", Files(tmp_path, {}), tuple(WNIDS), names, labels, outputs)
    assert imagenet.check(source) == [
        "labels of the 50,000 validation photos are not the published ones"
    ]
    some = dataclasses.replace(source, names=names[:1000], labels=labels[:1000])
    agreed = tuple((label,) if i % 10 else (999,) for i, label in enumerate(labels[:1000].tolist()))
    assert not imagenet.check(dataclasses.replace(some, real=agreed))
    shifted = dataclasses.replace(some, real=((), *agreed[:-1]), labels=np.roll(labels[:1000], 25))
    assert "labels are among ReaL's for" in imagenet.check(shifted)[0]


def test_the_list_of_labels_that_tensorflow_datasets_brings_is_the_published_one(tmp_path):
    pytest.importorskip("tensorflow_datasets")
    root = lay(tmp_path, ["ILSVRC2012_val_00000001.JPEG"])
    source = data.load("imagenet", root, "val")
    path = source.told[0].removeprefix("imagenet: labels are those of ")
    wnids = Path(path).read_text(encoding="utf-8").split()
    index_of = class_maps.index_of()
    names = [f"ILSVRC2012_val_{n:08d}.JPEG" for n in range(1, 50_001)]
    labels = np.array([index_of[wnid] for wnid in wnids], np.int32)
    whole = dataclasses.replace(source, names=names[::-1], labels=labels[::-1])
    assert imagenet.check(whole) == []


def test_factors_and_terms_are_told(tmp_path):
    rows = {f"koala/{i}.jpg": f"{i},.5,.5,.{i + 1},0,0,1,0,1,1,1" for i in range(9)}
    siscore(tmp_path / "area", rows)
    lay(tmp_path / "images", ["alarm_clock/a.png"], encoded(0, "PNG"))
    _, text, _ = seen(tmp_path, "siscore", "objectnet", root=str(tmp_path))
    assert "area: 0.10 1, 0.20 1" in text
    assert "and 1 more" in text
    assert "note: its terms only allow evaluation on it" in text


def test_without_sets_all_layouts_are_told(tmp_path):
    config, console = config_of("doctor"), wide()
    found = doctor.run(config, Run(tmp_path, config.to_dict()), console)["layouts"]
    assert {"imagenet", "objectnet", "siscore", "imagenet9", "waterbirds"} <= set(found)
    assert f"imagenet_a: {imagenet_a.LAYOUT}" in console.file.getvalue()


def test_a_dry_run_reads_nothing(tmp_path, monkeypatch):
    config, console = config_of("doctor").unlock(), wide()
    config.sets = (f"imagenet_a={tmp_path}", "imagenet_r=nowhere kind=1")
    monkeypatch.setattr(data, "load", lambda *_: pytest.fail("was read"))
    doctor.dry_run(config, console)
    assert f"{tmp_path} is there" in console.file.getvalue()
    assert "nowhere is not there" in console.file.getvalue()
    for text, message in (("imagenet_aa=x", "did you mean 'imagenet_a'"), ("a b c", "config.sets")):
        config.sets = (text,)
        with pytest.raises(ValueError, match=message):
            doctor.dry_run(config, console)
