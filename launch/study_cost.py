"""A model on paper of the full RIVAL10 study: 21 networks, both norms. Nothing here was timed.

  python launch/study_cost.py             the tables of launch/README.md
  python launch/study_cost.py --count     counts operations and parameters again: study_models.csv

Forward passes come from configs/rfs.py:paper and the data set's published split. Operations are
XLA's count for the program of one forward pass, before any optimisation, two for a multiply-add.
"""

from __future__ import annotations

import argparse
import csv
import importlib.util
import math
import pathlib
from collections.abc import Iterator
from typing import Any, NamedTuple

HERE = pathlib.Path(__file__).parent
TABLE = HERE / "study_models.csv"
PHOTOS = {"test": 5_306, "train": 21_178}  # of the released split; the heads are fitted on train
SIDE = 224
PHOTO_BYTES, MASK_BYTES = 110_000, 20_000  # ImageNet's mean JPEG; a JPEG mask of that size
ROW_BYTES = 7.7  # of a compressed row of random probabilities, measured
COMPILE_SECONDS, PROGRAMS = 30, 4  # of a network: clean, two norms, features for the head
DECODE_SECONDS = 0.010  # photo and mask, decoded and resized, on one core
REPORT_SECONDS = (9.0, 2.0)  # and for each network; processor time, measured with 1, 3 and 6
SHARES = (0.5, 0.25, 0.1)  # of the peak


class Machine(NamedTuple):
    """What the study may run on."""

    name: str
    chips: int
    peak: float  # of one chip, TFLOP/s
    cores: int  # processor cores of all hosts

    def hours(self, flops: float, share: float) -> float:
        """Of computing `flops` at a share of the peak."""
        return flops / (self.chips * self.peak * 1e12 * share) / 3600


MACHINES = (
    Machine("v5e-16, bfloat16 products", 16, 197, 4 * 112),
    Machine("one H200, TF32 products", 1, 494, 16),
    Machine("one H200, bfloat16", 1, 989, 16),
)


class Network(NamedTuple):
    """A line of study_models.csv."""

    name: str
    parameters: int
    flops: int  # of one forward pass


def networks() -> list[Network]:
    """The study's networks as they were counted."""
    with TABLE.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return [Network(row["name"], int(row["parameters"]), int(row["flops"])) for row in rows]


