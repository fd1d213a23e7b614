"""Pixels taken away in the order of networks' maps: does a map tell what the network uses?

  python -m rival_jax.main --config=configs/perturbation.py                the demo, bundled data
  python -m rival_jax.main --config=configs/perturbation.py:clean \
      --config.models="('path/to/vit','runs/finetune/models/1a2b3c4d/robustvit_seed0_best')" \
      --config.data.root=photos

Presets: none (demo), clean, paper, released.
"""

from rival_jax.configs.perturbation import PRESETS, get_config
