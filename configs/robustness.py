"""python -m rival_jax.main --config=configs/robustness.py[:preset] --workdir=..."""

from rival_jax.configs.robustness import PRESETS, get_config
