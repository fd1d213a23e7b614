"""How many trials of noise are enough, and whether intervals cover where rows decide it.

    python -m benchmarks.noise_draws --workdir=runs/draws -- --config.noise.norms="('linf','l2')"
    python -m benchmarks.noise_draws

The first runs `configs/rfs.py`, with the flags after `--`, twice with `--trials` trials: with draws
that all levels share, and with those of each level. From the rows of each network and norm it
prints RFS of the means over levels; its variance over trials, shared over by level; its standard
error with 2, 3 and 10 trials by level over that with ten shared ones; and how many trials "auto"
takes at each level, the forward passes for these over those of ten, and the same standard error;
and both in the mean over random orders of the trials.

Then it takes studies from the images and trials of the rows by level, as the second does from a
model of a study, and prints how often 95 % intervals cover, and their mean width: with trials
until they are enough, with two, with the most that "auto" takes, and with ten. In the model images
are drawn anew for every study. From rows, images are drawn with replacement within classes, and
trials without; the truth is what all of them give.
"""

from __future__ import annotations

import argparse
import pathlib
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from scipy import special

from rival_jax import metrics, statistics, trials
from rival_jax.configs.rfs import FEWEST, Noise
from rival_jax.experiments.rfs.measures import SIDES
from rival_jax.runtime.results import parsed
from rival_jax.runtime.row_arrays import read_images

LEVELS = np.linspace(0, 2.4, 7)  # what noise takes from an image's log odds
ORDERS = 40
DESIGNS = {"30 images": 3, "100 images": 10, "500 images": 50}  # of each of ten classes
EASE = {"middle": 0.0, "high": 1.5}  # log odds added to all images
MOST, BOUND = Noise().most_trials, Noise().widening
TEN = 10  # trials, of the study that measured RFS first
RULES = {"auto": None} | {f"{count} trials": count for count in (FEWEST, MOST, TEN)}
Draw = Callable[[np.random.Generator], np.ndarray]
"""One study's answers, right or wrong [2, n, levels, trials], under noise on either side."""
Studies = tuple[Draw, np.ndarray, float]  # how one is drawn, its labels, and the truth


def first(right: np.ndarray, counts: np.ndarray) -> list[np.ndarray]:
    """The first trials at each level of a study [2, n, levels, trials], so many of each."""
    return [right[:, :, level, :count] * 1.0 for level, count in enumerate(counts)]


