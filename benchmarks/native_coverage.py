"""Which of timm's vision transformers and residual networks the native families read, and how well.

  python -m benchmarks.native_coverage                   # needs torch and timm
  python -m benchmarks.native_coverage resnet50d vit_base_patch16_siglip_224

Every architecture of timm's modules `vision_transformer`, `deit` and `resnet` is made with two
blocks (one or two of each stage) of its full width, on a small image, with random weights of which
none is zero or one, and saved as timm saves networks for its hub: nothing but that `config.json`
tells ours what it is. The logits of the first class, and their gradients to the first block's
input (residual networks: to the output of their second stage), are compared with torch at 1e-4 of
their largest value; in float64 where float32 differs, since a ReLU's kink may decide.

A network agrees, or is refused with a reason, or is wrong. Counts are also weighted by pretrained
tags. Finished ones are kept in `--results`, so that the same command continues.
"""

from __future__ import annotations

import argparse
import functools
import json
import re
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import timm
import timm.models
import torch

from rival_jax import models, taps
from rival_jax.models import from_torch
from rival_jax.models.network import Network, module_of

MODULES = ("vision_transformer", "deit", "resnet")
TOLERANCE = 1e-4
CLASSES = 10
TOKENS = ("token", "pos_embed", "latent", "lambda_")
RESIDUAL = (64, 96)  # image size; of transformers: 2 by 3 patches
BOTH_ZERO, BOTH_ONE = (0.0,) * 3, (1.0,) * 3


def made(name: str, module: str) -> Any:
    """The network in torch: few blocks, all of its width."""
    options: dict[str, Any] = {}
    if timm.models.get_pretrained_cfg(name).num_classes:
        options["num_classes"] = CLASSES
    if module != "resnet":
        found = re.search(r"patch(\d+)", name)
        patch = int(found[1]) if found else 16
        size = (2 * patch, 3 * patch)
        network = timm.create_model(name, depth=2, img_size=size, **options)
    else:
        size = RESIDUAL
        if "pruned" not in name:  # these have other widths in every block
            options["layers"] = (1, 2, 1, 1)
        network = timm.create_model(name, **options)
    network.pretrained_cfg = {**network.pretrained_cfg, "input_size": (3, *size)}
    network.pretrained_cfg["num_classes"] = network.num_classes
    randomise(network)
    return network.eval()


def randomise(network: Any) -> None:
    """Numbers such that every layer matters: no scale is one or tiny, no shift zero."""
    draw = torch.Generator().manual_seed(0)
    for name, tensor in network.state_dict().items():
        if not tensor.is_floating_point():
            continue
        noise = torch.randn(tensor.shape, generator=draw)
        fan_in = max(1, tensor[0].numel() if tensor.ndim > 1 else 1)
        if name.endswith("running_var"):
            value = 0.5 + 1.5 * torch.rand(tensor.shape, generator=draw)
        elif any(token in name for token in TOKENS):
            value = 0.5 * noise
        elif tensor.ndim > 1:
            value = noise * fan_in**-0.5
        elif name.endswith(("bias", "running_mean")):
            value = 0.2 * noise
        else:
            value = 1 + 0.2 * noise
        tensor.copy_(value)


def torch_numbers(network: Any, images: np.ndarray, layer: str, dtype: Any) -> tuple[Any, Any]:
    """Logits, and the gradient of their first to the output of a layer."""
    added: list[Any] = []

    def add_zeros(module: Any, given: Any, output: Any) -> Any:
        added.append(torch.zeros_like(output, requires_grad=True))
        return output + added[-1]

    network = network.to(dtype)
    hook = network.get_submodule(layer).register_forward_hook(add_zeros)
    logits = network(torch.tensor(images.transpose(0, 3, 1, 2), dtype=dtype))
    logits[:, 0].sum().backward()
    hook.remove()
    gradient = added[0].grad.numpy()
    return logits.detach().numpy(), gradient.transpose(
        0, 2, 3, 1
    ) if gradient.ndim == 4 else gradient


@functools.partial(
    jax.jit,
    static_argnums=(0, 1),
    compiler_options={"xla_backend_optimization_level": 0},
)
def our_numbers(network: Network, tap: str, variables: Any, images: Any) -> tuple[Any, Any]:
    """The same; equal networks share one program."""
    score = taps.class_score(jnp.zeros(len(images), int))
    logits, _, _, gradients = taps.logits_and_grads(network, variables, images, score, [tap])
    return logits, gradients[tap]


