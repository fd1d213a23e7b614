"""What float32 does to maps of attention, and to the gradients of a loss of them.

    python -m benchmarks.precision --network=scenes/vit_00_95 --photos=8

Each method's maps and RobustViT's loss of them, of drawn scenes or of a masked_folder's photos, are
computed in float32 and in float64. Prints the error of a map as a share of its largest value
(median and largest over photos), that of the loss's gradient to the parameters as a share of its
length, and this length as a multiple of the first method's.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rival_jax import data, models, saliency, taps
from rival_jax.objectives import robustvit
from rival_jax.types import Geometry

METHODS = (
    *("relevance", "rollout", "raw_attention", "attention_gradcam"),
    *("lrp", "partial_lrp", "full_lrp"),
)
ROW = "| {} | {:.0e} | {:.0e} | {:.0e} | {:.2g} |"


def computed(method: str, model: Any, variables: Any, batch: dict[str, Any]) -> list[np.ndarray]:
    """Maps [b, h, w], and the gradient of the mean loss to all parameters [p]; in float64."""

    @jax.jit
    def both(params: Any) -> Any:
        given = {**variables, "params": params}
        score = taps.class_score(batch["label"])
        maps = saliency.plugin("saliency", method).maps(model, given, batch["image"], score)
        terms = lambda p: robustvit.terms(  # noqa: E731
            model, {**variables, "params": p}, batch, method=method, through_grads=True
        )
        return maps, jax.grad(lambda p: terms(p)["total"].mean())(params)

    maps, gradient = both(variables["params"])
    leaves = [np.ravel(leaf) for leaf in jax.tree.leaves(gradient)]
    return [np.asarray(maps, np.float64), np.concatenate(leaves).astype(np.float64)]


def compared(method: str, model: Any, variables: Any, batch: dict[str, Any]) -> tuple[float, ...]:
    """Error of the maps, median and largest, and of the gradient; the gradient's length."""
    found = []
    for dtype in (np.float32, np.float64):
        cast = lambda leaf, dtype=dtype: (  # noqa: E731
            jnp.asarray(leaf, dtype if np.issubdtype(leaf.dtype, np.floating) else None)
        )
        found.append(computed(method, model, *jax.tree.map(cast, (variables, batch))))
    (maps, gradient), (true_maps, true_gradient) = found
    if not np.isfinite(gradient).all():
        raise ValueError(f"{method}: a gradient that is not finite")
    error = np.abs(maps - true_maps).max((1, 2)) / np.abs(true_maps).max((1, 2))
    length = float(np.linalg.norm(true_gradient))
    apart = float(np.linalg.norm(gradient - true_gradient)) / length
    return float(np.median(error)), float(error.max()), apart, length


def main(argv: Sequence[str] | None = None) -> None:
    """Prints a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--network", default="scenes/vit_00_95")
    parser.add_argument("--root", default="", help="a masked_folder of photos; default: scenes")
    parser.add_argument("--photos", type=int, default=8)
    parser.add_argument("--methods", nargs="+", default=METHODS)
    options = parser.parse_args(argv)
    jax.config.update("jax_enable_x64", True)
    model, variables = models.load(options.network)
    kind = "masked_folder" if options.root else "scenes"
    source = data.load(kind, options.root, "test")
    chosen = np.linspace(0, len(source) - 1, options.photos).astype(int)
    examples = data.Examples(source, Geometry(model.image_size), on_bad="skip")
    items = [examples.example(int(i)) for i in chosen]
    batch = {name: np.stack([item[name] for item in items]) / 255 for name in ("image", "mask")}
    variables = jax.tree.map(np.asarray, variables)
    images = {name: jnp.asarray(value, jnp.float32) for name, value in batch.items()}
    logits, _ = jax.jit(lambda v, x: model.forward(v, x, {}))(variables, images["image"])
    batch["label"] = np.asarray(logits.argmax(1), np.int32)
    print("| method | map, median | map, largest | gradient | its length |")
    print("|---|---|---|---|---|")
    first = 0.0
    for method in options.methods:
        *errors, length = compared(method, model, variables, batch)
        first = first or length
        print(ROW.format(method, *errors, length / first), flush=True)


if __name__ == "__main__":
    main()
