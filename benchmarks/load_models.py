"""Loads published architectures at full size; compares their logits with PyTorch's.

  python benchmarks/load_models.py                       # needs torch and transformers here
  python benchmarks/load_models.py resnet50 clip_rn50 --repeats=5 --skip-torch

Weights are random, under the published names, in the kind of file that each is published in. Every
step runs in a process of its own: this one stays small, since a process inherits the peak memory
of the one that started it. "MiB" is the peak of resident memory above that after all imports; the
weights themselves are part of it. Logits are float32 at the highest precision.
"""

from __future__ import annotations

import argparse
import json
import logging
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
from typing import Any

HERE = pathlib.Path(__file__).parent
TOLERANCE = 1e-4  # of logits of order 1
_VIT = {"depth": 12, "classes": 1000}
_BASE = {**_VIT, "width": 768, "hidden": 3072}
_SMALL = {**_VIT, "width": 384, "hidden": 1536, "patch": 16, "patches": 196}
MODELS: dict[str, tuple[str, str, dict[str, Any]]] = {  # file, family, sizes
    "vit_base_patch16_224": ("model.safetensors", "vit", {**_BASE, "patch": 16, "patches": 196}),
    "vit_base_patch32_224": ("model.safetensors", "vit", {**_BASE, "patch": 32, "patches": 49}),
    "deit_small_patch16_224": ("model.safetensors", "vit", _SMALL),
    "deit_small_distilled_patch16_224": ("deit.pth", "vit", {**_SMALL, "parts": "distilled"}),
    "resnet50": (
        "resnet50.pth",
        "resnet",
        {"depths": (3, 4, 6, 3), "width": 64, "bottleneck": True, "classes": 1000},
    ),
    "clip_rn50": (
        "RN50.pth",
        "clip_resnet",
        {"depths": (3, 4, 6, 3), "width": 64, "features": 1024, "patches": 49},
    ),
    "clip_vit_b_32": (
        "ViT-B-32.pth",
        "clip_vit",
        {"width": 768, "depth": 12, "hidden": 3072, "patch": 32, "patches": 49, "features": 512},
    ),
}


def write(name: str, folder: pathlib.Path) -> dict[str, Any]:
    """Step 1: the file of weights. A `.pth` is what torch writes, without torch's own reader."""
    from tests import network_weights

    file, family, sizes = MODELS[name]
    tensors = getattr(network_weights, family)(**sizes)
    if file.endswith(".pth"):
        import torch

        state = {key: torch.from_numpy(tensor) for key, tensor in tensors.items()}
        torch.save({"model": state} if family == "vit" else state, folder / file)
    else:
        from safetensors.numpy import save_file

        save_file(tensors, folder / file)
        config = {"architecture": name, "num_classes": sizes["classes"]}
        (folder / "config.json").write_text(json.dumps(config))
    count = sum(tensor.size for tensor in tensors.values())
    return {"millions": count / 1e6, "mib": (folder / file).stat().st_size / 2**20}


def load(name: str, folder: pathlib.Path) -> dict[str, Any]:
    """Step 2: seconds and memory of `models.load`."""
    import resource

    import jax

    from rival_jax import models

    jax.block_until_ready(jax.numpy.zeros(1) + 1)  # starts the backend
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    _, variables = models.load(str(folder / MODELS[name][0]))
    jax.block_until_ready(variables)
    seconds = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"seconds": seconds, "mib": (after - before) / 1024, "total_mib": after / 1024}


def compare(name: str, folder: pathlib.Path, images: int = 4) -> dict[str, Any]:
    """Step 3: our logits and PyTorch's of random images."""
    import jax
    import load_peers
    import numpy as np

    from rival_jax import models
    from tests import network_weights

    jax.config.update("jax_default_matmul_precision", "highest")
    model, variables = models.load(str(folder / MODELS[name][0]))
    pixels = np.random.default_rng(1).random((images, 224, 224, 3), np.float32)
    ours = np.asarray(jax.jit(lambda v, x: model.forward(v, x, {})[0])(variables, pixels))
    normalised = (pixels - np.array(model.mean, np.float32)) / np.array(model.std, np.float32)
    family, sizes = MODELS[name][1:]
    tensors = getattr(network_weights, family)(**sizes)
    theirs = load_peers.logits(family, tensors, np.moveaxis(normalised, -1, 1))
    difference = float(np.abs(ours - theirs).max())
    return {"difference": difference, "order": float(theirs.std()), "shape": list(ours.shape)}


STEPS = {"write": write, "load": load, "compare": compare}


def step(kind: str, name: str, folder: str) -> dict[str, Any]:
    """One step in a process of its own; its standard error is shown."""
    command = [sys.executable, __file__, name, f"--step={kind}", f"--folder={folder}"]
    answer = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    return json.loads(answer.splitlines()[-1])


def measure(name: str, repeats: int, with_torch: bool) -> str:
    """One line of the table. Raises ValueError where the logits are not PyTorch's."""
    with tempfile.TemporaryDirectory() as folder:
        written = step("write", name, folder)
        loads = [step("load", name, folder) for _ in range(repeats)]
        compared = step("compare", name, folder) if with_torch else None
    seconds = [run["seconds"] for run in loads]
    line = (
        f"{name:33} {written['millions']:6.1f} {written['mib']:6.0f} "
        f"{statistics.median(seconds):7.2f} {min(seconds):6.2f} "
        f"{max(run['mib'] for run in loads):6.0f} {max(run['total_mib'] for run in loads):6.0f}"
    )
    if compared is None:
        return line
    if not compared["difference"] <= TOLERANCE * max(1, compared["order"]):
        raise ValueError(f"{name}: the logits are not PyTorch's: {compared}")
    return f"{line} {compared['difference']:10.1e} {compared['order']:10.2f}"


def main() -> None:
    """Measures and prints; see the file's docstring."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", nargs="*", default=list(MODELS), help=", ".join(MODELS))
    parser.add_argument("--repeats", type=int, default=3, help="of loading")
    parser.add_argument("--skip-torch", action="store_true", help="load only, compare nothing")
    parser.add_argument("--step", choices=STEPS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=pathlib.Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.step:
        logging.disable(logging.WARNING)  # about defaults taken for want of a config.json
        sys.path.append(str(HERE.parent))
        print(json.dumps(STEPS[options.step](options.models[0], options.folder)))
        return
    heads = ("model", "params", "file", "median", "min", "MiB", "total", "difference", "logits")
    print("{:33} {:>6} {:>6} {:>7} {:>6} {:>6} {:>6} {:>10} {:>10}".format(*heads))
    units = ("", "1e6", "MiB", "s", "s", "above", "MiB", "largest", "deviation")
    print("{:33} {:>6} {:>6} {:>7} {:>6} {:>6} {:>6} {:>10} {:>10}".format(*units))
    for name in options.models:
        print(measure(name, options.repeats, not options.skip_torch), flush=True)


if __name__ == "__main__":
    main()
