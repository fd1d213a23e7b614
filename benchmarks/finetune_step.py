"""Times relevance maps and finetuning steps against PyTorch programs, alternating in one run.

  python benchmarks/finetune_step.py --peer-python=path/to/python-with-torch
  python benchmarks/finetune_step.py --models vit_tiny_patch16_224 --repeats=3

README.md beside this file says what is compared. Every program runs in a process of its own; ours
in this interpreter, the peers in `--peer-python`, which needs torch, numpy and safetensors.
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
MODELS = tuple(inputs.WIDTHS)
PROGRAMS = {
    "relevance": {"ours": "ours", "released": "peers", "eager": "peers"},
    "step": {
        "ours": "ours",
        "released": "peers",
        "eager": "peers",
        "ours_second": "ours",
        "eager_second": "peers",
    },
}  # of each command: program -> process
WANTED = {
    ("relevance", "released", "ours"): 3.0,
    ("relevance", "eager", "ours"): 1.0,
    ("step", "released", "ours"): 2.0,
    ("step", "eager", "ours"): 1.0,
    ("step", "eager_second", "ours_second"): None,
}  # command, slow, fast: how many times faster
WARM_UP = 3  # repeats
MOST = 2.0  # of our second-order step, in first-order steps
TOLERANCE = {"maps": 1e-2, "loss": 1e-4, "norm": 1e-2}  # of the largest value

Results = dict[str, Any]


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--peer-python", help="interpreter with torch; without it ours runs alone")
    parser.add_argument("--models", nargs="+", default=MODELS, choices=MODELS)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--memory", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--json", type=pathlib.Path, help="file for all that was measured")
    return parser.parse_args(arguments)


def start(options: argparse.Namespace, who: str) -> Worker:
    """A process: "ours" or "peers"."""
    if who == "peers":
        script = HERE / "finetune_peers.py"
        return Worker(options.peer_python, script, [options.device], ENVIRONMENT)
    env = {**ENVIRONMENT, "JAX_PLATFORMS": options.device, "PYTHONPATH": str(HERE.parent)}
    if options.device == "cpu":  # a device for every core
        env["XLA_FLAGS"] = f"--xla_force_host_platform_device_count={cores()}"
    return Worker(sys.executable, HERE / "finetune_ours.py", [], env)


def measure(workers: dict[str, Worker], options: argparse.Namespace, folder: str) -> Results:
    """One network: agreement first, then the programs in turn, each repeat in another order."""
    asked = {who: programs(options, "step", who) for who in workers}
    outputs = {p: workers[who].ask("outputs", program=p) for who in workers for p in asked[who]}
    agreement = agree(outputs)
    seconds = {command: in_turn(workers, options, command) for command in PROGRAMS}
    temporaries = {
        f"{command}, {program}": workers["ours"].ask("temporaries", kind=command, program=program)
        for command in PROGRAMS
        for program in programs(options, command, "ours")
    }
    found = {"agreement": agreement, "seconds": seconds, "temporaries": temporaries}
    return found | ({"memory": memory(options, folder)} if options.memory else {})


def programs(options: argparse.Namespace, command: str, who: str | None = None) -> list[str]:
    """Of a command, and of one process alone; the peers' only where they have an interpreter."""
    there = {"ours", "peers"} if options.peer_python else {"ours"}
    wanted = {who} if who else there
    return [program for program, owner in PROGRAMS[command].items() if owner in wanted]


def in_turn(
    workers: dict[str, Worker], options: argparse.Namespace, command: str
) -> dict[str, list[float]]:
    """Every program's seconds, after some repeats in which memory grows to what they need."""
    order = programs(options, command)
    seconds: dict[str, list[float]] = {program: [] for program in order}
    for repeat in range(-WARM_UP, options.repeats):
        for program in order[repeat % len(order) :] + order[: repeat % len(order)]:
            run = workers[PROGRAMS[command][program]].ask(command, program=program)
            if repeat >= 0:
                seconds[program].append(run["seconds"])
    return seconds


