"""How long config robustness takes for 50,000 photos' numbers, and photos a second beside timm's.

  python benchmarks/robustness.py results
  python benchmarks/robustness.py speed --photos=FOLDER --network=FOLDER \
      --peer-python=path/to/python-with-timm --validate=path/to/pytorch-image-models/validate.py

`results` invents what two networks say of 10,000 and of 50,000 photos, and times what comes after
the last forward pass: the last shard's rows, the table of results, the page; and the process's
largest memory. `speed` runs both programs, as users do, on `--count` copies of the photos
(CLASS/NAME, ImageNet's synsets) and on few of them: what the rest took is decoding, resizing and
the network. Their top-1 must agree.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import re
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rival_jax.report.results import Results

HERE = Path(__file__).resolve().parent
FEW = 64  # photos of the run that is taken off
WORKERS = (1, 4)  # of validate.py, of which the fastest counts; its default is 4


def main() -> None:
    """Reads the flags and runs what they name."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("what", choices=("results", "speed", "invented"))
    parser.add_argument("--photos", type=Path)
    parser.add_argument(
        "--network", type=Path, help="a timm folder: config.json, model.safetensors"
    )
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--peer-python")
    parser.add_argument("--validate", type=Path)
    options = parser.parse_args()
    if options.what == "invented":
        print(json.dumps(invented(options.count)))
    elif options.what == "results":
        for count in (10_000, 50_000):  # each in a process of its own, for its memory
            command = [sys.executable, __file__, "invented", f"--count={count}"]
            told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            found = json.loads(told.splitlines()[-1])
            rest = ", ".join(f"{name} {value:.1f}" for name, value in found.items())
            print(f"{count:,} photos x 2 networks: {rest}")
    else:
        speed(options)


