"""Photos with the outlines of their masks, doubtful ones first; no network is needed."""

from rival_jax.experiments.look.study import dry_run as dry_run
from rival_jax.experiments.look.study import run as run
