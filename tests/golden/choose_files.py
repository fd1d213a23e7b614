"""Chooses from what is more than arrays: published formats, a data set of files, a table."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from rival_jax.weights.reader import read_tensors
from tests.golden import checkpoints, tables
from tests.golden.changes import Arrays, plain, short, some, text, whole
from tests.golden.places import laid_out

# ---- checkpoints

ROBUST = ("robust_resnet_legacy_dill.ckpt", "robust_resnet_legacy_dill_foreign.ckpt")
ALIKE = (  # of its architecture: in the small set they have its numbers
    "torchvision_resnet_zip.pth",
    "torchvision_resnet_legacy.pth",
    "rival10_finetuned_resnet.pth",
)
VITS = ("deit_style.pth", "rival10_finetuned_vit.pth")
ARCHIVES = ("clip_rn_jit.pt", "clip_vit_jit.pt")


def published(folder: Path) -> Arrays:
    """Each published format, taken apart. README.md says whose numbers are in it."""
    robust = read_tensors(folder / ROBUST[0])
    numbers = [value for name, value in robust.items() if name.startswith("module.model.")]
    found = plain(folder.parent.parent, folder / "facts.json")
    for name in (*ROBUST, *ALIKE, *VITS, "simclr_lightning.ckpt", *ARCHIVES):
        place = f"rival10/{folder.name}/{name}:"
        parts, storages = checkpoints.take_apart(folder / name)
        found[f"{place}parts"] = text(json.dumps(parts, separators=(",", ":")))
        names = list(read_tensors(folder / name))
        for key, (tensor, value) in storages.items():
            if name in ALIKE:
                value = numbers[names.index(tensor)].reshape(value.shape)
            elif unread(name, tensor):
                value = np.zeros_like(value)
            elif name in VITS:
                value = short(value)
            found[place + key] = value
    return found | outputs(folder) | augreg(folder)


def unread(name: str, tensor: str) -> bool:
    """Tensors that no output depends on: zeros stand for them. So they do for all of a ViT of
    CLIP's, which is large; its archive is read, and 04_clip_vit has the numbers."""
    if name == "simclr_lightning.ckpt":
        return tensor.startswith(("projection.", "encoder.fc."))
    return name in ARCHIVES and (name == "clip_vit_jit.pt" or not tensor.startswith("visual."))


def outputs(folder: Path) -> Arrays:
    """For one image each; of the ResNets those of the one whose numbers are kept."""
    with np.load(folder / "expected_outputs.npz") as file:
        have = {key: file[key][:1] for key in file.files}
    kept = {key: have[key] for key in have if key.startswith(("robust_", "vit_"))}
    for key in ("input", "simclr_features", "ft_vit_logits", "clip_rn_input"):
        kept[key] = have[key]
    kept["clip_rn_features_fp32"] = have["clip_rn_features_fp32"]
    for kind in ("features", "logits"):
        for name in ("tv", "ft_resnet"):
            kept[f"{name}_{kind}"] = have[f"robust_{kind}_no_normalizer"]
    found = {f"rival10/{folder.name}/expected_outputs.npz:{key}": v for key, v in kept.items()}
    # Of the two ResNets of CLIP's the one in half precision; in full it is a network of its own.
    found["rival10/04_clip_resnet.safetensors:widened"] = text(f"{folder.name}/clip_rn_jit.pt")
    found["rival10/04_clip_resnet.npz:input"] = kept["clip_rn_input"]
    found["rival10/04_clip_resnet.npz:features"] = kept["clip_rn_features_fp32"]
    return found


def augreg(folder: Path) -> Arrays:
    """How the arrays of AugReg's files are laid out from the tensors of the other ViT's."""
    values, found = read_tensors(folder / "deit_style.pth"), {}
    for file in ("vit_augreg.npz", "vit_augreg_opt_prefix.npz"):
        recipe = {
            key: next(
                [name, part, parts, list(axes), list(array.shape)]
                for name, value in values.items()
                for parts in (1, 3)
                for part in range(parts if value.size == parts * array.size else 0)
                for axes in (range(value.ndim), (1, 0), (2, 3, 1, 0))
                if len(axes) == value.ndim
                if np.array_equal(laid_out(value, part, parts, axes, array.shape), array)
            )
            for key, array in read_tensors(folder / file).items()
        }
        found[f"rival10/{folder.name}/{file}:recipe"] = text(json.dumps(recipe))
    return found


# ---- the drawn data set


def layout(folder: Path) -> Arrays:
    """RIVAL10's folders with twelve drawn pictures, and some columns of what loaders return."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix != ".npz")
    found = {}
    for path in paths:
        listing = checkpoints.listed_file(path) if path.suffix == ".pkl" else ""
        name = str(path.relative_to(folder.parent.parent))
        if listing:
            found[f"{name}:listing"] = text(listing)
        else:
            found |= plain(folder.parent.parent, path)
    for path in sorted(folder.glob("*.npz")):
        with np.load(path) as file:
            for key in file.files:
                leading = file[key].ndim - 1
                change = some(8, leading) if key.endswith("_u8") else whole
                name = f"rival10/{folder.name}/{path.name}:{key}"
                found[name] = change(file[key])
    return found


def papers(shared: Path) -> Arrays:
    """Published tables: the settings of RobustViT's runs, its results, and what people decided."""
    folder = shared / "reference" / "published"
    names = ("hyperparameters", "table1", "table2", "table3", "table4")
    found = plain(shared, *(folder / f"robustvit_{name}.csv" for name in names))
    for paper in ("rival10", "robustvit"):
        path = folder / f"{paper}_claims.csv"
        lines = [f"{row['id']},{row['holds_in_published']}" for row in tables.read(path)]
        found[str(path.relative_to(shared))] = text("\n".join(["id,holds_in_published", *lines]))
    return found


def sets(shared: Path) -> Arrays:
    """Facts on evaluation sets: digests of tables, and the lines of numbers that are published."""
    found, folder = {}, shared / "reference"
    for path in sorted((folder / "evaluation").glob("*.csv")):
        rows = tables.chosen(path.stem, tables.read(path))
        found[str(path.relative_to(shared))] = text(tables.digest(rows))
    facts = folder / "evaluation_facts.md"
    lines = facts.read_text(encoding="utf-8").splitlines()
    kept = [line for line in lines if line.startswith("| ") or "AlexNet errors" in line]
    return found | {str(facts.relative_to(shared)): text("\n".join(kept))}
