"""Sufficient input subsets (RobustViT, appendix A)."""

from rival_jax.experiments.sis.study import STUDY as STUDY
from rival_jax.experiments.sis.study import Experiment as Experiment
