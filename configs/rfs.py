"""Relative foreground sensitivity: accuracy under noise in the object against its background.

  python -m rival_jax.main --config=configs/rfs.py                          the demo, bundled data
  python -m rival_jax.main --config=configs/rfs.py:clean --config.models="('path/to/model',)" \
      --config.data.name=rival10 --config.data.root=path/to/RIVAL10

Presets: none (demo), clean, paper, released.
"""

from rival_jax.configs.rfs import PRESETS, get_config
