"""Sufficient input subsets: how few pixels are enough for a network, and are they the object's?

  python -m rival_jax.main --config=configs/sis.py                         the demo, bundled data
  python -m rival_jax.main --config=configs/sis.py:clean \
      --config.models="('path/to/original','path/to/finetuned')" --config.data.root=path/to/photos

Presets: none (demo), clean, paper (RobustViT, appendix A), released (Carter et al.).
"""

from rival_jax.configs.sis import PRESETS, get_config
