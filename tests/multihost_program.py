"""What each process of `test_multihost` runs: some experiments of a small study, no figures."""

from __future__ import annotations

import sys
from pathlib import Path

import jax
import numpy as np
from absl import app, flags
from rich.console import Console

from rival_jax import noise
from rival_jax.data import Examples, load
from rival_jax.experiments import knn, perturbation, rfs, runner, saliency, segmentation, sis
from rival_jax.report.results import Results
from rival_jax.runtime import hosts, parallel
from rival_jax.runtime.results import Run
from rival_jax.types import Geometry
from tests.helpers import config_of

FLAGS = flags.FLAGS
flags.DEFINE_string("study", None, "Folder of the data and the network.")
flags.DEFINE_string("out", None, "Folder of the results.")
flags.DEFINE_string("distributed", "off", "")
flags.DEFINE_integer("num_processes", None, "")
flags.DEFINE_integer("process_id", None, "")
flags.DEFINE_integer("heartbeat", 10, "")


def configs(study: Path):
    """Some on 30 bundled images, with a network that knows what is on them; two on drawn ones."""
    rooms = {"rfs": rfs, "saliency": saliency, "knn": knn, "sis": sis}
    found = {name: (room, config_of(name)) for name, room in rooms.items()}
    for _, config in found.values():
        config.models = ("scenes/vit_95",)
        config.data.scenes.per_class, config.statistics.resamples = 3, 50
        if "cache" in config:
            config.cache = str(study / "cache")
    noisy, maps, near, few = (config for _, config in found.values())
    near.knn.k, near.shard = (5, 10), 16
    few.sis.methods, few.sis.pixels = ("random",), 512  # its order does not depend on rounding
    noisy.noise.sigmas, noisy.noise.most_trials = (0.8,), 3
    noisy.noise.widening = 1e-9  # so that a second round follows
    maps.saliency.methods, maps.saliency.draws = ("gradcam",), 2
    maps.groups = ()
    return found | drawn(study)


def drawn(study: Path):
    """Experiments on maps of a network of random weights."""
    rooms = {"segmentation": segmentation, "perturbation": perturbation}
    found = {name: (room, config_of(name)) for name, room in rooms.items()}
    for _, config in found.values():
        config.models, config.saliency.methods = (str(study / "tiny"),), ("gradcam",)
        config.data.name, config.data.root = "masked_folder", str(study / "data")
        config.data.on_bad, config.statistics.resamples = "skip", 50
        config.cache = str(study / "cache")
    (_, cut), (_, taken) = found.values()
    cut.segmentation.levels = 2
    taken.perturbation.fills, taken.perturbation.shares = ("black",), (0.3,)
    taken.perturbation.steps = 2
    return found


def noise_of(study: Path) -> dict[str, str]:
    """Noise of every image as hex digits of its bits, as the devices of all hosts draw it.

    One of the photos cannot be read.
    """
    source = load("masked_folder", str(study / "data"), "test")
    examples = Examples(source, Geometry((16, 16)), on_bad="skip")

    def drawn(variables, batch, key):
        return {"noise": noise.gaussian(key, batch["noise_id"], 3, (2, 2, 3))}

    found = parallel.map_examples(
        drawn, {}, examples.batches(4), parallel.data_mesh(), jax.random.key(7)
    )
    found = hosts.gathered_rows(found)["noise"]
    return {n: np.asarray(f).tobytes().hex() for n, f in zip(examples.names, found, strict=True)}


def main(argv: list[str]) -> None:
    who = (FLAGS.num_processes, FLAGS.process_id)
    hosts.initialize(FLAGS.distributed, *who, heartbeat=FLAGS.heartbeat)
    jax.config.update("jax_compilation_cache_dir", str(Path(FLAGS.study) / "compiled"))
    runner.write_document = lambda *args: None
    study, out = Path(FLAGS.study), Path(FLAGS.out)
    console = Console(quiet=not hosts.first())
    with hosts.together():
        drawn = noise_of(study)
        for name, (experiment, config) in configs(study).items():
            run = Run(out / name, config.to_dict())
            run.save_json("noise.json", drawn)
            runner.run(experiment.Experiment(config, console), run, console)
            if hosts.first():
                run.save_json("summary.json", Results.read(run.path).rows)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    app.run(main)
