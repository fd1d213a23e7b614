"""Relative foreground sensitivity: noise in the object or its background (RIVAL10 study, 5.1)."""

from rival_jax.experiments.rfs.study import Experiment as Experiment
