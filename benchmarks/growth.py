"""How time and memory of a page's numbers grow with images and classes.

  python -m benchmarks.growth
  python -m benchmarks.growth --images 500 5000 50000 --classes 10 1000

Two networks' invented answers, right or wrong by four protocols, with confidences: what config
robustness makes of them (accuracies of all photos and of all classes alike, calibration, a pair's
differences; 2,000 resamples). Each size is a process of its own: CPU seconds, and the largest
memory beyond that before the numbers were made.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time


def main() -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--images", type=int, nargs="+", default=[500, 5000, 50_000])
    parser.add_argument("--classes", type=int, nargs="+", default=[10, 100, 1000])
    parser.add_argument("--one", action="store_true", help="this size alone, here, as JSON")
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measured(options.images[0], options.classes[0])))
        return
    print("| images | classes | CPU s | again, CPU s | MiB more |")
    print("|---|---|---|---|---|")
    for classes in options.classes:
        for images in options.images:
            if images < classes:
                continue
            command = [sys.executable, "-m", "benchmarks.growth", "--one"]
            command += [f"--images={images}", f"--classes={classes}"]
            told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            found = json.loads(told.splitlines()[-1])
            cells = (f"{found[key]:.1f}" for key in ("first", "again", "memory"))
            print(f"| {images:,} | {classes:,} | {' | '.join(cells)} |", flush=True)


def measured(count: int, classes: int) -> dict[str, float]:
    """CPU seconds of the first and of the second time, and MiB."""
    import numpy as np
    import pyarrow as pa

    from rival_jax.experiments.robustness.study import accuracies
    from rival_jax.named import Axis
    from rival_jax.report.images import Images, confidence_gaps, per_image
    from rival_jax.report.made import Names
    from rival_jax.report.study import Study

    rng = np.random.default_rng(0)
    names = [f"val/{i:08d}.JPEG" for i in range(count)]
    axes = (
        Axis(("example",), Names(pa.array(names))),
        Axis(("set",), (("invented",),)),
        Axis(("model",), (("before",), ("after",))),
    )
    shape = (count, 1, 2)

    def told(values: np.ndarray):
        return per_image(values.astype(np.float32), axes)

    # Classes of unequal sizes, none empty.
    labels = np.sort(
        np.concatenate([np.arange(classes), rng.integers(0, classes, count - classes)])
    )
    confidence = told(rng.random(shape))
    hits = {name: told(rng.random(shape) < 0.7) for name in ("full", "full_5", "real", "subset")}
    hits["gap"] = confidence_gaps(confidence, hits["full"])
    found = Images(hits, labels.astype(np.int32), tuple(map(str, range(classes))))
    study = Study("growth", (), (), accuracies, signed=("gap",), averages=("micro", "macro"))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    times = []
    for _ in range(2):
        start = time.process_time()
        study.results(found, [("before", "after")])
        times.append(time.process_time() - start)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    return {"first": times[0], "again": times[1], "memory": memory / 1024}


if __name__ == "__main__":
    main()
