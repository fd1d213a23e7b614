"""From a PyTorch module to a folder that `exported` reads; needs torch, for this step alone."""

from __future__ import annotations

import importlib
import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from rival_jax import weights
from rival_jax.models import exported, graph_file, lowering, tap_roles, tracing
from rival_jax.types import Model, Variables

_PIP = {"torch": "timm", "open_clip": "open_clip_torch"}  # what else, or how pip calls it
TOLERANCE = 1e-4  # of logits and taps, of the largest value


def export(
    network: Any,
    folder: Path,
    *,
    image_size: tuple[int, int],
    config: weights.Config | None = None,
    origin: str = "",
    cam_tap: str = "",
    feature_tap: str = "",
) -> None:
    """Writes a module as a folder that `rival_jax.models.load` reads without torch.

    The folder holds `graph.json`, `model.safetensors` and `config.json`. The written network is
    computed here and compared with the module: logits and every tap.

    Args:
      network: a `torch.nn.Module` that takes normalised images [b, 3, h, w] and returns logits
        [b, classes], or an object or tuple with them; put into evaluation mode. Attributes
        `fused_attn` become False, so that attention has a softmax to see.
      folder: made if it is not there.
      image_size: height and width; the graph is for these alone.
      config: mean, std, interpolation, crop_pct, class_names; num_classes 0 for a trunk, whose
        outputs are its features.
      origin: what the network is and where it came from.
      cam_tap: the tap that class maps read, else the last module with spatial extent that the
        classifier's input depends on everywhere; of a transformer's, those of its width.
      feature_tap: what probes read, else the classifier's input.

    Raises:
      ValueError: torch is missing; the module cannot be exported (says which operation of which
        module), or does not compute the same here.
    """
    torch = needed("torch")
    network = network.eval().cpu().float()
    for module in network.modules():
        if hasattr(module, "fused_attn"):
            module.fused_attn = False
    lowered = lowering.lower(torch, network, image_size)
    config = config or weights.Config()
    trunk = config.num_classes == 0
    content = tap_roles.described(torch, lowered, image_size, trunk=trunk)
    content["origin"] = origin or type(network).__name__
    content |= {"cam_tap": cam_tap or content["cam_tap"]}
    content |= {"feature_tap": feature_tap or content["feature_tap"]}
    facts = {key: getattr(config, key) for key in ("mean", "std", "interpolation", "crop_pct")}
    graph = graph_file.read(content)
    classes = 0 if trunk else lowered.shapes[lowered.logits][1]
    model = exported.build(name="exported", graph=graph, num_classes=classes, **facts)
    variables = exported.convert(lowered.tensors, model)
    compare(network, model, variables)
    weights.write_folder(
        folder,
        lowered.tensors,
        weights.Config(
            architecture=config.architecture,
            num_classes=classes,
            image_size=image_size,
            class_names=config.class_names,
            graph=content,
            **facts,
        ),
    )


def needed(package: str) -> Any:
    """An optional package. Raises ValueError that says how to install it."""
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise ValueError(
            f"{package} is needed to export a network, once, and cannot be imported ({error}): "
            f"pip install torch {_PIP.get(package, package)}"
        ) from error


def compare(network: Any, model: Model, variables: Variables) -> dict[str, float]:
    """The largest differences of logits and taps from the module's, in units of the largest value.

    Raises:
      ValueError: one is above `TOLERANCE`, or examples of a batch change each other.
    """
    torch = needed("torch")
    pixels = np.random.default_rng(0).random((3, *model.image_size, 3), np.float32)
    mean, std = np.array(model.mean, np.float32), np.array(model.std, np.float32)
    normalised = torch.tensor(((pixels - mean) / std).transpose(0, 3, 1, 2))
    with torch.no_grad(), tracing.Watched(torch, network) as seen:
        wanted = {"logits": tracing.logits_of(network(normalised[:2])), **seen}
    on_cpu = jax.default_backend() == "cpu"  # compiles for longer than it runs
    quickly = {"xla_backend_optimization_level": 0} if on_cpu else None
    with jax.default_matmul_precision("highest"):
        forward = jax.jit(model.forward, compiler_options=quickly)
        logits, taps = jax.device_get(forward(variables, pixels[:2], {}))
        other, others = jax.device_get(forward(variables, pixels[::2], {}))
    layouts = exported.graph_of(model).taps
    found = {}
    for name, value in {"logits": logits, **taps}.items():
        if name in wanted:
            value = value.transpose(0, 3, 1, 2) if _is_nchw(layouts, name) else value
            theirs = wanted[name].numpy().reshape(value.shape)
            largest = max(float(np.abs(theirs).max()), 1e-6)
            found[name] = float(np.abs(value - theirs).max()) / largest
    wrong = {name: gap for name, gap in found.items() if not gap <= TOLERANCE}
    if wrong:
        told = ", ".join(f"{name} by {gap:.1e}" for name, gap in itertools.islice(wrong.items(), 5))
        raise ValueError(f"exported, it does not compute what it does in torch: differs at {told}")
    for name, value in {"logits": logits, **taps}.items():
        again = other if name == "logits" else others[name]
        if not np.allclose(value[0], again[0], rtol=1e-3, atol=TOLERANCE * np.abs(value).max()):
            raise ValueError(f"examples of a batch change each other at {name}")
    return found


def _is_nchw(layouts: Mapping[str, Any], name: str) -> bool:
    return name in layouts and layouts[name].layout == "nchw"