def agree(outputs: dict[str, Results]) -> dict[str, float]:
    """The largest differences between programs of one kind of step, over the largest magnitude.

    Raises:
      ValueError: when one exceeds its tolerance: nothing is timed then.
    """
    found = {}
    for key, tolerance in TOLERANCE.items():
        for second in (False, True):
            if key == "norm":  # the one thing that the exact gradient changes
                group = [v for name, v in outputs.items() if name.endswith("_second") == second]
            else:
                group = list(outputs.values())
            values = np.stack([np.asarray(one[key]) for one in group])
            difference = float(np.ptp(values, axis=0).max() / np.abs(values).max())
            if not difference <= tolerance:
                raise ValueError(
                    f"{key} differs by {difference:.2g} of the largest between programs, more than "
                    f"{tolerance:g}: they do not compute the same"
                )
            found[key] = max(difference, found.get(key, 0.0))
    return found


def memory(options: argparse.Namespace, folder: str) -> dict[str, float]:
    """MiB an image that each program adds to a process that has loaded the network."""
    found = {}
    for command in PROGRAMS:
        for program in programs(options, command):
            worker = start(options, PROGRAMS[command][program])
            worker.ask("open", folder=folder, name=pathlib.Path(folder).name)
            before = worker.ask("peak_memory")
            for _ in range(3):
                worker.ask(command, program=program)
            added = worker.ask("peak_memory") - before
            found[f"{command}, {program}"] = added / options.batch
            worker.close()
    return found


def table(result: Results, batch: int) -> str:
    """What a person reads about one network."""
    agreement = ", ".join(f"{key} {value:.1e}" for key, value in result["agreement"].items())
    lines = [f"  programs agree to: {agreement}"]
    heads = ("median s", "min s", "max s", "images/s", "MiB/image")
    lines.append("  {:24} {:>9} {:>8} {:>8} {:>9} {:>10}".format("", *heads))
    for command, found in result["seconds"].items():
        for program, seconds in found.items():
            median, name = statistics.median(seconds), f"{command}, {program}"
            spent = result.get("memory", {}).get(name)
            shown = f"{spent:10.1f}" if spent is not None else f"{'':10}"
            if name in result["temporaries"]:
                shown += f"  (temporaries {result['temporaries'][name]:.1f})"
            lines.append(
                f"  {name:24} {median:9.3f} {min(seconds):8.3f} {max(seconds):8.3f} "
                f"{batch / median:9.1f} {shown}"
            )
    return "\n".join(lines + verdicts(result["seconds"]))


def verdicts(seconds: dict[str, dict[str, list[float]]]) -> list[str]:
    """Ratios of the medians, and whether they are what was wanted."""
    lines = []
    for (command, slow, fast), wanted in WANTED.items():
        found = seconds[command]
        if slow in found:
            times = ratios(found[slow], found[fast])
            text = f"  {command}: {fast} is {times} times faster than {slow}"
            lines.append(text + _verdict(found[slow], found[fast], wanted, at_least=True))
    found = seconds["step"]
    text = f"  step: ours_second takes {ratios(found['ours_second'], found['ours'])} of ours"
    lines.append(text + _verdict(found["ours_second"], found["ours"], MOST, at_least=False))
    return lines


def _verdict(
    above: list[float], below: list[float], wanted: float | None, *, at_least: bool
) -> str:
    if wanted is None:
        return ""
    ratio = statistics.median(above) / statistics.median(below)
    reached = ratio >= wanted if at_least else ratio <= wanted
    limit = "at least" if at_least else "at most"
    return f" (wanted {limit} {wanted:g}: {'reached' if reached else 'not reached'})"


def main() -> None:
    """Measures and prints; see the file's docstring."""
    options = parse()
    who = ("ours", "peers") if options.peer_python else ("ours",)
    workers, results = {each: start(options, each) for each in who}, {}
    hello = {who: worker.ask("hello") for who, worker in workers.items()}
    print(f"{datetime.date.today()} {platform.machine()}, {cores()} cores, float32")
    print("\n".join(f"{who}: {facts}" for who, facts in hello.items()))
    for name in options.models:
        with tempfile.TemporaryDirectory() as parent:
            folder = pathlib.Path(parent) / name
            folder.mkdir()
            inputs.write_images(folder, options.batch)
            inputs.write_model(folder, name)
            for worker in workers.values():
                worker.ask("open", folder=str(folder), name=name)
            results[name] = measure(workers, options, str(folder))
        print(f"\n{name}, batch {options.batch}")
        print(table(results[name], options.batch), flush=True)
    for worker in workers.values():
        worker.close()
    if options.json:
        settings = {key: value for key, value in vars(options).items() if key != "json"}
        found = {"options": settings, "programs": hello, "results": results}
        options.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
