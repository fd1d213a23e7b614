"""Faults at random steps of a finetuning: told to stop, killed, run again; are the bits the same?

  python benchmarks/soak_training.py                          10 faults of one process
  python benchmarks/soak_training.py --processes=2 --faults=5
  python benchmarks/soak_training.py --topologies=1x1,1x8,2x2,4x1

A fault is SIGTERM or SIGKILL, in turns, to a random process of the real command. With topologies
(processes x devices) there are no faults: each trains undisturbed, and is compared with the first.
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

ROOT = Path(__file__).resolve().parent.parent
FLAGS = (
    *("--config=configs/finetune.py", "--config.train.epochs=8", "--config.split.per_class=12"),
    *("--config.data.scenes.per_class=20", "--config.shifted.scenes.per_class=5"),
    *("--config.noise.sigmas=(0.2,)", "--config.noise.trials=1", "--config.evaluate.alphas=()"),
    *("--config.statistics.resamples=50", "--config.train.save_seconds=1"),
)
STEPS = 8 * 8  # of a training: 60 images in batches of 8
HEARTBEAT = 10  # seconds
LOST, INTERRUPTED, KILLED = 76, 75, -9


class Job:
    """The processes of one start of the command."""

    def __init__(self, folder: Path, processes: int, devices: int):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{free.getsockname()[1]}"
        flags = f"--xla_force_host_platform_device_count={devices}"
        environment = {**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags}
        command = [sys.executable, "-m", "rival_jax.main", *FLAGS, f"--workdir={folder}"]
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
        """Of the newest saved state; past all of them when there is none after some were."""
        states = self.folder.glob("training/*/state/*")
        return max((int(path.name) for path in states if path.name.isdigit()), default=0)

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
    target = int(rng.integers(reached, STEPS))
    while job.running() and job.step() < target:
        if target > 0 and not job.step() and reached:
            break  # states are gone: trained to the end
        time.sleep(0.02)
    time.sleep(float(rng.uniform(0, 1.5)))  # so that it falls into a save, or between two
    if not job.running() or (not job.step() and target):
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


def soak(base: Path, processes: int, devices: int, faults: int, seed: int) -> None:
    """Undisturbed, then with faults; raises SystemExit where they differ."""
    began = time.monotonic()
    Job(base / "whole", processes, devices).checked()
    whole = kept(base / "whole")
    print(f"undisturbed: {len(whole)} files, {time.monotonic() - began:.0f} s", flush=True)
    rng, struck, rounds = np.random.default_rng(seed), 0, 0
    while struck < faults:
        folder = base / f"disturbed{rounds}"
        rounds += 1
        here = min(faults - struck, 1 + int(rng.integers(0, 4)))
        for _ in range(here):
            number = (signal.SIGTERM, signal.SIGKILL)[struck % 2]
            job = Job(folder, processes, devices)
            said = disturb(job, number, rng)
            if not said:
                job.codes()
                break
            struck += 1
            print(f"{struck}: {said}", flush=True)
        Job(folder, processes, devices).checked()
        if kept(folder) != whole:
            raise SystemExit(f"{folder} differs from {base / 'whole'}")
        print(f"round {rounds}: the same bits in {len(whole)} files", flush=True)


def compare(base: Path, topologies: list[str]) -> None:
    """Networks and held-out losses of every topology beside those of the first."""
    from rival_jax.weights.safetensors import read_tensors

    for name in topologies:
        processes, devices = map(int, name.split("x"))
        began = time.monotonic()
        Job(base / name, processes, devices).checked()
        first, here = base / topologies[0], base / name
        networks = losses = 0.0
        for file in first.rglob("*.safetensors"):
            a, b = (read_tensors(root / file.relative_to(first)) for root in (first, here))
            networks = max(networks, *(float(np.abs(a[key] - b[key]).max()) for key in a))
        for file in first.rglob("training-*.parquet"):
            a, b = (pq.read_table(root / file.relative_to(first)) for root in (first, here))
            held_out = np.array(a["part"].to_pylist()) == "held_out"
            gaps = np.abs(a["value"].to_numpy() - b["value"].to_numpy())[held_out]
            losses = max(losses, float(gaps.max()))
        print(
            f"{name}: weights differ by {networks:.1e}, held-out terms by {losses:.1e}; "
            f"{time.monotonic() - began:.0f} s",
            flush=True,
        )


def main() -> None:
    """As the arguments say."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--devices", type=int, default=1, help="of each process")
    parser.add_argument("--faults", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--topologies", default="", help="1x1,2x2: processes x devices")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if given.topologies:
            compare(Path(folder), given.topologies.split(","))
        else:
            soak(Path(folder), given.processes, given.devices, given.faults, given.seed)


if __name__ == "__main__":
    main()
