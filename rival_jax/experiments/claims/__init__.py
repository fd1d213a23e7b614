"""The claims of both papers, judged on finished runs: holds, fails or cannot tell."""

from rival_jax.experiments.claims.study import ONE_PROCESS as ONE_PROCESS
from rival_jax.experiments.claims.study import dry_run as dry_run
from rival_jax.experiments.claims.study import run as run
