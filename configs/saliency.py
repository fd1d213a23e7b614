"""Where networks look: saliency maps against object masks, and what the background is worth.

  python -m rival_jax.main --config=configs/saliency.py                      the demo, bundled data
  python -m rival_jax.main --config=configs/saliency.py:clean --config.models="('path/to/model',)" \
      --config.data.name=rival10 --config.data.root=path/to/RIVAL10

Presets: none (demo), clean, paper, released.
"""

from rival_jax.configs.saliency import PRESETS, get_config
