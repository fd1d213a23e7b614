"""Where the time of one forward pass goes, by kind of operation and shape of its result.

  python benchmarks/profile_forward.py vit_tiny_patch16_224 --batch=8 --threads=1

Runs a randomly initialised network under jax's profiler and adds up, over the operations of the
compiled program, the shortest time each one took. On the CPU backend only.
"""

from __future__ import annotations

import argparse
import collections
import gzip
import json
import os
import pathlib
import re
import sys
import tempfile
from typing import Any

import inputs

sys.path.append(str(pathlib.Path(__file__).parent.parent))

OPERATION = re.compile(
    r"^\s*(?:ROOT )?%?([\w.\-]+) = (\S+?)(?:\{[^}]*\})? [\w\-]+\((?:.*calls=%?([\w.\-]+))?", re.M
)
"""An instruction of an optimised HLO module: name, shape of the result, what it calls."""
COMPUTATION = re.compile(r"^%?([\w.\-]+) \(.*?\{\n(.*?)^\}", re.M | re.S)
HEAVY = re.compile(r" (dot|convolution|reduce|reduce-window|erf|exponential)\(")

Row = tuple[float, int, str, str]
"""Milliseconds an image, number of operations, their kind, the shape of their result."""


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", choices=inputs.MODELS)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--runs", type=int, default=12)
    parser.add_argument("--threads", type=int, help="processors to use, default all")
    parser.add_argument("--rows", type=int, default=16)
    return parser.parse_args(arguments)


def profile(name: str, batch: int, runs: int) -> tuple[list[Row], float]:
    """Rows, the most expensive first, and the shortest wall time in ms an image."""
    import jax
    from worker import seconds

    from rival_jax import models

    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder)
        inputs.write_model(path, name)
        model, variables = models.load(folder)
        images = jax.random.uniform(jax.random.key(0), (batch, inputs.SIZE, inputs.SIZE, 3))
        forward = jax.jit(lambda v, x: model.forward(v, x, {})[0])
        program = forward.lower(variables, images).compile()
        run = lambda: program(variables, images).block_until_ready()  # noqa: E731
        run()
        with jax.profiler.trace(folder):
            wall = seconds(run, runs)
        (trace,) = path.glob("**/*.trace.json.gz")
        events = json.loads(gzip.decompress(trace.read_bytes()))["traceEvents"]
    return _by_kind(program.as_text(), events, batch), 1e3 * wall / batch


def _by_kind(program: str, events: list[dict[str, Any]], batch: int) -> list[Row]:
    times = collections.defaultdict(list)
    for event in events:
        if event.get("ph") == "X":
            times[event["name"].rpartition("/")[2]].append(event["dur"] / 1e3)
    bodies = dict(COMPUTATION.findall(program))
    groups: dict[tuple[str, str], list[float]] = collections.defaultdict(list)
    for name, shape, called in OPERATION.findall(program):
        if name in times:
            inside = collections.Counter(HEAVY.findall(bodies.get(called, "")))
            kind = " ".join(f"{n} {what}" for what, n in sorted(inside.items()))
            kind = f"{re.sub(r'[.0-9]+$', '', name)} {f'({kind})' if kind else ''}"
            groups[kind, shape].append(min(times[name]) / batch)
    return sorted(((sum(t), len(t), *key) for key, t in groups.items()), reverse=True)


def main() -> None:
    """Profiles and prints; see the file's docstring."""
    options = parse()
    if options.threads:
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: options.threads])
    rows, wall = profile(options.model, options.batch, options.runs)
    busy = sum(row[0] for row in rows)
    print(
        f"{options.model}, batch {options.batch}: {wall:.2f} ms an image, in operations {busy:.2f}"
    )
    for time, count, kind, shape in rows[: options.rows]:
        print(f"  {time:7.3f} ms {time / busy:6.1%} {count:4d} x {shape:24s} {kind}")


if __name__ == "__main__":
    main()
