"""Backgrounds or objects taken away (RIVAL10 study, section 5.3 and figure 8)."""

from rival_jax.experiments.background.study import STUDY as STUDY
from rival_jax.experiments.background.study import Experiment as Experiment
