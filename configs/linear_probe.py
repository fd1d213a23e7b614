"""Linear heads on frozen networks, fitted on a training split and scored on a test split.

  python -m rival_jax.main --config=configs/linear_probe.py                the demo, bundled data
  python -m rival_jax.main --config=configs/linear_probe.py:clean \
      --config.models="('path/to/model',)" --config.data.root=path/to/RIVAL10

Presets: none (demo), clean, paper, released.
"""

from rival_jax.configs.linear_probe import PRESETS, get_config
