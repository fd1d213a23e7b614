"""Which of timm's networks are read, by their exported graphs: one of every architecture module.

  python -m benchmarks.model_coverage                    # needs torch and timm
  python -m benchmarks.model_coverage convnext vision_transformer --seconds=600

Weights are random (and nowhere zero, or there would be nothing to compare). Of each module of
`timm.models` the network with the smallest name is exported, which compares logits and every
tap with torch at 1e-4; then the gradient of a logit to the tap of class maps is compared at 1e-4.
A network agrees, or is refused by its export with a reason, or is wrong: read, but with another
gradient. Modules are weighted by their pretrained tags. Each runs in a process of its own; finished
ones are kept in `--results`, so that the same command continues.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

SMALL = ("atto", "femto", "pico", "nano", "zepto", "test_", "xxs", "xs", "tiny", "_t0", "micro")
SMALLER = ("small", "_s", "050", "b0", "_18", "18", "002", "lite", "mini", "n0", "a0", "xx", "x_s")
CONVOLUTIONAL = 96  # side in pixels, for networks that take any size


def smallest(names: list[str], tags: dict[str, int]) -> str:
    """The architecture of a module to take: pretrained, and named like a small one."""

    def order(name: str) -> tuple[Any, ...]:
        size = 0 if any(s in name for s in SMALL) else 1 if any(s in name for s in SMALLER) else 2
        numbers = [int(n) for n in re.findall(r"\d+", name)]
        return (name.startswith("test_"), not tags.get(name), size, numbers, len(name), name)

    return min(names, key=order)


def one(name: str) -> dict[str, Any]:
    """Exports one network, reads it back, and compares a gradient."""
    import jax
    import numpy as np
    import timm
    import torch

    from rival_jax import models, taps
    from rival_jax.models import exporting

    torch.manual_seed(0)
    torch.set_num_threads(1)
    given = timm.models.get_pretrained_cfg(name) or timm.models.registry.model_entrypoint(name)
    fixed = bool(getattr(given, "fixed_input_size", False))
    size = tuple(given.input_size[1:])
    network = timm.create_model(name, pretrained=False, num_classes=10).eval()
    for parameter in network.parameters():
        if not parameter.abs().max() > 0:
            torch.nn.init.normal_(parameter, std=0.05)
    folder = Path(tempfile.mkdtemp()) / "network"
    sizes = [size] if fixed else [(CONVOLUTIONAL, CONVOLUTIONAL), size]
    began, refused = time.monotonic(), ""
    for size in sizes:
        try:
            exporting.export(network, folder, image_size=size)
            break
        except ValueError as error:
            refused = str(error)
    else:
        return {"outcome": "refused", "why": refused[:300], "seconds": time.monotonic() - began}
    exported = time.monotonic() - began
    model, variables = models.load(str(folder))
    pixels = np.random.default_rng(1).random((2, *size, 3), np.float32)
    mean, std = np.array(model.mean, np.float32), np.array(model.std, np.float32)
    image = torch.tensor(((pixels - mean) / std).transpose(0, 3, 1, 2))
    added: list[Any] = []

    def add_zeros(module: Any, given: Any, output: Any) -> Any:
        added.append(torch.zeros_like(output, requires_grad=True))
        return output + added[-1]

    hook = dict(network.named_modules())[model.cam_tap].register_forward_hook(add_zeros)
    logits = network(image)
    logits[:, 3].sum().backward()
    hook.remove()
    score = taps.class_score(np.array([3, 3]))
    quick = {"xla_backend_optimization_level": 0}
    with jax.default_matmul_precision("highest"):
        ours = jax.jit(
            lambda v, x: taps.logits_and_grads(model.forward, v, x, score, [model.cam_tap]),
            compiler_options=quick,
        )(variables, pixels)
    theirs, mine = added[0].grad.numpy(), np.asarray(ours[3][model.cam_tap])
    theirs = theirs if theirs.shape == mine.shape else theirs.transpose(0, 2, 3, 1)
    gaps = {
        "logits": _gap(np.asarray(ours[0]), logits.detach().numpy()),
        "gradient": _gap(mine, theirs),
    }
    outcome = "agrees" if max(gaps.values()) <= 1e-4 else "WRONG"
    facts = {"tap": model.cam_tap, "attention": len(model.attention_taps), "exported": exported}
    facts |= {"size": size, "features": model.feature_tap}
    return {"outcome": outcome, **gaps, **facts, "seconds": time.monotonic() - began}


def _gap(ours: Any, theirs: Any) -> float:
    return float(abs(ours - theirs).max() / max(abs(theirs).max(), 1e-30))


def modules() -> dict[str, tuple[str, int, int]]:
    """Of every architecture module: the network taken, its architectures, its pretrained tags."""
    import timm

    tags: dict[str, int] = {}
    for tag in timm.list_pretrained():
        name = tag.partition(".")[0]
        tags[name] = tags.get(name, 0) + 1
    found = {}
    for module in timm.list_modules():
        names = timm.list_models(module=module)
        if names:
            count = sum(tags.get(name, 0) for name in names)
            found[module] = (smallest(names, tags), len(names), count)
    return found


def attempt(name: str, seconds: float) -> dict[str, Any]:
    """`one` in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.model_coverage", f"--one={name}"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds)
    except subprocess.TimeoutExpired:
        return {"outcome": "too slow", "why": f"more than {seconds:.0f} s"}
    if done.returncode:
        return {"outcome": "refused", "why": done.stderr.strip().split("\n")[-1][:300]}
    return json.loads(done.stdout.strip().split("\n")[-1])


def show(found: list[dict[str, Any]]) -> None:
    """The table, and shares weighted by tags."""
    for row in found:
        numbers = " ".join(f"{key} {row[key]:.1e}" for key in ("logits", "gradient") if key in row)
        print(
            f"{row['outcome']:8} {row['module']:28} {row['name']:36} {numbers}{row.get('why', '')}"
        )
    total = sum(row["tags"] for row in found)
    for outcome in ("agrees", "refused", "too slow", "WRONG"):
        rows = [row for row in found if row["outcome"] == outcome]
        tags = sum(row["tags"] for row in rows)
        share = 100 * tags / max(1, total)
        of = f"{len(rows)} of {len(found)} modules, {tags} of {total} tags"
        print(f"{outcome}: {of} ({share:.1f} %)")


def main() -> None:
    """Measures what is not yet in the results and prints the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("modules", nargs="*", help="of timm.models; all by default")
    parser.add_argument("--seconds", type=float, default=600, help="for one network")
    parser.add_argument("--results", type=Path, default=Path("runs/model_coverage.jsonl"))
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        warnings.simplefilter("ignore")
        print(json.dumps(one(options.one)))
        return
    options.results.parent.mkdir(parents=True, exist_ok=True)
    lines = options.results.read_text().splitlines() if options.results.exists() else []
    found = {row["module"]: row for row in map(json.loads, lines)}
    known = modules()
    wanted = options.modules or sorted(known, key=lambda module: -known[module][2])
    for module in wanted:
        if module not in found:
            name, count, tags = known[module]
            row = {"module": module, "name": name, "architectures": count, "tags": tags}
            found[module] = {**row, **attempt(name, options.seconds)}
            with options.results.open("a") as file:
                file.write(json.dumps(found[module]) + "\n")
    show([found[module] for module in wanted])


if __name__ == "__main__":
    main()
