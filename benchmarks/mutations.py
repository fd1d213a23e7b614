"""Do the tests see wrong code? Small faults are put into a copy of the package, one at a time.

  python -m benchmarks.mutations

Signs, axes, off by one, swapped regions, missing clips: each has to make one of its tests fail. It
takes some minutes; what survives is printed, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent


class Mutation(NamedTuple):
    """One fault: in a file of the package, a text that is there once, and what replaces it."""

    file: str
    right: str
    wrong: str
    tests: str  # files that have to notice, with blanks between


MUTATIONS = {
    # statistics
    "a resample of n images, not n - 1": Mutation(
        "blocks.py",
        "made(c), sizes[c], sizes[c] - 1)",
        "made(c), sizes[c], sizes[c])",
        "statistics",
    ),
    "the jackknife's sign": Mutation(
        "strata.py",
        "(len(values) - 1) * (values.mean(0) - values)",
        "(len(values) - 1) * (values - values.mean(0))",
        "statistics",
    ),
    "weights of classes from one side alone": Mutation(
        "strata.py", "share * (chosen - self.means)", "share * (chosen + self.means)", "statistics"
    ),
    "one image's share too small": Mutation(
        "significance.py",
        "(change + mine) / len(change)",
        "(change - mine) / len(change)",
        "significance",
    ),
    "an image's share taken for its difference": Mutation(
        "significance.py", "largest * strata.count > NOTHING", "largest > NOTHING", "significance"
    ),
    "one-sided tests": Mutation(
        "significance.py",
        "(np.abs(signs @ shares)",
        "((signs @ shares)",
        "significance",
    ),
    "a test that five images can pass": Mutation(
        "significance.py", "2.0 ** (1 - images)", "2.0 ** (-images)", "significance"
    ),
    "Holm without its running maximum": Mutation(
        "significance.py", "np.maximum.accumulate(", "np.asarray(", "significance"
    ),
    # named arrays and studies
    "earlier minus later": Mutation(
        "named.py", "return later - earlier", "return earlier - later", "named study"
    ),
    "means over places without images": Mutation(
        "named.py",
        'images if by == "images" else images > 0',
        'images if by == "images" else images >= 0',
        "named study",
    ),
    "at the wrong place": Mutation(
        "named.py", "if key[column] in several]", "if key[column] not in several]", "named study"
    ),
    "counts of the largest, not the least": Mutation(
        "named.py", '("min",) * 4', '("max",) * 4', "named study"
    ),
    "images of one class for those of another": Mutation(
        "class_means.py",
        "share[self.place[rows]]",
        "share[::-1][self.place[rows]]",
        "study",
    ),
    "intervals where one image is all that is known": Mutation(
        "report/study.py", "counts.largest[place] < 2", "counts.largest[place] < 1", "study"
    ),
    "holes that are not seen": Mutation(
        "report/study.py", '"whole": not self.sparse', '"whole": self.sparse', "study"
    ),
    # the runner and its rows
    "units that are there are computed again": Mutation(
        "experiments/runner.py",
        "bench.computed += run.rows(",
        "bench.computed += 1 + run.rows(",
        "examples",
    ),
    "progress in images, not in forwards": Mutation(
        "experiments/runner.py", "on_batch(images * self.each)", "on_batch(images)", "rfs"
    ),
    "the least likely class as the prediction": Mutation(
        "metrics.py",
        "predicted = jnp.argmax(logits, axis=1)",
        "predicted = jnp.argmin(logits, axis=1)",
        "background clean_accuracy",
    ),
    "a NaN that passes": Mutation(
        "runtime/finite.py", "if bad.any():", "if bad.all() and not bad.any():", "knn rfs"
    ),
    # measures
    "RFS with its regions swapped": Mutation(
        "metrics.py",
        "(acc_bg - acc_fg) / library.where(room > 0, room, 1)",
        "(acc_fg - acc_bg) / library.where(room > 0, room, 1)",
        "metrics",
    ),
    "noise in the other region": Mutation(
        "noise.py",
        '"foreground": mask, "background": 1 - mask',
        '"foreground": 1 - mask, "background": mask',
        "noise",
    ),
    "noise that is not clipped": Mutation("noise.py", "* delta, 0, 1)", "* delta, -9, 9)", "noise"),
    # data
    "padding with the second image": Mutation(
        "data/pixels.py",
        "out[len(pictures) :] = out[0]",
        "out[len(pictures) :] = out[-1]",
        "data_examples",
    ),
    "labels that are off by one place": Mutation(
        "data/pixels.py", "label=labels[taken],", "label=labels[taken - 1],", "data_examples"
    ),
    "pixels over 256": Mutation(
        "data/pixels.py", "np.divide(picture, 255,", "np.divide(picture, 256,", "data_examples"
    ),
    # objectives
    "the background loss on the object": Mutation(
        "losses.py",
        "jnp.square(relevance * regions(mask, border)[1])",
        "jnp.square(relevance * regions(mask, border)[0])",
        "losses",
    ),
    "the foreground loss without its target": Mutation(
        "losses.py", "relevance * foreground - wanted", "relevance * foreground", "losses"
    ),
    "energy on the object as a loss": Mutation(
        "losses.py",
        "return 1 - jnp.where(mass > 0, on_object",
        "return jnp.where(mass > 0, on_object",
        "losses",
    ),
    "a temperature that multiplies": Mutation(
        "losses.py",
        "log_probability = jax.nn.log_softmax(logits / temperature)",
        "log_probability = jax.nn.log_softmax(logits * temperature)",
        "losses objectives",
    ),
    "the classification term left out": Mutation(
        "objectives/energy.py", "+ classification_weight * classification", "", "objectives"
    ),
}


def main() -> None:
    """Runs all, prints a line for each; exit code 1 if one survives."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="faults that have this in their names")
    given = parser.parse_args()
    chosen = {name: one for name, one in MUTATIONS.items() if given.only in name}
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "copy"
        ignored = shutil.ignore_patterns(".*", "runs", "*.egg-info", "__pycache__")
        shutil.copytree(ROOT, copy, ignore=ignored)
        survived = [name for name, one in chosen.items() if not killed(copy, name, one)]
    print(f"{len(chosen)} faults, {len(survived)} survived: {'; '.join(survived) or 'none'}")
    sys.exit(bool(survived))


