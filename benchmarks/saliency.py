"""Times saliency maps with their metrics, and neuron attribution, against PyTorch programs.

  python benchmarks/saliency.py --peer-python=path/to/python-with-torch-and-grad-cam
  python benchmarks/saliency.py --only=neurons --images=200 --repeats=3

README.md beside this file says what is compared. Every program runs in a process of its own; ours
in this interpreter, the peers in `--peer-python`, which needs torch, numpy, safetensors, opencv
and, for GradCAM, grad-cam.
"""

from __future__ import annotations

import argparse
import datetime
import json
import pathlib
import platform
import statistics
import sys
import tempfile
from typing import Any

import inputs
import numpy as np
from noise_sweep import ENVIRONMENT, ratios
from worker import Worker, cores

HERE = pathlib.Path(__file__).parent
WANTED = {"study": 5.0, "batched": 1.5, "loop": 50.0}  # times faster; no figure for "lean"
MAP_TOLERANCE = 1e-2  # of maps in [0, 1]
METRIC_TOLERANCE = 1e-2  # of means over images
IOU_TOLERANCE = 1e-4  # of the mean over features and attributes: single pixels at the threshold
FEATURES, ATTRIBUTES = 512, 18
GROWTH = 1.05  # of peak memory, for four times the images

Results = dict[str, Any]


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--peer-python", help="interpreter with torch; without it ours runs alone")
    parser.add_argument("--only", choices=("gradcam", "neurons", "memory"))
    parser.add_argument("--models", nargs="+", default=inputs.MODELS, choices=inputs.MODELS)
    parser.add_argument("--gradcam-images", type=int, default=32)
    parser.add_argument("--images", type=int, default=1000, help="of neuron attribution")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--loop-repeats", type=int, default=3, help="of neuron attribution")
    parser.add_argument("--json", type=pathlib.Path, help="file for all that was measured")
    return parser.parse_args(arguments)


def start(options: argparse.Namespace) -> dict[str, Worker]:
    """The processes: "ours", and "peers" where there is an interpreter for them."""
    found = {"ours": our_worker()}
    if options.peer_python:
        script = HERE / "saliency_peers.py"
        found["peers"] = Worker(options.peer_python, script, [], ENVIRONMENT)
    return found


