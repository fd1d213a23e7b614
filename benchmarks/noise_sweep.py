"""Times a noise sweep by rival_jax and by two PyTorch programs, alternating in one run.

  python benchmarks/noise_sweep.py --peer-python=path/to/python-with-torch
  python benchmarks/noise_sweep.py --peer-python=... --device=cuda --dtype=bfloat16 --images=512

README.md beside this file says what is compared. Every program runs in a process of its own; ours
in this interpreter, the peers in `--peer-python`, which needs torch, numpy and safetensors.
"""

from __future__ import annotations

import argparse
import datetime
import json
import math
import pathlib
import platform
import statistics
import sys
import tempfile
from typing import Any

import inputs
import numpy as np
from worker import Worker, cores

HERE = pathlib.Path(__file__).parent
LEVELS = tuple(level / 255 for level in range(30, 211, 30))
PROGRAMS = {"ours": "ours", "released": "peers", "eager": "peers"}  # -> process
TOLERANCE = {"float32": 1e-3, "tf32": 2e-2, "bfloat16": 2e-1}  # of logits of order 1
NOISE_TOLERANCE = 0.15  # of one noisy image's probability: the programs draw different noise
PEAK_SIZES = {"cpu": (1024, 2048, 4096), "cuda": (4096, 8192)}
# Of every program: large pages, and memory kept from run to run, as `runtime.memory` has it.
ALLOCATOR = {"hugetlb": 1, "mmap_max": 0, "trim_threshold": 2**64 - 1, "arena_max": 1}
ENVIRONMENT = {
    "GLIBC_TUNABLES": ":".join(f"glibc.malloc.{name}={n}" for name, n in ALLOCATOR.items()),
    "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
}

