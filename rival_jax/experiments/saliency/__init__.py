"""Where networks look, and what it costs them not to see it (RIVAL10 study, 5.4)."""

from rival_jax.experiments.saliency.measures import STUDY as STUDY
from rival_jax.experiments.saliency.study import Experiment as Experiment
