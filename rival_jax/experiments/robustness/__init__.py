"""Accuracy on shifted data sets by named protocols, and what a cure changes (RobustViT, 4.1)."""

from rival_jax.experiments.robustness.study import Experiment as Experiment