def forwards_per_image() -> int:
    """One of the clean image, then levels x trials x regions."""
    spec = importlib.util.spec_from_file_location("rfs", HERE.parent / "configs" / "rfs.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    noise = module.get_config("paper").noise
    levels = len(noise.sigmas) + len(noise.epsilons)
    return 1 + levels * noise.trials * len(noise.regions)


def work() -> tuple[int, float]:
    """(forward passes of each network with those for its head, operations of all networks)."""
    forwards = PHOTOS["test"] * forwards_per_image() + PHOTOS["train"]
    return forwards, forwards * sum(network.flops for network in networks())


def tables() -> Iterator[str]:
    """The lines of Markdown that launch/README.md holds."""
    each, flops = work()
    yield "| network | parameters, M | GFLOP a forward | PFLOP in all |"
    yield "| --- | --: | --: | --: |"
    for name, parameters, one in networks():
        yield f"| {name} | {parameters / 1e6:.1f} | {one / 1e9:.1f} | {one * each / 1e15:.1f} |"
    yield from ("", "| | all |", "| --- | --: |")
    yield from (f"| {what} | {value} |" for what, value in totals(each, flops))
    yield from ("", "| hours of forward passes at a share of the peak of | " + _shares(), _rule())
    for machine in MACHINES:
        hours = " | ".join(f"{machine.hours(flops, share):.2f}" for share in SHARES)
        yield f"| {machine.name} ({machine.chips} x {machine.peak:.0f} TFLOP/s) | {hours} |"
    yield from ("", "| minutes besides | v5e-16 | one H200 |", "| --- | --: | --: |")
    for what, seconds in besides():
        yield f"| {what} | {' | '.join(f'{value / 60:.1f}' for value in seconds)} |"


def totals(each: int, flops: float) -> Iterator[tuple[str, str]]:
    """What the whole study needs, in words and numbers."""
    count = len(networks())
    rows = count * PHOTOS["test"] * forwards_per_image()
    read = sum(PHOTOS.values()) * (PHOTO_BYTES + MASK_BYTES)
    weights = sum(4 * network.parameters for network in networks())
    yield "forward passes of an image and network", f"{forwards_per_image()}"
    yield "forward passes of a network, those for its head included", f"{each:,}"
    yield "forward passes", f"{count * each:,}"
    yield "operations", f"{flops / 1e15:,.0f} PFLOP"
    yield "photos and masks read, once for all networks", f"{read / 1e9:.1f} GB"
    yield "weights read by every host", f"{weights / 1e9:.1f} GB"
    yield "rows written", f"{rows:,}, {rows * ROW_BYTES / 1e9:.1f} GB"


def besides() -> Iterator[tuple[str, tuple[float, float]]]:
    """What is no forward pass, and its seconds on the pod and on the one GPU's host."""
    pod, one = MACHINES[0], MACHINES[1]
    photos = DECODE_SECONDS * sum(PHOTOS.values())
    yield "reading photos, on all cores", (photos / pod.cores, photos / one.cores)
    distinct = len({(network.parameters, network.flops) for network in networks()})
    compiling = COMPILE_SECONDS * PROGRAMS * distinct
    yield f"compiling for {distinct} distinct networks, the first time", (compiling, compiling)
    report = REPORT_SECONDS[0] + REPORT_SECONDS[1] * len(networks())
    yield "intervals, figures and report, one core of process 0", (report, report)


def counted(entry: Any) -> Network:
    """A line of the catalogue, counted from its architecture; no weights are needed."""
    import jax
    import jax.numpy as jnp

    model = _built(entry)
    variables = jax.eval_shape(model.init, jax.random.key(0))
    image = jax.ShapeDtypeStruct((1, SIDE, SIDE, 3), jnp.float32)
    forward = jax.jit(lambda v, x: model.forward(v, x, {})[0])
    # For a TPU: on CPUs some convolutions are products, which count the border's zeros too.
    costs: Any = forward.trace(variables, image).lower(lowering_platforms=("tpu",))
    size = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(variables["params"]))
    return Network(entry.name, size, round(costs.cost_analysis()["flops"]))


def _built(entry: Any) -> Any:
    """The network of a line of the catalogue, untrained."""
    from rival_jax.models import clip_resnet, clip_vit, resnet, vit

    kind = entry.config.architecture
    common: dict[str, Any] = {"name": entry.name, "image_size": (SIDE, SIDE)}
    depths = {"18": (2, 2, 2, 2), "50": (3, 4, 6, 3), "101": (3, 4, 23, 3), "152": (3, 8, 36, 3)}
    if entry.family == "resnet":
        layers = kind.removeprefix("resnet")
        classes = entry.config.num_classes
        given = {"depths": depths[layers], "bottleneck": layers != "18", "num_classes": classes}
        return resnet.build(**common, **given)
    if entry.family == "clip_resnet":
        layers = kind.removeprefix("resnet").removesuffix("_clip")
        features = {"50": 1024, "101": 512}[layers]
        return clip_resnet.build(
            **common, depths=depths[layers], width=64, heads=32, features=features
        )
    width = {"tiny": 192, "small": 384, "base": 768}[kind.split("_")[1]]
    shape: dict[str, Any] = {
        "width": width,
        "heads": width // 64,
        "patch_size": 32 if "patch32" in kind else 16,
    }
    if entry.family == "clip_vit":
        return clip_vit.build(**common, **shape, projection=512)
    return vit.build(**common, **shape, num_classes=entry.config.num_classes)


def _shares() -> str:
    return " | ".join(f"{share:.0%}" for share in SHARES) + " |"


def _rule() -> str:
    return "| --- |" + " --: |" * len(SHARES)


def main() -> None:
    """Prints the tables, or counts anew; see the file's docstring."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", action="store_true", help="write study_models.csv again")
    if parser.parse_args().count:
        from rival_jax.weights import catalogue

        found = [counted(entry) for entry in catalogue.entries() if "rival10" in entry.study]
        with TABLE.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(Network._fields)
            writer.writerows(found)
    print("\n".join(tables()))


if __name__ == "__main__":
    main()
