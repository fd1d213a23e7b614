"""Times a whole job, from photos on disk to the page, against the released loop, in turns.

  python benchmarks/whole_job.py --peer-python=path/to/python-with-torch

Ours is `rival_jax.main --config=rfs:clean`, a process of its own each time: it starts, compiles,
decodes, decides how many trials are enough, and writes rows, numbers, figures and the page. Of the
peer, `released` of `noise_sweep.py` with the study's ten trials, only the loop is timed: its photos
lie in memory, and it writes nothing.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import inputs
import numpy as np
from noise_sweep import ENVIRONMENT, HERE, LEVELS, ratios
from PIL import Image
from worker import Worker, cores

TRIALS = 10  # of the study


def main() -> None:
    """Prints seconds of both, and how many times faster ours is."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--peer-python", required=True, help="interpreter with torch")
    parser.add_argument("--model", default=inputs.MODELS[0], choices=inputs.MODELS)
    parser.add_argument("--images", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    found: dict[str, list[float]] = {"ours": [], "released": []}
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        inputs.write_images(folder, options.images)
        inputs.write_model(folder, options.model)
        write_photos(folder)
        peer = Worker(options.peer_python, HERE / "torch_peers.py", ["cpu"], ENVIRONMENT)
        sweep = {"levels": LEVELS, "trials": TRIALS, "dtype": "float32"}
        peer.ask("open", folder=name, name=options.model, **sweep)
        for repeat in range(options.repeats):
            found["ours"].append(ours(folder, folder / f"run{repeat}"))
            found["released"].append(peer.ask("run", program="released")["seconds"])
            print({program: f"{times[-1]:.1f}" for program, times in found.items()}, flush=True)
        peer.close()
    print(f"{options.model}, {options.images} photos, {cores()} cores")
    for program, times in found.items():
        print(f"{program}: least {min(times):.1f} s, median {statistics.median(times):.1f} s")
    print(f"ours is {ratios(found['released'], found['ours'])} times faster")


def write_photos(folder: pathlib.Path) -> None:
    """The images of `inputs.write_images` as JPEG and PNG files, as many of each class."""
    images, masks = (np.load(folder / f"{name}.npy") for name in ("images", "masks"))
    labels = np.arange(len(images), dtype=np.int32) % inputs.CLASSES
    np.save(folder / "labels.npy", labels)
    for number, label in enumerate(labels):
        for kind, pixels, suffix in (("images", images, "jpg"), ("masks", masks, "png")):
            path = folder / kind / f"class{label}" / f"{number:06}.{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels[number]).save(path, quality=95)


def ours(folder: pathlib.Path, workdir: pathlib.Path) -> float:
    """Seconds of the whole program."""
    flags = {
        "config": "rfs:clean",
        "workdir": workdir,
        "config.data.name": "masked_folder",
        "config.data.root": folder,
        "config.models": (str(folder),),
        "config.head": "own",
        "config.noise.norms": ("linf",),
    }
    command = [sys.executable, "-m", "rival_jax.main"]
    command += [f"--{key}={value}" for key, value in flags.items()]
    start = time.perf_counter()
    environment = {**os.environ, "PYTHONPATH": str(HERE.parent)}
    subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