Results = dict[str, Any]


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--peer-python", help="interpreter with torch; without it ours runs alone")
    parser.add_argument("--models", nargs="+", default=inputs.MODELS, choices=inputs.MODELS)
    parser.add_argument("--images", type=int, default=16)
    parser.add_argument("--levels", type=int, default=len(LEVELS), help="the first of the study's")
    parser.add_argument("--trials", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--dtype", default="float32", choices=TOLERANCE)
    parser.add_argument("--device", default="cpu", choices=PEAK_SIZES)
    parser.add_argument("--json", type=pathlib.Path, help="file for all that was measured")
    return parser.parse_args(arguments)


def start(options: argparse.Namespace) -> dict[str, Worker]:
    """The processes: "ours", and "peers" where there is an interpreter for them."""
    platforms = {"JAX_PLATFORMS": options.device, "PYTHONPATH": str(HERE.parent)}
    found = {"ours": Worker(sys.executable, HERE / "ours.py", [], {**ENVIRONMENT, **platforms})}
    if options.peer_python:
        script = HERE / "torch_peers.py"
        found["peers"] = Worker(options.peer_python, script, [options.device], ENVIRONMENT)
    return found


def measure(workers: dict[str, Worker], options: argparse.Namespace, name: str) -> Results:
    """One network: agreement first, then the programs in turn, each repeat in another order."""
    with tempfile.TemporaryDirectory() as folder:
        inputs.write_images(pathlib.Path(folder), options.images)
        inputs.write_model(pathlib.Path(folder), name)
        sweep = {"levels": LEVELS[: options.levels], "trials": options.trials}
        settings = {"folder": folder, "name": name, "dtype": options.dtype, **sweep}
        opened = {who: worker.ask("open", **settings) for who, worker in workers.items()}
    difference = logit_difference(workers, options)
    order = [program for program, who in PROGRAMS.items() if who in workers]
    runs: dict[str, list[Results]] = {program: [] for program in order}
    for repeat in range(-1, options.repeats):  # the first is the warm-up
        for program in order[repeat % len(order) :] + order[: repeat % len(order)]:
            run = workers[PROGRAMS[program]].ask("run", **program_of(program))
            if repeat >= 0:
                runs[program].append(run)
    check_outcomes(runs, options.images * options.trials)
    seconds = {program: [run["seconds"] for run in found] for program, found in runs.items()}
    outcomes = {program: found[0] for program, found in runs.items()}
    return {"opened": opened, "logits": difference, "seconds": seconds, "outcomes": outcomes}


def program_of(program: str) -> dict[str, str]:
    """The arguments of the command `run`."""
    return {} if program == "ours" else {"program": program}


def logit_difference(workers: dict[str, Worker], options: argparse.Namespace) -> float:
    """The largest difference of clean logits between programs, over their largest magnitude.

    Raises:
      ValueError: when it exceeds the tolerance of the precision: nothing is timed then.
    """
    count = min(16, options.images)
    logits = np.concatenate([worker.ask("logits", count=count) for worker in workers.values()])
    difference = float(np.ptp(logits, axis=0).max() / np.abs(logits).max())
    if not difference <= TOLERANCE[options.dtype]:
        raise ValueError(
            f"the programs' logits differ by {difference:.2g} of the largest, more than "
            f"{TOLERANCE[options.dtype]:g} for {options.dtype}: they do not run the same network"
        )
    return difference


def check_outcomes(runs: dict[str, list[Results]], draws: int) -> None:
    """Raises ValueError unless all programs measured the same, up to their draws of noise."""
    tolerance = max(0.01, NOISE_TOLERANCE / math.sqrt(draws))
    for key in ("probability_fg", "probability_bg"):
        means = [np.mean([run[key] for run in found], axis=0) for found in runs.values()]
        difference = float(np.ptp(means, axis=0).max())
        if not difference <= tolerance:
            raise ValueError(
                f"{key} differs by {difference:.2g} between programs, more than {tolerance:.2g}: "
                "they do not run the same sweep"
            )


def forwards(options: argparse.Namespace, program: str) -> int:
    """Forward passes of one image in a sweep."""
    if program == "released":
        return options.levels * (1 + 3 * options.trials)
    return 1 + 2 * options.levels * options.trials


def ratios(numerators: list[float], denominators: list[float]) -> str:
    """Ratio of the medians, and the range over repeats of the ratio within a repeat."""
    each = sorted(n / d for n, d in zip(numerators, denominators, strict=True))
    median = statistics.median(numerators) / statistics.median(denominators)
    return f"{median:5.2f} ({each[0]:.2f} to {each[-1]:.2f})"


def table(result: Results, peak: float, options: argparse.Namespace, name: str) -> str:
    """What a person reads about one network."""
    flops, lines = result["opened"]["ours"]["flops"], []
    lines.append(
        f"{name}: {options.images} images x {options.levels} levels x {options.trials} trials, "
        f"{flops / 1e9:.2f} GFLOP a forward in ours, {inputs.FLOPS[name] / 1e9:.2f} in the peers; "
        f"logits agree to {result['logits']:.1e}"
    )
    for who, facts in result["opened"].items():
        lines.append(f"  {who}: {facts}")
    heads = ("program", "median s", "min s", "max s", "forwards/s", "GFLOP/s", "of peak", "ours is")
    lines.append("  {:9} {:>8} {:>7} {:>7} {:>10} {:>8} {:>7}  {} times faster".format(*heads))
    ours = result["seconds"]["ours"]
    for program, seconds in result["seconds"].items():
        median = statistics.median(seconds)
        rate = options.images * forwards(options, program) / median
        gflops = rate * (flops if program == "ours" else inputs.FLOPS[name]) / 1e9
        faster = ratios(seconds, ours) if program != "ours" else ""
        lines.append(
            f"  {program:9} {median:8.2f} {min(seconds):7.2f} {max(seconds):7.2f} {rate:10.1f} "
            f"{gflops:8.1f} {gflops / peak:7.1%}  {faster}"
        )
    return "\n".join(lines)


def main() -> None:
    """Measures and prints; see the file's docstring."""
    options = parse()
    workers = start(options)
    hello = {who: worker.ask("hello") for who, worker in workers.items()}
    print(f"{datetime.date.today()} {platform.machine()}, {cores()} cores, {options.dtype}")
    print("\n".join(f"{who}: {facts}" for who, facts in hello.items()))
    sizes = {"sizes": PEAK_SIZES[options.device], "dtype": options.dtype}
    peaks = {who: worker.ask("peak", **sizes) for who, worker in workers.items()}
    results = {name: measure(workers, options, name) for name in options.models}
    again = {who: worker.ask("peak", **sizes) for who, worker in workers.items()}
    for who in peaks:
        peaks[who] = {size: max(rate, again[who][size]) for size, rate in peaks[who].items()}
        rates = ", ".join(f"{size}: {rate:.0f}" for size, rate in peaks[who].items())
        print(f"{who}: GFLOP/s of square matrix products: {rates}")
    peak = max(max(rates.values()) for rates in peaks.values())
    for name, result in results.items():
        print("\n" + table(result, peak, options, name))
    if options.json:
        settings = {key: value for key, value in vars(options).items() if key != "json"}
        found = {"options": settings, "programs": hello, "peak": peaks, "results": results}
        options.json.write_text(json.dumps(found, indent=1) + "\n")
    for worker in workers.values():
        worker.close()


if __name__ == "__main__":
    main()
