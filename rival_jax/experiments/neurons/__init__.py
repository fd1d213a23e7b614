"""Which neuron stands for which attribute, and does it on new images (RIVAL10 study, section 6)."""

from rival_jax.experiments.neurons.study import Experiment as Experiment