def enough(right: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The numbers of trials that "auto" takes at the levels of a study [2, n, levels, trials]."""
    counts, most = np.full(right.shape[2], FEWEST), min(MOST, right.shape[3])
    while (counts < most).any():
        found = trials.spread(first(right, counts), labels)
        if found.widening(MOST) <= BOUND:
            break
        counts[found.neediest(most)] += 1
    return counts


def coverage(studies: Studies, count: int, resamples: int) -> dict[str, tuple[float, float, float]]:
    """Share of intervals that cover, their mean width, and the mean number of trials, by rule."""
    (draw, labels, truth), found = studies, {}
    every = [draw(np.random.default_rng([seed, len(labels)])) for seed in range(count)]
    for rule, fixed in RULES.items():
        counts = [
            np.full(right.shape[2], fixed) if fixed else enough(right, labels) for right in every
        ]
        means = [
            np.mean([one.mean(2) for one in first(right, some)], 0)
            for right, some in zip(every, counts, strict=True)
        ]
        interval = statistics.bootstrap(
            lambda m: metrics.rfs(*m.mean(0)), np.stack(means, -1).swapaxes(0, 1), labels,
            resamples=resamples,
        )  # fmt: skip
        covers = (interval.low <= truth) & (truth <= interval.high)
        width = (interval.high - interval.low).mean()
        found[rule] = float(covers.mean()), float(width), float(np.mean(counts))
    return found


def rfs_of(right: np.ndarray, labels: np.ndarray) -> float:
    """RFS of [2, n, ...], with classes that weigh the same."""
    each = right.reshape(2, right.shape[1], -1).mean(2)
    fg, bg = np.mean([each[:, labels == label].mean(1) for label in np.unique(labels)], 0)
    return float(metrics.rfs(jnp.float32(fg), jnp.float32(bg)))


def modelled(ease: float, rng: np.random.Generator, labels: np.ndarray) -> np.ndarray:
    """Probabilities [2, n, levels] of new images: some are harder than others, some lean on one."""
    easy = np.linspace(-0.8, 0.8, 10)[labels] + ease + 1.4 * rng.standard_normal(len(labels))
    sides = 0.7 * rng.standard_normal((2, len(labels))) + np.array([[1.2], [1.5]])
    odds = (easy + sides)[..., None] - np.array([1.0, 0.7])[:, None, None] * LEVELS
    return special.expit(1.5 * odds)


def model(ease: float, each: int) -> Studies:
    """Studies of so many images of each class."""
    labels, all_labels = (np.repeat(np.arange(10), size) for size in (each, 20_000))
    truth = rfs_of(modelled(ease, np.random.default_rng(99), all_labels), all_labels)

    def draw(rng: np.random.Generator) -> np.ndarray:
        chance = modelled(ease, rng, labels)[..., None]
        return rng.random((*chance.shape[:3], TEN)) < chance

    return draw, labels, truth


def recorded(right: np.ndarray, labels: np.ndarray) -> Studies:
    """Studies from what networks did on images [2, n, levels, trials]."""
    members = [np.flatnonzero(labels == label) for label in labels]

    def draw(rng: np.random.Generator) -> np.ndarray:
        some = right[:, [rng.choice(one) for one in members]]
        order = rng.permuted(np.tile(np.arange(right.shape[3]), (*right.shape[1:3], 1)), axis=2)
        return np.take_along_axis(some, order[None], 3)[..., :TEN]

    return draw, labels, rfs_of(right, labels)


def show(name: str, studies: Studies, options: Any) -> None:
    """A line of coverage."""
    found, truth = coverage(studies, options.studies, options.resamples), studies[2]
    lines = [
        f"{rule}: {100 * covers:.1f} %, width {width:.3f}, {count:.1f} trials"
        for rule, (covers, width, count) in found.items()
    ]
    print(f"{name:30} RFS {truth:+.3f}; {'; '.join(lines)}", flush=True)


def rows(run: pathlib.Path, name: str, norm: str) -> tuple[np.ndarray, np.ndarray]:
    """Right or wrong [2, n, levels, trials], and labels [n]."""
    units = parsed(run / "units.json").items()
    files = [run / file for unit, file in units if unit.startswith(f"{name}/{norm}_")]
    axes, classes = ("region", "level", "trial"), parsed(run / "data.json")["classes"]
    found = read_images(files, axes, ("correct",), classes, whole=True)
    sides = [np.asarray(found.values["correct"].at(region=side).values) for side in SIDES]
    return np.stack(sides), found.labels


def compared(shared: pathlib.Path, by_level: pathlib.Path, options: Any) -> None:
    """Prints what draws by level save."""
    studies = []
    for card in parsed(by_level / "models.json"):
        for norm in parsed(by_level / "config.json")["noise"]["norms"]:
            (old, _), (new, labels) = (rows(r, card["name"], norm) for r in (shared, by_level))
            before = trials.spread([old.mean(2)], labels)
            after = trials.spread(first(new, np.full(new.shape[2], new.shape[3])), labels)
            ten = after._replace(of_trials=before.of_trials).error(TEN)
            auto = enough(new, labels)
            less = before.of_trials[0] / after.of_trials.sum()
            rng, number = np.random.default_rng(0), new.shape[3]
            orders = [enough(new[..., rng.permutation(number)], labels) for _ in range(ORDERS)]
            costs, lasts = (
                [(1 + 2 * one.sum()) / (1 + 2 * TEN * len(one)) for one in (auto, *orders)],
                [after.error(one) / ten for one in (auto, *orders)],
            )
            errors = " ".join(f"{n}: {after.error(n) / ten:.3f}" for n in (2, 3, TEN))
            print(
                f"{card['name']} {norm}: {len(labels)} images, RFS {rfs_of(new, labels):+.3f}; "
                f"variance over trials {less:.1f} times less; error "
                f"over that of ten shared: {errors}; auto {auto} trials by level, "
                f"{100 * costs[0]:.1f} % of the forwards: {lasts[0]:.3f}; in other orders of the "
                f"trials {100 * np.mean(costs[1:]):.1f} %: {np.mean(lasts[1:]):.3f}",
                flush=True,
            )
            studies.append((f"{card['name']} {norm}", recorded(new, labels)))
    for name, one in studies:
        show(name, one, options)


def main(argv: Sequence[str]) -> None:
    """See the file's docstring."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--workdir", type=pathlib.Path, help="of the two runs; else a simulation")
    parser.add_argument("--preset", default="", help="of configs/rfs.py")
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--studies", type=int, default=1000, help="for each line")
    parser.add_argument("--resamples", type=int, default=1000)
    parser.add_argument("flags", nargs="*", help="of rival_jax.main")
    options = parser.parse_args(argv)
    if not options.workdir:
        for design, each in DESIGNS.items():
            for ease, shift in EASE.items():
                show(f"{design}, {ease}", model(shift, each), options)
        return
    both = [options.workdir / draws for draws in ("shared", "by_level")]
    for run in both:
        given = [f"--config=rfs:{options.preset}", f"--workdir={run}", *options.flags]
        given += [f"--config.noise.trials={options.trials}", f"--config.noise.draws={run.name}"]
        subprocess.run([sys.executable, "-m", "rival_jax.main", *given], check=True)
    compared(*both, options)


if __name__ == "__main__":
    main(sys.argv[1:])
