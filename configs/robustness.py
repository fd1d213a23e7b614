"""Accuracy on shifted data sets by named protocols: networks x sets, and what a cure changed.

  python -m rival_jax.main --config=configs/robustness.py                  the demo, bundled data
  python -m rival_jax.main --config=configs/robustness.py:clean \
      --config.models="('path/to/original','path/to/finetuned')" --config.data.root=path/to/sets

Presets: none (demo); clean, paper, released (RobustViT's table 1); clean_si, paper_si, released_si
(its table 2, SI-Score).
"""

from rival_jax.configs.robustness import PRESETS, get_config
