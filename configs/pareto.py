"""Which cure, and at what price: cures under one budget, gains against accuracy lost.

  python -m rival_jax.main --config=configs/pareto.py                      the demo, bundled data
  python -m rival_jax.main --config=configs/pareto.py:scenes               all cures on bundled data
  python -m rival_jax.main --config=configs/pareto.py:clean \
      --config.data.root=photos --config.shifted.root=shifted              on your own masked photos

Presets: none (demo), scenes, clean, paper, released.
"""

from rival_jax.configs.pareto import PRESETS, get_config
