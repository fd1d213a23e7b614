"""Times one forward pass of ours against four ways to run the same network, in one run.

  python benchmarks/forward.py --peer-python=path/to/python
  python benchmarks/forward.py --peer-python=... --models resnet18 --batch=16

Programs take turns, each repeat in another order. `--peer-python` needs torch, numpy, safetensors,
and, for those that are to be compared, onnx and onnxruntime, and openvino.
"""

from __future__ import annotations

import argparse
import datetime
import pathlib
import statistics
import sys
import tempfile
from typing import Any

import inputs
import numpy as np
from noise_sweep import ENVIRONMENT, HERE, ratios
from worker import Worker, cores

TOLERANCE = 1e-3  # of the largest logit
PEAK_SIZES = (1024, 2048, 4096)


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--peer-python", help="interpreter with torch; without it ours runs alone")
    parser.add_argument("--models", nargs="+", default=inputs.MODELS, choices=inputs.MODELS)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=9)
    return parser.parse_args(arguments)


def measure(workers: dict[str, Worker], options: argparse.Namespace, name: str) -> dict[str, Any]:
    """Seconds of every repeat of each program, after their logits were compared.

    Raises ValueError if those differ.
    """
    with tempfile.TemporaryDirectory() as folder:
        inputs.write_images(pathlib.Path(folder), options.batch)
        inputs.write_model(pathlib.Path(folder), name)
        settings = {"folder": folder, "name": name, "batch": options.batch}
        opened = {who: worker.ask("open", **settings) for who, worker in workers.items()}
    programs = [(who, program) for who, names in opened.items() for program in names]
    logits = [np.array(workers[who].ask("logits", program=program)) for who, program in programs]
    apart = max(float(abs(one - logits[0]).max() / abs(logits[0]).max()) for one in logits)
    if not apart <= TOLERANCE:
        raise ValueError(f"{name}: logits differ by {apart:.2g} of the largest")
    found: dict[str, list[float]] = {program: [] for _, program in programs}
    for repeat in range(-1, options.repeats):
        for who, program in programs[repeat % len(programs) :] + programs[: repeat % len(programs)]:
            seconds = workers[who].ask("run", program=program)
            if repeat >= 0:
                found[program].append(seconds)
    return found


def processor() -> str:
    """What the processor calls itself."""
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in lines if "model name" in line)
    except (OSError, StopIteration):
        return "unknown processor"


def main() -> None:
    """Measures and prints; see the file's docstring."""
    options = parse()
    path = {"JAX_PLATFORMS": "cpu", "PYTHONPATH": str(HERE.parent)}
    given = [sys.executable, HERE / "forward_ours.py", [], {**ENVIRONMENT, **path}]
    workers = {"ours": Worker(*given)}
    if options.peer_python:
        workers["peers"] = Worker(options.peer_python, HERE / "forward_peers.py", [], ENVIRONMENT)
    print(f"{datetime.date.today()}, {processor()}, {cores()} cores, batch {options.batch}")
    for worker in workers.values():
        print(worker.ask("hello"))
    peak = workers["ours"].ask("peak", sizes=list(PEAK_SIZES))
    for name in options.models:
        found = measure(workers, options, name)
        print(f"\n{name}, ms an image; the fastest matrix product is {peak:.0f} GFLOP/s")
        for program, seconds in found.items():
            each = [1e3 * s / options.batch for s in seconds]
            share = inputs.FLOPS[name] / (min(each) / 1e3) / 1e9 / peak
            faster = "" if program == "ours" else f"  ours is {ratios(seconds, found['ours'])}"
            print(
                f"  {program:12} min {min(each):6.2f}  median {statistics.median(each):6.2f}  "
                f"{share:5.0%} of peak{faster}"
            )
    for worker in workers.values():
        worker.close()


if __name__ == "__main__":
    main()