def our_worker() -> Worker:
    """Our program, in a process of its own, every core a device."""
    env = {**ENVIRONMENT, "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(HERE.parent)}
    env["XLA_FLAGS"] = f"--xla_force_host_platform_device_count={cores()}"
    return Worker(sys.executable, HERE / "saliency_ours.py", [], env)


def in_turn(
    workers: dict[str, Worker], programs: dict[str, str], command: str, repeats: int
) -> dict[str, list[Results]]:
    """Every program's answers to `command`, each repeat in another order; the first is left out."""
    order = [program for program, who in programs.items() if who in workers]
    runs: dict[str, list[Results]] = {program: [] for program in order}
    for repeat in range(-1, repeats):
        for program in order[repeat % len(order) :] + order[: repeat % len(order)]:
            run = workers[programs[program]].ask(command, program=program)
            if repeat >= 0:
                runs[program].append(run)
    return runs


def gradcam(workers: dict[str, Worker], options: argparse.Namespace, name: str) -> Results:
    """One network: maps must agree, then the programs take turns, then metrics must agree."""
    programs = {"ours": "ours", "study": "peers", "batched": "peers"}
    with tempfile.TemporaryDirectory() as folder:
        inputs.write_images(pathlib.Path(folder), options.gradcam_images)
        inputs.write_model(pathlib.Path(folder), name)
        opened = {who: w.ask("open", folder=folder, name=name) for who, w in workers.items()}
    maps = [np.array(worker.ask("maps", count=4)) for worker in workers.values()]
    difference = largest_difference("saliency maps", maps, MAP_TOLERANCE)
    runs = in_turn(workers, programs, "gradcam", options.repeats)
    for metric in runs["ours"][0]["metrics"]:
        values = [np.array(found[0]["metrics"][metric]) for found in runs.values()]
        largest_difference(metric, values, METRIC_TOLERANCE)
    seconds = {program: [run["seconds"] for run in found] for program, found in runs.items()}
    return {"opened": opened, "maps": difference, "seconds": seconds,
            "metrics": runs["ours"][0]["metrics"]}  # fmt: skip


def neurons(workers: dict[str, Worker], options: argparse.Namespace) -> Results:
    """Features x attributes x images, from photos through a network that costs nothing."""
    programs = {"ours": "ours", "loop": "peers", "lean": "peers"}
    size = {"images": options.images, "features": FEATURES, "attributes": ATTRIBUTES}
    for worker in workers.values():
        worker.ask("open_neurons", hold=True, **size)
    runs = in_turn(workers, programs, "neurons", options.loop_repeats)
    scores = [np.array(found[0]["scores"]) for name, found in runs.items() if name != "loop"]
    difference = largest_difference("scores", [s.mean((0, 1)) for s in scores], IOU_TOLERANCE)
    seconds = {program: [run["seconds"] for run in found] for program, found in runs.items()}
    return {**size, "scores": difference, "seconds": seconds}


def memory(options: argparse.Namespace) -> Results:
    """Peak memory, MiB, of attribution on some images and on four times as many."""
    found = {}
    for images in (options.images // 4, options.images):
        worker = our_worker()
        size = {"images": images, "features": FEATURES, "attributes": ATTRIBUTES}
        worker.ask("open_neurons", hold=False, **size)
        worker.ask("neurons", program="ours")
        found[images] = worker.ask("peak_memory")
        worker.close()
    return found


def largest_difference(what: str, values: list[np.ndarray], tolerance: float) -> float:
    """Of several programs' values. Raises ValueError when it exceeds the tolerance."""
    difference = float(np.ptp(np.stack(values), axis=0).max())
    if not difference <= tolerance:
        raise ValueError(
            f"{what} differ by {difference:.2g} between programs, more than {tolerance:.2g}: "
            "they do not compute the same"
        )
    return difference


def table(title: str, seconds: dict[str, list[float]], images: int) -> str:
    """What a person reads about one comparison."""
    lines = [title, f"  {'program':9} {'median s':>9} {'min s':>8} {'max s':>8} {'images/s':>9}"]
    for program, times in seconds.items():
        median = statistics.median(times)
        text = f"  {program:9} {median:9.3f} {min(times):8.3f} {max(times):8.3f}"
        text += f" {images / median:9.1f}"
        if program != "ours":
            ratio = median / statistics.median(seconds["ours"])
            text += f"  ours is {ratios(times, seconds['ours'])} times faster"
            if program in WANTED:
                verdict = "reached" if ratio >= WANTED[program] else "not reached"
                text += f" (wanted {WANTED[program]:g}: {verdict})"
        lines.append(text)
    return "\n".join(lines)


def main() -> None:
    """Measures and prints; see the file's docstring."""
    options = parse()
    workers, results = start(options), {}
    print(f"{datetime.date.today()} {platform.machine()}, {cores()} cores, float32")
    print("\n".join(f"{who}: {worker.ask('hello')}" for who, worker in workers.items()))
    if options.only in (None, "gradcam"):
        for name in options.models:
            results[name] = found = gradcam(workers, options, name)
            title = f"\nGradCAM and its metrics, {name}: maps agree to {found['maps']:.1e}"
            print(table(title, found["seconds"], options.gradcam_images), flush=True)
    if options.only in (None, "neurons"):
        results["neurons"] = found = neurons(workers, options)
        title = f"\n{FEATURES} features x {ATTRIBUTES} attributes x {options.images} images"
        title += f": scores agree to {found['scores']:.1e}"
        print(table(title, found["seconds"], options.images), flush=True)
    for worker in workers.values():
        worker.close()
    if options.only in (None, "memory"):
        results["memory"] = found = memory(options)
        (few, small), (many, large) = found.items()
        verdict = "does not grow" if large <= GROWTH * small else "grows"
        print(f"\npeak memory: {small:.0f} MiB for {few} images, {large:.0f} for {many}: {verdict}")
    if options.json:
        settings = {key: value for key, value in vars(options).items() if key != "json"}
        found = {"options": settings, "results": results}
        options.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
