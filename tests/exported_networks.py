"""Exported networks and what torch makes of them and of single operations.

    python -m tests.exported_networks    # makes the .xz beside this; needs torch and timm

The archive holds the folder of each network of `tests/torch_networks.py`, two images, and torch's
logits, `TAPS` of it (also its class map's) and the gradients of a logit to them; and the results of
`tests/aten_cases.py`.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from tests.aten_cases import CASES, Type, filled
from tests.golden import archive

FILE = Path(__file__).with_suffix(".xz")
MEAN, STD = (0.5, 0.4, 0.3), (0.25, 0.25, 0.2)
CLASS = 3  # whose logit is differentiated
TAPS = {  # modules of each network that are compared
    "vit": ("blocks.0", "blocks.1.norm1"),
    "beit": ("blocks.0.attn", "blocks.1"),
    "mixer": ("blocks.0", "norm"),
    "swin": ("layers.0.blocks.1", "layers.1", "norm"),
    "convnext": ("stem", "stages"),
    "resnet": ("layer1.0.bn1", "layer4"),
    "efficientnet": ("blocks.1", "bn2"),
    "regnet": ("s1", "s4"),
    "awkward": ("norm", "mix", "mix#2", "attention.0", "silent"),
}


def pixels(size: tuple[int, int]) -> np.ndarray:
    """Two images [2, h, w, 3] in [0, 1]."""
    return np.random.default_rng(7).integers(0, 256, (2, *size, 3)).astype(np.float32) / 255


def folder(name: str, place: Path) -> Path:
    """The folder of an exported network, written into `place`."""
    from rival_jax import weights

    held = {key.removeprefix(f"{name}/"): value for key, value in _archived().items()}
    tensors = {key.removeprefix("t/"): v for key, v in held.items() if key.startswith("t/")}
    there = place / name
    there.mkdir(parents=True)
    weights.write_tensors(there / weights.TENSORS, tensors)
    for file in ("graph.json", "config.json"):
        (there / file).write_text(str(held[file]))
    return there


def expected(name: str) -> dict[str, np.ndarray]:
    """ "logits", and "value/" and "gradient/" of its `TAPS`, from torch."""
    start = f"{name}/e/"
    return {k.removeprefix(start): v for k, v in _archived().items() if k.startswith(start)}


def results(place: int) -> list[np.ndarray]:
    """What torch makes of the call with this place in `CASES`."""
    found, archived = [], _archived()
    while f"operation/{place}/{len(found)}" in archived:
        found.append(archived[f"operation/{place}/{len(found)}"])
    return found


def of_network(network: Any, name: str, size: tuple[int, int]) -> dict[str, np.ndarray]:
    """The numbers of `expected`, computed by torch."""
    import torch

    from rival_jax.models import tracing

    normalised = (pixels(size) - np.array(MEAN, np.float32)) / np.array(STD, np.float32)
    image = torch.tensor(np.moveaxis(normalised, -1, 1))
    added: dict[str, Any] = {}
    modules = dict(network.named_modules())
    with tracing.Watched(torch, network) as seen, torch.no_grad():
        network(image)
    found = {}
    for tap in TAPS[name]:
        added, calls = [], []
        module, _, call = tap.partition("#")
        module, _, part = module.rpartition(".") if module not in modules else (module, "", "")

        def add(
            _: Any,
            __: Any,
            out: Any,
            wanted: str = call or "1",
            part: str = part,
            calls: list[int] = calls,
            added: list[Any] = added,
        ) -> Any:
            calls.append(1)
            if str(len(calls)) != wanted:
                return out
            value = out[int(part)] if part else out
            added.append(torch.zeros_like(value, requires_grad=True))
            value = value + added[0]
            return (*out[: int(part)], value, *out[int(part) + 1 :]) if part else value

        hook = modules[module].register_forward_hook(add)
        logits = tracing.logits_of(network(image))
        logits[:, CLASS].sum().backward()
        hook.remove()
        found[f"value/{tap}"] = seen[tap].numpy()
        found[f"gradient/{tap}"] = added[0].grad.numpy()
        found["logits"] = logits.detach().numpy()
    return found


def of_operation(place: int) -> list[np.ndarray]:
    """The numbers of `results`, computed by torch."""
    import torch

    case = CASES[place]
    name, overload = case.op.rsplit(".", 1)
    arrays = [
        torch.tensor(a).long() if a.dtype == np.int32 else torch.tensor(a) for a in case.arrays()
    ]
    kwargs = {
        key: getattr(torch, value.name) if isinstance(value, Type) else value
        for key, value in case.kwargs.items()
    }
    made = getattr(getattr(torch.ops.aten, name), overload)(*filled(case.args, arrays), **kwargs)
    listed = made if isinstance(made, list | tuple) else [made]
    whole = {"max_pool2d_with_indices", "native_layer_norm", "native_group_norm"}  # first alone
    batch = name.startswith("_native_batch_norm")
    kept = [part.numpy() for part in (listed[:1] if name in whole or batch else listed)]
    return [part.astype(np.int32) if part.dtype == np.int64 else part for part in kept]


def _archived() -> dict[str, np.ndarray]:
    if not _held:
        _held.update(archive.read(FILE))
    return _held


_held: dict[str, np.ndarray] = {}


def main() -> None:
    """Makes the archive."""
    from rival_jax import weights
    from rival_jax.models import exporting
    from tests.torch_networks import TINY, made

    arrays: dict[str, np.ndarray] = {}
    config = weights.Config(mean=MEAN, std=STD, class_names=tuple("abcde"))
    for name, tiny in TINY.items():
        network = made(name)
        with tempfile.TemporaryDirectory() as place:
            there = Path(place) / name
            exporting.export(network, there, image_size=tiny.image_size, config=config)
            for tensor, value in weights.read_tensors(there / weights.TENSORS).items():
                arrays[f"{name}/t/{tensor}"] = np.array(value)
            for file in ("graph.json", "config.json"):
                text = json.dumps(json.loads((there / file).read_text()), separators=(",", ":"))
                arrays[f"{name}/{file}"] = np.array(text)
        for key, value in of_network(network, name, tiny.image_size).items():
            arrays[f"{name}/e/{key}"] = value
        print(name, len(arrays))
    for place in range(len(CASES)):
        for part, value in enumerate(of_operation(place)):
            arrays[f"operation/{place}/{part}"] = value
    archive.write(FILE, arrays)
    print(f"{FILE}: {FILE.stat().st_size} bytes")


if __name__ == "__main__":
    sys.exit(main())