def killed(copy: Path, name: str, one: Mutation) -> bool:
    """Whether a test fails in the copy with this fault, which is taken out again."""
    file = copy / "rival_jax" / one.file
    text = file.read_text(encoding="utf-8")
    if text.count(one.right) != 1:
        raise ValueError(f"{name}: {one.file} has {one.right!r} {text.count(one.right)} times")
    file.write_text(text.replace(one.right, one.wrong), encoding="utf-8")
    started, tests = time.monotonic(), [f"tests/test_{test}.py" for test in one.tests.split()]
    words = ["-q", "-x", "-n", "0", "-p", "no:cacheprovider", "--no-header", *tests]
    shared = os.environ.get("RIVAL_JAX_SHARED") or str(ROOT.parent / "shared")
    environment = {**os.environ, "PYTHONPATH": str(copy), "RIVAL_JAX_SHARED": shared}
    command = [sys.executable, "-m", "pytest", *words]
    ended = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True)
    file.write_text(text, encoding="utf-8")
    failed = [line for line in ended.stdout.splitlines() if line.startswith("FAILED")]
    by = failed[0].split(" - ")[0].removeprefix("FAILED ") if failed else "NONE"
    print(f"{name} ({one.file}): {by}, {time.monotonic() - started:.0f} s", flush=True)
    return ended.returncode == 1 and bool(failed)


if __name__ == "__main__":
    main()
