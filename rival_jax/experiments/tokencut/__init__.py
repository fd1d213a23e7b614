"""Masks for photos without any (RobustViT, section 4; TokenCut, CVPR 2022)."""

from rival_jax.experiments.tokencut.study import Experiment as Experiment
