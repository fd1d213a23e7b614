"""How time and memory of a page's numbers grow with images and classes.

  python -m benchmarks.growth
  python -m benchmarks.growth --studies rfs --images 500 5000 50000 --classes 10 1000

Two networks' invented answers, 2,000 resamples. What config robustness makes of them: right or
wrong by four protocols, with confidences (accuracies of all photos and of all classes alike,
calibration, a pair's differences). What config rfs makes of them: probabilities and shares of
trials that were right, of clean photos and under noise at five levels in two regions (numbers of
every class too). "report" is all of it, from rows of three trials on disk to the page. The other
studies: random values in the columns that their measures are made of; of saliency and tokencut one
in twenty is missing, of attributes half of an image's six attributes. Each size is a process of its
own: CPU seconds, and the largest memory beyond that before the numbers were made.
"""

from __future__ import annotations

import argparse
import atexit
import io
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

MODELS = ("before", "after")


def main() -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--studies", nargs="+", default=[*STUDIES], choices=STUDIES)
    parser.add_argument("--images", type=int, nargs="+", default=[500, 5000, 50_000])
    parser.add_argument("--classes", type=int, nargs="+", default=[10, 100, 1000])
    parser.add_argument("--one", action="store_true", help="this size alone, here, as JSON")
    options = parser.parse_args()
    if options.one:
        found = measured(options.studies[0], options.images[0], options.classes[0])
        print(json.dumps(found))
        return
    print("| study | images | classes | CPU s | again, CPU s | MiB more |")
    print("|---|---|---|---|---|---|")
    for study in options.studies:
        for classes in options.classes:
            for images in options.images:
                if images < classes:
                    continue
                command = [sys.executable, "-m", "benchmarks.growth", "--one"]
                command += [f"--studies={study}", f"--images={images}", f"--classes={classes}"]
                told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
                found = json.loads(told.splitlines()[-1])
                cells = (f"{found[key]:.1f}" for key in ("first", "again", "memory"))
                print(f"| {study} | {images:,} | {classes:,} | {' | '.join(cells)} |", flush=True)


def measured(study: str, count: int, classes: int) -> dict[str, float]:
    """CPU seconds of the first and of the second time, and MiB."""
    import numpy as np
    import pyarrow as pa

    from rival_jax.images import Images, Names
    from rival_jax.named import Axis

    rng = np.random.default_rng(0)
    names = [f"val/{i:08d}.JPEG" for i in range(count)]
    # Classes of unequal sizes, none empty.
    labels = np.sort(
        np.concatenate([np.arange(classes), rng.integers(0, classes, count - classes)])
    )
    example = Axis(("example",), Names(pa.array(names)))
    if study == "report":
        work = of_rows(rng, labels, names)
    else:
        values, declared, given = STUDIES[study](rng, example)
        found = Images(values, labels.astype(np.int32), tuple(map(str, range(classes))))
        work = lambda: declared.results(found, *given)  # noqa: E731
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    times = []
    for _ in range(2):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    return {"first": times[0], "again": times[1], "memory": memory / 1024}


def of_robustness(rng: Any, example: Any) -> tuple[dict[str, Any], Any, tuple]:
    """Values of images, the study, and what its measures are given."""
    import numpy as np

    from rival_jax.experiments.robustness.study import accuracies
    from rival_jax.images import confidence_gaps, per_image
    from rival_jax.named import Axis
    from rival_jax.report.study import Study

    networks = Axis(("model",), tuple((name,) for name in MODELS))
    axes = (example, Axis(("set",), (("invented",),)), networks)
    shape = (len(example.keys), 1, len(MODELS))

    def told(values: np.ndarray):
        return per_image(values.astype(np.float32), axes)

    confidence = told(rng.random(shape))
    hits = {name: told(rng.random(shape) < 0.7) for name in ("full", "full_5", "real", "subset")}
    hits["gap"] = confidence_gaps(confidence, hits["full"])
    study = Study("growth", (), (), accuracies, signed=("gap",), averages=("micro", "macro"))
    return hits, study, ([MODELS],)


