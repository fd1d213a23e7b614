"""Files of every format, damaged at random: each is read, or refused in one line with its name.

  python -m tests.mutated_files --count=3000 --seed=0

prints how many files of each format were read, refused, or are a fault, and ends with 1 if any is.
"""

from __future__ import annotations

import argparse
import collections
import dataclasses
import functools
import json
import sys
import tarfile
import tempfile
import time
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from rival_jax import data, weights
from rival_jax.data import masked_folder, rival10, transforms
from rival_jax.data.mask_formats import READERS
from rival_jax.data.pickles import read_attribute_dict
from rival_jax.experiments.rfs import joined
from rival_jax.models import settings, vit
from rival_jax.runtime import row_files
from rival_jax.runtime.results import parsed
from rival_jax.weights import class_names
from tests import network_weights, pictures
from tests.checkpoint_writers import pickled
from tests.malformed_files import good_files

SECONDS = 5.0  # that one file may take
TOKENS = (
    *(b"NaN", b"-1", b"0", b"1e400", b"9" * 400, b"[" * 50, b"{", b"null", b"true", b'""', b"'"),
    *(
        b"\x00",
        b"\xff\xff\xff\xff",
        b"\x7f\xff\xff\xff",
        b"../",
        b"\n",
        b",",
        b"\xef\xbb\xbf",
        b"(",
    ),
)
VIT = network_weights.vit()
CONFIG = {
    "architecture": "vit_tiny_patch16_224",
    "num_classes": 3,
    "global_pool": "token",
    "model_args": {"num_heads": 3, "act_layer": "gelu", "embed_dim": 12, "img_size": [8, 12]},
    "label_names": ["a", "b", "c"],
    "pretrained_cfg": {
        "input_size": [3, 8, 12],
        "mean": [0.5, 0.5, 0.5],
        "std": [0.25, 0.25, 0.25],
        "interpolation": "bicubic",
        "crop_pct": 0.9,
    },
}


class Format(NamedTuple):
    """A whole file, and what reads it; an error must name the file as `called`."""

    file: Path
    read: Callable[[Path], Any]


def formats(folder: Path) -> dict[str, Format]:
    """A small whole file of every format that is read, written into `folder`."""
    found = {
        name: Format(path, _tensors) for name, path in good_files(folder).items() if path.is_file()
    }
    (folder / "config.json").write_text(json.dumps(CONFIG, indent=1))
    found["config.json"] = Format(folder / "config.json", _config)
    np.save(folder / "x_attr_labels.npy", np.arange(36).reshape(2, 18) % 2)
    found["attribute labels"] = Format(folder / "x_attr_labels.npy", rival10._attribute_labels)
    (folder / "x_attr_dict.pkl").write_bytes(pickled({"wings": "aGVsbG8=", "tail": "d29ybGQ="}))
    found["attribute pickle"] = Format(folder / "x_attr_dict.pkl", read_attribute_dict)
    for suffix in ("png", "jpg", "gif", "webp", "tiff", "bmp"):
        path = pictures.save(pictures.photo(), folder / f"photo.{suffix}")
        found[f"photo {suffix}"] = Format(path, _photo)
    found["mask png"] = Format(pictures.save(pictures.disc(), folder / "mask.png"), _mask)
    masked = folder / "data"
    for name in ("a", "b"):
        pictures.save(pictures.photo(), masked / f"images/{name}/1.png")
        pictures.save(pictures.disc(), masked / f"masks/{name}/1.png")
    (masked / "rows.csv").write_text(
        "image,mask,class,split\nimages/a/1.png,masks/a/1.png,a,test\n"
        "images/b/1.png,masks/b/1.png,b,test\n"
    )
    found["manifest"] = Format(masked / "rows.csv", _manifest)
    (masked / "map.json").write_text(json.dumps({"a": ["cat", 0], "b": ["dog", 1]}))
    found["class map"] = Format(masked / "map.json", _class_map)
    for name, text in (("json", '["tabby cat", "dog"]'), ("txt", "tabby cat\nChien, dog\n")):
        (folder / f"class_names.{name}").write_text(text)
        found[f"class names {name}"] = Format(folder / f"class_names.{name}", class_names._listed)
    (folder / "data.json").write_text(json.dumps({"name": "scenes", "classes": ["a", "b"]}))
    found["json of a run"] = Format(folder / "data.json", parsed)
    found["rows"] = Format(_rows(folder / "rows.parquet"), _units)
    return found | _evaluation(folder / "evaluation") | _outlined(folder / "outlines")