def invented(count: int) -> dict[str, float]:
    """Seconds and CPU seconds after the last forward pass, and MiB of memory."""
    sys.path.insert(0, str(HERE.parent))
    import jax
    import numpy as np
    from rich.console import Console

    from rival_jax import models
    from rival_jax.configs import robustness as config_of
    from rival_jax.experiments import robustness, runner, streamed
    from rival_jax.models import vit
    from rival_jax.runtime import parallel
    from rival_jax.runtime.results import Run

    folder = Path(tempfile.mkdtemp())
    for seed in (0, 1):
        size = {"image_size": (16, 16), "num_classes": 1000, "patch_size": 8}
        model = vit.build(name=f"net{seed}", **size, width=16, depth=1, heads=2)
        models.save(folder / f"net{seed}", model, model.init(jax.random.key(seed)))
    config = config_of.get_config()
    config.sets = (f"benchmarks.robustness_source photos={count}",)
    config.models, config.batch_size = (str(folder / "net0"), str(folder / "net1")), 256
    last = [(0.0, 0.0)]

    def said(fn, variables, batches, mesh, *args, **more):  # in place of the forward passes
        index = np.concatenate([batch["index"] for batch in batches])
        index = index[index >= 0]
        rng = np.random.default_rng(len(index))
        logits = rng.normal(size=(len(index), 1000)).astype(np.float32)
        logits[np.arange(len(index)), index % 1000] += rng.normal(4, 1.5, len(index))
        last[0] = time.perf_counter(), time.process_time()
        return {"index": index, "logits": logits}

    parallel.map_examples = said
    streamed.parallel.map_examples = said
    run = Run(folder / "run", config.to_dict())
    run.log("start", argv=[])
    console = Console(file=io.StringIO())
    experiment: Any = robustness.Experiment(config, console)
    report, reported = experiment.report, [(0.0, 0.0)]

    def timed(*given):
        found = report(*given)
        reported[0] = time.perf_counter(), time.process_time()
        return found

    experiment.report = timed
    runner.run(experiment, run, console)
    end = time.perf_counter(), time.process_time()
    shutil.rmtree(folder)
    parts = {"rows and results": (last[0], reported[0]), "page": (reported[0], end)}
    kinds = {", s": 0, ", CPU s": 1}
    return {
        **{f"{p}{k}": b[i] - a[i] for p, (a, b) in parts.items() for k, i in kinds.items()},
        "memory, MiB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def speed(options: argparse.Namespace) -> None:
    """Photos a second of both, the median of some repeats in turn."""
    folder = Path(tempfile.mkdtemp())
    many, few = (copies(options.photos, folder / str(n), n) for n in (options.count, FEW))
    programs: dict[str, Callable[[Path], float]] = {
        "ours": lambda data: ours(options, data, folder)
    }
    for workers in WORKERS if options.peer_python else ():
        programs[f"validate.py, {workers} workers"] = lambda data, w=workers: theirs(
            options, data, folder, w
        )
    rates: dict[str, list[float]] = {name: [] for name in programs}
    for program in programs.values():  # disk, compiled programs
        program(few)
    for _ in range(options.repeats):
        for name, program in programs.items():
            seconds = [timed(program, data) for data in (few, many)]
            rates[name].append((options.count - FEW) / (seconds[1] - seconds[0]))
            print(f"{name}: {rates[name][-1]:.1f} photos/s", flush=True)
    middle = {name: statistics.median(some) for name, some in rates.items()}
    print(", ".join(f"{name} {rate:.1f} photos/s" for name, rate in middle.items()))
    print("top-1, percent: " + ", ".join(f"{name} {top:.2f}" for name, top in TOP_1.items()))
    peers = [rate for name, rate in middle.items() if name != "ours"]
    if peers:
        print(f"ours is {middle['ours'] / max(peers):.2f} times as fast as the fastest validate.py")
    shutil.rmtree(folder)


TOP_1: dict[str, float] = {}  # of each program, at its last run


def copies(photos: Path, folder: Path, count: int) -> Path:
    """So many files, in turn, from CLASS/NAME."""
    files = sorted(path for path in photos.glob("*/*") if path.is_file())
    for number in range(count):
        file = files[number % len(files)]
        (folder / file.parent.name).mkdir(parents=True, exist_ok=True)
        shutil.copy(file, folder / file.parent.name / f"{number:06d}{file.suffix}")
    return folder


def timed(program: Callable[[Path], float], data: Path) -> float:
    """Seconds that a program takes for some photos."""
    start = time.perf_counter()
    program(data)
    return time.perf_counter() - start


def ours(options: argparse.Namespace, data: Path, folder: Path) -> float:
    """Our whole program, on a fresh work directory."""
    shutil.rmtree(folder / "run", ignore_errors=True)
    command = [sys.executable, "-m", "rival_jax.main", "--config=robustness"]
    command += [f"--workdir={folder / 'run'}", f"--config.models=('{options.network}',)"]
    command += [f"--config.sets=('image_folder={data} as=photos',)"]
    environment = {**os.environ, "RIVAL_JAX_CACHE": str(folder / "cache")}
    subprocess.run(command, check=True, capture_output=True, env=environment, cwd=HERE.parent)
    level = Results.read(folder / "run").where(measure="accuracy", average="micro")
    TOP_1["ours"] = 100 * level.one(protocol="full", **{"class": None})["estimate"]
    return TOP_1["ours"]


def theirs(options: argparse.Namespace, data: Path, folder: Path, workers: int) -> float:
    """timm's script on the same photos and weights, input as the network's own."""
    wnids = (HERE.parent / "rival_jax/assets/imagenet_wnids.txt").read_text().split()
    (folder / "classes.txt").write_text("\n".join(wnids))
    name = json.loads((options.network / "config.json").read_text())["architecture"]
    tag = options.network.name
    command = [options.peer_python, str(options.validate), f"--data-dir={data}", "--device=cpu"]
    command += [f"--model={tag if tag.startswith(name) else name}", f"--workers={workers}"]
    command += [f"--checkpoint={options.network / 'model.safetensors'}", "--batch-size=64"]
    command += [f"--class-map={folder / 'classes.txt'}", "--results-file="]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    found = re.findall(r"Acc@1 ([\d.]+)", done.stderr + done.stdout)
    TOP_1["validate.py"] = float(found[-1])
    return TOP_1["validate.py"]


if __name__ == "__main__":
    main()