def of_rfs(rng: Any, example: Any) -> tuple[dict[str, Any], Any, tuple]:
    """Values of images, the study, and what its measures are given."""
    from rival_jax.experiments.rfs.measures import SIDES, STUDY, derived
    from rival_jax.images import per_image
    from rival_jax.named import Axis

    noise = [("linf", level / 10, side) for level in range(1, 6) for side in SIDES]
    places = Axis(("norm", "level", "region"), (("none", 0.0, "clean"), *noise))
    networks = Axis(("model",), tuple((name,) for name in MODELS))
    axes = (example, networks, places)
    shape = tuple(len(axis.keys) for axis in axes)
    correct, probability = rng.binomial(3, 0.6, shape) / 3, rng.random(shape)
    columns = {"correct": per_image(correct, axes), "probability": per_image(probability, axes)}
    return derived(columns), STUDY, ({},)


def of_saliency(rng: Any, example: Any) -> tuple[dict[str, Any], Any, tuple]:
    """Values of images, the study, and what its measures are given."""
    import numpy as np

    from rival_jax.experiments.saliency.measures import SIGNED, STUDY
    from rival_jax.images import alike, per_image
    from rival_jax.named import Axis

    maps = tuple((name, method) for name in MODELS for method in ("gradcam", "relevance"))
    axes, shape = (example, Axis(("model", "method"), maps)), (len(example.keys), len(maps))
    flat = rng.random(shape) < 0.05
    columns = {name: per_image(np.where(flat, np.nan, rng.random(shape)), axes) for name in SIGNED}
    columns |= {f"share_{n}": per_image(rng.random(shape), axes) for n in range(6)}
    return alike(columns, SIGNED), STUDY, ({},)


def of_attributes(rng: Any, example: Any) -> tuple[dict[str, Any], Any, tuple]:
    """Values of images, the study, and what its measures are given."""
    import numpy as np

    from rival_jax.experiments.attributes.study import STUDY, paired, pooled
    from rival_jax.images import per_image
    from rival_jax.named import Axis

    changes = ("clean", "grey", "control_0", "control_1", "swap")
    words = {"model": MODELS, "attribute": "abcdef", "change": changes}
    axes = (example, *(Axis((f,), tuple((one,) for one in some)) for f, some in words.items()))
    shape = tuple(len(axis.keys) for axis in axes)
    there = rng.random((shape[0], 1, shape[2], 1)) < 0.5
    columns = {
        name: per_image(np.where(there, rng.random(shape), np.nan), axes) for name in STUDY.columns
    }
    return paired(columns), pooled("classes"), ("classes",)


def of_tokencut(rng: Any, example: Any) -> tuple[dict[str, Any], Any, tuple]:
    """Values of images, the study, and what its measures are given."""
    import numpy as np

    from rival_jax.experiments.tokencut.study import STUDY, derived
    from rival_jax.images import per_image
    from rival_jax.named import Axis

    axes = (example, Axis(("model",), tuple((name,) for name in MODELS)))
    shape = tuple(len(axis.keys) for axis in axes)
    there = rng.random(shape) > 0.05
    columns = {
        name: per_image(np.where(there, rng.random(shape), np.nan), axes) for name in STUDY.columns
    }
    return derived(columns), STUDY, ()


def of_background(rng: Any, example: Any) -> tuple[dict[str, Any], Any, tuple]:
    """Values of images, the study, and what its measures are given."""
    from rival_jax.experiments.background.study import STUDY
    from rival_jax.images import per_image
    from rival_jax.named import Axis

    treated = [(how, side) for how in ("grey", "other") for side in ("foreground", "background")]
    axes = (
        *(
            example,
            Axis(("model",), tuple((name,) for name in MODELS)),
            Axis(("head",), (("own",),)),
        ),
        Axis(("treatment", "region"), (("none", "none"), *treated)),
    )
    shape = tuple(len(axis.keys) for axis in axes)
    columns = {name: per_image(rng.random(shape), axes) for name in STUDY.columns}
    return columns, STUDY, ({name: [name] for name in MODELS},)


def of_knn(rng: Any, example: Any) -> tuple[dict[str, Any], Any, tuple]:
    """Values of images, the study, and what its measures are given."""
    from rival_jax.experiments.knn.study import STUDY
    from rival_jax.images import per_image
    from rival_jax.named import Axis

    votes = Axis(("vote", "k"), tuple(("equal", k) for k in (1, 5, 10, 20)))
    axes = (example, Axis(("model",), tuple((name,) for name in MODELS)), votes)
    shape = tuple(len(axis.keys) for axis in axes)
    return {n: per_image(rng.random(shape), axes) for n in STUDY.columns}, STUDY, ([MODELS],)