def _outlined(folder: Path) -> dict[str, Format]:
    """Of labelling tools, each with one photo."""
    photo = pictures.save(pictures.photo(), folder / "labelme/a.png").read_bytes()
    shape = {"label": "cat", "points": [[1, 1], [9, 2], [5, 8]], "shape_type": "polygon"}
    told = {"shapes": [shape], "imagePath": "a.png", "imageWidth": 48, "imageHeight": 32}
    told["imageWidth"], told["imageHeight"] = pictures.photo().size
    texts = {
        "labelme/a.json": json.dumps(told),
        "cvat/annotations.xml": '<annotations><image name="a.png" width="{}" height="{}"><polygon '
        'label="cat" points="1,1;9,2;5,8"/></image></annotations>'.format(*pictures.photo().size),
        "yolo/labels/a.txt": "0 .1 .1 .5 .2 .3 .6\n",
        "yolo/data.yaml": "names: [cat]\n",
    }
    for name, text in texts.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    for name in ("cvat/a.png", "yolo/images/a.png"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(photo)
    stored = [{"bytes": photo, "path": "a.png"}]
    mask = [{"bytes": pictures.save(pictures.disc(), folder / "m.png").read_bytes(), "path": ""}]
    table = pa.table({"image": stored, "label": [0], "mask": mask})
    (folder / "hub_parquet").mkdir()
    pq.write_table(table, folder / "hub_parquet/test.parquet")

    def items(name: str) -> Callable[[Path], Any]:
        def read(_: Path) -> Any:
            source = data.load(name, folder / name, "test")
            return [source[place] for place in range(len(source))]

        return read

    return {
        file: Format(folder / file, items(file.partition("/")[0]))
        for file in (*texts, "hub_parquet/test.parquet")
    }


def _evaluation(folder: Path) -> dict[str, Format]:
    """Of the sets that networks are evaluated on: archives, and tables beside photos."""
    one = "n01440764/ILSVRC2012_val_00000001.JPEG"
    picture = pictures.save(pictures.photo(), folder / "val" / one)
    whole = folder / "archives"
    whole.mkdir()
    with tarfile.open(whole / "a.tar", "w") as archive:
        archive.add(picture, "imagenet-a/n01498041/1.jpg")
    for kind in ("stored", "deflated"):
        packed = getattr(zipfile, f"ZIP_{kind.upper()}")
        with zipfile.ZipFile(whole / f"{kind}.zip", "w", packed) as archive:
            archive.write(picture, "imagenet-a/n01498041/1.jpg")
    (folder / "real.json").write_text(json.dumps([[0], [1, 2], []] + [[3]] * 49_997))
    factors = {"file_name": Path(one).name, "class": 0, "pose": 1, "background": 0}
    (folder / "x.jsonl").write_text(json.dumps(factors) + "\n")
    (folder / "table.csv").write_text(f"filename,label,light\nval/{one},n01440764,dim\n")
    imagenet = functools.partial(data.load, "imagenet")
    return {
        "photos in a tar": Format(whole / "a.tar", _archive),
        "photos in a zip": Format(whole / "stored.zip", _archive),
        "photos in a zip, deflated": Format(whole / "deflated.zip", _archive),
        "real.json": Format(
            folder / "real.json", lambda path: imagenet(path.parent, "val", real=path.name)
        ),
        "ImageNet-X": Format(
            folder / "x.jsonl", lambda path: imagenet(path.parent, "val", imagenet_x=path.name)
        ),
        "factor table": Format(
            folder / "table.csv", lambda path: _all(path.parent, "factor_table", table=path.name)
        ),
    }


def _archive(path: Path) -> Any:
    try:
        return _all(path, "imagenet_a")
    except ValueError as error:  # of a photo in it, which has the name that it has there
        named = "n01498041/1.jpg" in str(error)
        raise ValueError(f"{path}: {error}" if named else str(error)) from error


def _all(root: Path, name: str, **options: Any) -> Any:
    source = data.load(name, root, "test", **options)
    return [np.asarray(source[place]["image"]) for place in range(len(source))]


def _tensors(path: Path) -> Any:
    return {name: np.array(tensor) for name, tensor in weights.read_tensors(path).items()}


def _config(path: Path) -> Any:
    said = weights.read_config(path)
    try:
        args = settings.Settings(said.model_args)
        vit.infer(VIT, dataclasses.replace(said, model_args=args))
        settings.check_asked(args, "vit")
    except ValueError as error:  # as `models.load` names it
        raise ValueError(f"{path}: {error}") from error
    return said


def _photo(path: Path) -> Any:
    return np.asarray(transforms.open_photo(path, path.name))


def _mask(path: Path) -> Any:
    picture = transforms.open_picture(path, path.name, "mask")
    return np.asarray(READERS["auto"](picture, path.name))


def _manifest(path: Path) -> Any:
    return masked_folder.load(path.parent, "test", manifest=path.name).names


def _class_map(path: Path) -> Any:
    return masked_folder.load(path.parent, "test", class_map=path.name).classes


def _units(path: Path) -> Any:
    folder = path.parent / f"run {path.stem}"
    (folder / "rows/net").mkdir(parents=True, exist_ok=True)
    (folder / "rows/net/rows.parquet").write_bytes(path.read_bytes())
    data = {"name": "scenes", "classes": ["cat", "dog"], "fingerprint": "5e1f"}
    files = {"data": data, "models": [{"name": "net"}]}
    for name, value in {**files, "units": {"net/clean": "rows/net/rows.parquet"}}.items():
        (folder / f"{name}.json").write_text(json.dumps(value))
    return joined.read(folder)


def _rows(path: Path) -> Path:
    examples = 4
    columns = {
        "model": ["net"] * examples,
        "dataset": ["scenes"] * examples,
        "example": [f"e{i}" for i in range(examples)],
        "label": ["cat", "dog"] * (examples // 2),
        "region": ["clean"] * examples,
        "norm": ["none"] * examples,
        "level": [0.0] * examples,
        "trial": np.full(examples, -1, np.int16),
        "probability": np.full(examples, 0.5, np.float32),
        "correct": np.ones(examples, bool),
    }
    table = {
        name: pa.array(values).dictionary_encode() if isinstance(values[0], str) else values
        for name, values in columns.items()
    }
    row_files.write([pa.table(table)], path, path.name)
    return path


def mutate(data: bytes, rng: np.random.Generator) -> bytes:
    """The bytes after one to three of: a flip, a cut, a piece twice, a splice, a strange token."""
    made = bytearray(data)
    for _ in range(int(rng.integers(1, 4))):
        start, stop = sorted(int(place) for place in rng.integers(0, len(made) + 1, 2))
        stop = min(stop, start + 64)
        kind = int(rng.integers(5))
        if kind == 0 and made:
            made[min(start, len(made) - 1)] ^= 1 << int(rng.integers(8))
        elif kind == 1:
            del made[start : stop if rng.random() < 0.5 else len(made)]
        elif kind == 2:
            made[start:start] = made[start:stop]
        elif kind == 3:
            there = int(rng.integers(0, len(made) + 1))
            made[start:stop] = made[there : there + stop - start]
        else:
            token = TOKENS[int(rng.integers(len(TOKENS)))]
            made[start : start + int(rng.integers(0, 5))] = token
    return bytes(made)


def outcome(read: Callable[[Path], Any], path: Path) -> str:
    """ "read", "refused", or what is wrong with how the file is received."""
    began = time.monotonic()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            read(path)
        found = "read"
    except (ValueError, OSError) as error:
        line, *more = str(error).split("\n")
        listed = all(text.startswith("  ") for text in more)  # one line for each bad example
        clear = listed and (path.name in line or path.stem in line)
        found = "refused" if clear else f"unclear: {str(error)[:200]!r}"
    except Exception as error:
        found = f"raw {type(error).__name__}: {str(error)[:200]!r}"
    took = time.monotonic() - began
    return found if took < SECONDS else f"slow, {took:.0f} s"


def run(count: int, seed: int, folder: Path) -> dict[str, collections.Counter[str]]:
    """Outcomes by format of about `count` files, as many of each."""
    found = {}
    known = formats(folder)
    for number, (name, (whole, read)) in enumerate(known.items()):
        counts = found[name] = collections.Counter()
        content, rng = whole.read_bytes(), np.random.default_rng([seed, number])
        if outcome(read, whole) != "read" and name != "photo gif":  # whose palette is refused
            raise AssertionError(f"the whole file of {name}: {outcome(read, whole)}")
        for i in range(-(-count // len(known))):
            path = whole.with_name(f"m{seed}x{i}_{whole.name}")
            path.write_bytes(mutate(content, rng))
            counts[outcome(read, path)] += 1
            path.unlink()
    return found


def faults(found: dict[str, collections.Counter[str]]) -> list[str]:
    """Every outcome that is none of those there may be."""
    return [
        f"{name}: {what}"
        for name, counts in found.items()
        for what in counts
        if what not in ("read", "refused")
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = run(options.count, options.seed, Path(folder))
    for name, counts in found.items():
        wrong = sum(counts.values()) - counts["read"] - counts["refused"]
        print(f"{name}: {counts['read']} read, {counts['refused']} refused, {wrong} faults")
    print(f"{sum(counts.total() for counts in found.values())} files", *faults(found), sep="\n")
    sys.exit(bool(faults(found)))


if __name__ == "__main__":
    main()
