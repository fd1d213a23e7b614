"""Which cure, and at what price: gains against accuracy lost, and the best within a bound."""

from rival_jax.experiments.pareto.study import Experiment as Experiment
