"""Which of timm's networks are read, by their exported graphs: one of every architecture module.

  python -m benchmarks.model_coverage                    # needs torch and timm
  python -m benchmarks.model_coverage convnext vision_transformer --seconds=600
  python -m benchmarks.model_coverage torchvision        # one network of each of its 20 families

Weights are random (and nowhere zero, or there would be nothing to compare). Of each module of
`timm.models` the network with the smallest name, with two blocks where it has an option for that,
is exported, which compares logits and every tap with torch at 1e-4; then a logit's gradients to the
tap of class maps and to the image are compared at 1e-4, in float32, and once more in float64 where
kinks (a ReLU's input that is 0 up to rounding) may decide. A network agrees, or is refused by its
export with a reason, or is wrong: read, but with other gradients. Modules are weighted by their
pretrained tags. Each runs in a process of its own; finished ones are kept in `--results`, so that
the same command continues.
"""

from __future__ import annotations

import argparse
import gc
import json
import multiprocessing
import re
import tempfile
import time
import warnings
from concurrent import futures
from pathlib import Path
from typing import Any

import jax
import numpy as np
import timm
import torch
import torchvision

from rival_jax import models, taps, weights
from rival_jax.models import exporting, tracing
from rival_jax.models.torch_libraries import TORCHVISION, network_of

SMALL = ("atto", "femto", "pico", "nano", "zepto", "test_", "xxs", "xs", "tiny", "_t0", "micro")
NAMED = {"hrnet": "hrnet_w18_small"}  # others are not told by their names
SMALLER = ("small", "_s", "050", "b0", "_18", "18", "002", "lite", "mini", "n0", "a0", "xx", "x_s")
TOLERANCE = 1e-4
SHALLOW: tuple[dict[str, Any], ...] = (
    {"depth": 2},
    {"num_blocks": 2},
    {"depths": (2,) * 4},
    {"layers": (2,) * 4},
    {},
)
GAPS = ("logits", "gradient", "image")
VISION = (  # of torchvision's families
    *("alexnet", "convnext_tiny", "densenet121", "efficientnet_b0", "efficientnet_v2_s"),
    *("googlenet", "inception_v3", "maxvit_t", "mnasnet0_5", "mobilenet_v2", "mobilenet_v3_small"),
    *("regnet_x_400mf", "resnet18", "resnext50_32x4d", "shufflenet_v2_x0_5", "squeezenet1_0"),
    *("swin_t", "vgg11", "vit_b_32", "wide_resnet50_2"),
)
CONVOLUTIONAL = 96  # side in pixels, for networks that take any size


def smallest(names: list[str], tags: dict[str, int]) -> str:
    """The architecture of a module to take: pretrained, and named like a small one."""

    def order(name: str) -> tuple[Any, ...]:
        size = 0 if any(s in name for s in SMALL) else 1 if any(s in name for s in SMALLER) else 2
        numbers = [int(n) for n in re.findall(r"\d+", name)]
        return (name.startswith("test_"), not tags.get(name), size, numbers, len(name), name)

    return min(names, key=order)


def made(name: str) -> tuple[Any, dict[str, Any]]:
    """The network, with two blocks (of each stage) if it has an option for that; and the option."""
    if name.startswith(TORCHVISION):
        name = name.removeprefix(TORCHVISION)
        tensors = torchvision.models.get_model(name, num_classes=10).state_dict()
        config = weights.Config(package="torchvision", architecture=name, num_classes=10)
        found = weights.Located(Path(name), name, config)
        return network_of(found, {key: value.numpy() for key, value in tensors.items()}).eval(), {}
    for options in SHALLOW:
        try:
            network = timm.create_model(name, pretrained=False, num_classes=10, **options)
            return network.eval(), options
        except Exception:  # it has no such option, or another number of stages
            if not options:
                raise
    raise AssertionError


