"""How much labelled data a cure needs: nested training sets, equally many updates."""

from rival_jax.experiments.sweep.study import Experiment as Experiment
