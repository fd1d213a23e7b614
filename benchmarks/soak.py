"""A run that is hit by faults until it is done, against one that is left alone.

python -m benchmarks.soak --faults=20          rfs, on CPU processes of this machine, some minutes

Processes get SIGTERM or SIGKILL at random times; then the same command is started anew with another
number of processes and devices. At the end every row must be there once, as in the undisturbed run,
and no finished unit may have been computed twice.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from rival_jax.runtime.results import read_rows
from tests.multihost import finish, launch, printed, rfs_command

TOPOLOGIES = ((2, 1), (2, 2), (1, 4), (3, 1), (1, 1), (2, 4))
AGAIN = {75, 76, -signal.SIGKILL, -signal.SIGTERM}  # exit codes after which one starts again


def main() -> None:
    """Runs both, compares them, prints what happened."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--faults", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--levels", type=int, default=40)
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--within", type=float, default=20, help="seconds until a fault, at most")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        command = rfs_command(root, options.levels, options.trials)
        started = time.monotonic()
        codes = finish(
            launch(1, 1, [*command, f"--workdir={root / 'calm'}"], root / "calm_logs"), 3600
        )
        assert codes == [0], printed(root / "calm_logs")
        print(f"undisturbed: {time.monotonic() - started:.0f} s")
        struck(root, command, options.faults, options.within, random.Random(options.seed))
        compare(root / "calm", root / "struck")


def struck(root: Path, command: list[str], faults: int, within: float, rng: random.Random) -> None:
    """Runs the command to its end through so many faults."""
    command, logs, done = [*command, f"--workdir={root / 'struck'}"], root / "logs", 0
    for life in range(10 * faults):
        topology = TOPOLOGIES[0] if life == 0 else rng.choice(TOPOLOGIES)
        processes = launch(*topology, command, logs / str(life), RIVAL_JAX_CACHE=str(root / "jit"))
        begun = time.monotonic()
        told = ""
        if done < faults:
            if rng.random() < 0.75:  # else while they start, most of the time
                wait_for_start(root / "struck", processes)
            time.sleep(rng.uniform(0, within))
            victim = rng.randrange(len(processes))
            number = rng.choice((signal.SIGTERM, signal.SIGKILL))
            if processes[victim].poll() is None:
                processes[victim].send_signal(number)
                told, done = (
                    f"{number.name} to {victim} after {time.monotonic() - begun:.0f} s",
                    done + 1,
                )
        hit = time.monotonic()
        codes = finish(processes, 600)
        print(
            f"{life:3d}: {topology[0]} x {topology[1]}: {told or 'left alone'}; exit codes {codes}"
            f" {time.monotonic() - hit:.0f} s later; {units(root / 'struck')} units",
            flush=True,
        )
        if set(codes) == {0}:
            assert done == faults, f"the run was done after {done} faults: pass more --levels"
            return
        assert set(codes) <= AGAIN | {0}, printed(logs / str(life))
    raise AssertionError("the run does not come to its end")


def wait_for_start(workdir: Path, processes: list, seconds: float = 120) -> None:
    """Returns when the run has begun, or ended."""
    log = workdir / "log.jsonl"
    before, end = log.stat().st_size if log.exists() else 0, time.monotonic() + seconds
    while not log.exists() or log.stat().st_size == before:
        if time.monotonic() > end or any(process.poll() is not None for process in processes):
            return
        time.sleep(0.05)


def units(workdir: Path) -> int:
    """How many units are finished."""
    return len([*(workdir / "rows").rglob("[!.]*.parquet")])


def compare(calm: Path, hit: Path) -> None:
    """Raises AssertionError unless both hold the same rows, each once."""
    keys = ("norm", "level", "region", "example", "trial")
    order = [(key, "ascending") for key in keys]
    want, got = (read_rows(path / "rows").sort_by(order) for path in (calm, hit))
    for key in (*keys, "model", "dataset", "label", "correct"):
        assert got[key].to_pylist() == want[key].to_pylist(), key
    gap = np.abs(got["probability"].to_numpy() - want["probability"].to_numpy()).max()
    assert gap <= 1e-5, gap
    left = [str(path) for path in hit.rglob(".pa*")]
    assert not left, left
    lines = [json.loads(line) for line in (hit / "log.jsonl").read_text().splitlines()]
    twice = Counter(line["unit"] for line in lines if line["event"] == "unit")
    assert max(twice.values()) == 1, twice.most_common(3)
    print(
        f"{got.num_rows:,} rows, each once; largest difference of a probability {gap:.1e}; "
        f"{len(twice)} units, none computed twice once it was finished"
    )


if __name__ == "__main__":
    main()