def one(name: str) -> dict[str, Any]:
    """Exports one network, reads it back, and compares a gradient."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    given = None if name.startswith(TORCHVISION) else timm.models.get_pretrained_cfg(name)
    fixed = bool(given and given.fixed_input_size)
    size = tuple(given.input_size[1:]) if given else (224, 224)
    network, shallow = made(name)
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
    gaps = _gaps(network, model, variables, "float32")
    if not max(gaps.values()) <= TOLERANCE:
        with jax.enable_x64(True):
            gaps |= {
                f"{k} in float64": v for k, v in _gaps(network, model, variables, "float64").items()
            }
    decided = [gap for key, gap in gaps.items() if f"{key} in float64" not in gaps]
    facts = {"tap": model.cam_tap, "attention": len(model.attention_taps), "exported": exported}
    facts |= {"size": size, "features": model.feature_tap, "shallow": shallow}
    outcome = "agrees" if max(decided) <= TOLERANCE else "WRONG"
    return {"outcome": outcome, **gaps, **facts, "seconds": time.monotonic() - began}


def _gaps(network: Any, model: Any, variables: Any, dtype: str) -> dict[str, float]:
    """Of logits, and of one's gradients to the tap of class maps and to the image."""

    def converted(array: Any) -> Any:
        array = np.asarray(array)
        return array.astype(dtype) if array.dtype == np.float32 else array

    variables = jax.tree.map(converted, variables)
    network = network.to(getattr(torch, dtype))
    pixels = np.random.default_rng(1).random((2, *model.image_size, 3)).astype(dtype)
    mean, std = np.array(model.mean, dtype), np.array(model.std, dtype)
    image = torch.tensor(((pixels - mean) / std).transpose(0, 3, 1, 2), requires_grad=True)
    added: list[Any] = []

    def add_zeros(module: Any, given: Any, output: Any) -> Any:
        added.append(torch.zeros_like(output, requires_grad=True))
        return output + added[-1]

    hook = dict(network.named_modules())[model.cam_tap].register_forward_hook(add_zeros)
    logits = tracing.logits_of(network(image))
    logits[:, 3].sum().backward()
    hook.remove()
    score = taps.class_score(np.array([3, 3]))
    quick = {"xla_backend_optimization_level": 0}
    with jax.default_matmul_precision("highest"):
        ours = jax.jit(
            lambda v, x: taps.logits_and_grads(
                model.forward, v, x, score, [model.cam_tap, "image"]
            ),
            compiler_options=quick,
        )(variables, pixels)
    theirs, mine = added[0].grad.numpy(), np.asarray(ours[3][model.cam_tap])
    theirs = theirs if theirs.shape == mine.shape else theirs.transpose(0, 2, 3, 1)
    of_image = image.grad.numpy().transpose(0, 2, 3, 1) / std
    return {
        "logits": _gap(np.asarray(ours[0]), logits.detach().numpy()),
        "gradient": _gap(mine, theirs.reshape(mine.shape)),
        "image": _gap(np.asarray(ours[3]["image"]), of_image),
    }


def _gap(ours: Any, theirs: Any) -> float:
    return float(abs(ours - theirs).max() / max(abs(theirs).max(), 1e-30))


def modules() -> dict[str, tuple[str, int, int]]:
    """Of every architecture module: the network taken, its architectures, its pretrained tags."""
    tags: dict[str, int] = {}
    for tag in timm.list_pretrained():
        name = tag.partition(".")[0]
        tags[name] = tags.get(name, 0) + 1
    found = {}
    for module in timm.list_modules():
        names = timm.list_models(module=module)
        if names:
            count = sum(tags.get(name, 0) for name in names)
            found[module] = (NAMED.get(module) or smallest(names, tags), len(names), count)
    return found


def attempt(name: str, seconds: float) -> dict[str, Any]:
    """`one` in a process of its own: torch may run out of memory, or never end."""
    context = multiprocessing.get_context("forkserver")  # which imports everything once
    context.set_forkserver_preload(["benchmarks.model_coverage"])
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=_sent, args=(sender, name))
    child.start()
    sender.close()
    found: dict[str, Any] = {"outcome": "too slow", "why": f"more than {seconds:.0f} s"}
    if receiver.poll(seconds):
        try:
            found = receiver.recv()
        except EOFError:
            found = {"outcome": "refused", "why": "its process died"}
    child.kill()
    child.join()
    return found


def _sent(sender: Any, name: str) -> None:
    warnings.simplefilter("ignore")
    gc.disable()  # a trace makes millions of small objects
    began = time.process_time()
    try:
        found = one(name)
    except Exception as error:  # of building a network in torch, or of what is compared
        found = {"outcome": "refused", "why": f"{type(error).__name__}: {error}"[:300]}
    sender.send({**found, "cpu": time.process_time() - began})


def show(found: list[dict[str, Any]]) -> None:
    """The table, and shares weighted by tags."""
    for row in found:
        gaps = [(key, gap) for key in GAPS if (gap := row.get(f"{key} in float64", row.get(key)))]
        numbers = " ".join(f"{key} {gap:.1e}" for key, gap in gaps)
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
    parser.add_argument("--jobs", type=int, default=1, help="networks at a time")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    options.results.parent.mkdir(parents=True, exist_ok=True)
    lines = options.results.read_text().splitlines() if options.results.exists() else []
    found = {row["module"]: row for row in map(json.loads, lines)}
    if options.modules == ["torchvision"]:
        options.modules = [TORCHVISION + name for name in VISION]
    known = {**modules(), **{TORCHVISION + name: (TORCHVISION + name, 1, 1) for name in VISION}}
    wanted = list(dict.fromkeys(options.modules)) or sorted(
        modules(), key=lambda module: -known[module][2]
    )

    def measure(module: str) -> dict[str, Any]:
        name, count, tags = known[module]
        row = {"module": module, "name": name, "architectures": count, "tags": tags}
        row |= attempt(name, options.seconds)
        with options.results.open("a") as file:
            file.write(json.dumps(row) + "\n")
        return row

    with futures.ThreadPoolExecutor(options.jobs) as pool:
        rows = pool.map(measure, [module for module in wanted if module not in found])
        for row in rows:
            found[row["module"]] = row
    show([found[module] for module in wanted])


if __name__ == "__main__":
    main()