def one(name: str, module: str) -> dict[str, Any]:
    """Whether one architecture is read and agrees."""
    network = made(name, module)
    with tempfile.TemporaryDirectory() as folder:
        timm.models.save_for_hf(network, folder, safe_serialization=True)

        def no_export(found: Any, tensors: Any, error: Exception) -> Any:
            raise error

        try:
            with mock.patch.object(from_torch, "by_library", no_export):
                model, variables = models.load(folder)
        except ValueError as error:
            return {"outcome": "refused", "why": str(error).partition("safetensors: ")[2]}
    ours = Network(module_of(model), BOTH_ZERO, BOTH_ONE)
    images = np.random.default_rng(1).normal(size=(2, *model.image_size, 3)).astype(np.float32)
    tap, layer = ("layer2", "layer2") if module == "resnet" else ("embedding", "norm_pre")
    gaps = compared(network, ours, variables, images, tap, layer, "float32")
    if not max(gaps) <= TOLERANCE:
        with jax.enable_x64(True):
            variables = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), variables)
            gaps = compared(network, ours, variables, images, tap, layer, "float64")
    outcome = "agrees" if max(gaps) <= TOLERANCE else "WRONG"
    return {"outcome": outcome, "gaps": gaps}


def compared(
    network: Any, ours: Any, variables: Any, images: Any, tap: str, layer: str, dtype: str
) -> list[float]:
    """Largest deviations of logits and gradient, relative to their largest values."""
    images = images.astype(dtype)
    theirs = torch_numbers(network, images, layer, getattr(torch, dtype))
    got = jax.device_get(our_numbers(ours, tap, variables, images))
    return [float(np.abs(a - b).max() / np.abs(b).max()) for a, b in zip(got, theirs, strict=True)]


def table(rows: list[dict[str, Any]]) -> str:
    """Per module and in all: architectures, and pretrained tags in brackets."""
    kinds = ("agrees", "refused", "WRONG")
    lines = ["{:20} {:>12} {:>12} {:>12} {:>12}".format("module", "all", *kinds)]
    for module in (*MODULES, "all"):
        of = [row for row in rows if module in (row["module"], "all")]
        cells = []
        for kind in (None, *kinds):
            some = [row for row in of if kind in (row["outcome"], None)]
            cells.append(f"{len(some)} ({sum(row['tags'] for row in some)})")
        lines.append("{:20} {:>12} {:>12} {:>12} {:>12}".format(module, *cells))
    return "\n".join(lines)


def main() -> None:
    """Measures what is not yet in the results, and prints the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", help="architectures; all by default")
    parser.add_argument("--results", type=Path, default=Path("runs/native_coverage.jsonl"))
    options = parser.parse_args()
    options.results.parent.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    lines = options.results.read_text().splitlines() if options.results.exists() else []
    found = {row["name"]: row for row in map(json.loads, lines)}
    tags = Counter(tag.partition(".")[0] for tag in timm.list_pretrained())
    known = [(name, module) for module in MODULES for name in timm.list_models(module=module)]
    wanted = [pair for pair in known if not options.names or pair[0] in options.names]
    for name, module in sorted(wanted, key=lambda pair: -tags[pair[0]]):
        if name in found and not options.names:
            continue
        began = time.process_time()
        row: dict[str, Any]
        try:
            with torch.random.fork_rng():
                row = one(name, module)
        except Exception as error:  # anything but a refusal is a fault of ours
            row = {"outcome": "WRONG", "why": f"{type(error).__name__}: {error}"[:300]}
        row |= {"name": name, "module": module, "tags": tags[name]}
        row["cpu"] = round(time.process_time() - began, 1)
        found[name] = row
        with options.results.open("a") as file:
            file.write(json.dumps(row) + "\n")
        numbers = " ".join(f"{gap:.0e}" for gap in row.get("gaps", ()))
        print(f"{row['outcome']:8} {name:40} {numbers}{row.get('why', '')[:150]}", flush=True)
    print(table([found[name] for name, _ in wanted]))


if __name__ == "__main__":
    main()
