"""How often the intervals cover, and the test errs, in simulated studies whose truth is known.

    python -m benchmarks.coverage

A study has ten classes of different difficulty, images that differ in difficulty, and two networks
that find the same images hard. Each answers every image once, and ten times at each of seven noise
levels in foreground and in background. Images are drawn anew for every study, classes are not: the
truth is what endless images of these classes would give. Prints the share of 95 % intervals that
cover it, their mean width, and how often a true null is called a difference.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence

import numpy as np
from scipy import special

from rival_jax import metrics, significance, statistics

CLASSES, TRIALS = 10, 10
LEVELS = np.linspace(0, 2.4, 7)  # what noise takes from an image's log odds
DESIGNS = {
    "20 images": [2] * 10,
    "30, 2 to 4 a class": [2, 3, 4, 3, 2, 4, 3, 2, 4, 3],
    "35 images": [4, 3] * 5,
    "35, some of 1": [1, 1, 1, 2, 3, 3, 4, 5, 6, 9],
    "10, one a class": [1] * 10,
    "50 images": [5] * 10,
    "100 images": [10] * 10,
    "500 images": [50] * 10,
}
EASE = {"floor": -4.5, "middle": 0.0, "high": 1.5, "ceiling": 4.0}  # log odds added to all images
NULLS = {
    "one class": [[n] for n in (3, 5, 6, 10, 20)],
    "ten classes": [DESIGNS[name] for name in ("20 images", "35 images", "100 images")],
}
Study = dict[str, np.ndarray]


def draw(sizes: Sequence[int], studies: int, ease: float, rng: np.random.Generator) -> Study:
    """`labels` [n]; of both networks `clean` [2, n, s] and `fg`, `bg` [2, n, levels, s]."""
    labels = np.repeat(np.arange(len(sizes)), sizes)
    easy = np.linspace(-0.8, 0.8, max(len(sizes), 2))[labels, None] + ease
    image = easy + 1.2 * rng.standard_normal((len(labels), studies))
    found: dict[str, list[np.ndarray]] = {"clean": [], "fg": [], "bg": []}
    for better in (0.0, 0.3):
        mine = image + 0.8 * rng.standard_normal(image.shape) + better
        found["clean"].append(rng.random(image.shape) < special.expit(mine + 1.5))
        for region, resists, slope in (("fg", 1.2, 1.0), ("bg", 1.5, 0.7)):
            region_wise = mine + 0.7 * rng.standard_normal(image.shape) + resists
            odds = region_wise[:, None] - slope * LEVELS[:, None]
            found[region].append(rng.binomial(TRIALS, special.expit(1.5 * odds)) / TRIALS)
    return {"labels": labels} | {name: np.stack(parts) * 1.0 for name, parts in found.items()}


def measures(study: Study) -> dict[str, tuple[Callable, np.ndarray]]:
    """Statistic of class means, and values per image [n, ..., s], by what they measure."""

    def rfs(means):
        return metrics.rfs(*means.mean(0))

    def difference(means):
        fg, bg = means.mean(0)
        return metrics.rfs(fg[1], bg[1]) - metrics.rfs(fg[0], bg[0])

    level = len(LEVELS) // 2
    both = np.stack([study["fg"], study["bg"]])  # [2, m, n, l, s]
    return {
        "accuracy": (lambda means: means.mean(0), study["clean"][0]),
        "RFS, one level": (rfs, np.moveaxis(both[:, 0, :, level], 0, 1)),
        "RFS of means": (rfs, np.moveaxis(both[:, 0].mean(2), 0, 1)),
        "RFS, difference": (difference, np.moveaxis(both.mean(3), 2, 0)),
    }


def truths(ease: float) -> dict[str, float]:
    """The measures of 60,000 images a class."""
    study = draw([60_000] * CLASSES, 1, ease, np.random.default_rng(99))
    labels = study["labels"]
    found = {}
    for name, (statistic, values) in measures(study).items():
        means = statistics.class_means(values, labels, CLASSES)
        found[name] = float(np.asarray(statistic(means)).item())
    return found


def coverage(studies: int, resamples: int, batch: int) -> None:
    """Prints a line for each design, ease and measure."""
    print(f"{'images':20} {'ease':8} {'measure':16} truth  BCa: covers  width  percentile: covers")
    for ease, shift in EASE.items():
        truth = truths(shift)
        for design, sizes in DESIGNS.items():
            found = {name: [[], [], []] for name in truth}
            for start in range(0, studies, batch):
                study = draw(sizes, batch, shift, np.random.default_rng([start, *sizes]))
                for name, (statistic, values) in measures(study).items():
                    for place, method in enumerate(("bca", "percentile")):
                        interval = statistics.bootstrap(
                            statistic, values, study["labels"], method=method, resamples=resamples,
                            seed=start,
                        )  # fmt: skip
                        inside = (interval.low <= truth[name]) & (truth[name] <= interval.high)
                        found[name][place].append(inside)
                        if method == "bca":
                            found[name][2].append(interval.high - interval.low)
            for name, parts in found.items():
                bca, percentile, width = (np.mean(part) for part in parts)
                print(
                    f"{design:20} {ease:8} {name:16} {truth[name]:+.3f}      {100 * bca:5.1f}  "
                    f"{width:.3f}              {100 * percentile:5.1f}",
                    flush=True,
                )


def level(studies: int, resamples: int, batch: int) -> None:
    """Prints how often two equal networks, and equal noise in both regions, are told apart."""
    print(f"\n{'a true null':34} {'images':>6}  test: p <= .05  interval: excludes 0")
    for kind, designs in NULLS.items():
        for sizes in designs:
            found: dict[str, list[list[np.ndarray]]] = {}
            for start in range(0, studies, batch):
                study = draw(sizes, batch, 0.0, np.random.default_rng([start, 7, *sizes]))
                for name, (statistic, values) in nulls(study, start).items():
                    p = significance.sign_flips(statistic, values, study["labels"])
                    interval = statistics.bootstrap(
                        statistic, values, study["labels"], resamples=resamples, seed=start
                    )
                    excludes = (interval.low > 0) | (interval.high < 0)
                    parts = found.setdefault(name, [[], []])
                    parts[0].append(p <= 0.05)
                    parts[1].append(excludes)
            for name, parts in found.items():
                test, interval = (100 * np.mean(part) for part in parts)
                few = "  (too few images)" if significance.smallest_p(sum(sizes)) > 0.05 else ""
                print(
                    f"{name + ', ' + kind:34} {sum(sizes):6}           {test:5.1f}"
                    f"                {interval:5.1f}{few}",
                    flush=True,
                )


def nulls(study: Study, seed: int) -> dict[str, tuple[Callable, np.ndarray]]:
    """Like `measures`, where nothing differs: which is which is drawn for every image."""
    rng = np.random.default_rng([seed, 11])
    both = np.moveaxis(np.stack([study["fg"], study["bg"]]).mean(3), 2, 0)  # [n, 2, m, s]
    swapped = rng.random((len(both), 1, both.shape[-1])) < 0.5
    models = np.where(swapped[:, None], both[:, :, ::-1], both)
    regions = np.where(swapped, both[:, ::-1, 0], both[:, :, 0])
    clean = np.moveaxis(study["clean"], 1, 0)
    clean = np.where(swapped, clean[:, ::-1], clean)
    measured = measures(study)
    return {
        "difference of accuracies": (lambda means: (means[:, 1] - means[:, 0]).mean(0), clean),
        "RFS": (measured["RFS of means"][0], regions),
        "difference of RFS": (measured["RFS, difference"][0], models),
    }


def main() -> None:
    """Coverage, then level."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--studies", type=int, default=2000, help="simulated for each line")
    parser.add_argument("--resamples", type=int, default=1000)
    parser.add_argument("--batch", type=int, default=250, help="studies at once")
    options = vars(parser.parse_args())
    start = time.perf_counter()
    coverage(**options)
    level(**options)
    error = 100 * np.sqrt(0.95 * 0.05 / options["studies"])
    print(
        f"\nstandard error of a share near 95 %: {error:.1f} points; "
        f"{time.perf_counter() - start:.0f} s"
    )


if __name__ == "__main__":
    main()
