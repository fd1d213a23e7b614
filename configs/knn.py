"""Nearest neighbours in a network's features: which class they vote for, before and after a cure.

  python -m rival_jax.main --config=configs/knn.py                         the demo, bundled data
  python -m rival_jax.main --config=configs/knn.py:clean \
      --config.models="('path/to/original','path/to/finetuned')" --config.data.root=path/to/photos

Presets: none (demo), clean, paper (RobustViT's input, appendix M), released (DINO's script).
"""

from rival_jax.configs.knn import PRESETS, get_config
