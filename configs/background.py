"""What is lost without the background, and without the object: six ways of taking a region away.

  python -m rival_jax.main --config=configs/background.py                  the demo, bundled data
  python -m rival_jax.main --config=configs/background.py:clean \
      --config.models="('path/to/model',)" --config.data.root=path/to/RIVAL10

Presets: none (demo), clean, paper, released.
"""

from rival_jax.configs.background import PRESETS, get_config
