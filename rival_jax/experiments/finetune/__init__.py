"""Relevance finetuning of ViTs (RobustViT), its baselines and ablations, before and after."""

from rival_jax.experiments.finetune.study import Experiment as Experiment
