"""From photos to a cured network and its card: finetuned, then measured before and after."""

from rival_jax.experiments.study.study import dry_run as dry_run
from rival_jax.experiments.study.study import run as run
