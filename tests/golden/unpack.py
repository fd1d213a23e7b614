"""The archives of this folder as the files they were chosen from, so that tests read either."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from rival_jax.weights.reader import read_tensors
from tests.golden import archive, checkpoints
from tests.golden.places import laid_out

HERE = Path(__file__).parent


def unpack(folder: Path) -> Path:
    """Writes the small set into `folder`, laid out as ../shared is."""
    for path in sorted(HERE.glob("*.xz")):
        files: dict[str, dict[str, np.ndarray]] = {}
        for name, array in archive.read(path).items():
            file, _, key = name.partition(":")
            files.setdefault(file, {})[key] = array
        for name, arrays in files.items():
            place = folder / ("" if name.startswith("reference/") else "golden") / name
            place.parent.mkdir(parents=True, exist_ok=True)
            _write(place, arrays)
    return folder


def _write(path: Path, kept: dict[str, np.ndarray]) -> None:
    """One file, from what is kept of it."""
    if "" in kept:
        path.write_bytes(kept[""].tobytes())
    elif "listing" in kept:
        path.write_bytes(checkpoints.assembled(_text(kept["listing"])))
    elif "parts" in kept:
        parts = json.loads(_text(kept.pop("parts")))
        path.write_bytes(checkpoints.put_together(parts, kept))
    elif "widened" in kept:
        halves = read_tensors(path.parent / _text(kept["widened"]))
        visual = {name: value for name, value in halves.items() if name.startswith("visual.")}
        save_file({n: v.astype(WIDER.get(v.dtype.name, v.dtype)) for n, v in visual.items()}, path)
    elif "recipe" in kept:
        tensors = read_tensors(path.with_name("deit_style.pth"))
        recipe = json.loads(_text(kept["recipe"]))
        made = {key: laid_out(tensors[name], *how) for key, (name, *how) in recipe.items()}
        np.savez(path, **made)
    elif path.suffix == ".safetensors":
        save_file(kept, path)
    else:
        np.savez(path, **(logits(kept) if path.name == "02b_results_raw.npz" else kept))


WIDER = {"float16": "float32"}


def _text(array: np.ndarray) -> str:
    return array.tobytes().decode()


def logits(kept: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Of the models that have two numbers, ten logits of which these are true.

    The others' exponentials add up to 1, so that the true class's logit is the logarithm of its
    odds. They are all alike where it is to be the most probable one, and one is all where not.
    """
    labels, made = kept["labels"], {"labels": kept["labels"]}
    for name in ("logits_clean", "logits_fg", "logits_bg"):
        odds = kept[f"{name}:odds"]
        right = np.unpackbits(kept[f"{name}:right"], count=odds.size)
        right = right.reshape(odds.shape).astype(bool)
        classes = kept[name].shape[-1]
        is_true = np.arange(classes) == labels[:, None]
        is_next = np.arange(classes) == (labels[:, None] + 1) % classes
        others = np.where(right[..., None], -np.log(classes - 1), np.where(is_next, 0.0, -200.0))
        values = np.where(is_true, odds[..., None], others).astype(np.float32)
        made[name] = np.concatenate([kept[name], values])
    return made
