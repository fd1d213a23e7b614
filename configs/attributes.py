"""Which parts of the object a classifier needs: each attribute greyed, against its size, swapped.

  python -m rival_jax.main --config=configs/attributes.py                  the demo, bundled data
  python -m rival_jax.main --config=configs/attributes.py:clean \
      --config.models="('path/to/model',)" --config.data.root=path/to/RIVAL10

Presets: none (demo), clean, paper, released.
"""

from rival_jax.configs.attributes import PRESETS, get_config
