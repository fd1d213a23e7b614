"""Faults at random steps of a finetuning: told to stop, killed, run again; are the bits the same?

  python benchmarks/soak_training.py                                   10 faults of one process
  python benchmarks/soak_training.py --topologies=2x1 --faults=5       of two
  python benchmarks/soak_training.py --topologies=1x1,2x2,4x1 --faults=5   each on any of them
  python benchmarks/soak_training.py --topologies=1x1,1x8,2x2,4x1 --faults=0    side by side

A topology is processes x devices. A fault is SIGTERM or SIGKILL, in turns, to a random process of
the real command. On one topology the end must be that of an undisturbed run, bit for bit; on
several, to 1e-5.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from safetensors.numpy import load_file

ROOT = Path(__file__).resolve().parent.parent
FLAGS = (
    *("--config=configs/finetune.py", "--config.train.epochs=8", "--config.split.per_class=12"),
    *("--config.data.scenes.per_class=20", "--config.shifted.name="),
    *("--config.noise.sigmas=(0.2,)", "--config.noise.trials=1", "--config.evaluate.alphas=()"),
    *("--config.statistics.resamples=50", "--config.train.save_seconds=1"),
)
STEPS = 8 * 8  # of a training: 60 images in batches of 8
HEARTBEAT = 20  # seconds
NEAR = 1e-5
LOST, INTERRUPTED, KILLED = 76, 75, -9


def saved(folder: Path) -> int:
    """The step of the newest saved state; 0 where there is none, also when all are done."""
    states = folder.glob("training/*/state/*")
    return max((int(path.name) for path in states if path.name.isdigit()), default=0)


class Job:
    """The processes of one start of the command."""

    def __init__(self, folder: Path, variant: str, processes: int, devices: int):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{free.getsockname()[1]}"
        flags = f"--xla_force_host_platform_device_count={devices}"
        environment = {**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags}
        command = [sys.executable, "-m", "rival_jax.main", *FLAGS]
        command += [f"--config.variants=('{variant}',)", f"--workdir={folder}"]
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.processes = folder, []
        for place in range(processes):
            several = [f"--distributed={address}", f"--num_processes={processes}"]
            several += [f"--process_id={place}", f"--heartbeat={HEARTBEAT}"]
            with (folder / f"host{place}.txt").open("a") as log:
                self.processes.append(
                    subprocess.Popen(
                        [*command, *(several if processes > 1 else [])],
                        cwd=ROOT,
                        env=environment,
                        stdout=log,
                        stderr=subprocess.STDOUT,
                    )
                )

    def step(self) -> int:
        """See `saved`."""
        return saved(self.folder)

    def running(self) -> bool:
        return all(process.poll() is None for process in self.processes)

    def codes(self) -> list[int]:
        """Exit codes, awaited."""
        return [process.wait(timeout=600) for process in self.processes]

    def checked(self) -> None:
        codes = self.codes()
        if any(codes):
            texts = [path.read_text()[-2000:] for path in self.folder.glob("host*.txt")]
            raise SystemExit(f"exit codes {codes}\n" + "\n".join(texts))


def disturb(job: Job, number: signal.Signals, rng: np.random.Generator) -> str:
    """Waits for a random step and sends a signal; says what happened, "" if it came too late."""
    reached = job.step()
    target = int(rng.integers(reached + 1, STEPS))
    while job.running() and job.step() < target:
        if reached and not job.step():
            break  # the states are gone: trained to the end
        time.sleep(0.02)
    time.sleep(float(rng.uniform(0, 1.5)))  # so that it falls into a save, or between two
    if not job.running() or not job.step():
        return ""
    struck, place = job.step(), int(rng.integers(len(job.processes)))
    job.processes[place].send_signal(number)
    began = time.monotonic()
    codes = job.codes()
    expected = [INTERRUPTED] * len(codes)
    if number is signal.SIGKILL:
        expected = [KILLED if i == place else LOST for i in range(len(codes))]
    if codes != expected:
        raise SystemExit(f"{number.name} to process {place}: exit codes {codes}, not {expected}")
    took = time.monotonic() - began
    return (
        f"{number.name} to process {place} after state {struck} of {STEPS}: {codes}, {took:.1f} s"
    )


def kept(folder: Path) -> dict[str, str]:
    """Hashes of networks and rows."""
    files = [*folder.rglob("*.safetensors"), *folder.rglob("*.parquet")]
    return {
        str(path.relative_to(folder)): hashlib.blake2b(path.read_bytes()).hexdigest()
        for path in sorted(files)
    }


def gaps(first: Path, here: Path) -> dict[str, float]:
    """Largest differences: of weights, of the biases of attention keys, of held-out terms.

    Those of a term are shares of it where it exceeds 1. No attention depends on a bias of all keys;
    its gradient is rounding, of which Adam makes steps.
    """
    found = {"weights": 0.0, "key biases": 0.0, "held-out terms": 0.0}
    for file in first.rglob("*.safetensors"):
        a, b = (load_file(root / file.relative_to(first)) for root in (first, here))
        for name in a:
            gap = np.abs(a[name] - b[name])
            if name.endswith("qkv.bias"):
                query, key, value = gap.reshape(3, -1)
                found["key biases"] = max(found["key biases"], float(key.max()))
                gap = np.stack([query, value])
            found["weights"] = max(found["weights"], float(gap.max()))
    for file in first.rglob("training-*.parquet"):
        a, b = (pq.read_table(root / file.relative_to(first)) for root in (first, here))
        held_out = np.array(a["part"].to_pylist()) == "held_out"
        values, others = (table["value"].to_numpy()[held_out] for table in (a, b))
        gap = np.abs(values - others) / np.maximum(np.abs(values), 1)
        found["held-out terms"] = max(found["held-out terms"], float(gap.max()))
    return found


def compared(first: Path, here: Path, exactly: bool) -> str:
    """How the two differ, in words; raises SystemExit where they may not."""
    if kept(first).keys() != kept(here).keys():
        raise SystemExit(f"{here} has other files than {first}")
    if exactly:
        if kept(first) != kept(here):
            raise SystemExit(f"{here} differs from {first}")
        return f"the same bits in {len(kept(first))} files"
    found = gaps(first, here)
    if max(found["weights"], found["held-out terms"]) > NEAR:
        raise SystemExit(f"{here} differs from {first}: {found}")
    return "differ by " + ", ".join(f"{value:.1e} ({name})" for name, value in found.items())


def soak(
    base: Path, variant: str, topologies: list[tuple[int, int]], faults: int, seed: int
) -> None:
    """Undisturbed, then with faults; raises SystemExit where they differ."""
    began = time.monotonic()
    Job(base / "whole", variant, *topologies[0]).checked()
    print(f"undisturbed: {time.monotonic() - began:.0f} s", flush=True)
    rng, struck, rounds = np.random.default_rng(seed), 0, 0
    while struck < faults:
        folder = base / f"disturbed{rounds}"
        rounds += 1
        for _ in range(min(faults - struck, 1 + int(rng.integers(0, 5)))):
            if saved(folder) >= STEPS - 1:
                break
            number = (signal.SIGTERM, signal.SIGKILL)[struck % 2]
            processes, devices = topologies[int(rng.integers(len(topologies)))]
            job = Job(folder, variant, processes, devices)
            said = disturb(job, number, rng)
            if not said:
                job.codes()
                break
            struck += 1
            print(f"{struck}: {processes} x {devices}, {said}", flush=True)
        place = int(rng.integers(len(topologies)))
        Job(folder, variant, *topologies[place]).checked()
        print(f"run {rounds}: {compared(base / 'whole', folder, len(topologies) == 1)}", flush=True)


def side_by_side(base: Path, variant: str, topologies: list[tuple[int, int]]) -> None:
    """Every topology beside the first."""
    for processes, devices in topologies:
        name, began = f"{processes} x {devices}", time.monotonic()
        Job(base / name, variant, processes, devices).checked()
        first = "{} x {}".format(*topologies[0])
        said = compared(base / first, base / name, exactly=False)
        print(f"{name}: {said}; {time.monotonic() - began:.0f} s", flush=True)


def main() -> None:
    """As the arguments say."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--topologies", default="1x1", help="processes x devices: 1x1,2x2")
    parser.add_argument("--faults", type=int, default=10)
    parser.add_argument("--variant", default="robustvit", help="of config.variants")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    topologies = []
    for name in given.topologies.split(","):
        processes, _, devices = name.partition("x")
        topologies.append((int(processes), int(devices)))
    with tempfile.TemporaryDirectory() as folder:
        if given.faults:
            soak(Path(folder), given.variant, topologies, given.faults, given.seed)
        else:
            side_by_side(Path(folder), given.variant, topologies)


if __name__ == "__main__":
    main()
