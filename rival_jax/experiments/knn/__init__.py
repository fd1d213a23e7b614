"""Nearest neighbours in a network's features (RobustViT, appendix M)."""

from rival_jax.experiments.knn.study import STUDY as STUDY
from rival_jax.experiments.knn.study import Experiment as Experiment
