"""Weak scaling of rfs over fake CPU devices: the same work for each device, on the same cores.

python -m benchmarks.weak_scaling             1, 2, 4, 8 devices of one process; then processes

Fake devices share the machine's cores: no speed-up can be seen here, and none is claimed. What can
be seen is what sharding costs: forwards per second of the whole machine should stay the same.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.helpers import draw_study, save_tiny_vit
from tests.multihost import finish, launch, printed

TOPOLOGIES = ((1, 1), (1, 2), (1, 4), (1, 8), (2, 1), (2, 2), (4, 1))


def main() -> None:
    """Runs every topology, one after the other, and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=30, help="of each device")
    parser.add_argument("--trials", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    found: dict[tuple[int, int], list[dict]] = {topology: [] for topology in TOPOLOGIES}
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        save_tiny_vit(root / "tiny", size=32)
        for devices in {processes * each for processes, each in TOPOLOGIES}:
            draw_study(root / f"data{devices}", per_class=options.images * devices // 3, size=32)
        for _ in range(options.rounds):
            for topology in TOPOLOGIES:
                found[topology].append(measured(root, topology, options.trials))
    print("processes  devices of each  forwards/s of the machine (median, range)  seconds in all")
    for (processes, each), laps in found.items():
        rates = sorted(lap["rate"] for lap in laps)
        seconds = sorted(lap["seconds"] for lap in laps)
        print(
            f"{processes:9d}  {each:15d}  {statistics.median(rates):15,.0f}  "
            f"({rates[0]:,.0f} to {rates[-1]:,.0f})  {statistics.median(seconds):20.1f}"
        )


def measured(root: Path, topology: tuple[int, int], trials: int) -> dict[str, float]:
    """Forwards per second of the second and later noise levels, when all is compiled."""
    devices = topology[0] * topology[1]
    workdir = Path(tempfile.mkdtemp(dir=root))
    flags = {
        "config": "configs/rfs.py",
        "workdir": workdir,
        "config.models": f"('{root / 'tiny'}',)",
        "config.data.name": "masked_folder",
        "config.data.root": root / f"data{devices}",
        "config.batch_size": 10 * devices,
        "config.noise.trials": trials,
        "config.statistics.resamples": 50,
    }
    command = ["-m", "rival_jax.main", *(f"--{name}={value}" for name, value in flags.items())]
    started = time.monotonic()
    codes = finish(launch(*topology, command, workdir / "logs"), 1800)
    assert set(codes) == {0}, printed(workdir / "logs")
    lines = [json.loads(line) for line in (workdir / "log.jsonl").read_text().splitlines()]
    laps = [line for line in lines if line["event"] == "unit"][2:]
    rate = sum(lap["forwards_per_second_and_device"] * lap["seconds"] for lap in laps)
    rate *= devices / sum(lap["seconds"] for lap in laps)
    return {"rate": rate, "seconds": time.monotonic() - started}


if __name__ == "__main__":
    main()
