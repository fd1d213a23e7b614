"""How fast exported networks run forward, against eager torch on the same cores.

  python -m benchmarks.exported_speed                    # needs torch and timm
  python -m benchmarks.exported_speed resnet50 --batch=8 --repeats=7

Random weights; float32; one thread each, in turn, so that other programs disturb both alike. Times
are CPU seconds of the process; "ratio" is torch's over ours, above 1 if ours is faster.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import timm
import torch

from rival_jax import models
from rival_jax.models import exporting

ONE_THREAD = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
NETWORKS = ("resnet50", "convnext_tiny", "swin_tiny_patch4_window7_224")


def compared(name: str, batch: int, repeats: int, cache: Path) -> dict[str, list[float]]:
    """CPU seconds of each repeat, "torch" and "ours"."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    network = timm.create_model(name, pretrained=False).eval()
    size = network.pretrained_cfg["input_size"][1:]
    folder = cache / name
    if not folder.is_dir():
        exporting.export(network, folder, image_size=tuple(size))
    model, variables = models.load(str(folder))
    for module in network.modules():
        if hasattr(module, "fused_attn"):
            module.fused_attn = True  # torch's own fast form; exports need the softmax
    pixels = np.random.default_rng(0).random((batch, *size, 3), np.float32)
    image = torch.tensor(np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)))
    began = time.process_time()
    forward = jax.jit(lambda v, x: model.forward(v, x, {})[0]).lower(variables, pixels).compile()
    print(f"{name}: compiled in {time.process_time() - began:.1f} CPU s")

    def theirs() -> Any:
        with torch.inference_mode():
            return network(image)

    def ours() -> Any:
        return jax.block_until_ready(forward(variables, pixels))

    both: dict[str, Callable[[], Any]] = {"torch": theirs, "ours": ours}
    found: dict[str, list[float]] = {key: [] for key in both}
    for repeat in range(repeats + 1):
        for key, compute in both.items():
            began = time.process_time()
            compute()
            if repeat:  # the first warms up
                found[key].append(time.process_time() - began)
    return found


def main() -> None:
    """Prints a line for each network."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("networks", nargs="*", default=NETWORKS, help="of timm")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--exports", type=Path, default=Path(tempfile.gettempdir()) / "exports")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {ONE_THREAD}".strip()
    for name in options.networks:
        found = compared(name, options.batch, options.repeats, options.exports)
        parts = []
        for told, of in (("minimum", min), ("median", statistics.median)):
            theirs, ours = (of(found[key]) for key in ("torch", "ours"))
            parts.append(f"{told} {theirs:.3f} and {ours:.3f} s, ratio {theirs / ours:.2f}")
        print(f"{name}, torch and ours: {'; '.join(parts)}", flush=True)


if __name__ == "__main__":
    main()
