"""Does an image classifier look at the object or at the background, and can it be cured?

The pure functions. Everything else is found in its module, and the command line is
`python -m rival_jax.main --config=configs/rfs.py`.
"""

import os
from typing import Any

from rival_jax import saliency
from rival_jax._version import VERSION as __version__
from rival_jax.alignment import (
    average_precision,
    dice,
    intersection_and_union,
    iou,
    mask_coverage,
    pixel_accuracy,
    pointing_game,
    saliency_density_gap,
    saliency_precision,
)
from rival_jax.losses import (
    background_loss,
    confidence_loss,
    energy_loss,
    foreground_loss,
    label_loss,
    relevance_objective,
)
from rival_jax.maps import (
    attention_rollout,
    gradcam,
    max_normalise,
    minmax_normalise,
    relevance,
    upsample,
)
from rival_jax.metrics import irfs, rfs, true_class
from rival_jax.noise import corrupt, gaussian, grey_out
from rival_jax.protocols import effective_robustness, hits
from rival_jax.statistics import Interval, bootstrap, bootstrap_difference, class_means
from rival_jax.taps import class_score, predicted_score, tap_grads, unit_score
from rival_jax.tokencut import normalised_cut

__all__ = [
    "Interval",
    "__version__",
    "attention_rollout",
    "average_precision",
    "background_loss",
    "bootstrap",
    "bootstrap_difference",
    "class_means",
    "class_score",
    "confidence_loss",
    "corrupt",
    "dice",
    "draw",
    "effective_robustness",
    "energy_loss",
    "foreground_loss",
    "gaussian",
    "gradcam",
    "grey_out",
    "hits",
    "intersection_and_union",
    "iou",
    "irfs",
    "label_loss",
    "mask_coverage",
    "max_normalise",
    "minmax_normalise",
    "normalised_cut",
    "pixel_accuracy",
    "pointing_game",
    "predicted_score",
    "read_results",
    "read_rows",
    "relevance",
    "relevance_objective",
    "rfs",
    "saliency",
    "saliency_density_gap",
    "saliency_precision",
    "tap_grads",
    "true_class",
    "unit_score",
    "upsample",
]


def read_results(*workdirs: str | os.PathLike) -> Any:
    """The results of finished runs, their `summary.parquet` files one after another, as Arrow.

    Columns: study, measure, the study's axes, contrast, estimate, low, high, p, images,
    classes. `.to_pandas()` gives a data frame where pandas is there.

    Raises:
      FileNotFoundError: for a folder that holds no finished run.
    """
    from rival_jax.report.results import Results

    return Results.read(*workdirs).table()


def read_rows(workdir: str | os.PathLike, unit: str = "") -> Any:
    """The rows of a run, one for each image and setting, as Arrow.

    Args:
      workdir: the run's folder.
      unit: the start of a path below `rows/`, such as a model's name; only such files are read.
        Columns that a file lacks are empty.

    Raises:
      FileNotFoundError: if there are none.
      ValueError: for a file that is not as it was written.
    """
    from pathlib import Path

    from rival_jax.runtime.results import read_rows

    folder = Path(workdir) / "rows"
    files = sorted(folder.rglob("*.parquet"))
    chosen = [file for file in files if file.relative_to(folder).as_posix().startswith(unit)]
    if not chosen:
        raise FileNotFoundError(f"no rows of {unit or 'any unit'} in {folder}")
    return read_rows(*chosen)


def draw(kind: str, table: Any, *columns: str, **options: Any) -> Any:
    """A figure of results for a notebook: `report.notebook.draw`.

    Args:
      kind: "dots", "bars", "curves" or "heat".
      table: rows of `read_results`, already filtered.
      columns: of dots and bars the one whose values are the rows, of curves the numbers along the
        horizontal axis.
      options: such as by="model", panel="region", percent=True.
    """
    from rival_jax.report import notebook

    return notebook.draw(kind, table, *columns, **options)