def of_perturbation(rng: Any, example: Any) -> tuple[dict[str, Any], Any, tuple]:
    """Values of images, the study, and what its measures are given."""
    from rival_jax.configs.perturbation import Perturbation
    from rival_jax.experiments.perturbation import study
    from rival_jax.images import per_image
    from rival_jax.named import Axis

    c = Perturbation(tests=("positive", "deletion"), fills=("black",))
    curves = [(*key, share) for key, shares in study.curves_of(c).items() for share in shares]
    maps = [(m, study.OWN, "relevance") for m in MODELS]
    maps += [(m, study.RANDOM, study.RANDOM) for m in MODELS]
    axes = (example, Axis(("model", "map", "method"), tuple(maps)))
    axes += (Axis(study.SETTING, (study.PHOTO, *curves)),)
    shape = tuple(len(axis.keys) for axis in axes)
    columns = {name: per_image(rng.random(shape), axes) for name in study.STUDY.columns}
    return study.derived(columns), study.STUDY, ([MODELS], [], c)


def of_segmentation(rng: Any, example: Any) -> tuple[dict[str, Any], Any, tuple]:
    """Values of images, the study, and what its measures are given."""
    from rival_jax.configs.segmentation import Segmentation
    from rival_jax.experiments.segmentation import study
    from rival_jax.images import per_image
    from rival_jax.named import Axis

    c = Segmentation(levels=5)
    cuts = (*((rule, 0.0) for rule in c.rules), *(("level", level / 5) for level in range(5)))
    maps = Axis(("model", "method"), tuple((name, "relevance") for name in MODELS))
    axes = (example, maps, Axis(("rule", "level"), cuts))
    shape = tuple(len(axis.keys) for axis in axes)
    columns = {name: per_image(rng.random(shape), axes) for name in study.STUDY.columns}
    return study.derived(columns), study.STUDY, ([MODELS], c)


def of_finetune(rng: Any, example: Any) -> tuple[dict[str, Any], Any, tuple]:
    """Values of images, the study, and what its measures are given."""
    from rival_jax.experiments.finetune.measures import TESTS, Network
    from rival_jax.experiments.finetune.variants import ORIGINAL
    from rival_jax.images import per_image
    from rival_jax.named import Axis

    networks = [Network("original", ORIGINAL, None, 1.0, (), {})]
    networks += [Network(f"a{s}", "robustvit", s, 1.0, ("0", "1"), {}) for s in range(2)]
    axes = (example, Axis(("test",), (("val",),)))
    axes += (Axis(("model",), tuple((one.name,) for one in networks)),)
    shape = tuple(len(axis.keys) for axis in axes)
    return {n: per_image(rng.random(shape), axes) for n in TESTS.columns}, TESTS, (networks,)


def of_rows(rng: Any, labels: Any, names: Sequence[str]) -> Callable[[], None]:
    """Writes an invented run; returns what reports it."""
    from rich.console import Console

    from rival_jax.experiments.rfs import joined, page
    from rival_jax.report.document import write_document
    from rival_jax.runtime.results import Run, parsed
    from tests.fake_runs import write_run

    folder = Path(tempfile.mkdtemp(prefix="growth"))
    atexit.register(shutil.rmtree, folder)
    alone, noisy = (len(MODELS), len(labels)), (len(MODELS), 5, 2, 3, len(labels))
    told = lambda shape: (rng.random(shape), rng.random(shape) < 0.6)  # noqa: E731
    levels = [level / 10 for level in range(1, 6)]
    classes = tuple(map(str, range(labels.max() + 1)))
    given = {"clean": told(alone), "noise": {"linf": (levels, *told(noisy))}}
    write_run(folder, models=MODELS, labels=labels, names=names, classes=classes, **given)

    def work() -> None:
        config = parsed(folder / "config.json")
        run, console = Run(folder, config), Console(file=io.StringIO())
        run.config["statistics"]["resamples"] = 2000
        results, document = page.told(run, joined.read(folder), {})
        results.write(folder)
        write_document(run, console, document)

    return work


STUDIES: dict[str, Callable[..., Any]] = {
    "robustness": of_robustness,
    "rfs": of_rfs,
    "saliency": of_saliency,
    "attributes": of_attributes,
    "tokencut": of_tokencut,
    "background": of_background,
    "knn": of_knn,
    "perturbation": of_perturbation,
    "segmentation": of_segmentation,
    "finetune": of_finetune,
    "report": of_rows,
}


if __name__ == "__main__":
    main()
