"""SIGINT and SIGTERM at random moments of every experiment: do rows end with the same bytes?

  python -m benchmarks.interrupts --faults=100

Commands on bundled data, a minute or less each, are told to stop at a random moment after they have
begun, and started again until they are done. Each time: the exit code is 75 (or 0, where the signal
came too late), within 30 seconds, without a traceback; at the end all rows have the bytes of an
undisturbed run.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SMALL = ("--config.data.scenes.per_class=2", "--config.models=('scenes/resnet_00',)")
NOISE = ("--config.noise.sigmas=(0.3,)", "--config.noise.trials=1")
DRAWN = ("--config.statistics.resamples=50",)
EXPERIMENTS = {
    "rfs": (*SMALL, "--config.noise.sigmas=(0.1,0.3)", "--config.noise.trials=1", *DRAWN),
    "background": (*SMALL, *DRAWN),
    "saliency": (*SMALL, "--config.saliency.methods=('gradcam','input_gradient')", *DRAWN),
    "attributes": (*SMALL, *DRAWN),
    "neurons": ("--config.models=('scenes/resnet_00',)", "--config.neurons.shuffled=1"),
    "linear_probe": SMALL,
    "finetune": (
        *("--config.train.epochs=3", "--config.split.per_class=4", "--config.shifted.name="),
        *("--config.data.scenes.per_class=8", "--config.variants=('energy',)"),
        *("--config.evaluate.alphas=()", "--config.train.save_seconds=1", *NOISE, *DRAWN),
    ),
    "tokencut": ("--config.data.scenes.per_class=2", *DRAWN),
}
WITHIN = 30  # seconds
BAD = ("Traceback", "Segmentation", "Fatal Python error", "core dumped", "Exception ignored")


def main() -> None:
    """Runs all, prints what happened; exit code 1 if something did that must not."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--faults", type=int, default=100, help="of all experiments together")
    parser.add_argument("--only", default="", help="experiments, with commas between")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    names = given.only.split(",") if given.only else list(EXPERIMENTS)
    rng, ends, bad = random.Random(given.seed), Counter(), 0
    with tempfile.TemporaryDirectory() as folder:
        for place, name in enumerate(names):
            share = given.faults * (place + 1) // len(names) - given.faults * place // len(names)
            bad += disturbed(Path(folder), name, share, rng, ends)
    print(f"{sum(ends.values())} interrupts: {dict(ends)}; {bad} faults", flush=True)
    sys.exit(bool(bad))


def disturbed(root: Path, name: str, count: int, rng: random.Random, ends: Counter) -> int:
    """Interrupts one experiment so many times; returns what went wrong."""
    calm, began, bad, struck = root / name / "calm", time.monotonic(), 0, 0
    longest = 0.0
    process = start(name, calm, root / name)
    begun(calm, process)
    ready = time.monotonic()
    assert process.wait(1200) == 0, text(root / name)
    whole = time.monotonic() - ready
    print(f"{name}: undisturbed {time.monotonic() - began:.0f} s", flush=True)
    while struck < count:
        folder = root / name / "struck"
        shutil.rmtree(folder, ignore_errors=True)
        code = 75
        while code == 75:
            process = start(name, folder, root / name)
            begun(folder, process)
            number, patience = rng.choice((signal.SIGINT, signal.SIGTERM)), 1200
            if struck < count:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(rng.uniform(0, whole))
                if process.poll() is None:  # else it was too fast, and this is no interrupt
                    process.send_signal(number)
                    struck, patience = struck + 1, WITHIN
            told = time.monotonic()
            code = ended(process, patience)
            took = time.monotonic() - told
            shown = text(root / name)
            wrong = [word for word in BAD if word in shown]
            if code not in (0, 75) or wrong:
                bad += 1
                print(f"{name} {number.name}: code {code}, {took:.0f} s, {wrong}\n{shown[-3000:]}")
            ends[f"code {code}"] += patience == WITHIN
            longest = max(longest, took if patience == WITHIN else 0)
        if code == 0 and rows(folder) != rows(calm):
            bad += 1
            print(f"{name}: rows differ from those of an undisturbed run", flush=True)
        said = f"{struck} interrupts, the longest took {longest:.0f} s, {bad} faults"
        print(f"{name}: {said}", flush=True)
    return bad


def start(name: str, workdir: Path, logs: Path) -> subprocess.Popen:
    """The command, its words in `logs`; heads and features are made anew, in a cache beside it."""
    logs.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "rival_jax.main", f"--config=configs/{name}.py"]
    cache = os.environ.get("RIVAL_JAX_CACHE", str(logs / "cache"))
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "RIVAL_JAX_CACHE": cache}
    with (logs / "out.txt").open("w") as out:
        return subprocess.Popen(
            [*command, f"--workdir={workdir}", *EXPERIMENTS[name]],
            cwd=ROOT,
            env=environment,
            stdout=out,
            stderr=subprocess.STDOUT,
        )


def begun(workdir: Path, process: subprocess.Popen) -> None:
    """Returns when this call of the command has written into its log, or is over."""
    log = workdir / "log.jsonl"
    before = log.stat().st_size if log.exists() else 0
    while process.poll() is None and (not log.exists() or log.stat().st_size == before):
        time.sleep(0.02)


def ended(process: subprocess.Popen, within: float) -> int:
    """The exit code; of one that does not end, that of SIGKILL."""
    try:
        return process.wait(within)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def text(logs: Path) -> str:
    """What the last command printed."""
    return (logs / "out.txt").read_text(errors="replace")


def rows(workdir: Path) -> dict[str, bytes]:
    """All rows of a run, byte by byte."""
    files = sorted((workdir / "rows").rglob("[!.]*.parquet"))
    return {file.relative_to(workdir).as_posix(): file.read_bytes() for file in files}


if __name__ == "__main__":
    main()
