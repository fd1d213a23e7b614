"""Photos perturbed in the order of networks' maps (RobustViT, appendix N; RISE)."""

from rival_jax.experiments.perturbation.study import STUDY as STUDY
from rival_jax.experiments.perturbation.study import Experiment as Experiment
